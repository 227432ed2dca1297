package policy

import (
	"fmt"

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
