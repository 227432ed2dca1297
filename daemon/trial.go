package daemon

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	pb "github.com/ebpfguard/ebpfguard/api/ebpfguard/v1alpha1"
	"github.com/ebpfguard/ebpfguard/daemon/internal/rpc"
	"github.com/ebpfguard/ebpfguard/internal/duration"
	"github.com/ebpfguard/ebpfguard/policy"
)

// trial is a change of the applied policies that is taken back at a time unless it is confirmed.
// The kernel has both until then: what is new ends at that time, and what was there before begins then.
// So nobody has to run.
type trial struct {
	// former are the applied policies that come back.
	former []policy.Policy
	until  uint64
}

// rollbackPrefix is how the policies are called in the kernel that come back; two of one name cannot be.
const rollbackPrefix = "rollback/"

// unconfirmedFile of the state directory has the applied policies that wait to be confirmed, so that
// a daemon that starts takes them back rather than for mitigations.
const unconfirmedFile = "unconfirmed.yaml"

// How long a change may wait to be confirmed.
const (
	shortestConfirm = time.Second
	longestConfirm  = 24 * time.Hour
)

// inForce returns what the guard is to enforce.
func (s sets) inForce() []policy.Policy {
	if s.trial == nil {
		return s.all()
	}
	var next []policy.Policy
	for _, p := range s.applied {
		if i := indexOf(s.trial.former, p.Name); i < 0 || !policy.Equal(s.trial.former[i], p) {
			p.Until = s.trial.until
		}
		next = append(next, p)
	}
	for _, p := range s.trial.former {
		if i := indexOf(s.applied, p.Name); i < 0 || !policy.Equal(s.applied[i], p) {
			p.Name, p.From = rollbackPrefix+p.Name, s.trial.until
			next = append(next, p)
		}
	}
	s.applied = next
	return s.all()
}

// at returns the sets as they are at a time: a trial that is over has been taken back.
func (s sets) at(now uint64) sets {
	s.mitigations = unexpired(s.mitigations, now)
	if s.trial != nil && s.trial.until <= now {
		s.applied, s.trial = s.trial.former, nil
	}
	return s
}

// settle returns what a former daemon left in force without the rest of a trial: the policies that
// waited to be confirmed are gone, and those that would have come back are there.
func settle(left, unconfirmed []policy.Policy) []policy.Policy {
	var settled []policy.Policy
	for _, p := range left {
		if p.From != 0 {
			p.Name, p.From = strings.TrimPrefix(p.Name, rollbackPrefix), 0
		}
		if p.Until == 0 || indexOf(unconfirmed, p.Name) < 0 {
			settled = append(settled, p)
		}
	}
	return settled
}

// try puts applied policies in force that are taken back after a time. The caller holds mu.
func (d *Daemon) try(next sets, within time.Duration) error {
	if err := d.store.write(unconfirmedFile, next.applied); err != nil {
		return saveError(err)
	}
	err := d.publishFor(within, func(until uint64) sets {
		next.trial = &trial{former: d.formerOf(), until: until}
		return next
	})
	if err != nil {
		return errors.Join(guardError(err), d.store.write(unconfirmedFile, nil))
	}
	d.log.Warn("the applied policies are in force until they are confirmed", "revision", d.revision, "left", duration.Text(within), "policies", names(next.applied))
	d.notifyStatus()
	return nil
}

// formerOf returns the applied policies that stay if nothing is confirmed.
func (d *Daemon) formerOf() []policy.Policy {
	if d.sets.trial != nil {
		return d.sets.trial.former
	}
	return d.sets.applied
}

// publishFor puts sets in force that end after a time, which counts from when they are in force: the
// first policies of an operation take long to load. The caller holds mu.
func (d *Daemon) publishFor(lasting time.Duration, with func(until uint64) sets) error {
	const late = 200 * time.Millisecond
	for range 3 {
		began := d.now()
		err := d.publish(with(began + uint64(lasting)))
		if err != nil || d.now()-began <= uint64(late) {
			return err
		}
	}
	return nil
}

// checkTrial refuses another change while one waits. The caller holds mu.
func (d *Daemon) checkTrial() error {
	if d.sets.at(d.now()).trial == nil {
		return nil
	}
	left := time.Duration(d.sets.trial.until - min(d.sets.trial.until, d.now()))
	return status.Errorf(codes.FailedPrecondition, "a change waits to be confirmed for %s more; run 'ebpfguard confirm' to keep it, or 'ebpfguard confirm --rollback' to take it back", duration.Rough(left))
}

// unconfirmed returns what the API tells of a trial; nil without one. The caller holds mu.
func (d *Daemon) unconfirmed() *pb.Unconfirmed {
	now := d.now()
	if d.sets.at(now).trial == nil {
		return nil
	}
	left := time.Duration(d.sets.trial.until - now)
	return &pb.Unconfirmed{Ends: timestamppb.New(time.Now().Add(left)), Left: durationpb.New(left)}
}

// checkConfirm returns how long a change waits to be confirmed; 0 if it need not be.
func checkConfirm(request *pb.ApplyRequest) (time.Duration, error) {
	if request.GetConfirmWithin() == nil {
		return 0, nil
	}
	within := request.GetConfirmWithin().AsDuration()
	if err := request.GetConfirmWithin().CheckValid(); err != nil || within < shortestConfirm || within > longestConfirm {
		return 0, rpc.Invalid("a change cannot wait %s to be confirmed; choose from %s to %s", duration.Text(within), duration.Text(shortestConfirm), duration.Text(longestConfirm))
	}
	return within, nil
}

// Confirm implements [pb.GuardServiceServer].
func (s *service) Confirm(_ context.Context, request *pb.ConfirmRequest) (*pb.ConfirmResponse, error) {
	d := s.d
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.checkRunning(); err != nil {
		return nil, err
	}
	if d.sets.at(d.now()).trial == nil {
		return nil, status.Error(codes.FailedPrecondition, "no change waits to be confirmed: either none was made with --confirm, or its time is over and it was taken back; 'ebpfguard get' lists what is in force")
	}
	next, before := d.sets, d.sets.trial.former
	next.trial = nil
	if request.GetRollback() {
		next.applied = before
		changes := compare(d.sets.applied, before)
		if err := d.publish(next); err != nil {
			return nil, guardError(err)
		}
		d.log.Warn("the unconfirmed change was taken back", "revision", d.revision)
		changes.Revision = d.revision
		return &pb.ConfirmResponse{Changes: changes}, d.forgetTrial()
	}
	changes := compare(before, next.applied)
	if err := d.store.write(appliedFile, next.applied); err != nil {
		return nil, saveError(err)
	}
	if err := d.publish(next); err != nil {
		return nil, guardError(errors.Join(err, d.restore(before)))
	}
	d.log.Info("the change was confirmed", "revision", d.revision)
	changes.Revision = d.revision
	return &pb.ConfirmResponse{Changes: changes}, d.forgetTrial()
}

// restore writes again what was applied before a change that failed.
func (d *Daemon) restore(before []policy.Policy) error {
	if err := d.store.write(appliedFile, before); err != nil {
		return fmt.Errorf("the file could not be restored, so the next start tries the new policies: %w", err)
	}
	return nil
}

// forgetTrial removes the file of an unconfirmed change.
func (d *Daemon) forgetTrial() error {
	if err := d.store.write(unconfirmedFile, nil); err != nil {
		return saveError(err)
	}
	return nil
}
