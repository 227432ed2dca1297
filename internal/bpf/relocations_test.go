//go:build !vm

package bpf

import (
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/cilium/ebpf"
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
	for of, load := range map[string]func() (*ebpf.CollectionSpec, error){"guard": LoadGuard, "older": LoadOlder} {
		object, err := load()
		if err != nil {
			t.Fatal(err)
		}
		if relocated := checkRelocations(t, object, kernels); relocated == 0 {
			t.Errorf("nothing is relocated in %s", of)
		}
	}
}

// checkRelocations returns how many there are.
func checkRelocations(t *testing.T, object *ebpf.CollectionSpec, kernels map[string]bool) (relocated int) {
	t.Helper()
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
	return relocated
}

// TestObjectsAreAlike loads the one for older kernels by the names of the other.
func TestObjectsAreAlike(t *testing.T) {
	t.Parallel()
	guard, err := LoadGuard()
	if err != nil {
		t.Fatal(err)
	}
	older, err := LoadOlder()
	if err != nil {
		t.Fatal(err)
	}
	for name, program := range guard.Programs {
		if other := older.Programs[name]; other == nil || other.SectionName != program.SectionName {
			t.Errorf("program %s: %v, for older kernels %v", name, program.SectionName, other)
		}
	}
	for name, m := range guard.Maps {
		other := older.Maps[name]
		switch {
		case other == nil || other.Type != m.Type || other.KeySize != m.KeySize || other.MaxEntries != m.MaxEntries || other.Flags != m.Flags:
			t.Errorf("map %s: %v, for older kernels %v", name, m, other)
		case other.ValueSize != m.ValueSize && !strings.HasPrefix(name, "."): // constants of the compiler's
			t.Errorf("map %s: values of %d bytes, for older kernels of %d", name, m.ValueSize, other.ValueSize)
		}
	}
	for name := range guard.Variables {
		if older.Variables[name] == nil {
			t.Errorf("variable %s is not in the object for older kernels", name)
		}
	}
	if len(guard.Programs) != len(older.Programs) || len(guard.Maps) != len(older.Maps) || len(guard.Variables) != len(older.Variables) {
		t.Errorf("%d programs, %d maps and %d variables; for older kernels %d, %d and %d", len(guard.Programs), len(guard.Maps),
			len(guard.Variables), len(older.Programs), len(older.Maps), len(older.Variables))
	}
}
