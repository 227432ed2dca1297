package boot

import (
	"fmt"
	"strings"

	"github.com/ebpfguard/ebpfguard/cmd/ebpfguard/internal/change"
)

// grubby is the program of Fedora and its relatives that changes the boot entries below /boot/loader, and
// what later kernels get.
type grubby struct {
	System
	program string
}

func (g *grubby) name() string { return "grubby, for the boot entries in /boot/loader/entries" }

func (g *grubby) enable() (*Plan, error) {
	current, set, err := g.current()
	if err != nil {
		return nil, err
	}
	list, err := g.wanted(current, set)
	if err != nil {
		return nil, err
	}
	if set && list == current {
		return g.already(list), nil
	}
	r := record{Is: list}
	if set {
		r.Was = &current
	}
	plan := g.exchange(r.Was, &r.Is)
	return plan, plan.add(g.remember(r))
}

func (g *grubby) disable() (*Plan, error) {
	r, err := g.recall()
	if r == nil || err != nil {
		return &Plan{Done: nothingToTakeBack}, err
	}
	current, set, err := g.current()
	if err != nil {
		return nil, err
	}
	if !set || current != r.Is {
		return nil, r.changed("the boot entries")
	}
	plan := g.exchange(&r.Is, r.Was)
	return plan, plan.add(g.removal(recordFile))
}

func (g *grubby) try() (*Plan, error) {
	return nil, fmt.Errorf("a trial boot is not possible with grubby's entries: a copy of one could become the default; enable without --try changes every boot, and in the menu at boot the parameter can be taken out with the key e")
}

// exchange plans another value of lsm= for all entries, nil for none.
func (g *grubby) exchange(from, to *string) *Plan {
	command := func(list *string) Command {
		c := Command{g.program, "--update-kernel=ALL", "--remove-args=lsm"}
		if list != nil {
			c = append(c, "--args=lsm="+*list)
		}
		return c
	}
	text := func(list *string) string {
		if list == nil {
			return ""
		}
		return "lsm=" + *list + "\n"
	}
	return &Plan{
		files:    []change.File{{Name: "the parameters of every boot entry", Existed: true, Remains: true, Before: text(from), After: text(to), Shown: true}},
		commands: []Command{command(to)},
		undo:     []Command{command(from)},
		verify: func() (string, error) {
			list, set, err := g.current()
			switch {
			case err != nil:
				return "", err
			case set != (to != nil) || set && list != *to:
				return "", fmt.Errorf("grubby --info=ALL does not show the change; set lsm= of the boot entries by hand")
			case !set:
				return "no boot entry has lsm= now", nil
			}
			return "all boot entries have lsm=" + list, nil
		},
	}
}

// current returns lsm= of all entries. It refuses entries that differ.
func (g *grubby) current() (list string, set bool, err error) {
	out, err := g.Run(Command{g.program, "--info=ALL"})
	if err != nil {
		return "", false, err
	}
	entries := 0
	for line := range strings.Lines(out) {
		args, ok := strings.CutPrefix(strings.TrimSpace(line), "args=")
		if !ok {
			continue
		}
		l, s := parameter(strings.Trim(args, `"`))
		if entries > 0 && (l != list || s != set) {
			return "", false, fmt.Errorf("%w: the boot entries differ in lsm= (grubby --info=ALL shows them); make them the same and run this again", ErrUnknown)
		}
		list, set = l, s
		entries++
	}
	if entries == 0 {
		return "", false, unknown("grubby --info=ALL shows no boot entry")
	}
	return list, set, nil
}
