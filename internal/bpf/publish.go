package bpf

import (
	"errors"
	"fmt"
	"unsafe"

	"github.com/cilium/ebpf"

	"github.com/ebpfguard/ebpfguard/internal/abi"
)

// Publish makes a revision of tables the one in force: at once, for all
// operations and subjects. When it returns, no program that still reads the
// former revision runs any more (the update of a map in a map waits for
// them, kernel/bpf/syscall.c, maybe_wait_bpf_programs). counters is where the
// counters of its rules are. If the revision knows marks, tasks are first given
// those, while fork and exec mark for it already.
//
// It reports whether the revision is in force, which it may be in spite of an error: then
// something of the former one could not be cleaned up. The counters of the former one
// are the caller's to close, see [Object.RuleCounterMap].
//
// What is pinned tells a process that takes it over which programs have to be attached,
// and the payload; programs that are to be detached after it are not to be named.
func (o *Object) Publish(lines []abi.Line, counters uint32, rules int, programs []string, payload []byte) (inForce bool, err error) {
	if err := o.declare(); err != nil {
		return false, err
	}
	if o.options.Pins != nil {
		told, err := o.handover(programs, payload)
		if err != nil {
			return false, err
		}
		if lines, err = told.append(lines); err != nil {
			return false, err
		}
	}
	// The type information has to be that of the declaration too: 6.1 takes a
	// map without for another kind (kernel/bpf/map_in_map.c, timer_off).
	spec := o.declared.Maps[GuardMapRevisions].InnerMap.Copy()
	spec.Name = "tables"
	spec.MaxEntries = uint32(len(lines))
	tables, err := ebpf.NewMap(spec)
	if err != nil {
		return false, fmt.Errorf("making tables of %d lines: %w", len(lines), err)
	}
	header := *(*abi.Revision)(unsafe.Pointer(&lines[0]))
	named, _ := namedIn(header, func(number uint32) (abi.Line, error) { return lines[number], nil })
	defer func() {
		if !inForce {
			err = errors.Join(err, o.unretain(header.Number), tables.Close())
		}
	}()
	keys := make([]uint32, len(lines))
	for i := range keys {
		keys[i] = uint32(i)
	}
	if _, err := tables.BatchUpdate(keys, lines, nil); err != nil {
		return false, fmt.Errorf("filling tables of %d lines: %w", len(lines), err)
	}
	if err := o.retain(tables, header.Number); err != nil {
		return false, err
	}
	revisions := o.maps[GuardMapRevisions]
	if activeWord(header)&abi.ActiveMarks != 0 {
		// Before the revision is there: fork and exec look for it from now on.
		if now := o.active.Load(); now != 0 {
			o.active.Store(now | abi.ActiveMarks)
		}
		if err := revisions.Put(uint32(abi.SlotStaged), tables); err != nil {
			return false, fmt.Errorf("staging tables: %w", err)
		}
		defer func() { err = errors.Join(err, revisions.Delete(uint32(abi.SlotStaged))) }()
		if err := o.markTasks(nil); err != nil {
			return false, err
		}
	}
	o.named.add(named)
	before := o.active.Swap(0)
	if err := revisions.Put(uint32(abi.SlotActive), tables); err != nil {
		o.active.Store(before)
		return false, fmt.Errorf("publishing tables: %w", err)
	}
	o.active.Store(activeWord(header))
	o.named.set(named) // no program reads the former tables any more
	o.published = published{tables, activeWord(header), named}
	o.rules = newRuleCounterMap(tables, counters, rules)
	return true, o.forget()
}

// RuleCounterMap returns the counters of the revision in force; nil before the first.
func (o *Object) RuleCounterMap() *RuleCounterMap { return o.rules }

// activeWord returns what the first line of tables says is in force, all of it
// (bpf/maps.h).
func activeWord(header abi.Revision) uint64 {
	return uint64(header.Number)<<32 | uint64(header.Concerned)
}
