package policy

import (
	"fmt"
	"strconv"
	"strings"
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

// String returns the mapping.
func (f *flow) String() string { return "{" + strings.Join(f.keys, ", ") + "}" }

// quoted returns the strings as YAML scalars.
func quoted(list []string) []string {
	scalars := make([]string, len(list))
	for i, s := range list {
		scalars[i] = scalar(s)
	}
	return scalars
}

// scalar returns the string as a YAML scalar, quoted when it has to be. Every
// escape of [strconv.Quote] is one of YAML as well.
func scalar(s string) string {
	for i, c := range s {
		letter := c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c == '/'
		digit := c >= '0' && c <= '9' || c == '.' || c == '-' || c == '_'
		if !letter && (!digit || i == 0 && !isAddress(s)) {
			return strconv.Quote(s)
		}
	}
	switch strings.ToLower(s) {
	case "", "true", "false", "yes", "no", "on", "off", "y", "n", "null":
		return strconv.Quote(s)
	}
	return s
}

// isAddress reports whether the string looks like an IPv4 address or prefix,
// which YAML takes for a string although it begins with a digit.
func isAddress(s string) bool {
	return strings.Count(s, ".") == 3 && strings.Trim(s, "0123456789./") == ""
}
