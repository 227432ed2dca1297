package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/ebpfguard/ebpfguard/api/client"
	pb "github.com/ebpfguard/ebpfguard/api/ebpfguard/v1alpha1"
	"github.com/ebpfguard/ebpfguard/policy"
)

func newApplyCommand() *cobra.Command {
	var daemon remote
	var files policyFiles
	var request pb.ApplyRequest
	var confirm lasting
	var format output
	cmd := &cobra.Command{
		Use:   "apply FILE|DIR|- ...",
		Short: "Add policies to a running daemon, or replace them by name",
		Long: `Add policies to a running daemon, or replace them by name.

The change happens at once: every operation is judged by the old policies or by
the new ones. If anything is wrong, nothing changes. Applied policies stay in
force when the daemon or the machine restarts, until you delete them. To change a
policy of the policy directory, change its file.

Policies that would lock you out are refused: by which the command ebpfguard,
systemctl, a login, your shell or the daemon would be refused what they need.
--confirm applies them for a while: unless you run 'ebpfguard confirm' in time, the
kernel takes the change back, even if no daemon runs then.

A directory stands for its *.yaml and *.yml files, - for the standard input.`,
		Example: `  # What would change? Then change it.
  ebpfguard apply ssh.yaml --dry-run
  ebpfguard apply ssh.yaml

  # Take it back after two minutes, unless I can still confirm it
  ebpfguard apply ssh.yaml --confirm 2m
  ebpfguard confirm

  # Replace all applied policies by these
  ebpfguard apply policies/ --replace

  # For scripts: did anything change?
  ebpfguard apply ssh.yaml -o json | jq '.changes.added + .changes.changed'

  # Copy a policy from another machine
  ssh web1 ebpfguard get no-rogue-sshd -o yaml | ebpfguard apply -`,
		RunE: func(cmd *cobra.Command, args []string) error {
			given, err := files.and(args)
			if err != nil {
				return err
			}
			if cmd.Flags().Changed("confirm") {
				request.ConfirmWithin = durationpb.New(time.Duration(confirm))
			}
			if request.Name, request.Yaml, err = readPolicies(cmd.InOrStdin(), given); err != nil {
				return err
			}
			return daemon.change(cmd, func(ctx context.Context, guard *client.Client) error {
				response, err := guard.Apply(ctx, &request)
				if err != nil {
					return err
				}
				return printAnswer(cmd.OutOrStdout(), format, response, func() error {
					printWarnings(cmd.ErrOrStderr(), response.Warnings)
					if err := printChanges(cmd.OutOrStdout(), response.Changes, request.DryRun); err != nil {
						return err
					}
					return printUnconfirmed(cmd.OutOrStdout(), response.Unconfirmed)
				})
			})
		},
	}
	daemon.add(cmd)
	f := cmd.Flags()
	files.add(cmd, "read policies from")
	f.BoolVar(&request.Replace, "replace", false, "also remove applied policies that are not given now")
	f.Var(&confirm, "confirm", "take the change back after this `duration`, such as 2m, unless 'ebpfguard confirm' comes before")
	f.BoolVar(&request.Force, "force", false, "apply the policies even if they lock you out")
	answerFlag(f, &format)
	f.BoolVar(&request.DryRun, "dry-run", false, "print what would change, or why it would be refused, and change nothing")
	return cmd
}

// readPolicies reads what to apply, and what to call it. One file is sent as it
// is, for the positions in messages; several are read here and sent as one.
func readPolicies(stdin io.Reader, files []string) (name, yaml string, err error) {
	if len(files) == 1 {
		info, err := os.Stat(files[0])
		switch {
		case files[0] == "-":
			data, err := io.ReadAll(stdin)
			if err == nil && len(bytes.TrimSpace(data)) == 0 {
				err = fmt.Errorf("apply: the standard input holds no policy; check the command before the pipe")
			}
			return "<stdin>", string(data), err
		case err != nil:
			return "", "", fmt.Errorf("apply: %w; check the path", err)
		case info.Mode().IsRegular():
			data, err := os.ReadFile(files[0])
			if err != nil {
				return "", "", fmt.Errorf("apply: %w; check the permissions", err)
			}
			// addresses_from is meant from the folder of the file.
			name, err := filepath.Abs(files[0])
			return name, string(data), err
		}
	}
	set, err := policy.Load(files...)
	if err != nil {
		return "", "", fmt.Errorf("apply: the policies cannot be used:\n%w", err)
	}
	if err := absoluteLists(set); err != nil {
		return "", "", err
	}
	return strings.Join(files, ","), string(policy.Format(set)), nil
}

// absoluteLists makes the names in addresses_from independent of the files that
// the policies were in.
func absoluteLists(set []policy.Policy) error {
	for _, p := range set {
		file, _, _ := strings.Cut(p.Source, ":")
		folder, err := filepath.Abs(filepath.Dir(file))
		if err != nil {
			return err
		}
		for _, rule := range p.Rules {
			for _, patterns := range [][]policy.Pattern{rule.Allow, rule.Deny} {
				for i, pattern := range patterns {
					s, ok := pattern.(policy.SocketPattern)
					if !ok {
						continue
					}
					s.AddressesFrom = slices.Clone(s.AddressesFrom)
					for j, name := range s.AddressesFrom {
						if !filepath.IsAbs(name) {
							s.AddressesFrom[j] = filepath.Join(folder, name)
						}
					}
					patterns[i] = s
				}
			}
		}
	}
	return nil
}
