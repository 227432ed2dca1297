package ebpfguard

import (
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/ebpfguard/ebpfguard/policy"
)

// TestRelinked switches, makes and removes symbolic links on the paths of a policy.
func TestRelinked(t *testing.T) {
	for _, test := range []struct {
		name, path string
		make       func(t *testing.T, dir string)
		change     func(t *testing.T, dir string)
		want       string
	}{
		{"a link is switched", "link/conf", linkTo("one"), func(t *testing.T, dir string) { relink(t, "two", dir+"/link") }, "link"},
		{"a link is switched behind another", "outer/conf", func(t *testing.T, dir string) { relink(t, "one", dir+"/link"); relink(t, "link", dir+"/outer") }, func(t *testing.T, dir string) { relink(t, "two", dir+"/link") }, "outer"},
		{"a link is switched to the same", "link/conf", linkTo("one"), func(t *testing.T, dir string) { relink(t, dir+"/one", dir+"/link") }, ""},
		{"a link is made a directory", "link/conf", linkTo("one"), func(t *testing.T, dir string) { remove(t, dir+"/link"); mkdir(t, dir+"/link/conf") }, "link"},
		{"a link goes", "link/conf", linkTo("one"), func(t *testing.T, dir string) { remove(t, dir+"/link") }, ""},
		{"the target of a link goes", "link", linkTo("one/conf"), func(t *testing.T, dir string) { remove(t, dir+"/one/conf") }, ""},
		{"the target of a link comes", "link/conf", linkTo("later"), func(t *testing.T, dir string) { mkdir(t, dir+"/later/conf") }, "link"},
		{"a link is made where nothing was", "link/conf", nothing, linkTo("one"), "link"},
		{"a directory is made where nothing was", "link/conf", nothing, func(t *testing.T, dir string) { mkdir(t, dir+"/link") }, ""},
		{"a directory becomes a link", "one/conf", nothing, func(t *testing.T, dir string) {
			if err := os.Rename(dir+"/one", dir+"/three"); err != nil {
				t.Fatal(err)
			}
			relink(t, "three", dir+"/one")
		}, "one"},
		{"nothing", "one/conf", nothing, nothing, ""},
		{"a link beyond a wildcard", "*/conf", linkTo("one"), func(t *testing.T, dir string) { relink(t, "two", dir+"/link") }, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			dir, err := filepath.EvalSymlinks(t.TempDir())
			if err != nil {
				t.Fatal(err)
			}
			mkdir(t, dir+"/one/conf")
			mkdir(t, dir+"/two/conf")
			test.make(t, dir)
			m := newManager(Options{}, nil)
			set := []policy.Policy{{Name: "p", Subject: policy.Subject{Binaries: []string{dir + "/" + test.path}}, Rules: []policy.Rule{
				{Operation: policy.FileOpen, Deny: []policy.Pattern{policy.FilePattern{Paths: []string{dir + "/" + test.path + "/"}}}},
			}}}
			apply := func() {
				t.Helper()
				_, found, err := m.compile(set, 1, marks{})
				if err != nil {
					t.Fatal(err)
				}
				m.current.change(func(s *state) { s.revision, s.set, s.links = 1, set, found })
			}
			expect := func(when string, want ...string) {
				t.Helper()
				if moved, err := m.Relinked(); err != nil || !slices.Equal(moved, want) {
					t.Errorf("%s: %q, %v, want %q", when, moved, err, want)
				}
			}
			apply()
			expect("before")
			test.change(t, dir)
			if test.want == "" {
				expect("after")
			} else {
				expect("after", dir+"/"+test.want)
			}
			apply()
			expect("applied again")
		})
	}
}

// TestRelinkedOfAnotherProcess has a set in force that another process compiled.
func TestRelinkedOfAnotherProcess(t *testing.T) {
	dir := t.TempDir()
	mkdir(t, dir+"/one")
	relink(t, "one", dir+"/link")
	m := newManager(Options{}, nil)
	set := []policy.Policy{{Name: "p", Subject: policy.Subject{Everyone: true}, Rules: []policy.Rule{
		{Operation: policy.FileOpen, Deny: []policy.Pattern{policy.FilePattern{Paths: []string{dir + "/link", dir + "/one", dir + "/none"}}}},
	}}}
	m.current.change(func(s *state) { s.revision, s.set = 1, set })
	for i, want := range [][]string{{dir + "/link"}, nil} {
		moved, err := m.Relinked()
		if err != nil {
			t.Fatal(err)
		}
		// The way to the test's own directory may have links.
		if moved = slices.DeleteFunc(moved, func(path string) bool { return len(path) < len(dir) }); !slices.Equal(moved, want) {
			t.Errorf("call %d: %q, want %q", i, moved, want)
		}
	}
}

func linkTo(target string) func(*testing.T, string) {
	return func(t *testing.T, dir string) { relink(t, target, dir+"/link") }
}

func nothing(*testing.T, string) {}

// relink makes a link, or switches it at once, as packages do.
func relink(t *testing.T, target, link string) {
	t.Helper()
	if err := os.Symlink(target, link+".new"); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(link+".new", link); err != nil {
		t.Fatal(err)
	}
}

func mkdir(t *testing.T, dir string) {
	t.Helper()
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
}

func remove(t *testing.T, path string) {
	t.Helper()
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
}
