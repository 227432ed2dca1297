// Package shelltest starts the processes that the tests of mitigations act on.
package shelltest

import (
	"bufio"
	"os/exec"
	"testing"
)

// Start runs a shell and returns when the script has written its first line. What the script reads never ends. The
// shell is killed at the end of the test.
func Start(t *testing.T, script string) *exec.Cmd {
	t.Helper()
	cmd := exec.Command("/bin/sh", "-c", script)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	if line, err := bufio.NewReader(out).ReadString('\n'); err != nil {
		t.Fatalf("%v after %q", err, line)
	}
	return cmd
}
