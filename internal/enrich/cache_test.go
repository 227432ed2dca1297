package enrich

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/ebpfguard/ebpfguard/internal/procfs"
)

// at returns a process that was forked in that procfs.Tick.
func at(pid uint32, start uint64) Process { return Process{pid, start*procfs.Tick + 7} }

func (p Process) runs(parent Process, time uint64, inode uint64, words ...string) Execution {
	return Execution{
		Process: p, Parent: parent, Time: time * procfs.Tick, Inode: inode, Binary: words[0],
		Arguments: strings.Join(words, "\x00") + "\x00",
	}
}

func relative(p Process, inode uint64) Relative { return Relative{p, inode} }

// told writes what Describe returns as text: the process's own arguments first, then
// those of its ancestors.
func told(args []string, ancestors []Ancestor) []string {
	text := []string{strings.Join(args, " ")}
	for _, a := range ancestors {
		text = append(text, fmt.Sprintf("%d:%s:%s", a.PID, a.Binary, strings.Join(a.Args, " ")))
	}
	return text
}

var (
	first  = at(1, 0)
	shell  = at(10, 100)
	middle = at(20, 200)
	leaf   = at(30, 300)
)

// known is a cache with a chain: 1 started a shell, which started middle, which
// started leaf.
func known(options Options) *Cache {
	c := New(options)
	c.Add(first.runs(Process{}, 0, 1, "/sbin/init"))
	c.Add(shell.runs(first, 101, 2, "/bin/sh", "script"))
	c.Add(middle.runs(shell, 201, 3, "/bin/middle", "a b"))
	c.Add(leaf.runs(middle, 301, 4, "/bin/leaf", "x", ""))
	return c
}

func TestDescribe(t *testing.T) {
	whole := []Relative{relative(middle, 3), relative(shell, 2), relative(first, 1)}
	all := []string{"/bin/leaf x ", "20:/bin/middle:/bin/middle a b", "10:/bin/sh:/bin/sh script", "1:/sbin/init:/sbin/init"}
	forked := at(40, 400)
	for _, test := range []struct {
		name      string
		add       []Execution
		process   Relative
		time      uint64
		ancestors []Relative
		want      []string
		misses    uint64
	}{
		{"all are there", nil, relative(leaf, 4), 500, whole, all, 0},
		{"the parent has ended", nil, relative(leaf, 4), 500, []Relative{relative(first, 1)}, all, 0},
		{"the kernel tells of none", nil, relative(leaf, 4), 500, nil, all, 0},
		{"before it started another program", []Execution{leaf.runs(middle, 600, 5, "/bin/other")}, relative(leaf, 4), 500, whole, all, 0},
		{"after it started another program", []Execution{leaf.runs(first, 600, 5, "/bin/other")}, relative(leaf, 5), 700, whole, slices.Concat([]string{"/bin/other"}, all[1:]), 0},
		{"before it started the first one", nil, relative(leaf, 3), 300, whole, slices.Concat([]string{"/bin/middle a b"}, all[1:]), 0},
		{
			"forked", nil, relative(forked, 4), 500, slices.Concat([]Relative{relative(leaf, 4)}, whole),
			slices.Concat([]string{"/bin/leaf x ", "30:/bin/leaf:/bin/leaf x "}, all[1:]), 0,
		},
		{
			"forked before its parent started another program", []Execution{leaf.runs(middle, 450, 5, "/bin/other")},
			relative(forked, 4), 500, slices.Concat([]Relative{relative(leaf, 5)}, whole),
			slices.Concat([]string{"/bin/leaf x ", "30:/bin/other:/bin/other"}, all[1:]), 0,
		},
		{"forked by one that has ended", nil, relative(forked, 4), 500, []Relative{relative(first, 1)}, []string{"", "1:/sbin/init:/sbin/init"}, 1},
		{"the pid was used before", nil, relative(at(30, 900), 6), 1000, []Relative{relative(first, 1)}, []string{"", "1:/sbin/init:/sbin/init"}, 1},
		{"the parent's pid is used again", nil, relative(leaf, 4), 1000, []Relative{relative(at(20, 900), 9), relative(first, 1)}, all, 0},
		{"a kernel thread", nil, relative(at(50, 0), 0), 1000, []Relative{relative(at(2, 0), 0)}, []string{"", "2::"}, 0},
	} {
		t.Run(test.name, func(t *testing.T) {
			c := known(Options{})
			for _, e := range test.add {
				c.Add(e)
			}
			if got := told(c.Describe(test.process, test.time*procfs.Tick, test.ancestors)); !slices.Equal(got, test.want) {
				t.Errorf("%q, want %q", got, test.want)
			}
			if s := c.Stats(); s.Misses != test.misses {
				t.Errorf("%d misses, want %d", s.Misses, test.misses)
			}
		})
	}
}

// TestBounds fills a cache: it stays within its bounds, forgets the dead first, and
// keeps what still starts programs.
func TestBounds(t *testing.T) {
	living := map[uint32]bool{1: true, 10: true}
	for _, options := range []Options{{Entries: 100}, {Bytes: 30_000}} {
		options.Alive = func(pid uint32) bool { return living[pid] }
		c := known(options)
		idle := at(7, 1)
		living[idle.PID] = true
		c.Add(idle.runs(first, 1, 1, "/bin/idle"))
		for i := range uint32(10_000) {
			c.Add(at(1000+i, 1000).runs(shell, 1001, 5, "/bin/child", strings.Repeat("a", int(i%100))))
			s := c.Stats()
			if options.Entries != 0 && s.Entries > options.Entries || options.Bytes != 0 && s.Bytes > options.Bytes {
				t.Fatalf("%+v: %+v", options, s)
			}
		}
		s := c.Stats()
		if s.Evictions+uint64(s.Entries) != 10_005 || s.Executions != 10_005 || s.Entries < 50 {
			t.Errorf("%+v", s)
		}
		sum := 0
		for element := c.used.Front(); element != nil; element = element.Next() {
			sum += element.Value.(*entry).size()
		}
		if sum != s.Bytes || c.used.Len() != s.Entries {
			t.Errorf("%d bytes of %d entries, counted %+v", sum, c.used.Len(), s)
		}
		for _, p := range []Process{first, shell, idle} {
			if args, _ := c.Describe(relative(p, 0), 1<<62, nil); args == nil {
				t.Errorf("%+v: %d is forgotten", options, p.PID)
			}
		}
		if args, _ := c.Describe(relative(leaf, 4), 1<<62, nil); args != nil {
			t.Errorf("%+v: %d has ended and is known", options, leaf.PID)
		}
	}
}

// TestAllAlive cannot forget the dead, and forgets all the same.
func TestAllAlive(t *testing.T) {
	c := New(Options{Entries: 10, Alive: func(uint32) bool { return true }})
	for i := range uint32(1000) {
		c.Add(at(1+i, 1).runs(Process{}, 1, 1, "/bin/a"))
	}
	if s := c.Stats(); s.Entries != 10 || s.Evictions != 990 {
		t.Errorf("%+v", s)
	}
}

func TestManyPrograms(t *testing.T) {
	c := New(Options{})
	for i := range uint64(100) {
		c.Add(leaf.runs(middle, 300+i, 4, fmt.Sprint("/bin/", i)))
	}
	if s := c.Stats(); s.Entries != 1 || s.Bytes > 1000 {
		t.Errorf("%+v", s)
	}
	if args, _ := c.Describe(relative(leaf, 4), 398*procfs.Tick, nil); !reflect.DeepEqual(args, []string{"/bin/98"}) {
		t.Errorf("%q", args)
	}
}

// TestConcurrent adds, asks and counts at once; the race detector looks on.
func TestConcurrent(t *testing.T) {
	c := known(Options{Entries: 50, Alive: func(uint32) bool { return false }})
	var wait sync.WaitGroup
	for worker := range uint32(4) {
		wait.Go(func() {
			for i := range uint32(1000) {
				p := at(1000*(worker+1)+i, 1000)
				c.Add(p.runs(shell, 1001, 5, "/bin/child"))
				if args, ancestors := c.Describe(relative(p, 5), 1<<62, nil); len(args) != 1 && args != nil || len(ancestors) > 0 && ancestors[0].Process != shell {
					t.Errorf("%q, %+v", args, ancestors)
				}
				c.Stats()
			}
		})
	}
	wait.Wait()
	if s := c.Stats(); s.Executions != 4004 || s.Entries > 50 {
		t.Errorf("%+v", s)
	}
}
