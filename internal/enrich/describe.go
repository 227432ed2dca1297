package enrich

import "github.com/ebpfguard/ebpfguard/internal/abi"

// maxAncestors is how many ancestors are told.
const maxAncestors = abi.MaxAncestors

// Relative is a process as the kernel tells of it in an alert.
type Relative struct {
	Process
	// Inode is the inode number of the program's file; 0 for a kernel thread.
	Inode uint64
}

// Ancestor is a process that another one descends from.
type Ancestor struct {
	Process
	Binary string
	Args   []string
}

// Describe returns the arguments of a process at a time, and the processes that it
// descends from, the parent first. ancestors are those that the kernel tells of. A
// process has the parent that it had when it started its first program, which may
// have ended since.
func (c *Cache) Describe(p Relative, time uint64, ancestors []Relative) ([]string, []Ancestor) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.catchUp()
	chain := c.chain(p, ancestors)
	var args []string
	var all []Ancestor
	for i, link := range chain {
		found := c.program(chain[i:], time)
		if found == nil {
			found = &program{}
			if link.Inode != 0 || link.gone {
				c.stats.Misses++
			}
		}
		if i == 0 {
			args = split(found.arguments)
			continue
		}
		all = append(all, Ancestor{link.Process, found.binary, split(found.arguments)})
	}
	return args, all
}

// link is a process of a chain from a child to its parents.
type link struct {
	Relative
	// gone says that the kernel does not tell of it any more, nor its program.
	gone bool
}

// chain returns a process and what it descends from.
func (c *Cache) chain(p Relative, ancestors []Relative) []link {
	chain := []link{{Relative: p}}
	for len(chain) <= maxAncestors {
		last := chain[len(chain)-1]
		var next link
		if element := c.entries[last.key()]; element != nil && element.Value.(*entry).parent.PID != 0 {
			c.used.MoveToFront(element)
			next = link{Relative{Process: element.Value.(*entry).parent}, true}
		} else if !last.gone && len(ancestors) > 0 {
			next = link{Relative: ancestors[0]}
		}
		if next.PID == 0 {
			break
		}
		for i, a := range ancestors {
			if a.key() == next.key() {
				next = link{Relative: a}
				ancestors = ancestors[i+1:]
				break
			}
		}
		chain = append(chain, next)
	}
	return chain
}

// program returns what the first process of a chain ran at a time; nil when that is
// not known. One that started nothing itself runs what its parent ran when it was
// forked, which has to be the same file.
func (c *Cache) program(chain []link, time uint64) *program {
	inode := chain[0].Inode
	for i, link := range chain {
		if element := c.entries[link.key()]; element != nil {
			programs := element.Value.(*entry).programs
			for j := len(programs) - 1; j >= 0; j-- {
				p := &programs[j]
				if p.time > time {
					continue
				}
				if i > 0 && inode != 0 && p.inode != 0 && p.inode != inode {
					return nil // it has another parent now, or nobody told of that program
				}
				return p
			}
		}
		time = link.Start
	}
	return nil
}
