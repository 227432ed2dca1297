package ocihook

import (
	pb "github.com/ebpfguard/ebpfguard/api/ebpfguard/v1alpha1"
	"github.com/ebpfguard/ebpfguard/policy"
)

// message returns a container as the daemon's API has it.
func message(c policy.Container) *pb.Container {
	m := &pb.Container{Id: c.ID, Name: c.Name, Image: c.Image, ImageDigest: c.ImageDigest, Labels: c.Labels, Runtime: c.Runtime}
	if c.Pod != nil {
		m.Pod = &pb.Pod{Namespace: c.Pod.Namespace, Name: c.Pod.Name, Uid: c.Pod.UID, Labels: c.Pod.Labels}
	}
	return m
}
