package compile

import (
	"encoding/binary"
	"math/bits"

	"github.com/ebpfguard/ebpfguard/internal/abi"
	"github.com/ebpfguard/ebpfguard/policy"
)

// Key is the secret of the hash by which the kernel finds entries of the
// dictionary, so that nobody can construct two names that collide.
type Key [2]uint64

// sip is SipHash-1-3 (Aumasson and Bernstein, 2012) over 64-bit words. The
// kernel's side is bpf/siphash.h.
type sip struct{ v0, v1, v2, v3 uint64 }

func newSip(k Key) sip {
	return sip{
		k[0] ^ 0x736f6d6570736575, k[1] ^ 0x646f72616e646f6d,
		k[0] ^ 0x6c7967656e657261, k[1] ^ 0x7465646279746573,
	}
}

func (s *sip) round() {
	s.v0 += s.v1
	s.v2 += s.v3
	s.v1 = bits.RotateLeft64(s.v1, 13) ^ s.v0
	s.v3 = bits.RotateLeft64(s.v3, 16) ^ s.v2
	s.v0 = bits.RotateLeft64(s.v0, 32)
	s.v2 += s.v1
	s.v0 += s.v3
	s.v1 = bits.RotateLeft64(s.v1, 17) ^ s.v2
	s.v3 = bits.RotateLeft64(s.v3, 21) ^ s.v0
	s.v2 = bits.RotateLeft64(s.v2, 32)
}

func (s *sip) word(w uint64) {
	s.v3 ^= w
	s.round()
	s.v0 ^= w
}

func (s *sip) finish() uint64 {
	s.v2 ^= 0xff
	s.round()
	s.round()
	s.round()
	return s.v0 ^ s.v1 ^ s.v2 ^ s.v3
}

// hash returns the hash of a tag with its number and of words.
func (k Key) hash(tag uint64, number uint32, words ...uint64) uint64 {
	s := newSip(k)
	s.word(tag<<32 | uint64(number))
	for _, w := range words {
		s.word(w)
	}
	return s.finish()
}

// name returns the key of the edge by which a name leaves a state.
func (k Key) name(state uint32, name string) uint64 {
	s := newSip(k)
	s.word(abi.TagName<<32 | uint64(state))
	var chunk [8]byte
	for rest := name; rest != ""; {
		clear(chunk[:])
		n := copy(chunk[:], rest)
		s.word(binary.LittleEndian.Uint64(chunk[:]))
		rest = rest[n:]
	}
	s.word(uint64(len(name)))
	return s.finish()
}

// glob returns the key of the edge by which the names of a glob class leave a
// state.
func (k Key) glob(state, class uint32) uint64 { return k.hash(abi.TagGlob, state, uint64(class)) }

// file returns the key of a file in a dimension.
func (k Key) file(dimension uint32, i Identity) uint64 {
	return k.hash(abi.TagFile, dimension, i.Device, i.Inode, uint64(i.Generation))
}

// process returns the key of a process.
func (k Key) process(p policy.ProcessID) uint64 { return k.hash(abi.TagProcess, p.PID, p.Ticks()) }

// subsumes returns the key that says that the names of a state are among those of
// another.
func (k Key) subsumes(all, some abi.State) uint64 {
	return k.hash(abi.TagSubsumes, 0, uint64(all.Accept)<<32|uint64(all.Number), uint64(some.Accept)<<32|uint64(some.Number))
}

// below returns the key of what rules name below a directory in a state, or of that
// by globs.
func (k Key) below(state uint32, globs bool) uint64 {
	which := uint64(0)
	if globs {
		which = 1
	}
	return k.hash(abi.TagBelow, state, which)
}

// Identity is a file as the kernel knows it.
type Identity struct {
	// Device is the kernel's own number: major << 20 | minor; or the magic
	// number of a filesystem that there is just one of (abi.h, struct entry).
	Device uint64
	Inode  uint64
	// Generation tells apart the files that had the inode number one after the other. Of tmpfs,
	// which does not use numbers again, it tells apart those that had the device number; 0 of
	// others like it.
	Generation uint32
}
