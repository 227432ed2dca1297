// The command ebpfguard enforces policies, and checks and explains them.
package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"runtime/debug"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/ebpfguard/ebpfguard/api/client"
	"github.com/ebpfguard/ebpfguard/sink/setup"
)

// The exit codes.
const (
	exitDone   = 0
	exitFailed = 1
	exitUsage  = 2
	// exitNotRunning is what status commands tell of a service that does not run (LSB).
	exitNotRunning = 3
	// exitConfig is EX_CONFIG of sysexits.h, with which systemd does not start the daemon again.
	exitConfig = 78
)

func main() {
	root, args := commandOf(os.Args)
	os.Exit(execute(root, args, os.Stdout, os.Stderr))
}

// run executes a command line of ebpfguard and returns the exit code.
func run(args []string, stdout, stderr io.Writer) int {
	return execute(newRootCommand(), args, stdout, stderr)
}

func execute(root *cobra.Command, args []string, stdout, stderr io.Writer) int {
	root.SetArgs(args)
	root.SetOut(stdout)
	root.SetErr(stderr)
	command, err := root.ExecuteC()
	var usage *usageError
	switch {
	case err == nil:
		return exitDone
	case errors.Is(err, errReported):
		return exitCode(command, err)
	case errors.As(err, &usage), !reached(command):
		fmt.Fprintf(stderr, "ebpfguard: %v\nrun '%s --help' for usage\n", err, command.CommandPath())
		return exitUsage
	}
	text := fmt.Sprintf("ebpfguard: %s\n", printableLines(err.Error()))
	if writesToJournal(stderr) {
		text = withPriority(priorityError, text)
	}
	fmt.Fprint(stderr, text)
	return exitCode(command, err)
}

// exitCode returns the exit code of a command that failed.
func exitCode(command *cobra.Command, err error) int {
	var configuration *configError
	switch {
	case errors.As(err, &configuration):
		return exitConfig
	case errors.Is(err, client.ErrNoDaemon) && command.Name() == "status":
		return exitNotRunning
	}
	return exitFailed
}

func newRootCommand() *cobra.Command {
	root := &cobra.Command{
		Use:   "ebpfguard",
		Short: "Refuse what processes must not do, inside the kernel and before it happens",
		Long: `Refuse what processes must not do, inside the kernel and before it happens.

Exit codes:
  0  done, also when explain found a denial or validate printed warnings
  1  failed: for example a policy is wrong, or the kernel cannot enforce it
  2  wrong usage
  3  status: no daemon runs
 78  the configuration of the daemon is wrong`,
	}
	for _, group := range []struct {
		id, title string
		commands  []*cobra.Command
	}{
		{"alone", "Without a daemon:", []*cobra.Command{newCheckCommand(), newEnableCommand(), newDisableCommand(), newValidateCommand(), newExplainCommand(),
			newRunCommand()}},
		{"daemon", "The daemon:", []*cobra.Command{newDaemonCommand(), newReloadCommand(), newDownCommand(), newRuntimeCommand(), newKubernetesCommand()}},
		{"steer", "Ask and steer a running daemon:", []*cobra.Command{newStatusCommand(), newAlertsCommand(), newTopCommand(), newGetCommand(), newContainersCommand(),
			newApplyCommand(), newConfirmCommand(), newDeleteCommand(), newMitigateCommand()}},
	} {
		root.AddGroup(&cobra.Group{ID: group.id, Title: group.title})
		for _, cmd := range group.commands {
			cmd.GroupID = group.id
			root.AddCommand(cmd)
		}
	}
	root.AddCommand(newCompletionCommand(), newManCommand(), newClusterCommand())
	return finishRoot(root)
}

// finishRoot gives a root command what all have.
func finishRoot(root *cobra.Command) *cobra.Command {
	onlyCommands(root)
	// Errors are printed by execute, once and without the usage.
	root.SilenceErrors, root.SilenceUsage = true, true
	// Cobra's own takes a template, see showUsage.
	showVersion := root.Flags().BoolP("version", "v", false, "version for ebpfguard")
	withoutCommand := root.RunE
	root.RunE = func(cmd *cobra.Command, args []string) error {
		if !*showVersion {
			return withoutCommand(cmd, args)
		}
		fmt.Fprintf(cmd.OutOrStdout(), "ebpfguard %s\n", version(debug.ReadBuildInfo()))
		return nil
	}
	// Cobra's own does not fail for an unknown command.
	root.SetHelpCommand(&cobra.Command{
		Use:   "help [command]",
		Short: "Help about any command",
		RunE: func(_ *cobra.Command, args []string) error {
			about, rest, err := root.Find(args)
			switch {
			case err != nil:
				return &usageError{err}
			case len(rest) > 0:
				return unknownCommand(root, rest[0])
			}
			about.InitDefaultHelpFlag()
			about.InitDefaultVersionFlag()
			return about.Help()
		},
	})
	root.SetFlagErrorFunc(explainFlag)
	root.SetUsageFunc(showUsage)
	completeChoices(root)
	markReached(root)
	return root
}

// onlyCommands makes a command do nothing itself but have commands.
func onlyCommands(cmd *cobra.Command) {
	cmd.Args = func(cmd *cobra.Command, args []string) error {
		if len(args) > 0 {
			return unknownCommand(cmd, args[0])
		}
		return nil
	}
	// What is that far from a command was probably meant for it.
	cmd.SuggestionsMinimumDistance = 2
	cmd.RunE = func(*cobra.Command, []string) error { return usagef("no command is given") }
}

func unknownCommand(root *cobra.Command, name string) error {
	if name == "version" {
		return usagef("unknown command %q; did you mean --version?", name)
	}
	if meant := root.SuggestionsFor(name); len(meant) > 0 {
		return usagef("unknown command %q; did you mean %s?", name, meant[0])
	}
	var known []string
	for _, c := range root.Commands() {
		if c.IsAvailableCommand() {
			known = append(known, c.Name())
		}
	}
	return usagef("unknown command %q; choose from %s", name, strings.Join(known, ", "))
}

// noArgs refuses arguments, which cobra would take for commands.
func noArgs(cmd *cobra.Command, args []string) error {
	if len(args) > 0 {
		return usagef("%s takes no arguments; leave out %q", cmd.Name(), args[0])
	}
	return nil
}

// packaged is the version of the package that the command is built for, which internal/tools/dist sets.
var packaged string

// development is the version of what is built from a checkout: the next release's, which the go.mod files require.
const development = "v0.4.0-dev"

// version returns the version, the commit and the version of Go of a build.
func version(build *debug.BuildInfo, ok bool) string {
	if !ok {
		return "of an unknown version, built without modules"
	}
	commit, modified := "unknown", ""
	for _, s := range build.Settings {
		switch {
		case s.Key == "vcs.revision":
			commit = s.Value
		case s.Key == "vcs.modified" && s.Value == "true":
			modified = " with changes"
		}
	}
	number := build.Main.Version
	switch {
	case packaged != "":
		number = packaged
	// Without a tag the go command makes up a v0.0.0.
	case number == "", number == "(devel)", strings.HasPrefix(number, "v0.0.0-"):
		number = development
	}
	return fmt.Sprintf("%s, commit %s%s, %s", number, commit, modified, build.GoVersion)
}

// errReported is the failure of a command that has already printed it.
var errReported = errors.New("failed")

// configError is an error in the configuration of the daemon.
type configError struct{ error }

func (e *configError) Unwrap() error { return e.error }

// usageError is an error in how the command was called.
type usageError struct{ error }

func (e *usageError) Unwrap() error { return e.error }

func usagef(format string, args ...any) error {
	return &usageError{fmt.Errorf(format, args...)}
}

// reachedKey is the annotation of a command whose flags and arguments were
// understood. What cobra refuses before that is wrong usage, but its errors
// have no type of their own.
const reachedKey = "reached"

// markReached makes the command and those below it, which must have a RunE and
// not a Run, note that they were run.
func markReached(cmd *cobra.Command) {
	if f := cmd.RunE; f != nil {
		cmd.RunE = func(cmd *cobra.Command, args []string) error {
			if cmd.Annotations == nil {
				cmd.Annotations = map[string]string{}
			}
			cmd.Annotations[reachedKey] = "yes"
			return f(cmd, args)
		}
	}
	for _, c := range cmd.Commands() {
		markReached(c)
	}
}

func reached(cmd *cobra.Command) bool { return cmd.Annotations[reachedKey] != "" }

// output is the value of an --output flag.
type output string

const (
	outputText output = "text"
	outputJSON output = "json"
)

// outputFlag adds --output, which takes one of the formats.
func outputFlag(f *pflag.FlagSet, to *output, usage string, formats ...output) {
	f.VarP(setup.Choice(to, formats...), "output", "o", usage)
}
