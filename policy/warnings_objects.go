package policy

import (
	"net/netip"
	"slices"
	"strings"
)

// maxObjects bounds the objects that stand for all others.
const maxObjects = 100_000

// nameOf returns the name of an object with a single one.
func nameOf(o Object) string {
	switch o := o.(type) {
	case File:
		return o.Path
	case Program:
		return o.Path
	case Mount:
		return o.Target.Path
	}
	return ""
}

// objectsFor returns literal objects of the operation such that each one is
// selected by exactly the same patterns as one of them. It returns nil if that
// is too many or too hard, as it is with globs.
func objectsFor(set []Policy, o Operation) []Object {
	var all []Pattern
	for _, p := range set {
		for _, rule := range p.Rules {
			if rule.Operation == o {
				all = append(append(all, rule.Allow...), rule.Deny...)
			}
		}
	}
	switch o {
	case FileOpen:
		names := nameRepresentatives(all)
		return product(len(names), func(i int) []Object {
			var files []Object
			for _, access := range AllAccess.each() {
				files = append(files, File{names[i], access})
			}
			return files
		})
	case BprmCheckSecurity:
		names := nameRepresentatives(all)
		return product(len(names), func(i int) []Object {
			var programs []Object
			for _, fileless := range []bool{false, true} {
				for _, noArgs := range []bool{false, true} {
					programs = append(programs, Program{names[i], fileless, noArgs})
				}
			}
			return programs
		})
	case SbMount, SbRemount, SbUmount:
		return mountObjects(all)
	case TaskFixSetuid:
		return credentialsObjects(all)
	case SocketBind, SocketConnect:
		return socketObjects(all)
	}
	return nil
}

// product returns what f returns for each index, nil if that is too much.
func product(n int, f func(i int) []Object) []Object {
	var objects []Object
	for i := range n {
		objects = append(objects, f(i)...)
		if len(objects) > maxObjects {
			return nil
		}
	}
	return objects
}

// The names that no pattern names: longer than any may be.
var (
	freshComponent = strings.Repeat("x", maxComponent+1)
	freshSource    = strings.Repeat("x", maxPath+1)
)

// nameRepresentatives returns names for all classes of names that the path
// patterns tell apart, nil if there are globs among them.
func nameRepresentatives(all []Pattern) []Names {
	names := []Names{{}, {Unknown: true}, {Path: "/" + freshComponent}}
	seen := map[string]bool{}
	add := func(path string) {
		if !seen[path] {
			names = append(names, Names{Path: path})
		}
		seen[path] = true
	}
	for _, pattern := range all {
		for _, text := range pathsIn(pattern) {
			switch {
			case isGlob(text) || len(names) > maxObjects:
				return nil
			case text == "/":
				add("/")
			case strings.HasSuffix(text, "/"):
				add(strings.TrimSuffix(text, "/"))
				add(text + freshComponent)
			default:
				add(text)
			}
		}
	}
	return names
}

func mountObjects(all []Pattern) []Object {
	targets := nameRepresentatives(all)
	sources, types := []string{"", freshSource}, []string{"", "."}
	flags := MountFlags(0)
	for _, pattern := range all {
		p, ok := pattern.(MountPattern)
		if !ok {
			continue
		}
		for _, text := range p.Sources {
			switch splitSourcePattern(text).kind {
			case PathGlob:
				return nil
			case PathDir:
				sources = append(sources, strings.TrimSuffix(text, "/"), text+freshSource)
			default:
				sources = append(sources, text)
			}
		}
		types = append(types, p.Types...)
		flags |= p.Flags
	}
	sets := flagSets(flags)
	slices.Sort(sources)
	sources = slices.Compact(sources)
	slices.Sort(types)
	types = slices.Compact(types)
	if len(targets)*len(sources)*len(types)*len(sets) > maxObjects {
		return nil
	}
	return product(len(targets), func(i int) []Object {
		var mounts []Object
		for _, source := range sources {
			for _, t := range types {
				for _, f := range sets {
					mounts = append(mounts, Mount{Source: source, Target: targets[i], Type: t, Flags: f})
				}
			}
		}
		return mounts
	})
}

// flagSets returns all subsets of the flags, nil if there are too many.
func flagSets(flags MountFlags) []MountFlags {
	if len(flags.names()) > 8 {
		return nil
	}
	sets := []MountFlags{flags}
	for s := flags; s != 0; {
		s = (s - 1) & flags
		sets = append(sets, s)
	}
	return sets
}

func credentialsObjects(all []Pattern) []Object {
	var fromUIDs, fromGIDs, toUIDs, toGIDs []IDs
	for _, pattern := range all {
		p, ok := pattern.(CredentialsPattern)
		if !ok {
			continue
		}
		for _, ids := range []IDs{p.From.UIDs, p.From.GIDs, p.To.UIDs, p.To.GIDs} {
			if len(ids.Names) > 0 {
				return nil // nobody knows which ids they are
			}
		}
		fromUIDs, fromGIDs = append(fromUIDs, p.From.UIDs), append(fromGIDs, p.From.GIDs)
		toUIDs, toGIDs = append(toUIDs, p.To.UIDs), append(toGIDs, p.To.GIDs)
	}
	var to []Credentials
	for _, id := range idRepresentatives(toUIDs) {
		to = append(to, Credentials{To: id})
	}
	for _, id := range idRepresentatives(toGIDs) {
		to = append(to, Credentials{To: id, Group: true})
	}
	uids, gids := idRepresentatives(fromUIDs), idRepresentatives(fromGIDs)
	if len(to)*len(uids)*len(gids) > maxObjects {
		return nil
	}
	return product(len(to), func(i int) []Object {
		var objects []Object
		for _, uid := range uids {
			for _, gid := range gids {
				c := to[i]
				c.FromUID, c.FromGID = uid, gid
				objects = append(objects, c)
			}
		}
		return objects
	})
}

func socketObjects(all []Pattern) []Object {
	listed := 0
	for _, pattern := range all {
		if p, ok := pattern.(SocketPattern); ok {
			listed += len(p.Listed)
		}
	}
	if listed > maxObjects {
		return nil
	}
	addresses := append(addressRepresentatives(all, true), addressRepresentatives(all, false)...)
	// The first addresses stand for themselves and for those after them.
	addresses = append(addresses, netip.IPv4Unspecified().Next(), netip.IPv6Unspecified().Next())
	ports := append(portRepresentatives(all, PortRange{1, 65535}), 0)
	protocols := protocolRepresentatives(all)
	if len(addresses)*len(ports)*len(protocols) > maxObjects {
		return nil
	}
	return product(len(addresses), func(i int) []Object {
		var sockets []Object
		for _, protocol := range protocols {
			for _, port := range ports {
				if port == 0 || protocol.HasPorts() {
					sockets = append(sockets, Socket{Address: addresses[i], Port: port, Protocol: protocol})
				}
			}
		}
		return sockets
	})
}
