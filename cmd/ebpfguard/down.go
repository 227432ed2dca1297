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

Removes the pins, and with them everything that is enforced by them: also
mitigations. It is the one way to end it without starting a daemon or the machine.
A daemon that runs has to be stopped before; nothing is removed while one does.
What was applied is remembered, and in force again when a daemon starts.`,
		Example: `  # As the service is stopped for good.
  sudo systemctl stop ebpfguard && sudo ebpfguard down

  # Also what is damaged or not ours.
  sudo ebpfguard down --force`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if path == "" {
				c, err := config.Load(file, nil)
				if err != nil {
					return fmt.Errorf("down: the place of the pins cannot be read from the configuration; name it with --pins:\n%w", err)
				}
				path = c.Pins
			}
			if path == "" {
				return errors.New("down: the configuration pins nothing, so enforcement ends with the daemon; name the pins with --pins if there are others")
			}
			removed, err := ebpfguard.RemovePins(path, force)
			switch {
			case errors.Is(err, ebpfguard.ErrPinsInUse):
				return fmt.Errorf("down: %w; stop the daemon first, for example with systemctl stop ebpfguard", err)
			case err != nil:
				return fmt.Errorf("down: %w", err)
			case removed:
				fmt.Fprintf(cmd.OutOrStdout(), "removed what was enforced by %s\n", path)
			default:
				fmt.Fprintf(cmd.OutOrStdout(), "nothing was enforced by %s\n", path)
			}
			return nil
		},
	}
	f := cmd.Flags()
	f.StringVar(&path, "pins", "", "remove the pins of `DIR`; without it those of the configuration")
	f.StringVar(&file, "config", "", "read the place of the pins from `FILE`; without it from "+config.DefaultFile+", if that is there")
	f.BoolVar(&force, "force", false, "remove the directory whatever it holds")
	return cmd
}
