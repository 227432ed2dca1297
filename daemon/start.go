package daemon

import (
	"errors"
	"fmt"
	"slices"

	"github.com/ebpfguard/ebpfguard/policy"
)

// start puts the first policies in force: those of the directory, what was applied, and
// the mitigations that were taken over. What was taken over stays when anything is
// wrong with that; without it there is nothing that could stay, and it fails.
func (d *Daemon) start() (err error) {
	d.reading.Lock()
	defer d.reading.Unlock()
	d.tellPlace()
	takeover, adopted := d.guard.Takeover()
	d.adopted = adopted
	if adopted {
		d.log.Info("took over enforcement", "revision", takeover.Revision, "policies", len(takeover.Policies),
			"programs_renewed", takeover.Renewed, "migrated", takeover.Migrated, "alerts_lost", takeover.Lost)
	}
	unconfirmed, err := d.store.read(unconfirmedFile)
	if err != nil {
		d.log.Warn("it cannot be read which policies waited to be confirmed", "error", err)
	}
	var next sets
	var lasting []policy.Policy
	left := settle(takeover.Policies, unconfirmed)
	next.mitigations, lasting = splitMitigations(left, d.now())
	cluster, lasting := splitCluster(lasting)
	dir := d.config.Policies
	d.directory.files = directoryFingerprint(dir)
	files, filesErr := loadDirectory(dir)
	d.tellModes(dir)
	d.tellUnread(dir)
	applied, appliedErr := d.store.read(appliedFile)
	if appliedErr != nil {
		applied = d.replaceBroken(appliedErr, adopted, without(lasting, files))
	}
	next.files, next.applied, next.cluster = files, applied, d.formerCluster(adopted, cluster)
	if filesErr == nil {
		next.cluster = d.startable(next)
		former := left // what was in force
		if !adopted {
			former = slices.Concat(applied, next.cluster, next.mitigations)
		}
		filesErr = d.checkFiles(former, next.all())
	}
	if filesErr == nil {
		filesErr = d.startWith(next)
	}
	if len(unconfirmed) > 0 {
		d.log.Warn("a change waited to be confirmed when the former daemon ended, and was taken back", "policies", names(unconfirmed))
		if err := d.forgetTrial(); err != nil {
			d.problem(problemApplied, err)
		}
	}
	if filesErr == nil {
		d.directory.lists = fingerprint(addressFiles(files))
		d.keepLastGood(files)
		return nil
	}
	if next.files, err = d.fallBack(adopted, without(lasting, applied), filesErr); err != nil {
		return err
	}
	d.directory.failed = true
	d.problem(problemDirectory, fmt.Errorf("the policies of %s are NOT in force, the previous ones stay in force: %w", dir, filesErr))
	if err = d.startWith(next); err == nil || !adopted {
		return err
	}
	d.problem(problemPublish, fmt.Errorf("the policies that were in force stay as they were: %w", err))
	d.mu.Lock()
	defer d.mu.Unlock()
	d.sets, d.stale, d.revision = next, true, takeover.Revision
	d.schedule()
	return nil
}

// replaceBroken keeps a file of applied policies aside that cannot be read, and returns what takes
// their place: what was in force, or nothing. The policies of the directory matter more than that the
// daemon starts with all or not at all.
func (d *Daemon) replaceBroken(reason error, adopted bool, former []policy.Policy) []policy.Policy {
	what := "NONE of them are in force until you apply them again"
	if adopted {
		what = "those that were in force stay"
	}
	kept, err := d.store.setAside(appliedFile)
	if err == nil && adopted {
		err = d.store.write(appliedFile, former)
	}
	if err == nil {
		reason = fmt.Errorf("%w; the broken file is kept as %s", reason, kept)
	}
	d.problem(problemApplied, errors.Join(fmt.Errorf("the applied policies cannot be read, and %s: %w", what, reason), err))
	if !adopted {
		return nil
	}
	return former
}

// startWith puts the first policies in force.
func (d *Daemon) startWith(next sets) error {
	if err := next.unique(); err != nil {
		return err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.publish(next); err != nil {
		return err
	}
	d.log.Info("enforcing", "revision", d.revision, "files", len(next.files), "applied", len(next.applied), "mitigations", len(d.sets.mitigations))
	return nil
}

// fallBack returns the policies to enforce in place of those of files, which are wrong.
func (d *Daemon) fallBack(adopted bool, former []policy.Policy, reason error) ([]policy.Policy, error) {
	if adopted {
		return former, nil
	}
	set, err := d.store.read(lastGoodFile)
	if err != nil {
		return nil, errors.Join(reason, err)
	}
	if len(set) == 0 {
		return nil, reason
	}
	d.log.Warn("using the last good policies of the directory", "policies", len(set))
	return set, nil
}

// splitMitigations separates mitigations, which end by themselves, from the other policies.
func splitMitigations(set []policy.Policy, now uint64) (mitigations, lasting []policy.Policy) {
	for _, p := range set {
		if p.Until != 0 {
			mitigations = append(mitigations, p)
		} else {
			lasting = append(lasting, p)
		}
	}
	return unexpired(mitigations, now), lasting
}
