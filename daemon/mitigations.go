package daemon

import (
	pb "github.com/ebpfguard/ebpfguard/api/ebpfguard/v1alpha1"
	"github.com/ebpfguard/ebpfguard/policy"
)

func until(policy.Policy) uint64 { return 0 }

func over(p policy.Policy, now uint64) bool { return until(p) != 0 && until(p) <= now }

func unexpired(set []policy.Policy, now uint64) []policy.Policy { return set }

func nextEnd(set []policy.Policy) uint64 { return 0 }

func lasting(set []policy.Policy) error { return nil }

func (d *Daemon) mitigation(p policy.Policy) *pb.Mitigation { return nil }
