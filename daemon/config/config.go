// Package config is the configuration of a daemon: what it says, its flags, and its file.
package config

import (
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"time"

	"github.com/ebpfguard/ebpfguard/daemon/containers/kinds"
	"github.com/ebpfguard/ebpfguard/daemon/internal/metrics"
	"github.com/ebpfguard/ebpfguard/internal/duration"
	"github.com/ebpfguard/ebpfguard/internal/hostroot"
	"github.com/ebpfguard/ebpfguard/sink/setup"
	"github.com/ebpfguard/ebpfguard/sink/stdout"
)

// DefaultFile is what `ebpfguard daemon` reads if it is there.
const DefaultFile = "/etc/ebpfguard/config.yaml"

// Config says what a daemon does. [Default] is where to begin.
type Config struct {
	// Policies is the directory of policies; none if empty.
	Policies string
	// Socket is where the API is served. The group's members may read there. If it
	// is empty, only root and the daemon's user may.
	Socket, Group string
	// Pins is a directory on a bpf filesystem by which enforcement outlives the
	// daemon. If it is empty enforcement ends with the daemon.
	Pins string
	// State is the directory of what the daemon has to remember: what was applied,
	// and the last policies of the directory that were fine. If it is empty both
	// are forgotten at the end.
	State string
	// OnExit says what becomes of enforcement at a clean end.
	OnExit OnExit
	// HostRoot is where the host's root directory is, see [ebpfguard.Options]; Auto finds out.
	HostRoot string
	// AllowGaps, AlertBuffer and Enrich are those of [ebpfguard.Options].
	AllowGaps   bool
	AlertBuffer setup.Size
	Enrich      bool
	// AllowLockout takes policies of the directory that would lock out, see package lockout.
	AllowLockout bool
	// Outputs take the alerts.
	Outputs []setup.Spec
	// Containers say how containers become known.
	Containers Containers
	// Kubernetes makes the daemon the agent of its node: the policies of the cluster are in force as well.
	Kubernetes bool
	// NodeName is the node's name in the cluster; if empty that in NODE_NAME, else the host's.
	NodeName string
	// Kubeconfig is the file that says where the API server is and who the daemon is there. If it is empty the
	// daemon is a pod and has a service account.
	Kubeconfig string
	// KubernetesEvents tells of alerts in events on their pods. PolicyReports makes policy reports of the events of all
	// nodes, if the daemon is the one that sums up.
	KubernetesEvents, PolicyReports bool
	// FoldWindow is how long identical alerts are folded; not at all if zero.
	FoldWindow time.Duration
	// Debounce is how long the policy directory has to be at rest before it is read.
	Debounce time.Duration
	// Metrics is where metrics are served, as HOST:PORT or unix:PATH; nowhere if
	// empty. Only with MetricsAnywhere may it be reached from elsewhere.
	Metrics         string
	MetricsAnywhere bool
	LogLevel        slog.Level
	LogFormat       LogFormat
}

// OnExit says what becomes of enforcement at a clean end.
type OnExit string

// What becomes of enforcement at a clean end.
const (
	// Keep leaves it in force, if it is pinned.
	Keep OnExit = "keep"
	// Remove ends it.
	Remove OnExit = "remove"
)

// LogFormat is the form of the daemon's messages.
type LogFormat string

// The forms of messages.
const (
	LogText LogFormat = "text"
	LogJSON LogFormat = "json"
)

// Default returns the default configuration.
func Default() Config {
	return Config{
		Policies:         "/etc/ebpfguard/policies.d",
		Socket:           "/run/ebpfguard/ebpfguard.sock",
		Pins:             "/sys/fs/bpf/ebpfguard",
		State:            "/var/lib/ebpfguard",
		OnExit:           Keep,
		HostRoot:         hostroot.Auto,
		AlertBuffer:      4 << 20,
		Enrich:           true,
		Outputs:          []setup.Spec{{Settings: stdout.Kind.New()}},
		Containers:       Containers{Fail: FailOpen},
		KubernetesEvents: true,
		FoldWindow:       10 * time.Second,
		Debounce:         300 * time.Millisecond,
		LogLevel:         slog.LevelInfo,
		LogFormat:        LogText,
	}
}

// Validate returns everything that is wrong with the configuration, each as a [setup.KeyError].
func (c Config) Validate() error {
	var errs []error
	add := func(key, format string, args ...any) {
		errs = append(errs, &setup.KeyError{Key: key, Err: fmt.Errorf(key+format, args...)})
	}
	if c.Socket == "" {
		add("socket", " is empty; write the path of a Unix socket such as %s", Default().Socket)
	}
	for _, p := range []struct{ key, path string }{{"policies", c.Policies}, {"socket", c.Socket}, {"pins", c.Pins}, {"state", c.State}, {"kubeconfig", c.Kubeconfig}} {
		if p.path != "" && !filepath.IsAbs(p.path) {
			add(p.key, " %q is not absolute; write the whole path", p.path)
		}
	}
	if c.HostRoot != "" && c.HostRoot != hostroot.Auto && !filepath.IsAbs(c.HostRoot) {
		add("host_root", " is %q; write auto, a whole path such as /host, or nothing for this process's own root", c.HostRoot)
	}
	if c.OnExit != Keep && c.OnExit != Remove {
		add("on_exit", " is %q; choose keep or remove", c.OnExit)
	}
	if c.LogFormat != LogText && c.LogFormat != LogJSON {
		add("log_format", " is %q; choose text or json", c.LogFormat)
	}
	if c.Metrics != "" {
		if err := metrics.CheckAddress(c.Metrics, true); err != nil {
			errs = append(errs, &setup.KeyError{Key: "metrics", Err: err})
		}
	}
	if c.PolicyReports && !c.KubernetesEvents {
		add("policy_reports", " are made of events; leave out kubernetes_events: false")
	}
	if c.Containers.Fail != FailOpen && c.Containers.Fail != FailClosed {
		add("containers", ": fail is %q; choose open or closed", c.Containers.Fail)
	}
	for _, s := range c.Containers.Sources {
		if err := s.Check(kinds.All); err != nil {
			add("containers", ": %w", err)
		}
	}
	if c.AlertBuffer > 1<<30 {
		add("alert_buffer", " is %v; choose at most 1GiB", c.AlertBuffer)
	}
	for _, d := range []struct {
		key      string
		value    time.Duration
		longest  time.Duration
		shortest time.Duration
	}{{"fold_window", c.FoldWindow, 24 * time.Hour, 0}, {"debounce", c.Debounce, time.Minute, time.Millisecond}} {
		if d.value < d.shortest || d.value > d.longest {
			add(d.key, " is %s; choose from %s to %s", duration.Text(d.value), duration.Text(d.shortest), duration.Text(d.longest))
		}
	}
	return errors.Join(append(errs, setup.Validate(c.Outputs))...)
}
