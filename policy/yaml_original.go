package policy

import (
	"fmt"
	"maps"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/ebpfguard/ebpfguard/internal/strictyaml"
)

// The original ebpfguard library (https://github.com/deepfence/ebpfguard, 2023)
// reads a list of items tagged with the operation, each with the fields subject,
// allow and deny:
//
//	- !file_open
//	  subject: !binary /usr/bin/myapp
//	  allow: !paths
//	    - /etc/myapp
//	  deny: all
//
// A path that is a directory stands for all below it there. Where allow is true or
// false there may be no deny, and false alone denies. In bprm_check_security, which
// has just a subject, it denies programs started without arguments.

// originalForm is an operation in the form of the original library.
type originalForm struct {
	operation Operation
	// values is the tag of the values of allow and deny, and read reads those; where
	// it is empty the two are true or false.
	values string
	read   func(*decoder, *yaml.Node) Pattern
}

// originalForms are the operations by their tags.
var originalForms = map[string]originalForm{
	"file_open":           {FileOpen, "paths", (*decoder).originalFiles},
	"bprm_check_security": {operation: BprmCheckSecurity},
	"sb_mount":            {operation: SbMount},
	"sb_remount":          {operation: SbRemount},
	"sb_umount":           {operation: SbUmount},
	"task_fix_setuid":     {operation: TaskFixSetuid},
	"setuid":              {operation: TaskFixSetuid},
	"socket_bind":         {SocketBind, "ports", (*decoder).originalPorts},
	"socket_connect":      {SocketConnect, "addresses", (*decoder).originalAddresses},
}

// original decodes a list of policies in the form of the original library.
func (d *decoder) original(n *yaml.Node) []Policy {
	var set []Policy
	if len(n.Content) == 0 {
		d.Fail(n, "the list contains no policy; add one or begin with apiVersion: %s", APIVersion)
	}
	for _, item := range n.Content {
		item, ok := d.Follow(item)
		if !ok {
			return nil
		}
		d.originals++
		d.policy = ""
		if p, ok := d.originalItem(item); ok {
			set = append(set, p)
		}
	}
	return set
}

func (d *decoder) originalItem(n *yaml.Node) (Policy, bool) {
	known := slices.Sorted(maps.Keys(originalForms))
	tag := customTag(n)
	form, ok := originalForms[tag]
	o := form.operation
	switch {
	case tag == "":
		d.Fail(n, "a policy in a list must be tagged with its operation, as in the original ebpfguard library; write - !socket_bind, or begin with apiVersion: %s instead of a list", APIVersion)
		return Policy{}, false
	case !ok:
		d.Fail(n, "unknown operation !%s; %s", shorten(tag), strictyaml.Suggest(tag, known))
		return Policy{}, false
	}
	p := Policy{Name: d.originalName(o), Mode: ModeEnforce, Source: d.Position(n)}
	d.policy = p.Name
	what := "!" + tag
	names := []string{"subject", "allow", "deny"}
	if o == BprmCheckSecurity {
		names = names[:1]
	}
	plain := *n
	plain.Tag = ""
	if n.Kind == yaml.MappingNode {
		plain.Tag = "!!map"
	}
	item, ok := d.Mapping(&plain, what, "- "+what+" {subject: all, ...}", names...)
	if !ok {
		return p, false
	}
	if value, ok := item["subject"]; ok {
		p.Subject = d.originalSubject(value)
	} else {
		d.Missing(&plain, "subject", "subject is missing; write subject: all")
	}
	r := Rule{Operation: o, Source: p.Source}
	if o == BprmCheckSecurity {
		r.Deny = []Pattern{ProgramPattern{NoArgs: true}}
	} else {
		before := d.Problems()
		d.originalRule(item, form, &r)
		if len(r.Allow)+len(r.Deny) == 0 && d.Problems() == before {
			d.Fail(n, "the policy neither allows nor denies anything; remove it")
		}
	}
	p.Rules = []Rule{r}
	return p, true
}

var notInName = regexp.MustCompile(`[^a-z0-9._-]+`)

// originalName returns a name for the next policy out of the file's name.
func (d *decoder) originalName(o Operation) string {
	base := filepath.Base(d.file)
	base = strings.ToLower(strings.TrimSuffix(base, filepath.Ext(base)))
	base = strings.Trim(notInName.ReplaceAllString(base, "-"), "-._")
	if base == "" || len(base) > 128 {
		base = "original"
	}
	return fmt.Sprintf("%s-%d-%s", base, d.originals, o)
}

// customTag returns the tag that somebody wrote, without the '!'; empty if nobody
// did.
func customTag(n *yaml.Node) string {
	if tag := n.ShortTag(); strings.HasPrefix(tag, "!") && !strings.HasPrefix(tag, "!!") {
		return tag[1:]
	}
	return ""
}

// originalSubject decodes all or !binary PATH.
func (d *decoder) originalSubject(n *yaml.Node) Subject {
	switch {
	case n.Kind == yaml.ScalarNode && n.ShortTag() == "!!str" && n.Value == "all":
		return Subject{Everyone: true}
	case n.Kind == yaml.ScalarNode && customTag(n) == "binary":
		path, ok := d.originalPath(n, "binary", n.Value)
		if path == "/" {
			d.Fail(n, "subject cannot be the directory /; write all or !binary /usr/bin/name")
		} else if ok {
			return Subject{Binaries: []string{path}}
		}
	default:
		d.Fail(n, "subject cannot be %s; write all or !binary /usr/bin/name", originalKind(n))
	}
	return Subject{}
}

// originalKind returns what a person calls the node, with its tag.
func originalKind(n *yaml.Node) string {
	if tag := customTag(n); tag != "" {
		return "!" + shorten(tag)
	}
	return strictyaml.Kind(n)
}

// originalPath checks a path, in which every byte stands for itself.
func (d *decoder) originalPath(n *yaml.Node, what, path string) (string, bool) {
	if isGlob(path) {
		d.Fail(n, "%q has a * or ?, which stands for itself in this form; write a policy with apiVersion: %s", shorten(path), APIVersion)
		return "", false
	}
	if len(path) > 1 {
		path = strings.TrimSuffix(path, "/")
	}
	_, err := parsePathPattern(what, path)
	d.Check(n, err)
	return path, err == nil
}

// originalRule decodes allow and deny.
func (d *decoder) originalRule(item strictyaml.Fields, form originalForm, r *Rule) {
	allow, allows := item["allow"]
	deny, denies := item["deny"]
	if form.values != "" {
		if allows {
			r.Allow = d.originalPatterns(allow, "allow", form)
		}
		if denies {
			r.Deny = d.originalPatterns(deny, "deny", form)
		}
		return
	}
	var allowed, denied bool
	if allows {
		allowed, allows = d.Boolean(allow, "allow")
	}
	if denies {
		denied, _ = d.Boolean(deny, "deny")
	} else if allows {
		denied = !allowed
	}
	if allowed {
		r.Allow = []Pattern{Everything(r.Operation)}
	}
	if denied {
		r.Deny = []Pattern{Everything(r.Operation)}
	}
}

// originalPatterns decodes all or a tagged list. An empty list is nothing.
func (d *decoder) originalPatterns(n *yaml.Node, what string, form originalForm) []Pattern {
	tag := form.values
	switch {
	case n.Kind == yaml.ScalarNode && n.ShortTag() == "!!str" && n.Value == "all":
		return []Pattern{Everything(form.operation)}
	case customTag(n) == tag && n.Kind == yaml.ScalarNode && n.Value != "":
		d.Fail(n, "!%s must be a list; write !%s [%s]", tag, tag, strictyaml.Scalar(n.Value))
		return nil
	case customTag(n) != tag || n.Kind != yaml.SequenceNode:
		d.Fail(n, "%s cannot be %s; write all or !%s [...]", what, originalKind(n), tag)
		return nil
	case len(n.Content) == 0:
		return nil
	}
	plain := *n
	plain.Tag = "!!seq"
	return []Pattern{form.read(d, &plain)}
}

func (d *decoder) originalFiles(n *yaml.Node) Pattern {
	var p FilePattern
	for item, text := range d.Texts(strictyaml.Fields{"paths": n}, "paths", "a path") {
		path, ok := d.originalPath(item, "path", text)
		if !ok {
			continue
		}
		if path != "/" {
			p.Paths = append(p.Paths, path)
			path += "/"
		}
		p.Paths = append(p.Paths, path)
	}
	return p
}

func (d *decoder) originalPorts(n *yaml.Node) Pattern {
	var p SocketPattern
	for _, item := range d.List(n, "ports") {
		if item.ShortTag() != "!!int" {
			d.Fail(item, "a port cannot be %s; write a number from 0 to 65535", strictyaml.Kind(item))
			continue
		}
		r, err := parsePorts(item)
		d.Check(item, err)
		p.Ports = append(p.Ports, r)
	}
	return p
}

func (d *decoder) originalAddresses(n *yaml.Node) Pattern {
	return d.socketPattern(strictyaml.Fields{"addresses": n})
}
