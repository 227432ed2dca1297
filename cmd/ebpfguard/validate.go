package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/ebpfguard/ebpfguard/internal/compile"
	"github.com/ebpfguard/ebpfguard/internal/hostroot"
	"github.com/ebpfguard/ebpfguard/internal/machine"
	"github.com/ebpfguard/ebpfguard/internal/terminal"
	"github.com/ebpfguard/ebpfguard/policy"
)

func newValidateCommand() *cobra.Command {
	var files policyFiles
	format := outputText
	cmd := &cobra.Command{
		Use:   "validate FILE|DIR|- ...",
		Short: "Check policies without a kernel",
		Long: `Check policies without a kernel and without privileges.

Prints how many policies and rules there are, how many addresses each file of
addresses_from gave, and a warning for what is probably not meant: a rule that
can have no effect, a directory that is named like a file, a path, program,
control group, user or group that does not exist on this machine. Warnings do
not change the exit code, since the policies may be for another machine. If
anything is wrong, it prints each problem with its file, line and column to the
standard error, and the exit code is 1. A directory stands for its *.yaml, *.yml
and *.json files without those of subdirectories, - for the standard input.`,
		Example: `  ebpfguard validate /etc/ebpfguard/policies
  ebpfguard validate -f ssh.yaml -f web.yaml --output json`,
		RunE: func(cmd *cobra.Command, args []string) error {
			paths, err := files.and(args)
			if err != nil {
				return err
			}
			if _, err := (&hostPlace{hostroot.Auto}).find(); err != nil {
				return fmt.Errorf("validate: %w", err)
			}
			return validate(cmd.OutOrStdout(), paths, format)
		},
	}
	files.add(cmd, "read policies from")
	outputFlag(cmd.Flags(), &format, "the `format`: text or json", outputText, outputJSON)
	return cmd
}

// validation is what validate prints as JSON.
type validation struct {
	Policies int `json:"policies"`
	Rules    int `json:"rules"`
	// Lists are the patterns with addresses_from.
	Lists    []addressList `json:"lists,omitempty"`
	Errors   []finding     `json:"errors"`
	Warnings []finding     `json:"warnings"`
}

// addressList is what the files of one pattern gave. An address or network that
// is there twice counts once.
type addressList struct {
	Source  string   `json:"source"`
	Policy  string   `json:"policy"`
	Rule    int      `json:"rule"`
	Files   []string `json:"files"`
	Entries int      `json:"entries"`
}

func (l addressList) String() string {
	return fmt.Sprintf("%s: policy %q: rule %d: %s from %s", l.Source, l.Policy, l.Rule, count(l.Entries, "address or network", "addresses and networks"), strings.Join(l.Files, ", "))
}

// addressLists returns the patterns with addresses_from.
func addressLists(set []policy.Policy) []addressList {
	var lists []addressList
	for _, p := range set {
		for i, r := range p.Rules {
			for _, pattern := range slices.Concat(r.Allow, r.Deny) {
				if s, ok := pattern.(policy.SocketPattern); ok && len(s.AddressesFrom) > 0 {
					lists = append(lists, addressList{r.Source, p.Name, i, s.AddressesFrom, len(s.Listed)})
				}
			}
		}
	}
	return lists
}

// finding is an error or a warning. Rule is -1 when it is about no rule.
type finding struct {
	Source string `json:"source"`
	Policy string `json:"policy"`
	Rule   int    `json:"rule"`
	Text   string `json:"text"`
}

func validate(w io.Writer, paths []string, format output) error {
	set, err := policy.Load(paths...)
	result := validation{Policies: len(set), Lists: addressLists(set), Errors: findings(err), Warnings: []finding{}}
	for _, p := range set {
		result.Rules += len(p.Rules)
	}
	warnings := slices.Concat(policy.Unread(paths...), policy.Warnings(set), machine.Warnings(set), machine.Guard(set), unknownNames(set), tooLarge(set))
	for _, warning := range warnings {
		result.Warnings = append(result.Warnings, finding(warning))
	}
	if format == outputJSON {
		if err := printJSON(w, result); err != nil {
			return err
		}
	}
	if err != nil {
		return fmt.Errorf("validate: the policies cannot be used:\n%w", err)
	}
	if format == outputJSON {
		return nil
	}
	for _, warning := range warnings {
		fmt.Fprintln(w, warning)
	}
	for _, list := range result.Lists {
		fmt.Fprintln(w, list)
	}
	_, err = fmt.Fprintf(w, "ok: %s, %s\n", count(result.Policies, "policy", "policies"), count(result.Rules, "rule", "rules"))
	return err
}

// tooLarge warns about a set that has no room in the kernel's tables, and that no guard
// can apply therefore. Names that this machine has not are left to unknownNames.
func tooLarge(set []policy.Policy) []policy.Warning {
	users, groups := hostroot.Host().Names()
	resolved, err := policy.ResolveNames(set, users, groups)
	if err != nil {
		return nil
	}
	if _, err := compile.Compile(resolved, compile.Options{Number: 1}); errors.Is(err, compile.ErrTooLarge) {
		return []policy.Warning{{Rule: -1, Text: "the policies cannot be applied together: " + err.Error()}}
	}
	return nil
}

// unknownNames warns about the users and groups that this machine has not. The
// policies may be for another one.
func unknownNames(set []policy.Policy) []policy.Warning {
	var warnings []policy.Warning
	users, groups := hostroot.Host().Names()
	_, err := policy.ResolveNames(set, users, groups)
	for _, found := range findings(err) {
		found.Text = "on this machine, " + found.Text + ", unless the policy is for another machine"
		warnings = append(warnings, policy.Warning(found))
	}
	return warnings
}

// findings returns the problems that the error joins.
func findings(err error) []finding {
	found := []finding{}
	if err == nil {
		return found
	}
	switch e := err.(type) {
	case interface{ Unwrap() []error }:
		for _, err := range e.Unwrap() {
			found = append(found, findings(err)...)
		}
	case *policy.Error:
		found = append(found, finding{Source: e.Source, Policy: e.Policy, Rule: e.Rule, Text: e.Err.Error()})
	default:
		found = append(found, finding{Rule: -1, Text: err.Error()})
	}
	return found
}

func count(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}

func printJSON(w io.Writer, v any) error {
	var b bytes.Buffer
	encoder := json.NewEncoder(&b)
	encoder.SetIndent("", "  ")
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(v); err != nil {
		return err
	}
	_, err := w.Write(terminal.EscapeJSON(b.Bytes()))
	return err
}
