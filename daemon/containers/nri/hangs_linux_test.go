package nri

import (
	"path/filepath"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/containerd/nri/pkg/adaptation"
	"github.com/containerd/nri/pkg/api"
)

// TestHangs stops the guard's process where containers must not start without it. The runtime has an NRI that
// knows the policy for that.
func TestHangs(t *testing.T) {
	const limit = 300 * time.Millisecond
	adaptation.SetPluginRequestTimeout(limit)
	defer adaptation.SetPluginRequestTimeout(api.DefaultPluginRequestTimeout)
	socket := filepath.Join(t.TempDir(), "nri.sock")
	var synced atomic.Int32
	runtime := startRuntimeWith(t, socket, func() { synced.Add(1) })
	process, _ := startProcess(t, sourceEnv, socket)
	eventually(t, "the guard does not connect", func() bool { return synced.Load() == 2 })
	// The runtime asks a plugin some time after it has synchronized it: then the first start is refused.
	eventually(t, "a container starts while the guard hangs", func() bool {
		if err := start(t, runtime); err != nil {
			return false // it is not yet connected
		}
		if err := process.Signal(syscall.SIGSTOP); err != nil {
			t.Fatal(err)
		}
		if start(t, runtime) != nil {
			return true
		}
		if err := process.Signal(syscall.SIGCONT); err != nil {
			t.Fatal(err)
		}
		return false
	})
	for range 2 {
		began := time.Now()
		if err := start(t, runtime); err == nil {
			t.Error("a container starts while the guard hangs")
		}
		if took := time.Since(began); took > limit+5*time.Second {
			t.Errorf("the refusal took %v", took)
		}
	}
	if err := process.Signal(syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	eventually(t, "no container starts after the guard hung", func() bool { return start(t, runtime) == nil })
}
