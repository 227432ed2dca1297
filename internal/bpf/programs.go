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
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/features"
	"github.com/cilium/ebpf/link"
)

// together is how many programs are read at a time. More would take more memory, fewer more time.
const together = 4

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
		var mine []string
		for i := part; i < len(names); i += parts {
			mine = append(mine, names[i])
		}
		programs[part] = map[string]*ebpf.Program{}
		group.Go(func() {
			for some := range slices.Chunk(mine, together) {
				collection, err := o.newCollection(some...)
				if err != nil {
					errs[part] = fmt.Errorf("loading programs: %w", err)
					return
				}
				maps.Copy(programs[part], collection.Programs)
				collection.Programs = nil
				collection.Close()
			}
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

// newCollection reads programs and loads them onto the object's maps.
func (o *Object) newCollection(names ...string) (*ebpf.Collection, error) {
	collection, err := o.collectNamed(false, names)
	var refused *ebpf.VerifierError
	if errors.As(err, &refused) { // once more, to tell where in the source
		return o.collectNamed(true, names)
	}
	return collection, err
}

func (o *Object) collectNamed(lines bool, names []string) (*ebpf.Collection, error) {
	read, err := o.compiled().readWith(lines, names...)
	if err != nil {
		return nil, err
	}
	return o.collect(read.Programs)
}

// collect loads programs onto the object's maps.
func (o *Object) collect(programs map[string]*ebpf.ProgramSpec) (*ebpf.Collection, error) {
	spec := o.spec.Copy()
	spec.Programs = programs
	if programs[GuardProgMarkTasks] != nil {
		spec.Maps[GuardMapMarks] = o.marks.Copy()
	}
	shared := maps.Clone(o.maps)
	for _, own := range ownMaps {
		delete(shared, own.Name)
	}
	cache := takeTypes()
	defer giveTypes()
	options := o.programs
	// Without it the types of all modules are read as well; none of the programs needs one.
	var err error
	if options.KernelTypes, err = cache.Kernel(); err != nil {
		return nil, fmt.Errorf("reading the kernel's BTF: %w", err)
	}
	return ebpf.NewCollectionWithOptions(spec, ebpf.CollectionOptions{MapReplacements: shared, Programs: options, Cache: cache})
}

func closePrograms(programs map[string]*ebpf.Program) {
	for _, p := range programs {
		p.Close()
	}
}

// tracking returns the programs that label tasks at fork and exec, and those that count moves of files.
func (o *Object) tracking() []string {
	names := []string{GuardProgTaskAlloc, GuardProgBprmCredsForExec, GuardProgBprmCommittedCreds}
	if o.hash { // first, so that no label outlives its task
		names = append([]string{GuardProgTaskFree}, names...)
	}
	return append(names, moveCounters()...)
}

// moveCounters returns the programs that count what the kernel counts as a rename and is none of a directory; none where
// moves of files cannot be told.
func moveCounters() []string {
	if !canCountMoves || !isSince(exchanges) {
		return nil
	}
	names := []string{GuardProgFileMoveBegins, GuardProgFileMoveEnds}
	if !isSince(quietMounts) {
		names = append(names, GuardProgMountBegins, GuardProgMountEnds)
	}
	return names
}

// isSince reports whether the kernel is known to be of a version or later.
func isSince(version uint32) bool {
	running, err := features.LinuxVersionCode()
	return err == nil && running >= version
}

// exchanges is the first kernel whose programs can exchange a word and what is to be in it.
const exchanges = 5<<16 | 12<<8

// quietMounts is the first kernel of which we do not know that it counts each mount as a rename (fs/dcache.c,
// d_set_mounted): 6.12 does.
const quietMounts = 6<<16 | 13<<8

// canCountMoves reports whether moves of files can be told from those of directories (bpf/cache/moves.h). Other
// processors load what was stored in an order of their own.
const canCountMoves = runtime.GOARCH == "amd64"

// CountsMoves reports whether what is kept of a file's path outlives moves of other files.
func CountsMoves() bool { return len(moveCounters()) > 0 }

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
	collection, err := o.newCollection(name)
	if err != nil {
		return nil, fmt.Errorf("loading %s: %w", name, err)
	}
	return collection, nil
}

// iterator is a [link.Iter].
type iterator interface {
	Open() (io.ReadCloser, error)
	Close() error
}

// iterate runs a program over all tasks until it marks no more of them.
func iterate(collection *ebpf.Collection, name string) error {
	iterator, err := attachIterator(collection.Programs[name])
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
	if len(names) == 0 {
		return nil
	}
	links, err := o.attach(names)
	for i, l := range links {
		o.attached[names[i]] = l
	}
	return err
}

// DetachExcept detaches the programs that track no tasks and are not named, and those of
// another build.
func (o *Object) DetachExcept(names []string) error {
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
	if o.options.Pins != nil { // programs of another build may have been taken over
		if err := o.options.Pins.prepare(Build(o.options.Enrich)); err != nil {
			return nil, err
		}
	}
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
	attach := attachLSM
	if program.Type() == ebpf.Tracing {
		attach = attachTracing
	}
	l, err := attach(program)
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

// detach detaches programs for good.
func detach(links []link.Link) error {
	var programs []ebpf.ProgramID
	var errs []error
	for _, l := range links {
		info, err := l.Info()
		if err != nil {
			errs = append(errs, fmt.Errorf("examining a program: %w", err))
		} else if err := l.Unpin(); err != nil {
			errs = append(errs, fmt.Errorf("removing a pin: %w", err))
		} else {
			programs = append(programs, info.Program)
		}
	}
	errs = append(errs, closeLinks(links), awaitDetached(programs))
	return errors.Join(errs...)
}

// detachTime is how long the kernel may take to detach what is no longer pinned; blindTime is how long it is given where
// nobody can look: that takes CAP_SYS_ADMIN.
const (
	detachTime = 30 * time.Second
	blindTime  = time.Second
)

// awaitDetached waits until programs are gone: the kernel lets go of what a pin held
// when it has time, of the link's number first, then of the attachment, and of the
// program's number last (kernel/bpf/syscall.c, bpf_link_free).
func awaitDetached(programs []ebpf.ProgramID) error {
	deadline := time.Now().Add(detachTime)
	for _, id := range programs {
		for {
			p, err := ebpf.NewProgramFromID(id)
			if errors.Is(err, os.ErrNotExist) {
				break
			}
			if errors.Is(err, os.ErrPermission) {
				time.Sleep(blindTime)
				return nil
			}
			if err != nil {
				return fmt.Errorf("looking whether a program is detached: %w", err)
			}
			if err := p.Close(); err != nil {
				return err
			}
			if time.Now().After(deadline) {
				return fmt.Errorf("the kernel has not detached a program within %v", detachTime)
			}
			time.Sleep(time.Millisecond)
		}
	}
	return nil
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
