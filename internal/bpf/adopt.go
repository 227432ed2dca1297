package bpf

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"

	"github.com/ebpfguard/ebpfguard/internal/abi"
)

// Takeover is the enforcement that a former process left pinned.
type Takeover struct {
	// Object is nil when the pins are of an older layout: then the enforcement has
	// to be built anew, and the former ended with [Takeover.Drop].
	Object *Object
	// Build is that of the programs, see [Build].
	Build string
	// Revisions are those of which alerts may still come, the one in force last.
	Revisions []Retained

	pins    *Pins
	layouts []int
}

// Retained is a revision that is or was in force.
type Retained struct {
	Number  uint32
	Payload []byte
	// Counters reads the counters of its first rules.
	Counters func(rules int) ([]abi.RuleCounters, error)
}

// Adopt takes over what is pinned; nil when there is nothing that was ever in force. It
// has to be what a process of this or an older layout left, whole: otherwise the error
// wraps ErrPinsForeign, ErrPinsDamaged or ErrPinsNewer, and nothing has changed.
func (p *Pins) Adopt() (*Takeover, error) {
	layouts, err := p.layouts()
	if err != nil || len(layouts) == 0 {
		return nil, err
	}
	if newest := layouts[len(layouts)-1]; newest > Layout() {
		return nil, fmt.Errorf("%w: what is pinned at %s has layout %d, this version knows up to %d; install the version that made it, or end its enforcement (ebpfguard down)",
			ErrPinsNewer, p.path, newest, Layout())
	}
	// A newer layout that never came into force was being built from an older one.
	for len(layouts) > 0 {
		last := len(layouts) - 1
		t, err := p.adopt(layouts[last])
		if err != nil {
			return nil, fmt.Errorf("%w: %w; end what is left of its enforcement (ebpfguard down), or replace it (--replace-pins)", ErrPinsDamaged, err)
		}
		if t != nil {
			t.layouts = layouts[:last]
			if t.Object == nil {
				t.layouts = layouts[:last+1]
				return t, nil
			}
			return t, errors.Join(t.Drop(), p.DropFormer())
		}
		if err := p.remove(layouts[last]); err != nil {
			return nil, err
		}
		layouts = layouts[:last]
	}
	return nil, nil
}

// Drop ends the enforcement of older layouts.
func (t *Takeover) Drop() error {
	var err error
	for _, n := range t.layouts {
		err = errors.Join(err, t.pins.remove(n))
	}
	t.layouts = nil
	return err
}

// adopt takes a layout over; nil when none of its revisions has ever enforced.
func (p *Pins) adopt(n int) (_ *Takeover, err error) {
	t := &Takeover{pins: p}
	o := &Object{options: Options{Pins: p}, maps: map[string]*ebpf.Map{}, attached: map[string]link.Link{}}
	defer func() {
		if err != nil || t.Object == nil {
			err = errors.Join(err, o.Close())
		}
	}()
	dir := p.layoutPath(n)
	name := GuardMapRevisions
	if n == 1 { // what the map was called then
		name = "generations"
	}
	revisions, err := ebpf.LoadPinnedMap(filepath.Join(dir, "maps", name), nil)
	if errors.Is(err, os.ErrNotExist) {
		// Programs are attached after all maps are there.
		if attached, _ := filepath.Glob(filepath.Join(dir, "links", "*", "*")); len(attached) > 0 {
			return nil, fmt.Errorf("map %s: %w", name, err)
		}
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	o.maps[GuardMapRevisions] = revisions
	inner, err := inForce(revisions, filepath.Join(dir, "tables"))
	if errors.Is(err, ebpf.ErrKeyNotExist) {
		return nil, nil
	} else if err != nil {
		return nil, fmt.Errorf("reading what is in force: %w", err)
	}
	o.rules = newRuleCounterMap(inner, 0, 0)
	active, err := openTables(inner)
	if err != nil {
		return nil, err
	}
	told, err := active.handover()
	if err != nil {
		return nil, err
	}
	if len(told.Links) == 0 { // it only had begun
		return nil, nil
	}
	t.Build = told.Build
	if t.Revisions, err = o.readRetained(filepath.Join(dir, "tables"), active, told); err != nil {
		return nil, err
	}
	if n < Layout() {
		return t, nil
	}
	if err := o.adoptMaps(filepath.Join(dir, "maps"), told.Maps); err != nil {
		return nil, err
	}
	if err := o.adoptLinks(filepath.Join(dir, "links"), told); err != nil {
		return nil, err
	}
	o.hash = o.maps[GuardMapTasks].Type() == ebpf.Hash
	o.ReleaseSpec() // what adoptMaps read may have been the other object
	o.options.AlertBytes = o.maps[GuardMapAlerts].MaxEntries()
	o.rules = newRuleCounterMap(inner, active.header.Rules, 0)
	if err := o.mapMemory(); err != nil {
		return nil, err
	}
	if err := o.resume(active); err != nil {
		return nil, err
	}
	t.Object = o
	return t, nil
}

// inForce opens the tables that are in force, of which the map of revisions has the number. To open a map by its number
// takes CAP_SYS_ADMIN; these are pinned in a directory as well.
func inForce(revisions *ebpf.Map, dir string) (*ebpf.Map, error) {
	var number uint32
	if err := revisions.Lookup(uint32(abi.SlotActive), &number); err != nil {
		return nil, err
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	for _, e := range entries {
		m, err := ebpf.LoadPinnedMap(filepath.Join(dir, e.Name()), nil)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", e.Name(), err)
		}
		if id, err := mapID(m); err == nil && id == number {
			return m, nil
		}
		if err := m.Close(); err != nil {
			return nil, err
		}
	}
	return ebpf.NewMapFromID(ebpf.MapID(number))
}

// adoptMaps opens the pinned maps. They must be those that the handover names, and all
// that this layout has.
func (o *Object) adoptMaps(dir string, numbers map[string]uint32) error {
	if err := o.declare(); err != nil {
		return err
	}
	var names []string
	for _, spec := range ownMaps {
		names = append(names, spec.Name)
	}
	for name := range o.declared.Maps {
		if isPinned(name) {
			names = append(names, name)
		}
	}
	for _, name := range names {
		m := o.maps[name]
		if m == nil {
			var err error
			if m, err = ebpf.LoadPinnedMap(filepath.Join(dir, name), nil); err != nil {
				return fmt.Errorf("map %s: %w", name, err)
			}
			o.maps[name] = m
		}
		id, err := mapID(m)
		if err != nil {
			return err
		}
		if numbers[name] == 0 || numbers[name] != id {
			return fmt.Errorf("map %s is number %d, the set in force has number %d", name, id, numbers[name])
		}
	}
	return nil
}

// isPinned tells which maps are: constants belong to the programs, marks to one run of
// mark_tasks, executions to one process.
func isPinned(name string) bool {
	return name[0] != '.' && name != GuardMapMarks && name != GuardMapExecutions
}

func mapID(m *ebpf.Map) (uint32, error) {
	info, err := m.Info()
	if err != nil {
		return 0, fmt.Errorf("examining a map: %w", err)
	}
	id, ok := info.ID()
	if !ok {
		return 0, errors.New("examining a map: the kernel tells no number")
	}
	return uint32(id), nil
}

// adoptLinks opens the pinned programs. Those that the handover names must be there;
// others were about to be attached or detached when their process ended, and go.
func (o *Object) adoptLinks(dir string, told handover) error {
	builds, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	var unused []link.Link
	defer func() { _ = closeLinks(unused) }() // if something is wrong: they stay pinned
	for _, build := range builds {
		pinned, err := os.ReadDir(filepath.Join(dir, build.Name()))
		if err != nil {
			return err
		}
		for _, e := range pinned {
			name := e.Name()
			l, err := link.LoadPinnedLink(filepath.Join(dir, build.Name(), name), nil)
			if err != nil {
				return fmt.Errorf("program %s: %w", name, err)
			}
			info, err := l.Info()
			if err != nil {
				return errors.Join(fmt.Errorf("program %s: %w", name, err), l.Close())
			}
			if build.Name() == told.Build && told.Links[name] == uint32(info.ID) {
				o.attached[name] = l
			} else {
				unused = append(unused, l)
			}
		}
	}
	for name := range told.Links {
		if o.attached[name] == nil {
			return fmt.Errorf("program %s is no longer attached, or another one is in its place", name)
		}
	}
	err = detach(unused)
	unused = nil
	for _, build := range builds {
		if build.Name() != told.Build {
			err = errors.Join(err, os.Remove(filepath.Join(dir, build.Name())))
		}
	}
	return err
}

// readRetained reads the pinned revisions, the one in force last, and removes the
// pins of those that never came into force.
func (o *Object) readRetained(dir string, active tables, told handover) ([]Retained, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	var all []Retained
	for _, e := range entries {
		path := filepath.Join(dir, e.Name())
		number, err := strconv.ParseUint(e.Name(), 10, 32)
		if err != nil {
			return nil, fmt.Errorf("%s is no revision", path)
		}
		if uint32(number) > active.header.Number {
			if err := os.Remove(path); err != nil {
				return nil, err
			}
			continue
		}
		o.retained = append(o.retained, uint32(number))
		if uint32(number) == active.header.Number {
			continue
		}
		r, err := readRevision(path)
		if err != nil {
			return nil, err
		}
		all = append(all, r)
	}
	slices.Sort(o.retained)
	slices.SortFunc(all, func(a, b Retained) int { return int(int64(a.Number) - int64(b.Number)) })
	return append(all, Retained{active.header.Number, told.Payload, func(rules int) ([]abi.RuleCounters, error) {
		return newRuleCounterMap(active.Map, active.header.Rules, rules).Read()
	}}), nil
}

func readRevision(path string) (r Retained, err error) {
	m, err := ebpf.LoadPinnedMap(path, nil)
	if err != nil {
		return r, err
	}
	defer m.Close()
	t, err := openTables(m)
	if err != nil {
		return r, fmt.Errorf("%s: %w", path, err)
	}
	told, err := t.handover()
	if err != nil {
		return r, err
	}
	return Retained{t.header.Number, told.Payload, func(rules int) ([]abi.RuleCounters, error) {
		m, err := ebpf.LoadPinnedMap(path, nil)
		if err != nil {
			return nil, err
		}
		defer m.Close()
		return newRuleCounterMap(m, t.header.Rules, rules).Read()
	}}, nil
}

// resume ends what a process was about to do when it ended.
func (o *Object) resume(active tables) error {
	if err := o.maps[GuardMapRevisions].Delete(uint32(abi.SlotStaged)); err != nil && !errors.Is(err, ebpf.ErrKeyNotExist) {
		return fmt.Errorf("removing staged tables: %w", err)
	}
	named, err := namedIn(active.header, active.line)
	if err != nil {
		return err
	}
	o.active.Store(activeWord(active.header))
	o.published = published{o.rules.tables, activeWord(active.header), named}
	return nil
}

// SetRules tells how many rules the revision in force has that was taken over.
func (o *Object) SetRules(n int) { o.rules.rules = n }

// ReplacePrograms attaches the programs of this build in place of those of another, which stay
// attached until [Object.DetachExcept]: an operation is judged by the former, by both, or by
// these, never by none.
func (o *Object) ReplacePrograms(names ...string) error {
	former := o.attached
	o.attached = map[string]link.Link{}
	if err := o.Attach(append(o.tracking(), names...)...); err != nil {
		o.attached = former
		return err
	}
	for _, l := range former {
		o.outdated = append(o.outdated, l)
	}
	return nil
}
