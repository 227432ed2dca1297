package main

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	pb "github.com/ebpfguard/ebpfguard/api/ebpfguard/v1alpha1"
)

func newStatusCommand() *cobra.Command {
	var daemon remote
	format := outputText
	cmd := &cobra.Command{
		Use:   "status",
		Short: "Tell whether all is well, what is in force and what was decided",
		Long: `Tell whether all is well, what is in force and what was decided.

The first line begins with ENFORCING, or with DEGRADED when something needs
attention: what it is and what to do comes next. Operations are counted since the
enforcement began, also before this daemon was started. LOST alerts did not fit
into the kernel's buffer, LIMITED ones were more than a rule wants; what they are
about was decided all the same.

The exit code is 0 whenever the daemon answers.`,
		Example: `  ebpfguard status
  ebpfguard status -o json | jq -e '.state == "enforcing"'
  ebpfguard status -o json | jq '[.operations[].denied] | add'`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return daemon.ask(cmd, func(ctx context.Context, guard pb.GuardServiceClient) error {
				s, err := guard.Status(ctx, &pb.StatusRequest{})
				if err != nil {
					return err
				}
				if format == outputJSON {
					return printMessage(cmd.OutOrStdout(), s)
				}
				_, err = io.WriteString(cmd.OutOrStdout(), describeStatus(s, time.Now()))
				return err
			})
		},
	}
	daemon.add(cmd)
	cmd.Flags().VarP(&format, "output", "o", "the `format`: text or json")
	return cmd
}

// hottest is how many rules status shows.
const hottest = 5

func describeStatus(s *pb.StatusResponse, now time.Time) string {
	var b strings.Builder
	b.WriteString(headline(s) + "\n")
	if len(s.Problems) > 0 {
		b.WriteString("\n")
	}
	for _, problem := range s.Problems {
		b.WriteString(wrapFrom("! ", printable(problem)) + "\n")
	}
	b.WriteString("\n")
	since := ""
	if s.Applied.IsValid() {
		since = fmt.Sprintf(", in force for %s", span(now.Sub(s.Applied.AsTime())))
	}
	fmt.Fprintf(&b, "set       %d%s\n", s.Generation, since)
	adopted := ""
	if s.Adopted {
		adopted = "; took over what a former daemon enforced"
	}
	fmt.Fprintf(&b, "daemon    %s, pid %d, up %s, %s%s\n", cmp.Or(s.Version, "of an unknown version"), s.Pid,
		span(now.Sub(s.Started.AsTime())), size(s.ResidentBytes), adopted)
	fmt.Fprintf(&b, "host      %s, boot %s\n", cmp.Or(printable(s.Host), "unknown"), cmp.Or(s.BootId, "unknown"))
	fmt.Fprintf(&b, "policies  %s\n", cmp.Or(s.PolicyDirectory, "no directory; applied ones only"))
	if s.PinPath != "" {
		fmt.Fprintf(&b, "pins      %s\n", s.PinPath)
	} else {
		b.WriteString("pins      none: enforcement ends with the daemon\n")
	}
	describeOperations(&b, s)
	describeRules(&b, s)
	describeAlerts(&b, s)
	return b.String()
}

// headline says how it is, in one line.
func headline(s *pb.StatusResponse) string {
	what := fmt.Sprintf("%s, %s, %s", many(s.Policies, "policy", "policies"), many(s.Rules, "rule", "rules"),
		many(s.Mitigations, "mitigation", "mitigations"))
	switch s.State {
	case pb.StatusResponse_STATE_ENFORCING:
		return "ENFORCING  " + what
	case pb.StatusResponse_STATE_DEGRADED:
		return fmt.Sprintf("DEGRADED   %s; still enforcing %s", many(len(s.Problems), "problem", "problems"), what)
	}
	return "UNKNOWN    the daemon does not tell its state; is it of another version?"
}

func describeOperations(b *strings.Builder, s *pb.StatusResponse) {
	rows := [][]string{{"OPERATION", "ATTACHED", "ALLOWED", "AUDITED", "DENIED", "KILLED", "UNDECIDED", "ALERTS", "LOST", "LIMITED"}}
	for _, o := range s.Operations {
		rows = append(rows, []string{o.Operation, yesNo(o.Attached), number(o.Allowed), number(o.Audited), number(o.Denied),
			number(o.Killed), number(o.Undecided), number(o.Alerts), number(o.AlertsLost), number(o.AlertsLimited)})
	}
	if len(rows) == 1 {
		b.WriteString("\nno operation was counted: no policy needs one yet\n")
		return
	}
	b.WriteString("\n")
	_ = table(b, []int{2, 3, 4, 5, 6, 7, 8, 9}, rows...)
}

func describeRules(b *strings.Builder, s *pb.StatusResponse) {
	hot := slices.DeleteFunc(slices.Clone(s.RuleCounters), func(r *pb.RuleCounters) bool { return r.Hits == 0 })
	slices.SortStableFunc(hot, func(a, b *pb.RuleCounters) int { return cmp.Compare(b.Hits, a.Hits) })
	if len(hot) == 0 {
		b.WriteString("\nno rule has audited or denied anything yet\n")
		return
	}
	rows := [][]string{{"HOTTEST RULES", "RULE", "OPERATION", "HITS", "LOST", "LIMITED"}}
	for _, r := range hot[:min(len(hot), hottest)] {
		rows = append(rows, []string{r.Policy, number(r.Rule), r.Operation, number(r.Hits), number(r.AlertsLost), number(r.AlertsLimited)})
	}
	b.WriteString("\n")
	_ = table(b, []int{1, 3, 4, 5}, rows...)
	if rest := len(hot) - hottest; rest > 0 {
		fmt.Fprintf(b, "and %s\n", many(rest, "more rule", "more rules"))
	}
}

func describeAlerts(b *strings.Builder, s *pb.StatusResponse) {
	var sent, lost, limited uint64
	for _, o := range s.Operations {
		sent, lost, limited = sent+o.Alerts, lost+o.AlertsLost, limited+o.AlertsLimited
	}
	fmt.Fprintf(b, "\nalerts    %s sent by the kernel, %s lost, %s limited\n", number(sent), number(lost), number(limited))
	fmt.Fprintf(b, "          %s read by this daemon, %s folded into others, the last has sequence number %s\n",
		number(s.GetAlerts().GetRead()), number(s.GetAlerts().GetFolded()), number(s.GetAlerts().GetSequence()))
	rows := [][]string{{"SINK", "WRITTEN", "FILTERED", "DROPPED", "LAST ERROR"}}
	for _, k := range s.GetAlerts().GetSinks() {
		rows = append(rows, []string{printable(k.Name), number(k.Written), number(k.Filtered), number(k.Dropped), cmp.Or(printable(k.Error), "-")})
	}
	if len(rows) == 1 {
		b.WriteString("          they go nowhere but to those who watch: no sink is configured\n")
		return
	}
	b.WriteString("\n")
	_ = table(b, []int{1, 2, 3}, rows...)
}
