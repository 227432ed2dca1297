// Package bpf holds the compiled kernel programs, the layout that they share
// with Go, and the loader.
package bpf

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/btf"
	"github.com/cilium/ebpf/link"
	"github.com/cilium/ebpf/rlimit"
)

// Options says how an [Object] is made.
type Options struct {
	// HashKey is the secret of the path hash.
	HashKey [2]uint64
	// AlertBytes is the size of the alert buffer: a power of two of pages.
	AlertBytes uint32
}

// Object owns the maps and the programs that keep track of tasks. Programs of
// operations are loaded on top with [Object.Attach].
type Object struct {
	spec  *ebpf.CollectionSpec
	maps  map[string]*ebpf.Map
	hash  bool
	links []link.Link
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
	o := &Object{spec: spec, maps: map[string]*ebpf.Map{}, hash: hash}
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
	return o, nil
}

// prepare fits the specification to the kernel and to the options.
func prepare(spec *ebpf.CollectionSpec, options Options, hash bool) error {
	spec.Maps[GuardMapAlerts].MaxEntries = options.AlertBytes
	if err := spec.Variables[GuardVarHashKey].Set(options.HashKey); err != nil {
		return fmt.Errorf("setting %s: %w", GuardVarHashKey, err)
	}
	if err := spec.Variables[GuardVarTaskStorage].Set(!hash); err != nil {
		return fmt.Errorf("setting %s: %w", GuardVarTaskStorage, err)
	}
	if !hash {
		return nil
	}
	for _, name := range []string{GuardMapSubjects, GuardMapWalks, GuardMapReports} {
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
	kernel, err := btf.LoadKernelSpec()
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

// load loads the named programs onto the object's maps.
func (o *Object) load(names ...string) (*ebpf.Collection, error) {
	spec := o.spec.Copy()
	for name := range spec.Programs {
		if !slices.Contains(names, name) {
			delete(spec.Programs, name)
		}
	}
	return ebpf.NewCollectionWithOptions(spec, ebpf.CollectionOptions{MapReplacements: o.maps, Programs: o.programs})
}

// TrackTasks attaches the programs that label tasks at fork and exec, then
// labels the tasks that run already, in this order, so that none is missed.
func (o *Object) TrackTasks() error {
	names := []string{GuardProgTaskAlloc, GuardProgBprmCommittedCreds}
	if o.hash { // first, so that no label outlives its task
		names = append([]string{GuardProgTaskFree}, names...)
	}
	tracking, err := o.Attach(names...)
	if err != nil {
		return err
	}
	o.links = append(o.links, tracking...)
	collection, err := o.load(GuardProgLabelTasks)
	if err != nil {
		return fmt.Errorf("loading %s: %w", GuardProgLabelTasks, err)
	}
	defer collection.Close()
	iterator, err := link.AttachIter(link.IterOptions{Program: collection.Programs[GuardProgLabelTasks]})
	if err != nil {
		return fmt.Errorf("attaching %s: %w", GuardProgLabelTasks, err)
	}
	defer iterator.Close()
	tasks, err := iterator.Open()
	if err != nil {
		return fmt.Errorf("labelling running tasks: %w", err)
	}
	defer tasks.Close()
	if _, err := io.Copy(io.Discard, tasks); err != nil {
		return fmt.Errorf("labelling running tasks: %w", err)
	}
	return nil
}

// Attach loads LSM programs and attaches them. All are attached or none.
func (o *Object) Attach(names ...string) (_ []link.Link, err error) {
	collection, err := o.load(names...)
	if err != nil {
		return nil, fmt.Errorf("loading %s: %w", strings.Join(names, ", "), err)
	}
	defer collection.Close()
	var links []link.Link
	defer func() {
		if err != nil {
			CloseLinks(links)
		}
	}()
	for _, name := range names {
		l, err := link.AttachLSM(link.LSMOptions{Program: collection.Programs[name]})
		if err != nil {
			return nil, fmt.Errorf("attaching %s: %w", name, err)
		}
		links = append(links, l)
	}
	return links, nil
}

// Publish makes a generation of tables the one in force: at once, for all
// operations and subjects. When it returns, no program that still reads the
// former generation runs any more (the update of a map in a map waits for
// them, kernel/bpf/syscall.c, maybe_wait_bpf_programs).
func (o *Object) Publish(lines []Line) error {
	// The type information has to be that of the declaration too: 6.1 takes a
	// map without for another kind (kernel/bpf/map_in_map.c, timer_off).
	spec := o.spec.Maps[GuardMapGenerations].InnerMap.Copy()
	spec.Name = "tables"
	spec.MaxEntries = uint32(len(lines))
	tables, err := ebpf.NewMap(spec)
	if err != nil {
		return fmt.Errorf("making tables of %d lines: %w", len(lines), err)
	}
	defer tables.Close()
	keys := make([]uint32, len(lines))
	for i := range keys {
		keys[i] = uint32(i)
	}
	if _, err := tables.BatchUpdate(keys, lines, nil); err != nil {
		return fmt.Errorf("filling tables of %d lines: %w", len(lines), err)
	}
	if err := o.maps[GuardMapGenerations].Put(uint32(0), tables); err != nil {
		return fmt.Errorf("publishing tables: %w", err)
	}
	return nil
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
		sum.Alerts += c.Alerts
		sum.AlertsLost += c.AlertsLost
	}
	return sum, nil
}

// Close detaches what tracks tasks and gives the maps back. Attachments made
// with [Object.Attach] must have been closed before.
func (o *Object) Close() error {
	err := CloseLinks(o.links)
	o.links = nil
	for _, m := range o.maps {
		err = errors.Join(err, m.Close())
	}
	o.maps = nil
	return err
}

// CloseLinks detaches programs.
func CloseLinks(links []link.Link) error {
	var err error
	for _, l := range links {
		err = errors.Join(err, l.Close())
	}
	return err
}

// HasHook tells whether this kernel has an LSM hook.
func HasHook(name string) (bool, error) {
	kernel, err := btf.LoadKernelSpec()
	if err != nil {
		return false, fmt.Errorf("reading the kernel's BTF: %w", err)
	}
	var function *btf.Func
	err = kernel.TypeByName("bpf_lsm_"+name, &function)
	if errors.Is(err, btf.ErrNotFound) {
		return false, nil
	}
	return err == nil, err
}
