//go:build vm

package vm

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/ebpfguard/ebpfguard/internal/vmtest"
)

// ruleFor is a policy for everyone with one rule.
func ruleFor(name, operation, deny string) string {
	return `apiVersion: ebpfguard.io/v1alpha1
kind: Policy
metadata: {name: ` + name + `}
spec:
  subject: {}
  rules:
  - operation: ` + operation + `
    deny: ` + deny + `
`
}

// TestLockout tries to lock itself out of the guard. Each policy is refused, or taken back by the
// kernel when nobody confirms it: while the daemon runs, and after it was killed.
func TestLockout(t *testing.T) {
	vmtest.Require(t, "socket_bind")
	dir, _ := policies(t)
	g, _ := startDaemon(t, dir)
	file := filepath.Join(dir, "lockout.yaml")
	call := func(args ...string) (int, string) {
		var out bytes.Buffer
		cmd := exec.Command(command, args...)
		cmd.Env = append(os.Environ(), "EBPFGUARD_SOCKET="+filepath.Join(dir, "socket"))
		cmd.Stdout, cmd.Stderr = &out, &out
		err := cmd.Run()
		if err != nil && exitCode(err) < 0 {
			return -1, err.Error()
		}
		return exitCode(err), out.String()
	}
	say := func(code int, pattern string, args ...string) {
		t.Helper()
		if got, out := call(args...); got != code || !regexp.MustCompile("(?m)"+pattern).MatchString(out) {
			t.Errorf("%q: exit code %d, want %d and %s:\n%s", args, got, code, pattern, out)
		}
	}
	for _, policy := range []string{
		ruleFor("p", "bprm_check_security", "{paths: [/usr/]}"),
		ruleFor("p", "bprm_check_security", "{paths: [/]}"),
		ruleFor("p", "bprm_check_security", `{paths: ["/**"]}`),
		ruleFor("p", "bprm_check_security", "all\n    allow: {paths: [/usr/bin/curl]}"),
		ruleFor("p", "bprm_check_security", "{paths: [/usr/bin/ebpfguard]}\n    verdict: kill"),
		ruleFor("p", "file_open", "{access: [exec]}"),
		ruleFor("p", "file_open", "{paths: [/sys/fs/bpf/]}"),
		ruleFor("p", "file_open", "{paths: ["+daemonPins+"/], access: [write]}"),
		ruleFor("p", "file_open", "{paths: ["+filepath.Join(dir, "socket")+"]}"),
	} {
		write(t, file, 0o600, policy)
		say(1, `^ebpfguard: apply: nothing changed: this would lock you out of this machine: policy "p" rule 0 \(.*lockout\.yaml:7:5\) would refuse .*--confirm 2m.*--force$`, "apply", "-f", file)
	}
	say(1, `this would lock you out of this machine`, "mitigate", "--everyone", "--ttl", "10m", "--profile", "read-only")

	// What is there before, and comes back: a changes, b goes, and nobody starts ebpfguard.
	former, next := filepath.Join(dir, "former.yaml"), filepath.Join(dir, "next.yaml")
	write(t, former, 0o600, port("a", "4001")+"---\n"+port("b", "4002"))
	write(t, next, 0o600, port("a", "4003")+"---\n"+ruleFor("lockout", "bprm_check_security", "{paths: [/usr/bin/ebpfguard]}"))
	say(0, `2 added`, "apply", "-f", former)
	lockedOut := func() bool {
		err := exec.Command(command, "--version").Run()
		if err != nil && !errors.Is(err, syscall.EPERM) {
			t.Fatal(err)
		}
		return err != nil
	}
	const within = 15 * time.Second
	for _, killed := range []bool{false, true} {
		began := time.Now()
		code, out := call("apply", "-f", next, "--replace", "--confirm", within.String())
		if code != 0 || !strings.Contains(out, "keep it with: ebpfguard confirm") {
			t.Fatalf("exit code %d: %s", code, out)
		}
		put := time.Now()
		if killed {
			g.killDaemon()
		}
		if time.Since(began) < within && !lockedOut() {
			t.Error("the change is not in force")
		}
		if time.Since(began) < within-time.Second {
			wantDenied(t, 4003)
			wantAllowed(t, 4001)
			wantAllowed(t, 4002)
		}
		for lockedOut() {
			if time.Since(put) > within+3*time.Second {
				t.Fatalf("killed %v: it is not taken back after %v", killed, time.Since(put))
			}
			time.Sleep(100 * time.Millisecond)
		}
		if passed := time.Since(began); passed < within {
			t.Errorf("killed %v: it was taken back after %v, want %v", killed, passed, within)
		}
		wantDenied(t, 4001)
		wantDenied(t, 4002)
		wantAllowed(t, 4003)
		t.Logf("killed %v: taken back by itself", killed)
	}
	// The next daemon goes on with what was confirmed last.
	g, _ = startDaemon(t, dir)
	say(0, `^a +enforce +applied(?s:.*)^b +enforce +applied`, "get")
	wantDenied(t, 4001)
	wantDenied(t, 4002)
	wantAllowed(t, 4003)
	say(1, `no change waits to be confirmed`, "confirm")
	// Confirmed, it stays.
	write(t, next, 0o600, port("a", "4003"))
	say(0, `keep it with: ebpfguard confirm`, "apply", "-f", next, "--replace", "--confirm", "3s")
	say(0, `taken back in`, "status")
	say(0, `^revision \d+ is in force: 0 added, 1 changed, 1 removed$`, "confirm")
	time.Sleep(4 * time.Second)
	wantDenied(t, 4003)
	wantAllowed(t, 4001)
	wantAllowed(t, 4002)
	g.signal(syscall.SIGTERM)
	if err := <-g.exited; err != nil {
		t.Errorf("%v\n%s", err, g.read("stderr"))
	}
	if out, err := exec.Command(command, "down", "--pins", daemonPins).CombinedOutput(); err != nil {
		t.Errorf("down: %v: %s", err, out)
	}
}
