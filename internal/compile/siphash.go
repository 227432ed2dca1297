package compile

import (
	"encoding/binary"
	"math/bits"
	"strings"
)

// Key is the secret of the hash by which the kernel knows programs.
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

// Path returns the key of an absolute path: the hash of its last component,
// which took in that of its parent.
func (k Key) Path(path string) uint64 {
	var hash uint64
	for name := range strings.SplitSeq(strings.Trim(path, "/"), "/") {
		hash = k.name(hash, name)
	}
	return hash
}

func (k Key) name(parent uint64, name string) uint64 {
	s := newSip(k)
	s.word(parent)
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

// Identity is a file as the kernel knows it.
type Identity struct {
	// Device is the kernel's own number: major << 20 | minor.
	Device uint64
	Inode  uint64
	// Generation tells apart the files that had the inode number one after
	// the other; 0 on filesystems that do not use numbers again (tmpfs).
	Generation uint32
}

func (k Key) identity(i Identity) uint64 {
	s := newSip(k)
	s.word(i.Device)
	s.word(i.Inode)
	s.word(uint64(i.Generation))
	return s.finish()
}
