// Package rpc serves the daemon's interface on a Unix socket: it knows who calls and lets
// them do what they may.
package rpc

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	"google.golang.org/grpc/health"

	"github.com/ebpfguard/ebpfguard/internal/hostroot"
)

// Options say where to serve, and who may call.
type Options struct {
	// Socket is the path. Its folder is made where it is missing.
	Socket string
	// Group, if not empty, is the name or number of the group whose members may read:
	// ask for status, policies and alerts.
	Group string
	// Starting, if not nil, tells that only the status can be asked yet.
	Starting func() bool
	// Log hears of calls that were refused and of defects.
	Log *slog.Logger
}

// Server is a socket that is listened on.
type Server struct {
	options  Options
	listener *net.UnixListener
	health   *health.Server
	// group is the number of the group that may read, noGroup for none.
	group uint32
}

const noGroup = ^uint32(0)

// answerTime is how long a daemon on an existing socket has to take a connection.
const answerTime = 5 * time.Second

// Listen makes the socket, for the owner only or with a group for that, too. One on
// which a daemon answers is an error, one that was left behind is replaced.
func Listen(options Options) (_ *Server, err error) {
	s := &Server{options: options, group: noGroup, health: health.NewServer()}
	if options.Starting == nil {
		s.options.Starting = func() bool { return false }
	}
	s.tellHealth()
	if options.Group != "" {
		if s.group, err = groupNumber(options.Group); err != nil {
			return nil, err
		}
	}
	folder := filepath.Dir(options.Socket)
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return nil, fmt.Errorf("make the folder of the socket: %w", err)
	}
	if err := s.makeRoom(); err != nil {
		return nil, err
	}
	// This mask refuses callers between bind and chmod.
	former := umask(0o177)
	s.listener, err = net.ListenUnix("unix", &net.UnixAddr{Name: options.Socket, Net: "unix"})
	umask(former)
	if err != nil {
		return nil, fmt.Errorf("listening: %w", err)
	}
	if s.group != noGroup {
		if err := errors.Join(os.Chown(options.Socket, -1, int(s.group)), os.Chmod(options.Socket, 0o660)); err != nil {
			if errors.Is(err, os.ErrPermission) {
				err = fmt.Errorf("%w; add CAP_CHOWN", err)
			}
			return nil, errors.Join(fmt.Errorf("let the group %s read: %w", options.Group, err), s.listener.Close())
		}
	}
	return s, nil
}

func groupNumber(name string) (uint32, error) {
	if root := hostroot.Host(); root != nil {
		_, groups := root.Names()
		if n, err := groups(name); err == nil {
			return n, nil
		}
		if n, err := strconv.ParseUint(name, 10, 32); err == nil {
			return uint32(n), nil
		}
		return 0, fmt.Errorf("there is no group %q in the host's /etc/group; make it (groupadd), or write another or its number", name)
	}
	g, err := user.LookupGroup(name)
	if err != nil {
		if g, err = user.LookupGroupId(name); err != nil {
			return 0, fmt.Errorf("there is no group %q; make it (groupadd) or name another", name)
		}
	}
	n, err := strconv.ParseUint(g.Gid, 10, 32)
	if err != nil {
		return 0, fmt.Errorf("the group %q has the unusable number %q", name, g.Gid)
	}
	return uint32(n), nil
}

// makeRoom removes a socket that no daemon answers on.
func (s *Server) makeRoom() error {
	path := s.options.Socket
	info, err := os.Lstat(path)
	switch {
	case errors.Is(err, os.ErrNotExist):
		return nil
	case err != nil:
		return fmt.Errorf("look at the socket: %w", err)
	case info.Mode().Type() != os.ModeSocket:
		return fmt.Errorf("%s exists and is not a socket; remove it or name another path", path)
	}
	c, err := net.DialTimeout("unix", path, answerTime)
	if err == nil {
		return errors.Join(fmt.Errorf("another daemon serves %s already; stop it first, or name another socket", path), c.Close())
	}
	if !errors.Is(err, syscall.ECONNREFUSED) {
		return fmt.Errorf("find out whether another daemon serves %s: %w", path, err)
	}
	if err := os.Remove(path); err != nil {
		return fmt.Errorf("remove the socket of a previous daemon: %w", err)
	}
	return nil
}
