package bpf

import (
	"sync/atomic"

	"github.com/cilium/ebpf"
)

// Note is a number that a process leaves to the one that takes its pins over.
type Note int

// The notes.
const (
	// NoteSequence is the last alert's number.
	NoteSequence Note = iota
	// NoteLost is how many lost alerts were told of.
	NoteLost
	// NoteContainer is the last container's number.
	NoteContainer
	notes = 8
)

// notesMap is memory that no program reads.
const notesMap = "notes"

var notesSpec = &ebpf.MapSpec{
	Name: notesMap, Type: ebpf.Array, Flags: mmapable,
	KeySize: 4, ValueSize: 8 * notes, MaxEntries: 1,
}

// ownMaps are those that no program knows.
var ownMaps = []*ebpf.MapSpec{notesSpec, textsSpec}

// Note returns the memory of a note, which may be used until the object is closed.
func (o *Object) Note(n Note) *atomic.Uint64 { return &o.notes[n] }
