package ebpfguard

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/ebpfguard/ebpfguard/internal/abi"
	"github.com/ebpfguard/ebpfguard/internal/bpf"
	"github.com/ebpfguard/ebpfguard/internal/compile"
	"github.com/ebpfguard/ebpfguard/policy"
)

// maxEnded is how many containers that have ended are remembered, for their processes that are left and for
// alerts that come late.
const maxEnded = 1024

// AddContainer tells that a control group is that of a container, before the first program of the
// container starts. Every program that starts in the group or below it from then on belongs to the
// container, and so does all that descends from it, wherever it goes: a process that is found in
// another container later is in both. The group's id is the inode number of its directory. It
// takes microseconds, waits for no policy set, and needs no new one. After an error what is started in
// the group is in a container of which nothing is known, as far as the group's name tells.
//
// Telling of a container again changes what is known of it, for what is started in it from then on. Of
// what runs already see [Manager.LabelContainers].
func (m *Manager) AddContainer(cgroup uint64, c policy.Container) error {
	if m.containers == nil { // the zero value
		return ErrClosed
	}
	if c.ID == "" || cgroup == 0 {
		return fmt.Errorf("adding container %q with control group %d: it needs an id and the id of its group", c.ID, cgroup)
	}
	if err := m.containers.add(cgroup, c); err != nil {
		return fmt.Errorf("adding container %q: %w", c.ID, err)
	}
	return nil
}

// RemoveContainer tells that a container has ended; of one that nobody told of it tells nothing. Processes that
// are left of it stay in it, and alerts name it, for the last 1,024 containers that ended.
func (m *Manager) RemoveContainer(id string) error {
	if m.containers == nil {
		return ErrClosed
	}
	if err := m.containers.remove(id); err != nil {
		return fmt.Errorf("removing container %q: %w", id, err)
	}
	return nil
}

// LabelContainers puts the processes that run in control groups of containers into these containers,
// where they started before somebody told of the container, and returns how many those were; and what
// has changed of a container holds for all that run in it from then on. It looks at each process of the
// machine, and waits for a set that is being applied.
func (m *Manager) LabelContainers() (int, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.current.peek().closed {
		return 0, ErrClosed
	}
	if m.object == nil { // nothing is labelled yet
		return 0, nil
	}
	defer m.remember()()
	n, err := m.object.LabelContainers(m.containers.changed.Swap(false))
	if err != nil {
		return n, fmt.Errorf("labelling what runs in containers: %w", err)
	}
	return n, nil
}

// Containers returns the containers that were told of and have not ended, in order of their ids.
func (m *Manager) Containers() []policy.Container {
	if m.containers == nil {
		return nil
	}
	return m.containers.list()
}

// containers are what the manager knows of containers. Its lock is its own: a container must not wait
// for a policy set.
type containers struct {
	mu     sync.Mutex
	closed bool
	// kernel is nil until there are maps.
	kernel *bpf.Containers
	// last is the greatest number that a container was given.
	last interface {
		Load() uint64
		Store(uint64)
	}
	byID     map[string]*container
	byNumber map[uint32]*container
	// ended are those that have, the first one first.
	ended []*container
	// changed says that processes may not know yet what their containers are.
	changed atomic.Bool
	// revisions are the policy sets in force and staged, for which the kernel has to know what
	// containers are.
	revisions map[uint32][]policy.Inside
}

type container struct {
	policy.Container
	number uint32
	// cgroup is 0 when it has ended.
	cgroup uint64
}

// number is memory of this process, until there is some that outlives it.
type number uint64

func (n *number) Load() uint64   { return uint64(*n) }
func (n *number) Store(v uint64) { *n = number(v) }

// add tells of a container.
func (c *containers) add(cgroup uint64, what policy.Container) error {
	what.Labels = maps.Clone(what.Labels)
	if what.Pod != nil {
		pod := *what.Pod
		pod.Labels, pod.Owners = maps.Clone(pod.Labels), slices.Clone(pod.Owners)
		what.Pod = &pod
	}
	text, err := json.Marshal(what)
	if err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return ErrClosed
	}
	known := c.byID[what.ID]
	if known == nil {
		if known, err = c.make(); err != nil {
			return err
		}
	}
	former, changed := known.cgroup, known.ID != "" && !reflect.DeepEqual(known.Container, what)
	known.Container, known.cgroup = what, cgroup
	if c.kernel != nil {
		if err := c.tell(known, text); err != nil { // nothing is known of it then, which is the stricter
			delete(c.byID, what.ID)
			delete(c.byNumber, known.number)
			return errors.Join(err, c.forget(known))
		}
		if changed {
			c.kernel.Changed()
			c.changed.Store(true)
		}
		if former != 0 && former != cgroup {
			if err := c.kernel.ForgetGroup(former); err != nil {
				return err
			}
		}
	}
	c.byID[what.ID], c.byNumber[known.number] = known, known
	c.ended = slices.DeleteFunc(c.ended, func(other *container) bool { return other == known })
	return nil
}

// make returns a new container with a number that none ever had.
func (c *containers) make() (*container, error) {
	if len(c.byID)-len(c.ended) >= abi.MaxContainers {
		return nil, fmt.Errorf("%w: there are %d containers, as many as are possible", ErrTooLarge, abi.MaxContainers)
	}
	n := c.last.Load() + 1
	if n >= abi.ContainerUnidentified {
		return nil, fmt.Errorf("%w: there were %d containers, as many as are possible until the machine is booted again", ErrTooLarge, n)
	}
	c.last.Store(n)
	return &container{number: uint32(n)}, nil
}

// tell makes the kernel know a container: its group comes last, by which everything else is found.
func (c *containers) tell(known *container, text []byte) error {
	for revision, lists := range c.revisions {
		of, enough := compile.SelectorsOf(lists, known.Container)
		if !enough { // without a class it is an unidentified one
			if err := c.kernel.ForgetClass(revision, known.number); err != nil {
				return err
			}
			continue
		}
		if err := c.kernel.SetClass(revision, known.number, of); err != nil {
			return err
		}
	}
	if err := c.kernel.SetText(known.number, text); err != nil {
		return err
	}
	if known.cgroup == 0 {
		return nil
	}
	return c.kernel.SetGroup(known.cgroup, known.number)
}

// forget makes the kernel forget a container.
func (c *containers) forget(known *container) error {
	if c.kernel == nil {
		return nil
	}
	var err error
	if known.cgroup != 0 {
		err = c.kernel.ForgetGroup(known.cgroup)
	}
	for revision := range c.revisions {
		err = errors.Join(err, c.kernel.ForgetClass(revision, known.number))
	}
	return errors.Join(err, c.kernel.ForgetText(known.number))
}

// remove tells that a container has ended.
func (c *containers) remove(id string) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	known := c.byID[id]
	if c.closed {
		return ErrClosed
	}
	if known == nil || known.cgroup == 0 {
		return nil
	}
	var err error
	if c.kernel != nil {
		err = c.kernel.ForgetGroup(known.cgroup)
	}
	known.cgroup = 0
	c.ended = append(c.ended, known)
	for len(c.ended) > maxEnded {
		oldest := c.ended[0]
		c.ended = c.ended[1:]
		delete(c.byID, oldest.ID)
		delete(c.byNumber, oldest.number)
		err = errors.Join(err, c.forget(oldest))
	}
	return err
}

func (c *containers) list() []policy.Container {
	c.mu.Lock()
	defer c.mu.Unlock()
	var all []policy.Container
	for _, known := range c.byID {
		if known.cgroup != 0 {
			all = append(all, known.Container)
		}
	}
	slices.SortFunc(all, func(a, b policy.Container) int { return cmp.Compare(a.ID, b.ID) })
	return all
}

// describe returns the containers with the numbers that a process was in first and last, the first one where it
// is another one.
func (c *containers) describe(firstNumber, lastNumber uint32) (last, first *policy.Container, unidentified bool) {
	if lastNumber == abi.ContainerHost {
		return nil, nil, false
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	find := func(number uint32) *policy.Container {
		known := c.byNumber[number]
		if known == nil {
			return nil
		}
		found := known.Container
		return &found
	}
	last = find(lastNumber)
	if firstNumber != lastNumber {
		first = find(firstNumber)
	}
	return last, first, last == nil
}

// open tells the kernel, whose maps have just been made, of all containers.
func (c *containers) open(object *bpf.Object) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	note := object.Note(bpf.NoteContainer)
	note.Store(c.last.Load())
	c.kernel, c.last = object.Containers(), note
	for _, known := range c.byID {
		text, err := json.Marshal(known.Container)
		if err != nil {
			return err
		}
		if err := c.tell(known, text); err != nil {
			return fmt.Errorf("telling the kernel of container %q: %w", known.ID, err)
		}
	}
	return nil
}

// closeKernel goes on without the kernel's maps.
func (c *containers) closeKernel(end bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	last := number(0)
	if c.last != nil {
		last = number(c.last.Load())
	}
	c.kernel, c.last, c.closed = nil, &last, c.closed || end
	clear(c.revisions)
}

// adopt reads what a former process told of, and what of it the set in force needs.
func (c *containers) adopt(object *bpf.Object, revision uint32, lists []policy.Inside) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	kernel := object.Containers()
	groups, err := kernel.Groups()
	if err != nil {
		return err
	}
	texts, err := kernel.Texts()
	if err != nil {
		return err
	}
	cgroups := map[uint32]uint64{}
	for cgroup, number := range groups {
		cgroups[number] = cgroup
	}
	c.kernel, c.last = kernel, object.Note(bpf.NoteContainer)
	c.revisions[revision] = lists
	for _, number := range slices.Sorted(maps.Keys(texts)) {
		known := &container{number: number, cgroup: cgroups[number]}
		if err := json.Unmarshal(bytes.TrimRight(texts[number], "\x00"), &known.Container); err != nil {
			// Nothing is known of it then, which is the stricter.
			if err := c.forget(known); err != nil {
				return err
			}
			continue
		}
		c.byID[known.ID], c.byNumber[number] = known, known
		if known.cgroup == 0 {
			c.ended = append(c.ended, known)
		}
	}
	return nil
}

// prepare tells the kernel what the containers are in a policy set that is to come.
func (c *containers) prepare(revision uint32, lists []policy.Inside) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(lists) == 0 { // the set asks for none
		return nil
	}
	selectors, err := c.selectorsOf(lists)
	if err != nil {
		return err
	}
	c.revisions[revision] = lists
	return c.kernel.SetClasses(revision, selectors)
}

// selectorsOf returns by which lists each container is selected of which enough is known.
func (c *containers) selectorsOf(lists []policy.Inside) (map[uint32][]uint16, error) {
	selectors := make(map[uint32][]uint16, len(c.byNumber))
	for number, known := range c.byNumber {
		of, enough := compile.SelectorsOf(lists, known.Container)
		if !enough {
			continue
		}
		if len(of) > bpf.MaxSelectors {
			return nil, fmt.Errorf("%w: %d different lists of containers select container %q; %d are possible, put several into one policy", ErrTooLarge, len(of), known.Name, bpf.MaxSelectors)
		}
		selectors[number] = of
	}
	return selectors, nil
}

// check returns an error if a set with these lists could not be in force beside the containers that there are.
func (c *containers) check(lists []policy.Inside) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	_, err := c.selectorsOf(lists)
	return err
}

// retire forgets what the containers were in all policy sets but one.
func (c *containers) retire(keep uint32) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	var err error
	for revision := range c.revisions {
		if revision == keep {
			continue
		}
		for number := range c.byNumber {
			err = errors.Join(err, c.kernel.ForgetClass(revision, number))
		}
		delete(c.revisions, revision)
	}
	return err
}

func newContainers() *containers {
	return &containers{
		last: new(number), byID: map[string]*container{}, byNumber: map[uint32]*container{},
		revisions: map[uint32][]policy.Inside{},
	}
}
