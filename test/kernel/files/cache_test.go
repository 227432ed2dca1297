//go:build vm

package files

import (
	"fmt"
	rand "math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/ebpfguard/ebpfguard"
	"github.com/ebpfguard/ebpfguard/policy"
	"github.com/ebpfguard/ebpfguard/test/kernel/guardtest"
)

// warm opens a file until what is known of it is kept.
func warm(t *testing.T, d *guardtest.Doer, e ...string) {
	t.Helper()
	for range 3 {
		d.Passed(t, e[0], e[1:]...)
	}
}

// warmRefused does the same with a file that is refused.
func warmRefused(t *testing.T, g *guardtest.FileGuard, d *guardtest.Doer, e ...string) {
	t.Helper()
	for range 3 {
		g.Refused(t, d, e[0], e[1:]...)
	}
}

// testCache changes what an answer depends on, each time after the former answer
// was given several times.
func testCache(t *testing.T, g *guardtest.FileGuard) {
	f := newFileTest(t)
	p := func(name string) string { return f.dir + "/" + name }
	for _, name := range []string{"open/file", "open/dir/file", "open/dir/sub/file", "shut/file"} {
		guardtest.WriteFile(t, p(name), "")
	}
	t.Run("policies", func(t *testing.T) {
		file := []string{"open", p("open/file"), "r"}
		for range 3 {
			g.Enforce(t)
			warm(t, f.actor, file...)
			g.Enforce(t, f.deny("other"))
			warm(t, f.actor, file...)
			g.Enforce(t, f.deny("open/file"))
			warmRefused(t, g, f.actor, file...)
			g.Enforce(t, f.deny("open/"), guardtest.AllowFiles("but", f.subject, p("open/file")))
			warm(t, f.actor, file...)
			audit := f.deny("open/file")
			audit.Mode = policy.ModeAudit
			g.Enforce(t, audit)
			warm(t, f.actor, file...)
			for range 3 {
				g.Next(t)
			}
			g.Enforce(t, f.deny("**/file"))
			warmRefused(t, g, f.actor, file...)
			warm(t, f.other, file...)
		}
	})
	t.Run("a process that no rule is about", func(t *testing.T) {
		// What it is told after the guard has looked up anew what it is, is nobody else's answer.
		user := ebpfguard.Subject{Users: policy.IDs{Ranges: []policy.IDRange{{First: 1000, Last: 1000}}}}
		g.Enforce(t, guardtest.DenyFiles("test", user, p("shut/")))
		d := guardtest.StartDoer(t, "/proc/self/exe")
		for range 3 {
			d.Passed(t, "setuid", "1000", "0", "0")
			d.Passed(t, "open", p("open/file"), "r")
			d.Passed(t, "setuid", "0", "0", "0")
			d.Passed(t, "open", p("shut/file"), "r")
			d.Passed(t, "setuid", "1000", "0", "0")
			d.Passed(t, "open", p("open/file"), "r")
			g.Refused(t, d, "open", p("shut/file"), "r")
			d.Passed(t, "setuid", "0", "0", "0")
			d.Passed(t, "open", p("open/file"), "r")
			d.Passed(t, "setuid", "1000", "0", "0")
			d.Passed(t, "open", p("open/file"), "r")
		}
	})
	g.Enforce(t, f.deny("shut/", "**/named"))
	rename := func(t *testing.T, from, to string) {
		t.Helper()
		guardtest.Check(t, os.Rename(p(from), p(to)))
	}
	t.Run("a file is renamed", func(t *testing.T) {
		d := guardtest.StartDoer(t, f.program)
		d.Passed(t, "hold", "file", p("open/file"), "path")
		for _, e := range [][]string{{"open", p("open/file"), "r"}, {"open-fd", "file", "r"}} {
			warm(t, d, e...)
		}
		for _, to := range []string{"shut/moved", "open/named", "shut/named"} {
			rename(t, "open/file", to)
			warmRefused(t, g, d, "open-fd", "file", "r")
			warmRefused(t, g, d, "open", p(to), "r")
			rename(t, to, "open/file")
			warm(t, d, "open-fd", "file", "r")
			warm(t, d, "open", p("open/file"), "r")
			warm(t, f.other, "open", p("open/file"), "r")
		}
	})
	t.Run("a directory is renamed", func(t *testing.T) {
		d := guardtest.StartDoer(t, f.program)
		d.Passed(t, "hold", "sub", p("open/dir/sub"), "path")
		d.Passed(t, "chdir", p("open/dir"))
		for _, move := range [][2]string{{"open/dir", "shut/dir"}, {"open/dir", "open/named"}, {"open", "shut/open"}} {
			warm(t, d, "openat", "sub", "file", "r")
			warm(t, d, "open", "file", "r")
			rename(t, move[0], move[1])
			if move[1] == "open/named" { // a directory of that name is no tree
				warm(t, d, "openat", "sub", "file", "r")
			} else {
				warmRefused(t, g, d, "openat", "sub", "file", "r")
				warmRefused(t, g, d, "open", "file", "w")
			}
			rename(t, move[1], move[0])
		}
		warm(t, d, "openat", "sub", "file", "r")
	})
	t.Run("a file is the first to be used of a directory that was renamed", func(t *testing.T) {
		// What is kept of the directory is all that is known of the file.
		d := guardtest.StartDoer(t, f.program)
		fresh := 0
		file := func(dir string) string {
			fresh++
			return guardtest.WriteFile(t, p(dir+"/fresh"+strconv.Itoa(fresh)), "")
		}
		d.Passed(t, "open", file("open/dir/sub"), "r")
		for _, move := range [][2]string{{"open/dir", "shut/dir"}, {"open/dir/sub", "shut/sub"}, {"open", "shut/open"}} {
			below := strings.Replace("open/dir/sub", move[0], move[1], 1)
			for range 3 {
				d.Passed(t, "open", file("open/dir/sub"), "r")
				rename(t, move[0], move[1])
				g.Refused(t, d, "open", file(below), "r")
				rename(t, move[1], move[0])
			}
		}
		for range 20 { // another directory of that name, in the memory of the former
			guardtest.Check(t, os.MkdirAll(p("open/brief/same"), 0o755))
			one := file("open/brief/same")
			d.Passed(t, "open", one, "r")
			guardtest.Check(t, os.RemoveAll(p("open/brief")))
			guardtest.Check(t, os.MkdirAll(p("shut/brief/same"), 0o755))
			other := file("shut/brief/same")
			g.Refused(t, d, "open", other, "r")
			guardtest.Check(t, os.RemoveAll(p("shut/brief")))
		}
	})
	t.Run("a directory is exchanged", func(t *testing.T) {
		d := guardtest.StartDoer(t, f.program)
		d.Passed(t, "hold", "open", p("open"), "path")
		d.Passed(t, "hold", "shut", p("shut"), "path")
		guardtest.Check(t, os.WriteFile(p("shut/file"), nil, 0o644))
		warm(t, d, "openat", "open", "file", "r")
		warmRefused(t, g, d, "openat", "shut", "file", "r")
		f.other.Passed(t, "exchange", p("open"), p("shut"))
		warmRefused(t, g, d, "openat", "open", "file", "r") // by its name
		warmRefused(t, g, d, "openat", "shut", "file", "r") // by what it is
		f.other.Passed(t, "exchange", p("open"), p("shut"))
		warm(t, d, "openat", "open", "file", "r")
		warmRefused(t, g, d, "openat", "shut", "file", "r")
	})
	t.Run("a file is replaced", func(t *testing.T) {
		g.Enforce(t, f.deny("shut/", "open/exact"))
		guardtest.WriteFile(t, p("open/exact"), "")
		warmRefused(t, g, f.actor, "open", p("open/exact"), "r")
		guardtest.WriteFile(t, p("open/next"), "")
		warm(t, f.actor, "open", p("open/next"), "r")
		rename(t, "open/next", "open/exact")
		warmRefused(t, g, f.actor, "open", p("open/exact"), "r")
		guardtest.Check(t, os.Remove(p("open/exact")))
		guardtest.WriteFile(t, p("open/exact"), "")
		warmRefused(t, g, f.actor, "open", p("open/exact"), "r")
		guardtest.Check(t, os.Remove(p("open/exact")))
	})
}

// testCacheOfLinks has files with several names.
func testCacheOfLinks(t *testing.T, g *guardtest.FileGuard) {
	f := newFileTest(t)
	p := func(name string) string { return f.dir + "/" + name }
	guardtest.WriteFile(t, p("open/file"), "")
	guardtest.Check(t, os.MkdirAll(p("shut"), 0o755))
	tree, exact := f.deny("shut/"), f.deny("shut/link")
	g.Enforce(t, tree)
	warm(t, f.actor, "open", p("open/file"), "r")
	guardtest.Check(t, os.Link(p("open/file"), p("shut/link")))
	for range 3 { // by turns, since the file keeps one of both
		g.Refused(t, f.actor, "open", p("shut/link"), "r")
		f.actor.Passed(t, "open", p("open/file"), "r")
	}
	g.Enforce(t, exact) // now it is a name of the file
	warmRefused(t, g, f.actor, "open", p("open/file"), "r")
	warmRefused(t, g, f.actor, "open", p("shut/link"), "r")
	guardtest.Check(t, os.Remove(p("shut/link")))
	warmRefused(t, g, f.actor, "open", p("open/file"), "r") // until policies are applied again
	g.Enforce(t, exact)
	warm(t, f.actor, "open", p("open/file"), "r")
	guardtest.Check(t, os.Link(p("open/file"), p("shut/link")))
	warm(t, f.actor, "open", p("open/file"), "r")
	warmRefused(t, g, f.actor, "open", p("shut/link"), "r")
	guardtest.Check(t, os.Remove(p("open/file")))
	warmRefused(t, g, f.actor, "open", p("shut/link"), "r")

	// Threads open one file by two names at once: no answer is the other's.
	guardtest.Check(t, os.Link(p("shut/link"), p("open/file")))
	g.Enforce(t, tree)
	const times = 500
	var paths []string
	for range 6 {
		paths = append(paths, p("open/file"), p("shut/link"))
	}
	o := f.actor.Passed(t, "hammer", append([]string{strconv.Itoa(times)}, paths...)...)
	for i, refused := range o.Counts {
		if want := i % 2 * times; refused != want {
			t.Errorf("%s: %d of %d refused, want %d", paths[i], refused, times, want)
		}
	}
	if n := g.Drain(t); n != 6*times {
		t.Errorf("%d alerts", n)
	}
}

// testCacheOfMounts moves mounts.
func testCacheOfMounts(t *testing.T, g *guardtest.FileGuard) {
	f := newFileTest(t)
	p := func(name string) string { return f.dir + "/" + name }
	for _, name := range []string{"open/file", "open/m/file", "open/n/x", "shut/m/file"} {
		guardtest.WriteFile(t, p(name), "")
	}
	g.Enforce(t, f.deny("shut/"))
	// in starts the actor in a mount namespace of its own, and a bystander in there too.
	in := func(t *testing.T) (d, mover *guardtest.Doer) {
		t.Helper()
		d, mover = guardtest.StartDoer(t, f.program), guardtest.StartDoer(t, "/proc/self/exe")
		d.Passed(t, "unshare")
		mover.Passed(t, "setns", strconv.Itoa(d.PID))
		return d, mover
	}
	t.Run("a mount is moved", func(t *testing.T) {
		d, mover := in(t)
		mover.Passed(t, "tmpfs", p("open/m"))
		mover.Passed(t, "open", p("open/m/file"), "create")
		d.Passed(t, "hold", "m", p("open/m"), "path")
		for range 3 {
			warm(t, d, "openat", "m", "file", "r")
			mover.Passed(t, "move", p("open/m"), p("shut/m"))
			warmRefused(t, g, d, "openat", "m", "file", "r")
			warmRefused(t, g, d, "open", p("shut/m/file"), "r")
			mover.Passed(t, "move", p("shut/m"), p("open/m"))
		}
		warm(t, d, "openat", "m", "file", "r")
	})
	t.Run("a directory above what is bound is renamed", func(t *testing.T) {
		// No path leads through it, but the file lies below it in its filesystem.
		d, mover := in(t)
		guardtest.WriteFile(t, p("open/above/part/dir/known"), "")
		mover.Passed(t, "bind", p("open/above/part"), p("open/m"))
		for i := range 3 {
			fresh := guardtest.WriteFile(t, p("open/above/part/dir/a"+strconv.Itoa(i)), "")
			d.Passed(t, "open", p("open/m/dir/known"), "r")
			d.Passed(t, "open", p("open/m/dir/"+filepath.Base(fresh)), "r")
			guardtest.Check(t, os.Rename(p("open/above"), p("shut/above")))
			guardtest.WriteFile(t, p("shut/above/part/dir/b"+strconv.Itoa(i)), "")
			g.Refused(t, d, "open", p("open/m/dir/known"), "r")
			g.Refused(t, d, "open", p("open/m/dir/b"+strconv.Itoa(i)), "r")
			guardtest.Check(t, os.Rename(p("shut/above"), p("open/above")))
		}
		d.Passed(t, "open", p("open/m/dir/known"), "r")
	})
	t.Run("a mount above is moved", func(t *testing.T) {
		d, mover := in(t)
		mover.Passed(t, "tmpfs", p("open/m"))
		mover.Passed(t, "mkdir", p("open/m/n"))
		mover.Passed(t, "tmpfs", p("open/m/n"))
		mover.Passed(t, "open", p("open/m/n/file"), "create")
		d.Passed(t, "hold", "n", p("open/m/n"), "path")
		warm(t, d, "openat", "n", "file", "r")
		mover.Passed(t, "move", p("open/m"), p("shut/m"))
		warmRefused(t, g, d, "openat", "n", "file", "r")
	})
	t.Run("something is mounted over it", func(t *testing.T) {
		d, mover := in(t)
		d.Passed(t, "hold", "open", p("open"), "path")
		warm(t, d, "open", p("open/m/file"), "r")
		warm(t, d, "openat", "open", "m/file", "r")
		mover.Passed(t, "bind", p("shut/m"), p("open/m"))
		warmRefused(t, g, d, "open", p("open/m/file"), "r")
		warmRefused(t, g, d, "openat", "open", "m/file", "r")
		mover.Passed(t, "umount", p("open/m"))
		warm(t, d, "open", p("open/m/file"), "r")
		// The other way round: another file has the protected name.
		warmRefused(t, g, d, "open", p("shut/m/file"), "r")
		mover.Passed(t, "bind", p("open/m"), p("shut/m"))
		warmRefused(t, g, d, "open", p("shut/m/file"), "r")
		warm(t, d, "open", p("open/m/file"), "r")
		mover.Passed(t, "umount", p("shut/m"))
		warmRefused(t, g, d, "open", p("shut/m/file"), "r")
	})
	t.Run("a file is mounted over a file", func(t *testing.T) {
		d, mover := in(t)
		warm(t, d, "open", p("open/file"), "r")
		mover.Passed(t, "bind", p("shut/m/file"), p("open/file"))
		warmRefused(t, g, d, "open", p("open/file"), "r")
		mover.Passed(t, "umount", p("open/file"))
		warm(t, d, "open", p("open/file"), "r")
	})
	t.Run("a mount is removed", func(t *testing.T) {
		d, mover := in(t)
		mover.Passed(t, "tmpfs", p("shut/m"))
		mover.Passed(t, "open", p("shut/m/file"), "create")
		d.Passed(t, "hold", "m", p("shut/m"), "path")
		warmRefused(t, g, d, "openat", "m", "file", "r")
		mover.Passed(t, "detach", p("shut/m"))
		// It came after the policy and is nowhere: nothing says that it was protected.
		warm(t, d, "openat", "m", "file", "r")
	})
	t.Run("a mount from before the policy is removed", func(t *testing.T) {
		f.other.Passed(t, "tmpfs", p("shut/m"))
		f.other.Passed(t, "open", p("shut/m/file"), "create")
		g.Enforce(t, f.deny("shut/"))
		d, mover := in(t)
		d.Passed(t, "hold", "m", p("shut/m"), "path")
		warmRefused(t, g, d, "openat", "m", "file", "r")
		mover.Passed(t, "move", p("shut/m"), p("open/m"))
		warmRefused(t, g, d, "openat", "m", "file", "r") // it is what was there
		mover.Passed(t, "detach", p("open/m"))
		warmRefused(t, g, d, "openat", "m", "file", "r")
		f.other.Passed(t, "umount", p("shut/m"))
	})
	t.Run("the same mount moves elsewhere", func(t *testing.T) {
		f.other.Passed(t, "tmpfs", p("open/n"))
		f.other.Passed(t, "open", p("open/n/file"), "create")
		d, mover := in(t)
		warm(t, d, "open", p("open/n/file"), "r")
		warm(t, f.actor, "open", p("open/n/file"), "r")
		mover.Passed(t, "move", p("open/n"), p("shut/m"))
		warmRefused(t, g, d, "open", p("shut/m/file"), "r")
		warm(t, f.actor, "open", p("open/n/file"), "r") // another namespace
		g.Refused(t, d, "open", p("shut/m/file"), "r")
		f.actor.Passed(t, "open", p("open/n/file"), "r")
		d.Stop()
		mover.Stop()
		f.other.Passed(t, "umount", p("open/n"))
	})
}

// testCacheUnderRenames opens a file by several threads while a directory above
// is renamed in and out of a protected one. No answer may be that of another
// place than the one where the file was during the whole open.
func testCacheUnderRenames(t *testing.T, g *guardtest.FileGuard) {
	f := newFileTest(t)
	p := func(name string) string { return f.dir + "/" + name }
	guardtest.WriteFile(t, p("open/dir/sub/file"), "")
	guardtest.Check(t, os.Mkdir(p("shut"), 0o755))
	place, unmap, err := guardtest.MapPlace(p("place"))
	guardtest.Check(t, err)
	defer unmap()
	g.Enforce(t, f.deny("shut/"))
	random := rand.New(rand.NewPCG(1, 2))
	for _, test := range []struct {
		name    string
		slow    bool
		renamed int // files that are renamed all the time
	}{{"slow", true, 0}, {"fast", false, 0}, {"slow, and others all the time", true, 2}} {
		t.Run(test.name, func(t *testing.T) {
			noise := renameAllTheTime(t, p("noise"), test.renamed)
			place.Store(0)
			d, bystander := guardtest.StartDoer(t, f.program), guardtest.StartDoer(t, "/proc/self/exe")
			bystanderDone, done := make(chan guardtest.Outcome), make(chan guardtest.Outcome)
			d.Passed(t, "hold", "sub", p("open/dir/sub"), "path")
			bystander.Passed(t, "hold", "sub", p("open/dir/sub"), "path")
			go func() { done <- d.Do("watch", "4", p("place"), "sub", "file") }()
			go func() { bystanderDone <- bystander.Do("watch", "1", p("place"), "sub", "file") }()
			alerts := 0
			for range 400 {
				for _, move := range [][2]string{{"open/dir", "shut/dir"}, {"shut/dir", "open/dir"}} {
					place.Add(1)
					err := os.Rename(p(move[0]), p(move[1]))
					place.Add(1)
					if err != nil {
						t.Error(err)
					}
					if test.slow {
						time.Sleep(time.Duration(random.IntN(1000)) * time.Microsecond)
					}
					alerts += g.Forget()
				}
			}
			place.Store(guardtest.PlaceEnd)
			o, other := <-done, <-bystanderDone
			renames := noise()
			if o.Errno != 0 || other.Errno != 0 {
				t.Fatal(o, other)
			}
			alerts += g.Drain(t)
			t.Logf("wrongly passed %d, wrongly refused %d, rightly passed %d, rightly refused %d, meanwhile %d; %d alerts, %d other renames", o.Counts[0], o.Counts[1], o.Counts[2], o.Counts[3], o.Counts[4], alerts, renames)
			if o.Counts[0] != 0 || o.Counts[1] != 0 {
				t.Error("an answer of another place")
			}
			if test.slow && (o.Counts[2] < 20 || o.Counts[3] < 20) {
				t.Error("too few opens to tell")
			}
			if other.Counts[1] != 0 || other.Counts[3] != 0 {
				t.Errorf("the bystander was refused: %v", other.Counts)
			}
		})
	}
	t.Run("a file elsewhere", func(t *testing.T) {
		// While the kernel's names change all the time, the answers for others stay.
		guardtest.WriteFile(t, p("quiet/file"), "")
		before, err := g.Stats(policy.FileOpen)
		guardtest.Check(t, err)
		noise := renameAllTheTime(t, p("noise"), 2)
		const times = 5000
		o := f.actor.Passed(t, "hammer", strconv.Itoa(times), p("quiet/file"), p("quiet/file"))
		renames := noise()
		after, err := g.Stats(policy.FileOpen)
		guardtest.Check(t, err)
		if o.Counts[0]+o.Counts[1] > 0 || after.Undecided != before.Undecided {
			t.Errorf("refused %v of %d under %d renames, %d undecided", o.Counts, times, renames, after.Undecided-before.Undecided)
		}
	})
}

// renameAllTheTime renames so many files and back until it is told to stop, and
// then returns how often.
func renameAllTheTime(t *testing.T, dir string, files int) (stop func() int) {
	t.Helper()
	stopping, stopped := make(chan struct{}), make(chan int)
	for i := range files {
		path := guardtest.WriteFile(t, fmt.Sprintf("%s-%d/x", dir, i), "")
		go func() {
			for n := 0; ; n += 2 {
				select {
				case <-stopping:
					stopped <- n
					return
				default:
				}
				unix.Rename(path, path+"y")
				unix.Rename(path+"y", path)
			}
		}()
	}
	return func() (sum int) {
		close(stopping)
		for range files {
			sum += <-stopped
		}
		return sum
	}
}

// testCacheUnderPolicies opens files by many threads while policy sets are
// replaced: what all sets deny is always refused, what none denies never.
func testCacheUnderPolicies(t *testing.T, g *guardtest.FileGuard) {
	f := newFileTest(t)
	p := func(name string) string { return f.dir + "/" + name }
	for _, name := range []string{"x", "y", "always", "never"} {
		guardtest.WriteFile(t, p(name), "")
	}
	always := guardtest.DenyFiles("always", f.subject, p("always"))
	g.Enforce(t, always)
	const times, minSets, maxSets = 100, 20, 1000
	stop, finished := make(chan struct{}), make(chan guardtest.Outcome)
	// Both files were refused and were not: each set was in force for a while.
	var alternated atomic.Bool
	go func() {
		sum := guardtest.Outcome{Counts: make([]int, 7)}
		for sum.Errno == 0 {
			select {
			case <-stop:
				finished <- sum
				return
			default:
			}
			o := f.actor.Do("hammer", strconv.Itoa(times), p("always"), p("never"), p("always"), p("never"), p("x"), p("y"))
			for i, n := range o.Counts {
				sum.Counts[i] += n
			}
			sum.Counts[6] += times
			alternated.Store(sum.Counts[4] > 0 && sum.Counts[5] > 0 && sum.Counts[4] < sum.Counts[6] && sum.Counts[5] < sum.Counts[6])
			sum.Text, sum.Errno = o.Text, o.Errno
		}
		finished <- sum
	}()
	sets := 0
	for ; sets < minSets || sets < maxSets && !alternated.Load(); sets++ {
		_, err := g.Apply([]policy.Policy{always, f.deny([]string{"x", "y"}[sets%2])})
		guardtest.Check(t, err)
		g.Forget()
	}
	close(stop)
	o := <-finished
	g.Drain(t)
	if o.Errno != 0 {
		t.Fatal(o)
	}
	opens := o.Counts[6]
	t.Logf("%d sets, refused %v of %d", sets, o.Counts[:6], opens)
	for i, want := range []int{opens, 0, opens, 0} {
		if o.Counts[i] != want {
			t.Errorf("thread %d: %d refused, want %d", i, o.Counts[i], want)
		}
	}
	if !alternated.Load() {
		t.Errorf("the sets did not alternate: %v", o.Counts)
	}
}
