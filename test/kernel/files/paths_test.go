//go:build vm

package files

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/ebpfguard/ebpfguard/policy"
	"github.com/ebpfguard/ebpfguard/test/kernel/guardtest"
)

// testPaths matches patterns with paths.
func testPaths(t *testing.T, g *guardtest.FileGuard) {
	f := guardtest.NewPair(t)
	long := strings.Repeat("n", 255)
	files := []string{
		"etc", "etc/shadow", "etc/shadow-", "etc/ssl", "etc/ssl/a.pem", "etc/ssl/deep/er/b.pem", "etc/sslfake/a.pem",
		"home/ann/.ssh/id_rsa", "home/bob/.ssh/id_ed", "home/bob/.ssh/config", "home/bob/id_x", "home/bob/sub/.ssh/id_y",
		"srv/x.key", "srv/a/b/x.key", "srv/a/b/x.pub", "srv/a/b", "odd/[x]", "odd/a b\n", "odd/ü", "odd/" + long, "odd/" + long[1:],
	}
	for _, name := range files {
		if name := f.Dir + "/" + name; filepath.Ext(name) != "" || strings.Contains(name, "id_") || strings.Contains(name, "/odd/") || strings.Contains(name, "shadow") || strings.HasSuffix(name, "config") {
			guardtest.WriteFile(t, name, "")
		}
	}
	for _, test := range []struct {
		pattern string
		refused int
	}{
		{"etc/shadow", 1}, {"etc/ssl", 1}, {"etc/ssl/", 3}, {"etc/", 7}, {"", len(files)}, {"etc/ssl/deep/er/", 1}, {"nothing", 0}, {"etc/shadow/", 1},
		{"home/*/.ssh/id_*", 2}, {"home/*/.ssh/", 3}, {"home/**/id_*", 4}, {"home/**/.ssh/", 4}, {"srv/**/*.key", 2}, {"srv/*/*/*", 2}, {"srv/?.key", 1},
		{"**", len(files)}, {"**/a.pem", 2}, {"etc/**", 6}, {"*/ssl", 1}, {"etc/ssl*", 1}, {"etc/ssl*/", 4}, {"etc/shado?", 1}, {"etc/shadow?", 1},
		{"odd/[x]", 1}, {"odd/a b\n", 1}, {"odd/ü", 1}, {"odd/??", 1}, {"odd/" + long, 1}, {"odd/n*", 2}, {"odd/" + strings.Repeat("?", 255), 1}, {"odd/*" + long[1:], 2},
		{"srv/a/**/b/**/x.*", 2}, {"**/b/*", 2}, {"**/**x", 0},
	} {
		pattern := f.Dir + "/" + test.pattern
		parsed, err := policy.ParsePathPattern(pattern)
		if err != nil {
			continue // not a pattern: the tests of package policy say why
		}
		g.Enforce(t, guardtest.DenyFiles("test", f.Subject, pattern))
		refused := 0
		for _, name := range files {
			path := f.Dir + "/" + name
			f.Other.Passed(t, "open", path, "r")
			if !parsed.Match(path) {
				f.Actor.Passed(t, "open", path, "r")
				continue
			}
			refused++
			if alert := g.Refused(t, f.Actor, "open", path, "r"); alert.Path != path {
				t.Errorf("alert %v, want path %q", alert, path)
			}
		}
		if refused != test.refused {
			t.Errorf("%s: %d refused, want %d", test.pattern, refused, test.refused)
		}
	}
}
