package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/ebpfguard/ebpfguard/api/client"
	pb "github.com/ebpfguard/ebpfguard/api/ebpfguard/v1alpha1"
	"github.com/ebpfguard/ebpfguard/internal/duration"
)

// profiles are what mitigate forbids.
var profiles = map[string]pb.MitigateRequest_Profile{
	"no-network": pb.MitigateRequest_PROFILE_NO_NETWORK, "no-new-connections": pb.MitigateRequest_PROFILE_NO_NEW_CONNECTIONS, "read-only": pb.MitigateRequest_PROFILE_READ_ONLY,
	"no-exec": pb.MitigateRequest_PROFILE_NO_EXEC, "kill": pb.MitigateRequest_PROFILE_KILL,
}

// mitigateFlags are the flags of mitigate.
type mitigateFlags struct {
	pid                       uint32
	start                     uint64
	binary, cgroup, container string
	pod                       string
	user, profile             string
	name, message             string
	files                     policyFiles
	everyone, audit, force    bool
	ttl                       lasting
	output                    output
}

func newMitigateCommand() *cobra.Command {
	var daemon remote
	var flags mitigateFlags
	cmd := &cobra.Command{
		Use:   "mitigate --pid N --profile PROFILE|FILE --ttl DURATION",
		Short: "Forbid something for a limited time, at once",
		Long: `Forbid something for a limited time, at once.

The kernel ends the mitigation on time, even if no daemon runs then. Name the
processes by one of --pid, --binary, --container, --pod, --cgroup, --user or
--everyone. --pid stands for this process and all processes that it started or
will start, and not for another process that gets its number later. --container
stands for all containers of that name, also for those that start later, and
--pod for all containers of the Kubernetes pod. The profiles:

  no-network          forbids to bind, to connect and to send to an
                      address; sockets that are open already can no
                      longer send, receive or accept
  no-new-connections  the same, but open sockets keep working
  read-only           forbids to write, change, create, rename and
                      remove files
  no-exec             forbids to start programs
  kill                kills the processes now, and again when they do
                      anything that is judged

In place of a profile, FILE is a policy without a subject, whose rules forbid
it.

A mitigation may match nothing yet. If there is no such file, or no process that
matches now, a warning on the standard error says so.`,
		Example: `  # No network for process 4711 and all that it started
  ebpfguard mitigate --pid 4711 --profile no-network --ttl 10m

  # Kill the process of an alert, and none that has its number by now
  ebpfguard mitigate --pid 4711 --start 81234567890 --profile kill \
      --ttl 1h --message "INC-1234"

  # What would it forbid? Only report it
  ebpfguard mitigate --cgroup /system.slice/nginx.service \
      --profile no-exec --ttl 30m --audit

  # No container of this name reaches anything for an hour
  ebpfguard mitigate --container web --profile no-network --ttl 1h

  # Nor does any container of this pod, also after a restart of it
  ebpfguard mitigate --pod shop/web-0 --profile no-network --ttl 1h

  # See how long it lasts, then end it
  ebpfguard mitigate list
  ebpfguard mitigate lift incident-1234`,
		// Without it cobra takes an argument for a command.
		Args: cobra.ArbitraryArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			request, err := flags.request(cmd, args)
			if err != nil {
				return err
			}
			return daemon.change(cmd, func(ctx context.Context, guard *client.Client) error {
				response, err := guard.Mitigate(ctx, request)
				if err != nil {
					return err
				}
				return printAnswer(cmd.OutOrStdout(), flags.output, response, func() error {
					printWarnings(cmd.ErrOrStderr(), response.Warnings)
					return printMitigation(cmd.OutOrStdout(), response.Mitigation, flags)
				})
			})
		},
	}
	daemon.add(cmd)
	flags.add(cmd)
	completeWords(cmd, "profile", profileNames())
	completeNames(cmd, "user", "/etc/passwd")
	_ = cmd.RegisterFlagCompletionFunc("container", daemon.complete(containerNames))
	cmd.AddCommand(newMitigateListCommand(&daemon), newMitigateLiftCommand(&daemon))
	return cmd
}

func profileNames() []string {
	return []string{"no-network", "no-new-connections", "read-only", "no-exec", "kill"}
}

func (m *mitigateFlags) add(cmd *cobra.Command) {
	f := cmd.Flags()
	f.SortFlags = false
	m.addSubject(f)
	m.addMeasure(f)
}

// addSubject adds the flags that say whom it is about.
func (m *mitigateFlags) addSubject(f *pflag.FlagSet) {
	f.Uint32Var(&m.pid, "pid", 0, "subject: the process with this `number`, and its descendants")
	f.Uint64Var(&m.start, "start", 0, "only if the process of --pid started at this time, in `nanoseconds` as process.start_time of an alert")
	f.StringVar(&m.binary, "binary", "", "subject: processes that run this program, a `path` or pattern, and their descendants")
	f.StringVar(&m.container, "container", "", "subject: processes in containers of this `name`, or with * a glob of it")
	f.StringVar(&m.pod, "pod", "", "subject: processes in Kubernetes pods, as `NAMESPACE/NAME` or with * globs")
	f.StringVar(&m.cgroup, "cgroup", "", "subject: processes in this control group, a `path`, and below it")
	f.StringVar(&m.user, "user", "", "subject: processes of this user, a `name` or number")
	f.BoolVar(&m.everyone, "everyone", false, "subject: every process")
}

// addMeasure adds the flags that say what is forbidden, and for how long.
func (m *mitigateFlags) addMeasure(f *pflag.FlagSet) {
	f.StringVar(&m.profile, "profile", "", "use this `profile`: no-network, no-new-connections, read-only, no-exec or kill")
	f.VarP(&m.files, "file", "f", "use the rules of the policy in `FILE|-`, which has no subject; - is the standard input")
	f.Var(&m.ttl, "ttl", "how long it lasts, from 1s to 30d: a `duration` such as 90s, 10m, 2h or 7d")
	f.BoolVar(&m.audit, "audit", false, "only report what would be forbidden")
	f.BoolVar(&m.force, "force", false, "forbid it even if that locks you out until the mitigation ends")
	answerFlag(f, &m.output)
	f.StringVar(&m.name, "name", "", "the `name` of the mitigation (default: the profile and a number)")
	f.StringVar(&m.message, "message", "", "a `text` for its alerts, such as the number of the incident")
}

// request returns the request, or what is wrong with the flags.
func (m *mitigateFlags) request(cmd *cobra.Command, args []string) (*pb.MitigateRequest, error) {
	var given []string
	for _, flag := range []string{"pid", "binary", "container", "pod", "cgroup", "user", "everyone"} {
		if cmd.Flags().Changed(flag) {
			given = append(given, "--"+flag)
		}
	}
	files := append(m.files, args...)
	switch {
	case len(given) == 0 && len(args) > 0:
		return nil, usagef("unknown command %q of mitigate; choose list or lift, or name the subject with a flag such as --pid", args[0])
	case len(given) == 0:
		return nil, usagef("no subject is given; add one of --pid, --binary, --container, --pod, --cgroup, --user or --everyone")
	case len(given) > 1:
		return nil, usagef("%s are given; keep one of them", strings.Join(given, " and "))
	case m.start != 0 && given[0] != "--pid":
		return nil, usagef("--start needs --pid; add it")
	}
	if err := m.check(files); err != nil {
		return nil, err
	}
	r := &pb.MitigateRequest{Profile: profiles[m.profile], Ttl: durationpb.New(time.Duration(m.ttl)), Name: m.name, Message: m.message, Audit: m.audit, Force: m.force}
	switch given[0] {
	case "--pid":
		if m.pid == 0 {
			return nil, usagef("--pid 0 is not a process; write the number of one")
		}
		r.Subject = &pb.MitigateRequest_Process{Process: &pb.ProcessSubject{Pid: m.pid, Start: m.start}}
	case "--binary":
		r.Subject = &pb.MitigateRequest_Binary{Binary: m.binary}
	case "--container":
		r.Subject = &pb.MitigateRequest_Container{Container: m.container}
	case "--pod":
		r.Subject = &pb.MitigateRequest_Pod{Pod: m.pod}
	case "--cgroup":
		r.Subject = &pb.MitigateRequest_Cgroup{Cgroup: m.cgroup}
	case "--user":
		r.Subject = &pb.MitigateRequest_User{User: m.user}
	case "--everyone":
		if !m.everyone {
			return nil, usagef("--everyone=false gives no subject; leave it out and give another one")
		}
		r.Subject = &pb.MitigateRequest_Everyone{Everyone: true}
	}
	if len(files) == 0 {
		return r, nil
	}
	var err error
	r.File, r.Yaml, err = readRules(cmd, files[0])
	return r, err
}

// check returns what is wrong with what is to be forbidden, and for how long.
func (m *mitigateFlags) check(files []string) error {
	switch {
	case (m.profile == "") == (len(files) == 0):
		return usagef("nothing or too much is given to forbid; add either --profile or a file")
	case len(files) > 1:
		return usagef("a mitigation has the rules of one policy, but %s are given; keep one of them", strings.Join(files, " and "))
	case m.profile != "" && !slices.Contains(profileNames(), m.profile):
		return usagef("unknown profile %q; choose from %s", m.profile, strings.Join(profileNames(), ", "))
	case m.ttl <= 0:
		return usagef("no --ttl is given; add one such as 10m")
	}
	return nil
}

// readRules reads a policy from a file or, with -, from the standard input, and returns what it is called in messages.
func readRules(cmd *cobra.Command, file string) (name, text string, err error) {
	var data []byte
	name = file
	if file == "-" {
		name = "<stdin>"
		data, err = io.ReadAll(cmd.InOrStdin())
	} else {
		data, err = os.ReadFile(file)
	}
	if err != nil {
		return "", "", fmt.Errorf("mitigate: %w; check the path and its permissions", err)
	}
	return name, string(data), nil
}

// printMitigation prints what was asked for, with the name and the end that it got.
func printMitigation(w io.Writer, m *pb.Mitigation, flags mitigateFlags) error {
	what := m.GetProfile()
	if flags.audit {
		what += " (audit: only reported)"
	}
	var b strings.Builder
	name := printable(m.GetName())
	fmt.Fprintf(&b, "%s: %s for %s, for %s until %s\n", name, what, printable(m.GetSubject()),
		duration.Rough(time.Duration(flags.ttl)), m.GetExpires().AsTime().Local().Format("2006-01-02 15:04:05"))
	if killed := m.GetKilled(); len(killed) > 0 {
		fmt.Fprintf(&b, "killed %s: %s\n", count(len(killed), "process", "processes"), strings.Trim(fmt.Sprint(killed), "[]"))
	}
	fmt.Fprintf(&b, "end it earlier with: ebpfguard mitigate lift %s\n", name)
	_, err := io.WriteString(w, b.String())
	return err
}
