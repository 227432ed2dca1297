//go:build vm

package files

import (
	"os"
	"strconv"
	"testing"

	"github.com/ebpfguard/ebpfguard/test/kernel/guardtest"
)

// testCacheOfLinks has files with several names.
func testCacheOfLinks(t *testing.T, g *guardtest.FileGuard) {
	f := guardtest.NewPair(t)
	p := func(name string) string { return f.Dir + "/" + name }
	guardtest.WriteFile(t, p("open/file"), "")
	guardtest.Check(t, os.MkdirAll(p("shut"), 0o755))
	tree, exact := f.Deny("shut/"), f.Deny("shut/link")
	g.Enforce(t, tree)
	warm(t, f.Actor, "open", p("open/file"), "r")
	guardtest.Check(t, os.Link(p("open/file"), p("shut/link")))
	for range 3 { // by turns, since the file keeps one of both
		g.Refused(t, f.Actor, "open", p("shut/link"), "r")
		f.Actor.Passed(t, "open", p("open/file"), "r")
	}
	g.Enforce(t, exact) // now it is a name of the file
	warmRefused(t, g, f.Actor, "open", p("open/file"), "r")
	warmRefused(t, g, f.Actor, "open", p("shut/link"), "r")
	guardtest.Check(t, os.Remove(p("shut/link")))
	warmRefused(t, g, f.Actor, "open", p("open/file"), "r") // until policies are applied again
	g.Enforce(t, exact)
	warm(t, f.Actor, "open", p("open/file"), "r")
	guardtest.Check(t, os.Link(p("open/file"), p("shut/link")))
	warm(t, f.Actor, "open", p("open/file"), "r")
	warmRefused(t, g, f.Actor, "open", p("shut/link"), "r")
	guardtest.Check(t, os.Remove(p("open/file")))
	warmRefused(t, g, f.Actor, "open", p("shut/link"), "r")

	// Threads open one file by two names at once: no answer is the other's.
	guardtest.Check(t, os.Link(p("shut/link"), p("open/file")))
	g.Enforce(t, tree)
	const times = 500
	var paths []string
	for range 6 {
		paths = append(paths, p("open/file"), p("shut/link"))
	}
	o := f.Actor.Passed(t, "hammer", append([]string{strconv.Itoa(times)}, paths...)...)
	for i, refused := range o.Counts {
		if want := i % 2 * times; refused != want {
			t.Errorf("%s: %d of %d refused, want %d", paths[i], refused, times, want)
		}
	}
	if n := g.Drain(t); n != 6*times {
		t.Errorf("%d alerts", n)
	}
}
