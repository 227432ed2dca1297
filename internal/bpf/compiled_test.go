//go:build !vm

package bpf

import (
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/btf"
)

// TestReadPrograms compares programs that are read by themselves with those of the whole object.
func TestReadPrograms(t *testing.T) {
	for name, test := range map[string]struct {
		object compiled
		whole  func() (*ebpf.CollectionSpec, error)
	}{"guard": {guard, LoadGuard}, "older": {older, LoadOlder}} {
		whole, err := test.whole()
		if err != nil {
			t.Fatal(err)
		}
		sections, err := test.object.sections()
		if err != nil {
			t.Fatal(err)
		}
		if got, want := slices.Sorted(maps.Keys(sections)), slices.Sorted(maps.Keys(whole.Programs)); !slices.Equal(got, want) {
			t.Errorf("%s: programs %v, want %v", name, got, want)
		}
		none, err := test.object.read()
		if err != nil || len(none.Programs) != 0 {
			t.Fatalf("%s: %v, %d programs, want none", name, err, len(none.Programs))
		}
		if got, want := slices.Sorted(maps.Keys(none.Maps)), slices.Sorted(maps.Keys(whole.Maps)); !slices.Equal(got, want) {
			t.Errorf("%s: maps %v, want %v", name, got, want)
		}
		if got, want := slices.Sorted(maps.Keys(none.Variables)), slices.Sorted(maps.Keys(whole.Variables)); !slices.Equal(got, want) {
			t.Errorf("%s: variables %v, want %v", name, got, want)
		}
		for some := range slices.Chunk(slices.Sorted(maps.Keys(whole.Programs)), 9) {
			read, err := test.object.readWith(true, some...)
			if err != nil {
				t.Fatal(err)
			}
			lean, err := test.object.read(some...)
			if err != nil {
				t.Fatal(err)
			}
			if len(read.Programs) != len(some) {
				t.Errorf("%s: %d programs for %v", name, len(read.Programs), some)
			}
			for _, p := range some {
				got, want := read.Programs[p], whole.Programs[p]
				pointAtValues(want.Instructions)
				// The kernel wants a line of each function, if there are any.
				lines, functions := linesOf(lean.Programs[p]), functionsOf(lean.Programs[p])
				if lines != functions || len(lean.Programs[p].Instructions) != len(want.Instructions) {
					t.Errorf("%s: %s has %d lines of the source and %d instructions, want %d and %d", name, p, lines, len(lean.Programs[p].Instructions), functions, len(want.Instructions))
				}
				if got == nil || got.AttachTo != want.AttachTo || got.Type != want.Type || len(got.Instructions) != len(want.Instructions) {
					t.Errorf("%s: %s is not as in the whole object", name, p)
					continue
				}
				for i := range got.Instructions {
					a, b := got.Instructions[i], want.Instructions[i]
					if a.OpCode != b.OpCode || a.Constant != b.Constant || a.Offset != b.Offset || a.Dst != b.Dst || a.Src != b.Src ||
						a.Reference() != b.Reference() || a.Symbol() != b.Symbol() || !reflect.DeepEqual(a.Source(), b.Source()) {
						t.Errorf("%s: instruction %d of %s is %v, want %v", name, i, p, a, b)
						break
					}
				}
			}
		}
		if _, err := test.object.read("nothing"); err == nil || !strings.Contains(err.Error(), "nothing") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// linesOf returns how many instructions say where they come from.
func linesOf(p *ebpf.ProgramSpec) (lines int) {
	for _, i := range p.Instructions {
		if i.Source() != nil {
			lines++
		}
	}
	return lines
}

// functionsOf returns how many functions a program has.
func functionsOf(p *ebpf.ProgramSpec) (count int) {
	for i := range p.Instructions {
		if btf.FuncMetadata(&p.Instructions[i]) != nil {
			count++
		}
	}
	return count
}
