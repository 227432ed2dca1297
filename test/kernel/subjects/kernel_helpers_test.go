//go:build vm

package subjects

import (
	"os"
	"testing"
	"time"

	"github.com/ebpfguard/ebpfguard"
	"github.com/ebpfguard/ebpfguard/policy"
	"github.com/ebpfguard/ebpfguard/test/kernel/guardtest"
)

// testKernelHelpers has the kernel start a program for a process that may not do itself what
// that program does; and the example that forbids to name the program.
func testKernelHelpers(t *testing.T, g *guardtest.FileGuard) {
	const pattern = "/proc/sys/kernel/core_pattern"
	before, err := os.ReadFile(pattern)
	guardtest.Check(t, err)
	t.Cleanup(func() { guardtest.Check(t, os.WriteFile(pattern, before, 0)) })
	example, err := policy.Load("/src/examples/kernel-helpers.yaml")
	guardtest.Check(t, err)

	dir := t.TempDir()
	secret, stolen := guardtest.WriteFile(t, dir+"/secret", "secret\n"), dir+"/stolen"
	helper := guardtest.WriteFile(t, dir+"/helper", "#!/bin/sh\nread l < "+secret+"\necho $l > "+stolen+"\n")
	one := guardtest.CopyProgram(t, dir+"/one")
	jail := guardtest.DenyFiles("jail", ebpfguard.Descendants(one), secret)
	crash := func(d *guardtest.Doer) { d.Do("run", "/bin/sh", "-c", "kill -SEGV $$") }

	g.Enforce(t, jail)
	d := guardtest.StartDoer(t, one)
	g.Refused(t, d, "open", secret, "r")
	d.Passed(t, "put", pattern, "|"+helper)
	crash(d)
	for deadline := time.Now().Add(guardtest.Patience); ; time.Sleep(10 * time.Millisecond) {
		if content, err := os.ReadFile(stolen); err == nil && len(content) > 0 {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("the kernel did not start the program: this test shows nothing")
		}
	}
	guardtest.Check(t, os.WriteFile(pattern, before, 0))

	g.Enforce(t, append(example, jail)...)
	for _, path := range []string{pattern, "/proc/self/root" + pattern, "/proc/sys/kernel/modprobe", "/proc/sys/kernel/poweroff_cmd"} {
		if alert := g.Refused(t, d, "open", path, "w"); alert.Policy != "kernel-helpers" {
			t.Errorf("alert %v", alert)
		}
		d.Passed(t, "open", path, "r")
	}
	d.Passed(t, "open", "/proc/sys/kernel/panic", "w")
	d.Passed(t, "unshare")
	guardtest.Check(t, os.MkdirAll(dir+"/proc", 0o755))
	d.Passed(t, "proc", dir+"/proc") // another one is the same
	g.Refused(t, d, "open", dir+"/proc/sys/kernel/core_pattern", "w")
	crash(d)
	if now, err := os.ReadFile(pattern); err != nil || string(now) != string(before) {
		t.Errorf("%s is %q, %v", pattern, now, err)
	}
}
