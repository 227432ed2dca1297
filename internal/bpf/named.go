package bpf

import (
	"sync/atomic"

	"github.com/ebpfguard/ebpfguard/internal/abi"
)

// named are the filters of the files that policies know, in memory that the programs look at
// before they look at the tables (bpf/cache/words.h): a bit for each remainder of the number, and
// one for that of the number with the device.
type named [2 * namedWords]atomic.Uint64

// namedBits is what a revision has in them.
type namedBits [2 * namedWords]uint64

const namedWords = abi.NamedBits / 64

// namedIn folds the filters of a revision's tables (bpf/abi.h, struct revision), or repeats them
// where they are smaller.
func namedIn(header abi.Revision, lineAt func(number uint32) (abi.Line, error)) (bits namedBits, err error) {
	if err := fold(bits[:namedWords], header.Filter, header.FilterBits, lineAt); err != nil {
		return bits, err
	}
	return bits, fold(bits[namedWords:], header.Identities, header.FilterBits, lineAt)
}

// fold folds the filter that begins at a word of the tables.
func fold(to []uint64, from, size uint32, lineAt func(number uint32) (abi.Line, error)) (err error) {
	const perWord = 32
	words := size / perWord
	if words == 0 {
		return nil
	}
	var line abi.Line
	for i := range max(words, abi.NamedBits/perWord) {
		at := from + i%words
		if i == 0 || at%abi.LineWords == 0 || i%words == 0 {
			if line, err = lineAt(at / abi.LineWords); err != nil {
				return err
			}
		}
		to[i/2%uint32(len(to))] |= uint64(line.Words[at%abi.LineWords]) << (i % 2 * perWord)
	}
	return nil
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
