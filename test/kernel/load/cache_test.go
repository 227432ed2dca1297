//go:build vm

package load

import (
	"fmt"
	rand "math/rand/v2"
	"os"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/ebpfguard/ebpfguard/internal/vmtest"
	"github.com/ebpfguard/ebpfguard/policy"
	"github.com/ebpfguard/ebpfguard/test/kernel/guardtest"
)

// TestCacheUnderRenames opens a file by several threads while a directory above
// is renamed in and out of a protected one, or while the file itself gets and loses a
// protected name. No answer may be that of another place or name than the one that the
// file had during the whole open.
func TestCacheUnderRenames(t *testing.T) {
	vmtest.Processors(t)
	g := guardtest.NewFileGuard(t)
	f := guardtest.NewPair(t)
	p := func(name string) string { return f.Dir + "/" + name }
	guardtest.WriteFile(t, p("open/dir/sub/file"), "")
	guardtest.WriteFile(t, p("names/open"), "")
	guardtest.WriteFile(t, p("globs/a.open"), "")
	guardtest.Check(t, os.Mkdir(p("shut"), 0o755))
	place, unmap, err := guardtest.MapPlace(p("place"))
	guardtest.Check(t, err)
	defer unmap()
	g.Enforce(t, f.Deny("shut/", "names/shut", "globs/*.shut"))
	random := rand.New(rand.NewPCG(1, 2))
	type names struct {
		open, shut string
		held, file string // what is opened: a file below what is held, or that itself
	}
	above := names{open: "open/dir", shut: "shut/dir", held: "open/dir/sub", file: "file"}
	name := names{open: "names/open", shut: "names/shut", held: "names/open"}
	glob := names{open: "globs/a.open", shut: "globs/a.shut", held: "globs/a.open"}
	for _, test := range []struct {
		name string
		names
		slow    bool
		renamed int // files that are renamed all the time
	}{
		{"slow", above, true, 0}, {"fast", above, false, 0}, {"slow, and others all the time", above, true, 2},
		{"the file itself, slow", name, true, 0}, {"the file itself, fast", name, false, 0},
		{"the file itself, slow, and others all the time", name, true, 2},
		{"the file itself, globs, slow", glob, true, 0}, {"the file itself, globs, fast", glob, false, 0},
	} {
		t.Run(test.name, func(t *testing.T) {
			noise := renameAllTheTime(t, p("noise"), test.renamed)
			place.Store(0)
			d, bystander := guardtest.StartDoer(t, f.Program), guardtest.StartDoer(t, "/proc/self/exe")
			bystanderDone, done := make(chan guardtest.Outcome), make(chan guardtest.Outcome)
			d.Passed(t, "hold", "it", p(test.held), "path")
			bystander.Passed(t, "hold", "it", p(test.held), "path")
			go func() { done <- d.Do("watch", "4", p("place"), "it", test.file) }()
			go func() { bystanderDone <- bystander.Do("watch", "1", p("place"), "it", test.file) }()
			alerts := 0
			for range 400 {
				for _, move := range [][2]string{{test.open, test.shut}, {test.shut, test.open}} {
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
		o := f.Actor.Passed(t, "hammer", strconv.Itoa(times), p("quiet/file"), p("quiet/file"))
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

// TestCacheUnderPolicies opens files by many threads while policy sets are
// replaced: what all sets deny is always refused, what none denies never.
func TestCacheUnderPolicies(t *testing.T) {
	vmtest.Processors(t)
	g := guardtest.NewFileGuard(t)
	f := guardtest.NewPair(t)
	p := func(name string) string { return f.Dir + "/" + name }
	for _, name := range []string{"x", "y", "always", "never"} {
		guardtest.WriteFile(t, p(name), "")
	}
	always := guardtest.DenyFiles("always", f.Subject, p("always"))
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
			o := f.Actor.Do("hammer", strconv.Itoa(times), p("always"), p("never"), p("always"), p("never"), p("x"), p("y"))
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
		_, err := g.Apply([]policy.Policy{always, f.Deny([]string{"x", "y"}[sets%2])})
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
