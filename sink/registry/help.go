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
	b.WriteString("\nA filter has lists of operations, policies, verdicts, severities and binaries.")
	return b.String()
}

// values tells what may be written, unless the usage says it, and the default.
func values(kind, preset string) string {
	var told []string
	if strings.Contains(kind, "|") {
		told = append(told, strings.ReplaceAll(kind, "|", " or "))
	}
	if preset != "" && preset != "0" {
		told = append(told, "default "+preset)
	}
	if len(told) == 0 {
		return ""
	}
	return " (" + strings.Join(told, ", ") + ")"
}
