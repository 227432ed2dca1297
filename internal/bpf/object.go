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
	// Pins is where the object outlives the process; nil for one that ends with it.
	Pins *Pins
	// Enrich makes alerts name the ancestors of the process, and room for what
	// [Object.TrackExecutions] tells.
	Enrich bool
}

// Object owns the maps and the programs that keep track of tasks. Programs of
// operations are loaded on top with [Object.Attach].
type Object struct {
	options Options
	// spec is made when it is first needed, which after a takeover may be never.
	spec *ebpf.CollectionSpec
	maps map[string]*ebpf.Map
	// marks is the map of mark_tasks, which is there while that runs: its buckets take
	// 64 MiB.
	marks *ebpf.MapSpec
	hash  bool
	// attached are the programs that keep track of tasks and those of operations, by
	// name; outdated those of another build that are still attached.
	attached map[string]link.Link
	outdated []link.Link
	// executions tells of programs that are started; it is never pinned.
	executions []link.Link
	// force is the word of memory that says what is in force (bpf/maps.h), notes
	// what this process leaves to the next one.
	force  *atomic.Uint64
	notes  *[notes]atomic.Uint64
	memory [][]byte
	// retained are the numbers of the generations that are pinned.
	retained []uint32
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
	hash, err := UsesHash()
	if err != nil {
		return nil, err
	}
	o := &Object{options: options, hash: hash, maps: map[string]*ebpf.Map{}, attached: map[string]link.Link{}}
	defer func() {
		if err != nil {
			err = errors.Join(err, o.Close())
		}
	}()
	if err := o.specify(); err != nil {
		return nil, err
	}
	if options.Pins != nil {
		if err := options.Pins.prepare(Build(options.Enrich)); err != nil {
			return nil, err
		}
	}
	for name, spec := range o.spec.Maps {
		if !isPinned(name) {
			continue
		}
		if err := o.makeMap(name, spec); err != nil {
			return nil, err
		}
	}
	if err := o.makeMap(notesMap, notesSpec); err != nil {
		return nil, err
	}
	return o, o.mapMemory()
}

func (o *Object) makeMap(name string, spec *ebpf.MapSpec) error {
	m, err := ebpf.NewMap(spec)
	if err != nil {
		return fmt.Errorf("making map %s: %w", name, err)
	}
	o.maps[name] = m
	if o.options.Pins == nil || !isPinned(name) {
		return nil
	}
	if err := m.Pin(o.options.Pins.mapPath(name)); err != nil {
		return fmt.Errorf("pinning map %s: %w", name, err)
	}
	return nil
}

// specify makes the specification unless it is there.
func (o *Object) specify() error {
	if o.spec != nil {
		return nil
	}
	// Before 5.11 maps count against this limit; later kernels ignore it.
	if err := rlimit.RemoveMemlock(); err != nil {
		return fmt.Errorf("lifting RLIMIT_MEMLOCK: %w", err)
	}
	spec, err := LoadGuard()
	if err != nil {
		return err
	}
	if err := prepare(spec, o.options, o.hash); err != nil {
		return err
	}
	o.marks = spec.Maps[GuardMapMarks]
	delete(spec.Maps, GuardMapMarks)
	o.spec = spec
	return o.makeMap(GuardMapExecutions, spec.Maps[GuardMapExecutions])
}

// mapMemory maps the maps that are memory to this process, too.
func (o *Object) mapMemory() error {
	var words [2]unsafe.Pointer
	for i, name := range []string{GuardMapForce, notesMap} {
		memory, err := unix.Mmap(o.maps[name].FD(), 0, os.Getpagesize(), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
		if err != nil {
			return fmt.Errorf("mapping map %s: %w", name, err)
		}
		o.memory = append(o.memory, memory)
		words[i] = unsafe.Pointer(&memory[0])
	}
	o.force = (*atomic.Uint64)(words[0])
	o.notes = (*[notes]atomic.Uint64)(words[1])
	return nil
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
	if err := o.specify(); err != nil {
		return nil, err
	}
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
	shared := maps.Clone(o.maps)
	delete(shared, notesMap)
	return ebpf.NewCollectionWithOptions(spec, ebpf.CollectionOptions{MapReplacements: shared, Programs: o.programs, Cache: cache})
}

func closePrograms(programs map[string]*ebpf.Program) {
	for _, p := range programs {
		p.Close()
	}
}

// tracking returns the programs that label tasks at fork and exec.
func (o *Object) tracking() []string {
	names := []string{GuardProgTaskAlloc, GuardProgBprmCredsForExec, GuardProgBprmCommittedCreds}
	if o.hash { // first, so that no label outlives its task
		names = append([]string{GuardProgTaskFree}, names...)
	}
	return names
}

// TrackTasks attaches the programs that label tasks at fork and exec, then
// labels the tasks that run already, in this order, so that none is missed.
func (o *Object) TrackTasks() error {
	if err := o.Attach(o.tracking()...); err != nil {
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
	if err := o.specify(); err != nil {
		return nil, err
	}
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

// Keep detaches the programs that track no tasks and are not named, and those of
// another build.
func (o *Object) Keep(names []string) error {
	unused := o.outdated
	o.outdated = nil
	for name, l := range o.attached {
		if !slices.Contains(names, name) && !slices.Contains(o.tracking(), name) {
			unused = append(unused, l)
			delete(o.attached, name)
		}
	}
	return detach(unused)
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
		group.Go(func() { links[i], errs[i] = o.attachOne(name, programs[name]) })
	}
	group.Wait()
	if err := errors.Join(errs...); err != nil {
		attached := slices.DeleteFunc(links, func(l link.Link) bool { return l == nil })
		return nil, errors.Join(err, detach(attached))
	}
	return links, nil
}

func (o *Object) attachOne(name string, program *ebpf.Program) (link.Link, error) {
	l, err := link.AttachLSM(link.LSMOptions{Program: program})
	if err != nil {
		return nil, fmt.Errorf("attaching %s: %w", name, err)
	}
	if o.options.Pins == nil {
		return l, nil
	}
	if err := l.Pin(o.options.Pins.linkPath(Build(o.options.Enrich), name)); err != nil {
		return nil, errors.Join(fmt.Errorf("pinning %s: %w", name, err), l.Close())
	}
	return l, nil
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
//
// What is pinned tells a process that takes it over which programs have to be attached,
// and the payload; programs that are to be detached after it are not to be named.
func (o *Object) Publish(lines []Line, counters uint32, rules int, marks bool, programs []string, payload []byte) (former []RuleCounters, err error) {
	if err := o.specify(); err != nil {
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
	spec := o.spec.Maps[GuardMapGenerations].InnerMap.Copy()
	spec.Name = "tables"
	spec.MaxEntries = uint32(len(lines))
	tables, err := ebpf.NewMap(spec)
	if err != nil {
		return nil, fmt.Errorf("making tables of %d lines: %w", len(lines), err)
	}
	header := *(*Generation)(unsafe.Pointer(&lines[0]))
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
	generations := o.maps[GuardMapGenerations]
	if marks {
		// Before the generation is there: fork and exec look for it from now on.
		if now := o.force.Load(); now != 0 {
			o.force.Store(now | ForceMarks)
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
	o.force.Store(forceWord(header, *(*Subjects)(unsafe.Pointer(&lines[header.Subjects/uint32(LineWords)]))))
	if o.tables != nil {
		former, err = o.RuleCounters()
		err = errors.Join(err, o.tables.Close())
	}
	o.tables, o.counters, o.rules = tables, counters, rules
	return former, errors.Join(err, o.forget())
}

// forceWord returns what tables say is in force (bpf/maps.h).
func forceWord(header Generation, subjects Subjects) uint64 {
	word := uint64(header.Number)<<32 | uint64(header.Concerned)
	if subjects.Flags&MarksFlag != 0 {
		word |= ForceMarks
	}
	return word
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
	return readCounters(o.tables, o.counters, o.rules)
}

func readCounters(tables *ebpf.Map, at uint32, rules int) ([]RuleCounters, error) {
	counters := make([]RuleCounters, rules)
	for i := range counters {
		if err := tables.Lookup(at/uint32(LineWords)+uint32(i), &counters[i]); err != nil {
			return nil, fmt.Errorf("reading the counters of rules: %w", err)
		}
	}
	return counters, nil
}

// SetRules tells how many rules the generation in force has that was taken over.
func (o *Object) SetRules(n int) { o.rules = n }

// Configure sets the options of an object that was taken over; the size of its alert
// buffer stays.
func (o *Object) Configure(options Options) {
	options.AlertBytes, options.Pins = o.options.AlertBytes, o.options.Pins
	o.options = options
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

// Close detaches everything that is not pinned and gives the maps back.
func (o *Object) Close() error {
	err := errors.Join(closeLinks(slices.Collect(maps.Values(o.attached))), closeLinks(o.outdated), closeLinks(o.executions))
	o.attached, o.outdated, o.executions = nil, nil, nil
	for _, m := range o.maps {
		err = errors.Join(err, m.Close())
	}
	if o.tables != nil {
		err = errors.Join(err, o.tables.Close())
	}
	for _, memory := range o.memory {
		err = errors.Join(err, unix.Munmap(memory))
	}
	o.maps, o.tables, o.memory, o.force, o.notes = nil, nil, nil, nil, nil
	return err
}

// detach detaches programs for good.
func detach(links []link.Link) error {
	var err error
	for _, l := range links {
		if e := l.Unpin(); e != nil && !errors.Is(e, os.ErrNotExist) {
			err = errors.Join(err, fmt.Errorf("removing a pin: %w", e))
		}
	}
	return errors.Join(err, closeLinks(links))
}

// closeLinks closes programs, side by side as attach does; those that are not pinned
// are detached.
func closeLinks(links []link.Link) error {
	errs := make([]error, len(links))
	var group sync.WaitGroup
	for i, l := range links {
		group.Go(func() { errs[i] = l.Close() })
	}
	group.Wait()
	return errors.Join(errs...)
}
