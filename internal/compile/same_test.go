package compile

import (
	"fmt"
	"slices"
	"testing"

	"github.com/ebpfguard/ebpfguard/internal/policytest"
	"github.com/ebpfguard/ebpfguard/policy"
)

// TestSameSetSameTables: whatever was compiled before, a set has the same tables, byte for byte. A
// set is changed at random: policies come, go, change and change places.
func TestSameSetSameTables(t *testing.T) {
	t.Parallel()
	sequences := uint64(40)
	if testing.Short() {
		sequences = 10
	}
	for seed := range sequences {
		r := policytest.With(seed, policytest.Options{
			Binaries: []string{"/bin/a", "/usr/bin/b", "/opt/x.sh"}, UIDs: []uint32{0, 1, 5, 1000}, Containers: policytest.Containers(),
			Processes: []policy.ProcessID{{PID: 1, Start: 10}, {PID: 300, Start: 7_000_000_000}}, Times: []uint64{1, 5, 1 << 32},
		})
		compiled := func(set []policy.Policy) *Revision {
			g, err := Compile(set, newWorld(policytest.With(seed, r.Options)).options())
			if err != nil {
				t.Fatalf("seed %d: %v\n%s", seed, err, policy.Format(set))
			}
			return g
		}
		var set []policy.Policy
		number := 0
		fresh := func() policy.Policy {
			for {
				if some := r.Set(); len(some) > 0 {
					number++
					some[0].Name = fmt.Sprint("p", number)
					return some[0]
				}
			}
		}
		for range 15 {
			switch at := r.IntN(len(set) + 1); {
			case at == len(set) || len(set) < 4:
				set = slices.Insert(set, at, fresh())
			case r.IntN(3) == 0 || len(set) > 8:
				set = slices.Delete(set, at, at+1)
			case r.IntN(2) == 0:
				set[at] = fresh()
			default:
				r.Shuffle(len(set), func(i, j int) { set[i], set[j] = set[j], set[i] })
			}
			one, other := compiled(set), compiled(policy.Clone(set))
			if !slices.Equal(one.Lines, other.Lines) || !slices.Equal(one.Rules, other.Rules) || one.Counters != other.Counters {
				t.Fatalf("seed %d: two tables of the same set\n%s", seed, policy.Format(set))
			}
		}
	}
}
