package coverage

import (
	"os"

	"golang.org/x/sys/unix"
)

// top is where the ways of a move have their home: below it globs name something, or nothing.
func (e *Env) top() string { return pick(e, e.Path("home"), e.Path("free")) }

// setupHome makes the files that a glob with a wildcard above its last component names.
func setupHome(e *Env) error {
	for _, name := range []string{"u/box/id_a", "u/other/x"} {
		must(writeProgram(e.top() + "/" + name))
	}
	for _, name := range []string{"", "/u", "/u/box", "/u/other"} {
		must(os.Chmod(e.top()+name, 0o777))
	}
	return nil
}

// setupMade makes a directory with a file that has no protected name yet.
func setupMade(e *Env) error {
	must(os.MkdirAll(e.top()+"/u/old", 0o777))
	return writeProgram(e.Path("made/id_new"))
}

// moveWays take a file, or a directory above it, away from the rule that knows it by its name alone, and read it; or
// bring a file to a protected name with its directory.
func moveWays() []Way {
	cwd := unix.AT_FDCWD
	read := func(path string) error { return open(path, unix.O_RDONLY) }
	rename := func(from, to string) { must(unix.Renameat(cwd, from, cwd, to)) }
	exchange := func(a, b string) error { return unix.Renameat2(cwd, a, cwd, b, unix.RENAME_EXCHANGE) }
	wild := []Way{
		{ID: "move-directory", Description: "renameat(2) of the directory above the last component of a glob, then open", Do: func(e *Env) error {
			rename(e.top()+"/u/box", e.top()+"/u/x")
			return read(e.top() + "/u/x/id_a")
		}},
		{ID: "move-parent", Description: "renameat(2) of a directory that a wildcard stands for, out of its place, then open", Do: func(e *Env) error {
			rename(e.top()+"/u", e.Path("moved"))
			return read(e.Path("moved/box/id_a"))
		}},
		{ID: "move-exchange", Description: "RENAME_EXCHANGE of the directory with another, then open", Do: func(e *Env) error {
			must(exchange(e.top()+"/u/box", e.top()+"/u/other"))
			return read(e.top() + "/u/other/id_a")
		}},
		{ID: "move-exchange-second", Description: "RENAME_EXCHANGE of another directory with this one, then open", Do: func(e *Env) error {
			must(exchange(e.Path("empty"), e.top()+"/u/box"))
			return read(e.Path("empty/id_a"))
		}},
		{ID: "move-file", Description: "renameat(2) of the file that a glob forbids to read, then open", Do: func(e *Env) error {
			rename(e.top()+"/u/box/id_a", e.Path("moved"))
			return read(e.Path("moved"))
		}},
		{ID: "move-link", Description: "linkat(2) of the file that a glob forbids to read, then open", Do: func(e *Env) error {
			must(unix.Linkat(cwd, e.top()+"/u/box/id_a", cwd, e.Path("linked"), 0))
			return read(e.Path("linked"))
		}},
		{ID: "move-bind", Description: "renameat(2) of the directory in a bind mount of the one above, then open", Do: func(e *Env) error {
			ownMounts()
			mountBind(e.top()+"/u", e.Path("mnt"))
			rename(e.Path("mnt/box"), e.Path("mnt/x"))
			return read(e.Path("mnt/x/id_a"))
		}},
		{ID: "move-user-namespace", Description: "renameat(2) of the directory in a user and mount namespace of the actor's own, then open", Do: func(e *Env) error {
			return inUserNamespace(e, "move-open", e.top()+"/u/box", e.top()+"/u/x", e.top()+"/u/x/id_a")
		}},
	}
	for i := range wild {
		wild[i].Object, wild[i].Setup = "wild", setupHome
	}
	tree := []Way{
		{ID: "move-out-of-tree", Description: "renameat(2) of a file out of a directory that may not be read, then open", Do: func(e *Env) error {
			rename(e.File(), e.Path("moved"))
			return read(e.Path("moved"))
		}},
		{ID: "move-directory-out-of-tree", Description: "renameat(2) of a directory out of one that may not be read, then open", Do: func(e *Env) error {
			rename(pick(e, e.Path("tree/sub"), e.Path("open/sub")), e.Path("moved"))
			return read(e.Path("moved/file"))
		}},
		{ID: "move-link-out-of-tree", Description: "linkat(2) out of a directory that may not be read, then open", Do: func(e *Env) error {
			must(unix.Linkat(cwd, e.File(), cwd, e.Path("linked"), 0))
			return read(e.Path("linked"))
		}},
		{ID: "move-exchange-out-of-tree", Description: "RENAME_EXCHANGE of a file below a directory that may not be read, then open", Do: func(e *Env) error {
			must(exchange(e.Other(), e.File()))
			return read(e.Other())
		}},
	}
	for i := range tree {
		tree[i].Object = "unread"
	}
	made := []Way{
		{ID: "move-into-glob", Description: "renameat(2) of a directory to where a glob names what it holds", Do: func(e *Env) error {
			return unix.Renameat(cwd, e.Path("made"), cwd, e.top()+"/u/box")
		}},
		{ID: "move-exchange-into-glob", Description: "RENAME_EXCHANGE of a directory to where a glob names what it holds", Do: func(e *Env) error {
			rename(e.top()+"/u/old", e.top()+"/u/box")
			return exchange(e.Path("made"), e.top()+"/u/box")
		}},
	}
	for i := range made {
		made[i].Object, made[i].Setup = "made", setupMade
	}
	return append(append(wild, tree...), made...)
}

// errandMoveOpen renames the first argument to the second and opens the third.
func errandMoveOpen(a []string) error {
	if err := os.Rename(a[0], a[1]); err != nil {
		return err.(*os.LinkError).Err
	}
	return open(a[2], unix.O_RDONLY)
}
