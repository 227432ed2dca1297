package compile

import (
	"encoding/binary"

	"github.com/ebpfguard/ebpfguard/internal/bpf"
)

// tables collects the words of a generation.
type tables struct{ words []uint32 }

// append adds a table and returns where it starts. Tables start at a line, and
// entries do not cross lines since their sizes divide a line's.
func (t *tables) append(entries ...any) uint32 {
	at := uint32(len(t.words))
	for _, e := range entries {
		t.words = append(t.words, encode(e)...)
	}
	t.align()
	return at
}

// appendWords is append for a table of single words.
func (t *tables) appendWords(words []uint32) uint32 {
	at := uint32(len(t.words))
	t.words = append(t.words, words...)
	t.align()
	return at
}

func (t *tables) align() {
	for len(t.words)%bpf.LineWords != 0 {
		t.words = append(t.words, 0)
	}
}

// set writes a struct of one line to a line.
func (t *tables) set(line int, v any) {
	copy(t.words[line*bpf.LineWords:][:bpf.LineWords], encode(v))
}

func (t *tables) lines() []bpf.Line {
	lines := make([]bpf.Line, len(t.words)/bpf.LineWords)
	for i := range lines {
		copy(lines[i].Words[:], t.words[i*bpf.LineWords:])
	}
	return lines
}

// encode returns a struct of 32-bit fields as words.
func encode(v any) []uint32 {
	data, err := binary.Append(nil, binary.NativeEndian, v)
	if err != nil { // only for a type that is not of fixed size: a defect
		panic(err)
	}
	words := make([]uint32, len(data)/4)
	for i := range words {
		words[i] = binary.NativeEndian.Uint32(data[i*4:])
	}
	return words
}
