package bpf

import (
	"testing"

	"github.com/ebpfguard/ebpfguard/internal/abi"
)

// TestNamed folds filters that are smaller and larger than what lies in memory.
func TestNamed(t *testing.T) {
	for _, size := range []uint32{32, 512, abi.NamedBits, 4 * abi.NamedBits} {
		per := size/32/abi.LineWords + 1
		header := abi.Revision{Filter: 3 * abi.LineWords, FilterBits: size, Identities: (3 + per) * abi.LineWords}
		lines := make([]abi.Line, 3+2*per)
		set := func(filter, number uint32) {
			at := filter + number%size/32
			lines[at/abi.LineWords].Words[at%abi.LineWords] |= 1 << (number % 32)
		}
		for _, number := range []uint32{0, 31, size / 2, size - 3} {
			set(header.Filter, number)
			set(header.Identities, number+1)
		}
		bits, err := namedIn(header, func(number uint32) (abi.Line, error) { return lines[number], nil })
		if err != nil {
			t.Fatal(err)
		}
		var want namedBits
		for number := range max(size, abi.NamedBits) {
			for i, filter := range []uint32{header.Filter, header.Identities} {
				at := filter + number%size/32
				if lines[at/abi.LineWords].Words[at%abi.LineWords]>>(number%32)&1 != 0 {
					want[i*namedWords+int(number%abi.NamedBits/64)] |= 1 << (number % 64)
				}
			}
		}
		if bits != want {
			t.Errorf("filter of %d bits: not what each bit says", size)
		}
		var n named
		if n.set(bits); n.lacks(bits) {
			t.Errorf("filter of %d bits: lacks what was set", size)
		}
		n[0].And(^uint64(1))
		if !n.lacks(bits) {
			t.Errorf("filter of %d bits: the first is missing, and that is not seen", size)
		}
	}
	if bits, err := namedIn(abi.Revision{}, nil); err != nil || bits != (namedBits{}) {
		t.Error("no filter:", bits, err)
	}
}
