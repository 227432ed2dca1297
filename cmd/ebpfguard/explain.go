package main

import (
	"fmt"
	"io"
	"net/netip"
	"path"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/ebpfguard/ebpfguard/policy"
)

// explainFlags are the flags of explain.
type explainFlags struct {
	files     []string
	operation string
	binary    string
	unknown   bool
	address   string
	port      uint16
	automatic string
	protocol  string
	dualStack bool
	output    output
}

func newExplainCommand() *cobra.Command {
	flags := explainFlags{output: outputText}
	cmd := &cobra.Command{
		Use:   "explain [-p] FILE|DIR ...",
		Short: "Tell which rule decides an operation, and why, without a kernel",
		Long: `Tell which rule decides an operation, and why, without a kernel.

Prints the verdict, the rule that decided and every pattern that matches with
the reason why it won or lost. The address 0.0.0.0 or :: and port 0 stand for
every value that the kernel may choose.`,
		Example: `  # May sshd listen on port 22 of every address?
  ebpfguard explain -p policies/ --binary /usr/sbin/sshd --port 22

  # The same for IPv6 and IPv4 with one socket, in JSON.
  ebpfguard explain -p policies/ --binary /usr/sbin/sshd --address :: --dual-stack --port 22 --output json

  # What if the process cannot be identified and the kernel chooses the port?
  ebpfguard explain -p policies/ --unknown --address 10.0.0.1 --protocol udp`,
		RunE: func(cmd *cobra.Command, args []string) error {
			flags.files = append(flags.files, args...)
			request, err := flags.request()
			if err != nil {
				return &usageError{err}
			}
			return explain(cmd.OutOrStdout(), flags.files, request, flags.output)
		},
	}
	policyFlag(cmd, &flags.files)
	f := cmd.Flags()
	f.StringVar(&flags.operation, "operation", string(policy.SocketBind), "the operation, by the `name` of its hook")
	f.StringVar(&flags.binary, "binary", "", "the `path` of the program; by default one that no policy names")
	f.BoolVar(&flags.unknown, "unknown", false, "the process cannot be identified")
	f.StringVar(&flags.address, "address", "0.0.0.0", "the local `address`")
	f.Uint16Var(&flags.port, "port", 0, "the local `port`; 0 is a port that the kernel chooses")
	f.StringVar(&flags.automatic, "automatic", policy.DefaultAutomatic.String(), "the `ports` from which the kernel chooses")
	f.StringVar(&flags.protocol, "protocol", policy.TCP.String(), "the `protocol`: tcp, udp, udplite, sctp, dccp, icmp, raw or other")
	f.BoolVar(&flags.dualStack, "dual-stack", false, "the socket at :: takes IPv4 as well")
	f.VarP(&flags.output, "output", "o", "the `format`: text or json")
	cmd.MarkFlagsMutuallyExclusive("binary", "unknown")
	return cmd
}

// request returns the operation that the flags describe.
func (f explainFlags) request() (policy.Request, error) {
	request := policy.Request{
		Process:   policy.Process{Binary: f.binary, Unknown: f.unknown},
		Operation: policy.Operation(f.operation),
	}
	if len(f.files) == 0 {
		return request, fmt.Errorf("no policy is given; name a file or directory with -p")
	}
	if !request.Operation.Known() {
		return request, fmt.Errorf("--operation %q is not enforced by this version of ebpfguard; choose from %v", f.operation, policy.Operations())
	}
	if f.binary != "" && (!path.IsAbs(f.binary) || path.Clean(f.binary) != f.binary) {
		return request, fmt.Errorf("--binary %q is not an absolute and clean path; write one such as /usr/sbin/sshd", f.binary)
	}
	address, err := netip.ParseAddr(f.address)
	if err != nil {
		return request, fmt.Errorf("--address %q is no address; write one such as 10.0.0.1 or ::1", f.address)
	}
	protocol := policy.OtherProtocol
	if f.protocol != policy.OtherProtocol.String() {
		if protocol, err = policy.ParseProtocol(f.protocol); err != nil {
			return request, fmt.Errorf("--protocol: %w", err)
		}
	}
	automatic, err := parseRange(f.automatic)
	if err != nil {
		return request, err
	}
	request.Object = policy.Socket{
		Address: address, Port: f.port, Automatic: automatic,
		Protocol: protocol, DualStack: f.dualStack,
	}
	return request, nil
}

func parseRange(s string) (policy.PortRange, error) {
	first, last, ok := strings.Cut(s, "-")
	if !ok {
		last = first
	}
	a, err1 := strconv.ParseUint(first, 10, 16)
	b, err2 := strconv.ParseUint(last, 10, 16)
	if err1 != nil || err2 != nil || a == 0 || a > b {
		return policy.PortRange{}, fmt.Errorf("--automatic %q is no range of ports; write one such as %v", s, policy.DefaultAutomatic)
	}
	return policy.PortRange{First: uint16(a), Last: uint16(b)}, nil
}

func explain(w io.Writer, paths []string, request policy.Request, format output) error {
	set, err := policy.Load(paths...)
	if err != nil {
		return fmt.Errorf("explain: the policies cannot be used:\n%w", err)
	}
	explanation := policy.Explain(set, request)
	if format == outputJSON {
		return printJSON(w, explanation)
	}
	_, err = io.WriteString(w, explanation.String())
	return err
}
