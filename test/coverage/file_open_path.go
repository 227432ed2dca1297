package coverage

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// linkFile makes a hard link of the way's file, at linked.
func linkFile(e *Env) error { return unix.Link(e.File(), e.Path("linked")) }

// hardLinkReason: what a directory or glob names is known by name, and by the identity of the directories.
var hardLinkReason = map[string]string{"*": "a second name from before the policy of a file that only its directory or a glob names: name the file itself"}

// openPathWays reach the file by another name.
func openPathWays() []Way {
	linked := func(flags int) func(*Env) error {
		return func(e *Env) error { return open(e.Path("linked"), flags) }
	}
	return []Way{
		{ID: "hard-link", Description: "a hard link from before the policy", Setup: linkFile, Do: linked(unix.O_RDONLY)},
		{ID: "hard-link-write", Description: "a hard link from before the policy, write", Setup: linkFile, Do: linked(unix.O_WRONLY)},
		{ID: "hard-link-tree", Object: "tree", NotCovered: hardLinkReason, Description: "a hard link from before the policy to a file below a protected directory", Setup: linkFile, Do: linked(unix.O_RDONLY)},
		{ID: "hard-link-glob", Object: "glob", NotCovered: hardLinkReason, Description: "a hard link from before the policy to a file that a glob names", Setup: linkFile, Do: linked(unix.O_RDONLY)},
		{ID: "hard-link-meanwhile", Description: "a hard link that another program makes under the policy", Meanwhile: linkFile, Do: linked(unix.O_RDONLY)},
		{ID: "hard-link-into-glob", Object: "glob", Description: "a link that another program makes at a name that a glob protects", Meanwhile: func(e *Env) error {
			must(os.Remove(e.File()))
			return unix.Link(e.Other(), e.File())
		}, Do: openFlags(unix.O_RDONLY)},
		{ID: "replaced-meanwhile", Description: "a new file that another program renames over the name", Meanwhile: func(e *Env) error {
			must(writeProgram(e.Path("new")))
			return os.Rename(e.Path("new"), e.File())
		}, Do: openFlags(unix.O_RDONLY)},
		{ID: "moved-meanwhile", Description: "the file under a new name that another program gave it", Meanwhile: func(e *Env) error {
			return os.Rename(e.File(), e.Path("moved"))
		}, Do: func(e *Env) error { return open(e.Path("moved"), unix.O_RDONLY) }},
		{ID: "created-meanwhile", Object: "future", Description: "a file that another program made under the policy", Meanwhile: func(e *Env) error {
			return writeProgram(e.File())
		}, Do: openFlags(unix.O_RDONLY)},
		{ID: "moved-into-tree", Object: "tree", Description: "a file that another program moved below a protected directory", Meanwhile: func(e *Env) error {
			must(os.Remove(e.File()))
			return os.Rename(e.Other(), e.File())
		}, Do: openFlags(unix.O_RDONLY)},
		{ID: "symlink", Description: "a symbolic link", Do: func(e *Env) error {
			must(unix.Symlink(e.File(), e.Path("sym")))
			return open(e.Path("sym"), unix.O_RDONLY)
		}},
		{ID: "symlink-chain", Description: "a chain of ten symbolic links, absolute and relative", Do: func(e *Env) error {
			last := e.File()
			for i := range 10 {
				name := fmt.Sprintf("sym%d", i)
				must(unix.Symlink(last, e.Path(name)))
				if last = name; i%2 == 0 {
					last = e.Path(name)
				}
			}
			return open(e.Path("sym9"), unix.O_RDONLY)
		}},
		{ID: "symlink-dir", Description: "a symbolic link to the directory", Do: func(e *Env) error {
			must(unix.Symlink("..", e.Path("mnt", "back")))
			return open(e.Path("mnt", "back", e.Name()), unix.O_RDONLY)
		}},
		{ID: "symlink-creat", Object: "future", Description: "O_CREAT through a dangling symbolic link", Do: func(e *Env) error {
			must(unix.Symlink(e.File(), e.Path("sym")))
			return open(e.Path("sym"), unix.O_CREAT|unix.O_WRONLY)
		}},
		{ID: "proc-self-cwd", Description: "/proc/thread-self/cwd", Do: func(e *Env) error {
			must(unix.Chdir(e.Dir))
			return open("/proc/thread-self/cwd/"+e.Name(), unix.O_RDONLY)
		}},
		{ID: "proc-self-root", Description: "/proc/self/root", Do: func(e *Env) error { return open("/proc/self/root"+e.File(), unix.O_RDONLY) }},
		{ID: "proc-pid-root", Description: "/proc/PID/root of another process", Do: func(e *Env) error {
			return open(fmt.Sprintf("/proc/%d/root%s", e.Parent, e.File()), unix.O_RDONLY)
		}},
		{ID: "proc-pid-cwd", Description: "/proc/PID/cwd of another process", Do: func(e *Env) error {
			return open(fmt.Sprintf("/proc/%d/cwd/../../../../../../../..%s", e.Parent, e.File()), unix.O_RDONLY)
		}},
		{ID: "proc-pid-fd", Description: "/proc/PID/fd of another process that has it open", Setup: func(e *Env) error {
			fd := need(unix.Open(e.File(), unix.O_RDONLY|unix.O_CLOEXEC, 0))
			e.Set("fd", fd)
			e.Defer(func() { unix.Close(fd) })
			return nil
		}, Do: func(e *Env) error {
			return open(fmt.Sprintf("/proc/%d/fd/%d", e.Parent, e.Int("fd")), unix.O_RDONLY)
		}},
		{ID: "rename-parent", Object: "deep", Description: "the actor renames a directory above, then opens", Do: func(e *Env) error {
			must(os.Rename(e.Path("up"), e.Path("away")))
			return open(e.Path("away/down", e.Name()), unix.O_RDONLY)
		}},
		{ID: "rename-parent-both", Object: "deep", Description: "the actor renames both directories above, then opens for writing", Do: func(e *Env) error {
			must(os.Rename(e.Path("up/down"), e.Path("up/under")))
			must(os.Rename(e.Path("up"), e.Path("away")))
			return open(e.Path("away/under", e.Name()), unix.O_WRONLY)
		}},
		{ID: "exchange-parent", Object: "deep", Description: "the actor exchanges a directory above with another, then opens", Do: func(e *Env) error {
			must(unix.Renameat2(unix.AT_FDCWD, e.Path("up"), unix.AT_FDCWD, e.Path("up2"), unix.RENAME_EXCHANGE))
			return open(e.Path("up2/down", e.Name()), unix.O_RDONLY)
		}},
		{ID: "rename-parent-meanwhile", Object: "deep", Description: "another program renames a directory above under the policy", Meanwhile: func(e *Env) error {
			return os.Rename(e.Path("up"), e.Path("away"))
		}, Do: func(e *Env) error { return open(e.Path("away/down", e.Name()), unix.O_RDONLY) }},
		{ID: "rename-tree-meanwhile", Object: "tree", Description: "another program renames the protected directory under the policy", Meanwhile: func(e *Env) error {
			if e.Protected {
				return os.Rename(e.Path("tree"), e.Path("away"))
			}
			return os.Rename(e.Path("open"), e.Path("away"))
		}, Do: func(e *Env) error { return open(e.Path("away/sub/file"), unix.O_RDONLY) }},
		{ID: "rename-into-place", Object: "deep", Description: "the actor renames a directory to make the protected path", Setup: func(e *Env) error {
			must(os.RemoveAll(e.Path("up")))
			return writeProgram(e.Path("up2/down", e.Name()))
		}, Do: func(e *Env) error {
			must(os.Rename(e.Path("up2"), e.Path("up")))
			return open(e.File(), unix.O_RDONLY)
		}},
		{ID: "after-neighbour", Description: "open right after a refused or permitted open of a neighbour (cached answers)", Do: func(e *Env) error {
			must(open(e.Other(), unix.O_RDONLY))
			return open(e.File(), unix.O_RDONLY)
		}},
		{ID: "repeated", Description: "a thousand opens, none of which may pass", Do: func(e *Env) error {
			var last error
			for range 1000 {
				if last = open(e.File(), unix.O_RDONLY); last == nil {
					return nil
				}
			}
			return last
		}},
		{ID: "threads-race", Description: "opens by eight threads at once, none of which may pass", Do: func(e *Env) error {
			results := make(chan error)
			for range 8 {
				go func() {
					var last error
					for range 100 {
						if last = open(e.File(), unix.O_RDONLY); last == nil {
							break
						}
					}
					results <- last
				}()
			}
			var refused error
			passed := false
			for range 8 {
				if err := <-results; err == nil {
					passed = true
				} else {
					refused = err
				}
			}
			if passed {
				return nil
			}
			return refused
		}},
		{ID: "rename-race", Object: "deep", Description: "opens while another thread keeps renaming a directory above", Do: renameRace},
	}
}

// renameRace opens by both names while they change places. Any open that succeeds reaches the effect.
func renameRace(e *Env) error {
	stop := make(chan struct{})
	stopped := make(chan error)
	go func() {
		var err error
		for err == nil {
			select {
			case <-stop:
				stopped <- nil
				return
			default:
			}
			if err = os.Rename(e.Path("up"), e.Path("away")); err == nil {
				err = os.Rename(e.Path("away"), e.Path("up"))
			}
		}
		stopped <- err
	}()
	refused := error(unix.ENOENT)
	for range 1000 {
		for _, dir := range []string{"up", "away"} {
			err := open(e.Path(dir, "down", e.Name()), unix.O_RDONLY)
			if err == nil {
				close(stop)
				return <-stopped
			}
			if err != unix.ENOENT {
				refused = err
			}
		}
	}
	close(stop)
	must(<-stopped)
	return refused
}
