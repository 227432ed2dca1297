package daemon

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/ebpfguard/ebpfguard/daemon/config"
	"github.com/ebpfguard/ebpfguard/daemon/internal/rpc"
	"github.com/ebpfguard/ebpfguard/daemon/lockout"
	"github.com/ebpfguard/ebpfguard/policy"
)

// lockoutError says what policies would refuse that is needed.
type lockoutError struct{ refused []lockout.Refusal }

func (e *lockoutError) Error() string {
	return "this would lock you out of this machine: " + lockout.Describe(e.refused)
}

// startError says what policies would refuse to the guard when it starts again in its own container.
type startError struct{ refused []lockout.Refusal }

func (e *startError) Error() string {
	return "this would keep the guard from starting again, since nobody knows its container then: " + lockout.Describe(e.refused) +
		"; with 'identified: true' a subject leaves such a container alone"
}

// checkLockout returns a [*lockoutError] or a [*startError] for policies that would newly lock out.
func (d *Daemon) checkLockout(caller uint32, former, next []policy.Policy) error {
	refused, err := lockout.Check(d.lockoutOptions(caller), former, next)
	if err != nil {
		// What the policies say is not wrong; the one who applies them hears what could not be found out.
		d.log.Warn("cannot find out whether the policies lock out", "error", err)
		return nil
	}
	if len(refused) > 0 {
		return &lockoutError{refused}
	}
	if !d.inContainer() {
		return nil
	}
	o := d.lockoutOptions(0)
	o.Unidentified = true
	if refused, err = lockout.Check(o, former, next); err != nil {
		d.log.Warn("cannot find out whether the policies keep the guard from starting again", "error", err)
	} else if len(refused) > 0 {
		return &startError{refused}
	}
	return nil
}

// letGuardStart has policies of containers leave alone what is in a container of which nothing is known, where they would
// keep the guard from starting again in a pod: it is in such a container until it has told itself of all that run.
func (d *Daemon) letGuardStart(set []policy.Policy) []policy.Policy {
	if !d.inContainer() || d.configuration().AllowLockout {
		return set
	}
	var situation *lockout.Situation
	set = slices.Clone(set)
	for i := range set {
		s := &set[i].Subject
		if s.Identified || s.Inside().IsZero() {
			continue
		}
		if situation == nil {
			o := d.lockoutOptions(0)
			o.Unidentified = true
			var err error
			if situation, err = lockout.Look(o); err != nil {
				d.log.Warn("cannot find out whether the policies keep the guard from starting again", "error", err)
				return set
			}
		}
		if refused, err := situation.Refused(nil, set[i:i+1]); err == nil && len(refused) > 0 {
			d.log.Warn("the policy would keep the guard from starting again, so it does not concern containers that start while no guard runs", "policy", set[i].Name)
			s.Identified = true
		}
	}
	return set
}

// inContainer reports whether the daemon runs in a container.
func (d *Daemon) inContainer() bool { return d.place.HostRoot != "" }

// lockoutOptions say what the guard needs of this machine.
func (d *Daemon) lockoutOptions(caller uint32) lockout.Options {
	c := d.configuration()
	o := lockout.Options{Caller: caller, Machine: d.machine(), Changes: []string{c.Socket}, Reads: []string{c.Policies, "/sys/kernel/btf/vmlinux"}}
	if c.Pins != "" {
		o.Changes = append(o.Changes, c.Pins, filepath.Join(c.Pins, "maps"))
	}
	if c.State != "" {
		o.Changes = append(o.Changes, filepath.Join(c.State, appliedFile))
	}
	if _, err := os.Stat(config.DefaultFile); err == nil {
		o.Reads = append(o.Reads, config.DefaultFile)
	}
	if c.Kubernetes {
		o.Servers, o.Reads = d.apiServer.servers, append(o.Reads, d.apiServer.files...)
	}
	return o
}

// answerLockout is checkLockout for a call, with how to go on. A change that is taken back by itself may
// lock out, but not kill what nothing brings back.
func (d *Daemon) answerLockout(ctx context.Context, former, next []policy.Policy, unconfirmed bool, how string) error {
	caller, _ := rpc.CallerPID(ctx)
	if err := d.checkLockout(caller, former, next); err != nil && (!unconfirmed || fatal(err)) {
		return status.Errorf(codes.FailedPrecondition, "nothing changed: %v; %s", err, how)
	}
	return nil
}

// fatal reports whether an error is about what not even time brings back.
func fatal(err error) bool {
	var locked *lockoutError
	return errors.As(err, &locked) && lockout.Fatal(locked.refused)
}

// checkFiles returns why the policies of the directory must not come into force: what is in force
// already does not count.
func (d *Daemon) checkFiles(former, next []policy.Policy) error {
	if d.configuration().AllowLockout {
		return nil
	}
	if err := d.checkLockout(0, former, next); err != nil {
		return fmt.Errorf("%w; allow what is needed, set mode: audit to see what would be refused, or set allow_lockout: true in the configuration", err)
	}
	return nil
}

// checkMitigation refuses a mitigation that locks out. Whoever names a process by its number means
// that one, be it a shell of one's own.
func (d *Daemon) checkMitigation(ctx context.Context, next sets) error {
	if last := next.mitigations[len(next.mitigations)-1]; len(last.Subject.Processes) > 0 {
		ctx = context.Background()
	}
	return d.answerLockout(ctx, d.sets.all(), next.all(), false, "choose another subject, forbid less, set audit (--audit) to see what would be refused, or add --force: it ends by itself")
}
