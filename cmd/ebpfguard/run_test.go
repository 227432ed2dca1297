package main

import (
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/ebpfguard/ebpfguard"
	"github.com/ebpfguard/ebpfguard/policy"
)

func TestRun(t *testing.T) {
	dir := t.TempDir()
	file, readyPath, log := filepath.Join(dir, "p.yaml"), filepath.Join(dir, "ready"), filepath.Join(dir, "log")
	writePolicy(t, file, "one", "22")
	if err := os.WriteFile(readyPath, []byte("stale"), 0o600); err != nil {
		t.Fatal(err)
	}
	g := newFakeGuard(t)
	g.hold = func() {
		if exists(readyPath) {
			t.Error("the ready file is there before the policies are in force")
		}
	}
	s := start(t, g, runFlags{files: []string{file}, ready: readyPath, alerts: log}, nil)
	if set := <-g.applied; len(set) != 1 || set[0].Name != "one" || set[0].Mode == policy.ModeAudit {
		t.Errorf("applied %+v", set)
	}
	until(t, "the ready file", func() bool { return exists(readyPath) })
	var state ready
	if content, err := os.ReadFile(readyPath); err != nil || json.Unmarshal(content, &state) != nil ||
		state.PID != os.Getpid() || state.Revision != 1 || len(state.Policies) != 1 {
		t.Errorf("ready file %s, %v", content, err)
	}
	g.alert(fakeAlert("a<b"))
	g.alert(&ebpfguard.LostAlertsError{Count: 7})
	g.alert(errors.New("odd"))
	g.alert(fakeAlert("c"))
	until(t, "the alerts", func() bool { return s.stdout.String() == "alert a<b\nalert c\n" })
	s.stop()
	if exists(readyPath) {
		t.Error("the ready file is left")
	}
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) != 2 {
		t.Errorf("files left: %v, %v", entries, err)
	}
	content, err := os.ReadFile(log)
	if want := "{\"alert\":\"a<b\"}\n{\"alert\":\"c\"}\n"; err != nil || string(content) != want {
		t.Errorf("file of alerts %q, %v", content, err)
	}
	if info, err := os.Stat(log); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
	stderr := s.stderr.String()
	for _, want := range []string{"count=7", "error=odd", "msg=enforcing policies=1 operations=[socket_bind] revision=1"} {
		if !strings.Contains(stderr, want) {
			t.Errorf("stderr lacks %q:\n%s", want, stderr)
		}
	}
	if want := "\nended: 3 denied, 2 audited, 8 alerts lost\n"; !strings.HasSuffix(stderr, want) {
		t.Errorf("stderr does not end with %q:\n%s", want, stderr)
	}
}

func TestRunAudit(t *testing.T) {
	file := filepath.Join(t.TempDir(), "p.yaml")
	writePolicy(t, file, "one", "22")
	g := newFakeGuard(t)
	s := start(t, g, runFlags{files: []string{file}, audit: true}, nil)
	if set := <-g.applied; set[0].Mode != policy.ModeAudit {
		t.Errorf("mode %v", set[0].Mode)
	}
	writePolicy(t, file, "two", "22")
	s.reload <- syscall.SIGHUP
	if set := <-g.applied; set[0].Name != "two" || set[0].Mode != policy.ModeAudit {
		t.Errorf("after the reload %+v", set)
	}
	s.stop()
	if !strings.Contains(s.stderr.String(), "nothing is refused") {
		t.Error("it does not say that it only audits")
	}
}

func TestRunFailures(t *testing.T) {
	dir := t.TempDir()
	good, bad := filepath.Join(dir, "good.yaml"), filepath.Join(dir, "bad.yaml")
	writePolicy(t, good, "one", "22")
	writePolicy(t, bad, "one", "70000")
	notSupported := errors.New("not supported")
	for _, c := range []struct {
		name  string
		flags runFlags
		open  error
		apply error
		want  error
	}{
		{name: "policy", flags: runFlags{files: []string{bad}}},
		{name: "kernel", flags: runFlags{files: []string{good}}, open: notSupported, want: notSupported},
		{name: "apply", flags: runFlags{files: []string{good}, ready: filepath.Join(dir, "ready")}, apply: notSupported, want: notSupported},
		{name: "ready", flags: runFlags{files: []string{good}, ready: filepath.Join(dir, "no", "ready")}, want: fs.ErrNotExist},
		{name: "alerts", flags: runFlags{files: []string{good}, alerts: filepath.Join(dir, "no", "alerts")}, want: fs.ErrNotExist},
	} {
		t.Run(c.name, func(t *testing.T) {
			g := newFakeGuard(t)
			g.applyErr = c.apply
			c.flags.output = outputText
			r := newRunner(c.flags, io.Discard, io.Discard)
			opened := false
			r.open = func() (guard, error) {
				opened = c.open == nil
				return g, c.open
			}
			err := r.run()
			if err == nil || c.want != nil && !errors.Is(err, c.want) {
				t.Errorf("error %v, want %v", err, c.want)
			}
			if g.closed != opened {
				t.Errorf("closed %v, opened %v", g.closed, opened)
			}
			if exists(filepath.Join(dir, "ready")) {
				t.Error("there is a ready file")
			}
		})
	}
}

// TestRunGaps expects that policies with gaps are only enforced where that is
// wanted.
func TestRunGaps(t *testing.T) {
	file := filepath.Join(t.TempDir(), "p.yaml")
	writePolicy(t, file, "one", "22")
	gaps := func(set []policy.Policy) ([]string, error) {
		return []string{"policy " + set[0].Name + ": no hook"}, nil
	}
	g := newFakeGuard(t)
	r := newRunner(runFlags{files: []string{file}, output: outputText}, io.Discard, io.Discard)
	r.open, r.gaps = func() (guard, error) { return g, nil }, gaps
	err := r.run()
	if !errors.Is(err, ebpfguard.ErrNotSupported) || !strings.Contains(err.Error(), "policy one: no hook\n") || !strings.Contains(err.Error(), "--allow-gaps") {
		t.Errorf("error %v", err)
	}
	if len(g.attached) > 0 || !g.closed {
		t.Errorf("attached %v, closed %v", g.attached, g.closed)
	}
	var log buffer
	r = newRunner(runFlags{files: []string{file}, allowGaps: true}, io.Discard, &log)
	r.guard, r.gaps = newFakeGuard(t), gaps
	if err := r.reloadPolicies(); err != nil {
		t.Error(err)
	}
	if text := log.String(); !strings.Contains(text, "level=WARN") || !strings.Contains(text, `gap="policy one: no hook"`) {
		t.Errorf("log: %s", text)
	}
}
