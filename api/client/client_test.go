package client_test

import (
	"context"
	"errors"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/ebpfguard/ebpfguard/api/client"
	pb "github.com/ebpfguard/ebpfguard/api/ebpfguard/v1alpha1"
)

// folder is short enough for sockets, which those of tests are not always.
func folder(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "client")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

// TestNoDaemon has what may be at the socket's path: each error says what to do, and what
// the operating system said can be told from it.
func TestNoDaemon(t *testing.T) {
	dir := folder(t)
	left := filepath.Join(dir, "left")
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: left, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	l.SetUnlinkOnClose(false)
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		path, want string
		cause      error
	}{
		{filepath.Join(dir, "none"), "no daemon answers on " + dir + "/none; start it with 'systemctl start ebpfguard', or name another socket", fs.ErrNotExist},
		{left, "no daemon answers on " + left + "; start it with 'systemctl start ebpfguard', or name another socket", syscall.ECONNREFUSED},
		{file, "no daemon answers on " + file, syscall.ECONNREFUSED}, // connect(2) says so of a file, too
		{filepath.Join(dir, strings.Repeat("x", 200)), "no daemon can be asked on " + dir, syscall.EINVAL},
	} {
		_, err := client.Dial(test.path)
		if !errors.Is(err, client.ErrNoDaemon) || !errors.Is(err, test.cause) || !strings.HasPrefix(err.Error(), test.want) {
			t.Errorf("%s: %v, want %q", test.path, err, test.want)
		}
	}
}

// server answers with errors.
type server struct {
	pb.UnimplementedGuardServiceServer
}

func (server) Get(context.Context, *pb.GetRequest) (*pb.GetResponse, error) {
	return nil, status.Error(codes.NotFound, "there is none; look")
}

func (server) Delete(context.Context, *pb.DeleteRequest) (*pb.DeleteResponse, error) {
	return nil, status.Error(codes.Unavailable, "it is ending")
}

func (server) Status(ctx context.Context, _ *pb.StatusRequest) (*pb.StatusResponse, error) {
	<-ctx.Done()
	return nil, ctx.Err()
}

func TestErrors(t *testing.T) {
	path := filepath.Join(folder(t), "s")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	s := grpc.NewServer()
	pb.RegisterGuardServiceServer(s, server{})
	go func() { _ = s.Serve(l) }()
	defer s.Stop()
	c, err := client.Dial(path)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	_, notFound := c.Get(ctx, &pb.GetRequest{})
	_, unknown := c.List(ctx, &pb.ListRequest{})
	_, large := c.Apply(ctx, &pb.ApplyRequest{Yaml: strings.Repeat("#", 64<<20+1)})
	for _, test := range []struct {
		err  error
		code codes.Code
		want string
	}{
		{notFound, codes.NotFound, "there is none; look"},
		{unknown, codes.Unimplemented, "the daemon is of another version and does not know this; start it anew"},
		{large, codes.ResourceExhausted, "the question or the answer has more than 64 MiB; ask for less at once"},
	} {
		var answered *client.Error
		if !errors.As(test.err, &answered) || answered.Code != test.code || !strings.HasPrefix(test.err.Error(), test.want) {
			t.Errorf("got %v, want %q", test.err, test.want)
		}
	}
	_, ended := c.Delete(ctx, &pb.DeleteRequest{})
	if !errors.Is(ended, client.ErrNoDaemon) || !strings.HasPrefix(ended.Error(), "the daemon has ended; what it pinned stays in force") {
		t.Errorf("a daemon that ends: %v", ended)
	}
	short, cancelShort := context.WithTimeout(ctx, 10*time.Millisecond)
	defer cancelShort()
	if _, err := c.Status(short, &pb.StatusRequest{}); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a daemon that does not answer: %v", err)
	}
	cancelled, stop := context.WithCancel(ctx)
	stop()
	if _, err := c.Status(cancelled, &pb.StatusRequest{}); !errors.Is(err, context.Canceled) {
		t.Errorf("a call that is cancelled: %v", err)
	}
}
