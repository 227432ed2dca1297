//go:build vm

package guardtest

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/ebpfguard/ebpfguard"
	"github.com/ebpfguard/ebpfguard/internal/vmtest"
	"github.com/ebpfguard/ebpfguard/policy"
)

// shared and small are the guards of the tests that do not need one of their own.
var shared, small *Guard

// The verifier takes half a minute for all programs. So the shared guard is pinned on a
// filesystem of its own, and of the test binaries that run in one guest the first one
// loads it and the others take it over. One that fails leaves no clean guard: the next
// one loads another.
const (
	sharedMount = "/run/guardtest"
	sharedPins  = sharedMount + "/shared"
	sharedClean = "/run/guardtest.clean"
)

// Shared has all operations attached.
func Shared(t *testing.T) *Guard {
	t.Helper()
	for _, o := range policy.Operations() {
		vmtest.Require(t, string(o))
	}
	if shared != nil {
		return shared
	}
	Check(t, prepareShared())
	start := time.Now()
	// Room for every alert of TestEveryDenialIsAccountedFor; what a kernel has
	// no hook for, the tests know.
	shared = makeGuard(t, ebpfguard.Options{AlertBytes: 32 << 20, AllowGaps: true, PinPath: sharedPins, PodDetails: true}, policy.Operations()...)
	_, former := shared.Takeover()
	fmt.Printf("guardtest: shared guard in %v, taken over: %v\n", time.Since(start).Round(time.Millisecond), former)
	return shared
}

// prepareShared removes what a failed test binary left.
func prepareShared() error {
	if err := os.Mkdir(sharedMount, 0o700); err == nil {
		if err := unix.Mount("bpf", sharedMount, "bpf", 0, ""); err != nil {
			return err
		}
	} else if !errors.Is(err, fs.ErrExist) {
		return err
	}
	if err := os.Remove(sharedClean); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	_, err := ebpfguard.RemovePins(sharedPins, true)
	return err
}

// Small is shared too; it has socket_bind only, and its alert buffer is too
// small for a burst.
func Small(t *testing.T) *Guard {
	t.Helper()
	vmtest.Require(t, "socket_bind")
	if small == nil {
		small = makeGuard(t, ebpfguard.Options{AlertBytes: 64 << 10}, policy.SocketBind)
	}
	return small
}

// closeShared closes the shared guards. After tests that passed the next binary may take
// the pinned one over: there are no policies, and every alert was read.
func closeShared(passed bool) error {
	var err error
	if small != nil {
		err = small.Close()
	}
	if shared == nil {
		return err
	}
	if passed {
		_, applyErr := shared.Apply(nil)
		err = errors.Join(err, applyErr, shared.wait())
	}
	err = errors.Join(err, shared.Close())
	if passed && err == nil {
		err = os.WriteFile(sharedClean, nil, 0o600)
	}
	return err
}
