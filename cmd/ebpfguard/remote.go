package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"

	pb "github.com/ebpfguard/ebpfguard/api/ebpfguard/v1alpha1"
)

// The daemon's socket: where it is, and what says otherwise.
const (
	defaultSocket  = "/run/ebpfguard/ebpfguard.sock"
	socketVariable = "EBPFGUARD_SOCKET"
)

// questionTime is how long the daemon may take to answer a question. What
// changes the set may take as long as it does.
const questionTime = 15 * time.Second

// maxMessage bounds an answer; a policy file has at most 64 MiB.
const maxMessage = 128 << 20

// remote is a daemon on this machine.
type remote struct{ socket string }

// add adds the flag --socket to the command and to those below it.
func (r *remote) add(cmd *cobra.Command) {
	cmd.PersistentFlags().StringVar(&r.socket, "socket", "",
		"the daemon's socket, a `path` (default $"+socketVariable+", or "+defaultSocket+")")
}

func (r *remote) path() string {
	return cmp.Or(r.socket, os.Getenv(socketVariable), defaultSocket)
}

// ask calls the daemon with a question.
func (r *remote) ask(cmd *cobra.Command, f func(context.Context, pb.GuardServiceClient) error) error {
	ctx, cancel := context.WithTimeout(cmd.Context(), questionTime)
	defer cancel()
	return r.call(ctx, cmd, f)
}

// change calls the daemon with what may take long, until somebody interrupts it.
func (r *remote) change(cmd *cobra.Command, f func(context.Context, pb.GuardServiceClient) error) error {
	ctx, cancel := signal.NotifyContext(cmd.Context(), os.Interrupt, syscall.SIGTERM)
	defer cancel()
	return r.call(ctx, cmd, f)
}

func (r *remote) call(ctx context.Context, cmd *cobra.Command, f func(context.Context, pb.GuardServiceClient) error) error {
	conn, err := r.dial(ctx)
	if err == nil {
		defer conn.Close()
		err = f(ctx, pb.NewGuardServiceClient(conn))
	}
	return r.explain(strings.TrimPrefix(cmd.CommandPath(), cmd.Root().Name()+" "), err)
}

// dial connects to the daemon. It tries the socket by itself first: the errors
// of the operating system tell more than gRPC's.
func (r *remote) dial(ctx context.Context) (*grpc.ClientConn, error) {
	probe, err := (&net.Dialer{}).DialContext(ctx, "unix", r.path())
	if err != nil {
		return nil, err
	}
	probe.Close()
	path, err := filepath.Abs(r.path())
	if err != nil {
		return nil, err
	}
	return grpc.NewClient("unix://"+path, grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(maxMessage), grpc.MaxCallSendMsgSize(maxMessage)))
}

// explain says what an error means and what to do about it.
func (r *remote) explain(what string, err error) error {
	var usage *usageError
	switch {
	case err == nil, errors.Is(err, errReported), errors.As(err, &usage):
		return err
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ECONNREFUSED):
		return fmt.Errorf("%s: no daemon answers on %s; start it with 'systemctl start ebpfguard', or name its socket with --socket", what, r.path())
	case errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("%s: %s may not be opened; be root or in the group that the daemon lets read", what, r.path())
	case errors.Is(err, syscall.ENOTSOCK):
		return fmt.Errorf("%s: %s is no socket; name the daemon's with --socket", what, r.path())
	}
	s, ok := status.FromError(err)
	if !ok {
		return fmt.Errorf("%s: %w", what, err)
	}
	switch s.Code() {
	case codes.Unavailable:
		return fmt.Errorf("%s: the daemon has ended; what is in force stays, see 'systemctl status ebpfguard'", what)
	case codes.DeadlineExceeded:
		return fmt.Errorf("%s: the daemon did not answer within %v; what is in force stays, see 'journalctl -u ebpfguard'", what, questionTime)
	case codes.Canceled:
		return fmt.Errorf("%s: interrupted; see 'ebpfguard get' for what is in force", what)
	case codes.Unimplemented:
		return fmt.Errorf("%s: the daemon is of another version and does not know this; restart it with 'systemctl restart ebpfguard'", what)
	case codes.PermissionDenied:
		return fmt.Errorf("%s: %s; be root or the daemon's user", what, s.Message())
	}
	return fmt.Errorf("%s: %s", what, s.Message())
}

// complete completes arguments with names that the daemon knows.
func (r *remote) complete(names func(context.Context, pb.GuardServiceClient) ([]string, error)) cobra.CompletionFunc {
	return func(cmd *cobra.Command, given []string, _ string) ([]string, cobra.ShellCompDirective) {
		ctx, cancel := context.WithTimeout(cmd.Context(), time.Second)
		defer cancel()
		var found []string
		err := r.call(ctx, cmd, func(ctx context.Context, guard pb.GuardServiceClient) (err error) {
			found, err = names(ctx, guard)
			return err
		})
		if err != nil {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		return without(found, given), cobra.ShellCompDirectiveNoFileComp
	}
}
