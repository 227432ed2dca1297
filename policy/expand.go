package policy

import "strings"

// maxExpanded bounds the paths that one is expanded to.
const maxExpanded = 64

// ExpandBrackets returns the paths that a shell would make of one with [abc] and {a,b};
// the path alone if it is written otherwise. Policies have no such patterns.
func ExpandBrackets(text string) []string {
	all := expandAll(text)
	if len(all) > maxExpanded {
		return []string{text}
	}
	clean := all[:0]
	for _, p := range all {
		clean = append(clean, strings.ReplaceAll(p, "//", "/"))
	}
	return clean
}

func expandAll(text string) []string {
	open := strings.IndexAny(text, "[{")
	if open < 0 {
		return []string{text}
	}
	closing, split := "]", func(s string) []string { return strings.Split(s, "") }
	if text[open] == '{' {
		closing, split = "}", func(s string) []string { return strings.Split(s, ",") }
	}
	inside, rest, ok := strings.Cut(text[open+1:], closing)
	if !ok || strings.ContainsAny(inside, "[]{}-!^") || len(split(inside)) > maxExpanded || inside == "" {
		return []string{text}
	}
	var all []string
	for _, tail := range expandAll(rest) {
		for _, choice := range split(inside) {
			all = append(all, text[:open]+choice+tail)
			if len(all) > maxExpanded {
				return all
			}
		}
	}
	return all
}
