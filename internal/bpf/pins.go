package bpf

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/cilium/ebpf/link"
)

// The errors of pins that cannot be used.
var (
	// ErrPinsInUse is wrapped when another process uses the pins.
	ErrPinsInUse = errors.New("the pins are in use")
	// ErrPinsForeign is wrapped when the directory holds what is not ours.
	ErrPinsForeign = errors.New("the pins are not ebpfguard's")
	// ErrPinsDamaged is wrapped when something of the pins is missing or wrong.
	ErrPinsDamaged = errors.New("the pins are damaged")
	// ErrPinsNewer is wrapped when a newer version made the pins.
	ErrPinsNewer = errors.New("the pins are of a newer version")
)

// layout is the number of the layout of what is pinned: of the maps, the tables and the
// handover. It goes up whenever any of these changes (TestLayout tells). A string,
// so that tests of upgrades can have the linker change it.
var layout = "5"

// Layout returns the number of the layout of what this version pins.
func Layout() int {
	n, err := strconv.Atoi(layout)
	if err != nil {
		panic("the linker set the layout to " + layout)
	}
	return n
}

// Pins is the directory on a bpf filesystem in which an [Object] outlives the process:
//
//	PATH/layout_N/maps/NAME           the maps
//	PATH/layout_N/tables/NUMBER       revisions of which alerts may still come
//	PATH/layout_N/links/BUILD/PROGRAM the attached programs
//
// Whoever uses it holds a lock on PATH.
type Pins struct {
	path string
	lock *os.File
}

const (
	layoutPrefix = "layout_"
	// formerSuffix is what a directory is called that is being replaced.
	formerSuffix = "_former"
)

// OpenPins makes the directory where it is missing, and locks it.
func OpenPins(path string) (*Pins, error) {
	path = filepath.Clean(path)
	if strings.Contains(filepath.Base(path), ".") {
		return nil, fmt.Errorf("the pins' directory %s has a dot in its name, which a bpf filesystem does not allow; choose another name", path)
	}
	if err := os.Mkdir(path, 0o700); err != nil && !errors.Is(err, os.ErrExist) {
		return nil, fmt.Errorf("making the pins' directory: %w; it has to be on a bpf filesystem, see mount(8): mount -t bpf bpf /sys/fs/bpf", err)
	}
	lock, err := openDirectory(path)
	if err != nil {
		return nil, fmt.Errorf("opening the pins' directory: %w", err)
	}
	p := &Pins{path, lock}
	if err := p.check(); err != nil {
		return nil, errors.Join(err, lock.Close())
	}
	return p, nil
}

// layouts returns the layouts that are there, the newest last.
func (p *Pins) layouts() ([]int, error) {
	entries, err := os.ReadDir(p.path)
	if err != nil {
		return nil, fmt.Errorf("reading the pins: %w", err)
	}
	var found []int
	for _, e := range entries {
		text, ok := strings.CutPrefix(e.Name(), layoutPrefix)
		n, err := strconv.Atoi(text)
		if !ok || err != nil || !e.IsDir() {
			return nil, fmt.Errorf("%w: %s is not of its making", ErrPinsForeign, filepath.Join(p.path, e.Name()))
		}
		found = append(found, n)
	}
	slices.Sort(found)
	return found, nil
}

func (p *Pins) layoutPath(n int) string { return filepath.Join(p.path, layoutPrefix+strconv.Itoa(n)) }
func (p *Pins) own() string             { return p.layoutPath(Layout()) }
func (p *Pins) mapPath(name string) string {
	return filepath.Join(p.own(), "maps", name)
}
func (p *Pins) tablesPath(number uint32) string {
	return filepath.Join(p.own(), "tables", strconv.FormatUint(uint64(number), 10))
}
func (p *Pins) linksPath(build string) string { return filepath.Join(p.own(), "links", build) }
func (p *Pins) linkPath(build, program string) string {
	return filepath.Join(p.linksPath(build), program)
}

// prepare makes the directories of this layout, for the programs of a build.
func (p *Pins) prepare(build string) error {
	for _, dir := range []string{filepath.Join(p.own(), "maps"), filepath.Join(p.own(), "tables"), p.linksPath(build)} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return fmt.Errorf("making the pins' directories: %w", err)
		}
	}
	return nil
}

// remove removes a layout.
func (p *Pins) remove(n int) error { return removePins(p.layoutPath(n)) }

// removePins removes a directory of pins. First the programs, and through descriptors:
// the kernel detaches at once what the last one is closed of, and some time later what
// only a pin held.
func removePins(dir string) error {
	var links []link.Link
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() || filepath.Base(filepath.Dir(filepath.Dir(path))) != "links" {
			return ignoreMissing(err)
		}
		if l, err := link.LoadPinnedLink(path, nil); err == nil {
			links = append(links, l)
		}
		return nil // what is no program goes with the rest
	})
	if err = errors.Join(err, detach(links), os.RemoveAll(dir)); err != nil {
		return fmt.Errorf("removing pins: %w", err)
	}
	return nil
}

func ignoreMissing(err error) error {
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	return err
}

// former is where a directory is kept that is being replaced.
func (p *Pins) former() string { return p.path + formerSuffix }

// SetAside moves the directory away and makes a new one. What is attached stays so
// until [Pins.DropFormer].
func (p *Pins) SetAside() error {
	if err := p.DropFormer(); err != nil {
		return err
	}
	if err := os.Rename(p.path, p.former()); err != nil {
		return fmt.Errorf("setting the former pins aside: %w", err)
	}
	fresh, err := OpenPins(p.path)
	if err != nil {
		return err
	}
	err = p.lock.Close()
	*p = *fresh
	return err
}

// DropFormer ends what pins enforce that were set aside.
func (p *Pins) DropFormer() error { return removePins(p.former()) }

// Close gives the lock back.
func (p *Pins) Close() error { return p.lock.Close() }

// RemovePins ends the enforcement that is pinned at a path and reports whether there was
// any. What is not ours in the directory is refused with [ErrPinsForeign], unless all
// is to go.
func RemovePins(path string, all bool) (bool, error) {
	if _, err := os.Lstat(path); errors.Is(err, os.ErrNotExist) {
		return false, nil
	}
	p, err := OpenPins(path)
	if err != nil {
		return false, err
	}
	defer p.Close()
	if all {
		return true, errors.Join(removePins(p.path), p.DropFormer())
	}
	return true, p.Remove()
}

// Remove ends the enforcement that is pinned. What this process has open ends when it is
// closed.
func (p *Pins) Remove() error {
	layouts, err := p.layouts()
	if err != nil {
		return err
	}
	for _, n := range layouts {
		err = errors.Join(err, p.remove(n))
	}
	if err = errors.Join(err, p.DropFormer()); err != nil {
		return err
	}
	if err := os.Remove(p.path); err != nil {
		return fmt.Errorf("removing pins: %w", err)
	}
	return nil
}
