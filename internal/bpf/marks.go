package bpf

import (
	"fmt"
	"math"

	"github.com/cilium/ebpf"

	"github.com/ebpfguard/ebpfguard/internal/abi"
	"github.com/ebpfguard/ebpfguard/internal/procfs"
)

// marker is mark_tasks, loaded. It is kept until [Object.ReleaseSpec], since several sets often follow each other.
type marker struct {
	*ebpf.Collection
	// room is for how many processes its map has room. A map for all that there can be takes 64 MiB and a tenth of a
	// second.
	room uint32
}

// ForgetMarks takes marks from all tasks, so that they can stand for something
// else. The revision in force must not know them.
func (o *Object) ForgetMarks(marks []uint) error { return o.markTasks(marks) }

// markTasks gives the running tasks the marks of their ancestors, but for those
// that are to be forgotten.
func (o *Object) markTasks(forget []uint) error {
	room := uint32(math.MaxUint32)
	if tasks, err := procfs.Tasks(); err == nil {
		room = 2*tasks + 1024 // more start meanwhile
	}
	return o.markTasksWith(room, forget)
}

// markTasksWith has room for the marks of some processes first, and for more when these are too few.
func (o *Object) markTasksWith(room uint32, forget []uint) error {
	for {
		if err := o.makeMarker(room); err != nil {
			return err
		}
		unmarked, err := o.marker.run(forget)
		if err != nil || unmarked == 0 {
			return err
		}
		if o.marker.room >= o.declared.Maps[GuardMapMarks].MaxEntries {
			return fmt.Errorf("marking tasks: no memory for %d of them", unmarked)
		}
		room = 4 * o.marker.room
	}
}

// makeMarker loads the marker unless it is there and has enough room.
func (o *Object) makeMarker(room uint32) error {
	if err := o.specify(); err != nil {
		return err
	}
	room = min(room, o.declared.Maps[GuardMapMarks].MaxEntries)
	if o.marker != nil && o.marker.room >= room {
		return nil
	}
	o.closeMarker()
	o.marks.MaxEntries = room
	collection, err := o.loadIterator(GuardProgMarkTasks)
	if err != nil {
		return err
	}
	o.marker = &marker{collection, room}
	return nil
}

func (o *Object) closeMarker() {
	if o.marker != nil {
		o.marker.Close()
		o.marker = nil
	}
}

// run marks all tasks and returns how often there was no room.
func (m *marker) run(forget []uint) (unmarked uint64, err error) {
	if err := empty(m.Maps[GuardMapMarks]); err != nil {
		return 0, fmt.Errorf("emptying the map of marks: %w", err)
	}
	var forgotten [abi.MarkWords]uint64
	for _, mark := range forget {
		forgotten[mark/64] |= 1 << (mark % 64)
	}
	for name, value := range map[string]any{GuardVarForgotten: forgotten, GuardVarUnmarked: uint64(0)} {
		if err := m.Variables[name].Set(value); err != nil {
			return 0, fmt.Errorf("setting %s: %w", name, err)
		}
	}
	if err := iterate(m.Collection, GuardProgMarkTasks); err != nil {
		return 0, err
	}
	if err := m.Variables[GuardVarUnmarked].Get(&unmarked); err != nil {
		return 0, fmt.Errorf("reading %s: %w", GuardVarUnmarked, err)
	}
	return unmarked, nil
}

// empty deletes all that is in a map of processes; nothing else writes to it meanwhile.
func empty(m *ebpf.Map) error {
	var keys []uint32
	var key uint32
	var value [abi.MarkWords]uint64
	entries := m.Iterate()
	for entries.Next(&key, &value) {
		keys = append(keys, key)
	}
	if err := entries.Err(); err != nil {
		return err
	}
	for _, key := range keys {
		if err := m.Delete(key); err != nil {
			return err
		}
	}
	return nil
}
