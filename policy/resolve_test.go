package policy

import (
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"
)

func TestPortSpecificity(t *testing.T) {
	for _, tt := range []struct {
		r    PortRange
		want uint32
	}{
		{PortRange{0, 65535}, 1},
		{PortRange{0, 0}, 65536},
		{PortRange{65535, 65535}, 65536},
		{PortRange{1, 65535}, 2},
		{PortRange{2, 1}, 0},
	} {
		if got := PortSpecificity(tt.r); got != tt.want {
			t.Errorf("PortSpecificity(%v) = %d, want %d", tt.r, got, tt.want)
		}
	}
}

func TestAddressSpecificity(t *testing.T) {
	for _, tt := range []struct {
		p    netip.Prefix
		want uint32
	}{
		{netip.MustParsePrefix("0.0.0.0/0"), 1},
		{netip.MustParsePrefix("10.0.0.0/8"), 9},
		{netip.MustParsePrefix("10.0.0.1/32"), 33},
		{netip.MustParsePrefix("::/128"), 129},
		{netip.Prefix{}, 0},
	} {
		if got := AddressSpecificity(tt.p); got != tt.want {
			t.Errorf("AddressSpecificity(%v) = %d, want %d", tt.p, got, tt.want)
		}
	}
}

func TestResolve(t *testing.T) {
	const all, one = SubjectEveryone, SubjectBinary
	for _, tt := range []struct {
		name       string
		candidates []Candidate
		want       Decision
	}{
		{"no candidate", nil, Decision{Verdict: Allow, Policy: -1, Rule: -1}},
		{"a more specific object wins over a more specific subject", []Candidate{
			{Object: Specificity{0, 5, 0}, Subject: one, Verdict: Deny, Policy: 0},
			{Object: Specificity{0, 6, 0}, Subject: all, Verdict: Allow, Policy: 1},
		}, Decision{Verdict: Allow, Policy: 1}},
		{"incomparable objects both stay, deny wins", []Candidate{
			{Object: Specificity{9, 0, 0}, Subject: all, Verdict: Allow, Policy: 0},
			{Object: Specificity{0, 65536, 0}, Subject: all, Verdict: Deny, Policy: 1},
		}, Decision{Verdict: Deny, Policy: 1}},
		{"incomparable objects both stay, the subject wins", []Candidate{
			{Object: Specificity{9, 0, 0}, Subject: one, Verdict: Allow, Policy: 0},
			{Object: Specificity{0, 65536, 0}, Subject: all, Verdict: Deny, Policy: 1},
		}, Decision{Verdict: Allow, Policy: 0}},
		{"the subject wins over the kind", []Candidate{
			{Object: Specificity{5}, Subject: one, Verdict: Allow, Policy: 0},
			{Object: Specificity{5}, Subject: all, Kind: Specificity{0, 1}, Verdict: Deny, Policy: 1},
		}, Decision{Verdict: Allow, Policy: 0}},
		{"the object wins over the kind", []Candidate{
			{Object: Specificity{6}, Subject: all, Verdict: Deny, Policy: 0},
			{Object: Specificity{5}, Subject: all, Kind: Specificity{0, 1}, Verdict: Allow, Policy: 1},
		}, Decision{Verdict: Deny, Policy: 0}},
		{"the kind wins over the verdict", []Candidate{
			{Object: Specificity{5}, Subject: all, Verdict: Kill, Policy: 0},
			{Object: Specificity{5}, Subject: all, Kind: Specificity{0, 1}, Verdict: Allow, Policy: 1},
		}, Decision{Verdict: Allow, Policy: 1}},
		{"incomparable kinds both stay, deny wins", []Candidate{
			{Subject: all, Kind: Specificity{0, 0, 1}, Verdict: Deny, Policy: 0},
			{Subject: all, Kind: Specificity{0, 0, 0, 1}, Verdict: Allow, Policy: 1},
		}, Decision{Verdict: Deny, Policy: 0}},
		{"the kind of one with a less specific subject does not matter", []Candidate{
			{Subject: all, Kind: Specificity{0, 0, 1, 1}, Verdict: Allow, Policy: 0},
			{Subject: one, Verdict: Allow, Policy: 1},
			{Subject: one, Kind: Specificity{0, 0, 1}, Verdict: Deny, Policy: 2},
		}, Decision{Verdict: Deny, Policy: 2}},
		{"audit wins over allow", []Candidate{
			{Subject: all, Verdict: Allow, Policy: 0},
			{Subject: all, Verdict: Audit, Policy: 1},
		}, Decision{Verdict: Audit, Policy: 1}},
		{"the lowest policy, then the lowest rule is reported", []Candidate{
			{Subject: all, Verdict: Deny, Policy: 2, Rule: 0},
			{Subject: all, Verdict: Deny, Policy: 1, Rule: 4},
			{Subject: all, Verdict: Deny, Policy: 1, Rule: 3},
		}, Decision{Verdict: Deny, Policy: 1, Rule: 3}},
		{"the decision names the port when all winners do", []Candidate{
			{Object: Specificity{0, 65536, 0}, Subject: all, Verdict: Allow, Policy: 1, NamesPort: true},
			{Object: Specificity{0, 65536, 0}, Subject: all, Verdict: Allow, Policy: 0, NamesPort: true},
		}, Decision{Verdict: Allow, NamesPort: true}},
		{"the decision does not name the port when a winner does not", []Candidate{
			{Object: Specificity{0, 65536, 0}, Subject: all, Verdict: Allow, Policy: 0, NamesPort: true},
			{Object: Specificity{9, 0, 0}, Subject: all, Verdict: Allow, Policy: 1},
		}, Decision{Verdict: Allow, Policy: 0}},
		{"a loser does not matter to what the decision names", []Candidate{
			{Object: Specificity{0, 65536, 0}, Subject: all, Verdict: Allow, Policy: 0, NamesPort: true},
			{Object: Specificity{}, Subject: one, Verdict: Allow, Policy: 1},
		}, Decision{Verdict: Allow, Policy: 0, NamesPort: true}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			for range 5 {
				if got := Resolve(tt.candidates); got != tt.want {
					t.Errorf("Resolve(%+v)\n got %+v\nwant %+v", tt.candidates, got, tt.want)
				}
				rand.Shuffle(len(tt.candidates), func(i, j int) {
					tt.candidates[i], tt.candidates[j] = tt.candidates[j], tt.candidates[i]
				})
			}
		})
	}
}

func TestResolveUnknown(t *testing.T) {
	const all, one = SubjectEveryone, SubjectBinary
	for _, tt := range []struct {
		name       string
		candidates []Candidate
		want       Decision
	}{
		{"no candidate", nil, Decision{Verdict: Allow, Policy: -1, Rule: -1}},
		{"everything certain is decided as usual", []Candidate{
			{Subject: all, Verdict: Deny, Policy: 0},
			{Object: Specificity{0, 1, 0}, Subject: all, Verdict: Allow, Policy: 1},
		}, Decision{Verdict: Allow, Policy: 1}},
		{"a denial that may apply denies", []Candidate{
			{Subject: one, Uncertain: true, Verdict: Deny, Policy: 3},
		}, Decision{Verdict: Deny, Policy: 3, Undecided: true}},
		{"an audit that may apply audits", []Candidate{
			{Subject: one, Uncertain: true, Verdict: Audit, Policy: 3},
			{Subject: all, Verdict: Allow, Policy: 4},
		}, Decision{Verdict: Audit, Policy: 3, Undecided: true}},
		{"deny wins over audit, the lowest rule is reported", []Candidate{
			{Subject: one, Uncertain: true, Verdict: Audit, Policy: 0},
			{Subject: one, Uncertain: true, Verdict: Deny, Policy: 2},
			{Subject: all, Verdict: Deny, Policy: 1},
		}, Decision{Verdict: Deny, Policy: 1, Undecided: true}},
		{"a certain and more specific allow overrides a denial that may apply", []Candidate{
			{Subject: one, Uncertain: true, Verdict: Deny, Policy: 0},
			{Object: Specificity{0, 1, 0}, Subject: all, Verdict: Allow, Policy: 1},
		}, Decision{Verdict: Allow, Policy: 1}},
		{"a certain allow of a more specific kind overrides a denial of no greater subject", []Candidate{
			{Subject: one, Uncertain: true, Verdict: Deny, Policy: 0},
			{Kind: Specificity{0, 1, 0}, Subject: one, Verdict: Allow, Policy: 1},
		}, Decision{Verdict: Allow, Policy: 1}},
		{"but not one whose subject may be more specific", []Candidate{
			{Subject: one, Uncertain: true, Verdict: Deny, Policy: 0},
			{Kind: Specificity{0, 1, 0}, Subject: all, Verdict: Allow, Policy: 1},
		}, Decision{Verdict: Deny, Policy: 0, Undecided: true}},
		{"an allow that may apply overrides nothing", []Candidate{
			{Subject: all, Verdict: Deny, Policy: 0},
			{Object: Specificity{0, 1, 0}, Subject: one, Uncertain: true, Verdict: Allow, Policy: 1},
		}, Decision{Verdict: Deny, Policy: 0, Undecided: true}},
		{"an allow that may apply is not reported", []Candidate{
			{Subject: one, Uncertain: true, Verdict: Allow, Policy: 1},
		}, Decision{Verdict: Allow, Policy: -1, Rule: -1}},
		{"the decision does not name the port when who knows what applies", []Candidate{
			{Object: Specificity{0, 65536, 0}, Subject: all, Verdict: Allow, Policy: 0, NamesPort: true},
			{Object: Specificity{9, 0, 0}, Subject: one, Uncertain: true, Verdict: Allow, Policy: 1},
		}, Decision{Verdict: Allow, Policy: 0}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := ResolveUnknown(tt.candidates); got != tt.want {
				t.Errorf("ResolveUnknown(%+v)\n got %+v\nwant %+v", tt.candidates, got, tt.want)
			}
		})
	}
}

// randomCandidates returns few candidates with small values, so that ties and
// incomparable ones are frequent.
func randomCandidates(r *rand.Rand) []Candidate {
	candidates := make([]Candidate, r.IntN(6))
	for i := range candidates {
		candidates[i] = Candidate{
			Object:       Specificity{r.Uint32N(3), r.Uint32N(2)},
			Kind:         Specificity{0, 0, r.Uint32N(2), r.Uint32N(2)},
			Subject:      SubjectRank(1 + r.IntN(3)),
			Verdict:      Verdict(1 + r.IntN(4)),
			Policy:       r.IntN(3),
			Rule:         r.IntN(2),
			NamesPort:    r.IntN(2) == 0,
			NamesAddress: r.IntN(2) == 0,
			NamesObject:  r.IntN(2) == 0,
			Revoke:       r.IntN(2) == 0,
			Uncertain:    r.IntN(2) == 0,
		}
	}
	return candidates
}

func TestResolveDoesNotDependOnOrder(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 1))
	for range 20000 {
		a := randomCandidates(r)
		b := slices.Clone(a)
		r.Shuffle(len(b), func(i, j int) { b[i], b[j] = b[j], b[i] })
		if Resolve(a) != Resolve(b) {
			t.Fatalf("Resolve differs for\n%+v\n%+v", a, b)
		}
		if ResolveUnknown(a) != ResolveUnknown(b) {
			t.Fatalf("ResolveUnknown differs for\n%+v\n%+v", a, b)
		}
	}
}

// Whichever of the uncertain candidates apply, the verdict for the unknown
// process is at least as strict, and what it names is named then, too.
func TestResolveUnknownIsNeverLaxer(t *testing.T) {
	r := rand.New(rand.NewPCG(2, 2))
	for range 20000 {
		all := randomCandidates(r)
		var some []Candidate
		for _, c := range all {
			if !c.Uncertain || r.IntN(2) == 0 {
				if c.Uncertain {
					// The greatest that it could be is what is known.
					c.Object[0] = r.Uint32N(c.Object[0] + 1)
					c.Subject = 1 + SubjectRank(r.IntN(int(c.Subject)))
				}
				some = append(some, c)
			}
		}
		unknown, known := ResolveUnknown(all), Resolve(some)
		if unknown.Verdict < known.Verdict {
			t.Fatalf("unknown: %+v, but known: %+v\nall  %+v\nsome %+v", unknown, known, all, some)
		}
		if unknown.NamesPort && !known.NamesPort || unknown.NamesAddress && !known.NamesAddress {
			t.Fatalf("unknown names more: %+v, but known: %+v\nall  %+v\nsome %+v", unknown, known, all, some)
		}
	}
}

func TestStricterIsCommutativeAndAssociative(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 3))
	random := func() Decision {
		return Decision{
			Verdict: Verdict(1 + r.IntN(3)), Policy: r.IntN(3) - 1, Rule: r.IntN(3) - 1,
			Undecided: r.IntN(2) == 0, NamesPort: r.IntN(2) == 0, NamesAddress: r.IntN(2) == 0,
			NamesObject: r.IntN(2) == 0, Revoke: r.IntN(2) == 0,
		}
	}
	for range 50000 {
		a, b, c := random(), random(), random()
		if Stricter(a, b) != Stricter(b, a) {
			t.Fatalf("not commutative: %+v %+v", a, b)
		}
		if Stricter(Stricter(a, b), c) != Stricter(a, Stricter(b, c)) {
			t.Fatalf("not associative: %+v %+v %+v", a, b, c)
		}
		if Stricter(a, a) != a {
			t.Fatalf("not idempotent: %+v", a)
		}
	}
}
