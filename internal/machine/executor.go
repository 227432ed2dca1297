package machine

import (
	"fmt"
	"strings"

	"github.com/ebpfguard/ebpfguard/policy"
)

// executor is the program that systemd starts first in the control group of a service, from version 255 on; it starts
// the service's program in its own place (systemd's src/core/exec-invoke.c).
const executor = "/usr/lib/systemd/systemd-executor"

// executor warns of a list of programs for a systemd unit that leaves out what systemd starts there first: with the
// rule the unit would fail to start.
func (m *Machine) executor(p policy.Policy) []policy.Warning {
	if len(p.Subject.Cgroups) == 0 || m.look(executor).state != there {
		return nil
	}
	p.Subject = policy.Subject{Cgroups: p.Subject.Cgroups}
	for i, r := range p.Rules {
		if r.Operation != policy.BprmCheckSecurity || len(r.Allow) == 0 {
			continue // no list of what may start
		}
		for _, group := range p.Subject.Cgroups {
			if !strings.HasSuffix(group, ".service") || strings.ContainsAny(group, "*?") {
				continue
			}
			d := policy.Decide([]policy.Policy{p}, policy.Request{
				Process:   policy.Process{Binary: "/usr/lib/systemd/systemd", Cgroup: group},
				Operation: policy.BprmCheckSecurity,
				Object:    policy.Program{Names: policy.Names{Path: executor}},
			})
			if d.Verdict < policy.Deny || d.Rule != i {
				continue
			}
			source := r.Source
			if source == "" {
				source = p.Source
			}
			return []policy.Warning{{Source: source, Policy: p.Name, Rule: i, Text: fmt.Sprintf(
				"%s will not start: systemd starts its program through %s in the unit's own cgroup; add that path to the rule's allow", group, executor)}}
		}
	}
	return nil
}
