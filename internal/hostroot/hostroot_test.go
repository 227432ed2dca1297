package hostroot

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"testing"
)

func newRoot(t *testing.T) *Root {
	t.Helper()
	if runtime.GOOS != "linux" {
		t.Skip("there are roots on Linux only")
	}
	dir := t.TempDir()
	check := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	check(os.MkdirAll(filepath.Join(dir, "usr/bin"), 0o755))
	check(os.MkdirAll(filepath.Join(dir, "etc"), 0o755))
	check(os.WriteFile(filepath.Join(dir, "usr/bin/tool"), []byte("tool"), 0o755))
	check(os.WriteFile(filepath.Join(dir, "etc/passwd"), []byte("root:x:0:0:root:/root:/bin/sh\nguarded:x:4711:4712::/:/bin/sh\n"), 0o644))
	check(os.WriteFile(filepath.Join(dir, "etc/group"), []byte("guarded:x:4712:\nreaders:x:4713:other,guarded\n"), 0o644))
	check(os.WriteFile(filepath.Join(dir, "etc/hostname"), []byte("# the name\nnode-7\n"), 0o644))
	for name, target := range map[string]string{
		"bin": "usr/bin", "sbin": "/bin", "etc/up": "../../../../usr/bin/tool", "etc/absolute": "/usr/bin/tool", "etc/loop": "loop", "etc/nowhere": "/no/such",
	} {
		check(os.Symlink(target, filepath.Join(dir, name)))
	}
	root, err := Open(dir)
	check(err)
	t.Cleanup(func() { root.Close() })
	return root
}

// TestRoot expects that links are followed below the root, and never out of it.
func TestRoot(t *testing.T) {
	root := newRoot(t)
	for name, want := range map[string]string{
		"/": "/", "/usr/bin/tool": "/usr/bin/tool", "/bin/tool": "/usr/bin/tool", "/sbin/tool": "/usr/bin/tool",
		"/etc/up": "/usr/bin/tool", "/etc/absolute": "/usr/bin/tool", "/../../etc/../bin/tool": "/usr/bin/tool",
	} {
		real, err := root.EvalSymlinks(name)
		if err != nil || real != want {
			t.Errorf("%s leads to %q, %v; want %s", name, real, err, want)
		}
		if info, err := root.Stat(name); err != nil || info.Mode()&fs.ModeSymlink != 0 {
			t.Errorf("%s: %v, %v", name, info, err)
		}
	}
	for _, name := range []string{"/etc/nowhere", "/no/such"} {
		if _, err := root.EvalSymlinks(name); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if real, err := root.EvalSymlinks("/etc/loop"); err == nil {
		t.Errorf("the loop leads to %s", real)
	}
	if data, err := root.ReadFile("/etc/absolute"); err != nil || string(data) != "tool" {
		t.Errorf("%q, %v", data, err)
	}
	if info, err := root.Lstat("/etc/absolute"); err != nil || info.Mode()&fs.ModeSymlink == 0 {
		t.Errorf("%v, %v", info, err)
	}
	if target, err := root.Readlink("/etc/up"); err != nil || target != "../../../../usr/bin/tool" {
		t.Errorf("%q, %v", target, err)
	}
	for name, want := range map[string]string{"/sbin/socket": "/usr/bin/socket", "/etc/absolute": "/usr/bin/tool", "/no/such": "/no/such", "/": ""} {
		if got := root.Here(name); got != root.Name()+want {
			t.Errorf("%s is %s here, want %s below the root", name, got, want)
		}
	}
	if found, err := root.Glob("/usr/b*/t*"); err != nil || len(found) != 1 || found[0] != "/usr/bin/tool" {
		t.Errorf("%q, %v", found, err)
	}
}

func TestNames(t *testing.T) {
	root := newRoot(t)
	users, groups := root.Names()
	if uid, err := users("guarded"); err != nil || uid != 4711 {
		t.Errorf("the user is %d, %v", uid, err)
	}
	if gid, err := groups("guarded"); err != nil || gid != 4712 {
		t.Errorf("the group is %d, %v", gid, err)
	}
	if uid, err := users("nobody-here"); err == nil {
		t.Errorf("an unknown user is %d", uid)
	}
	if name := root.UserName(4711); name != "guarded" {
		t.Errorf("user 4711 is %q", name)
	}
	if !root.IsMember(4711, 4713) || root.IsMember(4711, 9) || root.IsMember(0, 4713) {
		t.Error("the members of a group are others")
	}
	if name := root.Hostname(); name != "node-7" {
		t.Errorf("the host is %q", name)
	}
}

func TestOpen(t *testing.T) {
	if root, err := Open(""); err != nil || root != nil {
		t.Errorf("%v, %v", root, err)
	}
	if _, err := Open("relative"); err == nil {
		t.Error("a relative root is taken")
	}
	if runtime.GOOS == "linux" {
		if _, err := Open("/no/such"); !errors.Is(err, fs.ErrNotExist) {
			t.Error(err)
		}
	}
}
