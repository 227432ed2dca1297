package compile

import (
	"encoding/binary"

	"github.com/ebpfguard/ebpfguard/internal/abi"
)

// tables collects the words of a revision.
type tables struct{ words []uint32 }

// append adds a table and returns where it starts. Tables start at a line, and
// entries do not cross lines since their sizes divide a line's.
func (t *tables) append(words []uint32) uint32 {
	at := uint32(len(t.words))
	t.words = append(t.words, words...)
	for len(t.words)%abi.LineWords != 0 {
		t.words = append(t.words, 0)
	}
	return at
}

// appendIntervals adds a table of intervals.
func (t *tables) appendIntervals(i intervals) abi.Table {
	words := make([]uint32, 0, 2*len(i.starts))
	for n, start := range i.starts {
		words = append(words, uint32(start.low), i.classes[n])
	}
	return abi.Table{At: t.append(words), Count: uint32(len(i.starts))}
}

// appendIntervals6 adds a table of intervals of IPv6 addresses.
func (t *tables) appendIntervals6(i intervals) abi.Table {
	words := make([]uint32, 0, 8*len(i.starts))
	for n, start := range i.starts {
		words = append(words,
			uint32(start.high>>32), uint32(start.high), uint32(start.low>>32), uint32(start.low),
			i.classes[n], 0, 0, 0)
	}
	return abi.Table{At: t.append(words), Count: uint32(len(i.starts))}
}

// set writes a struct of one line to a line.
func (t *tables) set(line int, v any) { copy(t.words[line*abi.LineWords:][:abi.LineWords], encode(v)) }

func (t *tables) lines() []abi.Line {
	lines := make([]abi.Line, len(t.words)/abi.LineWords)
	for i := range lines {
		copy(lines[i].Words[:], t.words[i*abi.LineWords:])
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
