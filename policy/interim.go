package policy

import "strings"

// Marshal and Diff stand in for those of branch rpc, which replace this file.
func Marshal(set []Policy) ([]byte, error) { return Format(set), nil }

// Diff tells what differs, policy by policy.
func Diff(before, after []Policy) (string, error) {
	var b strings.Builder
	texts := map[string]string{}
	for _, p := range before {
		texts[p.Name] = string(Format([]Policy{p}))
	}
	lines := func(sign, text string) {
		for line := range strings.Lines(text) {
			b.WriteString(sign + line)
		}
	}
	for _, p := range after {
		text := string(Format([]Policy{p}))
		if texts[p.Name] != text {
			lines("-", texts[p.Name])
			lines("+", text)
		}
		delete(texts, p.Name)
	}
	for _, p := range before {
		lines("-", texts[p.Name])
		delete(texts, p.Name)
	}
	return b.String(), nil
}
