// Package bpf holds the compiled kernel programs, the layout that they share
// with Go, and the loader.
package bpf

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"unsafe"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/btf"
	"github.com/cilium/ebpf/link"
	"github.com/cilium/ebpf/rlimit"
	"golang.org/x/sys/unix"
)

// Options says how an [Object] is made.
type Options struct {
	// HashKey is the secret of the path hash.
	HashKey [2]uint64
	// AlertBytes is the size of the alert buffer: a power of two of pages.
	AlertBytes uint32
	// Enrich makes alerts name the ancestors of the process, and room for what
	// [Object.TrackExecutions] tells.
	Enrich bool
}

// Object owns the maps and the programs that keep track of tasks. Programs of
// operations are loaded on top with [Object.Attach].
type Object struct {
	spec *ebpf.CollectionSpec
	maps map[string]*ebpf.Map
	// marks is the map of mark_tasks, which is there while that runs: its buckets take
	// 64 MiB.
	marks *ebpf.MapSpec
	hash  bool
	// tracking are the programs that keep track of tasks, attached those of
	// operations by name.
	tracking []link.Link
	attached map[string]link.Link
	// force is the word of memory that says what is in force (bpf/maps.h).
	force  *atomic.Uint64
	memory []byte
	// tables is the generation in force, counters where those of its rules are.
	tables   *ebpf.Map
	counters uint32
	rules    int
	// programs is how programs are loaded; tests ask for the verifier's statistics.
	programs ebpf.ProgramOptions
}

// MaxHashTasks bounds the tasks known on kernels where task storage cannot be
// used. Tasks beyond it are judged as unknown (docs/semantics.md, rule 6). The
// memory is taken task by task; the buckets take 4 MiB.
const MaxHashTasks = 1 << 18

// Open makes the maps. Nothing is attached yet.
func Open(options Options) (_ *Object, err error) {
	// Before 5.11 maps count against this limit; later kernels ignore it.
	if err := rlimit.RemoveMemlock(); err != nil {
		return nil, fmt.Errorf("lifting RLIMIT_MEMLOCK: %w", err)
	}
	spec, err := LoadGuard()
	if err != nil {
		return nil, err
	}
	hash, err := UsesHash()
	if err != nil {
		return nil, err
	}
	if err := prepare(spec, options, hash); err != nil {
		return nil, err
	}
	marks := spec.Maps[GuardMapMarks]
	delete(spec.Maps, GuardMapMarks)
	o := &Object{spec: spec, maps: map[string]*ebpf.Map{}, marks: marks, hash: hash, attached: map[string]link.Link{}}
	defer func() {
		if err != nil {
			o.Close()
		}
	}()
	for name, mapSpec := range spec.Maps {
		if strings.HasPrefix(name, ".") { // constants: loaded with the programs
			continue
		}
		if o.maps[name], err = ebpf.NewMap(mapSpec); err != nil {
			return nil, fmt.Errorf("making map %s: %w", name, err)
		}
	}
	memory, err := unix.Mmap(o.maps[GuardMapForce].FD(), 0, os.Getpagesize(), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return nil, fmt.Errorf("mapping map %s: %w", GuardMapForce, err)
	}
	o.memory = memory
	o.force = (*atomic.Uint64)(unsafe.Pointer(&memory[0]))
	return o, nil
}

// prepare fits the specification to the kernel and to the options.
func prepare(spec *ebpf.CollectionSpec, options Options, hash bool) error {
	spec.Maps[GuardMapAlerts].MaxEntries = options.AlertBytes
	if options.Enrich {
		spec.Maps[GuardMapExecutions].MaxEntries = executionBytes
	}
	renames, mounts := lockAddresses()
	variables := map[string]any{
		GuardVarHashKey: options.HashKey, GuardVarTaskStorage: !hash, GuardVarEnrich: options.Enrich,
		GuardVarRenameLockAt: renames, GuardVarMountLockAt: mounts,
	}
	if err := hookArguments(variables); err != nil {
		return err
	}
	for name, value := range variables {
		if err := spec.Variables[name].Set(value); err != nil {
			return fmt.Errorf("setting %s: %w", name, err)
		}
	}
	if !hash {
		return nil
	}
	for _, name := range []string{GuardMapTasks, GuardMapWalks, GuardMapReports} {
		m := spec.Maps[name]
		m.Type = ebpf.Hash
		m.KeySize = 8
		m.MaxEntries = MaxHashTasks
		m.Key, m.Value = nil, nil
	}
	return nil
}

// UsesHash tells whether what belongs to a task has to live in hashes, because
// a look-up in task storage may fail on this kernel, or there is none; see
// bpf/maps.h. Look-ups are safe since they do not depend on the processor's
// lock any more (6.2, the kernel function tells), and since that lock was
// replaced by one in each storage (7.x, the lock's type tells).
func UsesHash() (bool, error) {
	cache := takeTypes()
	defer giveTypes(cache)
	kernel, err := cache.Kernel()
	if err != nil {
		return false, fmt.Errorf("reading the kernel's BTF: %w", err)
	}
	var function *btf.Func
	err = kernel.TypeByName("bpf_task_storage_get_recur", &function)
	if err == nil {
		return false, nil
	}
	if !errors.Is(err, btf.ErrNotFound) {
		return false, fmt.Errorf("looking for task storage in the kernel's BTF: %w", err)
	}
	var storage *btf.Struct
	if err := kernel.TypeByName("bpf_local_storage", &storage); errors.Is(err, btf.ErrNotFound) {
		return true, nil
	} else if err != nil {
		return false, fmt.Errorf("looking for local storage in the kernel's BTF: %w", err)
	}
	for _, m := range storage.Members {
		if lock, ok := m.Type.(*btf.Typedef); ok && m.Name == "lock" {
			return lock.Name != "rqspinlock_t", nil
		}
	}
	return true, nil
}

// load loads the named programs onto the object's maps, as many side by side as
// there are processors: the verifier takes its time for each.
func (o *Object) load(names ...string) (map[string]*ebpf.Program, error) {
	parts := min(runtime.NumCPU(), len(names))
	programs := make([]map[string]*ebpf.Program, parts)
	errs := make([]error, parts)
	var group sync.WaitGroup
	for part := range parts {
		group.Go(func() {
			spec := *o.spec
			spec.Programs = map[string]*ebpf.ProgramSpec{}
			for i := part; i < len(names); i += parts {
				spec.Programs[names[i]] = o.spec.Programs[names[i]]
			}
			collection, err := o.newCollection(&spec)
			if err != nil {
				errs[part] = fmt.Errorf("loading programs: %w", err)
				return
			}
			programs[part] = collection.Programs
			collection.Programs = nil
			collection.Close()
		})
	}
	group.Wait()
	all := map[string]*ebpf.Program{}
	for _, p := range programs {
		maps.Copy(all, p)
	}
	if err := errors.Join(errs...); err != nil {
		closePrograms(all)
		return nil, err
	}
	return all, nil
}

func (o *Object) newCollection(spec *ebpf.CollectionSpec) (*ebpf.Collection, error) {
	cache := takeTypes()
	defer giveTypes(cache)
	spec = spec.Copy()
	if spec.Programs[GuardProgMarkTasks] != nil {
		spec.Maps[GuardMapMarks] = o.marks.Copy()
	}
	return ebpf.NewCollectionWithOptions(spec, ebpf.CollectionOptions{MapReplacements: o.maps, Programs: o.programs, Cache: cache})
}

func closePrograms(programs map[string]*ebpf.Program) {
	for _, p := range programs {
		p.Close()
	}
}

// TrackTasks attaches the programs that label tasks at fork and exec, then
// labels the tasks that run already, in this order, so that none is missed.
func (o *Object) TrackTasks() error {
	names := []string{GuardProgTaskAlloc, GuardProgBprmCredsForExec, GuardProgBprmCommittedCreds}
	if o.hash { // first, so that no label outlives its task
		names = append([]string{GuardProgTaskFree}, names...)
	}
	var err error
	if o.tracking, err = o.attach(names); err != nil {
		return err
	}
	labels, err := o.loadIterator(GuardProgLabelTasks)
	if err != nil {
		return err
	}
	defer labels.Close()
	return iterate(labels, GuardProgLabelTasks)
}

// loadIterator loads a program over all tasks.
func (o *Object) loadIterator(name string) (*ebpf.Collection, error) {
	spec := *o.spec
	spec.Programs = map[string]*ebpf.ProgramSpec{name: o.spec.Programs[name]}
	collection, err := o.newCollection(&spec)
	if err != nil {
		return nil, fmt.Errorf("loading %s: %w", name, err)
	}
	return collection, nil
}

// iterate runs a program over all tasks until it marks no more of them.
func iterate(collection *ebpf.Collection, name string) error {
	iterator, err := link.AttachIter(link.IterOptions{Program: collection.Programs[name]})
	if err != nil {
		return fmt.Errorf("attaching %s: %w", name, err)
	}
	defer iterator.Close()
	// What a run changed may matter for tasks that it had passed already.
	for before, marked := uint64(1), uint64(0); before != marked; {
		if err := collection.Variables[GuardVarMarked].Get(&before); err != nil {
			return fmt.Errorf("reading %s: %w", GuardVarMarked, err)
		}
		tasks, err := iterator.Open()
		if err != nil {
			return fmt.Errorf("running %s over all tasks: %w", name, err)
		}
		_, err = io.Copy(io.Discard, tasks)
		if err = errors.Join(err, tasks.Close()); err != nil {
			return fmt.Errorf("running %s over all tasks: %w", name, err)
		}
		if err := collection.Variables[GuardVarMarked].Get(&marked); err != nil {
			return fmt.Errorf("reading %s: %w", GuardVarMarked, err)
		}
	}
	return nil
}

// Attach loads LSM programs and attaches those that are not attached yet. All of
// these are attached or none.
func (o *Object) Attach(names ...string) error {
	names = slices.DeleteFunc(slices.Clone(names), func(name string) bool { return o.attached[name] != nil })
	links, err := o.attach(names)
	for i, l := range links {
		o.attached[names[i]] = l
	}
	return err
}

// Detach detaches LSM programs.
func (o *Object) Detach(names ...string) error {
	var links []link.Link
	for _, name := range names {
		if l := o.attached[name]; l != nil {
			links = append(links, l)
			delete(o.attached, name)
		}
	}
	return closeLinks(links)
}

func (o *Object) attach(names []string) (_ []link.Link, err error) {
	programs, err := o.load(names...)
	if err != nil {
		return nil, err
	}
	defer closePrograms(programs)
	// Side by side, since the kernel waits for other tasks at each.
	links := make([]link.Link, len(names))
	errs := make([]error, len(names))
	var group sync.WaitGroup
	for i, name := range names {
		group.Go(func() {
			links[i], errs[i] = link.AttachLSM(link.LSMOptions{Program: programs[name]})
			if errs[i] != nil {
				errs[i] = fmt.Errorf("attaching %s: %w", name, errs[i])
			}
		})
	}
	group.Wait()
	if err := errors.Join(errs...); err != nil {
		attached := slices.DeleteFunc(links, func(l link.Link) bool { return l == nil })
		return nil, errors.Join(err, closeLinks(attached))
	}
	return links, nil
}

// The slots of the generations (bpf/maps.h).
const (
	slotForce = uint32(0)
	slotNext  = uint32(1)
)

// Publish makes a generation of tables the one in force: at once, for all
// operations and subjects. When it returns, no program that still reads the
// former generation runs any more (the update of a map in a map waits for
// them, kernel/bpf/syscall.c, maybe_wait_bpf_programs). counters is where the
// counters of its rules are. With marks, tasks are first given the marks that
// the generation knows, while fork and exec mark for it already. It returns the
// counters of the former generation's rules, see [Object.RuleCounters].
func (o *Object) Publish(lines []Line, counters uint32, rules int, marks bool) (former []RuleCounters, err error) {
	// The type information has to be that of the declaration too: 6.1 takes a
	// map without for another kind (kernel/bpf/map_in_map.c, timer_off).
	spec := o.spec.Maps[GuardMapGenerations].InnerMap.Copy()
	spec.Name = "tables"
	spec.MaxEntries = uint32(len(lines))
	tables, err := ebpf.NewMap(spec)
	if err != nil {
		return nil, fmt.Errorf("making tables of %d lines: %w", len(lines), err)
	}
	defer func() {
		if err != nil && o.tables != tables {
			tables.Close()
		}
	}()
	keys := make([]uint32, len(lines))
	for i := range keys {
		keys[i] = uint32(i)
	}
	if _, err := tables.BatchUpdate(keys, lines, nil); err != nil {
		return nil, fmt.Errorf("filling tables of %d lines: %w", len(lines), err)
	}
	generations := o.maps[GuardMapGenerations]
	var flags uint64
	if marks {
		flags = ForceMarks
		// Before the generation is there: fork and exec look for it from now on.
		if now := o.force.Load(); now != 0 {
			o.force.Store(now | flags)
		}
		if err := generations.Put(slotNext, tables); err != nil {
			return nil, fmt.Errorf("staging tables: %w", err)
		}
		defer func() { err = errors.Join(err, generations.Delete(slotNext)) }()
		if err := o.markTasks(0); err != nil {
			return nil, err
		}
	}
	before := o.force.Swap(0)
	if err := generations.Put(slotForce, tables); err != nil {
		o.force.Store(before)
		return nil, fmt.Errorf("publishing tables: %w", err)
	}
	o.force.Store(force(lines[0]) | flags)
	if o.tables != nil {
		former, err = o.RuleCounters()
		err = errors.Join(err, o.tables.Close())
	}
	o.tables, o.counters, o.rules = tables, counters, rules
	return former, err
}

// force returns what the first line of tables says is in force (bpf/maps.h).
func force(first Line) uint64 {
	header := (*Generation)(unsafe.Pointer(&first))
	return uint64(header.Number)<<32 | uint64(header.Concerned)
}

// ForgetMarks takes marks from all tasks, so that they can stand for something
// else. The generation in force must not know them.
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

// RuleCounters returns what each rule of the generation in force has counted, by
// the index of the rule.
func (o *Object) RuleCounters() ([]RuleCounters, error) {
	counters := make([]RuleCounters, o.rules)
	for i := range counters {
		if err := o.tables.Lookup(o.counters/uint32(LineWords)+uint32(i), &counters[i]); err != nil {
			return nil, fmt.Errorf("reading the counters of rules: %w", err)
		}
	}
	return counters, nil
}

// Alerts returns the ring buffer of alerts.
func (o *Object) Alerts() *ebpf.Map { return o.maps[GuardMapAlerts] }

// Counters returns the counters of an operation, summed over the processors.
func (o *Object) Counters(operation int) (Counters, error) {
	var each []Counters
	var sum Counters
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

// Close detaches what tracks tasks and gives the maps back. Attachments made
// with [Object.Attach] must have been closed before.
func (o *Object) Close() error {
	err := closeLinks(slices.Concat(slices.Collect(maps.Values(o.attached)), o.tracking))
	o.attached, o.tracking = nil, nil
	for _, m := range o.maps {
		err = errors.Join(err, m.Close())
	}
	if o.tables != nil {
		err = errors.Join(err, o.tables.Close())
	}
	if o.memory != nil {
		err = errors.Join(err, unix.Munmap(o.memory))
	}
	o.maps, o.tables, o.memory, o.force = nil, nil, nil, nil
	return err
}

// closeLinks detaches programs, side by side as attach does.
func closeLinks(links []link.Link) error {
	errs := make([]error, len(links))
	var group sync.WaitGroup
	for i, l := range links {
		group.Go(func() { errs[i] = l.Close() })
	}
	group.Wait()
	return errors.Join(errs...)
}
