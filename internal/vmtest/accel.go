package vmtest

import (
	"context"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"time"
)

const (
	kvmDevice = "/dev/kvm"
	// kvmMemory is how long the outcome of a trial is believed.
	kvmMemory = time.Hour
	// kvmTrial is far more than a boot with KVM takes.
	kvmTrial = 20 * time.Second
)

type trial struct {
	Works bool
	When  time.Time
}

// kvmWorks reports whether a guest really boots with KVM. That the device exists proves nothing: inside some virtual
// machines it opens, and every guest then hangs or fails.
func kvmWorks(ctx context.Context, image Image) bool {
	f, err := os.OpenFile(kvmDevice, os.O_RDWR, 0)
	if err != nil {
		return false
	}
	f.Close()
	cache, err := cacheDir()
	if err != nil {
		return false
	}
	record := filepath.Join(cache, "kvm.json")
	var t trial
	if readJSON(record, &t) == nil && time.Since(t.When) < kvmMemory {
		return t.Works
	}
	works := tryKVM(ctx, image)
	if ctx.Err() == nil {
		// Without the record the next run only tries again.
		_ = writeJSON(record, trial{Works: works, When: time.Now()})
	}
	return works
}

// tryKVM boots the guest's init with itself as the job, which ends at once.
func tryKVM(ctx context.Context, image Image) bool {
	ctx, cancel := context.WithTimeout(ctx, kvmTrial)
	defer cancel()
	dir, err := os.MkdirTemp("", "ebpfguard-kvm-")
	if err != nil {
		return false
	}
	defer os.RemoveAll(dir)
	init, err := buildGuest(ctx, runtime.GOARCH)
	if err != nil {
		return false
	}
	m := machine{
		Kernel:    Kernel{LSM: withBPF, Arch: runtime.GOARCH},
		Vmlinuz:   image.Vmlinuz(),
		Initramfs: filepath.Join(dir, "initramfs"),
		Log:       filepath.Join(dir, "log"),
		Status:    filepath.Join(dir, "status"),
		KVM:       true,
		CPUs:      2,
		MemoryMiB: 512,
	}
	c := Config{Kernel: m.Kernel}
	programs := []Program{{Binary: init, Dir: "/"}}
	if err := writeInitramfs(ctx, m.Initramfs, c, fetched{image: image}, programs, c.job(programs)); err != nil {
		return false
	}
	if err := m.boot(ctx, io.Discard); err != nil {
		return false
	}
	_, err = readReport(m.Status).result()
	return err == nil
}
