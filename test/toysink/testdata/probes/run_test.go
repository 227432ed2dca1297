package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ebpfguard/ebpfguard/daemon/config"
)

// TestToySink expects that the sink gets an alert of run, and that the help shows its keys.
func TestToySink(t *testing.T) {
	dir := t.TempDir()
	policies := filepath.Join(dir, "p.yaml")
	writePolicy(t, policies, "one", "22")
	g := newFakeGuard(t)
	flags := runFlags{files: []string{policies}, named: true}
	if err := config.OutputsValue(&flags.outputs).Set("{type: toy, folder: " + dir + "}"); err != nil {
		t.Fatal(err)
	}
	s := start(t, g, flags, nil)
	g.alert(fakeAlert("x"))
	until(t, "the alert", func() bool { return exists(filepath.Join(dir, "alert-0")) })
	s.stop()
	if content, err := os.ReadFile(filepath.Join(dir, "alert-0")); err != nil || string(content) != "alert x" {
		t.Errorf("%q, %v", content, err)
	}
	for _, command := range []string{"run", "daemon"} {
		var out bytes.Buffer
		if code := run([]string{command, "--help"}, &out, &out); code != exitDone || !strings.Contains(out.String(), "folder      the folder of the files") {
			t.Errorf("%s --help: %d, %s", command, code, out.String())
		}
	}
}
