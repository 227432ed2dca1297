package compile

import (
	"os/exec"
	"strings"
	"testing"
)

// TestImports fails when the compiler needs the loader: policies are compiled, and tested,
// where there is no kernel to load anything into.
func TestImports(t *testing.T) {
	packages, err := exec.Command("go", "list", "-deps", ".").Output()
	if err != nil {
		t.Fatal(err)
	}
	for name := range strings.FieldsSeq(string(packages)) {
		if strings.HasPrefix(name, "github.com/cilium/ebpf") || strings.HasSuffix(name, "/internal/bpf") {
			t.Errorf("internal/compile depends on %s", name)
		}
	}
}
