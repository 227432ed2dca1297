package daemon

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"

	"github.com/ebpfguard/ebpfguard"
	"github.com/ebpfguard/ebpfguard/api/client"
	pb "github.com/ebpfguard/ebpfguard/api/ebpfguard/v1alpha1"
	"github.com/ebpfguard/ebpfguard/daemon/config"
)

// TestStarting asks a daemon that still loads its programs.
func TestStarting(t *testing.T) {
	w := newWorld(t)
	opened := make(chan struct{})
	d, err := New(w.config, Options{Open: func(ebpfguard.Options) (Guard, error) {
		<-opened
		return w.guard, nil
	}})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	ended := make(chan error, 1)
	go func() { ended <- d.Run(ctx) }()
	var c *client.Client
	for c == nil {
		if c, err = client.Dial(w.config.Socket); err != nil {
			if ctx.Err() != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Millisecond)
		}
	}
	defer c.Close()
	conn, err := grpc.NewClient("unix:"+w.config.Socket, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	healthy := func() healthpb.HealthCheckResponse_ServingStatus {
		t.Helper()
		r, err := healthpb.NewHealthClient(conn).Check(ctx, &healthpb.HealthCheckRequest{Service: "ebpfguard.v1alpha1.GuardService"})
		if err != nil {
			t.Fatal(err)
		}
		return r.GetStatus()
	}
	if s, err := c.Status(ctx, &pb.StatusRequest{}); err != nil || s.GetState() != pb.StatusResponse_STATE_STARTING || s.GetPid() == 0 {
		t.Errorf("%v, status %v", err, s)
	}
	var answer *client.Error
	if _, err := c.List(ctx, &pb.ListRequest{}); !errors.As(err, &answer) || answer.Code != codes.Unavailable || !strings.HasPrefix(err.Error(), "the daemon is starting") {
		t.Errorf("list: %v", err)
	}
	if _, err := c.Watch(ctx, &pb.WatchRequest{}); err == nil || !strings.HasPrefix(err.Error(), "the daemon is starting") {
		t.Errorf("watch: %v", err)
	}
	if got := healthy(); got != healthpb.HealthCheckResponse_NOT_SERVING {
		t.Errorf("health is %v", got)
	}
	close(opened)
	for {
		if s, err := c.Status(ctx, &pb.StatusRequest{}); err == nil && s.GetState() == pb.StatusResponse_STATE_ENFORCING {
			break
		} else if err != nil {
			t.Fatal(err)
		}
	}
	if _, err := c.List(ctx, &pb.ListRequest{}); err != nil {
		t.Errorf("list: %v", err)
	}
	for healthy() != healthpb.HealthCheckResponse_SERVING {
		time.Sleep(time.Millisecond)
	}
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

// TestReload expects to hear what was refused.
func TestReload(t *testing.T) {
	w := newWorld(t)
	var wrong error
	i, err := w.try(func() (config.Config, error) { return w.config, wrong })
	if err != nil {
		t.Fatal(err)
	}
	reload := func() error {
		t.Helper()
		_, err := i.Reload(t.Context(), &pb.ReloadRequest{})
		return err
	}
	if err := reload(); err != nil {
		t.Error(err)
	}
	wrong = fmt.Errorf("c.yaml:1:2: it is wrong")
	if err := reload(); status.Code(err) != codes.FailedPrecondition || !strings.Contains(err.Error(), "the configuration was NOT reloaded") || !strings.Contains(err.Error(), "c.yaml:1:2") {
		t.Errorf("got %v", err)
	}
	wrong = nil
	w.write("f.yaml", bind("f", 70000))
	if err := reload(); err == nil || !strings.Contains(err.Error(), "port 70000") {
		t.Errorf("got %v", err)
	}
	w.write("f.yaml", bind("f", 7))
	if err := reload(); err != nil {
		t.Error(err)
	}
	i.want("f")
}

// TestMitigationBegins expects that a mitigation lasts from when it is in force.
func TestMitigationBegins(t *testing.T) {
	w := newWorld(t)
	i := w.start()
	now := withClock(i)
	w.guard.mu.Lock()
	w.guard.begins = sync.OnceFunc(func() { now.Add(uint64(20 * time.Second)) })
	w.guard.mu.Unlock()
	m, err := i.Mitigate(t.Context(), &pb.MitigateRequest{Profile: pb.MitigateRequest_PROFILE_NO_NETWORK, Ttl: minute(), Subject: &pb.MitigateRequest_User{User: "7"}})
	if err != nil || m.GetMitigation().GetLeft().AsDuration() != time.Minute {
		t.Errorf("%v, mitigation %v", err, m)
	}
}
