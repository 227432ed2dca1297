package policy

import (
	"errors"
	"fmt"
	"strconv"

	"github.com/ebpfguard/ebpfguard/internal/strictyaml"
)

// NicenessPattern selects changes of the niceness by the level after: niceness + 20.
type NicenessPattern struct {
	All    bool      `json:"all,omitempty"`
	Levels []IDRange `json:"levels,omitempty"`
}

// Niceness is the object of task_setnice.
type Niceness struct{ Level uint32 }

const maxLevel = 39

// Numbers implements [NumberPattern].
func (p NicenessPattern) Numbers() []NumberKey {
	return []NumberKey{{"levels", p.Levels, len(p.Levels) > 0}}
}

// Numbers implements [NumberObject].
func (n Niceness) Numbers() []uint32 { return []uint32{n.Level} }

// String returns the level.
func (n Niceness) String() string { return fmt.Sprintf("level %d", n.Level) }

// String returns the pattern as flow-style YAML.
func (p NicenessPattern) String() string {
	if p.All {
		return "all"
	}
	var f flow
	f.list("levels", IDs{Ranges: p.Levels}.values())
	return f.String()
}

func (p NicenessPattern) matches(o Object) (Specificity, certainty) {
	var s Specificity
	n, ok := o.(Niceness)
	if !ok || !p.All && !(IDs{Ranges: p.Levels}).match(n.Level, &s[0]) {
		return s, no
	}
	return s, yes
}

func (p NicenessPattern) validate() error {
	errs := []error{checkEmpty("levels", p.Levels)}
	if p.All == (len(p.Levels) > 0) {
		errs = append(errs, errors.New("name levels or all; write one of them"))
	}
	for _, r := range p.Levels {
		if r.First > r.Last || r.Last > maxLevel {
			errs = append(errs, fmt.Errorf("levels: %v is no range of levels; write one from 0 to %d", r, maxLevel))
		}
	}
	return errors.Join(errs...)
}

// nicenessKind is for task_setnice.
type nicenessKind struct{}

func (nicenessKind) everything() Pattern           { return NicenessPattern{All: true} }
func (nicenessKind) check(Pattern) error           { return nil }
func (nicenessKind) keys() (names, kinds []string) { return []string{"levels"}, nil }
func (nicenessKind) fields() ([]string, string)    { return []string{"levels"}, "levels: [25-39]" }
func (nicenessKind) notes(Object, Object) []string { return nil }

func (nicenessKind) decode(d *decoder, set strictyaml.Fields) Pattern {
	var p NicenessPattern
	if n, ok := set["levels"]; ok {
		ids := d.ids(n, "levels")
		if len(ids.Names) > 0 {
			d.Fail(n, "levels are numbers; write such as 25-39")
		}
		p.Levels = ids.Ranges
	}
	return p
}

func (nicenessKind) judge(j judge, o Object) (judgement, bool) {
	n, ok := o.(Niceness)
	if !ok {
		return judgement{}, false
	}
	return j.literal(n), true
}

func (nicenessKind) representatives(all []Pattern) []Object {
	var sets []IDs
	for _, p := range all {
		sets = append(sets, IDs{Ranges: p.(NicenessPattern).Levels})
	}
	var objects []Object
	for _, level := range idRepresentatives(sets) {
		objects = append(objects, Niceness{level})
	}
	return objects
}

var flagLevel = &Flag{Name: "level", Usage: "niceness: the `level` after, niceness + 20"}

func (nicenessKind) flags() []*Flag { return []*Flag{flagLevel} }

func (nicenessKind) object(d *Description) (Object, error) {
	level, err := strconv.ParseUint(d.text(flagLevel), 10, 32)
	if err != nil || level > maxLevel {
		return nil, missing(flagLevel, TaskSetnice, "30")
	}
	return Niceness{uint32(level)}, nil
}

func (nicenessKind) randomPattern(d Draws) Pattern {
	first := uint32(d.IntN(maxLevel + 1))
	return NicenessPattern{Levels: []IDRange{{first, min(maxLevel, first+uint32(d.IntN(20)))}}}
}

func (nicenessKind) randomObject(d Draws) Object { return Niceness{uint32(d.IntN(maxLevel + 1))} }
