package policy

import (
	"fmt"
	"strconv"

	"go.yaml.in/yaml/v3"
)

// patternFields returns the fields of the operation's pattern sets.
func patternFields(o Operation) []string {
	switch Everything(o).(type) {
	case FilePattern:
		return []string{"paths", "access"}
	case ProgramPattern:
		return []string{"paths", "fileless", "no_args"}
	case MountPattern:
		return []string{"sources", "targets", "types", "flags"}
	case CredentialsPattern:
		return []string{"from", "to"}
	case SocketPattern:
		return []string{"ports", "addresses", "addresses_from", "protocols"}
	}
	return nil
}

// pattern decodes all or one pattern set.
func (d *decoder) pattern(n *yaml.Node, what string, o Operation) (Pattern, bool) {
	if n.Kind == yaml.ScalarNode && n.ShortTag() == "!!str" && n.Value == "all" {
		return Everything(o), true
	}
	before := len(d.problems)
	known := patternFields(o)
	example := fmt.Sprintf("%s: all or %s: {%s: [...]}", what, what, known[0])
	if o == TaskFixSetuid {
		example = fmt.Sprintf("%s: all or %s: {to: {uids: [...]}}", what, what)
	}
	if isNull(n) {
		d.fail(n, "%s has no value; write %s", what, example)
		return nil, false
	}
	set, ok := d.mapping(n, "pattern", example, known...)
	if !ok {
		return nil, false
	}
	var p Pattern
	switch Everything(o).(type) {
	case FilePattern:
		p = d.filePattern(set)
	case ProgramPattern:
		p = ProgramPattern{Paths: d.paths(set, "paths", "path"), Fileless: d.trait(set, "fileless"), NoArgs: d.trait(set, "no_args")}
	case MountPattern:
		p = d.mountPattern(set, o)
	case CredentialsPattern:
		p = CredentialsPattern{From: d.identity(set, "from"), To: d.identity(set, "to")}
	case SocketPattern:
		p = d.socketPattern(set)
	}
	if len(d.problems) > before {
		return nil, false
	}
	if err := checkPattern(o, p); err != nil {
		d.check(n, err)
		return nil, false
	}
	return p, true
}

// paths decodes a list of path patterns.
func (d *decoder) paths(set fields, key, what string) []string {
	var paths []string
	for item, text := range d.texts(set, key, "a "+what) {
		_, err := parsePathPattern(what, text)
		d.check(item, err)
		paths = append(paths, text)
	}
	return paths
}

func (d *decoder) filePattern(set fields) FilePattern {
	p := FilePattern{Paths: d.paths(set, "paths", "path")}
	for item, text := range d.texts(set, "access", "an access") {
		access, err := ParseAccess(text)
		d.check(item, err)
		if p.Access&access != 0 {
			d.fail(item, "access %s is listed twice; remove one", text)
		}
		p.Access |= access
	}
	return p
}

// trait decodes what a pattern names by true. Since false would name nothing,
// rather than the opposite, it is refused.
func (d *decoder) trait(set fields, key string) bool {
	n, ok := set[key]
	if !ok {
		return false
	}
	value, ok := d.boolean(n, key)
	if ok && !value {
		d.fail(n, "%s can only be true; leave it out to select programs with and without it", key)
	}
	return value
}

func (d *decoder) mountPattern(set fields, o Operation) MountPattern {
	var p MountPattern
	for item, text := range d.texts(set, "sources", "a source") {
		_, err := ParseSourcePattern(text)
		d.check(item, err)
		p.Sources = append(p.Sources, text)
	}
	p.Targets = d.paths(set, "targets", "target")
	for item, text := range d.texts(set, "types", "a type") {
		d.check(item, checkType(text))
		p.Types = append(p.Types, text)
	}
	for item, text := range d.texts(set, "flags", "a flag") {
		flag, err := ParseMountFlag(text)
		if err == nil {
			err = MountPattern{Flags: flag}.validateFor(o)
		}
		d.check(item, err)
		if p.Flags&flag != 0 {
			d.fail(item, "flag %s is listed twice; remove one", text)
		}
		p.Flags |= flag
	}
	return p
}

func (d *decoder) identity(set fields, key string) Identity {
	n, ok := set[key]
	if !ok {
		return Identity{}
	}
	before := len(d.problems)
	ids, ok := d.mapping(n, key, key+": {uids: [...]}", "uids", "gids")
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
	if i.isZero() && len(d.problems) == before {
		d.fail(n, "%s names nothing; write %s: {uids: [...]} or leave it out", key, key)
	}
	return i
}

// ids decodes a list of numbers, ranges and names.
func (d *decoder) ids(n *yaml.Node, key string) IDs {
	var ids IDs
	for _, item := range d.list(n, key) {
		if !d.untagged(item) {
			continue
		}
		r, name, err := parseID(item, key)
		d.check(item, err)
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
		return r, "", fmt.Errorf("%s: an id cannot be %s; %s", key, kind(n), remedy)
	}
	if n.ShortTag() == "!!int" {
		// See parsePorts.
		if !decimal.MatchString(n.Value) {
			return r, "", fmt.Errorf("%s: %s is not a plain decimal number; %s", key, kind(n), remedy)
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
		return r, "", fmt.Errorf("%s: the range %s has leading zeros; remove them", key, kind(n))
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
		return 0, fmt.Errorf("%s: there is no id %s; the greatest is %d", key, shorten(s), uint32(MaxID))
	}
	return uint32(id), nil
}
