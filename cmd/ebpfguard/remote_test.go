package main

import (
	"errors"
	"io/fs"
	"strings"
	"syscall"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// TestRemoteErrors asserts that what fails is told with what to do.
func TestRemoteErrors(t *testing.T) {
	r := remote{socket: "/s"}
	for _, test := range []struct {
		err  error
		want string
	}{
		{fs.ErrNotExist, "get: no daemon answers on /s; start it with "},
		{syscall.ECONNREFUSED, "get: no daemon answers on /s; start it with "},
		{syscall.EACCES, "get: /s may not be opened; be root or in the group"},
		{syscall.ENOTSOCK, "get: /s is no socket; name the daemon's with --socket"},
		{status.Error(codes.Unavailable, "x"), "get: the daemon has ended; what is in force stays"},
		{status.Error(codes.DeadlineExceeded, "x"), "get: the daemon did not answer within 15s; what is in force stays"},
		{status.Error(codes.Canceled, "x"), "get: interrupted; see 'ebpfguard get'"},
		{status.Error(codes.Unimplemented, "x"), "get: the daemon is of another version"},
		{status.Error(codes.PermissionDenied, "only read"), "get: only read; be root or the daemon's user"},
		{status.Error(codes.NotFound, "there is none; look"), "get: there is none; look"},
		{errors.New("else"), "get: else"},
	} {
		if got := r.explain("get", test.err).Error(); !strings.HasPrefix(got, test.want) {
			t.Errorf("%v: got %q, want %q", test.err, got, test.want)
		}
	}
	if err := r.explain("get", nil); err != nil {
		t.Errorf("got %v of no error", err)
	}
}
