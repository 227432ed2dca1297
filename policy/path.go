package policy

import (
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"
	"unicode/utf8"
)

// The limits of a path in a policy. Length and component are the kernel's
// (PATH_MAX includes the final NUL; NAME_MAX), the number of components is
// that of the kernel programs' walk.
const (
	maxPath       = 4095
	maxComponent  = 255
	maxComponents = 64
)

// PathKind says how a [PathPattern] selects paths.
type PathKind uint8

const (
	// PathExact selects one path.
	PathExact PathKind = iota + 1
	// PathDir selects a directory and everything below it.
	PathDir
	// PathGlob has a wildcard.
	PathGlob
)

// PathPattern is a parsed pattern of paths. Patterns are:
//
//   - /etc/shadow: this path;
//   - /etc/ssl/: the directory and everything below it; / is every path;
//   - a glob, in which '*' stands for any bytes and '?' for any one byte within
//     a component, never for a '/', and the component '**' for any number of
//     components, or none. A final '**' stands for at least one: /a/** is
//     everything below /a, but not /a. A glob that ends in '/' selects what
//     it matches and everything below: /home/*/.ssh/.
//
// Without a wildcard every byte stands for itself. In a glob '[', ']', '{', '}'
// and '\' are refused, so that nobody takes them for what they are elsewhere.
type PathPattern struct {
	Kind PathKind
	// Components are the patterns of the components, none for "/".
	Components []string
	// Tree says that everything below is selected as well: the pattern ends
	// in '/'.
	Tree bool
}

// ParsePathPattern returns the pattern that a policy writes so. The error says
// what is wrong and what to write.
func ParsePathPattern(text string) (PathPattern, error) { return parsePathPattern("path", text) }

// parsePathPattern is [ParsePathPattern] with what errors call the path.
func parsePathPattern(what, text string) (PathPattern, error) {
	err := checkPathText(what, text)
	p := splitPathPattern(text)
	if err == nil {
		err = p.check(text)
	}
	if err != nil {
		return PathPattern{}, fmt.Errorf("%s %q%w", what, shorten(text), err)
	}
	return p, nil
}

// splitPathPattern returns the pattern of an absolute path without checking it.
func splitPathPattern(text string) PathPattern {
	p := PathPattern{Kind: PathExact, Tree: strings.HasSuffix(text, "/")}
	switch {
	case isGlob(text):
		p.Kind = PathGlob
	case p.Tree:
		p.Kind = PathDir
	}
	p.Components = components(strings.TrimSuffix(text, "/"))
	return p
}

// components returns the components of a clean absolute path, none for "" and
// for "/".
func components(path string) []string {
	path = strings.TrimPrefix(path, "/")
	if path == "" {
		return nil
	}
	return strings.Split(path, "/")
}

// isGlob reports whether a pattern of paths or sources has a wildcard.
func isGlob(pattern string) bool { return strings.ContainsAny(pattern, "*?") }

// checkPathText returns what keeps the text from being a path at all, as the end
// of a sentence.
func checkPathText(what, text string) error {
	bare := text
	if len(bare) > 1 {
		bare = strings.TrimSuffix(bare, "/")
	}
	switch {
	case text == "":
		return errors.New(" is empty; write an absolute path such as /usr/sbin/sshd")
	case strings.ContainsRune(text, 0):
		return errors.New(" contains a NUL, which no path can; remove it")
	case !utf8.ValidString(text):
		return errors.New(" is not valid UTF-8; such paths cannot be written in a policy, rename the file or use a glob")
	case !path.IsAbs(text):
		return fmt.Errorf(" is not absolute; write the whole path%s", absoluteExample(what, text))
	case len(text) > maxPath:
		return fmt.Errorf(" has %d bytes, but no path is longer than %d; shorten it", len(text), maxPath)
	case path.Clean(bare) != bare || text == "//":
		clean := path.Clean(bare)
		if clean != "/" && strings.HasSuffix(text, "/") {
			clean += "/"
		}
		return fmt.Errorf(" is not a clean path; write %s", shorten(clean))
	}
	return nil
}

// absoluteExample returns what is probably meant by a path that is not absolute,
// as the end of a sentence, empty if nobody knows.
func absoluteExample(what, text string) string {
	for _, home := range []string{"~", "$HOME", "${HOME}"} {
		if rest, ok := strings.CutPrefix(text, home); ok && (rest == "" || rest[0] == '/') {
			if rest == "" || rest == "/" {
				return ", such as /root/, or /home/ of every user"
			}
			if IsLikelyDirectory(rest) {
				rest += "/"
			}
			return fmt.Sprintf(", such as /root%s, or /home/*%s of every user", shorten(rest), shorten(rest))
		}
	}
	clean := path.Clean("/" + text)
	_, address, isURL := strings.Cut(text, "://")
	switch {
	case isURL && path.IsAbs(address):
		return ", such as " + shorten(address)
	case strings.HasPrefix(text, "~root/"):
		return ", such as /root" + shorten(text[5:])
	case strings.HasPrefix(text, "~"):
		return ", such as /home/" + shorten(text[1:])
	case strings.Contains(text, "$"), strings.HasPrefix(text, "%"):
		return ", without variables, which are not replaced"
	case strings.Trim(text, "*") == "":
		return ", such as /"
	case strings.HasPrefix(text, "."), strings.ContainsAny(text, `\:`), clean == "/":
		return ", from / on"
	case strings.HasPrefix(text, "*") && !strings.HasPrefix(text, "**"):
		clean = "/**" + clean
	case what == "binary" && !strings.Contains(text, "/"):
		clean = "/usr/bin" + clean
	}
	if strings.HasSuffix(text, "/") {
		clean += "/"
	}
	return ", such as " + shorten(clean)
}

// likelyDirectories are names that directories have, and files hardly.
var likelyDirectories = []string{
	".ssh", ".gnupg", ".aws", ".kube", ".docker", ".config", ".cache", ".local", ".mozilla", ".password-store",
	"bin", "sbin", "lib", "lib64", "etc", "log", "logs", "ssl", "private", "tmp", "home", "opt", "srv", "usr", "var", "run", "root", "boot",
}

// IsLikelyDirectory reports whether a path has the name of a directory rather than
// that of a file, and no slash that says so.
func IsLikelyDirectory(text string) bool {
	base := path.Base(text)
	return !strings.HasSuffix(text, "/") && (slices.Contains(likelyDirectories, base) || len(base) > 2 && strings.HasSuffix(base, ".d"))
}

// check returns what is wrong with the components of the pattern, which is
// written so.
func (p PathPattern) check(text string) error {
	if len(p.Components) > maxComponents {
		return fmt.Errorf(" has %d components; the guard follows paths of at most %d, name a directory above", len(p.Components), maxComponents)
	}
	if i := strings.IndexAny(text, `[]{}\`); i >= 0 && p.Kind == PathGlob {
		return fmt.Errorf(": %q is not part of the glob syntax, which has only *, ? and **; write several patterns, or ? for this byte", text[i:i+1])
	}
	for i, c := range p.Components {
		switch {
		case len(c) > maxComponent:
			return fmt.Errorf(" has a component of %d bytes, but none is longer than %d; shorten it", len(c), maxComponent)
		case c != "**" && strings.Contains(c, "**"):
			return errors.New(": ** can only be a whole component; write * or split the component")
		case c == "**" && i > 0 && p.Components[i-1] == "**":
			return errors.New(": ** follows **, which is the same as one; remove one")
		case c == "**" && p.Tree && i == len(p.Components)-1:
			return errors.New(" ends in **/, which is the same as **; remove the slash")
		}
	}
	return nil
}

// String returns the pattern as a policy writes it.
func (p PathPattern) String() string {
	text := "/" + strings.Join(p.Components, "/")
	if p.Tree && text != "/" {
		text += "/"
	}
	return text
}

// Literal returns the leading components without a wildcard.
func (p PathPattern) Literal() []string {
	for i, c := range p.Components {
		if isGlob(c) {
			return p.Components[:i]
		}
	}
	return p.Components
}

// The specificities of a path or source that is named exactly and of a
// directory without components.
const (
	exactSpecificity  = 1 << 16
	prefixSpecificity = DirSpecificity
)

// DirSpecificity is more than the specificity of any glob, and that of / .
const DirSpecificity = 1 << 8

// Specificity returns how specific a match by the pattern is: 1<<16 for an
// exact path; 1<<8 plus the number of components for a directory; 1 plus the
// number of components without a wildcard for a glob.
func (p PathPattern) Specificity() uint32 {
	switch p.Kind {
	case PathExact:
		return exactSpecificity
	case PathDir:
		return prefixSpecificity + uint32(len(p.Components))
	case PathGlob:
		literal := uint32(0)
		for _, c := range p.Components {
			if !isGlob(c) {
				literal++
			}
		}
		return 1 + literal
	}
	return 0
}

// PathSpecificity returns the specificity of a pattern of paths; 0 for what is
// none.
func PathSpecificity(pattern string) uint32 {
	p, err := ParsePathPattern(pattern)
	if err != nil {
		return 0
	}
	return p.Specificity()
}

// Match reports whether the pattern selects the path, which must be absolute and
// clean: "/" or components that follow a '/' each. Nothing else is selected.
func (p PathPattern) Match(path string) bool {
	if !strings.HasPrefix(path, "/") {
		return false
	}
	return matchComponents(p.Components, components(path), p.Tree)
}

// matchComponents reports whether the patterns select the names or, with tree,
// the leading ones.
func matchComponents(patterns, names []string, tree bool) bool {
	// After p patterns, reached[n] says that they select the first n names.
	reached := make([]bool, len(names)+1)
	reached[0] = true
	for i, pattern := range patterns {
		next := make([]bool, len(names)+1)
		if pattern == "**" {
			// Any number of names; at least one for a final **.
			skip := 0
			if i == len(patterns)-1 {
				skip = 1
			}
			matched := false
			for n := range next {
				matched = matched || n >= skip && reached[n-skip]
				next[n] = matched
			}
		} else {
			for n, name := range names {
				next[n+1] = reached[n] && MatchComponent(pattern, name)
			}
		}
		reached = next
	}
	if tree {
		for _, r := range reached {
			if r {
				return true
			}
		}
	}
	return reached[len(names)]
}

// MatchComponent reports whether a pattern of one component, with '*' for any
// bytes and '?' for any one byte, selects the name.
func MatchComponent(pattern, name string) bool {
	// Where to go on when the last '*' has to take one byte more.
	star, mark := -1, 0
	p, n := 0, 0
	for n < len(name) {
		switch {
		case p < len(pattern) && pattern[p] == '*':
			star, mark = p, n
			p++
		case p < len(pattern) && (pattern[p] == '?' || pattern[p] == name[n]):
			p++
			n++
		case star >= 0:
			mark++
			p, n = star+1, mark
		default:
			return false
		}
	}
	for p < len(pattern) && pattern[p] == '*' {
		p++
	}
	return p == len(pattern)
}

// matchPath returns the specificity with which a pattern of a valid policy
// selects the path, 0 if it does not. It is [PathPattern.Match] without the
// parsing where that is not needed.
func matchPath(pattern, path string) uint32 {
	switch {
	case !strings.HasPrefix(path, "/"):
		return 0
	case isGlob(pattern):
		p := splitPathPattern(pattern)
		if !p.Match(path) {
			return 0
		}
		return p.Specificity()
	case pattern == "/":
		return prefixSpecificity
	case strings.HasSuffix(pattern, "/"):
		if path != pattern[:len(pattern)-1] && !strings.HasPrefix(path, pattern) {
			return 0
		}
		return prefixSpecificity + uint32(strings.Count(pattern, "/")-1)
	case path == pattern:
		return exactSpecificity
	}
	return 0
}

// matchPaths returns the greatest specificity with which one of the patterns
// selects the path, 0 if none does.
func matchPaths(patterns []string, path string) uint32 {
	best := uint32(0)
	for _, pattern := range patterns {
		best = max(best, matchPath(pattern, path))
	}
	return best
}

// maxPathSpecificity returns the greatest specificity that a match by one of
// the patterns can have.
func maxPathSpecificity(patterns []string) uint32 {
	best := uint32(0)
	for _, pattern := range patterns {
		best = max(best, splitPathPattern(pattern).Specificity())
	}
	return best
}

// shorten returns the text as an error message shows it.
func shorten(text string) string {
	if len(text) > 64 {
		return text[:64] + "…"
	}
	return text
}
