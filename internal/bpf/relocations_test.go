//go:build !vm

package bpf

import (
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/cilium/ebpf/btf"
)

// TestRelocations finds what would be looked up in the kernel although it is a struct of
// ours: the loader replaces such an instruction by one that no verifier accepts, on the
// kernels where it is reached.
func TestRelocations(t *testing.T) {
	t.Parallel()
	header, err := os.ReadFile("../../bpf/kernel.h")
	if err != nil {
		t.Fatal(err)
	}
	kernels := map[string]bool{}
	for _, match := range regexp.MustCompile(`struct (\w+) \{|\} (\w+_t);`).FindAllSubmatch(header, -1) {
		kernels[string(match[1])+string(match[2])] = true
	}
	object, err := LoadGuard()
	if err != nil {
		t.Fatal(err)
	}
	relocated := 0
	for name, program := range object.Programs {
		for i := range program.Instructions {
			relocation := btf.CORERelocationMetadata(&program.Instructions[i])
			if relocation == nil {
				continue
			}
			relocated++
			// Struct:"inode"[0:2]
			_, rest, named := strings.Cut(relocation.String(), `Struct:"`)
			of, _, _ := strings.Cut(rest, `"`)
			of, _, _ = strings.Cut(of, "___") // as some kernels have it
			if named && of != "" && !kernels[of] {
				t.Errorf("%s, instruction %d: %v: bpf/kernel.h has no %s", name, i, relocation, of)
			}
		}
	}
	if relocated == 0 {
		t.Error("nothing is relocated")
	}
}
