package compile

import (
	"fmt"

	"github.com/ebpfguard/ebpfguard/internal/bpf"
	"github.com/ebpfguard/ebpfguard/policy"
)

// socketPattern is one pattern of one rule for an operation on sockets.
type socketPattern struct {
	policy.SocketPattern
	verdict      policy.Verdict
	policy, rule int
}

// noMatch is the specificity of a pattern that does not match in a key.
const noMatch = ^uint32(0)

// column is what the patterns see of a class of values of one key: each
// pattern's specificity, or noMatch.
type column []uint32

// compileSockets makes the tables of an operation on sockets.
func compileSockets(set []policy.Policy, operation policy.Operation, first []int, classes *classes, t *tables) (bpf.Operation, error) {
	patterns := socketPatterns(set, operation)
	if len(patterns) == 0 {
		return bpf.Operation{}, nil
	}
	rows, byClass := classes.rows(set, operation)
	ports := portColumns(patterns)
	addresses := addressColumns(patterns)
	protocols := protocolColumns(patterns)
	cells := len(rows) * len(addresses.columns) * len(ports.columns) * len(protocols.columns)
	if cells > maxVerdicts {
		return bpf.Operation{}, fmt.Errorf("%w: the rules for %s tell apart %d kinds of processes, %d of addresses, %d of ports and %d of protocols, together %d verdicts; %d are possible, name less in separate rules",
			ErrTooLarge, operation, len(rows), len(addresses.columns), len(ports.columns), len(protocols.columns), cells, maxVerdicts)
	}
	verdicts := make([]uint32, 0, cells)
	for _, r := range rows {
		c := cell{unknown: r.unknown, patterns: patterns, ranks: r.ranks}
		inRow := r.matching(patterns)
		for a := range addresses.columns {
			at := len(verdicts)
			restricts := make([]bool, len(protocols.columns))
			for p := range ports.columns {
				for i, protocol := range protocols.columns {
					c.port, c.protocol = ports.columns[p], protocol
					c.matching = and(inRow, ports.matching[p])
					d := c.judgeAddress(addresses, a)
					restricts[i] = restricts[i] || d.Verdict != policy.Allow
					rule := -1
					if d.Rule >= 0 {
						rule = first[d.Policy] + d.Rule
					}
					verdicts = append(verdicts, uint32(bpf.NewVerdict(uint8(d.Verdict), rule, !d.NamesPort, d.Undecided)))
				}
			}
			// Where every port is allowed so is port 0, however many
			// intervals the kernel would have to look at.
			for i := at; i < len(verdicts); i++ {
				if !restricts[(i-at)%len(restricts)] {
					verdicts[i] = uint32(bpf.Verdict(verdicts[i]).NamesPort())
				}
			}
		}
	}
	return bpf.Operation{
		Rows:            t.appendWords(byClass),
		Ports:           t.append(ports.entries()...),
		PortCount:       uint32(len(ports.starts)),
		Addresses4:      t.append(addresses.entries4()...),
		Address4Count:   uint32(len(addresses.starts4)),
		Addresses6:      t.append(addresses.entries6()...),
		Address6Count:   uint32(len(addresses.starts6)),
		Protocols:       t.appendWords(protocols.byProtocol),
		Verdicts:        t.appendWords(verdicts),
		AddressClasses:  uint32(len(addresses.columns)),
		PortClasses:     uint32(len(ports.columns)),
		ProtocolClasses: uint32(len(protocols.columns)),
	}, nil
}

func socketPatterns(set []policy.Policy, operation policy.Operation) []socketPattern {
	var patterns []socketPattern
	for i, p := range set {
		deny := policy.Deny
		if p.Mode == policy.ModeAudit {
			deny = policy.Audit
		}
		for j, r := range p.Rules {
			if r.Operation != operation {
				continue
			}
			for _, pattern := range r.Deny {
				patterns = append(patterns, socketPattern{pattern.(policy.SocketPattern), deny, i, j})
			}
			for _, pattern := range r.Allow {
				patterns = append(patterns, socketPattern{pattern.(policy.SocketPattern), policy.Allow, i, j})
			}
		}
	}
	return patterns
}

// matching returns the patterns that concern the row's processes.
func (r row) matching(patterns []socketPattern) bitset {
	matching := newBitset(len(patterns))
	for i, p := range patterns {
		if r.ranks[p.policy] != 0 {
			matching.set(i)
		}
	}
	return matching
}

// cell is what decides about one entry of the verdict table, but for the
// address.
type cell struct {
	unknown        bool
	patterns       []socketPattern
	ranks          []policy.SubjectRank
	port, protocol column
	// matching are the patterns that match process and port.
	matching bitset
}

// judgeAddress decides about a class of addresses. That of the unspecified
// address stands for every address of its family, as [policy.Decide] has it.
func (c *cell) judgeAddress(addresses *addressClasses, address int) policy.Decision {
	every, ok := addresses.unspecified[address]
	d := c.resolve(addresses, address, every.named)
	if !ok || d.NamesAddress {
		return d
	}
	for other := range every.family {
		d = policy.Stricter(d, c.resolve(addresses, int(other), every.named))
	}
	return d
}

// resolve decides about an address as it is. named is the specificity of a
// pattern that names just the unspecified address.
func (c *cell) resolve(addresses *addressClasses, address int, named uint32) policy.Decision {
	var candidates []policy.Candidate
	column := addresses.columns[address]
	for i := range and(c.matching, addresses.matching[address]).all() {
		if c.protocol[i] == noMatch {
			continue
		}
		p := c.patterns[i]
		candidates = append(candidates, policy.Candidate{
			Object:  policy.Specificity{column[i], c.port[i], c.protocol[i]},
			Subject: c.ranks[p.policy], Verdict: p.verdict, Policy: p.policy, Rule: p.rule,
			// Of objects that are not port 0 or the unspecified address
			// nobody reads these.
			NamesPort:    c.port[i] == policy.PortSpecificity(policy.PortRange{}),
			NamesAddress: named != 0 && column[i] == named,
		})
	}
	if c.unknown {
		return policy.ResolveUnknown(candidates)
	}
	return policy.Resolve(candidates)
}
