package compile

import (
	"testing"

	"github.com/ebpfguard/ebpfguard/internal/policytest"
	"github.com/ebpfguard/ebpfguard/policy"
)

// TestDelegatedPortsAgreeWithDecide compares what is decided about values that the kernel may choose, where delegated
// policies name them and the others deny what they stand for.
func TestDelegatedPortsAgreeWithDecide(t *testing.T) {
	t.Parallel()
	named := 0
	for seed := range uint64(1500) {
		r := policytest.With(seed, policytest.Options{Operations: []policy.Operation{policy.SocketBind}, Binaries: []string{"/bin/a"}, Plain: true, Delegated: true})
		w := newWorld(r)
		set := r.Set()
		g, err := Compile(set, w.options())
		if err != nil {
			t.Fatalf("seed %d: %v\n%s", seed, err, policy.Format(set))
		}
		m := newMachine(g, testKey)
		for range 20 {
			request := r.Request()
			o := w.place(set, r, request).(policy.Socket)
			if o.Protocol = policy.TCP; r.IntN(2) == 0 {
				o.Port = 0
			}
			request.Object = o
			want := policy.Decide(set, request)
			got, _ := w.judge(m, request)
			compare(t, seed, g, set, request, got, want)
			if o.Port == 0 && want.Verdict >= policy.Deny && !set[want.Policy].Delegated {
				named++
			}
		}
	}
	if named < 20 {
		t.Errorf("only %d binds of port 0 were refused by what is not delegated", named)
	}
}
