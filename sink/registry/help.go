package registry

import (
	"fmt"
	"strings"
)

// Help returns the types of outputs and their keys for the help text of a command.
func Help() string {
	var b strings.Builder
	b.WriteString("An output of alerts has a type, a filter, and the keys of its type:\n")
	for _, kind := range Kinds {
		fmt.Fprintf(&b, "\n  %-10s  %s\n", kind.Name, kind.Usage)
		for _, key := range kind.New().Keys() {
			fmt.Fprintf(&b, "    %-10s  %s\n", key.Name, key.Usage+values(key.Value.Type(), key.Value.String()))
		}
	}
	b.WriteString("\nA filter has lists of operations, policies, verdicts, severities, binaries\nand containers.")
	return b.String()
}

// values returns which values a key takes, if they are few, and its default.
func values(kind, preset string) string {
	var parts []string
	if strings.Contains(kind, "|") {
		parts = append(parts, strings.ReplaceAll(kind, "|", " or "))
	}
	if preset != "" && preset != "0" {
		parts = append(parts, "default "+preset)
	}
	if len(parts) == 0 {
		return ""
	}
	return " (" + strings.Join(parts, ", ") + ")"
}
