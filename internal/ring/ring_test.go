package ring

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"math/rand/v2"
	"testing"
)

// kernel writes records as the kernel does.
type kernel struct {
	ring
	consumed, produced uintptr
}

func newKernel(size int) *kernel {
	k := &kernel{}
	k.ring = ring{consumed: &k.consumed, produced: &k.produced, data: make([]byte, size)}
	return k
}

// put adds a record and reports whether there was room.
func (k *kernel) put(record []byte, flags uint32) bool {
	length := uintptr(headerSize + (len(record)+7)&^7)
	size := uintptr(len(k.data))
	if k.produced-k.consumed+length > size {
		return false
	}
	binary.NativeEndian.PutUint32(k.data[k.produced%size:], uint32(len(record))|flags)
	for i, b := range record {
		k.data[(k.produced+headerSize+uintptr(i))%size] = b
	}
	k.produced += length
	return true
}

// TestRecords: records come in their order, those that go on at the other end too, and discarded ones
// do not.
func TestRecords(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 1))
	k := newKernel(256)
	k.consumed, k.produced = ^uintptr(0)-1023, ^uintptr(0)-1023 // the positions overflow one day
	var expected [][]byte
	var buffer []byte
	wrapped := 0
	for range 10_000 {
		record := make([]byte, random.IntN(100))
		for i := range record {
			record[i] = byte(random.Uint32())
		}
		discard := random.IntN(4) == 0
		flags := uint32(0)
		if discard {
			flags = discarded
		}
		if at := k.produced % 256; at+headerSize+uintptr(len(record)) > 256 {
			wrapped++
		}
		if k.put(record, flags) && !discard {
			expected = append(expected, record)
		}
		for random.IntN(3) > 0 {
			got, err := k.next(buffer)
			if len(expected) == 0 {
				if !errors.Is(err, errEmpty) || !k.empty() {
					t.Fatalf("an empty buffer: %v", err)
				}
				break
			}
			if err != nil || !bytes.Equal(got, expected[0]) {
				t.Fatalf("%x, %v; want %x", got, err, expected[0])
			}
			buffer, expected = got, expected[1:]
		}
	}
	if wrapped < 1000 {
		t.Errorf("only %d records went on at the other end", wrapped)
	}
}

// TestDamaged: what the kernel never writes is an error, and not read beyond the buffer.
func TestDamaged(t *testing.T) {
	k := newKernel(64)
	k.produced = 4
	if _, err := k.next(nil); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Error(err)
	}
	k.produced = 16
	binary.NativeEndian.PutUint32(k.data, 1000)
	if _, err := k.next(nil); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Error(err)
	}
}
