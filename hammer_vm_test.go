//go:build vm

package ebpfguard_test

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/ebpfguard/ebpfguard/internal/vmtest"
	"github.com/ebpfguard/ebpfguard/policy"
)

// hammered are things to do, each in a way that every policy set of the test
// forbids and in one that none does.
type hammered struct {
	name            string
	forbidden, free func(*batch) int
	fails           unix.Errno // of what is free
}

// TestReplacedUnderLoad replaces the policy set a thousand times while eight processes (on
// most kernels a tenth of that, and four) do what each set forbids and what none does.
func TestReplacedUnderLoad(t *testing.T) {
	sets, processes := 1000, 8
	if k, _ := vmtest.Guest(); k.Name != "6.12" { // for want of time
		sets, processes = sets/10, processes/2
	}
	g := sharedGuard(t)
	alerts := g.divert(t)
	things, always := thingsToDo(t)
	g.use(t, always)
	var listener sync.WaitGroup
	done := make(chan struct{})
	listener.Go(func() {
		for {
			select {
			case <-alerts: // they do not matter here
			case <-g.errs:
			case <-done:
				return
			}
		}
	})
	stop, total := strikeOn(t, processes, 0, things)
	began := time.Now()
	var first, last uint32 // revisions
	for i := range sets {
		changes, err := g.Apply(replacement(always, i))
		if err != nil {
			t.Error(err)
		}
		if last = changes.Revision; i == 0 {
			first = last
		}
	}
	took := time.Since(began)
	stop()
	close(done)
	listener.Wait()
	t.Logf("revisions %d to %d applied in %v while %d processes did %d operations", first, last, took.Round(time.Millisecond), processes, total())
	if last-first != uint32(sets-1) {
		t.Errorf("%d sets make revisions %d to %d", sets, first, last)
	}
}

// strikeOn has processes of a priority, as of nice(1), do things until they are stopped, and
// counts what they did.
func strikeOn(t *testing.T, processes, nice int, things []hammered) (stop func(), total func() int64) {
	var ending atomic.Bool
	var wait sync.WaitGroup
	var count atomic.Int64
	for range processes {
		p := lone(t)
		check(t, unix.Setpriority(unix.PRIO_PROCESS, p.pid, nice))
		wait.Go(func() {
			for !ending.Load() && !t.Failed() {
				strike(t, p, things)
				count.Add(int64(2 * strikes * len(things)))
			}
		})
	}
	return func() { ending.Store(true); wait.Wait() }, count.Load
}

// thingsToDo returns what to do, and the policy that forbids it.
func thingsToDo(t *testing.T) ([]hammered, policy.Policy) {
	dir := t.TempDir()
	path := func(name string) string { return filepath.Join(dir, name) }
	for _, name := range []string{"forbidden", "free", "forbidden program", "free program"} {
		if err := os.WriteFile(path(name), []byte(content), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"forbidden point", "free point"} {
		if err := os.Mkdir(path(name), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	ports := func(list ...uint16) policy.Pattern {
		var p policy.SocketPattern
		for _, port := range list {
			p.Ports = append(p.Ports, policy.PortRange{First: port, Last: port})
		}
		return p
	}
	deny := func(o policy.Operation, patterns ...policy.Pattern) policy.Rule {
		return policy.Rule{Operation: o, Deny: patterns}
	}
	always := policy.Policy{Name: "always", Subject: policy.Subject{Everyone: true}, Rules: []policy.Rule{
		deny(policy.FileOpen, policy.FilePattern{Paths: []string{path("forbidden")}}),
		deny(policy.BprmCheckSecurity, policy.ProgramPattern{Paths: []string{path("forbidden program")}}),
		deny(policy.SbMount, policy.MountPattern{Targets: []string{path("forbidden point")}}),
		deny(policy.TaskFixSetuid, policy.CredentialsPattern{To: policy.Identity{UIDs: policy.IDs{Ranges: []policy.IDRange{{First: 4000, Last: 4000}}}}}),
		deny(policy.SocketBind, ports(2022, 50000)),
		deny(policy.SocketConnect, ports(2022)),
	}}
	identity := func(uid uintptr) func(*batch) int {
		return func(b *batch) int {
			call := b.call(unix.SYS_SETRESUID, ^uintptr(0), ^uintptr(0), uid)
			b.call(unix.SYS_SETRESUID, ^uintptr(0), ^uintptr(0), 0)
			return call
		}
	}
	execute := func(path string) func(*batch) int {
		return func(b *batch) int { return b.call(unix.SYS_EXECVE, b.text(path), 0, 0) }
	}
	mountAt := func(path string) func(*batch) int {
		return func(b *batch) int {
			return b.call(unix.SYS_MOUNT, b.text("x"), b.text(path), b.text("tmpfs"), 0, b.text("no_such_option"))
		}
	}
	return []hammered{
		{"open to read", openFile(path("forbidden"), unix.O_RDONLY), openFile(path("free"), unix.O_RDONLY), 0},
		{"open to write", openFile(path("forbidden"), unix.O_WRONLY), openFile(path("free"), unix.O_WRONLY), 0},
		{"execve", execute(path("forbidden program")), execute(path("free program")), unix.ENOEXEC},
		{"mount", mountAt(path("forbidden point")), mountAt(path("free point")), unix.EINVAL},
		{"setresuid", identity(4000), identity(4001), 0},
		{"bind", bindTo(lo4, 2022), bindTo(lo4, 2023), 0},
		// This takes the way that reads the tables twice.
		{"bind to port 0", bindTo(lo4, 0), bindTo(lo4, 2023), 0},
		{"connect", connectTo(lo4, 2022), connectTo(lo4, 2023), 0},
	}, always
}

// replacement returns one of many sets with the same policy that always holds.
func replacement(always policy.Policy, i int) []policy.Policy {
	other := policy.Policy{Name: fmt.Sprintf("other-%d", i%3), Subject: policy.Subject{Binaries: []string{fmt.Sprintf("/bin/%d", i), "/sbin/*/x"}}}
	if i%4 == 0 { // somebody else's rules about the same
		other.Subject = policy.Subject{Users: policy.IDs{Ranges: []policy.IDRange{{First: 1 + uint32(i), Last: 10_000}}}}
	}
	for _, rule := range always.Rules {
		rule.Deny, rule.Allow = []policy.Pattern{all(rule.Operation)}, rule.Deny
		other.Rules = append(other.Rules, rule)
	}
	for j := range i % 20 {
		other.Rules = append(other.Rules,
			policy.Rule{Operation: policy.FileOpen, Deny: []policy.Pattern{policy.FilePattern{Paths: []string{fmt.Sprintf("/tmp/%d/**/x%d*", j%5, i+j)}}}},
			policy.Rule{Operation: policy.SocketConnect, Deny: []policy.Pattern{policy.SocketPattern{Addresses: []netip.Prefix{netip.PrefixFrom(manyAddress(j), 32)}}}})
	}
	if i%2 == 0 {
		return []policy.Policy{always, other}
	}
	return []policy.Policy{other, always}
}

// all returns the pattern for everything.
func all(o policy.Operation) policy.Pattern {
	switch o {
	case policy.FileOpen:
		return policy.FilePattern{All: true}
	case policy.BprmCheckSecurity:
		return policy.ProgramPattern{All: true}
	case policy.SbMount:
		return policy.MountPattern{All: true}
	case policy.TaskFixSetuid:
		return policy.CredentialsPattern{All: true}
	}
	return policy.SocketPattern{All: true}
}

func bindTo(address netip.Addr, port uint16) func(*batch) int {
	return func(b *batch) int {
		a := inet(address, port, unix.SOCK_DGRAM, 0)
		b.socket(a, false)
		where := a.sockaddr(address)
		call := b.call(unix.SYS_BIND, openedFD, b.bytes(where), uintptr(len(where)))
		b.call(unix.SYS_CLOSE, openedFD)
		return call
	}
}

// strikes is how often a batch has everything.
const strikes = 10

// strike does everything a few times and checks it.
func strike(t *testing.T, p *performer, things []hammered) {
	b := newBatch()
	p.batch = b
	var forbidden, free []int
	for range strikes {
		for _, h := range things {
			forbidden = append(forbidden, h.forbidden(b))
			free = append(free, h.free(b))
		}
	}
	p.begin()
	if err := p.end(); err != nil {
		t.Error(err)
		return
	}
	for i, call := range forbidden {
		h := things[i%len(things)]
		if r := p.result(call); r != -int64(unix.EPERM) {
			t.Errorf("%s: what is forbidden passed: %d", h.name, r)
		}
		if r := p.result(free[i]); r < 0 && unix.Errno(-r) != h.fails {
			t.Errorf("%s: what is free was refused: %v", h.name, unix.Errno(-r))
		}
	}
}
