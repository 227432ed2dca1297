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

	"github.com/ebpfguard/ebpfguard/api/client"
	pb "github.com/ebpfguard/ebpfguard/api/ebpfguard/v1alpha1"
)

func newStatusCommand() *cobra.Command {
	var daemon remote
	format := outputText
	cmd := &cobra.Command{
		Use:   "status",
		Short: "Show whether all is well, what is in force and what was decided",
		Long: `Show whether all is well, what is in force and what was decided.

The first line begins with ENFORCING, with STARTING while the daemon starts, or
with DEGRADED if something needs attention. The next lines then say what it is and what to do.

The counters begin when enforcement begins, and outlive the daemon. An operation
is ALLOWED by an allow pattern, AUDITED or DENIED by a deny pattern. DENIED
includes KILLED. AUDITED and DENIED include UNDECIDED, where too little was
known. What no pattern matches is allowed and not counted. HITS of a rule counts
what it audited, denied or killed since its policy last changed.

LOST alerts did not fit into the kernel's buffer. LIMITED alerts exceeded the
limit of their rule. The operations were decided in both cases.

The exit code is 0 if the daemon is enforcing, 1 if it is starting or degraded, or
does not answer, and 3 if none runs.`,
		Example: `  ebpfguard status
  ebpfguard status >/dev/null || echo "not all is well"
  ebpfguard status -o json | jq '[.operations[].denied] | add'`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return daemon.ask(cmd, func(ctx context.Context, guard *client.Client) error {
				s, err := guard.Status(ctx, &pb.StatusRequest{})
				if err != nil {
					return err
				}
				if format == outputJSON {
					err = printMessage(cmd.OutOrStdout(), s)
				} else {
					_, err = io.WriteString(cmd.OutOrStdout(), describeStatus(s, time.Now()))
				}
				if err == nil && s.State != pb.StatusResponse_STATE_ENFORCING {
					err = errReported
				}
				return err
			})
		},
	}
	daemon.add(cmd)
	outputFlag(cmd.Flags(), &format, "the `format`: text or json", outputText, outputJSON)
	return cmd
}

// hottest is how many rules status shows.
const hottest = 5

func describeStatus(s *pb.StatusResponse, now time.Time) string {
	var b strings.Builder
	b.WriteString(headline(s) + "\n")
	if s.State == pb.StatusResponse_STATE_STARTING {
		fmt.Fprintf(&b, "\ndaemon    up %s, pid %d\n", span(now.Sub(s.Started.AsTime())), s.Pid)
		return b.String()
	}
	if len(s.Problems) > 0 {
		b.WriteString("\n")
	}
	for _, problem := range s.Problems {
		b.WriteString(wrapFrom("! ", printable(problem)) + "\n")
	}
	if u := s.Unconfirmed; u != nil {
		b.WriteString("\n" + wrapFrom("? ", fmt.Sprintf("the applied policies are taken back in %s; keep them with 'ebpfguard confirm'", span(u.Left.AsDuration()))) + "\n")
	}
	b.WriteString("\n")
	since := ""
	if s.Applied.IsValid() {
		since = fmt.Sprintf(", in force for %s", span(now.Sub(s.Applied.AsTime())))
	}
	fmt.Fprintf(&b, "revision  %d%s\n", s.Revision, since)
	fmt.Fprintf(&b, "daemon    up %s, pid %d, memory %s\n", span(now.Sub(s.Started.AsTime())), s.Pid, size(s.ResidentBytes))
	if s.Adopted {
		b.WriteString("          it took over from a previous daemon\n")
	}
	fmt.Fprintf(&b, "version   %s\n", cmp.Or(s.Version, "unknown"))
	fmt.Fprintf(&b, "host      %s, boot %s\n", cmp.Or(printable(s.Host), "unknown"), cmp.Or(s.BootId, "unknown"))
	fmt.Fprintf(&b, "policies  %s\n", cmp.Or(s.PolicyDirectory, "no directory; only applied policies"))
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
		if s.Policies == 0 {
			return "ENFORCING  nothing: no policies are in force; add one with 'ebpfguard apply -f FILE'"
		}
		return "ENFORCING  " + what
	case pb.StatusResponse_STATE_STARTING:
		return "STARTING   the daemon loads programs and policies; what a former daemon pinned is in force"
	case pb.StatusResponse_STATE_DEGRADED:
		return fmt.Sprintf("DEGRADED   %s; still enforcing %s", many(len(s.Problems), "problem", "problems"), what)
	}
	return "UNKNOWN    the daemon reports a state that this command does not know; is the daemon newer?"
}

// describeOperations prints two tables: one would be too wide for a terminal of
// 80 columns.
func describeOperations(b *strings.Builder, s *pb.StatusResponse) {
	decided := [][]string{{"OPERATION", "ATTACHED", "ALLOWED", "AUDITED", "DENIED", "KILLED", "UNDECIDED"}}
	alerts := [][]string{{"ALERTS OF", "SENT", "LOST", "LIMITED"}}
	for _, o := range s.Operations {
		decided = append(decided, []string{o.Operation, yesNo(o.Attached), number(o.Allowed), number(o.Audited), number(o.Denied),
			number(o.Killed), number(o.Undecided)})
		if o.Alerts+o.AlertsLost+o.AlertsLimited > 0 {
			alerts = append(alerts, []string{o.Operation, number(o.Alerts), number(o.AlertsLost), number(o.AlertsLimited)})
		}
	}
	if len(decided) == 1 {
		b.WriteString("\nnothing was counted: no policy has rules yet\n")
		return
	}
	b.WriteString("\n")
	_ = table(b, []int{2, 3, 4, 5, 6}, decided...)
	b.WriteString("what no pattern matches is allowed and not counted\n")
	if len(alerts) > 1 {
		b.WriteString("\n")
		_ = table(b, []int{1, 2, 3}, alerts...)
	}
}

func describeRules(b *strings.Builder, s *pb.StatusResponse) {
	hot := slices.DeleteFunc(slices.Clone(s.RuleCounters), func(r *pb.RuleCounters) bool { return r.Hits == 0 })
	slices.SortStableFunc(hot, func(a, b *pb.RuleCounters) int { return cmp.Compare(b.Hits, a.Hits) })
	if len(hot) == 0 {
		b.WriteString("\nno rule has audited or denied anything yet\n")
		return
	}
	rows := [][]string{{"HITS", "LOST", "LIMITED", "RULE", "OPERATION", "HOTTEST RULES"}}
	for _, r := range hot[:min(len(hot), hottest)] {
		rows = append(rows, []string{number(r.Hits), number(r.AlertsLost), number(r.AlertsLimited), number(r.Rule), r.Operation, r.Policy})
	}
	b.WriteString("\n")
	_ = table(b, []int{0, 1, 2, 3}, rows...)
	if rest := len(hot) - hottest; rest > 0 {
		fmt.Fprintf(b, "and %s\n", many(rest, "more rule", "more rules"))
	}
}

func describeAlerts(b *strings.Builder, s *pb.StatusResponse) {
	var sent, lost, limited uint64
	for _, o := range s.Operations {
		sent, lost, limited = sent+o.Alerts, lost+o.AlertsLost, limited+o.AlertsLimited
	}
	fmt.Fprintf(b, "\nalerts    kernel: %s sent, %s lost, %s limited\n", number(sent), number(lost), number(limited))
	fmt.Fprintf(b, "          daemon: %s read, %s folded into others, last number %s\n",
		number(s.GetAlerts().GetRead()), number(s.GetAlerts().GetFolded()), number(s.GetAlerts().GetSequence()))
	rows := [][]string{{"SINK", "WRITTEN", "FILTERED", "DROPPED", "LAST ERROR"}}
	for _, k := range s.GetAlerts().GetSinks() {
		rows = append(rows, []string{printable(k.Name), number(k.Written), number(k.Filtered), number(k.Dropped), cmp.Or(printable(k.Error), "-")})
	}
	if len(rows) == 1 {
		b.WriteString("          no sink is configured: only 'ebpfguard alerts' shows them\n")
		return
	}
	b.WriteString("\n")
	_ = table(b, []int{1, 2, 3}, rows...)
}
