//go:build vm

package bpf

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/ebpfguard/ebpfguard/internal/vmtest"
)

// moves are the counters of bpf/cache/moves.h.
type moves struct{ at, ended, begun atomic.Uint64 }

func movesOf(t *testing.T, o *Object) *moves {
	t.Helper()
	const page = 4096 // which the filters fill
	memory, err := unix.Mmap(o.maps[GuardMapWords].FD(), 0, 2*page, unix.PROT_READ, unix.MAP_SHARED)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := unix.Munmap(memory); err != nil {
			t.Error(err)
		}
	})
	return (*moves)(unsafe.Pointer(&memory[unsafe.Sizeof(*o.named)]))
}

// TestMoves renames files and directories side by side. Each file that moved counts once, also while a second guard's
// programs look on as they do in a takeover, and a directory never; and in the end as many moves have ended as begun.
func TestMoves(t *testing.T) {
	vmtest.Require(t, "socket_bind")
	o, err := Open(Options{HashKey: [2]uint64{1, 2}, AlertBytes: 1 << 16})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := o.Close(); err != nil {
			t.Error(err)
		}
	}()
	k, _ := vmtest.Guest()
	if counts := canCountMoves && k.Offers("exchanges"); counts != CountsMoves() {
		t.Fatalf("moves are counted: %v, not %v", CountsMoves(), counts)
	}
	if !CountsMoves() {
		if err := o.TrackTasks(); err != nil {
			t.Fatal(err)
		}
		for _, name := range exchanging {
			if o.attached[name] != nil {
				t.Errorf("%s is attached on a kernel that lacks what it needs", name)
			}
		}
		return
	}
	if err := o.TrackTasks(); err != nil {
		t.Fatal(err)
	}
	m := movesOf(t, o)
	const tasks, times = 8, 500
	storm := func(dir string, what func(path string) error) (counted uint64) {
		t.Helper()
		before := m.ended.Load()
		var group sync.WaitGroup
		errs := make([]error, tasks)
		for i := range tasks {
			group.Go(func() {
				from := filepath.Join(dir, strconv.Itoa(i))
				errs[i] = what(from)
				for range times / 2 {
					errs[i] = errors.Join(errs[i], os.Rename(from, from+"moved"), os.Rename(from+"moved", from))
				}
			})
		}
		group.Wait()
		if err := errors.Join(errs...); err != nil {
			t.Fatal(err)
		}
		return m.ended.Load() - before
	}
	makeFile := func(path string) error { return os.WriteFile(path, nil, 0o600) }
	// A move may go uncounted when tasks take each other's slots, and then a directory is taken to have moved.
	least := uint64(tasks * times / 2)
	files := storm(t.TempDir(), makeFile)
	if files < least || files > tasks*times {
		t.Errorf("%d files moved, and %d were counted", tasks*times, files)
	}
	if dirs := storm(t.TempDir(), func(path string) error { return os.Mkdir(path, 0o700) }); dirs > 20 {
		t.Errorf("%d moves of directories were counted", dirs)
	}
	exchanged := m.ended.Load()
	dir := t.TempDir()
	if err := errors.Join(makeFile(dir+"/a"), makeFile(dir+"/b")); err != nil {
		t.Fatal(err)
	}
	for range 100 {
		if err := unix.Renameat2(unix.AT_FDCWD, dir+"/a", unix.AT_FDCWD, dir+"/b", unix.RENAME_EXCHANGE); err != nil {
			t.Fatal(err)
		}
	}
	if n := m.ended.Load() - exchanged; n > 20 {
		t.Errorf("%d exchanges were counted", n)
	}
	attach := func(names ...string) {
		t.Helper()
		programs, err := o.load(names...)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { closePrograms(programs) })
		for _, p := range programs {
			l, err := attachTracing(p)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { l.Close() })
		}
	}
	// A kernel that mounts without counting a rename must have none subtracted.
	const mounts = 20
	counts := slices.Contains(moveCounters(), GuardProgMountEnds)
	if !counts {
		attach(GuardProgMountBegins, GuardProgMountEnds)
	}
	mount := func() {
		for range mounts {
			if err := errors.Join(unix.Mount("x", dir, "tmpfs", 0, ""), unix.Unmount(dir, 0)); err != nil {
				t.Error(err)
			}
		}
	}
	mounted := m.ended.Load()
	mount()
	switch n := m.ended.Load() - mounted; {
	case counts && (n < mounts || n > 2*mounts): // each may ask twice
		t.Errorf("of %d mounts %d were counted", mounts, n)
	case !counts && n > 0:
		t.Errorf("of %d mounts %d were counted: this kernel counts them; raise quietMounts", mounts, n)
	}
	// A directory that moves meanwhile is not taken for what is mounted.
	var mounting sync.WaitGroup
	mounting.Go(func() {
		for range 10 {
			mount()
		}
	})
	dirs := storm(t.TempDir(), func(path string) error { return os.Mkdir(path, 0o700) })
	mounting.Wait()
	if !counts && dirs > 0 || dirs > 20*mounts+20 {
		t.Errorf("%d moves of directories were counted while something was mounted", dirs)
	}
	attach(moveCounters()...) // once more
	twice := storm(t.TempDir(), makeFile)
	if twice < least || twice > tasks*times {
		t.Errorf("with two guards %d files moved, and %d were counted", tasks*times, twice)
	}
	t.Logf("%d moves of %d counted, with two guards %d", files, tasks*times, twice)
	for deadline := time.Now().Add(10 * time.Second); m.begun.Load() != m.ended.Load(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%d moves have begun and %d ended", m.begun.Load(), m.ended.Load())
		}
	}
}
