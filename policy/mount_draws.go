package policy

import (
	"slices"
	"strings"
)

func (mountKind) representatives(all []Pattern) []Object { return mountObjects(all) }

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

var (
	randomSources = []string{"/dev/sda1", "/dev/sdb", "/dev/disk/x", "tmpfs", "none", "//server/share", "host:/export/a"}
	randomTypes   = []string{"ext4", "tmpfs", "proc", "overlay"}
)

func (k mountKind) randomPattern(d Draws) Pattern {
	var p MountPattern
	if chance(d, 40) && k.operation != SbUmount {
		p.Sources = oneOrTwo(d, append([]string{"/dev/", "/dev/disk/", "//server/"}, randomSources...)...)
		if d.Globs() && chance(d, 40) {
			p.Sources = append(p.Sources, choose(d, "/dev/*", "/dev/sd?", "**a**", "host:/**", "*"))
		}
	}
	if chance(d, 50) {
		p.Targets = randomPaths(d)
	}
	if chance(d, 30) {
		p.Types = oneOrTwo(d, randomTypes...)
	}
	if chance(d, 30) {
		for range 1 + d.IntN(3) {
			p.Flags |= 1 << d.IntN(len(mountFlagNames)) & k.possible
		}
	}
	return p
}

func (k mountKind) randomObject(d Draws) Object {
	m := Mount{Target: d.Names(), Type: choose(d, append(randomTypes, "")...)}
	options := MountFlags(0)
	for _, o := range mountOptions {
		options |= choose(d, 0, o.with)
	}
	switch k.operation {
	case SbMount:
		m.Source = choose(d, append(randomSources, "/dev", "")...)
		m.Flags = choose(d, MountNew, MountBind, MountBind|MountRecursive, MountMove, MountPrivate, MountPivot)
		if m.Flags == MountNew {
			m.Flags |= options
			return m.WithData(RandomMountData(d))
		}
		m.Type = ""
	case SbRemount:
		m.Source, m.Flags = choose(d, append(randomSources, "")...), options
		return m.WithData(RandomMountData(d))
	case SbUmount:
		m.Flags = choose(d, 0, MountDetach, MountForce, MountDetach|MountForce)
	}
	return m
}

// RandomMountData returns a data string of mount(2), see [RandomPattern].
func RandomMountData(d Draws) string {
	if chance(d, 40) {
		return ""
	}
	if chance(d, 5) {
		return choose(d, "sep=;ro;rw", "\x06\x01rw", "a\x7f", strings.Repeat("x,", MaxMountData), "size=1m\x00rw")
	}
	var list []string
	for range 1 + d.IntN(4) {
		o := choose(d, mountOptions...)
		list = append(list, choose(d, o.withWord, o.withoutWord, "size=1m", "", "=", "row", "r", "norw", "ro=1", "lowerdir=/rw",
			"context=\"a", "upperdir=/a\\", "errors=remount-ro", strings.Repeat("y", d.IntN(300))))
	}
	return strings.Join(list, choose(d, ",", ",", ",", ",,", ";", " "))
}
