package policy

import "fmt"

var (
	flagSource = &Flag{Name: "source", Usage: "mount: the `device` or directory that is mounted, as the process names it"}
	flagTarget = &Flag{Name: "target", Usage: "mount: the `path` where it is mounted; an empty one for a mount that is nowhere yet"}
	flagData   = &Flag{Name: "data", Usage: "mount: the `string` of data that mount(2) is given, such as rw,size=1m"}
	flagType   = &Flag{Name: "type", Usage: "mount: the `type` of the file system; by default one that no policy names"}
	flagFlags  = &Flag{Name: "flags", Usage: "mount: its `flags`, such as bind or new,ro,nosuid; of what is new, rw, suid, dev and exec unless told otherwise; two that exclude each other, such as ro,rw, stand for a mount that may be either", Form: FlagList, Words: mountFlagNames[:]}
)

func (k mountKind) flags() []*Flag {
	flags := []*Flag{flagTarget, flagType, flagFlags, flagAlias, flagUnknownPath}
	if k.operation == SbUmount {
		return flags
	}
	return append([]*Flag{flagSource, flagData}, flags...)
}

func (k mountKind) object(d *Description) (Object, error) {
	const example = "/mnt"
	if !d.has(flagTarget, flagAlias, flagUnknownPath) {
		return nil, missing(flagTarget, k.operation, example)
	}
	names, err := d.names(flagTarget, example)
	if err != nil {
		return nil, err
	}
	m := Mount{Source: d.text(flagSource), Target: names, Type: d.text(flagType)}
	possible := k.possible
	if k.operation == SbUmount {
		possible |= remountFlags // those that the mount has
	}
	for _, name := range d.list(flagFlags) {
		flag, err := ParseMountFlag(name)
		if err != nil {
			return nil, invalid(flagFlags, err)
		}
		if flag&possible == 0 {
			return nil, fmt.Errorf("--flags: %s has no flag %v; its flags are %v", k.operation, flag, possible)
		}
		m.Flags |= flag
	}
	if k.operation == SbMount && m.Flags&kindFlags == 0 {
		m.Flags |= MountNew
	}
	if k.operation == SbUmount || k.operation == SbMount && m.Flags&MountNew == 0 {
		return m, nil // has no options of its own
	}
	return m.WithData(d.text(flagData)), nil
}
