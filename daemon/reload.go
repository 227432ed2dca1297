package daemon

import (
	"fmt"
	"reflect"
	"regexp"
	"strings"

	"github.com/ebpfguard/ebpfguard/daemon/config"
)

// Reload reads the configuration and the policy directory again, and reopens files of
// alerts, as SIGHUP does. It does not wait for that.
func (d *Daemon) Reload() {
	select {
	case d.reloads <- struct{}{}:
	default: // it is going to
	}
}

func (d *Daemon) reload() {
	if err := d.outputs.Reopen(); err != nil {
		d.log.Error("a file of alerts was not reopened; alerts still go to the old one", "error", err)
	}
	if d.options.Configure != nil {
		if c, err := d.options.Configure(); err != nil {
			d.problem(problemConfig, fmt.Errorf("the configuration was NOT reloaded, the previous one stays: %w", err))
		} else {
			d.solved(problemConfig)
			d.reconfigure(c)
		}
	}
	_ = d.reloadDirectory() // it becomes a problem
	d.log.Info("reloaded")
}

// reconfigure takes over what can change while the daemon runs.
func (d *Daemon) reconfigure(to config.Config) {
	d.stateMu.Lock()
	former := d.config
	next := former
	next.Policies, next.Debounce, next.OnExit, next.LogLevel, next.AllowLockout = to.Policies, to.Debounce, to.OnExit, to.LogLevel, to.AllowLockout
	d.config = next
	if former.Policies != next.Policies || former.Debounce != next.Debounce {
		close(d.watched)
		d.watched = make(chan struct{})
	}
	d.stateMu.Unlock()
	if d.options.Level != nil {
		d.options.Level.Set(next.LogLevel)
	}
	if left := changedKeys(next, to); len(left) > 0 {
		d.log.Warn("these options change only when the daemon restarts", "options", left)
	}
}

// wordStart is where a word of a field's name begins, but the first.
var wordStart = regexp.MustCompile(`\B[A-Z]`)

// changedKeys returns the keys of the configuration that differ: on_exit for OnExit.
func changedKeys(a, b config.Config) []string {
	var keys []string
	va, vb := reflect.ValueOf(a), reflect.ValueOf(b)
	for i := range va.NumField() {
		if !reflect.DeepEqual(va.Field(i).Interface(), vb.Field(i).Interface()) {
			keys = append(keys, strings.ToLower(wordStart.ReplaceAllString(va.Type().Field(i).Name, "_$0")))
		}
	}
	return keys
}
