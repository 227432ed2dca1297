//go:build vm

package subjects

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/ebpfguard/ebpfguard"
	"github.com/ebpfguard/ebpfguard/policy"
	"github.com/ebpfguard/ebpfguard/test/kernel/guardtest"
)

// TestSubject denies one program a port, whatever it is started by or does to
// its name, and lets others be.
func TestSubject(t *testing.T) {
	g := guardtest.Shared(t)
	const port = 2022
	dir := "/tmp/subjects"
	program := guardtest.CopyProgram(t, dir+"/program")
	other := guardtest.CopyProgram(t, dir+"/other")
	bind := guardtest.TCP(guardtest.Lo4, port)

	expect := func(t *testing.T, a *guardtest.Actor, what guardtest.Action, binary string) {
		t.Helper()
		r := a.Do(what)
		if denied := binary != ""; denied != r.Refused() || !denied && r.Errno != 0 {
			t.Fatalf("got %v, want denied: %v", r, denied)
		}
		if binary == "" {
			g.Quiet(t)
		} else if alert := g.Next(t); alert.Binary != binary || alert.Policy != "test" || alert.Undecided {
			t.Errorf("alert %v, want binary %s", alert, binary)
		}
	}
	deny := func(t *testing.T, path string) {
		t.Helper()
		g.Add(t, ebpfguard.SocketBind{Name: "test", Subject: ebpfguard.Binaries(path), Deny: ebpfguard.AllPorts()})
	}

	t.Run("started before the policy", func(t *testing.T) {
		running := guardtest.StartActor(t, program)
		deny(t, program)
		expect(t, running, bind, program)
		expect(t, guardtest.StartActor(t, other), bind, "")
	})
	t.Run("started after the policy", func(t *testing.T) {
		deny(t, program)
		expect(t, guardtest.StartActor(t, program), bind, program)
		expect(t, guardtest.StartActor(t, other), bind, "")
	})
	t.Run("inherited at fork, lost at exec", func(t *testing.T) {
		deny(t, program)
		running := guardtest.StartActor(t, program)
		expect(t, running, bind.With(func(a *guardtest.Action) { a.Fork = true }), program)
		expect(t, running, bind.With(func(a *guardtest.Action) { a.Exec = other }), "")
		expect(t, guardtest.StartActor(t, other), bind.With(func(a *guardtest.Action) { a.Exec = program }), program)
	})
	t.Run("through a symbolic link", func(t *testing.T) {
		link := dir + "/link"
		guardtest.Check(t, os.Symlink("program", link))
		defer os.Remove(link)
		deny(t, link)
		expect(t, guardtest.StartActor(t, link), bind, program)
		expect(t, guardtest.StartActor(t, program), bind, program)
	})
	t.Run("through a hard link", func(t *testing.T) {
		link := dir + "/hard"
		guardtest.Check(t, os.Link(program, link))
		defer os.Remove(link)
		deny(t, program)
		expect(t, guardtest.StartActor(t, link), bind, link)
	})
	t.Run("renamed while it runs, and started under the new name", func(t *testing.T) {
		deny(t, program)
		running := guardtest.StartActor(t, program)
		renamed := dir + "/renamed"
		guardtest.Check(t, os.Rename(program, renamed))
		defer os.Rename(renamed, program)
		expect(t, running, bind, renamed)
		expect(t, guardtest.StartActor(t, renamed), bind, renamed)
	})
	t.Run("replaced", func(t *testing.T) {
		path := guardtest.CopyProgram(t, dir+"/replaced")
		deny(t, path)
		next := guardtest.CopyProgram(t, dir+"/next")
		guardtest.Check(t, os.Rename(next, path))
		expect(t, guardtest.StartActor(t, path), bind, path)
	})
	t.Run("made after the policy", func(t *testing.T) {
		path := dir + "/later"
		deny(t, path)
		guardtest.CopyProgram(t, path)
		expect(t, guardtest.StartActor(t, path), bind, path)
	})
	t.Run("through a bind mount", func(t *testing.T) {
		target := filepath.Join(dir, "mounted")
		guardtest.Check(t, os.WriteFile(target, nil, 0o755))
		defer os.Remove(target)
		guardtest.Check(t, unix.Mount(program, target, "", unix.MS_BIND, ""))
		defer unix.Unmount(target, unix.MNT_DETACH)
		deny(t, program)
		a := guardtest.StartActor(t, target)
		expect(t, a, bind, target)
		a.Stop()
	})
	t.Run("a copy is another program", func(t *testing.T) {
		deny(t, program)
		expect(t, guardtest.StartActor(t, guardtest.CopyProgram(t, dir+"/copy")), bind, "")
	})
	t.Run("a deep path", func(t *testing.T) {
		deep := dir + strings.Repeat("/d", 50) + "/" + strings.Repeat("x", 255)
		guardtest.CopyProgram(t, deep)
		deny(t, deep)
		expect(t, guardtest.StartActor(t, deep), bind, deep)
	})
	t.Run("too deep a path fails closed", func(t *testing.T) {
		deep := dir + strings.Repeat("/e", 70) + "/program"
		guardtest.CopyProgram(t, deep)
		deny(t, program)
		r := guardtest.StartActor(t, deep).Do(bind)
		if !r.Refused() {
			t.Fatalf("got %v", r)
		}
		if alert := g.Next(t); !alert.Undecided || alert.Policy != "test" {
			t.Errorf("alert %v", alert)
		}
	})
	t.Run("the exception for a program", func(t *testing.T) {
		g.Add(t,
			ebpfguard.SocketBind{Name: "nobody", Subject: ebpfguard.Everyone(), Deny: ebpfguard.Ports(port)},
			ebpfguard.SocketBind{Name: "but", Subject: ebpfguard.Binaries(program), Allow: ebpfguard.Ports(port)},
		)
		expect(t, guardtest.StartActor(t, program), bind, "")
		r := guardtest.StartActor(t, other).Do(bind)
		if alert := g.Next(t); !r.Refused() || alert.Policy != "nobody" {
			t.Errorf("got %v, alert %v", r, alert)
		}
	})
	t.Run("audit", func(t *testing.T) {
		g.Add(t, ebpfguard.SocketBind{Name: "test", Mode: policy.ModeAudit, Subject: ebpfguard.Binaries(program), Deny: ebpfguard.Ports(port)})
		if r := guardtest.StartActor(t, program).Do(bind); r.Errno != 0 {
			t.Errorf("got %v", r)
		}
		if alert := g.Next(t); alert.Verdict != policy.Audit || alert.Policy != "test" {
			t.Errorf("alert %v", alert)
		}
	})
}

// TestUnprivilegedMountNamespace shows that nobody becomes an excepted program
// by mounting his own at its path in a namespace of his own.
func TestUnprivilegedMountNamespace(t *testing.T) {
	g := guardtest.Shared(t)
	trusted := guardtest.CopyProgram(t, "/tmp/trusted/program")
	rogue := guardtest.CopyProgram(t, "/tmp/rogue/program")
	g.Add(t,
		ebpfguard.SocketBind{Name: "nobody", Subject: ebpfguard.Everyone(), Deny: ebpfguard.Ports(2022)},
		ebpfguard.SocketBind{Name: "but", Subject: ebpfguard.Binaries(trusted), Allow: ebpfguard.Ports(2022)},
	)
	bind := guardtest.TCP(guardtest.Lo4, 2022).With(func(a *guardtest.Action) { a.Exec = trusted })
	if r := guardtest.StartActor(t, rogue).Do(bind); r.Errno != 0 {
		t.Fatalf("the trusted program: %v", r)
	}
	a, err := guardtest.StartActorIn(t, rogue, unix.CLONE_NEWUSER|unix.CLONE_NEWNS)
	guardtest.Check(t, err)
	if r := a.Do(guardtest.Action{Mount: [2]string{rogue, trusted}}); r.Errno != 0 {
		t.Fatal(r)
	}
	r := a.Do(bind)
	if !r.Refused() {
		t.Fatalf("the rogue at the trusted program's path: %v", r)
	}
	if alert := g.Next(t); alert.Policy != "nobody" || alert.Binary != trusted {
		t.Errorf("alert %v", alert)
	}
}
