//go:build vm_runner

package toyoperation

import (
	"bytes"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/ebpfguard/ebpfguard/internal/vmtest"
)

// TestToyKernel boots a kernel, which has to refuse what the toy denies. Run it by
//
//	make test-toy
func TestToyKernel(t *testing.T) {
	kernel, err := vmtest.ByName("6.12")
	if err != nil {
		t.Fatal(err)
	}
	tree := newTree(t)
	tree.overlay["toy_test.go"] = testdata(t, "probes/guest_test.go")
	tree.build(t, []string{"CGO_ENABLED=0"}, ".")
	var out, messages bytes.Buffer
	exit, err := vmtest.Run(t.Context(), vmtest.Config{
		Kernel: kernel, Binary: filepath.Join(tree.dir, "ebpfguard.test"), Args: []string{"-test.v", "-test.run", "^TestToyKernel$"},
		CPUs: 1, Timeout: 5 * time.Minute, Stdout: &out, Stderr: &messages,
	})
	if err != nil || exit != 0 || !strings.Contains(out.String(), "--- PASS: TestToyKernel") {
		t.Errorf("exit status %d, %v\n%s%s", exit, err, out.String(), messages.String())
	}
	t.Log(out.String())
}
