//go:build vm

package files

import (
	"os"
	"slices"
	"testing"

	"github.com/ebpfguard/ebpfguard"
	"github.com/ebpfguard/ebpfguard/policy"
	"github.com/ebpfguard/ebpfguard/test/kernel/guardtest"
)

// fileTest is a program that policies are about, and one that they are not.
type fileTest struct {
	dir, program string
	subject      ebpfguard.Subject
	actor, other *guardtest.Doer
}

func newFileTest(t *testing.T) *fileTest {
	t.Helper()
	f := &fileTest{dir: t.TempDir()}
	guardtest.Check(t, os.Chmod(f.dir, 0o755))
	f.program = guardtest.CopyProgram(t, f.dir+"/program")
	f.subject = ebpfguard.Binaries(f.program)
	f.actor, f.other = guardtest.StartDoer(t, f.program), guardtest.StartDoer(t, "/proc/self/exe")
	return f
}

// deny is a policy that denies the actor what lies below the test's directory.
func (f *fileTest) deny(paths ...string) policy.Policy {
	all := slices.Clone(paths)
	for i := range all {
		all[i] = f.dir + "/" + all[i]
	}
	return guardtest.DenyFiles("test", f.subject, all...)
}
