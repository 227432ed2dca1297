package main

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	pb "github.com/ebpfguard/ebpfguard/api/ebpfguard/v1alpha1"
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
	flags.users, flags.groups = policy.SystemNames()
	cmd := &cobra.Command{
		Use:   "explain FILE|DIR|- ...|--pid N",
		Short: "Tell which rule decides an operation, and why, without a kernel",
		Long: `Tell which rule decides an operation, and why, without a kernel.

With --pid it is about a process that runs, as /proc tells a running daemon, and
about the policies in force unless others are given. The guard itself judges by
what it noted as the process started its program: see docs/cli.md for what may
differ. Without an operation it tells what the process is and which policies and
rules concern it.

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

  # What does the running daemon forbid process 4711? May it read this?
  ebpfguard explain --pid 4711
  ebpfguard explain --pid 4711 --operation file_open --path /etc/shadow`,
		RunE: func(cmd *cobra.Command, args []string) error {
			flags.files = append(flags.files, args...)
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
	running := given.Changed("pid")
	if _, err := f.files.and(nil); err != nil && !running {
		return err
	}
	var operation policy.Operation
	if f.operation != "" {
		var err error
		if operation, err = policy.ParseOperation(f.operation); err != nil {
			return usagef("--operation: %w", err)
		}
		if err := fits(operation, given); err != nil {
			return err
		}
	}
	// What can be said without the policies first.
	process, err := policy.DescribeProcess(policy.Description{Given: givenOf(given, policy.ProcessFlags()), Users: f.users, Groups: f.groups})
	if err != nil {
		return &usageError{err}
	}
	var answer *pb.ExplainResponse
	if running {
		if answer, err = f.ask(cmd); err != nil {
			return err
		}
		if f.operation == "" && !aboutObject(given) {
			if f.output == outputJSON {
				return printMessage(w, answer)
			}
			return printProcess(w, answer)
		}
	}
	set, err := f.policies(answer)
	if err != nil {
		return err
	}
	if running {
		process = remoteProcess(answer.Process)
		if len(f.files) == 0 {
			process.IDs = append(process.IDs, named(set)...)
		}
	}
	if f.operation == "" {
		if operation, err = theOperation(set, given); err != nil {
			return err
		}
	}
	object, err := policy.DescribeObject(operation, policy.Description{
		Given: givenOf(given, policy.ObjectFlags()), Process: process, Users: f.users, Groups: f.groups,
	})
	if err != nil {
		return &usageError{err}
	}
	if set, err = f.resolve(set, operation); err != nil {
		return fmt.Errorf("explain: the policies cannot be used:\n%w", err)
	}
	explanation := policy.Explain(set, policy.Request{Process: process, Operation: operation, Object: object})
	if f.output == outputJSON {
		return printJSON(w, explanation)
	}
	_, err = io.WriteString(w, explanation.String())
	return err
}

// policies returns those of the files, or without any those in force.
func (f *explainFlags) policies(answer *pb.ExplainResponse) ([]policy.Policy, error) {
	if answer != nil && len(f.files) == 0 {
		return remotePolicies(answer.GetPolicies())
	}
	set, err := policy.Load(f.files...)
	if err != nil {
		return nil, fmt.Errorf("explain: the policies cannot be used:\n%w", err)
	}
	return set, nil
}

// aboutObject reports whether a flag about an object is given.
func aboutObject(given *pflag.FlagSet) bool { return len(givenOf(given, policy.ObjectFlags())) > 0 }

// fits reports whether the flags about the object are those of the operation.
func fits(operation policy.Operation, given *pflag.FlagSet) error {
	var err error
	given.Visit(func(f *pflag.Flag) {
		owners := policy.FlagOwners(f.Name)
		if err == nil && len(owners) > 0 && !slices.Contains(owners, operation) {
			err = usagef("--%s does not apply to %s; it is for %s", f.Name, operation, policy.JoinOperations(owners, "and"))
		}
	})
	return err
}

// theOperation returns the only operation that there are rules for, of those
// that the flags fit.
func theOperation(set []policy.Policy, given *pflag.FlagSet) (policy.Operation, error) {
	var fitting, found []policy.Operation
	for _, o := range policy.Operations() {
		if fits(o, given) != nil {
			continue
		}
		fitting = append(fitting, o)
		if concerns(set, o) {
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

func concerns(set []policy.Policy, o policy.Operation) bool {
	return slices.ContainsFunc(set, func(p policy.Policy) bool {
		return slices.ContainsFunc(p.Rules, func(r policy.Rule) bool { return r.Operation == o })
	})
}

// resolve finds the numbers of the names in the policies that count. Others may
// name users that this machine has not.
func (f *explainFlags) resolve(set []policy.Policy, o policy.Operation) ([]policy.Policy, error) {
	resolved := slices.Clone(set)
	for i := range set {
		if !concerns(set[i:i+1], o) {
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
