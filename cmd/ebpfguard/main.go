// The command ebpfguard enforces policies, and checks and explains them.
package main

import (
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"
)

// The exit codes.
const (
	exitDone   = 0
	exitFailed = 1
	exitUsage  = 2
)

func main() { os.Exit(run(os.Args[1:], os.Stdout, os.Stderr)) }

// run executes the command line and returns the exit code.
func run(args []string, stdout, stderr io.Writer) int {
	root := newRootCommand()
	root.SetArgs(args)
	root.SetOut(stdout)
	root.SetErr(stderr)
	command, err := root.ExecuteC()
	var usage *usageError
	switch {
	case err == nil:
		return exitDone
	case errors.Is(err, errReported):
		return exitFailed
	case errors.As(err, &usage), !reached(command):
		fmt.Fprintf(stderr, "ebpfguard: %v\nrun '%s --help' for usage\n", err, command.CommandPath())
		return exitUsage
	}
	fmt.Fprintf(stderr, "ebpfguard: %v\n", err)
	return exitFailed
}

func newRootCommand() *cobra.Command {
	root := &cobra.Command{
		Use:   "ebpfguard",
		Short: "Refuse what processes must not do, inside the kernel and before it happens",
		Args:  cobra.NoArgs,
		// Errors are printed by run, once and without the usage.
		SilenceErrors: true,
		SilenceUsage:  true,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return usagef("no command is given")
		},
	}
	root.CompletionOptions.HiddenDefaultCmd = true
	root.AddCommand(
		newCheckCommand(),
		newRunCommand(),
		newValidateCommand(),
		newExplainCommand(),
	)
	markReached(root)
	return root
}

// errReported is the failure of a command that has already printed it.
var errReported = errors.New("failed")

// usageError is an error in how the command was called.
type usageError struct{ error }

func (e *usageError) Unwrap() error { return e.error }

func usagef(format string, args ...any) error {
	return &usageError{fmt.Errorf(format, args...)}
}

// reachedKey is the annotation of a command whose flags and arguments were
// understood. What cobra refuses before that is wrong usage, but its errors
// have no type to tell.
const reachedKey = "reached"

// markReached makes the command and those below it, which must have a RunE and
// not a Run, note that they were run.
func markReached(cmd *cobra.Command) {
	if f := cmd.RunE; f != nil {
		cmd.RunE = func(cmd *cobra.Command, args []string) error {
			cmd.Annotations = map[string]string{reachedKey: "yes"}
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

// Set implements pflag.Value.
func (o *output) Set(s string) error {
	switch v := output(s); v {
	case outputText, outputJSON:
		*o = v
		return nil
	}
	return errors.New("choose text or json")
}

// String implements pflag.Value.
func (o *output) String() string { return string(*o) }

// Type implements pflag.Value.
func (o *output) Type() string { return "text|json" }
