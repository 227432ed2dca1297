package policy

import (
	"bytes"
	"fmt"
	"strings"

	"github.com/ebpfguard/ebpfguard/internal/strictyaml"
)

// Format returns the policies, which must be valid, as YAML that [Parse] reads
// as the same policies, except for their sources. Of addresses_from it has the
// names of the files, which [Parse] has to find again.
func Format(set []Policy) []byte {
	var b bytes.Buffer
	for i, p := range set {
		if i > 0 {
			b.WriteString("---\n")
		}
		fmt.Fprintf(&b, "apiVersion: %s\nkind: %s\nmetadata:\n  name: %s\nspec:\n", APIVersion, Kind, strictyaml.Scalar(p.Name))
		fmt.Fprintf(&b, "  mode: %v\n", p.Mode)
		if p.Until != 0 {
			fmt.Fprintf(&b, "  until: %d\n", p.Until)
		}
		if p.Delegated {
			b.WriteString("  delegated: true\n")
		}
		formatSubject(&b, p.Subject)
		b.WriteString("  rules:\n")
		for _, r := range p.Rules {
			formatRule(&b, r)
		}
	}
	return b.Bytes()
}

func formatSubject(b *bytes.Buffer, s Subject) {
	if s.Everyone {
		b.WriteString("  subject: {}\n")
		return
	}
	b.WriteString("  subject:\n")
	for _, field := range s.fields() {
		if field.values == nil {
			fmt.Fprintf(b, "    %s: true\n", field.key)
			continue
		}
		fmt.Fprintf(b, "    %s:\n", field.key)
		for _, value := range field.values {
			fmt.Fprintf(b, "    - %s\n", value)
		}
	}
}

func formatRule(b *bytes.Buffer, r Rule) {
	fmt.Fprintf(b, "  - operation: %s\n", r.Operation)
	formatPatterns(b, "allow", r.Allow)
	formatPatterns(b, "deny", r.Deny)
	if r.Verdict != 0 {
		fmt.Fprintf(b, "    verdict: %v\n", r.Verdict)
	}
	if r.Revoke {
		b.WriteString("    revoke: true\n")
	}
	if r.Message != "" {
		fmt.Fprintf(b, "    message: %s\n", strictyaml.Scalar(r.Message))
	}
	if r.Severity != "" {
		fmt.Fprintf(b, "    severity: %s\n", r.Severity)
	}
	if len(r.Tags) > 0 {
		tags := make([]string, len(r.Tags))
		for i, tag := range r.Tags {
			tags[i] = strictyaml.Scalar(tag)
		}
		fmt.Fprintf(b, "    tags: [%s]\n", strings.Join(tags, ", "))
	}
	if r.AlertLimit != 0 {
		fmt.Fprintf(b, "    alert_limit: %d\n", r.AlertLimit)
	}
}

func formatPatterns(b *bytes.Buffer, key string, patterns []Pattern) {
	switch len(patterns) {
	case 0:
	case 1:
		fmt.Fprintf(b, "    %s: %v\n", key, patterns[0])
	default:
		fmt.Fprintf(b, "    %s:\n", key)
		for _, pattern := range patterns {
			fmt.Fprintf(b, "    - %v\n", pattern)
		}
	}
}
