// Package rpc stands in for that of branch rpc, which replaces this file: it serves
// whoever may open the socket, which is its owner and root, and reads for no group.
package rpc

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"time"

	"google.golang.org/grpc"

	pb "github.com/ebpfguard/ebpfguard/api/ebpfguard/v1alpha1"
)

// Options are the options of a [Server].
type Options struct {
	Socket, Group string
	Log           *slog.Logger
}

// Server serves the API.
type Server struct{ listener net.Listener }

// Listen replaces a socket that nobody listens on.
func Listen(o Options) (*Server, error) {
	if o.Group != "" {
		return nil, errors.New("socket: a group cannot be allowed to read yet; leave it out")
	}
	if err := os.MkdirAll(filepath.Dir(o.Socket), 0o755); err != nil {
		return nil, fmt.Errorf("socket: %w", err)
	}
	if conn, err := net.Dial("unix", o.Socket); err == nil {
		return nil, errors.Join(fmt.Errorf("socket: another daemon listens on %s; stop it, or choose another path", o.Socket), conn.Close())
	}
	if info, err := os.Lstat(o.Socket); err == nil && info.Mode().Type() == fs.ModeSocket {
		if err := os.Remove(o.Socket); err != nil {
			return nil, fmt.Errorf("socket: %w", err)
		}
	}
	listener, err := net.Listen("unix", o.Socket)
	if err != nil {
		return nil, fmt.Errorf("socket: %w", err)
	}
	if err := os.Chmod(o.Socket, 0o600); err != nil {
		return nil, errors.Join(fmt.Errorf("socket: %w", err), listener.Close())
	}
	return &Server{listener}, nil
}

// Serve answers calls until the context ends.
func (s *Server) Serve(ctx context.Context, service pb.GuardServiceServer) error {
	server := grpc.NewServer()
	pb.RegisterGuardServiceServer(server, service)
	defer context.AfterFunc(ctx, func() {
		timer := time.AfterFunc(2*time.Second, server.Stop)
		defer timer.Stop()
		server.GracefulStop()
	})()
	if err := server.Serve(s.listener); ctx.Err() == nil {
		return err
	}
	return nil
}
