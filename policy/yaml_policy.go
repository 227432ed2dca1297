package policy

import (
	"fmt"
	"math"
	"strconv"

	"go.yaml.in/yaml/v3"

	"github.com/ebpfguard/ebpfguard/internal/strictyaml"
)

// document decodes one policy.
func (d *decoder) document(n *yaml.Node) Policy {
	p := Policy{Source: d.Position(n)}
	top, ok := d.Mapping(n, "a policy", "apiVersion: "+APIVersion, "apiVersion", "kind", "metadata", "spec")
	if !ok {
		return p
	}
	ours := d.constant(n, top, "apiVersion", APIVersion)
	ours = d.constant(n, top, "kind", Kind) && ours
	if !ours {
		return p // no more is known about other kinds of documents
	}
	p.Name = d.metadata(n, top)
	d.policy = p.Name
	d.spec(n, top, &p)
	return p
}

// constant checks a field that has just one possible value. It reports whether
// the document is worth reading on: the field may be missing, but not another.
func (d *decoder) constant(parent *yaml.Node, top strictyaml.Fields, name, want string) bool {
	n, ok := top[name]
	if !ok {
		d.Missing(parent, name, "%s is missing; write %s: %s", name, name, want)
		return true
	}
	if n.Kind != yaml.ScalarNode || n.Value != want {
		d.Fail(n, "%s is %s, which this version does not know; write %s: %s", name, strictyaml.Kind(n), name, want)
		return false
	}
	return true
}

func (d *decoder) metadata(parent *yaml.Node, top strictyaml.Fields) string {
	n, ok := top["metadata"]
	if !ok {
		d.Missing(parent, "metadata", "metadata is missing; write metadata: {name: ...}")
		return ""
	}
	metadata, ok := d.Mapping(n, "metadata", "metadata: {name: ...}", "name")
	if !ok {
		return ""
	}
	value, ok := metadata["name"]
	if !ok {
		d.Missing(n, "name", "metadata has no name; write metadata: {name: ...}")
		return ""
	}
	name, ok := d.Text(value, "name")
	if !ok {
		return ""
	}
	if err := checkName(name); err != nil {
		d.Check(value, err)
		return ""
	}
	return name
}

func (d *decoder) spec(parent *yaml.Node, top strictyaml.Fields, p *Policy) {
	n, ok := top["spec"]
	if !ok {
		d.Missing(parent, "spec", "spec is missing; write spec: with subject and rules")
		return
	}
	spec, ok := d.Mapping(n, "spec", "spec: with subject and rules", "mode", "until", "delegated", "subject", "rules")
	if !ok {
		return
	}
	p.Mode = ModeEnforce
	if value, ok := spec["mode"]; ok {
		p.Mode = d.mode(value)
	}
	if value, ok := spec["until"]; ok {
		p.Until, ok = d.Number(value, "until", math.MaxUint64)
		if ok && p.Until == 0 {
			d.Fail(value, "until is 0, which means no end; leave it out, or write nanoseconds of CLOCK_BOOTTIME")
		}
	}
	if value, ok := spec["delegated"]; ok {
		p.Delegated, _ = d.Boolean(value, "delegated")
	}
	if value, ok := spec["subject"]; ok {
		p.Subject = d.subject(value)
	} else {
		d.Missing(n, "subject", "subject is missing; write subject: {} for every process")
	}
	value, ok := spec["rules"]
	if !ok {
		d.Missing(n, "rules", "rules is missing; write rules: with at least one operation")
		return
	}
	for i, rule := range d.List(value, "rules") {
		d.rule = i
		p.Rules = append(p.Rules, d.decodeRule(rule))
	}
	d.rule = -1
}

func (d *decoder) mode(n *yaml.Node) Mode {
	text, ok := d.Text(n, "mode")
	switch {
	case !ok:
	case text == ModeEnforce.String():
		return ModeEnforce
	case text == ModeAudit.String():
		return ModeAudit
	default:
		d.Fail(n, "unknown mode %q; %s", text, strictyaml.Suggest(text, []string{ModeEnforce.String(), ModeAudit.String()}))
	}
	return ModeEnforce
}

// unique decodes a list of strings, each of which is checked and there once.
func (d *decoder) unique(n *yaml.Node, key, what string, check func(string) error) []string {
	var values []string
	seen := make(map[string]int)
	for _, item := range d.List(n, key) {
		value, ok := d.Text(item, "a "+what)
		if !ok {
			continue
		}
		if err := check(value); err != nil {
			d.Check(item, err)
			continue
		}
		if line, ok := seen[value]; ok {
			d.Fail(item, "%s %q is listed already on line %d; remove one", what, value, line)
			continue
		}
		seen[value] = item.Line
		values = append(values, value)
	}
	return values
}

func (d *decoder) decodeRule(n *yaml.Node) Rule {
	r := Rule{Source: d.Position(n)}
	rule, ok := d.Mapping(n, "a rule", "- operation: "+string(SocketBind), "operation", "allow", "deny", "verdict", "revoke", "message", "severity", "tags", "alert_limit")
	if !ok {
		return r
	}
	value, ok := rule["operation"]
	if !ok {
		d.Missing(n, "operation", "the rule has no operation; write operation: %s", SocketBind)
		return r
	}
	operation, ok := d.Text(value, "operation")
	if !ok {
		return r
	}
	r.Operation = Operation(operation)
	if err := checkOperation(r.Operation); err != nil {
		d.Check(value, err)
		return r // its patterns are unknown
	}
	allow, allows := rule["allow"]
	deny, denies := rule["deny"]
	if !allows && !denies && !d.Misspelt(n, "allow") {
		d.Missing(n, "deny", "the rule neither allows nor denies anything; add allow or deny")
	}
	if allows {
		r.Allow = d.patterns(allow, "allow", r.Operation)
	}
	if denies {
		r.Deny = d.patterns(deny, "deny", r.Operation)
	}
	if value, ok := rule["verdict"]; ok {
		r.Verdict = d.verdict(value)
	}
	if value, ok := rule["revoke"]; ok {
		r.Revoke, _ = d.Boolean(value, "revoke")
		d.Check(value, checkRevoke(r.Operation))
	}
	if value, ok := rule["message"]; ok {
		r.Message, _ = d.Text(value, "message")
		d.Check(value, checkMessage(r.Message))
	}
	if value, ok := rule["severity"]; ok {
		text, ok := d.Text(value, "severity")
		r.Severity = Severity(text)
		switch {
		case ok && text == "":
			d.Fail(value, "severity is empty; %s", strictyaml.Suggest("", severities))
		case ok:
			d.Check(value, checkSeverity(r.Severity))
		}
	}
	if value, ok := rule["tags"]; ok {
		r.Tags = d.tags(value)
	}
	if value, ok := rule["alert_limit"]; ok {
		r.AlertLimit = d.alertLimit(value)
	}
	return r
}

func (d *decoder) alertLimit(n *yaml.Node) uint32 {
	if !d.Untagged(n) {
		return 0
	}
	limit, err := strconv.ParseUint(n.Value, 10, 64)
	if n.Kind != yaml.ScalarNode || n.ShortTag() != "!!int" || err != nil {
		d.Fail(n, "alert_limit must be a number, not %s; write how many alerts a second the rule may raise, 1 to %d", strictyaml.Kind(n), maxAlertLimit)
		return 0
	}
	d.Check(n, checkAlertLimit(limit))
	return uint32(limit)
}

func (d *decoder) tags(n *yaml.Node) []string {
	var tags []string
	for _, item := range d.List(n, "tags") {
		if tag, ok := d.Text(item, "a tag"); ok {
			d.Check(item, checkTag(tag))
			tags = append(tags, tag)
		}
	}
	if len(tags) > maxTags {
		d.Check(n, fmt.Errorf("the rule has %d tags; keep at most %d", len(tags), maxTags))
	}
	return tags
}

func (d *decoder) verdict(n *yaml.Node) Verdict {
	text, ok := d.Text(n, "verdict")
	if !ok {
		return 0
	}
	names := []string{Deny.String(), Kill.String(), Audit.String()}
	for _, v := range []Verdict{Deny, Kill, Audit} {
		if v.String() == text {
			return v
		}
	}
	if text == Allow.String() {
		d.Check(n, checkVerdict(Allow))
	} else {
		d.Fail(n, "unknown verdict %q; %s", shorten(text), strictyaml.Suggest(text, names))
	}
	return 0
}

// patterns decodes all, one pattern set or a list of pattern sets.
func (d *decoder) patterns(n *yaml.Node, what string, o Operation) []Pattern {
	if n.Kind != yaml.SequenceNode {
		if p, ok := d.pattern(n, what, o); ok {
			return []Pattern{p}
		}
		return nil
	}
	var patterns []Pattern
	for _, item := range d.List(n, what) {
		if p, ok := d.pattern(item, what, o); ok {
			patterns = append(patterns, p)
		}
	}
	return patterns
}
