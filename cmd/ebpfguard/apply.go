package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/ebpfguard/ebpfguard/api/client"
	pb "github.com/ebpfguard/ebpfguard/api/ebpfguard/v1alpha1"
	"github.com/ebpfguard/ebpfguard/internal/regular"
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
force when the daemon or the machine restarts, until you delete them. To change
a policy of the policy directory, change its file.

Policies that would lock you out are refused: by which the command ebpfguard,
systemctl, a login, your shell or the daemon would be refused what they need.
--confirm applies them for a while: unless you run 'ebpfguard confirm' in time,
the kernel takes the change back, even if no daemon runs then.

A directory stands for its *.yaml, *.yml and *.json files without those of
subdirectories, - for the standard input.`,
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
			if request.Files, err = readFiles(cmd.InOrStdin(), given); err != nil {
				return err
			}
			for _, w := range policy.Unread(files...) {
				fmt.Fprintln(cmd.ErrOrStderr(), w)
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

// readFiles reads the files to apply. The daemon is told their real names: it says where something is
// wrong, and addresses_from is meant from the folder of the file.
func readFiles(stdin io.Reader, given []string) ([]*pb.PolicyFile, error) {
	var read []*pb.PolicyFile
	for _, path := range given {
		files, err := policy.Files(path)
		if err != nil {
			return nil, fmt.Errorf("apply: %w", err)
		}
		for _, file := range files {
			one, err := readFile(stdin, file, file != path)
			if err != nil {
				return nil, fmt.Errorf("apply: %w", err)
			}
			read = append(read, one)
		}
	}
	return read, nil
}

// readFile reads a file. Only one that was named itself may be a named pipe.
func readFile(stdin io.Reader, path string, listed bool) (*pb.PolicyFile, error) {
	if path == "-" {
		data, err := io.ReadAll(stdin)
		if err == nil && len(bytes.TrimSpace(data)) == 0 {
			err = errors.New("the standard input holds no policy; check the command before the pipe")
		}
		return &pb.PolicyFile{Name: "<stdin>", Yaml: string(data)}, err
	}
	open := os.Open
	if listed {
		open = regular.Open
	}
	file, err := open(path)
	if err != nil {
		return nil, fmt.Errorf("%w; check the path and its permissions", err)
	}
	defer file.Close()
	data, err := io.ReadAll(file)
	if err != nil {
		return nil, fmt.Errorf("%w; check that it is a file", err)
	}
	name, err := filepath.Abs(path)
	return &pb.PolicyFile{Name: name, Yaml: string(data)}, err
}
