//go:build vm

package subjects

import (
	"os"
	"slices"
	"testing"

	"github.com/ebpfguard/ebpfguard"
	"github.com/ebpfguard/ebpfguard/policy"
	"github.com/ebpfguard/ebpfguard/test/kernel/guardtest"
)

// testRelinked names files, programs and subjects by a symbolic link to the version in use,
// which is switched to the next one.
func testRelinked(t *testing.T, g *guardtest.FileGuard) {
	dir := t.TempDir()
	secret := guardtest.WriteFile(t, dir+"/secret", "")
	for _, version := range []string{"1", "2", "3"} {
		guardtest.WriteFile(t, dir+"/app-"+version+"/conf", "")
		guardtest.CopyProgram(t, dir+"/app-"+version+"/tool")
		guardtest.CopyProgram(t, dir+"/app-"+version+"/jailed")
	}
	other := guardtest.StartDoer(t, "/proc/self/exe")
	app := dir + "/app"
	point := func(target string) {
		t.Helper()
		guardtest.Check(t, os.Symlink(target, app+".new"))
		guardtest.Check(t, os.Rename(app+".new", app))
	}
	set := []policy.Policy{
		{Name: "app", Subject: policy.Subject{Everyone: true}, Rules: []policy.Rule{
			{Operation: policy.FileOpen, Deny: []policy.Pattern{policy.FilePattern{Paths: []string{app + "/conf"}, Access: policy.Write}}},
			{Operation: policy.BprmCheckSecurity, Deny: []policy.Pattern{policy.ProgramPattern{Paths: []string{app + "/tool"}}}},
		}},
		guardtest.DenyFiles("jail", ebpfguard.Binaries(app+"/jailed"), secret),
	}
	protected := func(version string) {
		t.Helper()
		d := guardtest.StartDoer(t, dir+"/app-"+version+"/jailed")
		g.Refused(t, d, "open", secret, "r")
		g.Refused(t, other, "open", app+"/conf", "w")
		if o := other.Do("spawn", app+"/tool"); o.Errno == 0 {
			t.Fatal("the tool was started")
		}
		if alert := g.Next(t).Context(); alert.Operation != policy.BprmCheckSecurity || alert.Policy != "app" {
			t.Errorf("alert %+v", alert)
		}
	}
	relinked := func(want ...string) {
		t.Helper()
		if moved, err := g.Relinked(); err != nil || !slices.Equal(moved, want) {
			t.Fatalf("relinked: %q, %v, want %q", moved, err, want)
		}
	}
	guardtest.Check(t, os.Symlink("app-3/later", app)) // leads nowhere
	g.Enforce(t, set...)
	relinked()
	for _, version := range []string{"1", "2"} {
		point("app-" + version)
		relinked(app)
		g.Enforce(t, set...)
		relinked()
		protected(version)
	}
}
