package policytest

import (
	"path"

	"github.com/ebpfguard/ebpfguard/policy"
)

var (
	// files are below the root; every directory of one is in directories.
	files       = []string{"f", "g.txt", "a/f", "a/g.txt", "a/b/f", "a/b/c/f", "a/b/c/g.txt", "b/f", "b/.h", "b/a/b/f"}
	directories = []string{"", "a", "a/b", "a/b/c", "b", "b/a", "b/a/b"}
	globs       = []string{
		"*", "*/f", "**/f", "**", "a/**", "a/**/f", "a/**/c/", "**/b/", "**/b/*", "?/f", "*.txt", "**/*.txt", "a/*/", "b/?h", "*/b/**/f", "**/a/**",
	}
)

// Paths returns the paths of the objects that exist on a system, all below the
// root: first the directories, each after those that it lies in, then the files.
func (r Random) Paths() (dirs, regular []string) {
	for _, d := range directories {
		dirs = append(dirs, path.Join(r.Root, d))
	}
	for _, f := range files {
		regular = append(regular, path.Join(r.Root, f))
	}
	return dirs, regular
}

// Path returns the path of a file or, rarely, of a directory.
func (r Random) Path() string {
	dirs, regular := r.Paths()
	if r.chance(20) {
		return pick(r, dirs...)
	}
	return pick(r, regular...)
}

// PathPattern returns a pattern of paths below the root.
func (r Random) PathPattern() string {
	dirs, _ := r.Paths()
	if r.NoGlobs {
		return pick(r, r.Path(), pick(r, dirs...)+"/")
	}
	return pick(r, r.Path(), pick(r, dirs...)+"/", r.Root+"/"+pick(r, globs...))
}

// Names returns the names of a file, mostly one.
func (r Random) Names() policy.Names {
	n := policy.Names{Path: pick(r, r.Path(), r.Path(), r.Path(), r.Path(), "/etc/other", ""), Unknown: r.chance(8)}
	for range max(0, r.IntN(6)-3) {
		n.Aliases = append(n.Aliases, r.Path())
	}
	return n
}

// Globs reports whether patterns may have wildcards.
func (r Random) Globs() bool { return !r.NoGlobs }

// Pattern returns a valid pattern of the operation.
func (r Random) Pattern(o policy.Operation) policy.Pattern {
	if !r.Plain && r.chance(15) {
		return policy.Everything(o)
	}
	return policy.RandomPattern(o, r)
}

// Object returns an object of the operation.
func (r Random) Object(o policy.Operation) policy.Object { return policy.RandomObject(o, r) }

// Mount returns a mount as the operation may have it.
func (r Random) Mount(o policy.Operation) policy.Mount { return r.Object(o).(policy.Mount) }

// Socket returns a socket that could be bound.
func (r Random) Socket() policy.Socket { return r.Object(policy.SocketBind).(policy.Socket) }
