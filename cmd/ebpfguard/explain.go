package main

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	pb "github.com/ebpfguard/ebpfguard/api/ebpfguard/v1alpha1"
	"github.com/ebpfguard/ebpfguard/internal/hostroot"
	"github.com/ebpfguard/ebpfguard/policy"
)

// explainFlags are the flags of explain.
type explainFlags struct {
	files     policyFiles
	operation string
	output    output
	pid       uint32
	daemon    remote

	users, groups func(name string) (uint32, error)
}

func newExplainCommand() *cobra.Command {
	flags := explainFlags{output: outputText}
	cmd := &cobra.Command{
		Use:   "explain [FILE|DIR|- ...]",
		Short: "Tell which rule decides an operation, and why, without a kernel",
		Long: `Tell which rule decides an operation, and why, without a kernel.

Without policies it asks the running daemon about those in force. With --pid it
is about a process that runs, as /proc tells the daemon. The guard itself judges
by what it noted as the process started its program: see docs/cli.md for what
may differ. Without an operation the daemon tells which policies and rules
concern the process.

Prints the verdict, the rule that decided and every pattern that matches with
the reason why it won or lost. The operation can be left out where the rules of
the policies that the other flags fit are all for one.

Nothing is looked up on this machine but the numbers of users and groups: write
paths as the process sees them, without symbolic links (/usr/bin/bash and not
/bin/bash). To bind, the address 0.0.0.0 or :: and port 0 stand for every value
that the kernel may choose.`,
		Example: `  # May cat read the password hashes? And by another name of the file?
  ebpfguard explain policies/ --operation file_open \
      --binary /usr/bin/cat --path /etc/shadow
  ebpfguard explain policies/ --operation file_open --path /tmp/link \
      --alias /etc/shadow --access read,write

  # May a web server start a shell, or what an exploit left in memory?
  ebpfguard explain policies/ --operation bprm_check_security \
      --binary /usr/sbin/nginx --path /usr/bin/dash
  ebpfguard explain policies/ --operation bprm_check_security \
      --binary /usr/sbin/nginx --fileless

  # May mount put a file system there that allows set-user-ID programs?
  ebpfguard explain policies/ --operation sb_mount --source /dev/sdb1 \
      --target /media/stick --type vfat --flags new,rw,nodev

  # May a process that nginx started become root?
  ebpfguard explain policies/ --operation task_fix_setuid \
      --ancestor /usr/sbin/nginx --uid www-data --to-uid root

  # May sshd listen on port 22 of every address, for IPv6 and IPv4?
  ebpfguard explain policies/ --operation socket_bind \
      --binary /usr/sbin/sshd --address :: --dual-stack --port 22

  # May a script connect there? In JSON. And an unknown process?
  ebpfguard explain policies/ --operation socket_connect -o json \
      --binary /usr/bin/python3.11 --script /usr/bin/cloud-init \
      --address 169.254.169.254 --port 80
  ebpfguard explain policies/ --operation socket_connect --unknown \
      --address 10.0.0.1 --port 53 --protocol udp

  # What do the policies in force forbid nginx? May it read this?
  ebpfguard explain --binary /usr/sbin/nginx --uid www-data
  ebpfguard explain --binary /usr/sbin/nginx --uid www-data \
      --operation file_open --path /etc/shadow

  # And process 4711?
  ebpfguard explain --pid 4711
  ebpfguard explain --pid 4711 --operation file_open --path /etc/shadow`,
		RunE: func(cmd *cobra.Command, args []string) error {
			flags.files = append(flags.files, args...)
			if _, err := (&hostPlace{hostroot.Auto}).find(); err != nil {
				return fmt.Errorf("explain: %w", err)
			}
			flags.users, flags.groups = hostroot.Host().Names()
			return flags.explain(cmd)
		},
	}
	flags.files.add(cmd, "read policies from")
	f := cmd.Flags()
	f.SortFlags = false
	f.StringVar(&flags.operation, "operation", "", "the `operation`: "+strings.Join(operationNames(), ", "))
	completeWords(cmd, "operation", operationNames())
	outputFlag(f, &flags.output, "the `format`: text or json", outputText, outputJSON)
	addDescription(cmd, policy.ProcessFlags())
	addDescription(cmd, policy.ObjectFlags())
	f.Uint32Var(&flags.pid, "pid", 0, "process: the running one of this `number`, as /proc tells the daemon")
	flags.daemon.add(cmd)
	_ = cmd.RegisterFlagCompletionFunc("container", flags.daemon.complete(containerNames))
	for _, flag := range policy.ProcessFlags() {
		cmd.MarkFlagsMutuallyExclusive(flag.Name, "pid")
		if flag.NotUnknown {
			cmd.MarkFlagsMutuallyExclusive(flag.Name, "unknown")
		}
	}
	return cmd
}

// explain prints how the operation that the flags describe is decided.
func (f *explainFlags) explain(cmd *cobra.Command) error {
	w, given := cmd.OutOrStdout(), cmd.Flags()
	running, described, about := given.Changed("pid"), givenOf(given, policy.ProcessFlags()), givenOf(given, policy.ObjectFlags())
	if len(f.files) == 0 && !running && f.operation == "" && len(described)+len(about) == 0 {
		return usagef("nothing is asked; name policies, or ask about those in force: describe a process or an operation")
	}
	var operation policy.Operation
	if f.operation != "" {
		var err error
		if operation, err = policy.ParseOperation(f.operation); err != nil {
			return usagef("--operation: %w", err)
		}
		if err := policy.CheckFlags(operation, about); err != nil {
			return &usageError{err}
		}
	}
	// What can be said without the policies first.
	process, err := policy.DescribeProcess(policy.Description{Given: described, Users: f.users, Groups: f.groups})
	if err != nil {
		return &usageError{err}
	}
	// A question about an operation of a described process needs one answer, any other that about
	// the process first.
	var answer *pb.ExplainResponse
	if running || len(f.files) == 0 && operation == "" {
		if answer, err = f.ask(cmd, described, "", nil); err != nil {
			return err
		}
		if f.operation == "" && len(about) == 0 {
			if f.output == outputJSON {
				return printMessage(w, answer)
			}
			return printProcess(w, answer)
		}
		process = remoteProcess(answer.Process)
	}
	var set []policy.Policy
	operations := remoteOperations(answer)
	if len(f.files) > 0 {
		if set, err = policy.Load(f.files...); err != nil {
			return fmt.Errorf("explain: the policies cannot be used:\n%w", err)
		}
		operations = operationsOf(set)
	}
	if operation == "" {
		if operation, err = theOperation(operations, about); err != nil {
			return err
		}
	}
	object, err := policy.DescribeObject(operation, policy.Description{Given: about, Process: process, Users: f.users, Groups: f.groups})
	if err != nil {
		return &usageError{err}
	}
	if len(f.files) == 0 {
		return f.explainInForce(cmd, described, operation, about)
	}
	if set, err = f.resolve(set, operation); err != nil {
		return fmt.Errorf("explain: the policies cannot be used:\n%w", err)
	}
	return f.print(w, policy.Explain(set, policy.Request{Process: process, Operation: operation, Object: object}))
}

func (f *explainFlags) print(w io.Writer, e policy.Explanation) error {
	if f.output == outputJSON {
		return printJSON(w, e)
	}
	_, err := io.WriteString(w, e.String())
	return err
}

// theOperation returns the only one of the operations that the flags fit.
func theOperation(operations []policy.Operation, about map[string][]string) (policy.Operation, error) {
	var fitting, found []policy.Operation
	for _, o := range policy.Operations() {
		if policy.CheckFlags(o, about) != nil {
			continue
		}
		fitting = append(fitting, o)
		if slices.Contains(operations, o) {
			found = append(found, o)
		}
	}
	switch {
	case len(found) == 1:
		return found[0], nil
	case len(fitting) == 0:
		return "", usagef("no operation has all of these flags; run 'ebpfguard explain --help' to see whose they are")
	case len(found) > 1:
		fitting = found
	}
	return "", usagef("--operation is missing; add one of %s", policy.JoinOperations(fitting, "or"))
}

// operationsOf returns the operations that there are rules for.
func operationsOf(set []policy.Policy) []policy.Operation {
	var operations []policy.Operation
	for _, p := range set {
		for _, r := range p.Rules {
			operations = append(operations, r.Operation)
		}
	}
	return operations
}

// resolve finds the numbers of the names in the policies that count. Others may
// name users that this machine has not.
func (f *explainFlags) resolve(set []policy.Policy, o policy.Operation) ([]policy.Policy, error) {
	resolved := slices.Clone(set)
	for i := range set {
		if !slices.Contains(operationsOf(set[i:i+1]), o) {
			continue
		}
		one, err := policy.ResolveNames(set[i:i+1], f.users, f.groups)
		if err != nil {
			return nil, err
		}
		resolved[i] = one[0]
	}
	return resolved, nil
}
