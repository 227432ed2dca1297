//go:build vm

package subjects

import (
	"testing"

	"github.com/ebpfguard/ebpfguard/test/kernel/guardtest"
)

// TestSubjects are the tests of the processes that policies select, by what these may open.
func TestSubjects(t *testing.T) {
	g := guardtest.NewFileGuard(t)
	for _, test := range []struct {
		name string
		run  func(*testing.T, *guardtest.FileGuard)
	}{
		{"binaries", testBinaries}, {"scripts", testScripts}, {"descendants", testDescendants}, {"users", testUsers},
		{"cgroups", testCgroups}, {"combined", testCombinedSubjects}, {"name at exec", testNameAtExec}, {"older than the guard", testOlderThanGuard},
		{"own program", testOwnProgram}, {"first in a cgroup", testFirstInCgroup}, {"user at exec", testUserAtExec}, {"env", testEnvScripts}, {"kernel helpers", testKernelHelpers}, {"relinked", testRelinked},
		{"containers", testContainers}, {"long names", testLongNames},
	} {
		t.Run(test.name, func(t *testing.T) { test.run(t, g) })
	}
	t.Logf("%d policy sets applied in %v", g.Applied, g.Applying)
}
