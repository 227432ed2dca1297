package compile

import (
	"errors"
	"fmt"
	"testing"

	"github.com/ebpfguard/ebpfguard/internal/abi"
	"github.com/ebpfguard/ebpfguard/policy"
)

// mitigations are policies about one process each, which end one after the other.
func mitigations(count int) []policy.Policy {
	var set []policy.Policy
	for i := range count {
		set = append(set, policy.Policy{
			Name: fmt.Sprintf("p%d", i), Until: uint64(1000 + i),
			Subject: policy.Subject{Processes: []policy.ProcessID{policy.ProcessAt(uint32(100+i), 7)}},
			Rules:   []policy.Rule{deny(policy.FileOpen, policy.FilePattern{All: true})},
		})
	}
	return set
}

// TestMitigations has as many as there can be, by themselves and beside a large set: each
// process is told apart and restricted until its policy ends.
func TestMitigations(t *testing.T) {
	for _, test := range []struct {
		name           string
		count, besides int
		most           int // lines
	}{
		{"few", 4, 10, 1 << 12},
		{"16", 16, 100, 1 << 19},
		{"16 beside many paths", 16, 10_000, 1 << 21},
		{"each of its own mark", abi.MaxMarks, 100, 1 << 20},
	} {
		t.Run(test.name, func(t *testing.T) {
			set := append(mitigations(test.count), everyone(manyRules(test.besides)...)...)
			g, err := Compile(set, Options{Number: 1, Key: testKey})
			if err != nil {
				t.Fatal(err)
			}
			if n := len(g.Lines); n > test.most {
				t.Errorf("%d lines; at most %d are good", n, test.most)
			} else {
				t.Logf("%d KiB", n/16)
			}
			m := newMachine(g, testKey)
			for i := range test.count {
				p := policy.Process{IDs: []policy.ProcessID{policy.ProcessAt(uint32(100+i), 7)}}
				for now, want := range map[uint64]policy.Verdict{0: policy.Deny, uint64(999 + i): policy.Deny, uint64(1000 + i): policy.Allow, 1 << 40: policy.Allow} {
					v := m.judge(abi.OperationFileOpen, m.classify(p, now), policy.File{Access: policy.Read}, nil)
					if policy.Verdict(v.Verdict()) != want || v.Undecided() {
						t.Fatalf("process %d at %d: %v, want %v", i, now, policy.Verdict(v.Verdict()), want)
					}
				}
			}
			stranger := m.classify(policy.Process{IDs: []policy.ProcessID{policy.ProcessAt(100, 8)}}, 0)
			if v := m.judge(abi.OperationFileOpen, stranger, policy.File{Access: policy.Read}, nil); policy.Verdict(v.Verdict()) != policy.Allow {
				t.Errorf("another process: %v", policy.Verdict(v.Verdict()))
			}
		})
	}
}

// TestActiveFlags: the first line says all that the loader puts in force.
func TestActiveFlags(t *testing.T) {
	timed := everyone(deny(policy.FileOpen, policy.FilePattern{All: true}))
	timed[0].Until = 5
	lasting := mitigations(1)
	lasting[0].Until = 0
	for name, test := range map[string]struct {
		set  []policy.Policy
		want uint64
	}{
		"nothing":     {nil, 0},
		"neither":     {everyone(deny(policy.FileOpen, policy.FilePattern{All: true})), 0},
		"timed":       {timed, abi.ActiveTimed},
		"processes":   {lasting, abi.ActiveMarks},
		"descendants": {[]policy.Policy{{Name: "p", Subject: policy.Subject{Binaries: []string{"/b"}, Descendants: true}, Rules: timed[0].Rules}}, abi.ActiveMarks},
		"users":       {[]policy.Policy{{Name: "p", Subject: policy.Subject{Users: policy.IDs{Ranges: []policy.IDRange{{First: 5, Last: 5}}}}, Rules: timed[0].Rules}}, abi.ActiveUsers},
		"both":        {mitigations(1), abi.ActiveMarks | abi.ActiveTimed},
	} {
		m := mustCompile(t, test.set, Options{Number: 1, Key: testKey})
		if got := uint64(m.revision().Concerned) & (abi.ActiveMarks | abi.ActiveTimed | abi.ActiveUsers); got != test.want {
			t.Errorf("%s: flags %#x, want %#x", name, got, test.want)
		}
	}
}

func TestTooManyDeadlines(t *testing.T) {
	var set []policy.Policy
	for i := range abi.MaxDeadlines + 1 {
		set = append(set, policy.Policy{
			Name: fmt.Sprintf("p%d", i), Until: uint64(1 + i), Subject: policy.Subject{Everyone: true},
			Rules: []policy.Rule{deny(policy.FileOpen, policy.FilePattern{All: true})},
		})
	}
	if _, err := Compile(set[1:], Options{Number: 1, Key: testKey}); err != nil {
		t.Error(err)
	}
	if _, err := Compile(set, Options{Number: 1, Key: testKey}); !errors.Is(err, ErrTooLarge) {
		t.Errorf("%d deadlines: %v", len(set), err)
	}
	if _, err := Compile(mitigations(abi.MaxMarks+1), Options{Number: 1, Key: testKey}); !errors.Is(err, ErrTooLarge) {
		t.Errorf("%d lists of processes: %v", abi.MaxMarks+1, err)
	}
}
