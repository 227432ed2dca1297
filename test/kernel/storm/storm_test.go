//go:build vm

package storm

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/ebpfguard/ebpfguard"
	"github.com/ebpfguard/ebpfguard/internal/vmtest"
	"github.com/ebpfguard/ebpfguard/policy"
	"github.com/ebpfguard/ebpfguard/test/kernel/guardtest"
)

// How many processes strike, of which priority, and the least that each of them has to do, and that there has to
// be of each change, or the test says nothing.
const (
	processes  = 8
	nice       = 10
	leastDone  = 200
	leastNoise = 20
	leastSets  = 3
)

// TestStorm has processes do what every set forbids and what none does, in the storm. What is
// forbidden never passes, what is free is never refused, and there is no alert but for what is
// forbidden. With a guard that enforces nothing the first strike fails.
func TestStorm(t *testing.T) {
	vmtest.Processors(t)
	length := 15 * time.Second
	if text := os.Getenv("EBPFGUARD_STORM"); text != "" {
		var err error
		length, err = time.ParseDuration(text)
		guardtest.Check(t, err)
	}
	g := guardtest.Shared(t)
	alerts := g.Divert(t)
	things, always := guardtest.ThingsToDo(t)
	more, rules := inTheStorm(t)
	things = append(things, more...)
	always.Rules = append(always.Rules, rules...)
	g.Use(t, always)

	told, stopListening := listen(t, g, alerts)
	// What blows is in system calls all the time and is not to keep others from running.
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(16))
	var winds []*wind
	for name, blow := range blowing(t) {
		winds = append(winds, rise(name, blow))
	}
	began := time.Now()
	stop := guardtest.StrikeOn(t, processes, nice, things)
	sets := 0
	// A busy machine takes longer for the sets that there have to be.
	for ; (time.Since(began) < length || sets < leastSets) && !t.Failed(); sets++ {
		if _, err := g.Apply(guardtest.Replacement(always, sets)); err != nil {
			t.Error(err)
		}
	}
	total, least := stop()
	var text []string
	for _, w := range winds {
		n, err := w.lie()
		text = append(text, fmt.Sprintf("%d %s", n, w.name))
		if err != nil {
			t.Errorf("%s: %v", w.name, err)
		}
		if n < leastNoise {
			t.Errorf("%d %s are too few to tell", n, w.name)
		}
	}
	stopListening()
	slices.Sort(text)
	fmt.Printf("storm: %d operations of %d processes in %v, each %d at least; %d sets, %s; %d alerts\n",
		total, processes, time.Since(began).Round(time.Second), least, sets, strings.Join(text, ", "), told.Load())
	if least < leastDone {
		t.Errorf("a process did %d operations, which are too few to tell", least)
	}
	if told.Load() == 0 {
		t.Error("no alert came")
	}
}

// inTheStorm returns more to do: what lies among names that change, and several places that are
// reached in turn.
func inTheStorm(t *testing.T) ([]guardtest.Hammered, []policy.Rule) {
	dir := filepath.Join(t.TempDir(), "a/b/c/d/e/f")
	path := func(name string) string { return filepath.Join(dir, name) }
	for _, name := range []string{"free", "shut/forbidden", "x.forbidden", "open/x"} {
		guardtest.WriteFile(t, path(name), guardtest.Content)
	}
	addresses := []netip.Addr{guardtest.Lo4, netip.MustParseAddr("127.0.0.2"), netip.IPv6Loopback()}
	forbidden := netip.MustParseAddr("127.0.0.3")
	var things []guardtest.Hammered
	for i, free := range addresses {
		other := addresses[(i+1)%len(addresses)]
		things = append(things,
			guardtest.Hammered{Name: "connect " + free.String(), Forbidden: guardtest.ConnectTo(forbidden, uint16(3000+i)), Free: guardtest.ConnectTo(free, 3000)},
			guardtest.Hammered{Name: "connect in turn", Forbidden: guardtest.ConnectTo(other, 3022), Free: guardtest.ConnectTo(other, uint16(3001+i))},
			guardtest.Hammered{Name: "bind in turn", Forbidden: guardtest.BindTo(other, 3022), Free: guardtest.BindTo(other, uint16(3001+i))})
	}
	things = append(things,
		guardtest.Hammered{Name: "open below a directory", Forbidden: guardtest.OpenFile(path("shut/forbidden"), unix.O_RDONLY), Free: guardtest.OpenFile(path("open/x"), unix.O_RDONLY)},
		guardtest.Hammered{Name: "open by a glob", Forbidden: guardtest.OpenFile(path("x.forbidden"), unix.O_RDONLY), Free: guardtest.OpenFile(path("free"), unix.O_RDONLY)})
	deny := func(o policy.Operation, patterns ...policy.Pattern) policy.Rule {
		return policy.Rule{Operation: o, Deny: patterns}
	}
	return things, []policy.Rule{
		deny(policy.FileOpen, policy.FilePattern{Paths: []string{path("shut") + "/", path("*.forbidden")}}),
		deny(policy.SocketConnect, guardtest.Ports(3022), policy.SocketPattern{Addresses: []netip.Prefix{netip.PrefixFrom(forbidden, 32)}}),
		deny(policy.SocketBind, guardtest.Ports(3022)),
	}
}

// listen reads the alerts, of which each has to be about what is forbidden.
func listen(t *testing.T, g *guardtest.Guard, alerts <-chan ebpfguard.Alert) (told *atomic.Uint64, stop func()) {
	told = &atomic.Uint64{}
	done := make(chan struct{})
	var wait sync.WaitGroup
	wait.Go(func() {
		for {
			select {
			case alert := <-alerts:
				told.Add(1)
				if !isForbidden(alert) {
					t.Errorf("an alert about what is not forbidden: %v", alert)
				}
			case <-g.Errs: // some are lost
			case <-done:
				return
			}
		}
	})
	return told, func() { close(done); wait.Wait() }
}

func isForbidden(alert ebpfguard.Alert) bool {
	context := alert.Context()
	if context.Policy != "always" || context.Verdict != policy.Deny || context.Undecided {
		return false
	}
	switch a := alert.(type) {
	case ebpfguard.FileOpenAlert:
		return strings.Contains(a.Path, "forbidden")
	case ebpfguard.BprmCheckSecurityAlert:
		return strings.HasSuffix(a.Path, "forbidden program")
	case ebpfguard.SbMountAlert:
		return strings.HasSuffix(a.Target, "forbidden point")
	case ebpfguard.TaskFixSetuidAlert:
		return a.To == 4000
	case ebpfguard.SocketBindAlert:
		return slices.Contains([]uint16{0, 2022, 3022}, a.Port)
	case ebpfguard.SocketConnectAlert:
		return a.Port == 2022 || a.Port == 3022 || a.Address == netip.MustParseAddr("127.0.0.3")
	}
	return false
}

// A wind changes something again and again until it lies down.
type wind struct {
	name    string
	ending  atomic.Bool
	stopped chan struct{}
	times   int
	err     error
}

func rise(name string, blow func() error) *wind {
	w := &wind{name: name, stopped: make(chan struct{})}
	go func() {
		defer close(w.stopped)
		// As the processes that strike: else exchanging a set takes a minute.
		runtime.LockOSThread() // for good: nobody else gets a thread of that priority
		if w.err = unix.Setpriority(unix.PRIO_PROCESS, 0, nice); w.err != nil {
			return
		}
		for !w.ending.Load() && w.err == nil {
			w.err = blow()
			w.times++
		}
	}()
	return w
}

// lie returns how often it blew.
func (w *wind) lie() (int, error) {
	w.ending.Store(true)
	<-w.stopped
	return w.times, w.err
}

// blowing returns what changes. All of it undoes what it did.
func blowing(t *testing.T) map[string]func() error {
	dir := t.TempDir()
	path := func(name string) string { return filepath.Join(dir, name) }
	for _, name := range []string{"file", "directory/sub/file", "below/file"} {
		guardtest.WriteFile(t, path(name), "")
	}
	for _, name := range []string{"point", "bind", "other"} {
		guardtest.Check(t, os.Mkdir(path(name), 0o755))
	}
	there := func(from, to string) func() error {
		return func() error {
			if err := os.Rename(path(from), path(to)); err != nil {
				return err
			}
			return os.Rename(path(to), path(from))
		}
	}
	mounts := func(source, target, kind string, flags uintptr, end int) func() error {
		return func() error {
			if err := unix.Mount(source, target, kind, flags, ""); err != nil {
				return err
			}
			return unix.Unmount(target, end)
		}
	}
	forker := guardtest.StartDoer(t, "/proc/self/exe")
	return map[string]func() error{
		"renames of a file":      there("file", "file too"),
		"renames of a directory": there("directory/sub", "other/sub"),
		"mounts":                 mounts("tmpfs", path("point"), "tmpfs", 0, 0),
		"bind mounts":            mounts(path("below"), path("bind"), "", unix.MS_BIND, unix.MNT_DETACH),
		"times of ten children": func() error {
			o := forker.Do("forks", "10", "2022")
			if o.Errno != 0 || o.Counts[guardtest.ForkRefused]+o.Counts[guardtest.ForkNoMemory] != 10 {
				return fmt.Errorf("not every child was refused: %v", o)
			}
			return nil
		},
	}
}
