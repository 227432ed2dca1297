package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"github.com/ebpfguard/ebpfguard/api/client"
	pb "github.com/ebpfguard/ebpfguard/api/ebpfguard/v1alpha1"
	"github.com/ebpfguard/ebpfguard/policy"
	"github.com/ebpfguard/ebpfguard/sink"
)

func newAlertsCommand() *cobra.Command {
	var daemon remote
	var request pb.WatchRequest
	format, most, after, withStdin := outputText, 0, uint64(0), false
	cmd := &cobra.Command{
		Use:   "alerts",
		Short: "Follow the alerts of a running daemon",
		Long: `Print the alerts of a running daemon until you interrupt it. It shows new alerts
only; with --recent it begins with the last 1,024, with --after with those of
them that came after an alert. --until-now stops after those.

Of the values of one flag one must match; different flags must all match. If
alerts come faster than this command can print them, it loses some and says so
on the standard error. The daemon still counts them and writes them to its
outputs. docs/alerts.md lists the keys of the JSON. There is colour on a
terminal only, and not if NO_COLOR is set.`,
		Example: `  ebpfguard alerts
  ebpfguard alerts --verdict deny,kill --severity high,critical
  ebpfguard alerts --operation socket_connect --binary '/usr/bin/*' \
      --policy 'web-*'
  ebpfguard alerts -o json | jq -r '.process.binary'

  # What is refused in the containers of a name
  ebpfguard alerts --container 'web-*' --verdict deny

  # What was refused in a pod lately?
  ebpfguard alerts --pod shop/web-0 --recent --until-now

  # Wait for the next denial
  ebpfguard alerts --verdict deny --number 1`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if cmd.Flags().Changed("after") {
				request.After = &after
			}
			if most < 0 {
				return usagef("--number %d is negative; write how many alerts to wait for", most)
			}
			switch {
			case request.Recent && request.After != nil:
				return usagef("--recent and --after are given; keep one of them")
			case request.UntilNow && !request.Recent && request.After == nil:
				return usagef("--until-now alone shows nothing; add --recent or --after")
			}
			filter := sink.Filter{Operations: request.Operations, Policies: request.Policies, Verdicts: request.Verdicts,
				Severities: request.Severities, Binaries: request.Binaries, Containers: request.Containers, Pods: request.Pods}
			if err := filter.Validate(); err != nil {
				return &usageError{err}
			}
			ctx, stop := signal.NotifyContext(cmd.Context(), os.Interrupt, syscall.SIGTERM)
			defer stop()
			if withStdin {
				go func() {
					_, _ = io.Copy(io.Discard, cmd.InOrStdin())
					stop()
				}()
			}
			printer := &alertPrinter{stdout: cmd.OutOrStdout(), stderr: cmd.ErrOrStderr(), format: format, colour: colours(cmd.OutOrStdout())}
			err := daemon.call(ctx, cmd, func(ctx context.Context, guard *client.Client) error {
				return printer.watch(ctx, guard, &request, most)
			})
			if ctx.Err() != nil {
				return nil // interrupting it is how it ends
			}
			return err
		},
	}
	daemon.add(cmd)
	f := cmd.Flags()
	f.SortFlags = false
	f.StringSliceVar(&request.Operations, "operation", nil, "only of these `operations`")
	f.StringSliceVar(&request.Policies, "policy", nil, "only of these policies, `names` or with * globs")
	f.StringSliceVar(&request.Verdicts, "verdict", nil, "only these `verdicts`: audit, deny or kill")
	f.StringSliceVar(&request.Severities, "severity", nil, "only of these `severities`; none stands for rules without one")
	f.StringSliceVar(&request.Binaries, "binary", nil, "only of these programs, `paths` or patterns as in a policy")
	f.StringSliceVar(&request.Containers, "container", nil, "only in these containers, `names` or with * globs, or ids")
	f.StringSliceVar(&request.Pods, "pod", nil, "only in these Kubernetes pods, as `NAMESPACE/NAME` or with * globs")
	outputFlag(f, &format, "the `format`: text or json", outputText, outputJSON)
	f.BoolVar(&request.Recent, "recent", false, "begin with the last 1,024 alerts that the daemon still has")
	f.Uint64Var(&after, "after", 0, "begin after the alert with this `number`, its sequence in JSON")
	f.BoolVar(&request.UntilNow, "until-now", false, "stop after the alerts of --recent or --after")
	f.BoolVar(&withStdin, "with-stdin", false, "stop when the standard input ends: who runs this on another machine may be gone")
	f.IntVarP(&most, "number", "n", 0, "stop after this `number` of alerts; 0 for never")
	completeList(cmd, "operation", fixed(operationNames()))
	completeList(cmd, "verdict", fixed([]string{"audit", "deny", "kill"}))
	completeList(cmd, "severity", fixed([]string{"none", "info", "low", "medium", "high", "critical"}))
	completeList(cmd, "container", daemon.complete(containerNames))
	completeList(cmd, "policy", daemon.complete(namesOf()))
	return cmd
}

func operationNames() []string {
	var names []string
	for _, o := range policy.Operations() {
		names = append(names, string(o))
	}
	return names
}

// alertPrinter prints alerts as they come.
type alertPrinter struct {
	stdout, stderr io.Writer
	format         output
	colour         bool
}

// watch prints alerts until ctx ends, or so many were printed.
func (p *alertPrinter) watch(ctx context.Context, guard *client.Client, request *pb.WatchRequest, most int) error {
	alerts, err := guard.Watch(ctx, request)
	if err != nil {
		return err
	}
	if p.colour { // on a terminal
		fmt.Fprintln(p.stderr, "waiting for alerts; press Ctrl-C to stop")
	}
	n := 0
	for response, err := range alerts {
		if err != nil {
			return err
		}
		switch event := response.Event.(type) {
		case *pb.WatchResponse_Lost:
			fmt.Fprintf(p.stderr, "%s lost here: more came than this command could print\n", many(event.Lost, "alert was", "alerts were"))
		case *pb.WatchResponse_Json:
			if err := p.print(event.Json, response.Text); err != nil {
				return err
			}
			if n++; n == most {
				return nil
			}
		}
	}
	if request.UntilNow {
		return nil
	}
	return errors.New("the daemon sends no more alerts; see 'ebpfguard status'")
}

func (p *alertPrinter) print(json, text string) error {
	line := json
	if p.format == outputText {
		line = printable(text)
		if p.colour {
			line = colourVerdict(line)
		}
	}
	_, err := fmt.Fprintln(p.stdout, line)
	return err
}

// verdictColours are ANSI's: yellow, red, and white on red.
var verdictColours = map[string]string{"audit": "\x1b[33m", "deny": "\x1b[31m", "kill": "\x1b[1;37;41m"}

// colourVerdict colours the verdict, the second word of an alert.
func colourVerdict(line string) string {
	words := strings.SplitN(line, " ", 3)
	if len(words) < 3 || verdictColours[words[1]] == "" {
		return line
	}
	words[1] = verdictColours[words[1]] + words[1] + "\x1b[0m"
	return strings.Join(words, " ")
}

// colours reports whether to write colours.
func colours(w io.Writer) bool {
	return os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb" && isTerminal(w)
}

func isTerminal(w any) bool {
	file, ok := w.(*os.File)
	if !ok {
		return false
	}
	_, err := unix.IoctlGetTermios(int(file.Fd()), unix.TCGETS)
	return err == nil
}
