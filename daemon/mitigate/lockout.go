package mitigate

import (
	"slices"

	"github.com/ebpfguard/ebpfguard/daemon/internal/rpc"
	"github.com/ebpfguard/ebpfguard/internal/procfs"
	"github.com/ebpfguard/ebpfguard/policy"
)

// remoteShells are the programs, by the kernel's name of the process, through which
// people work on a remote machine.
var remoteShells = []string{"sshd", "sshd-session", "dropbear", "mosh-server", "in.telnetd"}

// CheckLockout refuses what would cut the caller's own connection: the caller could neither
// see the effect nor lift the mitigation before it ends.
func (m Machine) CheckLockout(caller uint32, p policy.Policy) error {
	cuts := slices.ContainsFunc(p.Rules, func(r policy.Rule) bool {
		network := r.Operation == policy.SocketBind || r.Operation == policy.SocketConnect
		return r.Verdict == policy.Kill || network && r.Revoke && matchesAll(r)
	})
	if !cuts || p.Mode == policy.ModeAudit {
		return nil
	}
	line, err := procfs.Lineage(caller)
	if err != nil {
		return nil // the caller has ended, and with it what could be cut
	}
	subject, err := resolveUsers(p)
	if err != nil {
		return rpc.Invalid("%v", err)
	}
	chosen := m.selectorOf(subject)
	for i, own := range line {
		if !slices.Contains(remoteShells, own.Comm) {
			continue
		}
		if _, _, ok := chosen.subject.Match(chosen.process(line[i:])); ok {
			return rpc.Invalid("%s includes process %d (%s), which carries your connection to this machine, so this would cut you off; choose another subject, use the profile no-new-connections, which leaves open connections alone, or work from the console", DescribeSubject(p.Subject), own.PID, own.Comm)
		}
	}
	return nil
}
