package rpc

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/reflection"
	"google.golang.org/grpc/status"

	pb "github.com/ebpfguard/ebpfguard/api/ebpfguard/v1alpha1"
)

const (
	// maxMessage bounds a request and an answer: 100,000 rules take some 20 MiB.
	maxMessage = 64 << 20
	// maxStreams is how many calls one connection may have at a time.
	maxStreams = 64
	// endTime is how long calls have to end by themselves.
	endTime = 3 * time.Second
)

// Serve answers until the context ends, then lets calls end and removes the socket.
func (s *Server) Serve(ctx context.Context, service pb.GuardServiceServer) error {
	server := grpc.NewServer(
		grpc.Creds(peerCredentials{}),
		grpc.MaxRecvMsgSize(maxMessage), grpc.MaxSendMsgSize(maxMessage), grpc.MaxConcurrentStreams(maxStreams),
		grpc.ConnectionTimeout(10*time.Second),
		grpc.KeepaliveParams(keepalive.ServerParameters{Time: time.Minute, Timeout: 20 * time.Second}),
		grpc.UnaryInterceptor(s.unary), grpc.StreamInterceptor(s.stream),
	)
	pb.RegisterGuardServiceServer(server, service)
	healthpb.RegisterHealthServer(server, s.health)
	reflection.Register(server)
	ended := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(ended)
		s.health.Shutdown()
		hard := time.AfterFunc(endTime, server.Stop)
		defer hard.Stop()
		server.GracefulStop()
	})
	err := server.Serve(s.listener)
	if stop() { // it ended before the context
		server.Stop()
	} else {
		<-ended
	}
	if err != nil && !errors.Is(err, grpc.ErrServerStopped) {
		return fmt.Errorf("serving %s: %w", s.options.Socket, err)
	}
	return nil
}

// Started says that the daemon has started, so that all calls are answered.
func (s *Server) Started() { s.tellHealth() }

// tellHealth tells who asks by grpc.health.v1 whether the daemon has started.
func (s *Server) tellHealth() {
	now := healthpb.HealthCheckResponse_SERVING
	if s.options.Starting() {
		now = healthpb.HealthCheckResponse_NOT_SERVING
	}
	s.health.SetServingStatus("", now)
	s.health.SetServingStatus(pb.GuardService_ServiceDesc.ServiceName, now)
}

// early are the calls that are answered while the daemon starts. Those about containers wait by themselves:
// a container should not be refused, or start without a label, because of a few seconds.
var early = []string{
	pb.GuardService_Status_FullMethodName, pb.GuardService_StartContainer_FullMethodName, pb.GuardService_StopContainer_FullMethodName,
}

// checkStarted refuses calls that cannot be answered yet.
func (s *Server) checkStarted(method string) error {
	if !s.options.Starting() || slices.Contains(early, method) || !strings.HasPrefix(method, "/"+pb.GuardService_ServiceDesc.ServiceName+"/") {
		return nil
	}
	return status.Error(codes.Unavailable, "the daemon is starting: it loads programs and policies, which takes seconds; ask again when 'ebpfguard status' says so. What a former daemon pinned is in force")
}

func (s *Server) unary(ctx context.Context, request any, info *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (response any, err error) {
	if err := s.authorize(ctx, info.FullMethod); err != nil {
		return nil, err
	}
	if err := s.checkStarted(info.FullMethod); err != nil {
		return nil, err
	}
	defer s.contain(info.FullMethod, &err)
	return handler(ctx, request)
}

func (s *Server) stream(service any, stream grpc.ServerStream, info *grpc.StreamServerInfo, handler grpc.StreamHandler) (err error) {
	if err := s.authorize(stream.Context(), info.FullMethod); err != nil {
		return err
	}
	if err := s.checkStarted(info.FullMethod); err != nil {
		return err
	}
	defer s.contain(info.FullMethod, &err)
	return handler(service, stream)
}

// contain makes a defect in one call an error of that call: the daemon goes on.
func (s *Server) contain(method string, err *error) {
	if defect := recover(); defect != nil {
		s.options.Log.Error("a call failed because of a bug; please report it", "method", method, "defect", defect, "stack", string(debug.Stack()))
		*err = status.Error(codes.Internal, "the daemon has a bug, see its log; the call may have changed something or not")
	}
}
