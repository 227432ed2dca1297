package strictyaml

import (
	"strconv"
	"strings"
)

// Scalar returns the string as a YAML scalar, quoted when it has to be. Every
// escape of [strconv.Quote] is one of YAML as well.
func Scalar(s string) string {
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
