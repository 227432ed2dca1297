package compile

import (
	"cmp"
	"encoding/binary"
	"slices"

	"github.com/ebpfguard/ebpfguard/policy"
)

// option is a candidate that counts if an atom is true of the process.
type option struct {
	policy.Candidate
	atom int32
	// over are those of the certain options that it is more specific about, a bit for each
	// of their objects; only where some are uncertain.
	over uint64
	// lifts is the greatest rank of those that it overrides.
	lifts policy.SubjectRank
}

// earlier reports whether an option is of an earlier rule.
func (o *option) earlier(other *option) bool {
	return cmp.Or(cmp.Compare(o.Policy, other.Policy), cmp.Compare(o.Rule, other.Rule)) < 0
}

// order sorts options such that, where possible, the first that is true decides: what
// overrides another comes before it, and else the more specific subject, the more specific
// kind, the stricter verdict, the earlier rule.
func order(options []option) []option {
	first := func(a, b option) int {
		return cmp.Or(
			cmp.Compare(b.Subject, a.Subject), slices.Compare(b.Kind[:], a.Kind[:]), cmp.Compare(b.Verdict, a.Verdict),
			cmp.Compare(a.Policy, b.Policy), cmp.Compare(a.Rule, b.Rule), cmp.Compare(a.atom, b.atom),
		)
	}
	if !slices.ContainsFunc(options, func(o option) bool { return o.Object != options[0].Object }) { // mostly
		slices.SortFunc(options, first)
		return options
	}
	groups := map[policy.Specificity][]option{}
	for _, o := range options {
		groups[o.Object] = append(groups[o.Object], o)
	}
	var left []policy.Specificity
	for object, group := range groups {
		slices.SortFunc(group, first)
		left = append(left, object)
	}
	slices.SortFunc(left, func(a, b policy.Specificity) int { return slices.Compare(b[:], a[:]) })
	sorted := make([]option, 0, len(options))
	for len(left) > 0 {
		best := -1
		for i, object := range left {
			if slices.ContainsFunc(left, func(other policy.Specificity) bool { return overrides(other, object) }) {
				continue
			}
			if best < 0 || first(groups[object][0], groups[left[best]][0]) < 0 {
				best = i
			}
		}
		object := left[best]
		sorted = append(sorted, groups[object][0])
		if groups[object] = groups[object][1:]; len(groups[object]) == 0 {
			left = slices.Delete(left, best, best+1)
		}
	}
	return sorted
}

// overrides reports whether an object is at least as specific as another in each key, and
// more specific in one.
func overrides(a, b policy.Specificity) bool {
	for i := range a {
		if a[i] < b[i] {
			return false
		}
	}
	return a != b
}

// chooser makes the diagram of a list of options.
type chooser struct {
	*diagrams
	options []option
	// tail is what is decided when none of them is true.
	tail root
	memo map[string]root
	// kinds has the places of options that differ in their rule and atom only.
	kinds [][]int
	// covered has the objects of all certain options, as in option.over; worst is the
	// strictest of the certain options and revokes says that one of them does.
	covered uint64
	worst   *option
	revokes bool
}

// choose returns the root for options, of which none is uncertain.
func (d *diagrams) choose(options []option, tail root) root {
	if len(options) == 0 {
		return tail
	}
	d.work += len(options)
	if len(options) == 1 {
		return d.decideBy(&options[0], tail)
	}
	c := chooser{diagrams: d, options: order(options), tail: tail, memo: map[string]root{}}
	return c.chain()
}

// chooseUncertain is choose where the object could be any: some options are uncertain.
func (d *diagrams) chooseUncertain(options []option) root {
	d.work += len(options)
	var certain, uncertain []option
	for _, o := range options {
		if o.Uncertain {
			uncertain = append(uncertain, o)
		} else {
			certain = append(certain, o)
		}
	}
	certain = order(certain)
	c := chooser{diagrams: d, tail: d.leaf(policy.NoRule()), memo: map[string]root{}}
	var objects []policy.Specificity
	for i := range certain {
		o := &certain[i]
		if !slices.Contains(objects, o.Object) && len(objects) < 64 {
			objects = append(objects, o.Object)
		}
		if o.Verdict != policy.Allow && (c.worst == nil || o.stricter(c.worst)) {
			c.worst = o
		}
		c.revokes = c.revokes || o.Revoke
	}
	c.covered = 1<<len(objects) - 1
	for i := range uncertain {
		for bit, object := range objects {
			if overrides(uncertain[i].Object, object) {
				uncertain[i].over |= 1 << bit
			}
		}
	}
	slices.SortFunc(uncertain, func(a, b option) int {
		return cmp.Or(cmp.Compare(b.Verdict, a.Verdict), cmp.Compare(a.Policy, b.Policy), cmp.Compare(a.Rule, b.Rule), cmp.Compare(b.Subject, a.Subject), cmp.Compare(a.atom, b.atom))
	})
	// Of the same atom the first stands for all that change nothing more.
	type kind struct {
		atom    int32
		verdict policy.Verdict
		revoke  bool
		over    uint64
		kind    policy.Specificity
	}
	seen := map[kind]bool{}
	uncertain = slices.DeleteFunc(uncertain, func(o option) bool {
		k := kind{o.atom, o.Verdict, o.Revoke, o.over, o.Kind}
		before := seen[k]
		seen[k] = true
		return before
	})
	c.options = append(uncertain, certain...)
	return c.chain()
}

// stricter reports whether an option's verdict is stricter than another's, or the same of an
// earlier rule.
func (o *option) stricter(other *option) bool {
	return o.Verdict > other.Verdict || o.Verdict == other.Verdict && o.earlier(other)
}

// chain makes the diagram. Where each option that is true decides by itself that is a row of
// tests; else all that may be true at once is looked at.
func (c *chooser) chain() root {
	most := map[policy.Specificity]policy.SubjectRank{}
	for i := range c.options {
		o := &c.options[i]
		most[o.Object] = max(most[o.Object], o.Subject)
	}
	for i := range c.options {
		o := &c.options[i]
		for object, rank := range most {
			if rank > o.lifts && overrides(o.Object, object) {
				o.lifts = rank
			}
		}
	}
	c.work += len(c.options) * len(most)
	if !c.decideAlone() {
		c.groupKinds()
		return c.all(0, nil)
	}
	at := c.tail
	for i := len(c.options) - 1; i >= 0; i-- {
		at = c.decideBy(&c.options[i], at)
	}
	return at
}

// decideBy leads to what an option decides by itself, if it is true, and else to otherwise.
func (d *diagrams) decideBy(o *option, otherwise root) root {
	decided := d.leaf(policy.ResolveUnknown([]policy.Candidate{o.Candidate}))
	if o.atom == always {
		return decided
	}
	return d.test(o.atom, decided, otherwise)
}

// decideAlone reports whether none of the options can change what an earlier one decides.
func (c *chooser) decideAlone() bool {
	// Of each kind of those that come later the earliest rule, which changes most.
	var later []option
	kinds := map[option]int{}
	for i := len(c.options) - 1; i >= 0; i-- {
		o := &c.options[i]
		if slices.ContainsFunc(later, func(l option) bool { return c.counts(&l, []*option{o}) }) {
			return false
		}
		kind := o.kind()
		if n, ok := kinds[kind]; !ok {
			kinds[kind] = len(later)
			later = append(later, *o)
		} else if o.earlier(&later[n]) {
			later[n] = *o
		}
		c.work += len(later)
	}
	return true
}

// kind returns what options have in common that differ in their rule and atom only.
func (o *option) kind() option {
	kind := *o
	kind.Policy, kind.Rule, kind.atom = 0, 0, 0
	return kind
}

func (c *chooser) groupKinds() {
	numbers := map[option]int{}
	for i := range c.options {
		kind := c.options[i].kind()
		n, ok := numbers[kind]
		if !ok {
			n = len(c.kinds)
			numbers[kind] = n
			c.kinds = append(c.kinds, nil)
		}
		c.kinds[n] = append(c.kinds[n], i)
	}
}

// next returns the first option from one on that counts, or how many there are. Of each kind
// those of earlier rules come first, and when one does not count, none of a later rule does.
func (c *chooser) next(from int, matched []*option) int {
	c.work += len(matched)
	near := min(from+len(c.kinds), len(c.options))
	for ; from < near; from++ { // mostly it is one of these
		if c.counts(&c.options[from], matched) {
			return from
		}
	}
	first := len(c.options)
	for _, places := range c.kinds {
		i, _ := slices.BinarySearch(places, from)
		if i < len(places) && places[i] < first && c.counts(&c.options[places[i]], matched) {
			first = places[i]
		}
	}
	c.work += len(c.kinds) * len(matched)
	return first
}

// decide returns the decision where just these options are true.
func (c *chooser) decide(matched []*option) root {
	if len(matched) == 0 {
		return c.tail
	}
	candidates := make([]policy.Candidate, len(matched))
	for i, o := range matched {
		candidates[i] = o.Candidate
	}
	return c.leaf(policy.ResolveUnknown(candidates))
}

// counts reports whether an option can change what is decided by those that are true.
func (c *chooser) counts(o *option, matched []*option) bool {
	over, uncertain := uint64(0), false
	for _, m := range matched {
		if m.Uncertain {
			over, uncertain = over|m.over, true
		} else if !o.Uncertain && beats(m, o) {
			return false
		}
	}
	if o.Uncertain {
		return !uncertain || o.over&^over != 0 ||
			o.Verdict != policy.Allow && !slices.ContainsFunc(matched, func(m *option) bool { return m.standsFor(o) })
	}
	if uncertain {
		// Where all that is certain may be overridden, the strictest of what may be decides.
		if over != c.covered {
			return true
		}
		var strictest *option
		revoke := false
		for _, m := range matched {
			if m.Uncertain && m.Verdict != policy.Allow {
				revoke = revoke || m.Revoke
				if strictest == nil || m.stricter(strictest) {
					strictest = m
				}
			}
		}
		return strictest == nil || c.worst != nil && (c.worst.stricter(strictest) || c.revokes && !revoke)
	}
	// One that cannot win may still override what could.
	highest := policy.SubjectRank(0)
	for _, m := range matched {
		highest = max(highest, m.Subject)
	}
	return o.lifts >= highest && o.lifts > 0 ||
		!slices.ContainsFunc(matched, func(m *option) bool { return m.Subject > o.Subject || m.Subject == o.Subject && outdoes(m, o) })
}

// standsFor reports whether what may be denied by an uncertain option adds nothing to what
// may be by another: nothing overrides the latter only.
func (m *option) standsFor(o *option) bool {
	return m.Uncertain && m.stricter(o) && (m.Revoke || !o.Revoke) && m.Subject >= o.Subject &&
		(m.Subject > o.Subject || m.Kind == o.Kind || overrides(m.Kind, o.Kind))
}

// beats reports whether an option never counts where the other one is true: that is more
// specific about the object, or as specific and comes first.
func beats(m, o *option) bool {
	if m.Object != o.Object {
		return overrides(m.Object, o.Object)
	}
	return m.Subject > o.Subject || m.Subject == o.Subject && outdoes(m, o)
}

// outdoes compares two of which neither overrides the other, of the same subject's rank.
func outdoes(m, o *option) bool {
	if m.Kind != o.Kind {
		return overrides(m.Kind, o.Kind)
	}
	if m.Verdict != o.Verdict {
		return m.Verdict > o.Verdict
	}
	return !o.earlier(m) && (m.Revoke || !o.Revoke) && (!m.NamesPort || o.NamesPort) && (!m.NamesAddress || o.NamesAddress)
}

// all makes the diagram of the options from one on, where those that matched are true.
func (c *chooser) all(from int, matched []*option) root {
	if from = c.next(from, matched); from == len(c.options) {
		return c.decide(matched)
	}
	key := c.key(from, matched)
	if at, ok := c.memo[key]; ok || c.work > maxWork {
		return at
	}
	c.work += len(c.options) - from
	o := &c.options[from]
	at := c.all(from+1, append(matched[:len(matched):len(matched)], o))
	if o.atom != always {
		at = c.test(o.atom, at, c.all(from+1, matched))
	}
	c.memo[key] = at
	return at
}

// key returns a text that stands for what matched, in what follows.
func (c *chooser) key(from int, matched []*option) string {
	key := binary.NativeEndian.AppendUint32(nil, uint32(from))
	over, uncertain := uint64(0), byte(0)
	for _, m := range matched {
		if m.Uncertain {
			over, uncertain = over|m.over, 1
		}
		if m.Uncertain && (m.Verdict == policy.Allow || slices.ContainsFunc(matched, func(other *option) bool { return other != m && other.standsFor(m) })) {
			continue
		}
		for _, s := range [][4]uint32{m.Object, m.Kind} {
			for _, n := range s {
				key = binary.NativeEndian.AppendUint32(key, n)
			}
		}
		flags := byte(0)
		for i, f := range []bool{m.Uncertain, m.Revoke, m.NamesPort, m.NamesAddress, m.NamesObject} {
			if f {
				flags |= 1 << i
			}
		}
		key = append(key, byte(m.Verdict), byte(m.Subject), flags)
		key = binary.NativeEndian.AppendUint64(key, uint64(m.Policy)<<32|uint64(uint32(m.Rule)))
	}
	return string(append(binary.NativeEndian.AppendUint64(key, over), uncertain))
}
