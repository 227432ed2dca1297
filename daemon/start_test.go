package daemon

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	pb "github.com/ebpfguard/ebpfguard/api/ebpfguard/v1alpha1"
	"github.com/ebpfguard/ebpfguard/daemon/config"
	"github.com/ebpfguard/ebpfguard/policy"
)

// crash makes the next daemon find what a killed one left: what is in force stays, and
// nothing is done at the end.
func (w *world) crash(i *instance) {
	w.t.Helper()
	i.stop()
	w.guard.mu.Lock()
	defer w.guard.mu.Unlock()
	w.guard.pinned = true
}

// boot makes the next daemon find nothing in force.
func (w *world) boot(i *instance) {
	w.t.Helper()
	i.stop()
	w.guard.mu.Lock()
	defer w.guard.mu.Unlock()
	w.guard.pinned, w.guard.set = false, nil
}

func TestApplySurvives(t *testing.T) {
	w := newWorld(t)
	w.write("f.yaml", bind("f", 1))
	i := w.start()
	i.apply(bind("a", 2) + "---\n" + bind("b", 3))
	info, err := os.Stat(filepath.Join(w.config.State, appliedFile))
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", err, info)
	}
	before := i.d.owned().applied
	for name, end := range map[string]func(*instance){"crash": w.crash, "boot": w.boot} {
		end(i)
		i = w.start()
		i.want("a", "b", "f")
		after := i.d.owned().applied
		for n := range after {
			if !policy.Equal(after[n], before[n]) {
				t.Errorf("%s: %+v, was %+v", name, after[n], before[n])
			}
		}
		s, err := i.Status(t.Context(), &pb.StatusRequest{})
		if err != nil || s.GetAdopted() != (name == "crash") || s.GetState() != pb.StatusResponse_STATE_ENFORCING {
			t.Errorf("%s: %v, status %v", name, err, s)
		}
		i.apply(bind("a", 2)) // still its own
	}
	if _, err := i.Delete(t.Context(), &pb.DeleteRequest{Names: []string{"a", "b"}}); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(w.config.State, appliedFile)); err == nil {
		t.Error("there is a file of nothing")
	}
	w.boot(i)
	w.start().want("f")
}

func TestStartWithBrokenDirectory(t *testing.T) {
	w := newWorld(t)
	w.write("f.yaml", bind("f", 70000))
	// Nothing to fall back to: the problem is why it does not start.
	if _, err := w.try(nil); err == nil || !strings.Contains(err.Error(), "f.yaml:8:20") {
		t.Fatalf("it starts, or ends with %v", err)
	}
	w.write("f.yaml", bind("f", 1))
	i := w.start()
	i.apply(bind("a", 2))
	for name, end := range map[string]func(*instance){"crash": w.crash, "boot": w.boot} {
		end(i)
		w.write("f.yaml", bind("f", 70000))
		i = w.start()
		t.Log(name)
		i.want("a", "f")
		i.wantProblem("f.yaml:8:20")
		i.apply(bind("a", 3)) // the rest works
		i.want("a", "f")
		w.write("f.yaml", bind("f", 1))
		i.wantProblem("")
		i.want("a", "f")
	}
	w.crash(i)
	if err := os.RemoveAll(w.config.Policies); err != nil {
		t.Fatal(err)
	}
	i = w.start()
	i.want("a", "f")
	i.wantProblem("no such file")
}

// TestStartRefused expects that a daemon which cannot put anything in force leaves what it
// took over, and recovers.
func TestStartRefused(t *testing.T) {
	w := newWorld(t)
	w.write("f.yaml", bind("f", 1))
	i := w.start()
	i.apply(bind("a", 2))
	w.crash(i)
	w.guard.refuse("f")
	i = w.start()
	i.want("a", "f")
	i.wantProblem("not today")
	w.guard.refuse("")
	before := w.guard.published()
	i.d.pollDirectory()
	i.wantProblem("")
	if got := w.guard.published(); got != before+1 {
		t.Errorf("%d publications, want one", got-before)
	}

	// At a boot there is nothing that could stay.
	w.guard.refuse("f")
	w.boot(i)
	if _, err := w.try(nil); !errors.Is(err, errRefused) {
		t.Errorf("it starts, or ends with %v", err)
	}
}

func TestStartWithBrokenState(t *testing.T) {
	w := newWorld(t)
	w.write("f.yaml", bind("f", 1))
	i := w.start()
	i.apply(bind("a", 2))
	w.crash(i)
	path := filepath.Join(w.config.State, appliedFile)
	if err := os.WriteFile(path, []byte("a: b\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	i = w.start()
	i.want("a", "f")
	i.wantProblem("applied.yaml:1:1")
	if origin, _ := i.d.owned().origin("a"); origin != pb.Origin_ORIGIN_APPLIED {
		t.Errorf("a is owned by %v", origin)
	}
	remembered := func(want int) {
		t.Helper()
		set, err := policy.Load(path)
		if err != nil || len(set) != want {
			t.Errorf("%v, remembered %v", err, set)
		}
	}
	remembered(1) // what was in force
	if data, err := os.ReadFile(path + ".broken"); err != nil || string(data) != "a: b\n" {
		t.Errorf("%v, the broken file has %q", err, data)
	}
	i.apply(bind("a", 2)) // which changes nothing, and is enough
	i.wantProblem("")
	i.apply(bind("b", 3))
	remembered(2)
	if err := os.WriteFile(path, []byte("a: b\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	// Without pins the directory's policies are in force, and the loss is told.
	w.boot(i)
	i = w.start()
	i.want("f")
	i.wantProblem("NONE of them are in force until you apply them again")
	i.wantProblem("applied.yaml.broken")
	if !strings.Contains(w.log.String(), "level=ERROR msg=\"the applied policies cannot be read") {
		t.Errorf("messages: %s", w.log)
	}
	i.apply(bind("a", 2))
	i.wantProblem("")
	remembered(1)
	w.boot(i)
	w.start().want("a", "f")
}

func TestOnExit(t *testing.T) {
	for exit, left := range map[config.OnExit]string{config.Keep: "[f]", config.Remove: "[]"} {
		w := newWorld(t)
		w.config.OnExit = exit
		w.write("f.yaml", bind("f", 1))
		i := w.start()
		i.want("f")
		i.stop()
		if got := w.guard.names(); got != left || !w.guard.closed {
			t.Errorf("%s leaves %s", exit, got)
		}
		for _, path := range []string{w.config.Socket, filepath.Join(w.dir, "ready")} {
			if _, err := os.Stat(path); err == nil {
				t.Errorf("%s leaves %s", exit, path)
			}
		}
	}
}
