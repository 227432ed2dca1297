package machine

import (
	"fmt"
	"os"
	"slices"

	"github.com/ebpfguard/ebpfguard/internal/hostroot"
	"github.com/ebpfguard/ebpfguard/policy"
)

// commands are where the guard's command is installed.
var commands = []string{"/usr/bin/ebpfguard", "/usr/local/bin/ebpfguard"}

// guardNeeds are what the guard's own command has to be able to do.
var guardNeeds = []struct {
	path, what string
	access     policy.Access
}{
	{"/sys/fs/bpf/ebpfguard/layout/maps/force", "its pins below /sys/fs/bpf/ebpfguard, without which it can neither change nor end what is in force", policy.Read | policy.Write},
	{"/var/lib/ebpfguard/applied.yaml", "its state below /var/lib/ebpfguard, without which it forgets what was applied", policy.Read | policy.Write},
}

// Guard warns about policies that deny the guard's own command what it needs to be
// managed, wherever the command may be installed: its files, and being started.
func Guard(set []policy.Policy) []policy.Warning {
	users, groups := hostroot.Host().Names()
	if resolved, err := policy.ResolveNames(set, users, groups); err == nil {
		set = resolved
	}
	all := commands
	if own, err := os.Executable(); err == nil && !slices.Contains(all, own) {
		all = append(slices.Clip(all), own)
	}
	var warnings []policy.Warning
	warn := func(d policy.Decision, text string) {
		p := set[d.Policy]
		source := p.Rules[d.Rule].Source
		if source == "" {
			source = p.Source
		}
		warnings = append(warnings, policy.Warning{Source: source, Policy: p.Name, Rule: d.Rule, Text: text})
	}
	daemon := func(command string) policy.Process {
		return policy.Process{Binary: command, Cgroup: "/system.slice/ebpfguard.service"}
	}
	for _, need := range guardNeeds {
		object := policy.File{Names: policy.Names{Path: need.path}, Access: need.access}
		if d, refused := refusedToAll(set, all, policy.FileOpen, object, daemon); refused {
			warn(d, fmt.Sprintf("the rule denies the guard's own command %s: add an exception for subject {binaries: [%s]}, or leave these files out", need.what, commands[0]))
		}
	}
	starts := func(command string) policy.Decision {
		shell := policy.Process{Binary: "/usr/bin/bash"}
		return policy.Decide(set, policy.Request{Process: shell, Operation: policy.BprmCheckSecurity, Object: policy.Program{Names: policy.Names{Path: command}}})
	}
	for i, command := range all {
		d := starts(command)
		if d.Verdict < policy.Deny {
			break
		}
		if i == len(all)-1 {
			warn(d, fmt.Sprintf("with the rule no shell of root can start %s any more, so nothing can be changed or ended: allow it for everyone: allow: {paths: [%s]}", commands[0], commands[0]))
		}
	}
	return warnings
}

// refusedToAll reports whether none of the commands is allowed an operation.
func refusedToAll(set []policy.Policy, commands []string, o policy.Operation, object policy.Object, process func(string) policy.Process) (policy.Decision, bool) {
	var last policy.Decision
	for _, command := range commands {
		last = policy.Decide(set, policy.Request{Process: process(command), Operation: o, Object: object})
		if last.Verdict < policy.Deny {
			return last, false
		}
	}
	return last, true
}
