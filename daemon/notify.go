package daemon

import (
	"context"
	"fmt"
	"strings"
	"time"

	systemd "github.com/coreos/go-systemd/v22/daemon"

	"github.com/ebpfguard/ebpfguard/policy"
)

// Messages to systemd, see sd_notify(3).
const (
	ready    = systemd.SdNotifyReady
	stopping = systemd.SdNotifyStopping
)

// notify sends messages to systemd, if that started the daemon.
func (d *Daemon) notify(states ...string) {
	if _, err := systemd.SdNotify(false, strings.Join(states, "\n")); err != nil {
		d.log.Warn("cannot send the state to systemd", "error", err)
	}
}

func (d *Daemon) notifyReady() { d.notify(ready, d.statusLine()) }

func (d *Daemon) notifyReloading() {
	d.notify(systemd.SdNotifyReloading, systemd.SdNotifyMonotonicUsec())
}

// notifyFailure sends why the daemon ends, which systemctl status shows then.
func (d *Daemon) notifyFailure(err error) {
	if err != nil {
		NotifyFailure(err)
	}
}

// NotifyFailure tells systemd, if that started this process, why it ends: systemctl status shows it
// (sd_notify(3)).
func NotifyFailure(err error) {
	text := strings.Join(strings.Fields(err.Error()), " ")
	_, _ = systemd.SdNotify(false, "STATUS=ended: "+text) // it is in the log as well
}

// notifyStatus sends the line that systemctl status shows. The caller may hold mu.
func (d *Daemon) notifyStatus() { go func() { d.notify(d.statusLine()) }() }

func (d *Daemon) statusLine() string {
	d.mu.Lock()
	count, revision := len(d.sets.all()), d.revision
	d.mu.Unlock()
	line := fmt.Sprintf("STATUS=enforcing %d policies, revision %d", count, revision)
	if all := d.problemTexts(); len(all) > 0 {
		first, _, _ := strings.Cut(all[0], "\n")
		line += fmt.Sprintf("; DEGRADED: %s", first)
	}
	return line
}

// watchdog reports to systemd while all is well, if systemd wants it.
func (d *Daemon) watchdog(ctx context.Context) {
	interval, err := systemd.SdWatchdogEnabled(false)
	if err != nil || interval == 0 {
		return
	}
	ticker := time.NewTicker(interval / 3)
	defer ticker.Stop()
	for {
		if d.isResponsive(interval / 4) {
			d.notify(systemd.SdNotifyWatchdog)
		} else if ctx.Err() == nil {
			d.log.Error("the guard does not answer; systemd will restart the daemon")
		}
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
	}
}

// maxPublishing is how long a set may take to come into force: 100,000 rules take seconds,
// on a slow and busy machine minutes.
const maxPublishing = 10 * time.Minute

// isResponsive reports whether policies could be replaced and the guard asked in time, or are
// just being replaced.
func (d *Daemon) isResponsive(patience time.Duration) bool {
	answered := make(chan bool, 1)
	go func() {
		d.mu.Lock()
		defer d.mu.Unlock()
		if d.ended {
			answered <- true
			return
		}
		_, err := d.guard.Stats(policy.FileOpen)
		answered <- err == nil
	}()
	select {
	case ok := <-answered:
		return ok
	case <-time.After(patience):
		since := d.publishing.Load()
		return since != 0 && time.Since(time.Unix(0, since)) < maxPublishing
	}
}
