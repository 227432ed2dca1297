package compile

import "math/bits"

// rootKey is what a root is found by.
type rootKey [3]uint32

// roots is a map of roots. There are hundreds of thousands of them, and the map of the language
// takes several times as long.
type roots struct {
	slots []rootSlot // a power of two; open addressing
	count int
}

type rootSlot struct {
	key  rootKey // with slotUsed
	root root
}

// slotUsed marks a slot in the first number of its key, which is an atom or a combination.
const slotUsed = 1 << 31

func (s *rootSlot) used() bool { return s.key[0]&slotUsed != 0 }

// slot returns the place of a key, or where it belongs.
func (r *roots) slot(key rootKey) *rootSlot {
	key[0] |= slotUsed
	high, low := bits.Mul64(uint64(key[0])<<32^uint64(key[1])^0x9e3779b97f4a7c15, uint64(key[2])^uint64(key[1])<<32^0xd6e8feb86659fd93)
	mask := uint64(len(r.slots) - 1)
	for at := (high ^ low) & mask; ; at = (at + 1) & mask {
		if s := &r.slots[at]; !s.used() || s.key == key {
			return s
		}
	}
}

func (r *roots) find(key rootKey) (root, bool) {
	if r.count == 0 {
		return 0, false
	}
	s := r.slot(key)
	return s.root, s.used()
}

// reserve makes room for so many.
func (r *roots) reserve(count int) { r.slots = make([]rootSlot, 1<<bits.Len(uint(2*count))) }

// add enters a root, unless the key has one, and returns the one it has.
func (r *roots) add(key rootKey, to root) (_ root, fresh bool) {
	if 2*r.count >= len(r.slots) {
		former := r.slots
		r.slots = make([]rootSlot, max(64, 2*len(former)))
		for i := range former {
			if former[i].used() {
				*r.slot(former[i].key) = former[i]
			}
		}
	}
	s := r.slot(key)
	if s.used() {
		return s.root, false
	}
	key[0] |= slotUsed
	*s = rootSlot{key, to}
	r.count++
	return to, true
}
