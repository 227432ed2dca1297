package compile

import (
	"fmt"
	"slices"
	"strings"

	"github.com/ebpfguard/ebpfguard/internal/abi"
	"github.com/ebpfguard/ebpfguard/policy"
)

// maxVerdicts bounds one operation's table of verdicts: 64 MiB.
const maxVerdicts = 1 << 24

// operation is an operation whose classes of objects are known.
type operation struct {
	name       policy.Operation
	entries    []entry
	dimensions []dimension
	// judge appends the verdicts in the order of the classes; nil for those of the matrix as
	// they are.
	judge func(*writer, *matrix)
	// header is what the verdicts are missing from, tables and masks are
	// the operation's own.
	header abi.Operation
	tables abi.Tables
}

// decide makes the verdicts of the operations.
func (c *compiler) decide(operations map[int]*operation) error {
	for id := range abi.Operations {
		o, ok := operations[id]
		if !ok {
			continue
		}
		if err := check(o); err != nil {
			return err
		}
		if err := c.verdicts(id, o); err != nil {
			return err
		}
		c.header.Concerned |= 1 << id
		c.tables.set(2*id, o.header)
		c.tables.set(2*id+1, o.tables)
	}
	return nil
}

// verdicts makes the verdict table of an operation.
func (c *compiler) verdicts(id int, o *operation) error {
	m := c.subjects.newMatrix(o)
	w := &writer{matrix: m, tables: &c.tables, first: c.first, nodes: make([]uint32, 0, 16*len(o.entries))}
	w.words = make([]uint32, 0, 2*m.blockSize()*len(o.dimensions[0].classes))
	judge := o.judge
	if judge == nil {
		judge = judgeAll
	}
	judge(w, m)
	if m.work > maxWork {
		return fmt.Errorf("%w: too many rules for %s match the same; put patterns of several rules into one", ErrTooLarge, o.name)
	}
	if w.deepest > abi.MaxNodes || len(w.nodes) > maxVerdicts {
		return fmt.Errorf("%w: the rules of %d different subjects for %s match the same; put several subjects into one policy", ErrTooLarge, w.deepest, o.name)
	}
	// Whether rules leave alone whatever no pattern names by the first key, for every process.
	if untouched(w.words[:len(w.words)/len(o.dimensions[0].classes)]) {
		c.header.Concerned |= 1 << (abi.ActiveOthersShift + id)
	}
	o.header.Verdicts = c.tables.append(w.words)
	if len(w.nodes) > 0 {
		o.header.Nodes = c.tables.append(w.nodes)
	}
	o.header.Classes = m.sizes()
	return nil
}

// untouched reports whether no rule is about something.
func untouched(words []uint32) bool {
	none := word(newDecision(policy.NoRule()), nil, false)
	return !slices.ContainsFunc(words, func(w uint32) bool { return w != none })
}

func judgeAll(w *writer, m *matrix) {
	for class := range m.dimensions[0].classes {
		for _, v := range m.block(class) {
			w.add(v, false)
		}
		if m.work > maxWork {
			break
		}
	}
}

// check returns an error if there would be too many verdicts.
func check(o *operation) error {
	cells := uint64(1)
	var parts []string
	for _, d := range o.dimensions {
		if d.overflow {
			return fmt.Errorf("%w: the rules for %s overlap too much in %s; put patterns of several rules into one", ErrTooLarge, o.name, d.kinds)
		}
		cells = min(cells*uint64(len(d.classes)), 1<<40)
		parts = append(parts, fmt.Sprintf("%d of %s", len(d.classes), d.kinds))
	}
	if cells <= maxVerdicts {
		return nil
	}
	return fmt.Errorf("%w: the rules for %s tell apart %s, together %d verdicts; %d are possible, name less in separate rules",
		ErrTooLarge, o.name, strings.Join(parts, ", "), cells, maxVerdicts)
}
