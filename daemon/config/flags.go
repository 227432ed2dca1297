package config

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"

	"github.com/spf13/pflag"

	"github.com/ebpfguard/ebpfguard/sink/setup"
)

// Flags returns the options as flags, which set c. A flag is named as in the file, but
// with dashes.
func (c *Config) Flags() *pflag.FlagSet {
	f := pflag.NewFlagSet("daemon", pflag.ContinueOnError)
	f.SortFlags = false
	f.StringVar(&c.Policies, "policies", c.Policies, "enforce the policies of `DIR`, and watch it; none if empty")
	f.StringVar(&c.Socket, "socket", c.Socket, "serve the API at `PATH`")
	f.StringVar(&c.Group, "group", c.Group, "let the members of `GROUP` read from the socket")
	f.StringVar(&c.Pins, "pins", c.Pins, "pin enforcement at `DIR`, so that it outlives the daemon; if empty it does not")
	f.StringVar(&c.State, "state", c.State, "remember in `DIR` what was applied; if empty it is forgotten")
	f.Var(setup.Choice(&c.OnExit, Keep, Remove), "on-exit", "what a clean end does with enforcement that is pinned")
	f.BoolVar(&c.AllowGaps, "allow-gaps", c.AllowGaps, "enforce as much of the policies as this kernel can")
	f.BoolVar(&c.Enrich, "enrich", c.Enrich, "tell arguments, ancestors, users, units and containers in alerts")
	f.Var(&c.AlertBuffer, "alert-buffer", "how much of alerts the kernel keeps until they are read")
	f.Var(OutputsValue(&c.Outputs), "outputs", "write alerts to `OUTPUT`, as in the file: '{type: file, path: /var/log/alerts.json}'; may be repeated; none for no output")
	f.DurationVar(&c.FoldWindow, "fold-window", c.FoldWindow, "how long identical alerts are told as one; 0 for never")
	f.DurationVar(&c.Debounce, "debounce", c.Debounce, "how long the policy directory must be at rest before it is read")
	f.StringVar(&c.Metrics, "metrics", c.Metrics, "serve metrics at `ADDRESS`, HOST:PORT or unix:PATH")
	f.BoolVar(&c.MetricsAnywhere, "metrics-anywhere", c.MetricsAnywhere, "let metrics be reached from elsewhere")
	f.Var(levelValue{&c.LogLevel}, "log-level", "which messages are written")
	f.Var(setup.Choice(&c.LogFormat, LogText, LogJSON), "log-format", "the form of messages")
	return f
}

// Load reads a configuration: what the flags that were set say, else what the file
// says, else the default. Without a path it reads [DefaultFile] if that is there.
// The error joins all problems.
func Load(path string, flags *pflag.FlagSet) (Config, error) {
	c, name := Default(), path
	if name == "" {
		name = DefaultFile
	}
	data, err := os.ReadFile(name)
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
