package machine

import (
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"

	"github.com/ebpfguard/ebpfguard/policy"
)

// rule looks at the paths of a pattern.
func (m *Machine) rule(o policy.Operation, paths []string, f *findings) {
	for _, text := range paths {
		found, literal, ok := m.path(text, f)
		if !ok {
			continue
		}
		files := o == policy.FileOpen || o == policy.BprmCheckSecurity
		switch {
		case files && isDirectory(text, literal, found):
			if slices.Contains(paths, text+"/") {
				continue
			}
			f.add(directoryText(text, "the rule is about the directory itself, not about what is in it"), text)
		case found.state == absent && !slices.Contains(paths, text+"/"):
			m.absent(text, literal, found, "a rule", f)
		}
		if o == policy.FileOpen && isSocket(text, found) {
			f.add("connecting to a Unix socket opens no file, so this rule does not keep processes from connecting to %s; use the permissions of the socket's file or of its directory", text)
		}
		if found.state == there && found.linked {
			f.add(fmt.Sprintf("%%s leads by a link to %s: the rule is about both, as the link leads now", found.real), text)
		}
	}
}

// directoryText tells that a directory is named like a file.
func directoryText(text, what string) string {
	return fmt.Sprintf("%%s is a directory, and %s; did you mean %s/?", what, text)
}

// path looks up the part of a pattern before its first wildcard, and says what in it
// looks like a wildcard and is none.
func (m *Machine) path(text string, f *findings) (found found, literal string, ok bool) {
	p, err := policy.ParsePathPattern(text)
	if err != nil {
		return found, "", false
	}
	literal = "/" + strings.Join(p.Literal(), "/")
	found = m.look(literal)
	if found.state == there {
		return found, literal, true
	}
	if p.Kind != policy.PathGlob && strings.ContainsAny(text, "[]{}") {
		meant := "write one path for each, or * and ? for any bytes within a name"
		if all := policy.ExpandBrackets(text); len(all) > 1 && len(all) <= 8 {
			meant = "write [" + strings.Join(all, ", ") + "]"
		}
		f.add("%s has no wildcard: [ ] and { } stand for themselves, and only *, ? and ** for others; "+meant, text)
		return found, literal, false
	}
	if i := strings.Index(text, "$"); i >= 0 {
		f.add("%s is no variable: $ stands for itself; write the path as it is, with * for any name, such as /home/*/.ssh/", text)
		return found, literal, false
	}
	return found, literal, true
}

// absent says that a path is not there.
func (m *Machine) absent(text, literal string, found found, what string, f *findings) {
	if found.linked {
		f.add(fmt.Sprintf("%%s leads by a link to %s, which does not exist: %s that names it is about the link alone until the link leads somewhere", path.Join(found.directory, found.missing), what), text)
		return
	}
	meant := m.meant(literal, found)
	if meant == "" {
		if bytes := latin1(literal); bytes != literal {
			f.add("on this machine there is no %s: names in policies are UTF-8, in which each letter beyond ASCII is two bytes or more; for a name in another encoding write ? for each such byte", text)
			return
		}
		f.add(nothing, text)
		return
	}
	if strings.HasSuffix(text, "/") {
		meant += "/"
	}
	if rest, ok := strings.CutPrefix(text, literal); ok && rest != "" && rest != "/" {
		meant += rest
	}
	f.add(fmt.Sprintf("on this machine there is no %%s; did you mean %s?", meant), text)
}

// latin1 returns the text with a byte for each letter up to U+00FF.
func latin1(text string) string {
	var bytes []byte
	for _, r := range text {
		if r > 0xff {
			return text
		}
		bytes = append(bytes, byte(r))
	}
	return string(bytes)
}

// isDirectory reports whether a pattern without a slash at its end is, or is likely
// to be, the name of a directory.
func isDirectory(text, literal string, found found) bool {
	if strings.HasSuffix(text, "/") || strings.HasSuffix(text, "*") {
		return false
	}
	if found.state == there && literal == text {
		return found.mode.IsDir()
	}
	return policy.IsLikelyDirectory(text)
}

// isSocket reports whether a path is, or is likely to be, that of a Unix socket.
func isSocket(text string, found found) bool {
	if found.state == there && !strings.ContainsAny(text, "*?") {
		return found.mode&fs.ModeSocket != 0
	}
	return strings.HasSuffix(text, ".sock") || strings.HasSuffix(text, ".socket")
}
