//go:build vm

package subjects

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ebpfguard/ebpfguard"
	"github.com/ebpfguard/ebpfguard/internal/abi"
	"github.com/ebpfguard/ebpfguard/policy"
	"github.com/ebpfguard/ebpfguard/test/kernel/guardtest"
)

// pad returns a path of so many bytes below a directory, with one last name.
func pad(t *testing.T, dir string, length int, last string) string {
	t.Helper()
	left := length - len(dir) - len(last) - 1
	if left < 0 || left == 1 {
		t.Fatalf("%s/%s cannot have %d bytes", dir, last, length)
	}
	for left > 0 {
		n := min(left, 200)
		if left-n == 1 {
			n--
		}
		dir += "/" + strings.Repeat("p", n-1)
		left -= n
	}
	return dir + "/" + last
}

// testLongNames has names of each length at which a task keeps them elsewhere: what is selected by
// them stays so in children, in what they start, in other groups and in later policy sets.
func testLongNames(t *testing.T, g *guardtest.FileGuard) {
	dir, err := os.MkdirTemp("", "n")
	guardtest.Check(t, err)
	t.Cleanup(func() { os.RemoveAll(dir) })
	secrets := map[string]string{}
	for _, name := range []string{"group", "program", "script", "other"} {
		secrets[name] = guardtest.WriteFile(t, dir+"/secret."+name, "")
	}
	byName := func(name string) ebpfguard.Subject { return ebpfguard.Binaries(dir + "/**/" + name) }
	group := guardtest.DenyFiles("group", ebpfguard.Subject{Cgroups: []string{"/long"}}, secrets["group"])
	other := guardtest.DenyFiles("other", byName("other"), secrets["other"])
	set := []policy.Policy{group, other,
		guardtest.DenyFiles("program", byName("program"), secrets["program"]), guardtest.DenyFiles("script", byName("script"), secrets["script"])}
	makeCgroup(t, "/long")
	makeCgroup(t, "/short")
	program := guardtest.CopyProgram(t, dir+"/first/program")
	at := func(length int) string {
		path := pad(t, dir, length, "program")
		guardtest.Check(t, os.MkdirAll(filepath.Dir(path), 0o755))
		guardtest.Check(t, os.Rename(program, path))
		program = path
		return path
	}
	check := func(t *testing.T, d *guardtest.Doer, refused ...string) {
		t.Helper()
		for name, secret := range secrets {
			if strings.Contains(strings.Join(refused, " "), name) {
				g.Refused(t, d, "open", secret, "r")
				g.RefusedChild(t, d, secret)
			} else {
				d.Passed(t, "open", secret, "r")
			}
		}
	}
	script := func(t *testing.T, length int, first string) string {
		path := pad(t, dir, length, "script")
		guardtest.Check(t, os.MkdirAll(filepath.Dir(path), 0o755))
		t.Cleanup(func() { os.Remove(path) })
		return guardtest.WriteFile(t, path, first)
	}
	lives := func(t *testing.T, d *guardtest.Doer, program string, refused ...string) {
		t.Helper()
		check(t, d, refused...)
		g.Enforce(t, set[1], set[0]) // all names are asked for anew
		g.Enforce(t, set...)
		check(t, d, refused...)
		moveToCgroup(t, d, "/short") // it is still what it was, until it starts a program
		check(t, d, refused...)
		d.Passed(t, "exec", program)
		check(t, d, "program")
		d.Passed(t, "exec", "/proc/self/exe")
		check(t, d, "program")
		d.Stop()
	}
	for _, groupLength := range []int{len("/long"), 200, abi.ShortText, abi.ShortText + 1, 600} {
		in := "/long"
		if groupLength > len(in) {
			in = pad(t, in, groupLength, "group")
		}
		t.Run(fmt.Sprintf("group of %d bytes", groupLength), func(t *testing.T) {
			for i := range in {
				if i > len("/long") && in[i] == '/' {
					makeCgroup(t, in[:i])
				}
			}
			if in != "/long" {
				makeCgroup(t, in)
			}
			for _, length := range []int{60, abi.ShortLabel, abi.ShortLabel + 1, abi.MaxLabel + 1} {
				path := at(length)
				g.Enforce(t, set...)
				lives(t, startInCgroup(t, in, path), path, "group", "program")
			}
		})
	}
	t.Run("as many bytes as there is room for", func(t *testing.T) {
		in := pad(t, "/long", 600, "room")
		for i := range in {
			if i > len("/long") && in[i] == '/' {
				makeCgroup(t, in[:i])
			}
		}
		makeCgroup(t, in)
		g.Enforce(t, set...)
		d := startInCgroup(t, in, at(abi.MaxText-1-len(in)))
		check(t, d, "group", "program")
		d.Passed(t, "exec", "/proc/self/exe")
		check(t, d, "group", "program")
		d.Stop()
		d = startInCgroup(t, in, at(abi.MaxText-len(in))) // it could be any program in any group
		for _, secret := range secrets {
			g.Undecided(t, d, "open", secret, "r")
		}
		d.Stop()
	})
	t.Run("scripts", func(t *testing.T) {
		for _, interpreter := range []int{60, abi.ShortLabel + 1} {
			path := at(interpreter)
			for _, length := range []int{60, abi.ShortLabel, abi.ShortLabel + 1, 400} {
				g.Enforce(t, set...)
				lives(t, startInCgroup(t, "/long", script(t, length, "#!"+path+"\n")), path, "group", "program", "script")
			}
		}
	})
	t.Run("env", func(t *testing.T) {
		copied := guardtest.CopyProgram(t, dir+"/first/env")
		for _, length := range []int{60, abi.ShortLabel, abi.ShortLabel + 1, 252} {
			env := pad(t, dir, length, "env")
			guardtest.Check(t, os.MkdirAll(filepath.Dir(env), 0o755))
			guardtest.Check(t, os.Rename(copied, env))
			copied = env
			path := at(60)
			g.Enforce(t, set...)
			name := script(t, length, "#!"+env+"\n")
			d := startInCgroup(t, "/long", name)
			check(t, d, "group", "script")
			d.Passed(t, "exec", path, name)
			lives(t, d, path, "group", "program", "script")
		}
	})
}
