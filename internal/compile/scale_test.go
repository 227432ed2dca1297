package compile

import (
	"fmt"
	"net/netip"
	"runtime"
	"syscall"
	"testing"
	"time"

	"github.com/ebpfguard/ebpfguard/internal/abi"
	"github.com/ebpfguard/ebpfguard/policy"
)

// manyPath returns one of very many paths, in directories of 100 files.
func manyPath(i int) string {
	return fmt.Sprintf("/srv/data/%03d/%02d/file%d.conf", i/10000, i/100%100, i)
}

func prefix(i int) netip.Prefix {
	return netip.PrefixFrom(netip.AddrFrom4([4]byte{byte(i >> 16), byte(i >> 8), byte(i), byte(i * 7)}), 32)
}

func everyone(rules ...policy.Rule) []policy.Policy {
	return []policy.Policy{{Name: "p", Subject: policy.Subject{Everyone: true}, Rules: rules}}
}

func deny(operation policy.Operation, patterns ...policy.Pattern) policy.Rule {
	return policy.Rule{Operation: operation, Deny: patterns}
}

// manyRules returns a rule for each of n paths.
func manyRules(n int) []policy.Rule {
	rules := make([]policy.Rule, n)
	for i := range rules {
		rules[i] = deny(policy.FileOpen, policy.FilePattern{Paths: []string{manyPath(i)}})
	}
	return rules
}

func manyPaths(n int) []string {
	paths := make([]string, n)
	for i := range paths {
		paths[i] = manyPath(i)
	}
	return paths
}

func manyGlobs(n int) policy.Rule {
	var globs []string
	for i := range n {
		globs = append(globs, fmt.Sprintf("/**/*.ext%d", i))
	}
	return deny(policy.FileOpen, policy.FilePattern{Paths: globs})
}

// binariesOfPaths returns a policy for each of so many programs, with 100 paths of its
// own.
func binariesOfPaths(n int) []policy.Policy {
	var set []policy.Policy
	for i := range n {
		var patterns []policy.Pattern
		for j := range 100 {
			patterns = append(patterns, policy.FilePattern{Paths: []string{manyPath(i*100 + j)}})
		}
		set = append(set, policy.Policy{
			Name: fmt.Sprintf("p%d", i), Subject: policy.Subject{Binaries: []string{fmt.Sprintf("/usr/bin/b%d", i)}},
			Rules: []policy.Rule{{Operation: policy.FileOpen, Allow: []policy.Pattern{policy.FilePattern{All: true}}, Deny: patterns}},
		})
	}
	return set
}

// scales are the sets that have to be compiled in a few seconds and without
// gigabytes.
var scales = []struct {
	name string
	set  func() []policy.Policy
}{
	{"100000_rules_of_a_path", func() []policy.Policy { return everyone(manyRules(100_000)...) }},
	{"rule_of_100000_paths", func() []policy.Policy {
		return everyone(deny(policy.FileOpen, policy.FilePattern{Paths: manyPaths(100_000)}))
	}},
	{"100000_rules_with_allow_all", func() []policy.Policy {
		rules := manyRules(100_000)
		for i := range rules {
			rules[i].Allow = []policy.Pattern{policy.FilePattern{All: true}}
		}
		return everyone(rules...)
	}},
	{"10_globs_on_100000_paths", func() []policy.Policy {
		return everyone(manyGlobs(10), deny(policy.FileOpen, policy.FilePattern{Paths: manyPaths(100_000)}))
	}},
	{"10_globs_on_100000_rules", func() []policy.Policy { return everyone(append(manyRules(100_000), manyGlobs(10))...) }},
	{"100_globs_of_extensions", func() []policy.Policy { return everyone(manyGlobs(100)) }},
	{"pattern_of_1000000_CIDRs", func() []policy.Policy {
		prefixes := make([]netip.Prefix, 1_000_000)
		for i := range prefixes {
			prefixes[i] = prefix(i)
		}
		return everyone(deny(policy.SocketConnect, policy.SocketPattern{Listed: prefixes}))
	}},
	{"100000_rules_of_a_CIDR", func() []policy.Policy {
		rules := make([]policy.Rule, 100_000)
		for i := range rules {
			rules[i] = deny(policy.SocketConnect, policy.SocketPattern{Addresses: []netip.Prefix{prefix(i)}})
		}
		return everyone(rules...)
	}},
	{"100000_binds_of_a_CIDR", func() []policy.Policy {
		rules := make([]policy.Rule, 100_000)
		for i := range rules {
			rules[i] = deny(policy.SocketBind, policy.SocketPattern{Addresses: []netip.Prefix{prefix(i)}})
		}
		return everyone(rules...)
	}},
	{"100000_policies_of_a_path", func() []policy.Policy {
		var set []policy.Policy
		for i, r := range manyRules(100_000) {
			set = append(set, policy.Policy{Name: fmt.Sprintf("p%d", i), Subject: policy.Subject{Everyone: true}, Rules: []policy.Rule{r}})
		}
		return set
	}},
	{"40_binaries_of_100_paths", func() []policy.Policy { return binariesOfPaths(40) }},
	{"150_binaries_of_100_paths", func() []policy.Policy { return binariesOfPaths(150) }},
	{"100_users_and_10_descendants", func() []policy.Policy {
		var set []policy.Policy
		for i := range 110 {
			p := policy.Policy{Name: fmt.Sprintf("p%d", i), Rules: []policy.Rule{deny(policy.TaskFixSetuid, policy.CredentialsPattern{All: true})}}
			p.Subject.Users.Ranges = []policy.IDRange{{First: uint32(i), Last: uint32(i)}}
			if i >= 100 {
				p.Subject = policy.Subject{Binaries: []string{fmt.Sprintf("/usr/bin/b%d", i)}, Descendants: true}
			}
			set = append(set, p)
		}
		return set
	}},
}

// existing has every path exist, as in the worst case.
func existing() Options {
	inode := uint64(0)
	return Options{Number: 1, Key: testKey, Resolve: func(path string) Resolved {
		inode++
		return Resolved{Canonical: path, Identity: &Identity{Device: 1, Inode: inode}}
	}}
}

func BenchmarkCompile(b *testing.B) {
	for _, s := range scales {
		set := s.set()
		b.Run(s.name, func(b *testing.B) {
			b.ReportAllocs()
			var g *Revision
			for b.Loop() {
				var err error
				if g, err = Compile(set, existing()); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(len(g.Lines)*abi.LineWords*4)/(1<<20), "table-MiB")
		})
	}
}

// cpu returns the processor time of this process: unlike the time on the wall it
// is the same when other tests run beside.
func cpu() time.Duration {
	var usage syscall.Rusage
	syscall.Getrusage(syscall.RUSAGE_SELF, &usage)
	return time.Duration(usage.Utime.Nano())
}

// TestScale has generous bounds, for the sake of slow machines and the race
// detector: what grows with the square of the set exceeds any.
func TestScale(t *testing.T) {
	if testing.Short() {
		t.Skip("takes a while")
	}
	for _, s := range scales {
		t.Run(s.name, func(t *testing.T) {
			set := s.set()
			var before, after runtime.MemStats
			runtime.GC()
			runtime.ReadMemStats(&before)
			start := cpu()
			g, err := Compile(set, existing())
			if err != nil {
				t.Fatal(err)
			}
			took := cpu() - start
			runtime.ReadMemStats(&after)
			allocated := (after.TotalAlloc - before.TotalAlloc) >> 20
			t.Logf("%v, %d MiB allocated in all, tables of %d MiB", took.Round(time.Millisecond), allocated, len(g.Lines)*abi.LineWords*4>>20)
			if took > 30*time.Second {
				t.Errorf("took %v of processor time", took)
			}
			if grown := int64(after.Sys-before.Sys) >> 20; grown > 3<<10 {
				t.Errorf("took %d MiB from the system", grown)
			}
		})
	}
}
