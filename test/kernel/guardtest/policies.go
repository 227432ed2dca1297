//go:build vm

package guardtest

import (
	"testing"

	"github.com/ebpfguard/ebpfguard"
	"github.com/ebpfguard/ebpfguard/policy"
)

// DenyFiles is a policy that denies a subject files.
func DenyFiles(name string, subject ebpfguard.Subject, paths ...string) policy.Policy {
	return FilePolicy(name, subject, policy.Rule{Deny: FilePatterns(paths)})
}

// AllowFiles is a policy with an exception.
func AllowFiles(name string, subject ebpfguard.Subject, paths ...string) policy.Policy {
	return FilePolicy(name, subject, policy.Rule{Allow: FilePatterns(paths)})
}

func FilePolicy(name string, subject ebpfguard.Subject, rule policy.Rule) policy.Policy {
	rule.Operation = policy.FileOpen
	return policy.Policy{Name: name, Subject: policy.Subject(subject), Rules: []policy.Rule{rule}}
}

// Ports is the pattern of single ports.
func Ports(list ...uint16) policy.Pattern {
	var p policy.SocketPattern
	for _, port := range list {
		p.Ports = append(p.Ports, policy.PortRange{First: port, Last: port})
	}
	return p
}

// FilePatterns are the patterns of paths, or of everything without any.
func FilePatterns(paths []string) []policy.Pattern {
	if paths == nil {
		return []policy.Pattern{policy.FilePattern{All: true}}
	}
	return []policy.Pattern{policy.FilePattern{Paths: paths}}
}

// Boottime returns the time that policies end by.
func Boottime(t *testing.T) uint64 {
	t.Helper()
	now, err := ebpfguard.Boottime()
	Check(t, err)
	return now
}
