package compile

import (
	"fmt"
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
	// judge appends the verdicts of a row in the order of the classes; nil
	// for those of the matrix as they are.
	judge func(words []uint32, m *matrix) []uint32
	// header is what the verdicts are missing from, tables and masks are
	// the operation's own.
	header abi.Operation
	tables abi.Tables
	rows   *rows
	// byClass has the place of the row in the verdict table by class of processes,
	// or abi.RowAllowed.
	byClass []uint32
}

// decide makes the rows and verdicts of the operations.
func (c *compiler) decide(operations map[int]*operation) error {
	if err := c.subjects.rowsOf(operations); err != nil {
		return err
	}
	for id := range abi.Operations {
		if o, ok := operations[id]; ok {
			if err := c.verdicts(o); err != nil {
				return err
			}
			c.tables.set(2*id, o.header)
			c.tables.set(2*id+1, o.tables)
		}
	}
	c.appendRows(operations)
	return nil
}

// appendRows writes the rows of all operations, a line for each class of processes.
func (c *compiler) appendRows(operations map[int]*operation) {
	lines := make([]uint32, c.subjects.classes()*abi.LineWords)
	for i := range lines {
		lines[i] = abi.RowAllowed
	}
	for id, o := range operations {
		c.header.Concerned |= 1 << id
		for class, row := range o.byClass {
			lines[class*abi.LineWords+id] = row
		}
	}
	c.header.Rows = c.tables.append(lines)
}

// rowsOf finds the rows of the operations.
func (s *subjects) rowsOf(operations map[int]*operation) error {
	for id := range abi.Operations {
		o, ok := operations[id]
		if !ok {
			continue
		}
		var err error
		if o.rows, err = s.rows(o.entries, o.name); err != nil {
			return err
		}
		if err := check(o, len(o.rows.list), len(s.binaries.ids)); err != nil {
			return err
		}
	}
	return nil
}

// verdicts makes the verdict table of an operation.
func (c *compiler) verdicts(o *operation) error {
	m := &matrix{entries: o.entries, names: o.name.NameKeys(), dimensions: o.dimensions}
	judge := o.judge
	if judge == nil {
		judge = c.judgeAll
	}
	var words []uint32
	places := make([]uint32, len(o.rows.list))
	next := uint32(0)
	for i := range o.rows.list {
		m.start(o.rows.row(i, len(c.set)))
		at := len(words)
		words = judge(words, m)
		if m.work > maxWork {
			return fmt.Errorf("%w: too many rules for %s match the same; put patterns of several rules into one", ErrTooLarge, o.name)
		}
		if allowed(words[at:]) {
			words = words[:at]
			places[i] = abi.RowAllowed
			continue
		}
		places[i] = next
		next++
	}
	o.byClass = make([]uint32, len(o.rows.byClass))
	for i, row := range o.rows.byClass {
		o.byClass[i] = abi.RowAllowed
		if row != abi.RowAllowed {
			o.byClass[i] = places[row]
		}
	}
	o.header.Verdicts = c.tables.append(words)
	o.header.Classes = m.sizes()
	return nil
}

// allowed reports whether nothing is refused or reported.
func allowed(words []uint32) bool {
	for _, w := range words {
		if abi.Verdict(w).Verdict() != uint8(policy.Allow) {
			return false
		}
	}
	return true
}

func (c *compiler) judgeAll(words []uint32, m *matrix) []uint32 {
	for class := range m.dimensions[0].classes {
		for _, d := range m.block(class) {
			words = append(words, word(d, c.first, false))
		}
		if m.work > maxWork {
			break
		}
	}
	return words
}

// check returns an error if there would be too many verdicts.
func check(o *operation, rows, lists int) error {
	cells := uint64(rows)
	parts := []string{fmt.Sprintf("%d kinds of processes", rows)}
	if lists > 1 {
		parts[0] += fmt.Sprintf(" (any two of %d programs or lists of binaries, since one may be a script and the other its interpreter)", lists)
	}
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
