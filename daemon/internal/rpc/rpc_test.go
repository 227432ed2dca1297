//go:build linux

package rpc

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/reflection/grpc_reflection_v1"

	"github.com/ebpfguard/ebpfguard/api/client"
	pb "github.com/ebpfguard/ebpfguard/api/ebpfguard/v1alpha1"
)

// callerEnv makes the test binary one that calls a daemon as somebody else.
const callerEnv = "EBPFGUARD_TEST_CALLER"

func TestMain(m *testing.M) {
	if socket := os.Getenv(callerEnv); socket != "" {
		fmt.Print(callAll(socket))
		return
	}
	os.Exit(m.Run())
}

// callAll returns what becomes of a call that reads, one that changes, and one of the OCI hook.
func callAll(socket string) string {
	c, err := client.Dial(socket)
	if err != nil {
		return err.Error()
	}
	defer c.Close()
	_, err = c.Status(context.Background(), &pb.StatusRequest{})
	text := fmt.Sprint("status: ", err)
	_, err = c.Apply(context.Background(), &pb.ApplyRequest{})
	text += fmt.Sprint("; apply: ", err)
	_, err = c.StartContainer(context.Background(), &pb.StartContainerRequest{})
	return text + fmt.Sprint("; container: ", err)
}

type service struct {
	pb.UnimplementedGuardServiceServer
}

func (service) Status(context.Context, *pb.StatusRequest) (*pb.StatusResponse, error) {
	return &pb.StatusResponse{Host: "here"}, nil
}

func (service) StartContainer(context.Context, *pb.StartContainerRequest) (*pb.StartContainerResponse, error) {
	return &pb.StartContainerResponse{}, nil
}

func (service) Apply(context.Context, *pb.ApplyRequest) (*pb.ApplyResponse, error) {
	return &pb.ApplyResponse{}, nil
}

func (service) List(context.Context, *pb.ListRequest) (*pb.ListResponse, error) { panic("a defect") }

func (service) Watch(_ *pb.WatchRequest, s grpc.ServerStreamingServer[pb.WatchResponse]) error {
	if err := s.Send(&pb.WatchResponse{Event: &pb.WatchResponse_Subscribed{Subscribed: true}}); err != nil {
		return err
	}
	if err := s.Send(&pb.WatchResponse{Event: &pb.WatchResponse_Json{Json: "{}"}}); err != nil {
		return err
	}
	<-s.Context().Done()
	return nil
}

// serve serves at a path that everybody can come to, until the test ends.
func serve(t *testing.T, group string) string {
	t.Helper()
	folder := t.TempDir()
	for dir := folder; dir != os.TempDir() && len(dir) > 1; dir = filepath.Dir(dir) {
		if err := os.Chmod(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	options := Options{Socket: filepath.Join(folder, "s"), Group: group, Log: slog.New(slog.DiscardHandler)}
	s, err := Listen(options)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error)
	go func() { done <- s.Serve(ctx, service{}) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		if _, err := os.Lstat(options.Socket); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("the socket is still there: %v", err)
		}
	})
	return options.Socket
}

// TestWhoMayWhat calls as root, as members of the group that may read, and as others.
func TestWhoMayWhat(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root can become others")
	}
	self := filepath.Join(t.TempDir(), "caller")
	data, err := os.ReadFile("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(self, data, 0o755); err != nil {
		t.Fatal(err)
	}
	for dir := filepath.Dir(self); dir != os.TempDir() && len(dir) > 1; dir = filepath.Dir(dir) {
		if err := os.Chmod(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	const group = 4242
	as := func(t *testing.T, socket string, uid, gid uint32, groups ...uint32) string {
		t.Helper()
		command := exec.Command(self)
		command.Env = append(os.Environ(), callerEnv+"="+socket)
		command.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uid, Gid: gid, Groups: groups}}
		command.Dir = "/"
		out, err := command.Output()
		if err != nil {
			t.Fatal(err)
		}
		return string(out)
	}
	alone, shared := serve(t, ""), serve(t, "0")
	if info, err := os.Stat(alone); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
	if info, err := os.Stat(shared); err != nil || info.Mode().Perm() != 0o660 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
	for _, c := range []struct {
		name, socket, want string
		uid, gid           uint32
	}{
		{"root", alone, "status: <nil>; apply: <nil>; container: <nil>", 0, group},
		{"another user", alone, "may be opened by root", 65534, group},
		{"another user, of root's group", alone, "may be opened by root", 65534, 0},
		{"a user outside of the group", shared, "may be opened by root", 65534, group},
		{"a user of the group", shared, "status: <nil>; apply: user 65534 may not do this: only root may change what is enforced; use sudo; container: user 65534 may not do this", 65534, 0},
	} {
		if got := as(t, c.socket, c.uid, c.gid); !strings.Contains(got, c.want) {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
	}
	// Who may open the socket although in no group: it was left open to all by hand.
	if err := os.Chmod(shared, 0o666); err != nil {
		t.Fatal(err)
	}
	if got := as(t, shared, 65534, group); strings.Count(got, "user 65534 may not do this") != 3 {
		t.Errorf("with an open socket: %q", got)
	}
}

func TestServe(t *testing.T) {
	socket := serve(t, "")
	c, err := client.Dial(socket)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	var answered *client.Error
	if _, err := c.List(ctx, &pb.ListRequest{}); !errors.As(err, &answered) || answered.Code != codes.Internal {
		t.Errorf("a defect: %v", err)
	}
	if s, err := c.Status(ctx, &pb.StatusRequest{}); err != nil || s.GetHost() != "here" {
		t.Errorf("after a defect: %v, %v", s, err)
	}
	if _, err := c.Mitigate(ctx, &pb.MitigateRequest{}); !errors.As(err, &answered) || answered.Code != codes.Unimplemented {
		t.Errorf("what is not implemented: %v", err)
	}
	events, err := c.Watch(ctx, &pb.WatchRequest{})
	if err != nil {
		t.Fatal(err)
	}
	for e, err := range events {
		if err != nil || e.GetJson() != "{}" {
			t.Errorf("%v, %v", e, err)
		}
		break
	}
	if _, err := Listen(Options{Socket: socket}); err == nil || !strings.Contains(err.Error(), "another daemon serves") {
		t.Errorf("a second daemon: %v", err)
	}
	connection, err := grpc.NewClient("unix:"+socket, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	defer connection.Close()
	r, err := grpc_reflection_v1.NewServerReflectionClient(connection).ServerReflectionInfo(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Send(&grpc_reflection_v1.ServerReflectionRequest{MessageRequest: &grpc_reflection_v1.ServerReflectionRequest_ListServices{}}); err != nil {
		t.Fatal(err)
	}
	if answer, err := r.Recv(); err != nil || !strings.Contains(answer.String(), "ebpfguard.v1alpha1.GuardService") {
		t.Errorf("reflection: %v, %v", answer, err)
	}
}

// TestServeEndsWithWatchers ends while somebody watches who would do so for ever.
func TestServeEndsWithWatchers(t *testing.T) {
	s, err := Listen(Options{Socket: filepath.Join(t.TempDir(), "s"), Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	done := make(chan error, 1)
	go func() { done <- s.Serve(ctx, service{}) }()
	c, err := client.Dial(s.options.Socket)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	events, err := c.Watch(context.Background(), &pb.WatchRequest{})
	if err != nil {
		t.Fatal(err)
	}
	cancel()
	select {
	case err := <-done:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(endTime + 2*time.Minute):
		t.Fatal("it waits for the watcher")
	}
	var last error
	for _, err := range events {
		last = err
	}
	if !errors.Is(last, client.ErrNoDaemon) {
		t.Errorf("the watcher ended with %v", last)
	}
}

// TestListen has what may be at the socket's path.
func TestListen(t *testing.T) {
	path := filepath.Join(t.TempDir(), "new", "s")
	if _, err := client.Dial(path); !errors.Is(err, client.ErrNoDaemon) {
		t.Errorf("without a daemon: %v", err)
	}
	if err := os.Mkdir(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	left, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	left.SetUnlinkOnClose(false)
	if err := left.Close(); err != nil {
		t.Fatal(err)
	}
	s, err := Listen(Options{Socket: path})
	if err != nil {
		t.Fatalf("with a socket that was left: %v", err)
	}
	if err := s.listener.Close(); err != nil {
		t.Error(err)
	}
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Listen(Options{Socket: path}); err == nil || !strings.Contains(err.Error(), "is not a socket") {
		t.Errorf("a file is there: %v", err)
	}
	if _, err := Listen(Options{Socket: path, Group: "no such group"}); err == nil || !strings.Contains(err.Error(), "there is no group") {
		t.Errorf("an unknown group: %v", err)
	}
}
