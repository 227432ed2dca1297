//go:build unix

package regular

import (
	"errors"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

func TestOpen(t *testing.T) {
	dir, err := os.MkdirTemp("", "r") // that of the test would be too long for a socket
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	at := func(name string) string { return filepath.Join(dir, name) }
	socket, err := net.Listen("unix", at("socket"))
	if err != nil {
		t.Fatal(err)
	}
	defer socket.Close()
	if err := errors.Join(syscall.Mkfifo(at("fifo"), 0o600), os.WriteFile(at("file"), []byte("text"), 0o600),
		os.Symlink(at("file"), at("link")), os.Symlink(at("fifo"), at("pipe"))); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{
		"fifo": "it is a named pipe, not a regular file", "pipe": "it is a named pipe", "socket": "it is a socket", "": "it is a directory", "none": "no such file",
	} {
		if _, err := Open(at(name)); err == nil || !strings.Contains(err.Error(), at(name)+": "+want) {
			t.Errorf("%s: %v, want %q", name, err, want)
		}
	}
	if _, err := Open("/dev/null"); err == nil || !strings.Contains(err.Error(), "it is a device") {
		t.Errorf("a device: %v", err)
	}
	if _, err := Open(at("none")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no file: %v", err)
	}
	for _, name := range []string{"file", "link"} {
		if data, err := ReadFile(at(name), 4); err != nil || string(data) != "text" {
			t.Errorf("%s: %v, %q", name, err, data)
		}
	}
	if _, err := ReadFile(at("file"), 3); err == nil || !strings.Contains(err.Error(), "more than 3 bytes") {
		t.Errorf("a large file: %v", err)
	}
}
