package policy

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// The keys of the [Specificity] of credentials.
const (
	fromUIDKey = iota
	fromGIDKey
	toUIDKey
	toGIDKey
)

// MaxID is the greatest user or group id; the next one means "no id".
const MaxID = 0xfffffffe

// Contains reports whether the id lies in the range.
func (r IDRange) Contains(id uint32) bool { return r.First <= id && id <= r.Last }

// String returns the range as YAML spells it: 1000 or 1000-2000.
func (r IDRange) String() string {
	if r.First == r.Last {
		return strconv.FormatUint(uint64(r.First), 10)
	}
	return fmt.Sprintf("%d-%d", r.First, r.Last)
}

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
		return fmt.Errorf("%s: there is no id %d; the greatest is %d", key, r.Last, uint32(MaxID))
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

// matches reports whether the pattern selects the change of an id.
func (p CredentialsPattern) matches(o Object) (Specificity, certainty) {
	var s Specificity
	c, ok := o.(Credentials)
	switch {
	case !ok:
		return s, no
	case p.All:
		return s, yes
	case !p.From.UIDs.match(c.FromUID, &s[fromUIDKey]), !p.From.GIDs.match(c.FromGID, &s[fromGIDKey]):
		return s, no
	case !p.To.UIDs.isZero() && (c.Group || !p.To.UIDs.match(c.To, &s[toUIDKey])):
		return s, no
	case !p.To.GIDs.isZero() && (!c.Group || !p.To.GIDs.match(c.To, &s[toGIDKey])):
		return s, no
	}
	return s, yes
}

func (i Identity) isZero() bool { return i.UIDs.isZero() && i.GIDs.isZero() }

func (p CredentialsPattern) isZero() bool { return !p.All && p.From.isZero() && p.To.isZero() }

func (p CredentialsPattern) validate() error {
	var errs []error
	if p.isZero() {
		errs = append(errs, errors.New("the pattern names nothing; write all to select every change of identity"))
	}
	if p.All && (!p.From.isZero() || !p.To.isZero()) {
		errs = append(errs, errors.New("all cannot be combined with from or to; leave out one or the other"))
	}
	if !p.To.UIDs.isZero() && !p.To.GIDs.isZero() {
		errs = append(errs, errors.New("each id that changes is judged for itself, so nothing changes to both uids and gids; write a list of two patterns"))
	}
	errs = append(errs,
		p.From.UIDs.validate("from uids"), p.From.GIDs.validate("from gids"),
		p.To.UIDs.validate("to uids"), p.To.GIDs.validate("to gids"))
	return errors.Join(errs...)
}

// String returns the pattern as flow-style YAML.
func (p CredentialsPattern) String() string {
	if p.All {
		return "all"
	}
	var f flow
	for _, key := range []struct {
		name string
		Identity
	}{{"from", p.From}, {"to", p.To}} {
		if key.isZero() {
			continue
		}
		var inner flow
		inner.list("uids", key.UIDs.values())
		inner.list("gids", key.GIDs.values())
		f.keys = append(f.keys, key.name+": "+inner.String())
	}
	return f.String()
}

// String returns the ids before and the one after.
func (c Credentials) String() string {
	kind := "uid"
	if c.Group {
		kind = "gid"
	}
	return fmt.Sprintf("%s %d from uid %d, gid %d", kind, c.To, c.FromUID, c.FromGID)
}

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
