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
// those, while fork and exec mark for it already. It returns the
// counters of the former revision's rules, see [Object.RuleCounters].
//
// What is pinned tells a process that takes it over which programs have to be attached,
// and the payload; programs that are to be detached after it are not to be named.
func (o *Object) Publish(lines []abi.Line, counters uint32, rules int, programs []string, payload []byte) (former []abi.RuleCounters, err error) {
	if err := o.declare(); err != nil {
		return nil, err
	}
	if o.options.Pins != nil {
		told, err := o.handover(programs, payload)
		if err != nil {
			return nil, err
		}
		if lines, err = told.append(lines); err != nil {
			return nil, err
		}
	}
	// The type information has to be that of the declaration too: 6.1 takes a
	// map without for another kind (kernel/bpf/map_in_map.c, timer_off).
	spec := o.declared.Maps[GuardMapRevisions].InnerMap.Copy()
	spec.Name = "tables"
	spec.MaxEntries = uint32(len(lines))
	tables, err := ebpf.NewMap(spec)
	if err != nil {
		return nil, fmt.Errorf("making tables of %d lines: %w", len(lines), err)
	}
	header := *(*abi.Revision)(unsafe.Pointer(&lines[0]))
	defer func() {
		if err != nil && o.tables != tables {
			err = errors.Join(err, o.unretain(header.Number), tables.Close())
		}
	}()
	keys := make([]uint32, len(lines))
	for i := range keys {
		keys[i] = uint32(i)
	}
	if _, err := tables.BatchUpdate(keys, lines, nil); err != nil {
		return nil, fmt.Errorf("filling tables of %d lines: %w", len(lines), err)
	}
	if err := o.retain(tables, header.Number); err != nil {
		return nil, err
	}
	revisions := o.maps[GuardMapRevisions]
	if activeWord(header)&abi.ActiveMarks != 0 {
		// Before the revision is there: fork and exec look for it from now on.
		if now := o.active.Load(); now != 0 {
			o.active.Store(now | abi.ActiveMarks)
		}
		if err := revisions.Put(uint32(abi.SlotStaged), tables); err != nil {
			return nil, fmt.Errorf("staging tables: %w", err)
		}
		defer func() { err = errors.Join(err, revisions.Delete(uint32(abi.SlotStaged))) }()
		if err := o.markTasks(0); err != nil {
			return nil, err
		}
	}
	before := o.active.Swap(0)
	if err := revisions.Put(uint32(abi.SlotActive), tables); err != nil {
		o.active.Store(before)
		return nil, fmt.Errorf("publishing tables: %w", err)
	}
	o.active.Store(activeWord(header))
	if o.tables != nil {
		former, err = o.RuleCounters()
		err = errors.Join(err, o.tables.Close())
	}
	o.tables, o.counters, o.rules = tables, counters, rules
	return former, errors.Join(err, o.forget())
}

// activeWord returns what the first line of tables says is in force, all of it
// (bpf/maps.h).
func activeWord(header abi.Revision) uint64 {
	return uint64(header.Number)<<32 | uint64(header.Concerned)
}

// ForgetMarks takes marks from all tasks, so that they can stand for something
// else. The revision in force must not know them.
func (o *Object) ForgetMarks(marks uint64) error { return o.markTasks(marks) }

// markTasks gives the running tasks the marks of their ancestors, but for those
// that are to be forgotten.
func (o *Object) markTasks(forget uint64) error {
	marker, err := o.loadIterator(GuardProgMarkTasks)
	if err != nil {
		return err
	}
	defer marker.Close()
	if err := marker.Variables[GuardVarForgotten].Set(forget); err != nil {
		return fmt.Errorf("setting %s: %w", GuardVarForgotten, err)
	}
	return iterate(marker, GuardProgMarkTasks)
}

// RuleCounters returns what each rule of the revision in force has counted, by
// the index of the rule.
func (o *Object) RuleCounters() ([]abi.RuleCounters, error) {
	return readCounters(o.tables, o.counters, o.rules)
}

func readCounters(tables *ebpf.Map, at uint32, rules int) ([]abi.RuleCounters, error) {
	counters := make([]abi.RuleCounters, rules)
	for i := range counters {
		if err := tables.Lookup(at/abi.LineWords+uint32(i), &counters[i]); err != nil {
			return nil, fmt.Errorf("reading the counters of rules: %w", err)
		}
	}
	return counters, nil
}

// SetRules tells how many rules the revision in force has that was taken over.
func (o *Object) SetRules(n int) { o.rules = n }

// Counters returns the counters of an operation, summed over the processors.
func (o *Object) Counters(operation int) (abi.OperationCounters, error) {
	var each []abi.OperationCounters
	var sum abi.OperationCounters
	if err := o.maps[GuardMapCounters].Lookup(uint32(operation), &each); err != nil {
		return sum, fmt.Errorf("reading counters: %w", err)
	}
	for _, c := range each {
		sum.Allowed += c.Allowed
		sum.Audited += c.Audited
		sum.Denied += c.Denied
		sum.Undecided += c.Undecided
		sum.Killed += c.Killed
		sum.Alerts += c.Alerts
		sum.AlertsLost += c.AlertsLost
		sum.AlertsLimited += c.AlertsLimited
	}
	return sum, nil
}
