package daemon

import (
	"errors"
	"fmt"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/ebpfguard/ebpfguard/internal/machine"
	"github.com/ebpfguard/ebpfguard/policy"
)

// loadDirectory reads the policies of a directory. One without policies is fine: it is
// what was installed and not yet used.
func loadDirectory(dir string) ([]policy.Policy, error) {
	if dir == "" {
		return nil, nil
	}
	files, err := policyFiles(dir)
	if err != nil || len(files) == 0 {
		return nil, err
	}
	set, err := policy.Load(dir)
	if err != nil {
		return nil, err
	}
	return set, checkPersistable(set)
}

// policyFiles returns what [policy.Load] reads of a directory.
func policyFiles(dir string) ([]string, error) {
	files, err := policy.DirectoryFiles(dir)
	if err != nil {
		return nil, fmt.Errorf("policy directory: %w; make it, or name another one with policies", err)
	}
	return files, nil
}

var place = regexp.MustCompile(`:\d+:\d+$`)

// addressFiles returns the files of addresses that policies name.
func addressFiles(set []policy.Policy) []string {
	var files []string
	for _, p := range set {
		folder := filepath.Dir(place.ReplaceAllString(p.Source, ""))
		for _, r := range p.Rules {
			for _, pattern := range slices.Concat(r.Allow, r.Deny) {
				s, ok := pattern.(policy.SocketPattern)
				if !ok {
					continue
				}
				for _, name := range s.AddressesFrom {
					if !filepath.IsAbs(name) {
						name = filepath.Join(folder, name)
					}
					files = append(files, name)
				}
			}
		}
	}
	slices.Sort(files)
	return slices.Compact(files)
}

// directory is what was last read of the policy directory.
type directory struct {
	// files and lists are fingerprints of what was read.
	files, lists string
	failed       bool
	// kept says that what was read last is in the state directory.
	kept bool
}

// fingerprint returns a text that is another one whenever one of the files is.
func fingerprint(paths []string) string {
	var b strings.Builder
	for _, path := range paths {
		fmt.Fprintf(&b, "%s %s\n", path, fileState(path))
	}
	return b.String()
}

// directoryFingerprint returns the fingerprint of the policy files of a directory.
func directoryFingerprint(dir string) string {
	if dir == "" {
		return ""
	}
	files, err := policyFiles(dir)
	if err != nil {
		return err.Error()
	}
	return fingerprint(files)
}

// reloadDirectory puts in force what the directory holds now. If anything is wrong the
// previous policies stay, and it becomes a problem in the status.
func (d *Daemon) reloadDirectory() error {
	d.reading.Lock()
	defer d.reading.Unlock()
	dir := d.configuration().Policies
	d.directory.files = directoryFingerprint(dir) // before reading: what changes meanwhile is read again
	set, err := loadDirectory(dir)
	d.directory.lists = fingerprint(addressFiles(set))
	d.tellModes(dir)
	d.tellUnread(dir)
	replaced := false
	if err == nil {
		replaced, err = d.replaceFiles(set)
	}
	d.directory.failed = err != nil
	if err != nil {
		d.problem(problemDirectory, fmt.Errorf("the policies of %s are NOT in force, the previous ones stay in force: %w", dir, err))
		return err
	}
	d.solved(problemDirectory)
	if replaced {
		d.warnOf(set)
	}
	return nil
}

// maxLoggedWarnings bounds the warnings about policies in the log.
const maxLoggedWarnings = 20

// warnOf logs what in the policies is probably not meant, such as a list of addresses
// that has become empty.
func (d *Daemon) warnOf(set []policy.Policy) {
	warnings := append(policy.Warnings(set), machine.Warnings(set)...)
	for i, w := range warnings {
		if i == maxLoggedWarnings {
			d.log.Warn("more warnings: ebpfguard validate shows them", "left", len(warnings)-i)
			return
		}
		d.log.Warn(w.String())
	}
}

// tellModes notes whether others may change the policies of the directory.
func (d *Daemon) tellModes(dir string) {
	if err := checkModes(dir); err != nil {
		d.problem(problemModes, err)
		return
	}
	d.solved(problemModes)
}

// tellUnread notes what of the directory looks like policies and is not read.
func (d *Daemon) tellUnread(dir string) {
	var errs []error
	if dir != "" {
		for _, w := range policy.Unread(dir) {
			errs = append(errs, fmt.Errorf("%s: %s", w.Source, w.Text))
		}
	}
	if err := errors.Join(errs...); err != nil {
		d.problem(problemUnread, err)
		return
	}
	d.solved(problemUnread)
}

// lockAll takes the locks for a change that may bring policies of the directory along, and returns what
// gives them back.
func (d *Daemon) lockAll() (unlock func()) {
	d.reading.Lock()
	d.mu.Lock()
	return func() {
		d.mu.Unlock()
		d.reading.Unlock()
	}
}

// retryDirectory adds the policies of a directory that could not come into force before, because a
// policy had the name of one of them: its removal and their beginning are one step, so that the name
// is never without a policy. It also returns what to do when that is in force. The caller holds both
// locks.
func (d *Daemon) retryDirectory(next sets) (sets, func()) {
	if !d.directory.failed {
		return next, func() {}
	}
	dir := d.configuration().Policies
	print := directoryFingerprint(dir)
	set, err := loadDirectory(dir)
	with := next
	with.files = set
	if err != nil || with.unique() != nil || policy.Validate(with.all()) != nil || d.guard.Check(with.at(d.now()).inForce()) != nil || d.checkFiles(d.sets.all(), with.all()) != nil {
		return next, func() {}
	}
	return with, func() {
		d.directory = directory{files: print, lists: fingerprint(addressFiles(set))}
		d.keepLastGood(set)
		d.solved(problemDirectory)
		d.log.Info("the policies of the directory are in force", "policies", len(set), "revision", d.revision)
	}
}

// pollDirectory reads the directory if it has changed, or was wrong.
func (d *Daemon) pollDirectory() {
	d.tellUnread(d.configuration().Policies) // subdirectories are not watched
	d.reading.Lock()
	changed := d.directory.failed || d.directory.files != directoryFingerprint(d.configuration().Policies) ||
		d.directory.lists != fingerprint(addressFiles(d.owned().files))
	d.reading.Unlock()
	if changed {
		_ = d.reloadDirectory() // it becomes a problem
	}
}

// replaceFiles puts the policies of files in force in place of the previous ones, and
// reports whether they are others.
func (d *Daemon) replaceFiles(set []policy.Policy) (replaced bool, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	next := d.sets
	next.files = set
	if err := next.unique(); err != nil {
		return false, err
	}
	changes := compare(d.sets.files, set)
	if changed(changes) || d.stale {
		if err := d.checkFiles(d.sets.all(), next.all()); err != nil {
			return false, err
		}
		if err := d.publish(next); err != nil {
			return false, err
		}
		d.log.Info("the policies of the directory are in force", "policies", len(set), "revision", d.revision,
			"added", changes.GetAdded(), "changed", changes.GetChanged(), "removed", changes.GetRemoved())
	} else {
		d.sets.files = set // they may be in other places
	}
	if changed(changes) || !d.directory.kept {
		d.keepLastGood(set)
	}
	return changed(changes), nil
}

// keepLastGood remembers the policies of files for a start without pins.
func (d *Daemon) keepLastGood(set []policy.Policy) {
	err := d.store.write(lastGoodFile, set)
	d.directory.kept = err == nil
	if err != nil {
		d.problem(problemLastGood, fmt.Errorf("the copy of the policies in the state directory is out of date, and a start while the files are broken would use it: %w", err))
		return
	}
	d.solved(problemLastGood)
}
