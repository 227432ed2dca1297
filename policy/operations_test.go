package policy_test

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/ebpfguard/ebpfguard/internal/policytest"
	"github.com/ebpfguard/ebpfguard/policy"
)

// eachSet calls f for random policies about all operations and random subjects.
func eachSet(t *testing.T, n uint64, f func(r policytest.Random, set []policy.Policy)) {
	t.Helper()
	for seed := range n {
		o := policytest.Options{Binaries: []string{"/bin/a", "/bin/b", "/opt/x/c"}, NoGlobs: seed%3 == 0}
		// Rules of one operation meet more often.
		if all := policy.Operations(); seed%10 != 0 {
			o.Operations = all[seed%uint64(len(all)):][:1]
		}
		r := policytest.With(seed, o)
		f(r, r.Set())
		if t.Failed() {
			t.Fatalf("seed %d", seed)
		}
	}
}

func TestAllOrderOfPoliciesDoesNotMatter(t *testing.T) {
	eachSet(t, 4_000, func(r policytest.Random, a []policy.Policy) {
		b := slices.Clone(a)
		r.Shuffle(len(b), func(i, j int) { b[i], b[j] = b[j], b[i] })
		for range 5 {
			request := r.Request()
			x, y := policy.Decide(a, request), policy.Decide(b, request)
			// Which rule is reported does depend, and so what that one names.
			if x.Verdict != y.Verdict || x.Revoke != y.Revoke || x.NamesPort != y.NamesPort || x.NamesAddress != y.NamesAddress {
				t.Errorf("%s\n%+v: %+v and %+v", policy.Format(a), request, x, y)
			}
		}
	})
}

func TestAllOrderOfNamesDoesNotMatter(t *testing.T) {
	eachSet(t, 4_000, func(r policytest.Random, set []policy.Policy) {
		request := r.Request()
		file, ok := request.Object.(policy.File)
		if !ok || file.Path == "" || len(file.Aliases) == 0 {
			return
		}
		x := policy.Decide(set, request)
		names := append([]string{file.Path}, file.Aliases...)
		r.Shuffle(len(names), func(i, j int) { names[i], names[j] = names[j], names[i] })
		file.Path, file.Aliases = names[0], names[1:]
		request.Object = file
		if y := policy.Decide(set, request); x != y {
			t.Errorf("%s\n%+v: %+v and %+v", policy.Format(set), request, x, y)
		}
	})
}

func TestAllUnknownIsNeverJudgedLaxer(t *testing.T) {
	t.Parallel()
	undecided := 0
	eachSet(t, 6_000, func(r policytest.Random, set []policy.Policy) {
		request := r.Request()
		request.Process.Unknown = false
		known := policy.Decide(set, request)
		for _, what := range []string{"process", "object", "both"} {
			other := request
			other.Process.Unknown = what != "object"
			if what != "process" {
				other.Object = unknownObject(other.Object, r.IntN(2) == 0)
			}
			d := policy.Decide(set, other)
			if d.Verdict < known.Verdict || known.Verdict == d.Verdict && known.Verdict > policy.Audit && known.Revoke && !d.Revoke {
				t.Errorf("%s\n%+v: unknown %s %+v, known %+v", policy.Format(set), request, what, d, known)
			}
			if d.Undecided {
				undecided++
			}
		}
	})
	if undecided < 500 {
		t.Errorf("only %d are undecided; the test tests nothing", undecided)
	}
}

// unknownObject returns the object with an unknown name, beside the known ones
// or instead of them.
func unknownObject(o policy.Object, beside bool) policy.Object {
	n, ok := policy.NamesOf(o)
	if !ok {
		return o
	}
	if !beside {
		n = policy.Names{}
	}
	n.Unknown = true
	return policy.WithNames(o, n)
}

func TestAllAccessIsTheStrictest(t *testing.T) {
	eachSet(t, 2_000, func(r policytest.Random, set []policy.Policy) {
		file := policy.File{Names: r.Names(), Access: policy.AllAccess}
		request := policy.Request{Process: r.Process(), Operation: policy.FileOpen, Object: file}
		got := policy.Decide(set, request)
		var want policy.Decision
		for i, access := range []policy.Access{policy.Read, policy.Write, policy.Exec} {
			file.Access = access
			request.Object = file
			d := policy.Decide(set, request)
			if i == 0 {
				want = d
			}
			want = policy.Stricter(want, d)
		}
		if got != want {
			t.Errorf("%s\n%+v: got %+v, want %+v", policy.Format(set), request, got, want)
		}
	})
}

func TestAllExplainAgreesWithDecide(t *testing.T) {
	eachSet(t, 6_000, func(r policytest.Random, set []policy.Policy) {
		request := r.Request()
		d, e := policy.Decide(set, request), policy.Explain(set, request)
		won := 0
		for _, c := range e.Candidates {
			if c.Won {
				won++
				if c.Candidate.Policy != d.Policy || c.Candidate.Rule != d.Rule || c.Candidate.Verdict != d.Verdict {
					t.Errorf("the wrong candidate won")
				}
			}
			if c.Reason == "" {
				t.Errorf("no reason for %+v", c)
			}
		}
		if e.Decision != d || (won == 1) != (d.Policy >= 0) || won > 1 || e.String() == "" {
			t.Errorf("%s\n%+v\n%+v\n%v", policy.Format(set), request, d, e)
		}
	})
}

func TestAllWarningsAreTrue(t *testing.T) {
	t.Parallel()
	warned := make(map[policy.Operation]int)
	eachSet(t, 600, func(r policytest.Random, set []policy.Policy) {
		for _, o := range r.Operations {
			without, gone := policy.WithoutIdle(set, o)
			if gone == 0 {
				continue
			}
			warned[o]++
			requests := policytest.With(r.Uint64(), policytest.Options{Operations: []policy.Operation{o}, Binaries: r.Binaries})
			for range 100 {
				request := requests.Request()
				a, b := policy.Decide(set, request), policy.Decide(without, request)
				if a.Verdict == policy.Allow && b.Verdict == policy.Allow {
					continue
				}
				if a != b {
					t.Errorf("%s\n%v\n%+v: %+v, without the idle %+v", policy.Format(set), policy.Warnings(set), request, a, b)
					return
				}
			}
		}
	})
	for _, o := range policy.Operations() {
		if warned[o] < 5 {
			t.Errorf("only %d sets were warned about for %s; the test tests nothing", warned[o], o)
		}
	}
}

var ignoreSource = cmp.Options{
	cmpopts.IgnoreFields(policy.Policy{}, "Source"), cmpopts.IgnoreFields(policy.Rule{}, "Source"),
	cmpopts.EquateComparable(netip.Prefix{}),
}

func TestAllFormatRoundTrips(t *testing.T) {
	t.Parallel()
	names := []string{"root", "www-data", "yes", "null", "~", "1e3", "a b.c"[2:], "DOM\\u", "u@d", "=", "é"}
	eachSet(t, 2_000, func(r policytest.Random, set []policy.Policy) {
		if len(set) == 0 {
			return
		}
		set[0].Subject.Everyone = false
		set[0].Subject.Users.Names = []string{names[r.IntN(len(names))], names[r.IntN(len(names))]}
		set[0].Rules = append(set[0].Rules, policy.Rule{
			Operation: policy.TaskFixSetuid, Verdict: policy.Kill, Message: "x: y",
			Deny: []policy.Pattern{policy.CredentialsPattern{
				From: policy.Identity{GIDs: policy.IDs{Names: names[:r.IntN(3)+1]}},
				To:   policy.Identity{UIDs: policy.IDs{Ranges: []policy.IDRange{{First: 5, Last: 5}}, Names: names[r.IntN(len(names)):]}},
			}},
		})
		if err := policy.Validate(set); err != nil {
			t.Fatalf("random policies: %v", err)
		}
		text := policy.Format(set)
		got, err := policy.Parse("p.yaml", text)
		if err != nil {
			t.Errorf("%s\n%v", text, err)
		} else if diff := cmp.Diff(set, got, ignoreSource); diff != "" {
			t.Errorf("%s\n%s", text, diff)
		}
	})
}

func TestSubjectRankOrder(t *testing.T) {
	// Of two with several selectors the most specific decides first.
	process := policy.Process{Binary: "/bin/a", Ancestors: []string{"/bin/init"}, UID: 5, Cgroup: "/x.slice/y"}
	user := policy.IDs{Ranges: []policy.IDRange{{First: 5, Last: 5}}}
	subjects := []policy.Subject{
		{Everyone: true},
		{Users: user},
		{Cgroups: []string{"/x.slice"}},
		{Users: user, Cgroups: []string{"/x.slice"}},
		{Binaries: []string{"/bin/init"}, Descendants: true},
		{Binaries: []string{"/bin/init"}, Descendants: true, Users: user, Cgroups: []string{"/"}},
		{Binaries: []string{"/bin/"}},
		{Binaries: []string{"/*/a"}, Users: user},
		{Binaries: []string{"/bin/*"}, Cgroups: []string{"/*.slice/?"}},
		{Binaries: []string{"/bin/", "/bin/a"}},
		{Binaries: []string{"/bin/a"}, Descendants: true, Users: user},
	}
	last := policy.SubjectRank(0)
	for _, s := range subjects {
		rank, uncertain, ok := s.Match(process)
		if !ok || uncertain || rank <= last {
			t.Errorf("%v: rank %d, uncertain %v, ok %v; after %d", s, rank, uncertain, ok, last)
		}
		last = rank
	}
}

func BenchmarkDecideManyPaths(b *testing.B) {
	var paths []string
	for i := range 100_000 {
		paths = append(paths, fmt.Sprintf("/srv/%d/%d", i%100, i))
	}
	set := []policy.Policy{{Name: "p", Subject: policy.Subject{Everyone: true}, Rules: []policy.Rule{{
		Operation: policy.FileOpen, Deny: []policy.Pattern{policy.FilePattern{Paths: paths}},
	}}}}
	r := rand.New(rand.NewPCG(1, 1))
	for b.Loop() {
		policy.Decide(set, policy.Request{Operation: policy.FileOpen, Object: policy.File{
			Names: policy.Names{Path: paths[r.IntN(len(paths))]}, Access: policy.Read,
		}})
	}
}
