package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/ebpfguard/ebpfguard/api/client"
	pb "github.com/ebpfguard/ebpfguard/api/ebpfguard/v1alpha1"
	"github.com/ebpfguard/ebpfguard/daemon/explain"
	"github.com/ebpfguard/ebpfguard/internal/duration"
	"github.com/ebpfguard/ebpfguard/policy"
)

// ask asks the daemon about the process of --pid or the described one, and about an operation if
// one is named.
func (f *explainFlags) ask(cmd *cobra.Command, described map[string][]string, operation policy.Operation, about map[string][]string) (*pb.ExplainResponse, error) {
	request := &pb.ExplainRequest{Pid: f.pid, Operation: string(operation)}
	switch {
	case f.pid == 0 && cmd.Flags().Changed("pid"):
		return nil, usagef("--pid 0 is no process; write the number of one")
	case f.pid == 0:
		request.Described = &pb.DescribedProcess{}
		if err := explain.Describe(request.Described, described); err != nil {
			return nil, &usageError{err}
		}
	}
	if operation != "" {
		request.Object = &pb.DescribedObject{}
		if err := explain.Describe(request.Object, about); err != nil {
			return nil, &usageError{err}
		}
	}
	var response *pb.ExplainResponse
	err := f.daemon.ask(cmd, func(ctx context.Context, guard *client.Client) (err error) {
		response, err = guard.Explain(ctx, request)
		return err
	})
	if errors.Is(err, client.ErrNoDaemon) && f.pid == 0 {
		return nil, fmt.Errorf("%w; or name a file of policies, which needs no daemon", err)
	}
	return response, err
}

// explainInForce prints how the policies in force decide an operation.
func (f *explainFlags) explainInForce(cmd *cobra.Command, described map[string][]string, operation policy.Operation, about map[string][]string) error {
	answer, err := f.ask(cmd, described, operation, about)
	if err != nil {
		return err
	}
	explanation, err := explain.Explanation(answer.GetExplanation())
	if err != nil {
		return fmt.Errorf("explain: the daemon's answer cannot be read; is the daemon of another version? %w", err)
	}
	return f.print(cmd.OutOrStdout(), explanation)
}

// remoteProcess returns a process as the policies see it.
func remoteProcess(p *pb.Process) policy.Process {
	return policy.Process{Binary: p.GetBinary(), Script: p.GetScript(), Ancestors: p.GetAncestors(), UID: p.GetUid(),
		Cgroup: p.GetCgroup(), Unknown: p.GetUnknown(), IDs: []policy.ProcessID{{PID: p.GetPid(), Start: p.GetStart()}}}
}

// remoteOperations returns the operations of the rules that concern the process.
func remoteOperations(answer *pb.ExplainResponse) []policy.Operation {
	var operations []policy.Operation
	for _, p := range answer.GetPolicies() {
		for _, r := range p.GetRules() {
			operations = append(operations, policy.Operation(r.GetOperation()))
		}
	}
	return operations
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
	running := p.GetPid() != 0
	what := cmp.Or(printable(p.GetBinary()), "an unknown program")
	if !running && p.GetBinary() == "" && !p.GetUnknown() {
		what = "a program that no policy names"
	}
	if p.GetScript() != "" {
		what += " for " + printable(p.GetScript())
	}
	if running {
		fmt.Fprintf(&b, "process %d: %s\n\n", p.GetPid(), what)
	} else {
		fmt.Fprintf(&b, "a process of %s\n\n", what)
	}
	if p.GetUnknown() {
		b.WriteString(wrapFrom("! ", "the guard could not identify it: a rule for certain programs is taken to concern it when it denies") + "\n\n")
	}
	none := func(s string) string { return cmp.Or(printable(s), "-") }
	if running {
		fmt.Fprintf(&b, "name       %s\n", none(p.GetComm()))
		fmt.Fprintf(&b, "parent     process %d\n", p.GetPpid())
	}
	fmt.Fprintf(&b, "ancestors  %s\n", none(strings.Join(p.GetAncestors(), ", ")))
	fmt.Fprintf(&b, "user       %d\n", p.GetUid())
	fmt.Fprintf(&b, "cgroup     %s\n", none(p.GetCgroup()))
	if running {
		fmt.Fprintf(&b, "started    %d ns after boot (--start of mitigate)\n\n", p.GetStart())
		b.WriteString(procNote + "\n")
	}
	b.WriteString("\n")
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
