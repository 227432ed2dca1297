package main

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"log/syslog"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/ebpfguard/ebpfguard"
	"github.com/ebpfguard/ebpfguard/cmd/ebpfguard/internal/ocihook"
	"github.com/ebpfguard/ebpfguard/daemon/config"
	"github.com/ebpfguard/ebpfguard/internal/duration"
	"github.com/ebpfguard/ebpfguard/sink/setup"
)

func newRuntimeCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "runtime",
		Short: "Have container runtimes tell of containers before they start",
		Long: `Have container runtimes tell of containers before they start.

Podman, CRI-O and Docker start containers by an OCI runtime, crun or runc. That
one can call a program, a hook, when the container has its control group and
its own program does not run yet. Then the guard learns which container the
control group is. The container waits for the answer.`,
		Example: `  sudo ebpfguard runtime install-hook`,
		RunE: func(*cobra.Command, []string) error {
			return usagef("no command is given; choose install-hook, hook or wrap")
		},
	}
	cmd.AddCommand(newInstallHookCommand(), newHookCommand(), newWrapCommand())
	return cmd
}

// hookTimeout is how long a container waits for the daemon unless somebody says otherwise.
const hookTimeout = 2 * time.Second

// hookFlags are what the hook has to know: nobody is there to ask when the daemon is not.
type hookFlags struct {
	socket  string
	fail    ocihook.Fail
	timeout time.Duration
}

func (f *hookFlags) add(flags *pflag.FlagSet) {
	f.fail, f.timeout = ocihook.Open, hookTimeout
	flags.StringVar(&f.socket, "socket", "", "the daemon's socket, a `path`")
	flags.Var(setup.Choice(&f.fail, ocihook.Open, ocihook.Closed), "fail", "what becomes of a container when the daemon gives no answer:\nopen, it starts, or closed, it does not")
	flags.DurationVar(&f.timeout, "timeout", f.timeout, "how long the container waits for the daemon")
}

// arguments are the flags that differ from the default, and --fail.
func (f *hookFlags) arguments() []string {
	args := []string{"--fail=" + string(f.fail)}
	if f.socket != "" {
		args = append(args, "--socket="+f.socket)
	}
	if f.timeout != hookTimeout {
		args = append(args, "--timeout="+f.timeout.String())
	}
	return args
}

func (f *hookFlags) check() error {
	if f.timeout < 10*time.Millisecond || f.timeout > time.Minute {
		return usagef("--timeout is %s; choose from 10ms to 1m", duration.Text(f.timeout))
	}
	return nil
}

// seconds is how long a runtime may wait for the hook: longer than the hook for the daemon, or it would
// be killed before it can say what is wrong.
func (f *hookFlags) seconds() int { return int(f.timeout/time.Second) + 3 }

// initialPIDs is the pid namespace that a machine starts with (PROC_PID_INIT_INO).
const initialPIDs = "pid:[4026531836]"

// hookCommand returns the command by which runtimes of this machine can call the hook of a daemon. It is nil in
// a container: there this program has a path that the runtimes do not see.
func hookCommand(socket string) []string {
	if pids, err := os.Readlink("/proc/self/ns/pid"); err != nil || pids != initialPIDs {
		return nil
	}
	own, err := os.Stat("/")
	if err != nil {
		return nil
	}
	if host, err := os.Stat("/proc/1/root/"); err != nil || !os.SameFile(own, host) {
		return nil
	}
	program, err := os.Executable()
	if err != nil {
		return nil
	}
	flags := hookFlags{socket: socket, fail: ocihook.Closed, timeout: hookTimeout}
	return append([]string{program, "runtime", "hook"}, flags.arguments()...)
}

func newHookCommand() *cobra.Command {
	var flags hookFlags
	cmd := &cobra.Command{
		Use:   "hook",
		Short: "Tell the daemon of a container; an OCI runtime calls this",
		Long: `Tell the daemon of a container; an OCI runtime calls this.

Reads the state of the container from the standard input, as the OCI runtime
specification has it, for the stages createRuntime and poststop. What
container it is comes from files: the bundle's config.json, and what Podman,
Docker or CRI-O keep. Fails if the container must not start: when the daemon
says so (containers: {fail: closed} in its configuration), or when it gives no
answer and --fail is closed. What is wrong is on the standard error, which crun
does not show, and in the system's log ('journalctl -t ebpfguard').`,
		Example: `  # In the config.json of a bundle that you run with runc or crun by hand
  "hooks": {"createRuntime": [{"path": "/usr/bin/ebpfguard",
    "args": ["ebpfguard", "runtime", "hook", "--fail=closed"]}]}`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := flags.check(); err != nil {
				return err
			}
			h := ocihook.Hook{Socket: cmp.Or(flags.socket, os.Getenv(socketVariable)), Fail: flags.fail, Timeout: flags.timeout}
			warning, err := h.Run(cmd.Context(), cmd.InOrStdin())
			if warning != "" {
				noteHook(syslog.LOG_WARNING, warning)
				fmt.Fprintf(cmd.ErrOrStderr(), "ebpfguard: %s\n", warning)
			}
			if err != nil {
				err = fmt.Errorf("runtime hook: the container does not start: %w", err)
				noteHook(syslog.LOG_ERR, err.Error())
			}
			return err
		},
	}
	flags.add(cmd.Flags())
	return cmd
}

// noteHook writes to the system's log as well: crun shows nothing of what a hook says, and runc only when it
// fails.
func noteHook(priority syslog.Priority, text string) {
	w, err := syslog.New(priority|syslog.LOG_DAEMON, "ebpfguard")
	if err != nil {
		return // there is none
	}
	defer w.Close()
	_, _ = w.Write([]byte(text)) // nobody is left to be told
}

func newWrapCommand() *cobra.Command {
	var flags hookFlags
	var instead string
	cmd := &cobra.Command{
		Use:   "wrap [flags] -- RUNTIME [ARGUMENT...]",
		Short: "Run an OCI runtime with the hook added; Docker calls this",
		Long: `Run an OCI runtime with the hook added to the container; Docker calls this.

When the runtime is to make a container (create, run, restore), the hook is
added to the config.json of the bundle. Then the runtime takes the place of
this command. 'ebpfguard runtime install-hook' puts it into Docker's
daemon.json, since Docker has no hooks of its own.`,
		Example: `  ebpfguard runtime wrap -- runc run --bundle /srv/bundle web`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) == 0 {
				return usagef("no runtime is given; write such as: ebpfguard runtime wrap -- runc run web")
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := flags.check(); err != nil {
				return err
			}
			program, err := exec.LookPath(args[0])
			if err != nil {
				return fmt.Errorf("runtime wrap: %w; name an OCI runtime such as runc", err)
			}
			if bundle := ocihook.Bundle(args[1:]); bundle != "" {
				err := addHook(bundle, flags)
				if err != nil && flags.fail == ocihook.Closed {
					return fmt.Errorf("runtime wrap: the container does not start: %w", err)
				}
				if err != nil {
					fmt.Fprintf(cmd.ErrOrStderr(), "ebpfguard: %v; the container starts all the same\n", err)
				}
			}
			return fmt.Errorf("runtime wrap: %s: %w", program, syscall.Exec(program, args, os.Environ()))
		},
	}
	flags.add(cmd.Flags())
	cmd.Flags().StringVar(&instead, "instead-of", "", "the `name` of Docker's default runtime before, for --uninstall")
	return cmd
}

func addHook(bundle string, flags hookFlags) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	m := ocihook.Machine{Program: self, Arguments: flags.arguments(), Timeout: flags.seconds()}
	return ocihook.AddHook(bundle, m.Hook())
}

func newInstallHookCommand() *cobra.Command {
	var flags hookFlags
	var podman, docker, uninstall bool
	var confirm bootFlags
	cmd := &cobra.Command{
		Use:   "install-hook",
		Short: "Have Podman, CRI-O and Docker call the hook",
		Long: `Have Podman, CRI-O and Docker call the hook.

For Podman and CRI-O this is a file in /usr/share/containers/oci/hooks.d, for
Docker a runtime in /etc/docker/daemon.json, which becomes the default one:
runc, or the default until then, called by 'ebpfguard runtime wrap'. Without
--podman and --docker it is done for those that are installed.

First it shows the change and the commands that it will run, and asks. It asks
nothing when the standard input is no terminal: then only --yes makes the
change.

What becomes of a container when the daemon does not run is part of the
change: --fail, or what the daemon's configuration says (containers: fail). Run
this again after you have changed that.

--uninstall takes everything back. As long as there are containers that Docker
made with the runtime, it stays under its name, without the hook.`,
		Example: `  # Show what would change
  sudo ebpfguard runtime install-hook --dry-run

  # For Podman alone; no container starts while the daemon does not run
  sudo ebpfguard runtime install-hook --podman --fail closed

  sudo ebpfguard runtime install-hook --uninstall`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := flags.check(); err != nil {
				return err
			}
			if err := ownRuntimes(); err != nil {
				return fmt.Errorf("runtime install-hook: %w", err)
			}
			if err := flags.fromConfig(cmd); err != nil {
				return fmt.Errorf("runtime install-hook: %w", err)
			}
			self, err := os.Executable()
			if err != nil {
				return fmt.Errorf("runtime install-hook: %w", err)
			}
			m := ocihook.Machine{Root: "/", Program: self, Arguments: flags.arguments(), Timeout: flags.seconds()}
			if !podman && !docker {
				podman, docker = uninstall || m.HasPodman(), uninstall || m.HasDocker()
			}
			if !podman && !docker {
				return errors.New("runtime install-hook: neither Podman nor CRI-O nor Docker is installed in the usual places; choose with --podman or --docker")
			}
			var plans []func() (*ocihook.Plan, error)
			for _, step := range []struct {
				asked              bool
				install, uninstall func() (*ocihook.Plan, error)
			}{{podman, m.InstallPodman, m.UninstallPodman}, {docker, m.InstallDocker, m.UninstallDocker}} {
				switch {
				case step.asked && uninstall:
					plans = append(plans, step.uninstall)
				case step.asked:
					plans = append(plans, step.install)
				}
			}
			return installHooks(cmd, m, plans, confirm)
		},
	}
	flags.add(cmd.Flags())
	confirm.add(cmd)
	cmd.Flags().BoolVar(&podman, "podman", false, "only for Podman and CRI-O")
	cmd.Flags().BoolVar(&docker, "docker", false, "only for Docker")
	cmd.Flags().BoolVar(&uninstall, "uninstall", false, "take it back")
	return cmd
}

// fromConfig takes from the daemon's configuration what no flag gives.
func (f *hookFlags) fromConfig(cmd *cobra.Command) error {
	c, err := config.Load(config.DefaultFile, nil)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return err
	}
	if !cmd.Flags().Changed("fail") {
		f.fail = ocihook.Fail(c.Containers.Fail)
	}
	if !cmd.Flags().Changed("socket") && c.Socket != config.Default().Socket {
		f.socket = c.Socket
	}
	return nil
}

// ownRuntimes fails where this process cannot change what the machine's runtimes do.
func ownRuntimes() error {
	if os.Geteuid() != 0 {
		return errors.New("changing what container runtimes call takes root; run it with sudo")
	}
	if ebpfguard.ForeignPlace() != "" {
		return errors.New("this is a container, or has another root directory than the machine; run it on the host itself")
	}
	return nil
}

// installHooks shows the plans, asks, and carries them out.
func installHooks(cmd *cobra.Command, m ocihook.Machine, plans []func() (*ocihook.Plan, error), flags bootFlags) error {
	w, name := cmd.OutOrStdout(), "runtime install-hook"
	var todo []*ocihook.Plan
	for _, plan := range plans {
		p, err := plan()
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		if p.Empty() {
			fmt.Fprintf(w, "%s: nothing to do\n", p.About)
			continue
		}
		fmt.Fprintf(w, "%s:\n\n%s\n", p.About, p)
		todo = append(todo, p)
	}
	if len(todo) == 0 {
		return nil
	}
	if ok, err := flags.confirm(w, cmd.InOrStdin(), isTerminal(cmd.InOrStdin()), name); !ok {
		return err
	}
	for _, p := range todo {
		err := m.Apply(p, func(c ocihook.Command) error {
			out, err := exec.Command(c[0], c[1:]...).CombinedOutput()
			if text := strings.TrimSpace(string(out)); err != nil && text != "" {
				err = fmt.Errorf("%w: %s", err, text)
			}
			return err
		})
		if err != nil {
			return fmt.Errorf("%s: %s: %w", name, p.About, err)
		}
		fmt.Fprintf(w, "%s: %s\n", p.About, p.After)
	}
	return nil
}
