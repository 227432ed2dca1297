//go:build vm

package differential

import (
	"flag"
	"fmt"
	"math"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/ebpfguard/ebpfguard"
	"github.com/ebpfguard/ebpfguard/internal/bpf"
	"github.com/ebpfguard/ebpfguard/internal/policytest"
	"github.com/ebpfguard/ebpfguard/internal/vmtest"
	"github.com/ebpfguard/ebpfguard/policy"
	"github.com/ebpfguard/ebpfguard/test/kernel/guardtest"
)

var (
	compareSeed  = flag.Uint64("compare.seed", 1, "first seed of TestKernelAgreesWithDecide; 0 chooses one, as make fuzz does")
	compareCount = flag.Int("compare.count", 0, "decisions that TestKernelAgreesWithDecide compares at least; 0 means 20,000 on the kernels that it is thorough on, a tenth on the others")
	compareTime  = flag.Duration("compare.time", 0, "compare for this time instead")
)

// TestKernelAgreesWithDecide compares what the kernel does with the reference
// semantics, for random policies and operations: the verdict by what becomes of
// the system call, and everything else by the alert and the counters of rules.
func TestKernelAgreesWithDecide(t *testing.T) {
	if *compareCount == 0 {
		*compareCount = 2_000
		if vmtest.Thorough("6.12", "7") {
			*compareCount *= 10
		}
	}
	seed := *compareSeed
	if seed == 0 {
		seed = uint64(time.Now().UnixNano())
	}
	fmt.Printf("TestKernelAgreesWithDecide: seed %d (repeat with -compare.seed=%d)\n", seed, seed)
	all := worlds(t)
	g := guardtest.Shared(t) // first: what script a process runs that was there before is not known
	performers := cast(t, g)
	for _, p := range performers {
		p.settle(t, all)
	}
	t.Cleanup(func() { g.Apply(nil) })
	alerts := g.Divert(t)
	s := &score{decisions: map[policy.Operation]map[string]int{}, outcomes: map[string]map[string]int{}}
	start := time.Now()
	for ; !s.done(time.Since(start)) && s.failed < maxFailed; seed++ {
		c := newComparison(seed, all, performers)
		if c == nil {
			continue
		}
		if _, err := g.Apply(c.set); err != nil {
			t.Fatalf("seed %d: %v\n%s", seed, err, policy.Format(c.set))
		}
		s.sets++
		if !c.compare(t, g, performers, alerts, s) {
			s.failed++
		}
	}
	s.report(t, time.Since(start))
}

// maxFailed is after how many policy sets with a difference there are enough.
const maxFailed = 5

// comparison is about one policy set.
type comparison struct {
	r     policytest.Random
	seed  uint64
	set   []policy.Policy
	world *world
	// executes says that files are started, so that nobody writes to them
	// meanwhile.
	executes bool
	// hits are those of the rules, of which some may have come under earlier sets.
	hits map[string]uint64
}

// anchor is a policy about nothing, for which the hooks of rules with revoke stay
// attached. It names programA, so that its other name is always known: a process
// that was once known to be of a list of binaries whose descendants count remains
// so.
var anchor = policy.Policy{Name: "anchor", Subject: policy.Subject{Binaries: []string{"/nowhere/program", programA}}, Rules: []policy.Rule{{
	Operation: policy.FileOpen, Deny: []policy.Pattern{policy.FilePattern{Paths: []string{"/nowhere/file"}}}, Revoke: true,
}, nowhere(policy.SocketBind), nowhere(policy.SocketConnect)}}

func nowhere(o policy.Operation) policy.Rule {
	return policy.Rule{Operation: o, Revoke: true, Deny: []policy.Pattern{policy.SocketPattern{Addresses: []netip.Prefix{netip.MustParsePrefix("192.0.2.1/32")}}}}
}

// When policies end: before the machine runs a test, and after.
const (
	hasEnded = 1
	never    = math.MaxUint64
)

// newComparison draws a policy set; nil when that is too small.
func newComparison(seed uint64, all []*world, performers []*player) *comparison {
	r := policytest.New(seed)
	c := &comparison{seed: seed, world: all[r.IntN(len(all))], executes: r.IntN(2) == 0, hits: map[string]uint64{}}
	o := policytest.Options{
		Root: c.world.root, Binaries: []string{programA, programB, script, interpreter}, Confined: true,
		Containers: policytest.Containers(),
	}
	if r.IntN(6) == 0 { // to find what descends from processes takes a while
		for _, p := range performers[:4] {
			o.Processes = append(o.Processes, p.process.IDs[0])
		}
		o.Times = []uint64{hasEnded, never}
	}
	switch r.IntN(3) {
	case 0: // all operations
	case 1:
		o.Operations = []policy.Operation{policy.Operations()[r.IntN(len(policy.Operations()))], policy.FileOpen}
	default:
		o.Operations = []policy.Operation{policy.Operations()[r.IntN(len(policy.Operations()))], policy.Operations()[r.IntN(len(policy.Operations()))]}
	}
	// What the test and the rest of the system do not do may be forbidden to
	// everyone.
	o.Confined = slices.Contains(o.Operations, policy.FileOpen) || slices.Contains(o.Operations, policy.BprmCheckSecurity) || o.Operations == nil
	c.r = policytest.With(seed, o)
	c.set = c.r.Set()
	if len(c.set) < 2 && c.r.IntN(5) > 0 {
		return nil
	}
	if o.Operations == nil {
		for len(c.set) < 8 { // some rules of each
			more := c.r.Set()
			for i := range more {
				more[i].Name = fmt.Sprintf("q%d", len(c.set)+i)
			}
			c.set = append(c.set, more...)
		}
	}
	for i := range c.set {
		// A manager can tell the descendants of 64 different lists apart in its
		// life, and to find the descendants takes a while.
		s := &c.set[i].Subject
		if s.Descendants && c.r.IntN(2) == 0 {
			s.Binaries = s.Binaries[:1]
		} else {
			s.Descendants = false
		}
	}
	c.set = append(c.set, anchor)
	return c
}

// hasHook reports whether the kernel has a hook that not every kernel has.
func (c *comparison) hasHook(name string) bool {
	ok, err := bpf.HasHook(name)
	return ok && err == nil
}

// trialsEach is how many trials a performer has under each policy set.
const trialsEach = 14

// expected is a trial and what has to come of it.
type expected struct {
	trial
	*player
	// performers are the processes that are no child that makes a trial.
	performers map[uint32]bool
	// decisions are those that are made, want the strictest verdict.
	decisions []policy.Decision
	want      policy.Verdict
	call      int
	status    uintptr // of the child that makes it, 0 if the performer does
}

// compare has the performers try something under the policy set, and tells
// whether all is as it should be.
func (c *comparison) compare(t *testing.T, g *guardtest.Guard, performers []*player, alerts <-chan ebpfguard.Alert, s *score) bool {
	t.Helper()
	problem := func(format string, args ...any) bool {
		t.Errorf("seed %d: %s\n%s", c.seed, fmt.Sprintf(format, args...), policy.Format(c.set))
		return false
	}
	for _, r := range ruleStats(t, g) {
		c.hits[fmt.Sprint(r.Policy, r.Rule)] = r.Hits
	}
	var all []*expected
	count := 0
	pids := map[uint32]bool{}
	for _, p := range performers {
		pids[uint32(p.PID)] = true
	}
	for _, p := range performers {
		p.Batch = guardtest.NewBatch()
		for range trialsEach {
			e, ok := c.expect(p)
			if !ok {
				continue
			}
			e.performers = pids
			all = append(all, e)
			for i, d := range e.decisions {
				s.decision(e.asked[i].operation, d)
				if d.Verdict != policy.Allow {
					count++
					c.hits[fmt.Sprint(c.set[d.Policy].Name, d.Rule)]++
				}
			}
		}
		p.Begin()
	}
	for _, p := range performers {
		if err := p.End(); err != nil {
			problem("%v", err)
			t.FailNow()
		}
	}
	got, complete := c.collect(alerts, count)
	for _, e := range all {
		if difference := c.check(e, got, s); difference != "" {
			return problem("performer %s (%+v, %+v): %s: %s\n%s\nalerts that follow: %v", e.Name, e.seen(c.set), e.ids,
				e.what, difference, c.explain(e), got[uint32(e.PID)])
		}
	}
	for _, more := range got {
		if len(more) > 0 {
			return problem("alerts that should not be: %v", more)
		}
	}
	if !complete {
		return problem("alerts are missing")
	}
	return c.checkHits(t, g)
}

// expect draws a trial and adds it to the performer's batch.
func (c *comparison) expect(p *player) (*expected, bool) {
	operations := c.r.Operations
	if c.r.IntN(8) == 0 {
		operations = policy.Operations()
	}
	kinds := attempts[operations[c.r.IntN(len(operations))]]
	drawn, ok := kinds[c.r.IntN(len(kinds))](c, p)
	if !ok {
		return nil, false
	}
	e := &expected{trial: drawn, player: p, want: policy.Allow}
	for _, q := range e.asked {
		d := c.decide(p, q)
		e.decisions = append(e.decisions, d)
		e.want = max(e.want, d.Verdict)
		if d.Verdict >= policy.Deny {
			break
		}
	}
	if e.byChild || e.want == policy.Kill {
		e.status = p.Batch.Child(func() { e.call = e.make(p.Batch) })
	} else {
		e.call = e.make(p.Batch)
	}
	return e, true
}

// decide asks the reference semantics.
func (c *comparison) decide(p *player, q question) policy.Decision {
	request := policy.Request{Process: p.seen(c.set), Operation: q.operation, Object: q.object, Now: hasEnded}
	d := policy.Decide(c.set, request)
	switch {
	case q.held && !d.Revoke:
		return policy.NoRule()
	case q.loaded:
		return c.decideNamed(request)
	}
	return d
}

// decideNamed decides about a program that is loaded: by each of its names only
// the rules count that name it.
func (c *comparison) decideNamed(request policy.Request) policy.Decision {
	program := request.Object.(policy.Program)
	names := append([]string{program.Path}, program.Aliases...)
	if program.Unknown {
		names = []string{""}
	}
	known := slices.DeleteFunc(slices.Clone(names), func(name string) bool { return !isSelected(c.set, request.Operation, name) })
	if len(known) == 0 {
		known = names[:1]
	}
	strictest := policy.NoRule()
	for _, name := range known {
		one := program
		one.Path, one.Aliases = name, nil
		request.Object = one
		d := policy.Decide(c.set, request)
		if d.NamesObject || d.Undecided {
			strictest = policy.Stricter(strictest, d)
		}
	}
	return strictest
}

// isSelected reports whether a path of the operation's rules selects the name.
func isSelected(set []policy.Policy, operation policy.Operation, name string) bool {
	return slices.ContainsFunc(pathsOf(set, operation), func(text string) bool {
		p, err := policy.ParsePathPattern(text)
		return err == nil && p.Match(name)
	})
}
