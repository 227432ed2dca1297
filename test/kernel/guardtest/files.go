//go:build vm

package guardtest

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// CopyProgram makes a program of its own at a path: a copy of this test.
func CopyProgram(t *testing.T, path string) string {
	t.Helper()
	Check(t, os.MkdirAll(filepath.Dir(path), 0o755))
	data, err := os.ReadFile("/proc/self/exe")
	Check(t, err)
	Check(t, os.WriteFile(path, data, 0o755))
	t.Cleanup(func() { os.Remove(path) })
	return path
}

// MakeProgram makes a program of its own at a path.
func MakeProgram(t *testing.T, path string, content []byte) {
	t.Helper()
	Check(t, os.MkdirAll(filepath.Dir(path), 0o755))
	Check(t, os.WriteFile(path, content, 0o755))
	t.Cleanup(func() { os.Remove(path) })
}

// Content is what files hold: text, so that to start it is ENOEXEC, at once.
const Content = "data\n"

// Mount mounts something until the test ends.
func Mount(t *testing.T, source, target, kind string, flags uintptr, data ...string) {
	t.Helper()
	if err := unix.Mount(source, target, kind, flags, strings.Join(data, "")); err != nil {
		t.Fatalf("mounting %s: %v", target, err)
	}
	if flags&unix.MS_REMOUNT == 0 {
		t.Cleanup(func() { unix.Unmount(target, unix.MNT_DETACH) })
	}
}

// WriteFile makes a file and the directories above it.
func WriteFile(t *testing.T, path, content string) string {
	t.Helper()
	Check(t, os.MkdirAll(filepath.Dir(path), 0o755))
	Check(t, os.WriteFile(path, []byte(content), 0o755))
	return path
}

func Check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
