package main

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/ebpfguard/ebpfguard/api/client"
	pb "github.com/ebpfguard/ebpfguard/api/ebpfguard/v1alpha1"
	"github.com/ebpfguard/ebpfguard/internal/duration"
	"github.com/ebpfguard/ebpfguard/policy"
)

// ask asks the daemon about the process of --pid.
func (f *explainFlags) ask(cmd *cobra.Command) (*pb.ExplainResponse, error) {
	if f.pid == 0 {
		return nil, usagef("--pid 0 is no process; write the number of one")
	}
	var response *pb.ExplainResponse
	err := f.daemon.ask(cmd, func(ctx context.Context, guard *client.Client) (err error) {
		response, err = guard.Explain(ctx, &pb.ExplainRequest{Pid: f.pid})
		return err
	})
	return response, err
}

// remoteProcess returns a process as the policies see it.
func remoteProcess(p *pb.Process) policy.Process {
	return policy.Process{Binary: p.GetBinary(), Script: p.GetScript(), Ancestors: p.GetAncestors(), UID: p.GetUid(),
		Cgroup: p.GetCgroup(), Unknown: p.GetUnknown(), IDs: []policy.ProcessID{{PID: p.GetPid(), Start: p.GetStart()}}}
}

// named returns the processes that the policies name. The daemon does not tell
// the numbers of a process's ancestors, but that a policy for processes
// concerns it: then it is, or descends from, those.
func named(concerning []policy.Policy) []policy.ProcessID {
	var ids []policy.ProcessID
	for _, p := range concerning {
		ids = append(ids, p.Subject.Processes...)
	}
	return ids
}

// remotePolicies reads the policies that the daemon sent.
func remotePolicies(policies []*pb.Policy) ([]policy.Policy, error) {
	var set []policy.Policy
	for _, p := range policies {
		// addresses_from is meant from the folder of the file.
		file, _, _ := strings.Cut(p.Source, ":")
		read, err := policy.Parse(cmp.Or(file, p.Name), []byte(p.Yaml))
		if err != nil {
			return nil, fmt.Errorf("explain: policy %q of the daemon cannot be read here; is the daemon of another version?\n%w", p.Name, err)
		}
		for i := range read {
			// The positions in what was sent are not those in the file.
			read[i].Source = p.Source
			for j := range read[i].Rules {
				read[i].Rules[j].Source = ""
			}
		}
		set = append(set, read...)
	}
	return set, nil
}

// procNote says what of a process is not known here.
const procNote = `this is what /proc tells now; the guard judges by what it noted as the process
started its program, which may differ: the script that an interpreter runs, other
names of the program's file (links), names before programs and cgroups were
renamed, ancestors that have ended`

// printProcess prints what a process is to the policies in force.
func printProcess(w io.Writer, response *pb.ExplainResponse) error {
	var b strings.Builder
	p := response.GetProcess()
	what := cmp.Or(printable(p.GetBinary()), "an unknown program")
	if p.GetScript() != "" {
		what += " for " + printable(p.GetScript())
	}
	fmt.Fprintf(&b, "process %d: %s\n\n", p.GetPid(), what)
	if p.GetUnknown() {
		b.WriteString(wrapFrom("! ", "the guard could not identify it: a rule for certain programs is taken to concern it when it denies") + "\n\n")
	}
	none := func(s string) string { return cmp.Or(printable(s), "-") }
	fmt.Fprintf(&b, "name       %s\n", none(p.GetComm()))
	fmt.Fprintf(&b, "parent     process %d\n", p.GetPpid())
	fmt.Fprintf(&b, "ancestors  %s\n", none(strings.Join(p.GetAncestors(), ", ")))
	fmt.Fprintf(&b, "user       %d\n", p.GetUid())
	fmt.Fprintf(&b, "cgroup     %s\n", none(p.GetCgroup()))
	fmt.Fprintf(&b, "started    %d ns after boot (--start of mitigate)\n\n", p.GetStart())
	b.WriteString(procNote + "\n\n")
	if len(response.GetPolicies()) == 0 {
		b.WriteString("no policy concerns it: it may do everything\n")
	} else {
		n := len(response.GetPolicies())
		fmt.Fprintf(&b, "%s it; add --operation and its flags to ask about one operation\n", count(n, "policy concerns", "policies concern"))
	}
	for _, p := range response.GetPolicies() {
		describePolicy(&b, p)
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// describePolicy prints a policy with its rules.
func describePolicy(b *strings.Builder, p *pb.Policy) {
	where := origin(p.Origin)
	if p.Source != "" {
		where += " " + printable(p.Source)
	}
	if p.Mitigation != nil {
		where += ", ends in " + duration.Rough(p.Mitigation.Left.AsDuration())
	}
	fmt.Fprintf(b, "\n%s (%s, %s)\n", printable(p.Name), p.Mode, where)
	set, err := policy.Parse(p.Name, []byte(p.Yaml))
	for i, counters := range p.Rules {
		hits := many(counters.Hits, "hit", "hits")
		if err != nil || len(set) != 1 || i >= len(set[0].Rules) {
			// For example one whose addresses_from is for the daemon only.
			fmt.Fprintf(b, "  rule %d  %s, %s\n", i, counters.Operation, hits)
			continue
		}
		rule := set[0].Rules[i]
		fmt.Fprintf(b, "  rule %d  %s, %s\n", i, rule.Operation, hits)
		for _, line := range slices.Concat(patternLines("allow", rule.Allow), patternLines("deny", rule.Deny)) {
			b.WriteString("          " + line + "\n")
		}
	}
}

func patternLines(word string, patterns []policy.Pattern) []string {
	var lines []string
	for _, p := range patterns {
		lines = append(lines, fmt.Sprintf("%-5s %v", word, p))
	}
	return lines
}
