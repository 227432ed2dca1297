//go:build vm

package subjects

import (
	"os"
	"strconv"
	"testing"

	"github.com/ebpfguard/ebpfguard"
	"github.com/ebpfguard/ebpfguard/internal/vmtest"
	"github.com/ebpfguard/ebpfguard/test/kernel/guardtest"
)

// TestLabelsWithoutMemory has a guard whose memory control group is full: what cannot be
// labelled is not made, so that nobody loses what it descends from.
func TestLabelsWithoutMemory(t *testing.T) {
	vmtest.Require(t, "socket_bind") // before this process is moved
	const port = 2022
	guardtest.Check(t, os.WriteFile("/sys/fs/cgroup/cgroup.subtree_control", []byte("+memory"), 0o644))
	group := makeCgroup(t, "/full")
	move := func(to string) {
		t.Helper()
		guardtest.Check(t, os.WriteFile(to+"/cgroup.procs", []byte(strconv.Itoa(os.Getpid())), 0o644))
	}
	move(group) // the maps are charged to who makes them
	g := guardtest.New(t, ebpfguard.Options{AlertBytes: 4 << 20})
	move("/sys/fs/cgroup")
	dir := t.TempDir()
	one, two := guardtest.CopyProgram(t, dir+"/one"), guardtest.CopyProgram(t, dir+"/two")
	script := guardtest.WriteFile(t, dir+"/script", "#!"+two+"\n")
	for _, test := range []struct {
		name    string
		subject ebpfguard.Subject
		start   func() *guardtest.Doer
	}{
		{"descendants", ebpfguard.Descendants(one), func() *guardtest.Doer {
			d := guardtest.StartDoer(t, one)
			d.Passed(t, "exec", two)
			return d
		}},
		{"script", ebpfguard.Binaries(script), func() *guardtest.Doer { return guardtest.StartDoer(t, script) }},
	} {
		t.Run(test.name, func(t *testing.T) {
			g.Add(t, ebpfguard.SocketBind{Name: "test", Subject: test.subject, Deny: ebpfguard.Ports(port)})
			d, bystander := test.start(), guardtest.StartDoer(t, two)
			forks := func(d *guardtest.Doer) []int {
				t.Helper()
				return d.Passed(t, "forks", "200", strconv.Itoa(port)).Counts
			}
			if counts := forks(d); counts[guardtest.ForkRefused] != 200 {
				t.Fatalf("with memory: %v", counts)
			}
			if counts := forks(bystander); counts[guardtest.ForkPassed] == 0 || counts[guardtest.ForkRefused] != 0 {
				t.Fatalf("another one, with memory: %v", counts)
			}
			// Nothing can be charged to the group any more.
			guardtest.Check(t, os.WriteFile(group+"/memory.max", []byte("4096"), 0o644))
			full := forks(d)
			guardtest.Check(t, os.WriteFile(group+"/memory.max", []byte("max"), 0o644))
			t.Logf("without memory: %d passed, %d were refused, %d were not made, %d others", full[0], full[1], full[2], full[3])
			if full[guardtest.ForkPassed] != 0 || full[guardtest.ForkOther] != 0 {
				t.Errorf("without memory: %v", full)
			}
			if counts := forks(d); counts[guardtest.ForkRefused] != 200 {
				t.Errorf("with memory again: %v", counts)
			}
			d.Stop()
			g.Drain(t)
		})
	}
}
