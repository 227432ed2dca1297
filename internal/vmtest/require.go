package vmtest

import (
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"testing"

	"github.com/ebpfguard/ebpfguard/internal/vmtest/wire"
)

// Loader is where programs of the guest's packages name their dynamic loader.
var Loader = map[string]string{"amd64": "/lib64/ld-linux-x86-64.so.2", "arm64": "/lib/ld-linux-aarch64.so.1"}[runtime.GOARCH]

// Guest reports which row of the table the process runs on. It is false outside a guest.
func Guest() (Kernel, bool) {
	name := os.Getenv(wire.KernelEnv)
	if name == "" {
		return Kernel{}, false
	}
	k, err := ByName(name)
	return k, err == nil
}

// Offers reports whether the table promises the operation or feature on this kernel.
func (k Kernel) Offers(feature string) bool {
	return slices.Contains(k.Features, feature) || slices.Contains(k.Operations, feature)
}

// Require skips the test when the table says that this kernel lacks the feature, and fails it outside a guest.
func Require(t testing.TB, feature string) {
	t.Helper()
	k := mustGuest(t)
	if !known(feature) {
		t.Fatalf("require %q: no kernel of the table offers it; correct the name or add it to internal/vmtest/kernels.go", feature)
	}
	if !k.Offers(feature) {
		t.Skipf("kernel %s does not offer %s", k.Name, feature)
	}
}

// Unavailable ends a test that found the feature missing while it ran. It skips when the table agrees and fails when
// the table promises the feature, so that a skip cannot hide a regression.
func Unavailable(t testing.TB, feature, reason string) {
	t.Helper()
	k := mustGuest(t)
	if k.Offers(feature) {
		t.Fatalf("%s is unavailable: %s; kernel %s must offer it: mend the test or correct internal/vmtest/kernels.go", feature, reason, k.Name)
	}
	t.Skipf("kernel %s does not offer %s: %s", k.Name, feature, reason)
}

// Processors gives the guest all its processors for the length of a test about concurrency. A guest of the suite has one
// otherwise, and never more where the table says so.
func Processors(t testing.TB) {
	t.Helper()
	mustGuest(t)
	spare, err := filepath.Glob("/sys/devices/system/cpu/cpu[1-9]*/online")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range spare {
		was, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte("1"), 0); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := os.WriteFile(file, was, 0); err != nil {
				t.Error(err)
			}
		})
	}
}

// FullEnv makes tests thorough on all kernels, as make test-full does.
const FullEnv = "EBPFGUARD_TEST_FULL"

// Thorough reports whether a test that tries much at random or repeats something often has to do all of it: on the
// named kernels of the table, and on all if FullEnv is set. On the others a tenth is enough.
func Thorough(kernels ...string) bool {
	k, _ := Guest()
	return os.Getenv(FullEnv) != "" || slices.Contains(kernels, k.Name)
}

func mustGuest(t testing.TB) Kernel {
	t.Helper()
	k, ok := Guest()
	if !ok {
		t.Fatalf("this test needs a guest kernel: run it with `go test -exec \"$PWD/bin/vmrun -kernel 6.12\"` or `go run ./internal/vmtest/suite`")
	}
	return k
}

// known tells a feature that some kernels lack from a misspelt one, which would be skipped everywhere.
func known(feature string) bool {
	return slices.ContainsFunc(Kernels, func(k Kernel) bool { return k.Offers(feature) })
}
