package main

import (
	"context"
	"errors"
	"strings"
	"testing"

	"google.golang.org/grpc/codes"

	"github.com/ebpfguard/ebpfguard/api/client"
)

// TestRemoteErrors asserts that what fails is told with what to do.
func TestRemoteErrors(t *testing.T) {
	r := remote{socket: "/s"}
	for _, test := range []struct {
		err  error
		want string
	}{
		{client.ErrNoDaemon, "get: no daemon answers"},
		{context.DeadlineExceeded, "get: the daemon did not answer within 15s; enforcement goes on, see"},
		{context.Canceled, "get: interrupted; see 'ebpfguard get'"},
		{&client.Error{Code: codes.NotFound, Message: "there is none; look"}, "get: there is none; look"},
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
