package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/ebpfguard/ebpfguard"
	"github.com/ebpfguard/ebpfguard/cmd/ebpfguard/internal/boot"
)

func newEnableCommand() *cobra.Command {
	var flags bootFlags
	var trial bool
	cmd := &cobra.Command{
		Use:   "enable",
		Short: "Make the kernel's bpf security module active from the next boot on",
		Long: `Make the kernel's bpf security module active from the next boot on.

Some distributions build the module and leave it out of the kernel's list of
active ones. The kernel's parameter lsm= sets that list. This command adds bpf
there: to the list that the configuration of the boot loader has, else to the
modules that are active now. It knows GRUB, the boot entries of Fedora and its
relatives (grubby), and systemd-boot with kernel-install. It refuses other
boot loaders, and says what to do by hand.

First it shows the change and the commands that it will run, and asks. It asks
nothing when the standard input is no terminal: then only --yes makes the
change. After it, the command looks whether the boot entries have the
parameter. If not, or if a command fails, it takes the change back.

With --try only the next boot has the parameter; the one after it is as
before. If the kernel panics, the machine restarts by itself; if it hangs, you
have to reset it. This needs GRUB that can write to /boot, or systemd-boot
with .conf entries.`,
		Example: `  # Show what would change
  sudo ebpfguard enable --dry-run

  # One boot first, then for good
  sudo ebpfguard enable --try && sudo reboot
  sudo ebpfguard check
  sudo ebpfguard enable`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := ownBoot(); err != nil {
				return fmt.Errorf("enable: %w", err)
			}
			report := ebpfguard.Probe()
			if err := parameterHelps(report); err != nil {
				return fmt.Errorf("enable: %w", err)
			}
			system := bootSystem(report.LSMs)
			plan, after := system.Enable, "restart the machine, then run 'ebpfguard check'"
			if trial {
				plan, after = system.Try, "restart the machine to try it"
			}
			return flags.change(cmd.OutOrStdout(), cmd.InOrStdin(), isTerminal(cmd.InOrStdin()), system, plan, "enable", after)
		},
	}
	flags.add(cmd)
	cmd.Flags().BoolVar(&trial, "try", false, "only for the next boot")
	return cmd
}

func newDisableCommand() *cobra.Command {
	var flags bootFlags
	cmd := &cobra.Command{
		Use:   "disable",
		Short: "Take back what 'ebpfguard enable' changed",
		Long: `Take back what 'ebpfguard enable' changed.

It takes back the boot parameter and a trial, and nothing else: not a
parameter that you or your distribution set. What is enforced now goes on
until the machine restarts; without the parameter nothing can be enforced
after that.`,
		Example: `  sudo ebpfguard disable --dry-run
  sudo ebpfguard disable`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := ownBoot(); err != nil {
				return fmt.Errorf("disable: %w", err)
			}
			system := bootSystem(nil)
			return flags.change(cmd.OutOrStdout(), cmd.InOrStdin(), isTerminal(cmd.InOrStdin()), system, system.Disable, "disable",
				"taken back; the bpf security module stays as it is until the machine restarts")
		},
	}
	flags.add(cmd)
	return cmd
}

// ownBoot fails where this process cannot change how the machine boots.
func ownBoot() error {
	if os.Geteuid() != 0 {
		return errors.New("changing how the machine boots takes root; run it with sudo")
	}
	if ebpfguard.ForeignPlace() != "" {
		return errors.New("this is a container, or has another root directory than the machine, so the boot configuration here is not the machine's; run it on the host itself")
	}
	return nil
}

// parameterHelps fails when something else than the boot parameter keeps this kernel from enforcing.
func parameterHelps(report ebpfguard.Report) error {
	for _, c := range report.Checks {
		if !c.Required || c.OK {
			continue
		}
		if c.Name == ebpfguard.CheckModule && !slices.Contains(report.LSMs, "bpf") {
			return nil
		}
		return fmt.Errorf("a boot parameter does not help, because %s; %s", c.Detail, c.Remedy)
	}
	return nil
}

func bootSystem(modules []string) boot.System {
	return boot.System{Root: "/", Run: runBootTool, Modules: modules}
}

// runBootTool runs a program of the boot loader. Its error has what the program said.
func runBootTool(c boot.Command) (string, error) {
	cmd := exec.Command(c[0], c[1:]...)
	// The programs call others of sbin, which su leaves out of PATH.
	cmd.Env = append(os.Environ(), "PATH="+os.Getenv("PATH")+":/usr/sbin:/usr/bin:/sbin:/bin")
	out, err := cmd.Output()
	var exit *exec.ExitError
	if errors.As(err, &exit) && len(exit.Stderr) > 0 {
		err = fmt.Errorf("%w: %s", err, strings.TrimSpace(string(exit.Stderr)))
	}
	return string(out), err
}

// bootFlags are the flags of the commands that change how the machine boots, or what its runtimes call.
type bootFlags struct{ yes, dryRun bool }

func (f *bootFlags) add(cmd *cobra.Command) {
	cmd.Flags().BoolVarP(&f.yes, "yes", "y", false, "make the change without asking")
	cmd.Flags().BoolVar(&f.dryRun, "dry-run", false, "show the change, and make none")
	cmd.MarkFlagsMutuallyExclusive("yes", "dry-run")
}

// change shows a plan, asks, and carries it out.
func (f *bootFlags) change(w io.Writer, in io.Reader, asks bool, system boot.System, plan func() (*boot.Plan, error), name, after string) error {
	p, err := plan()
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	if p.Done != "" {
		_, err := fmt.Fprintln(w, p.Done)
		return err
	}
	fmt.Fprintf(w, "The boot loader: %s. The change:\n\n%s\n", p.Loader, p)
	if ok, err := f.confirm(w, in, asks, name); !ok {
		return err
	}
	if err := system.Apply(w, p); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	_, err = fmt.Fprintln(w, after)
	return err
}

// confirm asks whether a change that was shown shall be made; false without an error for --dry-run.
func (f *bootFlags) confirm(w io.Writer, in io.Reader, asks bool, name string) (bool, error) {
	switch {
	case f.dryRun:
		_, err := fmt.Fprintln(w, "nothing changed (--dry-run)")
		return false, err
	case f.yes:
	case !asks:
		return false, fmt.Errorf("%s: nothing changed: the standard input is no terminal, so nobody can be asked; add --yes to make this change", name)
	default:
		fmt.Fprint(w, "Make this change? [y/N] ")
		answer, err := bufio.NewReader(in).ReadString('\n')
		if err != nil && !errors.Is(err, io.EOF) {
			return false, fmt.Errorf("%s: nothing changed: %w", name, err)
		}
		if answer = strings.ToLower(strings.TrimSpace(answer)); answer != "y" && answer != "yes" {
			return false, fmt.Errorf("%s: nothing changed", name)
		}
	}
	return true, nil
}
