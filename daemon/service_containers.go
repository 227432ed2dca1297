package daemon

import (
	"context"
	"slices"
	"strings"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/timestamppb"

	pb "github.com/ebpfguard/ebpfguard/api/ebpfguard/v1alpha1"
	"github.com/ebpfguard/ebpfguard/daemon/containers"
	"github.com/ebpfguard/ebpfguard/daemon/internal/rpc"
	"github.com/ebpfguard/ebpfguard/internal/procfs"
	"github.com/ebpfguard/ebpfguard/policy"
)

// StartContainer implements [pb.GuardServiceServer]. It waits until the daemon's first policies are in force, but for the
// kernel only after that.
func (s *service) StartContainer(ctx context.Context, request *pb.StartContainerRequest) (*pb.StartContainerResponse, error) {
	if request.GetContainer().GetId() == "" {
		return nil, rpc.Invalid("the request names no container; send its id")
	}
	if err := s.d.awaitTable(ctx); err != nil {
		return nil, err
	}
	c := containers.Container{Container: containerOf(request.GetContainer()), Cgroup: request.GetCgroup(), Running: request.GetRunning()}
	if c.Cgroup == "" && request.GetPid() != 0 {
		c.Cgroup = procfs.Cgroup(request.GetPid())
	}
	if !c.Running {
		select {
		case <-s.d.containers.table.InForce():
		case <-ctx.Done():
			return nil, status.FromContextError(ctx.Err()).Err()
		}
	}
	response := &pb.StartContainerResponse{}
	if err := s.d.containers.runner.Tell(hookSource, c); err != nil {
		response.Problem, response.Refused = utf8Text(err.Error()), s.d.containers.table.Closed()
	}
	return response, nil
}

// StopContainer implements [pb.GuardServiceServer].
func (s *service) StopContainer(ctx context.Context, request *pb.StopContainerRequest) (*pb.StopContainerResponse, error) {
	if err := s.d.awaitTable(ctx); err != nil {
		return nil, err
	}
	s.d.containers.table.Stop(hookSource, request.GetId())
	return &pb.StopContainerResponse{}, nil
}

// awaitTable waits until the guard can be told of containers.
func (d *Daemon) awaitTable(ctx context.Context) error {
	select {
	case <-d.containers.open:
		return nil
	case <-ctx.Done():
		return status.FromContextError(ctx.Err()).Err()
	}
}

// ListContainers implements [pb.GuardServiceServer].
func (s *service) ListContainers(context.Context, *pb.ListContainersRequest) (*pb.ListContainersResponse, error) {
	response := &pb.ListContainersResponse{}
	for _, k := range s.d.containers.table.Known() {
		response.Containers = append(response.Containers, &pb.KnownContainer{
			Container: containerMessage(k.Container), Cgroups: utf8Texts(k.Cgroups), Sources: k.Sources, Since: timestamppb.New(k.Since),
		})
	}
	return response, nil
}

// idLength is how much of an id is enough: what docker and podman print.
const idLength = 12

// findContainer returns the containers with a name, or that with an id or the first characters of one.
func (d *Daemon) findContainer(text string) ([]policy.Container, error) {
	var found []policy.Container
	for _, k := range d.containers.table.Known() {
		if k.Name == text || k.ID == text || len(text) >= idLength && strings.HasPrefix(k.ID, text) {
			found = append(found, k.Container)
		}
	}
	if len(found) == 0 {
		return nil, status.Errorf(codes.NotFound, "no container %q is known; 'ebpfguard containers' lists those that are", text)
	}
	return found, nil
}

// concerns reports whether a policy is about one of some containers, not only of everything.
func concerns(p policy.Policy, some []policy.Container) bool {
	in := p.Subject.Inside()
	return !in.IsZero() && slices.ContainsFunc(some, in.Selects)
}

func containerOf(m *pb.Container) policy.Container {
	c := policy.Container{
		ID: m.GetId(), Name: m.GetName(), Image: m.GetImage(), ImageDigest: m.GetImageDigest(), Labels: m.GetLabels(), Runtime: m.GetRuntime(),
	}
	if pod := m.GetPod(); pod != nil {
		c.Pod = &policy.Pod{
			Namespace: pod.GetNamespace(), Name: pod.GetName(), UID: pod.GetUid(), Labels: pod.GetLabels(),
			ServiceAccount: pod.GetServiceAccount(), Owners: pod.GetOwners(), Partial: pod.GetPartial(),
		}
	}
	return c
}

func containerMessage(c policy.Container) *pb.Container {
	m := &pb.Container{
		Id: utf8Text(c.ID), Name: utf8Text(c.Name), Image: utf8Text(c.Image), ImageDigest: utf8Text(c.ImageDigest), Labels: utf8Labels(c.Labels), Runtime: utf8Text(c.Runtime),
	}
	if c.Pod != nil {
		m.Pod = &pb.Pod{
			Namespace: utf8Text(c.Pod.Namespace), Name: utf8Text(c.Pod.Name), Uid: utf8Text(c.Pod.UID), Labels: utf8Labels(c.Pod.Labels),
			ServiceAccount: utf8Text(c.Pod.ServiceAccount), Owners: utf8Texts(c.Pod.Owners), Partial: c.Pod.Partial,
		}
	}
	return m
}

func utf8Labels(labels map[string]string) map[string]string {
	var all map[string]string
	for key, value := range labels {
		if all == nil {
			all = make(map[string]string, len(labels))
		}
		all[utf8Text(key)] = utf8Text(value)
	}
	return all
}
