package policy

import (
	"math/rand/v2"
	"regexp"
	"slices"
	"strings"
	"testing"
)

func TestPathPattern(t *testing.T) {
	for _, tt := range []struct {
		pattern     string
		kind        PathKind
		specificity uint32
		literal     int
		match       string // separated by blanks
		differ      string
	}{
		{"/etc/shadow", PathExact, 1 << 16, 2, "/etc/shadow", "/etc /etc/shadow- /etc/shadow/x /ETC/shadow etc/shadow"},
		{"/etc/ssl/", PathDir, 1<<8 + 2, 2, "/etc/ssl /etc/ssl/a /etc/ssl/a/b", "/etc /etc/sslx /etc/ssl2/a /x/etc/ssl/a"},
		{"/", PathDir, 1 << 8, 0, "/ /a /a/b", "a"},
		{"/a[1]{b}\\", PathExact, 1 << 16, 1, "/a[1]{b}\\", "/a1b"},
		{"/*", PathGlob, 1, 0, "/a /.a", "/ /a/b"},
		{"/*.pem", PathGlob, 1, 0, "/.pem /a.pem /a.pem.pem", "/a.pemx /a/b.pem /pem"},
		{"/a/?", PathGlob, 2, 1, "/a/b /a/.", "/a /a/bc /a/b/c"},
		{"/a/??", PathGlob, 2, 1, "/a/bc /a/ü", "/a/b /a/üb"},
		{"/a/*b*c", PathGlob, 2, 1, "/a/bc /a/xbxbxc /a/bbcc", "/a/b /a/cb /a/bcd /a/b/c"},
		{"/**", PathGlob, 1, 0, "/a /a/b/c", "/"},
		{"/**/*.pem", PathGlob, 1, 0, "/a.pem /a/a.pem /a/b/c/a.pem", "/a /a.pem/b"},
		{"/a/**", PathGlob, 2, 1, "/a/b /a/b/c", "/a /ab"},
		{"/a/**/b", PathGlob, 3, 1, "/a/b /a/x/b /a/x/y/b /a/b/b", "/a /b /a/bx /a/b/x"},
		{"/a/**/b/**/c", PathGlob, 4, 1, "/a/b/c /a/x/b/y/c /a/b/b/c/c", "/a/c/b /a/b /a/c"},
		{"/home/*/.ssh/", PathGlob, 3, 1, "/home/u/.ssh /home/u/.ssh/id /home/u/.ssh/a/b", "/home/u /home/u/v/.ssh /home/.ssh"},
		{"/**/b/", PathGlob, 2, 0, "/b /b/c /a/b /a/b/c/d", "/ /a /a/bc"},
	} {
		p, err := ParsePathPattern(tt.pattern)
		if err != nil {
			t.Errorf("%v", err)
			continue
		}
		if p.Kind != tt.kind || p.Specificity() != tt.specificity || PathSpecificity(tt.pattern) != tt.specificity ||
			len(p.Literal()) != tt.literal || p.String() != tt.pattern {
			t.Errorf("%s: %+v, specificity %d, literal %v, string %s", tt.pattern, p, p.Specificity(), p.Literal(), p)
		}
		for _, path := range strings.Fields(tt.match) {
			if !p.Match(path) || matchPath(tt.pattern, path) != tt.specificity {
				t.Errorf("%s does not match %s", tt.pattern, path)
			}
		}
		for _, path := range append(strings.Fields(tt.differ), "") {
			if p.Match(path) || matchPath(tt.pattern, path) != 0 {
				t.Errorf("%s matches %s", tt.pattern, path)
			}
		}
	}
}

func TestParsePathPatternErrors(t *testing.T) {
	for pattern, want := range map[string]string{
		"":                                     `path "" is empty; write an absolute path such as /usr/sbin/sshd`,
		"a/b":                                  `path "a/b" is not absolute; write the whole path, such as /a/b`,
		"*":                                    `path "*" is not absolute; write the whole path, such as /`,
		"~/.ssh":                               `path "~/.ssh" is not absolute; write the whole path, such as /root/.ssh/, or /home/*/.ssh/ of every user`,
		"~me/a":                                `path "~me/a" is not absolute; write the whole path, such as /home/me/a`,
		"etc/ssl/":                             `path "etc/ssl/" is not absolute; write the whole path, such as /etc/ssl/`,
		"*.pem":                                `path "*.pem" is not absolute; write the whole path, such as /**/*.pem`,
		"../a":                                 `path "../a" is not absolute; write the whole path, from / on`,
		`C:\a`:                                 `path "C:\\a" is not absolute; write the whole path, from / on`,
		"//":                                   `path "//" is not a clean path; write /`,
		"/a//b":                                `path "/a//b" is not a clean path; write /a/b`,
		"/a/./":                                `path "/a/./" is not a clean path; write /a/`,
		"/a/../b/":                             `path "/a/../b/" is not a clean path; write /b/`,
		"/a\x00":                               `path "/a\x00" contains a NUL, which no path can; remove it`,
		"/\xff*":                               `path "/\xff*" is not valid UTF-8; such paths cannot be written in a policy, rename the file or use a glob`,
		"/a**":                                 `path "/a**": ** can only be a whole component; write * or split the component`,
		"/***":                                 `path "/***": ** can only be a whole component; write * or split the component`,
		"/**/**/a":                             `path "/**/**/a": ** follows **, which is the same as one; remove one`,
		"/a/**/":                               `path "/a/**/" ends in **/, which is the same as **; remove the slash`,
		"/[a]*":                                `path "/[a]*": "[" is not part of the glob syntax, which has only *, ? and **; write several patterns, or ? for this byte`,
		"/{a,b}/*":                             `path "/{a,b}/*": "{" is not part of the glob syntax, which has only *, ? and **; write several patterns, or ? for this byte`,
		`/a\*`:                                 `path "/a\\*": "\\" is not part of the glob syntax, which has only *, ? and **; write several patterns, or ? for this byte`,
		strings.Repeat("/a", 65) + "/":         `path "` + strings.Repeat("/a", 32) + `…" has 65 components; the guard follows paths of at most 64, name a directory above`,
		"/*" + strings.Repeat("a", 255):        `path "/*` + strings.Repeat("a", 62) + `…" has a component of 256 bytes, but none is longer than 255; shorten it`,
		"/" + strings.Repeat("abcdefgh/", 460): `path "/` + strings.Repeat("abcdefgh/", 7) + `…" has 4141 bytes, but no path is longer than 4095; shorten it`,
	} {
		if _, err := ParsePathPattern(pattern); err == nil || err.Error() != want {
			t.Errorf("ParsePathPattern(%q)\n got %v\nwant %s", shorten(pattern), err, want)
		}
	}
}

// pathRegexp is an implementation of patterns that has nothing in common with
// the one being tested. It selects texts as subject returns them. Bytes become the characters with their numbers, so that
// '?' is a byte.
func pathRegexp(pattern string) *regexp.Regexp {
	if pattern == "/" {
		return regexp.MustCompile(`(?s)^(/.*)?$`)
	}
	var b strings.Builder
	b.WriteString("(?s)^")
	parts := strings.Split(strings.TrimSuffix(pattern, "/"), "/")[1:]
	for i, part := range parts {
		if part == "**" {
			b.WriteString(map[bool]string{false: "(/[^/]+)*", true: "(/[^/]+)+"}[i == len(parts)-1])
			continue
		}
		b.WriteString("/" + wildcards(part))
	}
	if strings.HasSuffix(pattern, "/") {
		b.WriteString("(/.*)?")
	}
	return regexp.MustCompile(b.String() + "$")
}

// subject returns a path for [pathRegexp]: "/" has no component, not an empty one.
func subject(path string) string {
	if path == "/" {
		return ""
	}
	return latin1(path)
}

func wildcards(text string) string {
	return strings.NewReplacer(`\*`, "[^/]*", `\?`, "[^/]").Replace(regexp.QuoteMeta(latin1(text)))
}

func latin1(s string) string {
	runes := make([]rune, len(s))
	for i := range len(s) {
		runes[i] = rune(s[i])
	}
	return string(runes)
}

func TestPathPatternAgainstRegexp(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(4, 4))
	text := func(alphabet string, n int) string {
		var b strings.Builder
		for range n {
			b.WriteByte(alphabet[r.IntN(len(alphabet))])
		}
		return b.String()
	}
	matched, tried := 0, 0
	for range 300_000 {
		pattern := "/" + text("ab/*?/*", r.IntN(9))
		p, err := ParsePathPattern(pattern)
		if err != nil {
			continue
		}
		name := "/" + text("ab/", r.IntN(9))
		if name != "/" && (strings.HasSuffix(name, "/") || strings.Contains(name, "//")) {
			continue
		}
		want := pathRegexp(pattern).MatchString(subject(name))
		if got := p.Match(name); got != want {
			t.Fatalf("%q matches %q: %v, want %v", pattern, name, got, want)
		}
		if specificity := matchPath(pattern, name); (specificity > 0) != want || want && specificity != p.Specificity() {
			t.Fatalf("matchPath(%q, %q) = %d", pattern, name, specificity)
		}
		tried++
		if want {
			matched++
		}
	}
	if matched < 1000 || tried-matched < 1000 {
		t.Errorf("%d of %d match; the test tests little", matched, tried)
	}
}

func FuzzParsePathPattern(f *testing.F) {
	for _, s := range []string{"/", "/etc/ssl/", "/a/**/b?*/", "/**", "/a[b]", "/ü/?", "//", "/a/../b"} {
		f.Add(s, "/a/b/c")
	}
	f.Fuzz(func(t *testing.T, text, name string) {
		p, err := ParsePathPattern(text)
		if err != nil {
			if PathSpecificity(text) != 0 {
				t.Errorf("%q has a specificity", text)
			}
			return
		}
		again, err := ParsePathPattern(p.String())
		if err != nil || p.String() != text || again.Kind != p.Kind || again.Tree != p.Tree || !slices.Equal(again.Components, p.Components) {
			t.Errorf("%q: %+v, %+v, %v", text, p, again, err)
		}
		name = "/" + strings.Trim(name, "/")
		if strings.Contains(name, "//") {
			return
		}
		want := pathRegexp(text).MatchString(subject(name))
		if p.Match(name) != want || (matchPath(text, name) == p.Specificity()) != want {
			t.Errorf("%q matches %q: %v, want %v", text, name, p.Match(name), want)
		}
	})
}

func TestSourcePattern(t *testing.T) {
	for _, tt := range []struct {
		pattern     string
		specificity uint32
		match       string
		differ      string
	}{
		{"/dev/sda1", 1 << 16, "/dev/sda1", "/dev/sda /dev/sda11"},
		{"tmpfs", 1 << 16, "tmpfs", "tmpfs2 /tmpfs"},
		{"/dev/", 1<<8 + 5, "/dev /dev/ /dev/sda /dev/disk/x", "/devx /de"},
		{"/dev/*", 1 + 5, "/dev/sda /dev/", "/dev /dev/disk/x"},
		{"/dev/sd?", 1 + 7, "/dev/sda", "/dev/sd /dev/sdab /dev/sd/"},
		{"/dev/**", 1 + 5, "/dev/sda /dev/disk/x /dev/", "/dev"},
		{"**", 1, "a /a/b", ""},
		{"host:**/a", 1 + 7, "host:/x/a host:/a host:x/y/a", "host:a host:/a/b"},
		{"*/a", 1 + 2, "/a x/a", "x/y/a a"},
	} {
		p, err := ParseSourcePattern(tt.pattern)
		if err != nil || p.String() != tt.pattern || p.Specificity() != tt.specificity {
			t.Errorf("%s: %v, %v, specificity %d", tt.pattern, p, err, p.Specificity())
			continue
		}
		for _, source := range strings.Fields(tt.match) {
			if !p.Match(source) {
				t.Errorf("%s does not match %s", tt.pattern, source)
			}
		}
		for _, source := range append(strings.Fields(tt.differ), "") {
			if p.Match(source) {
				t.Errorf("%s matches %q", tt.pattern, source)
			}
		}
	}
	long, err := ParseSourcePattern("*" + strings.Repeat("a", 1000))
	if err != nil || long.Specificity() >= 1<<8 {
		t.Errorf("a long glob: %v, %d", err, long.Specificity())
	}
	for pattern, want := range map[string]string{
		"":          `a source is empty; write a device, a directory or another name such as tmpfs`,
		"a\x00":     `source "a\x00" contains a NUL, which none can; remove it`,
		"\xff":      `source "\xff" is not valid UTF-8; such sources cannot be written in a policy, use a glob`,
		"/dev/*/":   `source "/dev/*/": a glob of a source cannot end in a slash; write /dev/*/**`,
		"/dev/***":  `source "/dev/***": *** means nothing; write * or **`,
		"/dev/[a]*": `source "/dev/[a]*": "[" is not part of the glob syntax, which has only *, ? and **; write several patterns, or ? for this byte`,
	} {
		if _, err := ParseSourcePattern(pattern); err == nil || err.Error() != want {
			t.Errorf("ParseSourcePattern(%q)\n got %v\nwant %s", pattern, err, want)
		}
	}
}

func TestSourcePatternAgainstRegexp(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 5))
	for range 100_000 {
		var pattern, source string
		for range 1 + r.IntN(6) {
			pattern += string("ab/*?*"[r.IntN(6)])
			source += string("ab/"[r.IntN(3)])
		}
		p, err := ParseSourcePattern(pattern)
		if err != nil || p.Kind() != PathGlob {
			continue
		}
		text := strings.ReplaceAll(wildcards(pattern), "[^/]*[^/]*", "(?s:.*)")
		if want := regexp.MustCompile("^" + text + "$").MatchString(source); p.Match(source) != want {
			t.Fatalf("%q matches %q: %v, want %v", pattern, source, !want, want)
		}
	}
}
