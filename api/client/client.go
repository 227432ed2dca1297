// Package client talks to a running daemon over its Unix socket. The messages are those of
// api/ebpfguard/v1alpha1; policies travel as YAML.
package client

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"net"
	"path/filepath"
	"strings"
	"syscall"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"

	pb "github.com/ebpfguard/ebpfguard/api/ebpfguard/v1alpha1"
)

// DefaultSocket is where the daemon listens unless it is told otherwise.
const DefaultSocket = "/run/ebpfguard/ebpfguard.sock"

// maxMessage bounds a request and an answer, as the daemon does.
const maxMessage = 64 << 20

// ErrNoDaemon is wrapped by the error of a call that reached no daemon, beside what the
// operating system said.
var ErrNoDaemon = errors.New("no daemon answers")

// starting begins what the daemon says while it starts.
const starting = "the daemon is starting"

// Error is what the daemon answered. [status.Code] of it tells which kind it is: codes
// InvalidArgument, NotFound, FailedPrecondition or PermissionDenied; Unimplemented when the
// daemon is of another version, ResourceExhausted for what is too large, Unavailable while it starts.
type Error struct {
	Code codes.Code
	// Message says what is wrong and what to do.
	Message string
}

func (e *Error) Error() string { return e.Message }

// GRPCStatus returns the error as gRPC knows it.
func (e *Error) GRPCStatus() *status.Status { return status.New(e.Code, e.Message) }

// Client is a connection to a daemon. Its methods may be called concurrently; they return
// an [*Error], an error that wraps [ErrNoDaemon], or the context's.
type Client struct {
	socket     string
	connection *grpc.ClientConn
	service    pb.GuardServiceClient
}

// Dial connects to the daemon at a socket, [DefaultSocket] if empty.
func Dial(socket string) (*Client, error) {
	if socket == "" {
		socket = DefaultSocket
	}
	path, err := filepath.Abs(socket)
	if err != nil {
		return nil, fmt.Errorf("the socket %s: %w", socket, err)
	}
	c := &Client{socket: path}
	// gRPC would try for long, and tell less of what is wrong.
	probe, err := net.Dial("unix", path)
	if err != nil {
		return nil, c.unreachable(err)
	}
	if err := probe.Close(); err != nil {
		return nil, err
	}
	c.connection, err = grpc.NewClient("unix:"+path, grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(maxMessage), grpc.MaxCallSendMsgSize(maxMessage)))
	if err != nil {
		return nil, fmt.Errorf("connecting to %s: %w", path, err)
	}
	c.service = pb.NewGuardServiceClient(c.connection)
	return c, nil
}

// Close ends the connection and all calls.
func (c *Client) Close() error { return c.connection.Close() }

// unreachable is [ErrNoDaemon] in words for a person, without those of its causes.
type unreachable struct {
	text   string
	causes []error
}

func (e *unreachable) Error() string   { return e.text }
func (e *unreachable) Unwrap() []error { return append(e.causes, ErrNoDaemon) }

func (c *Client) unreachable(err error) error {
	text := fmt.Sprintf("no daemon can be asked on %s: %v", c.socket, err)
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ECONNREFUSED):
		text = fmt.Sprintf("no daemon answers on %s; start it with 'systemctl start ebpfguard', or name another socket", c.socket)
	case errors.Is(err, fs.ErrPermission):
		text = fmt.Sprintf("%s may be opened by root, and by the group that the daemon lets read, only; use sudo", c.socket)
	}
	return &unreachable{text, []error{err}}
}

// explain makes an error of gRPC one of this package.
func (c *Client) explain(err error) error {
	s, ok := status.FromError(err)
	switch {
	case err == nil:
		return nil
	case !ok:
		return err
	case s.Code() == codes.Unavailable && strings.HasPrefix(s.Message(), starting):
		return &Error{s.Code(), s.Message()}
	case s.Code() == codes.Unavailable:
		return &unreachable{text: "the daemon has ended; what it pinned stays in force, see 'systemctl status ebpfguard'"}
	case s.Code() == codes.Unimplemented:
		return &Error{s.Code(), "the daemon is of another version and does not know this; start it anew with 'systemctl restart ebpfguard'"}
	case s.Code() == codes.ResourceExhausted:
		return &Error{s.Code(), fmt.Sprintf("the question or the answer has more than %d MiB; ask for less at once (%s)", maxMessage>>20, s.Message())}
	case s.Code() == codes.Canceled:
		return context.Canceled
	case s.Code() == codes.DeadlineExceeded:
		return context.DeadlineExceeded
	}
	return &Error{s.Code(), s.Message()}
}

// call makes a call and explains its error.
func call[Q, R any](ctx context.Context, c *Client, method func(context.Context, Q, ...grpc.CallOption) (R, error), request Q) (R, error) {
	response, err := method(ctx, request)
	return response, c.explain(err)
}

// Apply adds policies or replaces them by name, all at once.
func (c *Client) Apply(ctx context.Context, request *pb.ApplyRequest) (*pb.ApplyResponse, error) {
	return call(ctx, c, c.service.Apply, request)
}

// Validate tells what is wrong or odd about policies.
func (c *Client) Validate(ctx context.Context, request *pb.ValidateRequest) (*pb.ValidateResponse, error) {
	return call(ctx, c, c.service.Validate, request)
}

// Check tells what the kernel can enforce.
func (c *Client) Check(ctx context.Context, request *pb.CheckRequest) (*pb.CheckResponse, error) {
	return call(ctx, c, c.service.Check, request)
}

// Confirm keeps what was applied with a time to confirm it, or takes it back.
func (c *Client) Confirm(ctx context.Context, request *pb.ConfirmRequest) (*pb.ConfirmResponse, error) {
	return call(ctx, c, c.service.Confirm, request)
}

// Reload reads the configuration and the policy directory again.
func (c *Client) Reload(ctx context.Context, request *pb.ReloadRequest) (*pb.ReloadResponse, error) {
	return call(ctx, c, c.service.Reload, request)
}

// Delete removes policies that were applied, all at once.
func (c *Client) Delete(ctx context.Context, request *pb.DeleteRequest) (*pb.DeleteResponse, error) {
	return call(ctx, c, c.service.Delete, request)
}

// List returns the policies in force.
func (c *Client) List(ctx context.Context, request *pb.ListRequest) (*pb.ListResponse, error) {
	return call(ctx, c, c.service.List, request)
}

// Get returns one policy.
func (c *Client) Get(ctx context.Context, request *pb.GetRequest) (*pb.GetResponse, error) {
	return call(ctx, c, c.service.Get, request)
}

// Status tells what is in force and what was decided.
func (c *Client) Status(ctx context.Context, request *pb.StatusRequest) (*pb.StatusResponse, error) {
	return call(ctx, c, c.service.Status, request)
}

// Explain tells what a running process is to the policies in force.
func (c *Client) Explain(ctx context.Context, request *pb.ExplainRequest) (*pb.ExplainResponse, error) {
	return call(ctx, c, c.service.Explain, request)
}

// Mitigate forbids something for a limited time.
func (c *Client) Mitigate(ctx context.Context, request *pb.MitigateRequest) (*pb.MitigateResponse, error) {
	return call(ctx, c, c.service.Mitigate, request)
}

// Lift ends mitigations before their time.
func (c *Client) Lift(ctx context.Context, request *pb.LiftRequest) (*pb.LiftResponse, error) {
	return call(ctx, c, c.service.Lift, request)
}

// StartContainer tells of a container that is about to start, or runs.
func (c *Client) StartContainer(ctx context.Context, request *pb.StartContainerRequest) (*pb.StartContainerResponse, error) {
	return call(ctx, c, c.service.StartContainer, request)
}

// StopContainer tells that a container has ended.
func (c *Client) StopContainer(ctx context.Context, request *pb.StopContainerRequest) (*pb.StopContainerResponse, error) {
	return call(ctx, c, c.service.StopContainer, request)
}

// ListContainers returns the containers that are known.
func (c *Client) ListContainers(ctx context.Context, request *pb.ListContainersRequest) (*pb.ListContainersResponse, error) {
	return call(ctx, c, c.service.ListContainers, request)
}

// Watch returns an iterator over alerts from now on: when it returns they are being
// sent. The iteration ends with the context or an error; it must be begun, or the context
// ended.
func (c *Client) Watch(ctx context.Context, request *pb.WatchRequest) (iter.Seq2[*pb.WatchResponse, error], error) {
	ctx, cancel := context.WithCancel(ctx)
	stream, err := c.service.Watch(ctx, request)
	if err == nil {
		_, err = stream.Recv() // that it is subscribed
	}
	if err != nil {
		cancel()
		return nil, c.explain(err)
	}
	return func(yield func(*pb.WatchResponse, error) bool) {
		defer cancel()
		for {
			response, err := stream.Recv()
			if errors.Is(err, io.EOF) {
				return
			}
			if err != nil {
				yield(nil, c.explain(err))
				return
			}
			if !yield(response, nil) {
				return
			}
		}
	}, nil
}
