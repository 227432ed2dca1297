//go:build vm && !full

package ebpfguard_test

import (
	"flag"
	"fmt"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/ebpfguard/ebpfguard/internal/policytest"
	"github.com/ebpfguard/ebpfguard/policy"
)

var (
	compareSeed  = flag.Uint64("compare.seed", 0, "first seed of TestKernelAgreesWithDecide; 0 chooses one")
	compareCount = flag.Int("compare.count", 2400, "operations that TestKernelAgreesWithDecide compares")
)

// TestKernelAgreesWithDecide compares what the kernel does with the reference
// semantics, for random policies and operations.
func TestKernelAgreesWithDecide(t *testing.T) {
	g := sharedGuard(t)
	t.Cleanup(func() { g.Apply(nil) })
	binaries := []string{copyProgram(t, "/tmp/programs/a"), copyProgram(t, "/tmp/programs/sub/b"), copyProgram(t, "/tmp/programs/c")}
	actors := map[string]*actor{}
	for _, b := range binaries {
		actors[b] = startActor(t, b)
	}
	seed := *compareSeed
	if seed == 0 {
		seed = uint64(time.Now().UnixNano())
	}
	fmt.Printf("TestKernelAgreesWithDecide: seed %d (repeat with -compare.seed=%d)\n", seed, seed)
	const perSet = 20
	verdicts := map[policy.Verdict]int{}
	compared := 0
	for compared < *compareCount {
		r := policytest.New(seed, binaries[:2]...)
		seed++
		set := r.Set()
		if _, err := g.Apply(set); err != nil {
			t.Fatalf("seed %d: %v", seed-1, err)
		}
		for range perSet {
			compared++
			binary := binaries[r.IntN(len(binaries))]
			socket := r.Socket()
			a := action{Family: unix.AF_INET, Type: unix.SOCK_STREAM, Address: socket.Address, Port: socket.Port, V6Only: !socket.DualStack}
			if socket.Address.Is6() {
				a.Family = unix.AF_INET6
				a.V6Only = a.V6Only && !socket.Address.Is4In6()
			}
			if socket.Protocol == policy.UDP {
				a.Type = unix.SOCK_DGRAM
				socket.DualStack = true // may still become so (bpf/sockaddr.h, object_finish)
			}
			want := policy.Decide(set, policy.Request{Process: policy.Process{Binary: binary}, Operation: policy.SocketBind, Object: socket})
			got := actors[binary].do(a)
			fail := func(format string, args ...any) {
				t.Errorf("seed %d: %s: bind %v: %s\nDecide: %+v\n%s", seed-1, binary, socket, fmt.Sprintf(format, args...), want, policy.Format(set))
			}
			verdicts[want.Verdict]++
			if got.denied() != (want.Verdict == policy.Deny) {
				fail("the kernel says %v", got)
			}
			if want.Verdict == policy.Allow {
				if got.Errno != 0 && got.Errno != unix.EADDRINUSE {
					fail("not done: %v", got)
				}
				continue
			}
			alert := g.next(t)
			rule := set[want.Policy]
			if alert.Verdict != want.Verdict || alert.Policy != rule.Name || alert.Rule != want.Rule || alert.Undecided != want.Undecided || alert.Binary != binary {
				fail("alert %v", alert)
			}
			if t.Failed() {
				t.FailNow()
			}
		}
	}
	g.quiet(t)
	fmt.Printf("TestKernelAgreesWithDecide: %d operations compared: %v\n", compared, verdicts)
	for _, v := range []policy.Verdict{policy.Allow, policy.Audit, policy.Deny} {
		if verdicts[v] < compared/20 {
			t.Errorf("only %d of %d operations were to %v: the random policies do not test enough", verdicts[v], compared, v)
		}
	}
}
