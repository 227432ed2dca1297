package policy

import (
	"fmt"
	"strings"

	"github.com/ebpfguard/ebpfguard/internal/strictyaml"
)

// String returns the verdict as alerts spell it.
func (v Verdict) String() string {
	switch v {
	case Allow:
		return "allow"
	case Audit:
		return "audit"
	case Deny:
		return "deny"
	case Kill:
		return "kill"
	}
	return fmt.Sprintf("Verdict(%d)", uint8(v))
}

// String returns the mode as YAML spells it.
func (m Mode) String() string {
	switch m {
	case 0, ModeEnforce:
		return "enforce"
	case ModeAudit:
		return "audit"
	}
	return fmt.Sprintf("Mode(%d)", uint8(m))
}

// flow makes a mapping in flow style.
type flow struct{ keys []string }

// list adds a key with values, which are YAML, unless there are none.
func (f *flow) list(key string, values []string) {
	if len(values) > 0 {
		f.keys = append(f.keys, key+": ["+strings.Join(values, ", ")+"]")
	}
}

// flag adds a key that is true.
func (f *flow) flag(key string, set bool) {
	if set {
		f.keys = append(f.keys, key+": true")
	}
}

// mapping adds a key with a value that is YAML.
func (f *flow) mapping(key, value string) { f.keys = append(f.keys, key+": "+value) }

// String returns the mapping.
func (f *flow) String() string { return "{" + strings.Join(f.keys, ", ") + "}" }

// quoted returns the strings as YAML scalars.
func quoted(list []string) []string {
	scalars := make([]string, len(list))
	for i, s := range list {
		scalars[i] = strictyaml.Scalar(s)
	}
	return scalars
}
