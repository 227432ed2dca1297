//go:build vm

package guardtest

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/ebpfguard/ebpfguard/policy"
)

// Hammered are things to do, each in a way that every policy set of the test
// forbids and in one that none does.
type Hammered struct {
	Name            string
	Forbidden, Free func(*Batch) int
	Fails           unix.Errno // of what is free
}

// StrikeOn has processes of a priority, as of nice(1), do things until they are stopped. Then
// it says how many operations they did together, and the one that did least.
func StrikeOn(t *testing.T, processes, nice int, things []Hammered) (stop func() (total, least int64)) {
	var ending atomic.Bool
	var wait sync.WaitGroup
	done := make([]int64, processes)
	for i := range processes {
		p := Lone(t)
		Check(t, unix.Setpriority(unix.PRIO_PROCESS, p.PID, nice))
		wait.Go(func() {
			for !ending.Load() && !t.Failed() {
				strike(t, p, things)
				done[i] += int64(2 * strikes * len(things))
			}
		})
	}
	return func() (total, least int64) {
		ending.Store(true)
		wait.Wait()
		for _, n := range done {
			total += n
		}
		return total, slices.Min(done)
	}
}

// ThingsToDo returns what to do, and the policy that forbids it.
func ThingsToDo(t *testing.T) ([]Hammered, policy.Policy) {
	dir := t.TempDir()
	path := func(name string) string { return filepath.Join(dir, name) }
	for _, name := range []string{"forbidden", "free", "forbidden program", "free program"} {
		Check(t, os.WriteFile(path(name), []byte(Content), 0o755))
	}
	for _, name := range []string{"forbidden point", "free point"} {
		Check(t, os.Mkdir(path(name), 0o755))
	}
	deny := func(o policy.Operation, patterns ...policy.Pattern) policy.Rule {
		return policy.Rule{Operation: o, Deny: patterns}
	}
	always := policy.Policy{Name: "always", Subject: policy.Subject{Everyone: true}, Rules: []policy.Rule{
		deny(policy.FileOpen, policy.FilePattern{Paths: []string{path("forbidden")}}),
		deny(policy.BprmCheckSecurity, policy.ProgramPattern{Paths: []string{path("forbidden program")}}),
		deny(policy.SbMount, policy.MountPattern{Targets: []string{path("forbidden point")}}),
		deny(policy.TaskFixSetuid, policy.CredentialsPattern{To: policy.Identity{UIDs: policy.IDs{Ranges: []policy.IDRange{{First: 4000, Last: 4000}}}}}),
		deny(policy.SocketBind, Ports(2022, 50000)),
		deny(policy.SocketConnect, Ports(2022)),
	}}
	identity := func(uid uintptr) func(*Batch) int {
		return func(b *Batch) int {
			call := b.Call(unix.SYS_SETRESUID, ^uintptr(0), ^uintptr(0), uid)
			b.Call(unix.SYS_SETRESUID, ^uintptr(0), ^uintptr(0), 0)
			return call
		}
	}
	execute := func(path string) func(*Batch) int {
		return func(b *Batch) int { return b.Call(unix.SYS_EXECVE, b.Text(path), 0, 0) }
	}
	mountAt := func(path string) func(*Batch) int {
		return func(b *Batch) int {
			return b.Call(unix.SYS_MOUNT, b.Text("x"), b.Text(path), b.Text("tmpfs"), 0, b.Text("no_such_option"))
		}
	}
	return []Hammered{
		{"open to read", OpenFile(path("forbidden"), unix.O_RDONLY), OpenFile(path("free"), unix.O_RDONLY), 0},
		{"open to write", OpenFile(path("forbidden"), unix.O_WRONLY), OpenFile(path("free"), unix.O_WRONLY), 0},
		{"execve", execute(path("forbidden program")), execute(path("free program")), unix.ENOEXEC},
		{"mount", mountAt(path("forbidden point")), mountAt(path("free point")), unix.EINVAL},
		{"setresuid", identity(4000), identity(4001), 0},
		{"bind", BindTo(Lo4, 2022), BindTo(Lo4, 2023), 0},
		// This takes the way that reads the tables twice.
		{"bind to port 0", BindTo(Lo4, 0), BindTo(Lo4, 2023), 0},
		{"connect", ConnectTo(Lo4, 2022), ConnectTo(Lo4, 2023), 0},
	}, always
}

// Replacement returns one of many sets with the same policy that always holds.
func Replacement(always policy.Policy, i int) []policy.Policy {
	other := policy.Policy{Name: fmt.Sprintf("other-%d", i%3), Subject: policy.Subject{Binaries: []string{fmt.Sprintf("/bin/%d", i), "/sbin/*/x"}}}
	if i%4 == 0 { // somebody else's rules about the same
		other.Subject = policy.Subject{Users: policy.IDs{Ranges: []policy.IDRange{{First: 1 + uint32(i), Last: 10_000}}}}
	}
	for _, rule := range always.Rules {
		rule.Deny, rule.Allow = []policy.Pattern{policy.Everything(rule.Operation)}, rule.Deny
		other.Rules = append(other.Rules, rule)
	}
	for j := range i % 20 {
		other.Rules = append(other.Rules,
			policy.Rule{Operation: policy.FileOpen, Deny: []policy.Pattern{policy.FilePattern{Paths: []string{fmt.Sprintf("/tmp/%d/**/x%d*", j%5, i+j)}}}},
			policy.Rule{Operation: policy.SocketConnect, Deny: []policy.Pattern{policy.SocketPattern{Addresses: []netip.Prefix{netip.PrefixFrom(ManyAddress(j), 32)}}}})
	}
	if i%2 == 0 {
		return []policy.Policy{always, other}
	}
	return []policy.Policy{other, always}
}

// strikes is how often a batch has everything.
const strikes = 10

// strike does everything a few times and checks it.
func strike(t *testing.T, p *Performer, things []Hammered) {
	b := NewBatch()
	p.Batch = b
	var forbidden, free []int
	for range strikes {
		for _, h := range things {
			forbidden = append(forbidden, h.Forbidden(b))
			free = append(free, h.Free(b))
		}
	}
	p.Begin()
	if err := p.End(); err != nil {
		t.Error(err)
		return
	}
	for i, call := range forbidden {
		h := things[i%len(things)]
		if r := p.Result(call); r != -int64(unix.EPERM) {
			t.Errorf("%s: what is forbidden passed: %d", h.Name, r)
		}
		if r := p.Result(free[i]); r < 0 && unix.Errno(-r) != h.Fails {
			t.Errorf("%s: what is free was refused: %v", h.Name, unix.Errno(-r))
		}
	}
}

// ManyAddress returns one of very many addresses, none next to another.
func ManyAddress(i int) netip.Addr {
	return netip.AddrFrom4([4]byte{1 + byte(i>>16), byte(i >> 8), byte(i), byte(i * 7)})
}
