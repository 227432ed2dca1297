package daemon

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	pb "github.com/ebpfguard/ebpfguard/api/ebpfguard/v1alpha1"
	"github.com/ebpfguard/ebpfguard/daemon/mitigate"
	"github.com/ebpfguard/ebpfguard/policy"
)

// expired reports whether a policy has ended.
func expired(p policy.Policy, now uint64) bool { return p.Until != 0 && p.Until <= now }

// unexpired returns the policies that have not ended.
func unexpired(set []policy.Policy, now uint64) []policy.Policy {
	return slices.DeleteFunc(slices.Clone(set), func(p policy.Policy) bool { return expired(p, now) })
}

// nextEnd returns when the next policy ends; 0 if none does.
func nextEnd(set []policy.Policy) uint64 {
	var next uint64
	for _, p := range set {
		if p.Until != 0 && (next == 0 || p.Until < next) {
			next = p.Until
		}
	}
	return next
}

// checkPersistable returns what is wrong with policies that shall outlive this boot: what names a
// time or a process of it is for mitigations.
func checkPersistable(set []policy.Policy) error {
	var errs []error
	for _, p := range set {
		for _, wrong := range []struct {
			is   bool
			what string
		}{{p.Until != 0, "until"}, {len(p.Subject.Processes) > 0, "processes"}} {
			if wrong.is {
				errs = append(errs, &policy.Error{Source: p.Source, Policy: p.Name, Rule: -1, Err: fmt.Errorf(
					"%s means nothing after the next boot, but a policy outlives that; use ebpfguard mitigate", wrong.what)})
			}
		}
	}
	return errors.Join(errs...)
}

// mitigation returns a mitigation as the API describes it.
func (d *Daemon) mitigation(p policy.Policy) *pb.Mitigation {
	left := time.Duration(p.Until - min(p.Until, d.now()))
	return &pb.Mitigation{
		Name: p.Name, Profile: mitigate.ProfileOf(p), Subject: mitigate.DescribeSubject(p.Subject),
		Expires: timestamppb.New(time.Now().Add(left)), Left: durationpb.New(left),
	}
}
