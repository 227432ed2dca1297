//go:build !vm

package bpf

import (
	"maps"
	"slices"
	"sync"
	"testing"

	"github.com/cilium/ebpf/btf"
)

// TestTypesAreShared has programs relocated side by side with the types of this machine's kernel, as when they are
// loaded; if one copy is not enough, the race detector says so.
func TestTypesAreShared(t *testing.T) {
	types, err := takeTypes().Kernel()
	defer giveTypes()
	if err != nil {
		t.Skipf("this kernel has no types: %v", err)
	}
	sections, err := guard.sections()
	if err != nil {
		t.Fatal(err)
	}
	var group sync.WaitGroup
	for some := range slices.Chunk(slices.Sorted(maps.Keys(sections))[:32], together) {
		group.Go(func() {
			spec, err := guard.read(some...)
			if err != nil {
				t.Error(err)
				return
			}
			for name, p := range spec.Programs {
				var relocations []*btf.CORERelocation
				for i := range p.Instructions {
					if r := btf.CORERelocationMetadata(&p.Instructions[i]); r != nil {
						relocations = append(relocations, r)
					}
				}
				var b btf.Builder
				if _, err := btf.CORERelocate(relocations, []*btf.Spec{types}, spec.ByteOrder, b.Add); err != nil {
					t.Errorf("%s: %v", name, err)
				}
				var function *btf.Func
				if types.TypeByName("bpf_lsm_"+p.AttachTo, &function) != nil {
					continue // a kernel without this hook
				}
				if _, err := types.TypeID(function); err != nil {
					t.Errorf("%s: %v", name, err)
				}
			}
		})
	}
	group.Wait()
}
