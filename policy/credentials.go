package policy

import (
	"errors"
	"fmt"

	"github.com/ebpfguard/ebpfguard/internal/strictyaml"
)

// CredentialsPattern selects changes of identity by the effective ids before and
// the id after. Since each id that changes is judged by itself, To names users
// or groups but not both. The keys are ANDed, the values of one key ORed, an empty
// key matches everything. The zero value is refused; the pattern for everything is
// CredentialsPattern{All: true}.
type CredentialsPattern struct {
	All  bool     `json:"all,omitempty"`
	From Identity `json:"from,omitzero"`
	To   Identity `json:"to,omitzero"`
}

// Credentials is the object of task_fix_setuid: one id that changes.
type Credentials struct {
	// FromUID and FromGID are the effective ids before.
	FromUID, FromGID uint32
	// To is the new id, a group's if Group is set.
	To    uint32
	Group bool
}

// The keys of the [Specificity] of credentials.
const (
	fromUIDKey = iota
	fromGIDKey
	toUIDKey
	toGIDKey
)

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
		errs = append(errs, errors.New("each id that changes is judged by itself, so a pattern cannot have both uids and gids; write a list of two patterns"))
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

func credentialsObjects(all []Pattern) []Object {
	var fromUIDs, fromGIDs, toUIDs, toGIDs []IDs
	for _, pattern := range all {
		p, ok := pattern.(CredentialsPattern)
		if !ok {
			continue
		}
		for _, ids := range []IDs{p.From.UIDs, p.From.GIDs, p.To.UIDs, p.To.GIDs} {
			if len(ids.Names) > 0 {
				return nil // nobody knows which ids they are
			}
		}
		fromUIDs, fromGIDs = append(fromUIDs, p.From.UIDs), append(fromGIDs, p.From.GIDs)
		toUIDs, toGIDs = append(toUIDs, p.To.UIDs), append(toGIDs, p.To.GIDs)
	}
	var to []Credentials
	for _, id := range idRepresentatives(toUIDs) {
		to = append(to, Credentials{To: id})
	}
	for _, id := range idRepresentatives(toGIDs) {
		to = append(to, Credentials{To: id, Group: true})
	}
	uids, gids := idRepresentatives(fromUIDs), idRepresentatives(fromGIDs)
	if len(to)*len(uids)*len(gids) > maxObjects {
		return nil
	}
	return product(len(to), func(i int) []Object {
		var objects []Object
		for _, uid := range uids {
			for _, gid := range gids {
				c := to[i]
				c.FromUID, c.FromGID = uid, gid
				objects = append(objects, c)
			}
		}
		return objects
	})
}

// credentialsKind is for task_fix_setuid.
type credentialsKind struct{}

func (credentialsKind) everything() Pattern { return CredentialsPattern{All: true} }

func (credentialsKind) check(Pattern) error { return nil }

func (credentialsKind) keys() (names, kinds []string) {
	return []string{"from uids", "from gids", "to uids", "to gids"}, nil
}

// Numbers implements [NumberPattern].
func (p CredentialsPattern) Numbers() []NumberKey {
	return []NumberKey{
		{"users before", p.From.UIDs.Ranges, !p.From.UIDs.isZero()}, {"groups before", p.From.GIDs.Ranges, !p.From.GIDs.isZero()},
		{"users after", p.To.UIDs.Ranges, !p.To.UIDs.isZero()}, {"groups after", p.To.GIDs.Ranges, !p.To.GIDs.isZero()},
	}
}

// Numbers implements [NumberObject].
func (c Credentials) Numbers() []uint32 {
	if c.Group {
		return []uint32{c.FromUID, c.FromGID, NoNumber, c.To}
	}
	return []uint32{c.FromUID, c.FromGID, c.To, NoNumber}
}

// unresolved reports whether the pattern has names of users or groups.
func (p CredentialsPattern) unresolved() bool {
	return len(p.From.UIDs.Names)+len(p.From.GIDs.Names)+len(p.To.UIDs.Names)+len(p.To.GIDs.Names) > 0
}

func (p CredentialsPattern) resolve(r *nameResolver) Pattern {
	return CredentialsPattern{All: p.All, From: r.identity(p.From), To: r.identity(p.To)}
}

func (credentialsKind) fields() ([]string, string) {
	return []string{"from", "to"}, "to: {uids: [...]}"
}

func (credentialsKind) decode(d *decoder, set strictyaml.Fields) Pattern {
	return CredentialsPattern{From: d.identity(set, "from"), To: d.identity(set, "to")}
}

func (credentialsKind) judge(j judge, o Object) (judgement, bool) {
	c, ok := o.(Credentials)
	if !ok {
		return judgement{}, false
	}
	return j.literal(c), true
}

func (credentialsKind) notes(Object, Object) []string { return nil }

func (credentialsKind) representatives(all []Pattern) []Object { return credentialsObjects(all) }

var (
	flagFromUID = &Flag{Name: "from-uid", Usage: "change of identity: the effective user before, a `name` or number; by default --uid"}
	flagFromGID = &Flag{Name: "from-gid", Usage: "change of identity: the effective group before, a `name` or number; by default the number of the user before"}
	flagToUID   = &Flag{Name: "to-uid", Usage: "change of identity: the user after, a `name` or number"}
	flagToGID   = &Flag{Name: "to-gid", Usage: "change of identity: the group after, a `name` or number"}
)

func (credentialsKind) flags() []*Flag {
	return []*Flag{flagFromUID, flagFromGID, flagToUID, flagToGID}
}

func (credentialsKind) object(d *Description) (Object, error) {
	if d.has(flagToUID) == d.has(flagToGID) {
		return nil, errors.New("give one of --to-uid and --to-gid: each id that changes is judged by itself")
	}
	c := Credentials{FromUID: d.Process.UID, Group: d.text(flagToGID) != ""}
	account := func(flag *Flag, lookup func(string) (uint32, error), to *uint32) (err error) {
		if *to, err = ParseAccount(d.text(flag), lookup); err != nil {
			return fmt.Errorf("--%s %w", flag.Name, err)
		}
		return nil
	}
	if d.text(flagFromUID) != "" {
		if err := account(flagFromUID, d.Users, &c.FromUID); err != nil {
			return nil, err
		}
	}
	c.FromGID = c.FromUID
	if d.text(flagFromGID) != "" {
		if err := account(flagFromGID, d.Groups, &c.FromGID); err != nil {
			return nil, err
		}
	}
	if c.Group {
		return c, account(flagToGID, d.Groups, &c.To)
	}
	return c, account(flagToUID, d.Users, &c.To)
}

var randomIDs = []uint32{0, 1, 10, 1000, 1001, 65534, MaxID}

func randomRanges(d Draws) IDs {
	var ids IDs
	for range 1 + d.IntN(2) {
		a := choose(d, randomIDs...)
		b := choose(d, a, choose(d, randomIDs...))
		ids.Ranges = append(ids.Ranges, IDRange{First: min(a, b), Last: max(a, b)})
	}
	return ids
}

func (credentialsKind) randomPattern(d Draws) Pattern {
	var p CredentialsPattern
	if chance(d, 30) {
		p.From.UIDs = randomRanges(d)
	}
	if chance(d, 20) {
		p.From.GIDs = randomRanges(d)
	}
	switch {
	case chance(d, 50):
		p.To.UIDs = randomRanges(d)
	case chance(d, 40):
		p.To.GIDs = randomRanges(d)
	}
	return p
}

func (credentialsKind) randomObject(d Draws) Object {
	return Credentials{
		FromUID: choose(d, randomIDs...), FromGID: choose(d, randomIDs...), To: choose(d, randomIDs...), Group: chance(d, 40),
	}
}
