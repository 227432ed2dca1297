package policytest

import (
	"net/netip"
	"path"

	"github.com/ebpfguard/ebpfguard/policy"
)

var (
	ports    = []uint16{0, 1, 22, 23, 80, 40000, 40001, 40010, 65535}
	prefixes = []string{
		"0.0.0.0/0", "0.0.0.0/32", "0.0.0.0/8", "127.0.0.0/8", "127.0.0.1/32", "127.0.0.0/31", "10.0.0.0/8", "10.1.0.0/16",
		"255.255.255.255/32", "128.0.0.0/1", "::/0", "::/128", "::1/128", "::/80", "2001:db8::/32", "2001:db8::/33", "8000::/1",
	}
	addresses = []string{
		"0.0.0.0", "0.0.0.1", "127.0.0.1", "127.0.0.2", "10.0.0.1", "10.1.0.1",
		"::", "::1", "2001:db8::1", "2001:db8:8000::1", "fc00::1", "::ffff:127.0.0.1", "::ffff:10.0.0.1", "::ffff:0.0.0.0",
	}
	// files are below the root; every directory of one is in directories.
	files       = []string{"f", "g.txt", "a/f", "a/g.txt", "a/b/f", "a/b/c/f", "a/b/c/g.txt", "b/f", "b/.h", "b/a/b/f"}
	directories = []string{"", "a", "a/b", "a/b/c", "b", "b/a", "b/a/b"}
	globs       = []string{
		"*", "*/f", "**/f", "**", "a/**", "a/**/f", "a/**/c/", "**/b/", "**/b/*", "?/f", "*.txt", "**/*.txt", "a/*/", "b/?h", "*/b/**/f", "**/a/**",
	}
	sources = []string{"/dev/sda1", "/dev/sdb", "/dev/disk/x", "tmpfs", "none", "//server/share", "host:/export/a"}
	types   = []string{"ext4", "tmpfs", "proc", "overlay"}
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

// path returns the path of a file or, rarely, of a directory.
func (r Random) path() string {
	dirs, regular := r.Paths()
	if r.chance(20) {
		return pick(r, dirs...)
	}
	return pick(r, regular...)
}

// pathPattern returns a pattern of paths below the root.
func (r Random) pathPattern() string {
	dirs, _ := r.Paths()
	if r.NoGlobs {
		return pick(r, r.path(), pick(r, dirs...)+"/")
	}
	return pick(r, r.path(), pick(r, dirs...)+"/", r.Root+"/"+pick(r, globs...))
}

func (r Random) pathPatterns() []string { return some(r, r.pathPattern(), r.pathPattern()) }

// Pattern returns a valid pattern of the operation.
func (r Random) Pattern(o policy.Operation) policy.Pattern {
	if !r.Plain && r.chance(15) {
		return all(o)
	}
	for {
		var p policy.Pattern
		switch o {
		case policy.FileOpen:
			p = r.filePattern()
		case policy.BprmCheckSecurity:
			p = r.programPattern()
		case policy.SbMount, policy.SbRemount, policy.SbUmount:
			p = r.mountPattern(o)
		case policy.TaskFixSetuid:
			p = r.credentialsPattern()
		default:
			p = r.socketPattern()
		}
		if p.String() != "{}" {
			return p
		}
	}
}

// all returns the pattern for everything.
func all(o policy.Operation) policy.Pattern {
	switch o {
	case policy.FileOpen:
		return policy.FilePattern{All: true}
	case policy.BprmCheckSecurity:
		return policy.ProgramPattern{All: true}
	case policy.SbMount, policy.SbRemount, policy.SbUmount:
		return policy.MountPattern{All: true}
	case policy.TaskFixSetuid:
		return policy.CredentialsPattern{All: true}
	}
	return policy.SocketPattern{All: true}
}

func (r Random) filePattern() policy.FilePattern {
	var p policy.FilePattern
	if r.chance(80) {
		p.Paths = r.pathPatterns()
	}
	if r.chance(30) {
		p.Access = r.access()
	}
	return p
}

func (r Random) access() policy.Access { return policy.Access(1 + r.IntN(int(policy.AllAccess))) }

func (r Random) programPattern() policy.ProgramPattern {
	p := policy.ProgramPattern{Fileless: r.chance(15), NoArgs: r.chance(15)}
	if r.chance(70) {
		p.Paths = r.pathPatterns()
	}
	return p
}

func (r Random) mountPattern(o policy.Operation) policy.MountPattern {
	var p policy.MountPattern
	if r.chance(40) && o != policy.SbUmount {
		p.Sources = some(r, append([]string{"/dev/", "/dev/disk/", "//server/"}, sources...)...)
		if !r.NoGlobs && r.chance(40) {
			p.Sources = append(p.Sources, pick(r, "/dev/*", "/dev/sd?", "**a**", "host:/**", "*"))
		}
	}
	if r.chance(50) {
		p.Targets = r.pathPatterns()
	}
	if r.chance(30) {
		p.Types = some(r, types...)
	}
	if r.chance(30) {
		p.Flags = r.mountFlags(o)
	}
	return p
}

// mountFlags returns a few of the operation's flags.
func (r Random) mountFlags(o policy.Operation) policy.MountFlags {
	flags := policy.MountFlags(0)
	for range 1 + r.IntN(3) {
		flags |= 1 << r.IntN(21)
	}
	return flags & policy.MountFlagsOf(o)
}

var someIDs = []uint32{0, 1, 10, 1000, 1001, 65534, policy.MaxID}

func (r Random) ids() policy.IDs {
	var ids policy.IDs
	for range 1 + r.IntN(2) {
		a := pick(r, someIDs...)
		b := pick(r, a, pick(r, someIDs...))
		ids.Ranges = append(ids.Ranges, policy.IDRange{First: min(a, b), Last: max(a, b)})
	}
	return ids
}

func (r Random) credentialsPattern() policy.CredentialsPattern {
	var p policy.CredentialsPattern
	if r.chance(30) {
		p.From.UIDs = r.ids()
	}
	if r.chance(20) {
		p.From.GIDs = r.ids()
	}
	switch {
	case r.chance(50):
		p.To.UIDs = r.ids()
	case r.chance(40):
		p.To.GIDs = r.ids()
	}
	return p
}

func (r Random) socketPattern() policy.SocketPattern {
	var p policy.SocketPattern
	if r.IntN(2) == 0 {
		for range 1 + r.IntN(2) {
			a := pick(r, ports...)
			b := pick(r, a, a, pick(r, ports...))
			p.Ports = append(p.Ports, policy.PortRange{First: min(a, b), Last: max(a, b)})
		}
	}
	if r.IntN(2) == 0 {
		for range 1 + r.IntN(2) {
			p.Addresses = append(p.Addresses, netip.MustParsePrefix(pick(r, prefixes...)))
		}
	}
	if r.IntN(4) == 0 {
		p.Protocols = append(p.Protocols, pick(r, policy.TCP, policy.UDP))
	}
	p.All = p.Ports == nil && p.Addresses == nil && p.Protocols == nil
	return p
}

// Object returns an object of the operation.
func (r Random) Object(o policy.Operation) policy.Object {
	switch o {
	case policy.FileOpen:
		return policy.File{Names: r.Names(), Access: r.access()}
	case policy.BprmCheckSecurity:
		return policy.Program{Names: r.Names(), Fileless: r.chance(20), NoArgs: r.chance(20)}
	case policy.SbMount, policy.SbRemount, policy.SbUmount:
		return r.Mount(o)
	case policy.TaskFixSetuid:
		return policy.Credentials{
			FromUID: pick(r, someIDs...), FromGID: pick(r, someIDs...), To: pick(r, someIDs...), Group: r.chance(40),
		}
	}
	return r.Socket()
}

// Names returns the names of a file, mostly one.
func (r Random) Names() policy.Names {
	n := policy.Names{Path: pick(r, r.path(), r.path(), r.path(), r.path(), "/etc/other", ""), Unknown: r.chance(8)}
	for range max(0, r.IntN(6)-3) {
		n.Aliases = append(n.Aliases, r.path())
	}
	return n
}

// Mount returns a mount as the operation may have it.
func (r Random) Mount(o policy.Operation) policy.Mount {
	m := policy.Mount{Target: r.Names(), Type: pick(r, append(types, "")...)}
	switch o {
	case policy.SbMount:
		m.Source = pick(r, append(sources, "/dev", "")...)
		m.Flags = pick(r, policy.MountNew, policy.MountBind, policy.MountBind|policy.MountRecursive, policy.MountMove, policy.MountPrivate, policy.MountPivot)
		if m.Flags == policy.MountNew {
			m.Flags |= r.options()
		} else {
			m.Type = ""
		}
	case policy.SbRemount:
		m.Source = pick(r, append(sources, "")...)
		m.Flags = r.options()
	case policy.SbUmount:
		m.Flags = pick(r, 0, policy.MountDetach, policy.MountForce, policy.MountDetach|policy.MountForce)
	}
	return m
}

// options returns the options of a mount, one of each pair.
func (r Random) options() policy.MountFlags {
	return pick(r, policy.MountReadOnly, policy.MountReadWrite) | pick(r, policy.MountNoSUID, policy.MountSUID) |
		pick(r, policy.MountNoDev, policy.MountDev) | pick(r, policy.MountNoExec, policy.MountExec)
}

// Socket returns a socket that could be bound.
func (r Random) Socket() policy.Socket {
	return policy.Socket{
		Address:   netip.MustParseAddr(pick(r, addresses...)),
		Port:      pick(r, ports...),
		Protocol:  pick(r, policy.TCP, policy.UDP),
		Automatic: policy.DefaultAutomatic,
		DualStack: r.IntN(2) == 0,
	}
}
