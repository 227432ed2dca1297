package main

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/ebpfguard/ebpfguard"
	"github.com/ebpfguard/ebpfguard/daemon/config"
)

func newDownCommand() *cobra.Command {
	var path, file string
	var force bool
	cmd := &cobra.Command{
		Use:   "down",
		Short: "End enforcement that a daemon left pinned",
		Long: `End enforcement that a daemon left pinned.

Removes the pins, and so ends everything that they enforce, mitigations
included. Stop the daemon first: while one runs, this command removes nothing.
Without it enforcement goes on until the next boot. Applied policies come into
force again when a daemon starts.`,
		Example: `  # Stop the service, and enforcement with it
  sudo systemctl stop ebpfguard && sudo ebpfguard down

  # Also remove pins that are damaged or not of ebpfguard
  sudo ebpfguard down --force`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if path == "" {
				c, err := config.Load(file, nil)
				if err != nil {
					return fmt.Errorf("down: cannot read from the configuration where the pins are; name their directory with --pins:\n%w", err)
				}
				path = c.Pins
			}
			if path == "" {
				return errors.New("down: the configuration pins nothing, so enforcement ends with the daemon; if there are other pins, name their directory with --pins")
			}
			removed, err := ebpfguard.RemovePins(path, force)
			switch {
			case errors.Is(err, ebpfguard.ErrPinsInUse):
				return fmt.Errorf("down: %w; stop the daemon first, for example with systemctl stop ebpfguard", err)
			case err != nil:
				return fmt.Errorf("down: %w", err)
			case removed:
				fmt.Fprintf(cmd.OutOrStdout(), "enforcement has ended; removed the pins in %s\n", path)
			default:
				fmt.Fprintf(cmd.OutOrStdout(), "nothing to end: there are no pins in %s\n", path)
			}
			return nil
		},
	}
	f := cmd.Flags()
	f.StringVar(&path, "pins", "", "remove the pins in `DIR` (default from the configuration)")
	f.StringVar(&file, "config", "", "read from the configuration in `FILE` where the pins are (default "+config.DefaultFile+", if it exists)")
	f.BoolVar(&force, "force", false, "remove the directory, whatever is in it")
	return cmd
}
