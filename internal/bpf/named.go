package bpf

import (
	"sync/atomic"

	"github.com/ebpfguard/ebpfguard/internal/abi"
)

// named is the filter of inode numbers that policies know, in memory that the programs look at
// before they look at the tables (bpf/cache/words.h): a bit for each remainder.
type named [abi.NamedBits / 64]atomic.Uint64

// namedBits is what a revision has in it.
type namedBits [abi.NamedBits / 64]uint64

// namedIn folds the filter of a revision's tables (bpf/abi.h, struct revision), or repeats it
// where it is smaller.
func namedIn(header abi.Revision, lineAt func(number uint32) (abi.Line, error)) (bits namedBits, err error) {
	const perWord = 32
	words := header.FilterBits / perWord
	if words == 0 {
		return bits, nil
	}
	var line abi.Line
	for i := range max(words, abi.NamedBits/perWord) {
		at := header.Filter + i%words
		if i == 0 || at%abi.LineWords == 0 || i%words == 0 {
			if line, err = lineAt(at / abi.LineWords); err != nil {
				return bits, err
			}
		}
		bits[i/2%uint32(len(bits))] |= uint64(line.Words[at%abi.LineWords]) << (i % 2 * perWord)
	}
	return bits, nil
}

// add sets the bits of a revision that is to come.
func (n *named) add(bits namedBits) {
	for i := range n {
		n[i].Or(bits[i])
	}
}

// set leaves the bits of the revision in force alone.
func (n *named) set(bits namedBits) {
	for i := range n {
		n[i].Store(bits[i])
	}
}

// lacks reports whether bits are missing. More than there should be cost time only.
func (n *named) lacks(bits namedBits) bool {
	for i := range n {
		if n[i].Load()&bits[i] != bits[i] {
			return true
		}
	}
	return false
}
