package rpc

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/user"
	"slices"
	"strconv"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"

	pb "github.com/ebpfguard/ebpfguard/api/ebpfguard/v1alpha1"
	"github.com/ebpfguard/ebpfguard/internal/hostroot"
)

// caller is who is at the other end of a connection, as the kernel reports
// (SO_PEERCRED, unix(7)): the process as it was when it connected.
type caller struct {
	credentials.CommonAuthInfo
	pid, uid, gid uint32
}

// AuthType implements [credentials.AuthInfo].
func (caller) AuthType() string { return "peercred" }

// CallerPID returns the process that a call came from, as it was when it connected;
// false for a call that came from this process's own code.
func CallerPID(ctx context.Context) (uint32, bool) {
	p, ok := peer.FromContext(ctx)
	if !ok {
		return 0, false
	}
	who, ok := p.AuthInfo.(caller)
	return who.pid, ok && who.pid > 0
}

// CallerUID returns the user that a call came from; this process's for a call that came from its own
// code.
func CallerUID(ctx context.Context) uint32 {
	if p, ok := peer.FromContext(ctx); ok {
		if who, ok := p.AuthInfo.(caller); ok {
			return who.uid
		}
	}
	return uint32(os.Geteuid())
}

// peerCredentials finds out who connects. Nothing is encrypted: the socket does not leave
// the machine.
type peerCredentials struct{}

// ServerHandshake implements [credentials.TransportCredentials].
func (peerCredentials) ServerHandshake(c net.Conn) (net.Conn, credentials.AuthInfo, error) {
	socket, ok := c.(*net.UnixConn)
	if !ok {
		return nil, nil, fmt.Errorf("a connection of type %T has no peer credentials", c)
	}
	raw, err := socket.SyscallConn()
	if err != nil {
		return nil, nil, err
	}
	var who caller
	var failure error
	err = raw.Control(func(fd uintptr) { who, failure = callerOf(int(fd)) })
	if err := errors.Join(err, failure); err != nil {
		return nil, nil, fmt.Errorf("find out who connected: %w", err)
	}
	who.CommonAuthInfo = credentials.CommonAuthInfo{SecurityLevel: credentials.PrivacyAndIntegrity}
	return c, who, nil
}

// ClientHandshake implements [credentials.TransportCredentials]; a server needs none.
func (peerCredentials) ClientHandshake(context.Context, string, net.Conn) (net.Conn, credentials.AuthInfo, error) {
	return nil, nil, errors.New("these credentials are a server's")
}

// Info implements [credentials.TransportCredentials].
func (peerCredentials) Info() credentials.ProtocolInfo {
	return credentials.ProtocolInfo{SecurityProtocol: "peercred"}
}

// Clone implements [credentials.TransportCredentials].
func (p peerCredentials) Clone() credentials.TransportCredentials { return p }

// OverrideServerName implements [credentials.TransportCredentials].
func (peerCredentials) OverrideServerName(string) error { return nil }

// reading are the calls that change nothing.
var reading = []string{
	pb.GuardService_List_FullMethodName, pb.GuardService_Get_FullMethodName, pb.GuardService_Watch_FullMethodName,
	pb.GuardService_Status_FullMethodName, pb.GuardService_Explain_FullMethodName, pb.GuardService_ListContainers_FullMethodName,
	healthpb.Health_Check_FullMethodName, healthpb.Health_List_FullMethodName, healthpb.Health_Watch_FullMethodName,
	"/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
	"/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
}

// authorize reports whether the caller may do this. What is not known to only read needs
// root or the user of the daemon.
func (s *Server) authorize(ctx context.Context, method string) error {
	p, ok := peer.FromContext(ctx)
	if !ok {
		return status.Error(codes.PermissionDenied, "the daemon cannot find out who calls")
	}
	who, ok := p.AuthInfo.(caller)
	if !ok {
		return status.Error(codes.PermissionDenied, "the daemon cannot find out who calls")
	}
	if who.uid == 0 || who.uid == uint32(os.Geteuid()) {
		return nil
	}
	reads := slices.Contains(reading, method)
	if reads && s.isMember(who) {
		return nil
	}
	s.options.Log.Warn("a call was refused", "method", method, "pid", who.pid, "uid", who.uid, "gid", who.gid)
	what := "only root may change what is enforced; use sudo"
	if reads {
		what = "only root and the group in the daemon's configuration may read; use sudo"
		if s.options.Group != "" {
			what = "only root and the group " + s.options.Group + " may read; use sudo, or join the group"
		}
	}
	return status.Errorf(codes.PermissionDenied, "user %d may not do this: %s", who.uid, what)
}

// isMember reports whether the caller is in the group that may read.
func (s *Server) isMember(who caller) bool {
	if s.group == noGroup {
		return false
	}
	if who.gid == s.group {
		return true
	}
	if root := hostroot.Host(); root != nil {
		return root.IsMember(who.uid, s.group)
	}
	u, err := user.LookupId(strconv.FormatUint(uint64(who.uid), 10))
	if err != nil {
		return false
	}
	groups, err := u.GroupIds()
	return err == nil && slices.Contains(groups, strconv.FormatUint(uint64(s.group), 10))
}
