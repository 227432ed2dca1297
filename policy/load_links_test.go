//go:build unix

package policy

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// TestNoSecretsInErrors expects that errors quote nothing of files that a policy or a link names.
func TestNoSecretsInErrors(t *testing.T) {
	const secret = "root:$6$salt$hash:19000:0:99999:7:::"
	dir := t.TempDir()
	folder := filepath.Join(dir, "policies")
	hidden := filepath.Join(dir, "shadow")
	if err := errors.Join(os.Mkdir(folder, 0o700), os.WriteFile(hidden, []byte(secret+"\nhunter2\nMIIEpAIBAAKCAQEAx.y\n"+strings.Repeat("a", 60)+"\n"), 0o600)); err != nil {
		t.Fatal(err)
	}
	_, err := LoadAddresses(hidden)
	if err == nil || !strings.Contains(err.Error(), "shadow:2: the line is no address") {
		t.Errorf("got %v", err)
	}
	for _, part := range []string{"salt", "root:", "hunter2", "aaaa"} {
		if strings.Contains(err.Error(), part) {
			t.Errorf("the error quotes %q: %v", part, err)
		}
	}
	if err := os.Symlink(hidden, filepath.Join(folder, "a.yaml")); err != nil {
		t.Fatal(err)
	}
	_, err = Load(folder)
	if err == nil || strings.Contains(err.Error(), "salt") || !strings.Contains(err.Error(), "a.yaml cannot be used; what is wrong is not shown, because it is a link out of its directory") {
		t.Errorf("got %v", err)
	}
	// A link inside of the directory, as Kubernetes makes them, is no link out of it.
	if err := errors.Join(os.Remove(filepath.Join(folder, "a.yaml")), os.WriteFile(filepath.Join(folder, ".data"), []byte("wrong: 1\n"), 0o600),
		os.Symlink(".data", filepath.Join(folder, "a.yaml"))); err != nil {
		t.Fatal(err)
	}
	if _, err := Load(folder); err == nil || !strings.Contains(err.Error(), "a.yaml:1:1") {
		t.Errorf("got %v", err)
	}
}

// TestNamedPipes expects that nothing waits for who writes to a pipe, unless the pipe itself was named.
func TestNamedPipes(t *testing.T) {
	dir := t.TempDir()
	pipe := filepath.Join(dir, "a.yaml")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Load(dir); err == nil || !strings.Contains(err.Error(), "a.yaml: it is a named pipe, not a regular file") {
		t.Errorf("in a directory: %v", err)
	}
	if _, err := LoadAddresses(pipe); err == nil || !strings.Contains(err.Error(), "it is a named pipe") {
		t.Errorf("a list: %v", err)
	}
	go func() {
		if file, err := os.OpenFile(pipe, os.O_WRONLY, 0); err == nil {
			_, _ = file.WriteString("apiVersion: ebpfguard.io/v1alpha1\nkind: Policy\nmetadata: {name: p}\nspec:\n  subject: {}\n  rules:\n  - {operation: socket_bind, deny: {ports: [22]}}\n")
			_ = file.Close()
		}
	}()
	if set, err := Load(pipe); err != nil || len(set) != 1 {
		t.Errorf("by name: %v, %v", err, set)
	}
}
