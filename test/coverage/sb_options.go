package coverage

import "golang.org/x/sys/unix"

// mountOption is an option that a rule forbids, and how each interface asks for it.
type mountOption struct {
	// name is the rule's flag and the ways' object.
	name string
	// flags are those of mount(2) that have it; calm are those that do not.
	flags, calm uintptr
	// attr and calmAttr are the same for fsmount(2).
	attr, calmAttr int
	// generic says that the VFS takes the word from any filesystem's data; else only a filesystem that
	// ignores what it does not know takes it.
	generic bool
}

var mountOptions = []mountOption{
	{"ro", unix.MS_RDONLY, 0, unix.MOUNT_ATTR_RDONLY, 0, true},
	{"rw", 0, unix.MS_RDONLY, 0, unix.MOUNT_ATTR_RDONLY, true},
	{"suid", 0, unix.MS_NOSUID, 0, unix.MOUNT_ATTR_NOSUID, false},
	{"dev", 0, unix.MS_NODEV, 0, unix.MOUNT_ATTR_NODEV, false},
	{"exec", 0, unix.MS_NOEXEC, 0, unix.MOUNT_ATTR_NOEXEC, false},
	{"noatime", unix.MS_NOATIME, 0, unix.MOUNT_ATTR_NOATIME, 0, false},
	{"sync", unix.MS_SYNCHRONOUS, 0, 0, 0, true},
}

// kind is a type of filesystem that takes the option's word.
func (o mountOption) kind() string {
	if o.generic {
		return "tmpfs"
	}
	return "ramfs"
}

// mountOptionWays ask for each option by flags, by data and by fsconfig(2).
func mountOptionWays() []Way {
	var ways []Way
	for _, o := range mountOptions {
		mount := func(kind string, flags uintptr, data string) func(*Env) error {
			return func(e *Env) error { return unix.Mount("coverage", e.Point(), kind, flags, data) }
		}
		fsmount := func(word string, attr int) func(*Env) error {
			return func(e *Env) error {
				fs := need(unix.Fsopen("tmpfs", unix.FSOPEN_CLOEXEC))
				if word != "" {
					must(unix.FsconfigSetFlag(fs, word))
				}
				must(unix.FsconfigCreate(fs))
				return moveTo(need(unix.Fsmount(fs, unix.FSMOUNT_CLOEXEC, attr)), e.Point())
			}
		}
		add := func(id, description string, do func(*Env) error) {
			ways = append(ways, Way{ID: "option-" + o.name + "-" + id, Object: o.name, Description: description, Do: do})
		}
		add("flags", "mount(2) with "+o.name+" by the flags", mount("tmpfs", o.flags, ""))
		add("data", "mount(2) with "+o.name+" in the data", mount(o.kind(), o.calm, o.name))
		add("data-last", "mount(2) with "+o.name+" in the data behind others", mount(o.kind(), o.calm, "mode=700,,"+o.name))
		add("data-value", "mount(2) with "+o.name+"=1 in the data", mount(o.kind(), o.calm, o.name+"=1"))
		add("data-twice", "mount(2) with "+o.name+" in the data of ramfs between others", mount("ramfs", o.calm, "x,"+o.name+",mode=700"))
		if o.name == "sync" {
			add("fsconfig", "fsconfig(2) with the flag sync, move_mount(2)", fsmount("sync", 0))
			continue
		}
		add("fsmount", "fsmount(2) with "+o.name+" by the attributes, move_mount(2)", fsmount("", o.attr))
		if o.name == "ro" {
			add("fsconfig", "fsconfig(2) with the flag ro, move_mount(2)", fsmount("ro", 0))
		}
		if o.name == "rw" {
			add("fsconfig", "fsconfig(2) with the flag rw, move_mount(2)", fsmount("rw", 0))
		}
	}
	return append(ways,
		Way{ID: "option-unreadable", Object: "rw", Description: "mount(2), MS_RDONLY, with data that is no text", Do: func(e *Env) error {
			return unix.Mount("coverage", e.Point(), "ramfs", unix.MS_RDONLY, "\x01\x02")
		}},
		Way{ID: "option-separator", Object: "rw", Description: "mount(2), MS_RDONLY, with data that chooses its separator", Do: func(e *Env) error {
			return unix.Mount("coverage", e.Point(), "ramfs", unix.MS_RDONLY, "sep=;rw")
		}},
		Way{ID: "option-ext4-rw", Needs: []string{"ext4_options"}, Disk: true, Object: "rw", Description: "mount(2), MS_RDONLY, of ext4 with rw in the data", Do: func(e *Env) error {
			return unix.Mount(diskLoop, e.Point(), "ext4", unix.MS_RDONLY, "rw")
		}},
		Way{ID: "option-only", Object: "only", Description: "mount(2), MS_RDONLY, with rw in the data, where only ro is allowed", Do: func(e *Env) error {
			return unix.Mount("coverage", e.Point(), "tmpfs", unix.MS_RDONLY, "rw")
		}},
		Way{ID: "option-only-order", Object: "only", Description: "mount(2), MS_RDONLY, with rw,ro in the data, where only ro is allowed", Do: func(e *Env) error {
			return unix.Mount("coverage", e.Point(), "tmpfs", unix.MS_RDONLY, "rw,ro")
		}},
		Way{ID: "option-only-fsconfig", Object: "only", Description: "fsconfig(2) with the flag rw, move_mount(2), where only ro is allowed", Do: func(e *Env) error {
			return moveTo(detachedTmpfs(), e.Point())
		}},
	)
}

// remountOptionWays change each option by flags, by data and by fsconfig(2).
func remountOptionWays() []Way {
	var ways []Way
	for _, o := range mountOptions {
		// What it is changed to, it is not yet.
		setup := func(kind string) func(*Env) error {
			return func(e *Env) error {
				must(unix.Unmount(e.Point(), 0))
				must(unix.Mount("coverage", e.Point(), kind, o.calm, ""))
				return unix.Mount("", e.Point(), "", unix.MS_PRIVATE, "")
			}
		}
		remount := func(flags uintptr, data string) func(*Env) error {
			return func(e *Env) error { return unix.Mount("", e.Point(), "", unix.MS_REMOUNT|flags, data) }
		}
		reconfigure := func(word string) func(*Env) error {
			return func(e *Env) error {
				fs := need(unix.Fspick(unix.AT_FDCWD, e.Point(), unix.FSPICK_CLOEXEC))
				must(unix.FsconfigSetFlag(fs, word))
				return unix.FsconfigReconfigure(fs)
			}
		}
		add := func(id, description, kind string, do func(*Env) error) {
			ways = append(ways, Way{ID: "option-" + o.name + "-" + id, Object: o.name, Description: description, Setup: setup(kind), Do: do})
		}
		add("flags", "mount(2), MS_REMOUNT, with "+o.name+" by the flags", "tmpfs", remount(o.flags, ""))
		add("data", "mount(2), MS_REMOUNT, with "+o.name+" in the data", o.kind(), remount(o.calm, o.name))
		add("data-last", "mount(2), MS_REMOUNT, with "+o.name+" in the data behind others", o.kind(), remount(o.calm, "mode=700,,"+o.name))
		add("data-value", "mount(2), MS_REMOUNT, with "+o.name+"=1 in the data", o.kind(), remount(o.calm, o.name+"=1"))
		add("data-ramfs", "mount(2), MS_REMOUNT, with "+o.name+" in the data of ramfs between others", "ramfs", remount(o.calm, "x,"+o.name+",mode=700"))
		if o.name != "sync" {
			add("bind", "mount(2), MS_REMOUNT|MS_BIND, with "+o.name+" by the flags", "tmpfs", remount(unix.MS_BIND|o.flags, ""))
		}
		if o.generic {
			add("fsconfig", "fsconfig(2) with the flag "+o.name+", FSCONFIG_CMD_RECONFIGURE", "tmpfs", reconfigure(o.name))
		}
	}
	readOnly := func(e *Env) error { return unix.Mount("", e.Point(), "", unix.MS_REMOUNT|unix.MS_RDONLY, "") }
	remount := func(data string) func(*Env) error {
		return func(e *Env) error {
			return unix.Mount("", e.Point(), "", unix.MS_REMOUNT|unix.MS_RDONLY, data)
		}
	}
	return append(ways,
		Way{ID: "option-rw-elsewhere", Object: "rw", Setup: readOnly, Description: "mount(2), MS_REMOUNT|MS_RDONLY, with rw in the data, through a bind mount elsewhere", Do: func(e *Env) error {
			ownMounts()
			mountBind(e.Point(), e.Path("mnt2"))
			return unix.Mount("", e.Path("mnt2"), "", unix.MS_REMOUNT|unix.MS_RDONLY, "rw")
		}},
		Way{ID: "option-separator", Object: "rw", Setup: readOnly, Description: "mount(2), MS_REMOUNT|MS_RDONLY, of ramfs with data that chooses its separator", Do: func(e *Env) error {
			ownMounts()
			must(unix.Mount("coverage", e.Point(), "ramfs", 0, ""))
			return remount("sep=;rw")(e)
		}},
		Way{ID: "option-only", Object: "only", Setup: readOnly, Description: "mount(2), MS_REMOUNT|MS_RDONLY, with rw in the data, where only ro is allowed", Do: remount("rw")},
		Way{ID: "option-only-order", Object: "only", Setup: readOnly, Description: "mount(2), MS_REMOUNT|MS_RDONLY, with rw,ro in the data, where only ro is allowed", Do: remount("rw,ro")},
		Way{ID: "option-only-fsconfig", Object: "only", Setup: readOnly, Description: "fsconfig(2) with the flag rw, FSCONFIG_CMD_RECONFIGURE, where only ro is allowed", Do: func(e *Env) error {
			fs := need(unix.Fspick(unix.AT_FDCWD, e.Point(), unix.FSPICK_CLOEXEC))
			must(unix.FsconfigSetFlag(fs, "rw"))
			return unix.FsconfigReconfigure(fs)
		}},
	)
}
