package main

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/ebpfguard/ebpfguard/daemon/kubernetes"
	"github.com/ebpfguard/ebpfguard/policy"
)

func newConvertCommand(flags *clusterFlags) *cobra.Command {
	return &cobra.Command{
		Use:   "convert FILE|DIR|- ...",
		Short: "Make objects of a cluster of a host's policies",
		Long: `Make objects of a cluster of a host's policies, and print them.

With -n they are Policies of the namespace, about its pods only, and otherwise
ClusterPolicies. The API server takes but one form where a host's file may have
several: lists of patterns and of labels' values. What is of one host, such as
processes and ids of containers, cannot be in a cluster: that is an error, and
nothing is printed. What files of addresses_from have is written out.

It asks no cluster. 'ebpfguard validate' says what is wrong with the files.`,
		Example: `  kubectl ebpfguard convert no-rogue-sshd.yaml | kubectl apply -f -
  kubectl ebpfguard convert -n shop /etc/ebpfguard/policies > shop.yaml`,
		RunE: func(cmd *cobra.Command, args []string) error {
			files, err := policyFiles(nil).and(args)
			if err != nil {
				return err
			}
			set, err := policy.Load(files...)
			if err != nil {
				return fmt.Errorf("convert: the policies cannot be used:\n%w", err)
			}
			var out []byte
			var errs []error
			for i, p := range set {
				manifest, err := kubernetes.Manifest(p, flags.Namespace)
				errs = append(errs, err)
				if i > 0 {
					out = append(out, "---\n"...)
				}
				out = append(out, manifest...)
			}
			if err := errors.Join(errs...); err != nil {
				return fmt.Errorf("convert: %w", err)
			}
			_, err = cmd.OutOrStdout().Write(out)
			return err
		},
	}
}
