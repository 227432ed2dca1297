package daemon

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/ebpfguard/ebpfguard"
	pb "github.com/ebpfguard/ebpfguard/api/ebpfguard/v1alpha1"
	"github.com/ebpfguard/ebpfguard/daemon/internal/rpc"
	"github.com/ebpfguard/ebpfguard/internal/machine"
	"github.com/ebpfguard/ebpfguard/policy"
)

// service answers the calls of the API. Who may call what is decided before.
type service struct {
	pb.UnimplementedGuardServiceServer
	d *Daemon
}

// Apply implements [pb.GuardServiceServer].
func (s *service) Apply(ctx context.Context, request *pb.ApplyRequest) (*pb.ApplyResponse, error) {
	set, err := read(request)
	if err != nil {
		return nil, rpc.Invalid("%v", err)
	}
	if err := checkPersistable(set); err != nil {
		return nil, rpc.Invalid("%v", err)
	}
	within, err := checkConfirm(request)
	if err != nil {
		return nil, err
	}
	d := s.d
	defer d.lockAll()()
	for _, p := range set {
		switch origin, owned := d.sets.origin(p.Name); origin {
		case pb.Origin_ORIGIN_FILE:
			return nil, status.Errorf(codes.FailedPrecondition, "policy %q belongs to a file (%s); change it there, or choose another name", p.Name, owned.Source)
		case pb.Origin_ORIGIN_MITIGATION:
			return nil, status.Errorf(codes.FailedPrecondition, "policy %q is a mitigation; lift it, wait until it expires, or choose another name", p.Name)
		case pb.Origin_ORIGIN_CLUSTER:
			return nil, status.Errorf(codes.FailedPrecondition, "policy %q belongs to the cluster (%s); choose another name", p.Name, owned.Source)
		}
	}
	next := d.sets
	if request.GetReplace() {
		next.applied = set
	} else {
		next.applied = merge(d.sets.applied, set)
	}
	changes, err := d.change(ctx, next, changeOptions{
		dryRun: request.GetDryRun(), force: request.GetForce(), within: within,
		how: "allow what is needed, set mode: audit to see what would be refused, try it with --confirm 2m, which takes it back by itself unless you confirm it, or add --force",
	})
	if err != nil {
		return nil, err
	}
	response := &pb.ApplyResponse{Changes: changes, Unconfirmed: d.unconfirmed()}
	warnings := slices.DeleteFunc(policy.Warnings(next.all()), func(w policy.Warning) bool { return indexOf(set, w.Policy) < 0 })
	for _, w := range append(warnings, machine.Warnings(set)...) {
		response.Warnings = append(response.Warnings, w.String())
	}
	return response, nil
}

// read returns the policies of a request.
func read(request *pb.ApplyRequest) ([]policy.Policy, error) {
	files := request.GetFiles()
	switch {
	case len(files) > 0 && request.GetYaml() != "":
		return nil, errors.New("the request has yaml and files; send one of them")
	case len(files) == 0 && request.GetReplace() && strings.TrimSpace(request.GetYaml()) == "":
		return nil, nil // nothing replaces all
	case len(files) == 0:
		files = []*pb.PolicyFile{{Name: request.GetName(), Yaml: request.GetYaml()}}
	}
	var set []policy.Policy
	var errs []error
	for _, file := range files {
		policies, err := policy.Parse(cmp.Or(file.GetName(), "request"), []byte(file.GetYaml()))
		set, errs = append(set, policies...), append(errs, err)
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	return set, policy.Validate(set) // those of two files may have the same name
}

// merge replaces policies by name, in their places, and adds the others.
func merge(set, with []policy.Policy) []policy.Policy {
	merged := slices.Clone(set)
	for _, p := range with {
		if i := indexOf(merged, p.Name); i >= 0 {
			merged[i] = p
		} else {
			merged = append(merged, p)
		}
	}
	return merged
}

// Delete implements [pb.GuardServiceServer].
func (s *service) Delete(ctx context.Context, request *pb.DeleteRequest) (*pb.DeleteResponse, error) {
	if len(request.GetNames()) == 0 {
		return nil, rpc.Invalid("the request names no policy; name at least one")
	}
	d := s.d
	defer d.lockAll()()
	next := d.sets
	for _, name := range request.GetNames() {
		switch origin, p := d.sets.origin(name); origin {
		case pb.Origin_ORIGIN_APPLIED:
			next.applied = slices.DeleteFunc(slices.Clone(next.applied), func(p policy.Policy) bool { return p.Name == name })
		case pb.Origin_ORIGIN_FILE:
			return nil, status.Errorf(codes.FailedPrecondition, "policy %q belongs to a file (%s); remove it there", name, p.Source)
		case pb.Origin_ORIGIN_MITIGATION:
			return nil, status.Errorf(codes.FailedPrecondition, "policy %q is a mitigation; lift it", name)
		case pb.Origin_ORIGIN_CLUSTER:
			return nil, status.Errorf(codes.FailedPrecondition, "policy %q belongs to the cluster (%s); delete that with kubectl", name, p.Source)
		default:
			return nil, notFound(name)
		}
	}
	changes, err := d.change(ctx, next, changeOptions{
		dryRun: request.GetDryRun(), force: request.GetForce(), how: "keep the exception, or delete what refuses as well; --force deletes it nevertheless",
	})
	if err != nil {
		return nil, err
	}
	return &pb.DeleteResponse{Changes: changes}, nil
}

func notFound(name string) error {
	return status.Errorf(codes.NotFound, "there is no policy %q; ebpfguard get lists those in force", name)
}

// changeOptions say how applied policies change.
type changeOptions struct {
	dryRun bool
	// force changes them even if that locks out; how says what else can be done.
	force bool
	how   string
	// within, if not 0, is how long the change waits to be confirmed.
	within time.Duration
}

// change puts in force what was applied, and remembers it before. The caller holds mu.
func (d *Daemon) change(ctx context.Context, next sets, o changeOptions) (*pb.Changes, error) {
	if err := errors.Join(d.checkRunning(), d.checkTrial()); err != nil {
		return nil, err
	}
	next = next.at(d.now())
	before, after := d.sets.applied, next.applied
	changes := compare(before, after)
	changes.Revision = d.revision
	if err := policy.Validate(next.all()); err != nil {
		return nil, rpc.Invalid("%v", err)
	}
	if !changed(changes) && !d.stale {
		if !o.dryRun && d.isProblem(problemApplied) { // the file is not what it should be
			if err := d.store.write(appliedFile, after); err != nil {
				return nil, saveError(err)
			}
			d.solved(problemApplied)
		}
		return changes, nil
	}
	next, retried := d.retryDirectory(next)
	if !o.force {
		if err := d.answerLockout(ctx, d.sets.all(), next.all(), o.within != 0, o.how); err != nil {
			return nil, err
		}
	}
	var err error
	if changes.Diff, err = policy.Diff(before, after); err != nil {
		return nil, status.Errorf(codes.Internal, "compare the policies: %v", err)
	}
	if o.dryRun {
		return changes, d.dryRun(next)
	}
	if o.within != 0 {
		err := d.try(next, o.within)
		if err == nil {
			retried()
		}
		changes.Revision = d.revision
		return changes, err
	}
	if err := d.store.write(appliedFile, after); err != nil {
		return nil, saveError(err)
	}
	if err := d.publish(next); err != nil {
		return nil, guardError(errors.Join(err, d.restore(before)))
	}
	retried()
	d.solved(problemApplied)
	changes.Revision = d.revision
	d.log.Info("applied policies changed", "revision", d.revision, "added", changes.GetAdded(), "changed", changes.GetChanged(), "removed", changes.GetRemoved())
	return changes, nil
}

// checkRunning refuses calls when the daemon is shutting down. The caller holds mu.
func (d *Daemon) checkRunning() error {
	if d.ended {
		return status.Error(codes.Unavailable, "the daemon is shutting down; try again when it is back")
	}
	return nil
}

// dryRun reports whether the guard would take what is to be applied, and whether it could
// be remembered. The caller holds mu.
func (d *Daemon) dryRun(next sets) error {
	if err := d.store.prepare(); err != nil {
		return saveError(err)
	}
	next.mitigations = unexpired(next.mitigations, d.now())
	d.publishing.Store(time.Now().UnixNano()) // it takes as long
	err := d.guard.Check(next.all())
	d.publishing.Store(0)
	d.tidy.Reset(tidyTime)
	if err != nil {
		return guardError(err)
	}
	return nil
}

func saveError(err error) error {
	return status.Errorf(codes.Internal, "nothing changed, because the daemon could not save it: %v", err)
}

// guardError is the answer when the guard did not take a set.
func guardError(err error) error {
	code := codes.FailedPrecondition
	if errors.Is(err, ebpfguard.ErrClosed) {
		code = codes.Unavailable
	}
	return status.Error(code, err.Error())
}
