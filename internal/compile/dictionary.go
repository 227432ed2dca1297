package compile

import (
	"fmt"
	"math/bits"

	"github.com/ebpfguard/ebpfguard/internal/abi"
)

// maxEntries bounds the dictionary: 2^21 lines, 128 MiB, filled to 90 %.
const maxEntries = 4 << 21 / 10 * 9

// slots is how many entries a line of the dictionary has.
const slots = 4

// dictionary collects the entries of a revision's dictionary (abi.h, struct
// entry) and puts them into lines by cuckoo hashing: each entry lies in one of
// the two lines that the halves of its key name, so the kernel never reads more
// than two. The same entries in the same order yield the same lines.
type dictionary struct {
	keys   []uint64
	values []abi.State
}

func (d *dictionary) add(key uint64, value abi.State) {
	d.keys = append(d.keys, key)
	d.values = append(d.values, value)
}

// lines returns the dictionary; the number of lines is a power of two.
func (d *dictionary) lines() ([]uint32, error) {
	// Two choices of lines of four can be filled to some 97 % (Dietzfelbinger
	// and Weidling, 2007); a little less is found much sooner.
	lines := 1
	for lines*slots/10*9 < len(d.keys) {
		lines *= 2
	}
	for range 4 {
		placed, err := d.place(lines)
		if err != nil {
			return nil, err
		}
		if placed != nil {
			return d.words(placed), nil
		}
		lines *= 2
	}
	return nil, fmt.Errorf("%w: %d entries find no place in the dictionary; apply the set again", ErrTooLarge, len(d.keys))
}

// maxMoves is how often an entry that found its lines full may move another.
const maxMoves = 1000

// place returns the entries by place: 1 + the index of the entry, 0 for none. It
// returns nil if there are too few lines.
func (d *dictionary) place(lines int) ([]uint32, error) {
	mask := uint64(lines - 1)
	placed := make([]uint32, lines*slots)
	line := func(n uint64) []uint32 { return placed[n*slots:][:slots] }
	// put places an entry in a line that has room.
	put := func(entry uint32, at []uint32) bool {
		for i := range at {
			if at[i] == 0 {
				at[i] = entry
				return true
			}
		}
		return false
	}
	for i, key := range d.keys {
		first, second := key&mask, key>>32&mask
		if other := d.same(key, line(first), line(second)); other >= 0 {
			if d.values[other] != d.values[i] {
				return nil, fmt.Errorf("two entries of the dictionary have the key %#x; apply the set again with another key", key)
			}
			continue
		}
		entry := uint32(i + 1)
		if put(entry, line(first)) || put(entry, line(second)) {
			continue
		}
		at := second
		// What is thrown out goes to its other line. Which one is thrown
		// out is pseudo-random, and so always the same.
		random := key | 1
		moves := 0
		for ; moves < maxMoves; moves++ {
			random ^= random << 13
			random ^= random >> 7
			random ^= random << 17
			slot := random % slots
			entry, line(at)[slot] = line(at)[slot], entry
			moved := d.keys[entry-1]
			if moved&mask == at {
				at = moved >> 32 & mask
			} else {
				at = moved & mask
			}
			if put(entry, line(at)) {
				break
			}
		}
		if moves == maxMoves {
			return nil, nil
		}
	}
	return placed, nil
}

// same returns the index of the entry with the key in one of the lines, or -1.
func (d *dictionary) same(key uint64, lines ...[]uint32) int {
	for _, line := range lines {
		for _, entry := range line {
			if entry != 0 && d.keys[entry-1] == key {
				return int(entry - 1)
			}
		}
	}
	return -1
}

func (d *dictionary) words(placed []uint32) []uint32 {
	words := make([]uint32, len(placed)*abi.LineWords/slots)
	for i, entry := range placed {
		if entry == 0 {
			continue
		}
		key, value := d.keys[entry-1], d.values[entry-1]
		copy(words[i*abi.LineWords/slots:], []uint32{uint32(key >> 32), uint32(key), value.Number, value.Accept})
	}
	return words
}

// filter says which files are in the dictionary, so that the kernel needs no look-up for most of the others.
type filter struct{ files []Identity }

// identityNumber returns what a file has a bit for besides its number (bpf/cache/words.h, may_be_named).
func identityNumber(i Identity) uint64 { return i.Inode + (i.Device+i.Device>>20)*abi.DeviceStep }

// words returns the bits for the inode numbers, and those for the numbers with the devices; there are at least 64
// for each file. Of a file that shares both with one that policies name the identity is looked up each time it is
// used, whatever is kept of its directory.
func (f *filter) words() (numbers, identities []uint32) {
	size := max(abi.NamedBits, 1<<bits.Len(uint(64*len(f.files))))
	numbers, identities = make([]uint32, size/32), make([]uint32, size/32)
	set := func(words []uint32, number uint64) {
		bit := number % uint64(size)
		words[bit/32] |= 1 << (bit % 32)
	}
	for _, file := range f.files {
		set(numbers, file.Inode)
		set(identities, identityNumber(file))
	}
	return numbers, identities
}
