package machine

import (
	"os"
	"path/filepath"
	"syscall"
	"testing"
)

func TestIsCompiled(t *testing.T) {
	dir := t.TempDir()
	own, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for name, content := range map[string]string{"script": "#!/bin/sh\n", "short": "\x7fE", "empty": ""} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := syscall.Mkfifo(filepath.Join(dir, "pipe"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(own, filepath.Join(dir, "link")); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]bool{own: true, filepath.Join(dir, "link"): true, filepath.Join(dir, "script"): false, filepath.Join(dir, "short"): false,
		filepath.Join(dir, "empty"): false, filepath.Join(dir, "pipe"): false, filepath.Join(dir, "none"): false, dir: false} {
		if got := IsCompiled(path); got != want {
			t.Errorf("%s: %v, want %v", path, got, want)
		}
	}
}
