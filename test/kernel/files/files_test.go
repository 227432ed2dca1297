//go:build vm

package files

import (
	"testing"

	"github.com/ebpfguard/ebpfguard/test/kernel/guardtest"
)

// TestFiles are the tests of files and of what is done about those who want them.
// They share a manager, whose programs take their time to load.
func TestFiles(t *testing.T) {
	g := guardtest.NewFileGuard(t)
	for _, test := range []struct {
		name string
		run  func(*testing.T, *guardtest.FileGuard)
	}{
		{"verdicts", testVerdicts}, {"rule statistics", testRuleStats}, {"revoke", testRevoke}, {"unsupported", testUnsupported},
		{"paths", testPaths}, {"depth", testDepth}, {"length", testLength}, {"future", testFuture}, {"identity", testIdentity}, {"tmpfs", testTmpfs}, {"disk", testDisk},
		{"two names", testTwoNames}, {"exceptions", testExceptions}, {"moves", testMoves}, {"ioctl", testIoctl}, {"kinds", testKinds},
		{"cache", testCache}, {"cache of mounts", testCacheOfMounts}, {"cache of hard links", testCacheOfLinks}, {"cache of words", testCacheOfWords},
		{"cache of overlays", testCacheOfOverlays},
	} {
		t.Run(test.name, func(t *testing.T) { test.run(t, g) })
	}
	t.Logf("%d policy sets applied in %v", g.Applied, g.Applying)
}
