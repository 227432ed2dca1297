package containers

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
	"os"
	"path"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/ebpfguard/ebpfguard/internal/hostroot"
	"github.com/ebpfguard/ebpfguard/policy"
)

// Guard is what a [Table] needs of an [ebpfguard.Manager].
type Guard interface {
	AddContainer(cgroup uint64, c policy.Container) error
	RemoveContainer(id string) error
	LabelContainers() (int, error)
	Containers() []policy.Container
}

const (
	// maxContainers and maxDescription bound the memory that runtimes can make this process take.
	maxContainers  = 32768
	maxDescription = 64 << 10
	// maxGroups is how many control groups a container may have: sources may name different ones.
	maxGroups = 8
	// maxFailures bounds what is remembered of containers that could not be told of, failureTime how
	// long it is.
	maxFailures = 64
	failureTime = 10 * time.Minute
)

// Options are what a [Table] can be told. The zero value is useful.
type Options struct {
	// Cgroups is where the host's hierarchy of control groups (cgroup v2) is mounted; that of this
	// machine if empty.
	Cgroups string
	// Closed reports whether a container must not start when it cannot be told of.
	Closed func() bool
	// Log hears what goes wrong; nil for nobody.
	Log *slog.Logger
	// PodDetails says that somebody tells of the node's pods ([Table.SetPods]): until then they are known in part.
	PodDetails bool
	// Starting says that no policies are in force yet: they are when [Table.SetInForce] says so.
	Starting bool
	// Hook is the command by which OCI runtimes tell of containers; nil if they cannot call it.
	Hook []string
}

// Table is the [Registry] of a guard. Several sources may tell of one container: it is known as
// the one describes it that tells most, with what only the others know, and until none of them has
// it any more.
type Table struct {
	guard   Guard
	options Options
	labels  labeller
	// inForce is closed when the policies are.
	inForce  chan struct{}
	setForce sync.Once

	mu     sync.Mutex
	known  map[string]*entry // by the containers' ids
	groups map[uint64]owned
	paths  map[string]uint64 // of groups, to their ids
	synced map[string]bool   // sources that told of all that they know
	failed map[string]failure
	// pods are what the API server tells of, by their uids.
	pods map[string]policy.Pod
	// namespaces are those for which policies were made; nil before the API server told of any.
	namespaces map[string]bool
}

// entry is a container that is known.
type entry struct {
	policy.Container
	// told is what each source says, holders are those of them that have the container still.
	told    map[string]policy.Container
	holders map[string]bool
	// changed is the order in which they came to say that.
	changed map[string]int
	// groups are those that sources tell, chosen the one by which the guard knows the container, and
	// last the order of what was told last.
	groups map[uint64]toldGroup
	chosen uint64
	last   int
	since  time.Time
}

// toldGroup is a control group of a container, and when it was told of.
type toldGroup struct {
	path  string
	order int
}

// owned is a control group of a container that is known.
type owned struct{ path, container string }

// failure is a container that could not be told of.
type failure struct {
	name string
	err  error
	at   time.Time
}

var (
	_ Registry = (*Table)(nil)
	_ Hooker   = (*Table)(nil)
	_ Starter  = (*Table)(nil)
)

// NewTable returns a table in which nothing is known.
func NewTable(guard Guard, options Options) *Table {
	if options.Cgroups == "" {
		root, mount := hostroot.Host().Cgroups()
		options.Cgroups = root.Here(mount)
	}
	if options.Closed == nil {
		options.Closed = func() bool { return false }
	}
	if options.Log == nil {
		options.Log = slog.New(slog.DiscardHandler)
	}
	t := &Table{
		inForce: make(chan struct{}), guard: guard, options: options, labels: labeller{label: guard.LabelContainers},
		known: map[string]*entry{}, groups: map[uint64]owned{}, paths: map[string]uint64{}, synced: map[string]bool{}, failed: map[string]failure{},
	}
	if !options.Starting {
		t.SetInForce()
	}
	if options.PodDetails {
		t.pods = formerPods(guard.Containers())
	}
	return t
}

// InForce implements [Starter].
func (t *Table) InForce() <-chan struct{} { return t.inForce }

// SetInForce says that the guard's policies are in force.
func (t *Table) SetInForce() { t.setForce.Do(func() { close(t.inForce) }) }

// Closed implements [Registry].
func (t *Table) Closed() bool { return t.options.Closed() }

// Hook implements [Hooker].
func (t *Table) Hook() []string { return t.options.Hook }

// Start implements [Registry].
func (t *Table) Start(source string, c Container) error {
	return t.start(map[string]policy.Container{source: c.Container}, c)
}

// start tells of a container of which several sources tell at once.
func (t *Table) start(told map[string]policy.Container, c Container) error {
	what, err := t.add(told, c.Cgroup)
	switch {
	case err != nil || what == nothingNew:
	case c.Running:
		err = t.labels.run()
	case what == newDescription: // of one whose programs may run already
		go func() {
			if err := t.labels.run(); err != nil {
				t.options.Log.Error("what runs in containers is not labelled", "error", err)
			}
		}()
	}
	return t.note(c, err)
}

// Sync implements [Registry].
func (t *Table) Sync(source string, all []Container) error {
	var errs []error
	label := false
	here := map[string]bool{}
	for _, c := range all {
		what, err := t.add(map[string]policy.Container{source: c.Container}, c.Cgroup)
		err = t.note(c, err)
		if errors.Is(err, fs.ErrNotExist) {
			continue // probably it ended since the source listed it, and Stop follows
		}
		here[c.ID] = true
		label = label || what == newDescription || what == newGroup && c.Running
		errs = append(errs, err)
	}
	t.mu.Lock()
	var ended []string
	for id, e := range t.known {
		if e.holders[source] && !here[id] {
			ended = append(ended, id)
		}
	}
	t.mu.Unlock()
	for _, id := range ended {
		t.Stop(source, id)
	}
	if label {
		errs = append(errs, t.labels.run())
	}
	err := errors.Join(errs...)
	t.mu.Lock()
	defer t.mu.Unlock()
	t.synced[source] = true
	return err
}

// Stop implements [Registry].
func (t *Table) Stop(source, id string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.failed, id)
	e := t.known[id]
	if e == nil {
		return
	}
	// The others' runtime may still have it, unless it is gone.
	delete(e.holders, source)
	if len(e.holders) == 0 || !t.lives(e) {
		t.remove(id, e)
	}
}

// Relabel labels what runs in the containers that are known.
func (t *Table) Relabel() error {
	t.mu.Lock()
	none := len(t.known) == 0
	t.mu.Unlock()
	if none {
		return nil
	}
	return t.labels.run()
}

// note remembers what went wrong with a container, for the status.
func (t *Table) note(c Container, err error) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.noteLocked(c, err)
}

// noteLocked is note for a caller that holds mu.
func (t *Table) noteLocked(c Container, err error) error {
	if err == nil {
		delete(t.failed, c.ID)
		return nil
	}
	name := cmp.Or(c.Name, c.ID)
	err = fmt.Errorf("container %s: %w", name, err)
	if len(t.failed) < maxFailures || t.failed[c.ID].err != nil {
		t.failed[c.ID] = failure{name, err, time.Now()}
	}
	t.options.Log.Error("a container is not known to the guard", "error", err, "runtime", c.Runtime)
	return err
}

// news is what somebody told that was not known.
type news uint8

const (
	nothingNew news = iota
	// newGroup is a container, or one that started again.
	newGroup
	// newDescription is a container that is known, with another description.
	newDescription
)

// add tells the guard of a container, by what sources say of it.
func (t *Table) add(told map[string]policy.Container, cgroup string) (news, error) {
	for _, c := range told {
		if err := check(c); err != nil {
			return nothingNew, err
		}
	}
	name, group, err := t.group(cgroup)
	if err != nil {
		return nothingNew, err
	}
	all := maps.Clone(told)
	id := merge(told, nil).ID
	t.mu.Lock()
	defer t.mu.Unlock()
	e := t.known[id]
	if e == nil {
		if len(t.known) >= maxContainers {
			return nothingNew, fmt.Errorf("%d containers are known, and there is no room for more; remove some", maxContainers)
		}
		e = &entry{told: map[string]policy.Container{}, holders: map[string]bool{}, changed: map[string]int{}, groups: map[uint64]toldGroup{}, since: time.Now()}
	}
	for source, c := range e.told {
		if _, ok := all[source]; !ok {
			all[source] = c
		}
	}
	for source, c := range told {
		if former, ok := e.told[source]; !ok || !reflect.DeepEqual(former, c) {
			e.last++
			e.changed[source] = e.last
		}
	}
	merged := t.complete(merge(all, e.changed))
	groups := e.groups
	if _, ok := groups[group]; !ok {
		groups = maps.Clone(groups)
		maps.DeleteFunc(groups, func(id uint64, g toldGroup) bool { return !t.is(g.path, id) })
		if len(groups) >= maxGroups {
			return nothingNew, fmt.Errorf("it has %d control groups; report which runtime this is", len(groups)+1)
		}
		t.release(id, group)
		e.last++
		groups[group] = toldGroup{name, e.last}
	}
	what := nothingNew
	chosen := choose(groups)
	switch {
	case chosen != e.chosen:
		what = newGroup
	case !reflect.DeepEqual(merged, e.Container):
		what = newDescription
	}
	if what != nothingNew {
		if err := t.guard.AddContainer(chosen, merged); err != nil {
			e.chosen = 0 // the guard knows it no longer
			return nothingNew, err
		}
	}
	for former := range e.groups {
		if _, ok := groups[former]; !ok {
			t.forget(former)
		}
	}
	e.Container, e.told, e.groups, e.chosen = merged, all, groups, chosen
	for source := range told {
		e.holders[source] = true
	}
	t.known[id] = e
	for id, g := range groups {
		t.groups[id], t.paths[g.path] = owned{g.path, e.ID}, id
	}
	return what, nil
}

// choose returns the control group of a container by which the guard knows it, of those that
// sources tell: the one that was told last, or one above that.
func choose(groups map[uint64]toldGroup) uint64 {
	var chosen uint64
	last := toldGroup{}
	for id, g := range groups {
		if g.order > last.order {
			chosen, last = id, g
		}
	}
	above := last.path
	for id, g := range groups {
		if len(g.path) < len(above) && strings.HasPrefix(last.path, g.path+"/") {
			chosen, above = id, g.path
		}
	}
	return chosen
}

// release removes another container that has a control group: the later one counts. The caller holds mu.
func (t *Table) release(id string, group uint64) {
	if former, ok := t.groups[group]; ok && former.container != id {
		t.options.Log.Warn("two containers have one control group; the later one counts", "cgroup", former.path, "former", former.container, "later", id)
		t.remove(former.container, t.known[former.container])
	}
}

// remove forgets a container that has ended. The caller holds mu.
func (t *Table) remove(id string, e *entry) {
	if err := t.guard.RemoveContainer(id); err != nil {
		t.options.Log.Error("a container that has ended cannot be removed", "container", id, "error", err)
	}
	for g := range e.groups {
		t.forget(g)
	}
	delete(t.known, id)
}

// forget forgets a control group. The caller holds mu.
func (t *Table) forget(id uint64) {
	g := t.groups[id]
	delete(t.groups, id)
	if t.paths[g.path] == id {
		delete(t.paths, g.path)
	}
}

// lives reports whether a container has a control group still: it has until its last process has ended
// and its runtime has tidied up. The caller holds mu.
func (t *Table) lives(e *entry) bool {
	for id, g := range e.groups {
		if t.is(g.path, id) {
			return true
		}
	}
	return false
}

// is reports whether a control group is the one with an id. What cannot be found out is taken for true.
func (t *Table) is(name string, id uint64) bool {
	_, now, err := t.group(name)
	return now == id || err != nil && !errors.Is(err, fs.ErrNotExist)
}

// group returns the path of a control group as the table knows it, and its id: the inode number of its
// directory. The error wraps [fs.ErrNotExist] if there is none.
func (t *Table) group(name string) (string, uint64, error) {
	if name == "" {
		return "", 0, errors.New("its control group is not known; it must be one of cgroup v2, see the documentation of its runtime")
	}
	name = path.Clean("/" + name)
	if name == "/" {
		return "", 0, errors.New("its control group is the root of all, in which the host's programs are; let the runtime make one for each container")
	}
	info, err := os.Stat(filepath.Join(t.options.Cgroups, name))
	if err != nil {
		return "", 0, fmt.Errorf("its control group: %w; it must be one of cgroup v2, and %s the host's hierarchy", err, t.options.Cgroups)
	}
	id, ok := Inode(info)
	if !ok || !info.IsDir() {
		return "", 0, fmt.Errorf("its control group %s is not a directory", name)
	}
	return name, id, nil
}

// check refuses descriptions that no runtime makes.
func check(c policy.Container) error {
	size := len(c.ID) + len(c.Name) + len(c.Image) + len(c.ImageDigest) + len(c.Runtime) + sizeOf(c.Labels)
	if c.Pod != nil {
		size += len(c.Pod.Name) + len(c.Pod.Namespace) + len(c.Pod.UID) + sizeOf(c.Pod.Labels)
	}
	switch {
	case c.ID == "" || len(c.ID) > 256 || strings.ContainsFunc(c.ID, func(r rune) bool { return r <= ' ' || r == 0x7f }):
		return fmt.Errorf("its id %.300q is none; it needs 1 to 256 characters without spaces", c.ID)
	case size > maxDescription:
		return fmt.Errorf("its name, image and labels have %d bytes, more than %d; give it fewer labels", size, maxDescription)
	}
	return nil
}

func sizeOf(labels map[string]string) int {
	size := 0
	for key, value := range labels {
		size += len(key) + len(value)
	}
	return size
}

// merge returns a container as its sources describe it: what the one says that tells most, of several
// such the one that changed what it says last, since that is a new name; then what the others know besides.
func merge(told map[string]policy.Container, changed map[string]int) policy.Container {
	sources := slices.SortedFunc(maps.Keys(told), func(a, b string) int {
		return cmp.Or(cmp.Compare(richness(told[b]), richness(told[a])), cmp.Compare(changed[b], changed[a]), cmp.Compare(a, b))
	})
	var c policy.Container
	for _, source := range sources {
		o := told[source]
		c.ID, c.Name, c.Runtime = o.ID, cmp.Or(c.Name, o.Name), cmp.Or(c.Runtime, o.Runtime)
		if c.Image == "" && c.ImageDigest == "" { // those of one source belong together
			c.Image, c.ImageDigest = o.Image, o.ImageDigest
		}
		if c.ImageDigest == "" && c.Image == o.Image {
			c.ImageDigest = o.ImageDigest
		}
		if c.Pod == nil && o.Pod != nil {
			pod := *o.Pod
			pod.Labels = maps.Clone(pod.Labels)
			c.Pod = &pod
		}
		for key, value := range o.Labels {
			if _, ok := c.Labels[key]; !ok {
				if c.Labels == nil {
					c.Labels = map[string]string{}
				}
				c.Labels[key] = value
			}
		}
	}
	return c
}

// richness is how much a description tells: its kinds, then its labels.
func richness(c policy.Container) int {
	n := 0
	for _, text := range []string{c.Name, c.Image, c.ImageDigest, c.Runtime} {
		if text != "" {
			n++
		}
	}
	if c.Pod != nil {
		n += 2
	}
	return n*1000 + min(len(c.Labels), 999)
}
