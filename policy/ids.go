package policy

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"

	"github.com/ebpfguard/ebpfguard/internal/strictyaml"
)

// MaxID is the greatest user or group id; the next one means "no id".
const MaxID = 0xfffffffe

// IDRange is an inclusive range of user or group ids, of the initial user
// namespace.
type IDRange struct {
	First uint32 `json:"first"`
	Last  uint32 `json:"last"`
}

// IDs is a set of user or group ids.
type IDs struct {
	Ranges []IDRange `json:"ranges,omitempty"`
	// Names have to be resolved with [ResolveNames] before policies are
	// compiled or decided.
	Names []string `json:"names,omitempty"`
}

// Identity selects user and group ids.
type Identity struct {
	UIDs IDs `json:"uids,omitzero"`
	GIDs IDs `json:"gids,omitzero"`
}

// Contains reports whether the id lies in the range.
func (r IDRange) Contains(id uint32) bool { return r.First <= id && id <= r.Last }

// String returns the range as YAML spells it: 1000 or 1000-2000.
func (r IDRange) String() string {
	if r.First == r.Last {
		return strconv.FormatUint(uint64(r.First), 10)
	}
	return fmt.Sprintf("%d-%d", r.First, r.Last)
}

// NumberPattern is a [Pattern] of which each key is a number.
type NumberPattern interface {
	Pattern
	// Numbers returns what the pattern names of each key, in the order of the
	// [Specificity].
	Numbers() []NumberKey
}

// NumberKey is what a pattern names of a key that is a number. How specific a match
// is [IDSpecificity] tells.
type NumberKey struct {
	// Kinds is what numbers of the key are called in an error.
	Kinds  string
	Ranges []IDRange
	// Named says that the pattern names the key, be it nothing of it.
	Named bool
}

// NumberObject is an [Object] of which each key is a number.
type NumberObject interface {
	Object
	// Numbers returns the number of each key; [NoNumber] where it has none.
	Numbers() []uint32
}

// NoNumber is no number that a pattern can name.
const NoNumber = MaxID + 1

// IDSpecificity returns how specific a match by the range is: 1 for all ids,
// the greatest number for a single one. A range that contains nothing yields 0.
func IDSpecificity(r IDRange) uint32 {
	if r.First > r.Last {
		return 0
	}
	return 1 + MaxID - min(r.Last-r.First, MaxID)
}

// match reports whether the ids, if any are named, contain the id, and sets how
// specifically. Names that are not resolved contain none.
func (ids IDs) match(id uint32, specificity *uint32) bool {
	if ids.isZero() {
		return true
	}
	for _, r := range ids.Ranges {
		if r.Contains(id) {
			*specificity = max(*specificity, IDSpecificity(r))
		}
	}
	return *specificity > 0
}

func (ids IDs) isZero() bool { return len(ids.Ranges) == 0 && len(ids.Names) == 0 }

// values returns the ids as YAML spells them.
func (ids IDs) values() []string {
	var values []string
	for _, r := range ids.Ranges {
		values = append(values, r.String())
	}
	return append(values, quoted(ids.Names)...)
}

// validate returns what is wrong with the ids of a key.
func (ids IDs) validate(key string) error {
	errs := []error{checkEmpty(key, ids.Ranges), checkEmpty(key, ids.Names)}
	for _, r := range ids.Ranges {
		errs = append(errs, checkIDRange(key, r))
	}
	for _, name := range ids.Names {
		errs = append(errs, checkAccount(key, name))
	}
	return errors.Join(errs...)
}

func checkIDRange(key string, r IDRange) error {
	switch {
	case r.First > r.Last:
		return fmt.Errorf("%s: the range %v is empty; write %d-%d", key, r, r.Last, r.First)
	case r.Last > MaxID:
		return fmt.Errorf("%s: there is no id %d; the largest is %d", key, r.Last, uint32(MaxID))
	}
	return nil
}

// checkAccount returns what keeps a name from being that of a user or group. It
// refuses what no system has, not all that one system has not.
func checkAccount(key, name string) error {
	shown := shorten(name)
	switch {
	case name == "":
		return fmt.Errorf("%s: a name is empty; write a name or number", key)
	case len(name) > 255:
		return fmt.Errorf("%s: the name %q has %d bytes; write its number", key, shown, len(name))
	case !utf8.ValidString(name):
		return fmt.Errorf("%s: the name %q is not valid UTF-8; write its number", key, shown)
	case strings.Trim(name, "0123456789-") == "":
		return fmt.Errorf("%s: %q is a number or range and no name; write it as such", key, shown)
	case strings.HasPrefix(name, "-"), strings.ContainsAny(name, ":,/"), strings.ContainsFunc(name, unicode.IsSpace), strings.ContainsFunc(name, unicode.IsControl):
		return fmt.Errorf("%s: %q is no name of a user or group; write a name, a number or a range such as 1000-2000", key, shown)
	}
	return nil
}

func (i Identity) isZero() bool { return i.UIDs.isZero() && i.GIDs.isZero() }

// ids returns the boundaries of the classes of ids that the patterns of one key
// tell apart: each id is in exactly the same ranges as one of them.
func idRepresentatives(sets []IDs) []uint32 {
	reps := []uint32{0}
	for _, ids := range sets {
		for _, r := range ids.Ranges {
			reps = append(reps, r.First)
			if r.Last < MaxID {
				reps = append(reps, r.Last+1)
			}
		}
	}
	slices.Sort(reps)
	return slices.Compact(reps)
}

func (d *decoder) identity(set strictyaml.Fields, key string) Identity {
	n, ok := set[key]
	if !ok {
		return Identity{}
	}
	before := d.Problems()
	ids, ok := d.Mapping(n, key, key+": {uids: [...]}", "uids", "gids")
	if !ok {
		return Identity{}
	}
	var i Identity
	if value, ok := ids["uids"]; ok {
		i.UIDs = d.ids(value, "uids")
	}
	if value, ok := ids["gids"]; ok {
		i.GIDs = d.ids(value, "gids")
	}
	if i.isZero() && d.Problems() == before {
		d.Fail(n, "%s names nothing; write %s: {uids: [...]} or leave it out", key, key)
	}
	return i
}

// ids decodes a list of numbers, ranges and names.
func (d *decoder) ids(n *yaml.Node, key string) IDs {
	var ids IDs
	for _, item := range d.List(n, key) {
		if !d.Untagged(item) {
			continue
		}
		r, name, err := parseID(item, key)
		d.Check(item, err)
		switch {
		case err != nil:
		case name != "":
			ids.Names = append(ids.Names, name)
		default:
			ids.Ranges = append(ids.Ranges, r)
		}
	}
	return ids
}

// parseID returns the id, the range of ids or the name that the node holds.
func parseID(n *yaml.Node, key string) (r IDRange, name string, err error) {
	const remedy = "write a number, a range such as 1000-2000 or a name"
	if n.Kind != yaml.ScalarNode || n.ShortTag() != "!!int" && n.ShortTag() != "!!str" {
		return r, "", fmt.Errorf("%s: an id cannot be %s; %s", key, strictyaml.Kind(n), remedy)
	}
	if n.ShortTag() == "!!int" {
		// See parsePorts.
		if !decimal.MatchString(n.Value) {
			return r, "", fmt.Errorf("%s: %s is not a plain decimal number; %s", key, strictyaml.Kind(n), remedy)
		}
		id, err := parseIDNumber(n.Value, key)
		return IDRange{id, id}, "", err
	}
	m := decimalRange.FindStringSubmatch(n.Value)
	switch {
	case m == nil && decimal.MatchString(n.Value):
		return r, "", fmt.Errorf("%s: %q is a string; write it without the quotes", key, shorten(n.Value))
	case m == nil:
		return r, n.Value, checkAccount(key, n.Value)
	case !decimal.MatchString(m[1]) || !decimal.MatchString(m[2]):
		return r, "", fmt.Errorf("%s: the range %s has leading zeros; remove them", key, strictyaml.Kind(n))
	}
	if r.First, err = parseIDNumber(m[1], key); err != nil {
		return r, "", err
	}
	if r.Last, err = parseIDNumber(m[2], key); err != nil {
		return r, "", err
	}
	return r, "", checkIDRange(key, r)
}

// parseIDNumber returns the id of a decimal number.
func parseIDNumber(s, key string) (uint32, error) {
	id, err := strconv.ParseUint(s, 10, 32)
	if err != nil || id > MaxID {
		return 0, fmt.Errorf("%s: there is no id %s; the largest is %d", key, shorten(s), uint32(MaxID))
	}
	return uint32(id), nil
}
