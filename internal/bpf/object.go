// Package bpf holds the compiled kernel programs, the layout that they share
// with Go, and the loader.
package bpf

import (
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync/atomic"
	"unsafe"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/btf"
	"github.com/cilium/ebpf/link"
	"github.com/cilium/ebpf/rlimit"

	"github.com/ebpfguard/ebpfguard/internal/abi"
)

// Options says how an [Object] is made.
type Options struct {
	// HashKey is the secret of the path hash.
	HashKey [2]uint64
	// AlertBytes is the size of the alert buffer: a power of two of pages.
	AlertBytes uint32
	// Pins is where the object outlives the process; nil for one that ends with it.
	Pins *Pins
	// HostRoot is where the host's root directory is, empty for this process's: containers may not write their /proc/sys.
	HostRoot string
	// Enrich makes alerts name the ancestors of the process, and room for what
	// [Object.TrackExecutions] tells.
	Enrich bool
}

// Object owns the maps and the programs that keep track of tasks. Programs of
// operations are loaded on top with [Object.Attach].
type Object struct {
	options Options
	// declared is what was compiled, spec that with what this kernel needs, both without
	// programs, which are read when they are loaded. Both are made when they are first
	// needed: for spec the kernel's types have to be read, and after a takeover nothing
	// may have to be loaded.
	declared, spec *ebpf.CollectionSpec
	maps           map[string]*ebpf.Map
	// marks is the map of mark_tasks, which is there while that is loaded.
	marks  *ebpf.MapSpec
	marker *marker
	hash   bool
	// attached are the programs that keep track of tasks and those of operations, by
	// name; outdated those of another build that are still attached.
	attached map[string]link.Link
	outdated []link.Link
	// executions tells of programs that are started; it is never pinned.
	executions []link.Link
	// active is the word of memory that says what is in force (bpf/maps.h), notes
	// what this process leaves to the next one.
	active *atomic.Uint64
	// words are that word and those beside it.
	words *[abi.ActiveWords]atomic.Uint64
	// published is what these were set to last.
	published published
	notes     *[notes]atomic.Uint64
	named     *named
	memory    [][]byte
	// retained are the numbers of the revisions that are pinned.
	retained []uint32
	// rules are the counters of the revision in force, with its tables.
	rules *RuleCounterMap
	// canary is there from the first [Object.Verify] on; it is never pinned.
	canary *canary
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
	for _, spec := range ownMaps {
		if err := o.makeMap(spec.Name, spec); err != nil {
			return nil, err
		}
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

// declare reads what was compiled unless that is done.
func (o *Object) declare() (err error) {
	if o.declared != nil {
		return nil
	}
	// Before 5.11 maps count against this limit; later kernels ignore it.
	if err := rlimit.RemoveMemlock(); err != nil {
		return fmt.Errorf("lifting RLIMIT_MEMLOCK: %w", err)
	}
	o.declared, err = o.compiled().read()
	return err
}

// compiled returns the object that is for this kernel.
func (o *Object) compiled() compiled {
	if o.hash {
		return older
	}
	return guard
}

// specify makes the specification unless it is there.
func (o *Object) specify() error {
	if o.spec != nil {
		return nil
	}
	if err := o.declare(); err != nil {
		return err
	}
	spec := o.declared.Copy()
	if err := prepare(spec, o.options, o.hash); err != nil {
		return err
	}
	o.marks = spec.Maps[GuardMapMarks]
	delete(spec.Maps, GuardMapMarks)
	o.spec = spec
	if o.maps[GuardMapExecutions] != nil {
		return nil
	}
	return o.makeMap(GuardMapExecutions, spec.Maps[GuardMapExecutions])
}

// ReleaseSpec gives back what was read of the compiled object, and the marker. It is read again when it is needed.
func (o *Object) ReleaseSpec() {
	o.closeMarker()
	o.declared, o.spec, o.marks = nil, nil, nil
}

// mapMemory maps the maps that are memory to this process, too.
func (o *Object) mapMemory() error {
	var words [3]unsafe.Pointer
	for i, name := range []string{GuardMapActive, notesMap, GuardMapWords} {
		memory, err := mmap(o.maps[name])
		if err != nil {
			return fmt.Errorf("mapping map %s: %w", name, err)
		}
		o.memory = append(o.memory, memory)
		words[i] = unsafe.Pointer(&memory[0])
	}
	o.words = (*[abi.ActiveWords]atomic.Uint64)(words[0])
	o.active = &o.words[abi.ActiveRevision]
	o.notes = (*[notes]atomic.Uint64)(words[1])
	o.named = (*named)(words[2])
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
		GuardVarHashKey: options.HashKey, GuardVarEnrich: options.Enrich,
		GuardVarRenameLockAt: renames, GuardVarMountLockAt: mounts, GuardVarTmpfsUuid: ShowsTmpfs(),
		GuardVarPlaceKeys: placeKeys(),
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
	for _, name := range []string{GuardMapTasks, GuardMapLongTexts, GuardMapScratches, GuardMapIdentities, GuardMapAlertBuffers} {
		m := spec.Maps[name]
		m.Type = ebpf.Hash
		m.KeySize = 8
		m.MaxEntries = MaxHashTasks
		m.Key, m.Value = nil, nil
	}
	return nil
}

// placeKeys returns what the hash of places is keyed with (bpf/cache/place.h). Programs that are loaded
// at different times may have different ones: they only find less of what the others kept.
func placeKeys() (keys [abi.PlaceKeys]uint64) {
	for i := range keys {
		var key [8]byte
		rand.Read(key[:]) // never fails
		keys[i] = binary.NativeEndian.Uint64(key[:]) | 1
	}
	return keys
}

// UsesHash reports whether the programs are those for kernels before 6.2: what belongs to a
// task has to live in hashes, because a look-up in task storage may fail on this kernel, or
// there is none; see bpf/scratch.h. Look-ups are safe since they do not depend on the
// processor's lock any more (6.2, a kernel function tells), and since that lock was
// replaced by one in each storage (7.x, the lock's type tells). The others also read by
// bpf_rdonly_cast (6.2).
func UsesHash() (bool, error) {
	cache := takeTypes()
	defer giveTypes()
	kernel, err := cache.Kernel()
	if err != nil {
		return false, fmt.Errorf("reading the kernel's BTF: %w", err)
	}
	has := func(function string) bool {
		var f *btf.Func
		if err = kernel.TypeByName(function, &f); errors.Is(err, btf.ErrNotFound) {
			err = nil
			return false
		}
		return err == nil
	}
	if !has("bpf_rdonly_cast") {
		return true, wrapTypes(err)
	}
	if has("bpf_task_storage_get_recur") || err != nil {
		return false, wrapTypes(err)
	}
	var storage *btf.Struct
	if err := kernel.TypeByName("bpf_local_storage", &storage); errors.Is(err, btf.ErrNotFound) {
		return true, nil
	} else if err != nil {
		return false, wrapTypes(err)
	}
	for _, m := range storage.Members {
		if lock, ok := m.Type.(*btf.Typedef); ok && m.Name == "lock" {
			return lock.Name != "rqspinlock_t", nil
		}
	}
	return true, nil
}

func wrapTypes(err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("looking for task storage in the kernel's BTF: %w", err)
}

// Configure sets the options of an object that was taken over; the size of its alert
// buffer stays.
func (o *Object) Configure(options Options) {
	options.AlertBytes, options.Pins = o.options.AlertBytes, o.options.Pins
	o.options = options
}

// Alerts returns the ring buffer of alerts.
func (o *Object) Alerts() *ebpf.Map { return o.maps[GuardMapAlerts] }

// Close detaches everything that is not pinned and gives the maps back.
func (o *Object) Close() error {
	err := errors.Join(closeLinks(slices.Collect(maps.Values(o.attached))), closeLinks(o.outdated), closeLinks(o.executions), o.canary.close())
	o.attached, o.outdated, o.executions, o.canary = nil, nil, nil, nil
	o.closeMarker()
	for _, m := range o.maps {
		err = errors.Join(err, m.Close())
	}
	if o.rules != nil {
		err = errors.Join(err, o.rules.Close())
	}
	for _, memory := range o.memory {
		err = errors.Join(err, munmap(memory))
	}
	o.maps, o.rules, o.memory, o.active, o.words, o.notes, o.named, o.published = nil, nil, nil, nil, nil, nil, nil, published{}
	return err
}
