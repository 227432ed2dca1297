package main

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/ebpfguard/ebpfguard/api/client"
	pb "github.com/ebpfguard/ebpfguard/api/ebpfguard/v1alpha1"
	"github.com/ebpfguard/ebpfguard/daemon/config"
)

func newReloadCommand() *cobra.Command {
	var daemon remote
	var file string
	cmd := &cobra.Command{
		Use:   "reload",
		Short: "Have a running daemon read its configuration and policies again",
		Long: `Have a running daemon read its configuration and policies again.

Does what SIGHUP does, and fails if anything was refused: then the former
configuration or policies stay. "systemctl reload ebpfguard" runs it.`,
		Example: `  sudo ebpfguard reload`,
		Args:    noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if file != "" {
				c, err := config.Load(file, nil)
				if err != nil {
					return fmt.Errorf("reload: the configuration was NOT reloaded, the previous one stays:\n%w", err)
				}
				if !cmd.Flags().Changed("socket") {
					daemon.socket = c.Socket
				}
			}
			return daemon.change(cmd, func(ctx context.Context, guard *client.Client) error {
				if _, err := guard.Reload(ctx, &pb.ReloadRequest{}); err != nil {
					return err
				}
				fmt.Fprintln(cmd.OutOrStdout(), "reloaded")
				return nil
			})
		},
	}
	daemon.add(cmd)
	cmd.Flags().StringVar(&file, "config", "", "check the configuration in `FILE`, and ask the daemon on its socket")
	return cmd
}
