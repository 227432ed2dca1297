//go:build vm

package manager

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"

	"github.com/ebpfguard/ebpfguard"
	"github.com/ebpfguard/ebpfguard/internal/vmtest"
	"github.com/ebpfguard/ebpfguard/policy"
	"github.com/ebpfguard/ebpfguard/test/kernel/guardtest"
)

// Programs that only some rules need; the kernel keeps 15 bytes of a name.
var (
	forWrite = []string{"path_chmod", "path_unlink", "inode_setattr", "inode_setxattr"}
	forMoves = []string{"path_rename", "path_link"}
	forExec  = []string{"mmap_file", "file_mprotect"}
)

// TestAttachedAsNeeded has hooks attached while a rule needs them, and from before it is in
// force.
func TestAttachedAsNeeded(t *testing.T) {
	vmtest.Require(t, "file_open")
	before := loaded(t)
	has := func(when string, want ...[]string) {
		t.Helper()
		now := loaded(t)
		for _, names := range [][]string{forWrite, forMoves, forExec} {
			for _, name := range names {
				n := 0
				if slices.Contains(slices.Concat(want...), name) {
					n = 1
				}
				if now[name]-before[name] != n {
					t.Errorf("%s: %s is attached %d times, want %d", when, name, now[name]-before[name], n)
				}
			}
		}
	}
	m, err := ebpfguard.NewManager(ebpfguard.Options{AutoAttach: true})
	guardtest.Check(t, err)
	t.Cleanup(func() { guardtest.Check(t, m.Close()) })
	path := guardtest.WriteFile(t, filepath.Join(t.TempDir(), "file"), guardtest.Content)
	p := guardtest.Lone(t)
	apply := func(rules ...policy.Rule) {
		t.Helper()
		_, err := m.Apply([]policy.Policy{{Name: "rules", Subject: policy.Subject{Everyone: true}, Rules: rules}})
		guardtest.Check(t, err)
	}
	deny := func(access policy.Access) policy.Rule {
		return policy.Rule{
			Operation: policy.FileOpen, Deny: []policy.Pattern{policy.FilePattern{Paths: []string{path}, Access: access}},
			Allow: []policy.Pattern{policy.Everything(policy.FileOpen)}, // restricts nothing
		}
	}
	refused := func(when string, want map[string]bool) {
		t.Helper()
		for what, call := range uses(path) {
			if errno := p.Attempt(t, call); (errno == unix.EPERM) != want[what] {
				t.Errorf("%s: %s: %v", when, what, errno)
			}
		}
	}

	apply(deny(policy.Read))
	has("a rule about reading", forMoves)
	refused("a rule about reading", map[string]bool{"read": true})

	inForceAtOnce(t, p, path, func() { apply(deny(policy.Write)) })
	has("a rule about writing", forMoves, forWrite)
	refused("a rule about writing", map[string]bool{"chmod": true})

	apply(deny(policy.Exec))
	has("a rule about executing", forMoves, forExec)
	refused("a rule about executing", map[string]bool{"map": true})

	apply(deny(0))
	has("a rule about any access", forMoves, forWrite, forExec)
	refused("a rule about any access", map[string]bool{"read": true, "chmod": true})

	program := func(p policy.ProgramPattern) policy.Rule {
		return policy.Rule{Operation: policy.BprmCheckSecurity, Deny: []policy.Pattern{p}}
	}
	apply(program(policy.ProgramPattern{NoArgs: true}))
	has("a rule about programs that names none")
	refused("a rule about programs that names none", nil)
	apply(program(policy.ProgramPattern{Paths: []string{path}}))
	has("a rule that names a program", forExec)
	refused("a rule that names a program", map[string]bool{"map": true})
	apply(deny(policy.Read))
	has("a rule about reading again", forMoves)
}

// uses are what a process does with a file.
func uses(path string) map[string]func(*guardtest.Batch) int {
	return map[string]func(*guardtest.Batch) int{
		"read":  guardtest.OpenFile(path, unix.O_RDONLY),
		"chmod": func(b *guardtest.Batch) int { return b.Chmod(b.Text(path), 0o755) },
		"map": func(b *guardtest.Batch) int {
			// What may not be read is not open.
			b.Open(b.Text(path), unix.O_RDONLY|unix.O_CLOEXEC, 0)
			call := b.Call(unix.SYS_MMAP, 0, 4096, unix.PROT_READ|unix.PROT_EXEC, unix.MAP_PRIVATE, guardtest.OpenedFD, 0)
			b.Call(unix.SYS_CLOSE, guardtest.OpenedFD)
			return call
		},
	}
}

// inForceAtOnce has a process open a file to write and change its mode again and again while a
// rule comes that forbids both. The program that judges the first is there already, so from when
// it refuses the other one has to be there as well.
func inForceAtOnce(t *testing.T, p *guardtest.Performer, path string, come func()) {
	t.Helper()
	done := make(chan struct{})
	go func() {
		defer close(done)
		come()
	}()
	for {
		var opened, changed []int
		p.Batch = guardtest.NewBatch()
		for range 200 {
			opened = append(opened, guardtest.OpenFile(path, unix.O_WRONLY)(p.Batch))
			changed = append(changed, p.Batch.Chmod(p.Batch.Text(path), 0o755))
		}
		p.Perform(t)
		for i := range opened {
			if p.Result(opened[i]) == -int64(unix.EPERM) && p.Result(changed[i]) != -int64(unix.EPERM) {
				t.Fatalf("the rule was in force before what it needs: opening %d, changing %d", p.Result(opened[i]), p.Result(changed[i]))
			}
		}
		select {
		case <-done:
			return
		default:
		}
	}
}

// loaded returns how many programs of each name the kernel has.
func loaded(t *testing.T) map[string]int {
	t.Helper()
	names := map[string]int{}
	for id, err := ebpf.ProgramGetNextID(0); ; id, err = ebpf.ProgramGetNextID(id) {
		if errors.Is(err, os.ErrNotExist) {
			return names
		}
		guardtest.Check(t, err)
		p, err := ebpf.NewProgramFromID(id)
		if errors.Is(err, os.ErrNotExist) {
			continue // gone meanwhile
		}
		guardtest.Check(t, err)
		info, err := p.Info()
		p.Close()
		guardtest.Check(t, err)
		names[info.Name]++
	}
}
