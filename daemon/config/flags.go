package config

import (
	"errors"
	"fmt"
	"io/fs"
	"strings"

	"github.com/spf13/pflag"

	"github.com/ebpfguard/ebpfguard/internal/regular"
	"github.com/ebpfguard/ebpfguard/sink/setup"
)

// Flags returns the options as flags, which set c. A flag is named as in the file, but
// with dashes.
func (c *Config) Flags() *pflag.FlagSet {
	f := pflag.NewFlagSet("daemon", pflag.ContinueOnError)
	f.SortFlags = false
	f.StringVar(&c.Policies, "policies", c.Policies, "enforce the policies in `DIR`, and watch it; empty for none")
	f.StringVar(&c.Socket, "socket", c.Socket, "serve the API at `PATH`")
	f.StringVar(&c.Group, "group", c.Group, "let the members of `GROUP` read from the socket")
	f.StringVar(&c.Pins, "pins", c.Pins, "pin enforcement in `DIR`, so that it outlives the daemon; empty to end it with the daemon")
	f.StringVar(&c.State, "state", c.State, "save applied policies in `DIR`; empty to forget them at the end")
	f.Var(setup.Choice(&c.OnExit, Keep, Remove), "on-exit", "keep or remove pinned enforcement when the daemon ends")
	f.StringVar(&c.HostRoot, "host-root", c.HostRoot, "in a container, look up the paths of policies below `DIR`, where the host's / is; auto finds it, empty is this process's own")
	f.BoolVar(&c.AllowGaps, "allow-gaps", c.AllowGaps, "enforce what this kernel can from here, even if it cannot enforce all of the policies, or something is missing in this container")
	f.BoolVar(&c.AllowLockout, "allow-lockout", c.AllowLockout, "enforce policies of the directory even if they keep you from logging in or from changing policies")
	f.BoolVar(&c.Enrich, "enrich", c.Enrich, "add arguments, ancestors, users, units and containers to alerts")
	f.Var(&c.AlertBuffer, "alert-buffer", "the size of the kernel's buffer for alerts")
	f.Var(OutputsValue(&c.Outputs), "outputs", "write alerts to `OUTPUT`, such as '{type: file, path: /var/log/alerts.json}' (can be repeated); none for no output")
	f.Var(ContainersValue(&c.Containers), "containers", "how containers become known, a `MAPPING` such as '{fail: closed, sources: [{type: docker}]}'")
	f.BoolVar(&c.Kubernetes, "kubernetes", c.Kubernetes, "enforce the policies of the Kubernetes cluster on this node, and tell the API server which are in force")
	f.StringVar(&c.NodeName, "node-name", c.NodeName, "the `NAME` of this node in the cluster; empty for $NODE_NAME, or the host's name")
	f.StringVar(&c.Kubeconfig, "kubeconfig", c.Kubeconfig, "reach the API server as `FILE` says; empty in a pod, which has a service account")
	f.BoolVar(&c.KubernetesEvents, "kubernetes-events", c.KubernetesEvents, "tell of alerts in events on their pods, those of a kind as one")
	f.BoolVar(&c.PolicyReports, "policy-reports", c.PolicyReports, "make policy reports (wgpolicyk8s.io) of the events of all nodes")
	f.DurationVar(&c.FoldWindow, "fold-window", c.FoldWindow, "how long identical alerts count as one; 0 for never")
	f.DurationVar(&c.Debounce, "debounce", c.Debounce, "how long the policy directory must be unchanged before it is read")
	f.StringVar(&c.Metrics, "metrics", c.Metrics, "serve metrics at `ADDRESS`, HOST:PORT or unix:PATH")
	f.BoolVar(&c.MetricsAnywhere, "metrics-anywhere", c.MetricsAnywhere, "let other machines read the metrics")
	f.Var(levelValue{&c.LogLevel}, "log-level", "write messages of this level and above")
	f.Var(setup.Choice(&c.LogFormat, LogText, LogJSON), "log-format", "the format of messages")
	return f
}

// maxFile bounds the size of the file in bytes.
const maxFile = 16 << 20

// Load reads a configuration: what the flags that were set say, else what the file
// says, else the default. Without a path it reads [DefaultFile] if that is there.
// The error joins all problems.
func Load(path string, flags *pflag.FlagSet) (Config, error) {
	c, name := Default(), path
	if name == "" {
		name = DefaultFile
	}
	data, err := regular.ReadFile(name, maxFile)
	switch {
	case err == nil:
		if c, err = Parse(name, data); err != nil {
			return Config{}, err
		}
	case path != "" || !errors.Is(err, fs.ErrNotExist):
		return Config{}, fmt.Errorf("read the configuration: %w; check the path and its permissions", err)
	}
	if flags != nil {
		if err := c.override(flags); err != nil {
			return Config{}, err
		}
	}
	return c, c.Validate()
}

// override sets what flags say that were set.
func (c *Config) override(flags *pflag.FlagSet) error {
	own := c.Flags()
	var errs []error
	flags.VisitAll(func(f *pflag.Flag) { // Visit misses what was set through another set of flags
		to := own.Lookup(f.Name)
		if to == nil || !f.Changed {
			return
		}
		var err error
		if from, ok := f.Value.(pflag.SliceValue); ok {
			err = to.Value.(pflag.SliceValue).Replace(from.GetSlice())
		} else {
			err = to.Value.Set(f.Value.String())
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("--%s: %w", f.Name, err))
		}
	})
	return errors.Join(errs...)
}

// keyOf returns the name of an option in the file.
func keyOf(flag string) string { return strings.ReplaceAll(flag, "-", "_") }
