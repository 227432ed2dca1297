package policy

import (
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"
)

// SourcePattern is a parsed pattern of what is mounted. A source is compared as
// the text that the process gave to the kernel, which need not be a path:
//
//   - /dev/sda1, or tmpfs: this text;
//   - /dev/: this text with or without the slash, and everything that begins
//     with it;
//   - a glob, in which '*' stands for any bytes but '/', '?' for any one byte but
//     '/', and '**' for any bytes.
//
// No pattern selects a source that is missing.
type SourcePattern struct {
	text string
	kind PathKind
}

// ParseSourcePattern returns the pattern that a policy writes so. The error
// says what is wrong and what to write.
func ParseSourcePattern(text string) (SourcePattern, error) {
	shown := shorten(text)
	switch {
	case text == "":
		return SourcePattern{}, errors.New("a source is empty; write a device, a directory or another name such as tmpfs")
	case strings.ContainsRune(text, 0):
		return SourcePattern{}, fmt.Errorf("source %q contains a NUL, which none can; remove it", shown)
	case !utf8.ValidString(text):
		return SourcePattern{}, fmt.Errorf("source %q is not valid UTF-8; such sources cannot be written in a policy, use a glob", shown)
	case len(text) > maxPath:
		return SourcePattern{}, fmt.Errorf("source %q has %d bytes, but none is longer than %d; shorten it", shown, len(text), maxPath)
	}
	p := splitSourcePattern(text)
	if p.kind != PathGlob {
		return p, nil
	}
	if i := strings.IndexAny(text, `[]{}\`); i >= 0 {
		return SourcePattern{}, fmt.Errorf("source %q: %q is not part of the glob syntax, which has only *, ? and **; write several patterns, or ? for this byte", shown, text[i:i+1])
	}
	switch {
	case strings.Contains(text, "***"):
		return SourcePattern{}, fmt.Errorf("source %q: *** means nothing; write * or **", shown)
	case strings.HasSuffix(text, "/"):
		return SourcePattern{}, fmt.Errorf("source %q: a glob of a source cannot end in a slash; write %s**", shown, shown)
	}
	return p, nil
}

// splitSourcePattern returns the pattern without checking it.
func splitSourcePattern(text string) SourcePattern {
	switch {
	case isGlob(text):
		return SourcePattern{text, PathGlob}
	case strings.HasSuffix(text, "/"):
		return SourcePattern{text, PathDir}
	}
	return SourcePattern{text, PathExact}
}

// Kind returns how the pattern selects: [PathExact], [PathDir] for a prefix, or
// [PathGlob].
func (p SourcePattern) Kind() PathKind { return p.kind }

// String returns the pattern as a policy writes it.
func (p SourcePattern) String() string { return p.text }

// Specificity returns how specific a match by the pattern is: 1<<16 for an exact
// source; 1<<8 plus the length for a prefix; 1 plus the number of bytes that
// are no wildcard for a glob, but always less than for a prefix.
func (p SourcePattern) Specificity() uint32 {
	switch p.kind {
	case PathExact:
		return exactSpecificity
	case PathDir:
		return prefixSpecificity + uint32(len(p.text))
	case PathGlob:
		wildcards := strings.Count(p.text, "*") + strings.Count(p.text, "?")
		return min(1+uint32(len(p.text)-wildcards), prefixSpecificity-1)
	}
	return 0
}

// Match reports whether the pattern selects the source.
func (p SourcePattern) Match(source string) bool {
	switch {
	case source == "":
		return false
	case p.kind == PathExact:
		return source == p.text
	case p.kind == PathDir:
		return source == strings.TrimSuffix(p.text, "/") || strings.HasPrefix(source, p.text)
	case p.kind == PathGlob:
		return matchSourceGlob(p.text, source)
	}
	return false
}

// matchSourceGlob reports whether the glob selects the whole text.
func matchSourceGlob(glob, text string) bool {
	// reached[n] says that the glob so far selects the first n bytes.
	reached := make([]bool, len(text)+1)
	reached[0] = true
	for i := 0; i < len(glob); i++ {
		next := make([]bool, len(text)+1)
		switch {
		case strings.HasPrefix(glob[i:], "**"):
			i++
			matched := false
			for n := range next {
				matched = matched || reached[n]
				next[n] = matched
			}
		case glob[i] == '*':
			next[0] = reached[0]
			for n := range len(text) {
				next[n+1] = reached[n+1] || next[n] && text[n] != '/'
			}
		default:
			for n := range len(text) {
				same := glob[i] == text[n] || glob[i] == '?' && text[n] != '/'
				next[n+1] = reached[n] && same
			}
		}
		reached = next
	}
	return reached[len(text)]
}

// matchSources returns the greatest specificity with which one of the patterns
// selects the source, 0 if none does.
func matchSources(patterns []string, source string) uint32 {
	best := uint32(0)
	for _, text := range patterns {
		if p := splitSourcePattern(text); p.Match(source) {
			best = max(best, p.Specificity())
		}
	}
	return best
}
