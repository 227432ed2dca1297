//go:build vm_deb

package vm

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// act is something that the policy may refuse: "open" a path, "bind" a port.
type act [2]string

const actFlag = "EBPFGUARD_ACT"

// TestMain lets the test's program be the one that acts, in a process of its own.
func TestMain(m *testing.M) {
	if kind, object, ok := strings.Cut(os.Getenv(actFlag), " "); ok {
		fmt.Print(unix.ErrnoName(act{kind, object}.do()))
		os.Exit(0)
	}
	os.Exit(m.Run())
}

func (a act) do() unix.Errno {
	var err error
	switch a[0] {
	case "open":
		var fd int
		if fd, err = unix.Open(a[1], unix.O_RDONLY|unix.O_CLOEXEC, 0); err == nil {
			unix.Close(fd)
		}
	case "bind":
		var fd, port int
		if fd, err = unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0); err == nil {
			port, _ = strconv.Atoi(a[1])
			err = unix.Bind(fd, &unix.SockaddrInet4{Port: port, Addr: [4]byte{127, 0, 0, 1}})
			unix.Close(fd)
		}
	default:
		err = unix.EINVAL
	}
	var errno unix.Errno
	errors.As(err, &errno)
	return errno
}

// perform returns the name of the error that the act had in a new process, empty if it was allowed.
func perform(t *testing.T, a act) string {
	t.Helper()
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = []string{actFlag + "=" + a[0] + " " + a[1]}
	out, err := cmd.Output()
	if err != nil {
		t.Errorf("%v: the acting process: %v", a, err)
	}
	return string(out)
}

func expect(t *testing.T, a act, want string) {
	t.Helper()
	if got := perform(t, a); got != want {
		t.Errorf("%v: %q, want %q", a, got, want)
	}
}

// watch tries what is forbidden and what is allowed for as long as the work takes, from a process that runs already
// and from new ones. Neither may ever change.
func watch(t *testing.T, work func()) {
	t.Helper()
	stop := make(chan struct{})
	var tries [2]int
	var group sync.WaitGroup
	loop := func(i int, pause time.Duration, try func(act) string) {
		group.Go(func() {
			for {
				select {
				case <-stop:
					return
				case <-time.After(pause):
				}
				if got := try(act{"open", forbidden}); got != "EPERM" {
					t.Errorf("the forbidden file after %d tries: %q, want EPERM", tries[i], got)
					return
				}
				if got := try(act{"open", allowed}); got != "" {
					t.Errorf("the allowed file after %d tries: %s", tries[i], got)
					return
				}
				tries[i]++
			}
		})
	}
	loop(0, time.Millisecond, func(a act) string { return unix.ErrnoName(a.do()) })
	loop(1, 100*time.Millisecond, func(a act) string { return perform(t, a) })
	work()
	close(stop)
	group.Wait()
	t.Logf("judged rightly %d times in a process that ran, %d times in new ones", tries[0], tries[1])
	if tries[0] == 0 || tries[1] == 0 {
		t.Error("nothing was tried meanwhile")
	}
}

func command(name string, args ...string) (string, error) {
	cmd := exec.Command(name, args...)
	cmd.Env = append(os.Environ(), "DEBIAN_FRONTEND=noninteractive", "SYSTEMD_PAGER=", "SYSTEMD_COLORS=0")
	out, err := cmd.CombinedOutput()
	return string(out), err
}

func run(t *testing.T, name string, args ...string) string {
	t.Helper()
	out, err := command(name, args...)
	if err != nil {
		t.Fatalf("%s %s: %v:\n%s", name, strings.Join(args, " "), err, out)
	}
	return out
}

// property asks systemd about the unit.
func property(t *testing.T, name string) string {
	t.Helper()
	return strings.TrimSpace(run(t, "systemctl", "show", "--value", "-p", name, unit))
}

// patience is many times what a start takes when the verifier's work is emulated.
const patience = 2 * time.Minute

func eventually(t *testing.T, what string, done func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !done(); time.Sleep(200 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%s: not within %v", what, patience)
		}
	}
}

func waitActive(t *testing.T, restarts int) {
	t.Helper()
	eventually(t, "the unit runs", func() bool {
		return property(t, "ActiveState") == "active" && property(t, "SubState") == "running"
	})
	if got := property(t, "NRestarts"); got != strconv.Itoa(restarts) {
		t.Errorf("systemd restarted it %s times, want %d", got, restarts)
	}
}

// waitRestart waits until another process than pid runs and says that it is ready.
func waitRestart(t *testing.T, pid string) {
	t.Helper()
	eventually(t, "the daemon runs again", func() bool {
		now := property(t, "MainPID")
		return now != pid && now != "0" && property(t, "ActiveState") == "active" && property(t, "SubState") == "running"
	})
}

func lastLine(s string) string {
	lines := strings.Split(strings.TrimSpace(s), "\n")
	return lines[len(lines)-1]
}
