//go:build vm

package container

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/ebpfguard/ebpfguard/internal/vmtest"
)

type alert struct {
	Operation, Verdict, Policy, Host string
	Process                          struct {
		PID                  int
		Binary, Cgroup, User string
		Unit                 string
	}
	Object struct{ Path string }
}

func (h host) alerts(t *testing.T) []alert {
	t.Helper()
	var all []alert
	for _, line := range lines(filepath.Join(h.run, "alerts")) {
		var a alert
		if err := json.Unmarshal([]byte(line), &a); err != nil {
			t.Fatalf("%q: %v", line, err)
		}
		all = append(all, a)
	}
	return all
}

// startDaemon runs the daemon as the image does by default, with its alerts in a file of the host.
func (h host) startDaemon(t *testing.T, p place, flags ...string) *container {
	t.Helper()
	_ = os.Remove(filepath.Join(h.run, "ready"))
	c := p.start(t, append([]string{"daemon", "--ready-file", "/run/ebpfguard/ready", "--fold-window=0", "--outputs", "{type: file, path: /run/ebpfguard/alerts}"}, flags...)...)
	c.awaitFile(filepath.Join(h.run, "ready"))
	return c
}

// want expects what processes of the host may open, by what name so ever.
func (h host) want(t *testing.T, when string, identity bool) {
	t.Helper()
	other := "EPERM"
	if !identity {
		other = ""
	}
	for path, want := range map[string]string{
		h.secret: "EPERM", h.symlink: "EPERM", h.hardlink: other, h.mounted: other, h.private: "EPERM", h.privateLink: other, h.free: "",
	} {
		if got := open(t, path, 0); got != want {
			t.Errorf("%s: opening %s: %q, want %q", when, path, got, want)
		}
	}
	for uid, want := range map[int]string{0: "", aUserID: "EPERM"} {
		if got := open(t, h.personal, uid); got != want {
			t.Errorf("%s: user %d opens %s: %q, want %q", when, uid, h.personal, got, want)
		}
	}
}

// TestDaemon runs the daemon in a container with what docs/containers.md recommends: it protects the host's files by
// identity, for the host and for other containers; its alerts name control groups and users of the host; and it is killed
// and taken over.
func TestDaemon(t *testing.T) {
	vmtest.Require(t, "file_open")
	h := newHost(t)
	p := recommended("guard", h.volumes()...)
	c := h.startDaemon(t, p)
	t.Logf("%s", c.log())
	h.want(t, "enforced", true)
	h.wantAlerts(t, c)
	h.wantOther(t)

	if status := c.exec("status"); status.code != 0 || !strings.HasPrefix(status.stdout, "ENFORCING") {
		t.Errorf("status: %+v", status)
	}
	victim := exec.Command("sleep", "1000")
	victim.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: aUserID, Gid: aUserID}}
	check(t, victim.Start())
	if killed := c.exec("mitigate", "--binary", "/usr/bin/sleep", "--profile", "kill", "--ttl", "1m"); killed.code != 0 {
		t.Errorf("mitigate: %+v", killed)
		_ = victim.Process.Kill()
	}
	if err := victim.Wait(); err == nil || err.Error() != "signal: killed" {
		t.Errorf("the process of the host ended with %v", err)
	}

	c.kill()
	h.want(t, "killed", true)
	before := len(h.alerts(t))
	c = h.startDaemon(t, p)
	if !strings.Contains(c.log(), "took over enforcement") {
		t.Errorf("nothing was taken over:\n%s", c.log())
	}
	c.await("the alerts of the time between", func() bool { return len(h.alerts(t)) > before })
	h.want(t, "taken over", true)
	c.kill()
	if down := p.run(t, "down"); down.code != 0 || !strings.Contains(down.stdout, "enforcement has ended") {
		t.Errorf("down: %+v", down)
	}
	if got := open(t, h.secret, 0); got != "" {
		t.Errorf("after the end the secret is still refused: %s", got)
	}
}

// wantAlerts expects alerts that name the host's things.
func (h host) wantAlerts(t *testing.T, c *container) {
	t.Helper()
	c.await("the alerts", func() bool { return len(h.alerts(t)) >= 7 })
	self, err := os.Executable()
	check(t, err)
	var users []string
	for _, a := range h.alerts(t) {
		if a.Host != hostName || a.Process.Cgroup != actorCgroup || a.Process.Unit != "actor.service" || a.Process.Binary != self {
			t.Errorf("%+v", a)
		}
		users = append(users, a.Process.User)
	}
	if !slices.Contains(users, aUser) {
		t.Errorf("the users are %q", users)
	}
}

// wantOther expects that another container is refused the host's file, and that the alert names it.
func (h host) wantOther(t *testing.T) {
	t.Helper()
	before := len(h.alerts(t))
	other := place{name: "other", volumes: []mount{bind(h.secret, "/tmp/its-own-name", "ro"), bind(h.free, "/tmp/free", "ro")}}
	if r := other.run(t, "validate", "/tmp/its-own-name"); r.code == 0 || !strings.Contains(r.stderr, "operation not permitted") {
		t.Errorf("another container reads the secret: %+v", r)
	}
	if r := other.run(t, "validate", "/tmp/free"); strings.Contains(r.stderr, "operation not permitted") {
		t.Errorf("another container may not read another file: %+v", r)
	}
	for range 100 {
		for _, a := range h.alerts(t)[before:] {
			if a.Process.Cgroup == "/containers/other" && a.Process.Binary == "/ebpfguard" && a.Policy == "secrets" {
				return
			}
		}
		unix.Nanosleep(&unix.Timespec{Nsec: 50e6}, nil)
	}
	t.Errorf("no alert names the other container: %+v", h.alerts(t)[before:])
}
