// Package enrich knows what processes run: it hears of every program that is
// started (bpf/enrich.h), so that an alert can tell the arguments of a process and
// of those that it descends from after they have ended.
package enrich

import (
	"container/list"
	"slices"
	"strings"
	"sync"

	"github.com/ebpfguard/ebpfguard/internal/procfs"
)

// Process names a process as no other: numbers of pids are used again.
type Process struct {
	PID uint32
	// Start is when it was forked, in nanoseconds of CLOCK_BOOTTIME.
	Start uint64
}

// Execution is a program that a process started.
type Execution struct {
	Process
	// Parent is its parent at that time.
	Parent Process
	// Time is when it started the program, in nanoseconds of CLOCK_BOOTTIME.
	Time uint64
	// Inode is the inode number of the program's file.
	Inode  uint64
	Binary string
	// Arguments are those of the program, each with a zero behind it.
	Arguments string
}

// Options bound a [Cache]. The zero value is useful.
type Options struct {
	// Entries is how many processes are known at most; 65,536 if zero.
	Entries int
	// Bytes is how much memory they take at most, about; 16 MiB if zero.
	Bytes int
	// Alive reports whether there is a process of that number: those that have
	// ended are forgotten first. Nil asks the kernel.
	Alive func(pid uint32) bool
}

// Stats count what a cache did.
type Stats struct {
	// Entries are the processes that are known, Bytes the memory of these.
	Entries, Bytes int
	// Executions are the programs that were told of.
	Executions uint64
	// Misses are processes that an alert is about or names, of which nothing was
	// known; Evictions those that were forgotten for others.
	Misses, Evictions uint64
}

// Cache knows what processes run. Its methods may be called concurrently.
type Cache struct {
	options Options

	mu      sync.Mutex
	source  *source // nil without
	entries map[key]*list.Element
	used    *list.List // of *entry, the last used one first
	stats   Stats
}

// key is a process as /proc has it: the start counted in ticks.
type key struct {
	pid  uint32
	tick uint64
}

func (p Process) key() key { return key{p.PID, p.Start / procfs.Tick} }

// entry is what is known of a process.
type entry struct {
	key    key
	parent Process
	// programs are the last ones that it started, in order: an alert is of the
	// time when it was raised, which may be before the last one.
	programs []program
}

type program struct {
	time, inode       uint64
	binary, arguments string
}

// maxPrograms is how many programs of a process are known.
const maxPrograms = 4

// size is about what an entry takes.
func (e *entry) size() int {
	n := 256
	for _, p := range e.programs {
		n += 48 + len(p.binary) + len(p.arguments)
	}
	return n
}

// New makes a cache that knows nothing yet.
func New(options Options) *Cache {
	if options.Entries == 0 {
		options.Entries = 1 << 16
	}
	if options.Bytes == 0 {
		options.Bytes = 16 << 20
	}
	if options.Alive == nil {
		options.Alive = alive
	}
	return &Cache{options: options, entries: map[key]*list.Element{}, used: list.New()}
}

// Add adds a program that a process started.
func (c *Cache) Add(e Execution) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.add(e)
}

func (c *Cache) add(e Execution) {
	c.stats.Executions++
	element := c.entries[e.key()]
	if element == nil {
		// The first parent is the one that made it; later ones adopted it.
		element = c.used.PushFront(&entry{key: e.key(), parent: e.Parent})
		c.entries[e.key()] = element
		c.stats.Bytes += element.Value.(*entry).size()
	}
	known := element.Value.(*entry)
	c.stats.Bytes -= known.size()
	if len(known.programs) == maxPrograms {
		known.programs = slices.Delete(known.programs, 0, 1)
	}
	known.programs = append(known.programs, program{e.Time, e.Inode, e.Binary, e.Arguments})
	c.stats.Bytes += known.size()
	c.touch(element)
	for len(c.entries) > c.options.Entries || c.stats.Bytes > c.options.Bytes && len(c.entries) > 1 {
		c.evict()
	}
}

// touch makes a process, and those that it descends from, the last used ones:
// what still starts programs is asked for again.
func (c *Cache) touch(element *list.Element) {
	for range maxAncestors {
		c.used.MoveToFront(element)
		if element = c.entries[element.Value.(*entry).parent.key()]; element == nil {
			return
		}
	}
}

// evict forgets the process that was used least recently, one that has ended if
// there is one among the first few.
func (c *Cache) evict() {
	const tries = 16
	for range min(tries, len(c.entries)-1) {
		if oldest := c.used.Back(); c.options.Alive(oldest.Value.(*entry).key.pid) {
			c.used.MoveToFront(oldest)
			continue
		}
		break
	}
	oldest := c.used.Back()
	e := c.used.Remove(oldest).(*entry)
	delete(c.entries, e.key)
	c.stats.Bytes -= e.size()
	c.stats.Evictions++
}

// Stats returns what the cache did so far.
func (c *Cache) Stats() Stats {
	c.mu.Lock()
	defer c.mu.Unlock()
	stats := c.stats
	stats.Entries = len(c.entries)
	return stats
}

// split returns the arguments of a program.
func split(arguments string) []string {
	if arguments == "" {
		return nil
	}
	return strings.Split(strings.TrimSuffix(arguments, "\x00"), "\x00")
}
