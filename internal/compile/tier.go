package compile

// tier is some of the candidates: all of them, or those of policies that are not delegated. These decide once more without
// the delegated ones, and the stricter verdict counts ([policy.Decide]).
type tier struct {
	// base are the candidates of the patterns that name nothing; baseAllows says that none of them denies.
	base       []candidate
	baseAllows bool
	// unknown are the candidates of base for an unknown process; unknownRestricts says that one
	// of them restricts by naming nothing.
	unknown          []condition
	unknownRestricts bool
	// rests remember what was decided for candidates that name no object.
	rests map[string]root
	// denials are those that name no object, for unidentified containers.
	denials map[string]unidentifiedDenials
}

func (m *matrix) newTier(base []candidate) *tier {
	t := &tier{
		base: base, baseAllows: m.denialCount(base) == 0, unknown: m.conditions(base),
		rests: map[string]root{}, denials: map[string]unidentifiedDenials{},
	}
	t.unknownRestricts = restricts(t.unknown)
	return t
}

// withoutDelegated returns the candidates of policies that are not delegated.
func (m *matrix) withoutDelegated(candidates []candidate) []candidate {
	var others []candidate
	for _, c := range candidates {
		if !m.entries[c.pattern].delegated {
			others = append(others, c)
		}
	}
	return others
}

// resolveTiers decides between candidates by all tiers that count now.
func (m *matrix) resolveTiers(done []candidate) verdict {
	if m.others == nil {
		return m.resolveTier(m.all, done)
	}
	if m.single {
		if m.tier == m.others {
			done = m.withoutDelegated(done)
		}
		return m.resolveTier(m.tier, done)
	}
	how := stricter
	if m.moves { // whether a delegated policy alone is so strict matters nowhere else
		how = stricterOfTiers
	}
	v := m.combine(how, m.resolveTier(m.all, done), m.resolveTier(m.others, m.withoutDelegated(done)))
	m.tier = m.all
	return v
}

func (m *matrix) resolveTier(t *tier, done []candidate) verdict {
	m.tier = t
	m.work += len(done) + 1
	return verdict{m.resolveKnown(done), m.resolveUnknown(done)}
}

// byTier calls a function for each tier by itself, and returns the blocks that it makes of all candidates and, where
// some are delegated, of the others'.
func (m *matrix) byTier(blocks func() [][]verdict) (all, others [][]verdict) {
	if m.others == nil {
		return blocks(), nil
	}
	m.single = true
	all = blocks()
	m.tier = m.others
	m.forget()
	others = blocks()
	m.forget()
	m.tier, m.single = m.all, false
	return all, others
}
