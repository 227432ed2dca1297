package policy

import (
	"fmt"
	"strings"
)

// MaxMountData is how many bytes of mount(2)'s data string count: what fits into a page.
const MaxMountData = 4095

// Marks beside the flags, for the absence of an option that has no flag of its own.
const (
	markAtime MountFlags = 1 << 30
	markAsync MountFlags = 1 << 31
)

// mountOptions are the options of a mount: it has the first or else the second of each
// pair. A data string names them by these words.
var mountOptions = []struct {
	with, without         MountFlags
	withWord, withoutWord string
}{
	{MountReadOnly, MountReadWrite, "ro", "rw"},
	{MountNoSUID, MountSUID, "nosuid", "suid"},
	{MountNoDev, MountDev, "nodev", "dev"},
	{MountNoExec, MountExec, "noexec", "exec"},
	{MountNoAtime, markAtime, "noatime", "atime"},
	{MountSync, markAsync, "sync", "async"},
}

// WithData returns the mount that mount(2) makes or changes when it is given the flags of m
// and this data string. The kernel and the filesystem take options from both, and
// which one wins depends on the filesystem. So a mount whose data names an option
// otherwise than its flags may have it or not. One whose data cannot be read may have any.
//
// A bind mount, a move, a change of propagation and a remount with MS_BIND leave the
// data aside (fs/namespace.c, path_mount).
func (m Mount) WithData(data string) Mount {
	if m.Flags&(kindFlags&^MountNew) != 0 {
		return m
	}
	told := optionsOfData(data)
	for _, o := range mountOptions {
		if m.Flags&o.with != 0 {
			told |= o.with
		}
		if m.Flags&o.with == 0 || m.Flags&o.without != 0 || m.Either&o.with != 0 {
			told |= o.without
		}
	}
	told |= m.Either
	for _, o := range mountOptions {
		both := o.with | o.without
		m.Flags, m.Either = m.Flags&^both, m.Either&^both
		if told&both == both {
			m.Either |= both & AllMountFlags
		} else {
			m.Flags |= told & both & AllMountFlags
		}
	}
	return m
}

// optionsOfData returns the options that a data string names, all if it cannot be read. It
// is what bpf/mount_data.h does.
//
// Options are separated by commas, and what follows "=" is a value
// (fs/fs_context.c, vfs_parse_monolithic_sep; vfs_parse_sb_flag leaves the value aside). Which of
// several comes last does not matter here: filesystems have escapes of their own, so the
// order cannot be trusted. A string that chooses its separator (cifs, "sep=") and binary
// data (old NFS) cannot be read.
func optionsOfData(data string) MountFlags {
	data, _, _ = strings.Cut(data[:min(len(data), MaxMountData)], "\x00")
	unreadable := strings.HasPrefix(data, "sep=") ||
		strings.ContainsFunc(data, func(r rune) bool { return r < ' ' || r == 0x7f })
	told := MountFlags(0)
	for option := range strings.SplitSeq(data, ",") {
		word, _, _ := strings.Cut(option, "=")
		for _, o := range mountOptions {
			if unreadable || word == o.withWord {
				told |= o.with
			}
			if unreadable || word == o.withoutWord {
				told |= o.without
			}
		}
	}
	return told
}

// Choices returns the flags that the mount may have, one set for each choice of what is
// not certain.
func (m Mount) Choices() []MountFlags {
	choices := []MountFlags{m.Flags}
	for _, o := range mountOptions {
		if m.Either&(o.with|o.without) == 0 {
			continue
		}
		for _, flags := range choices {
			choices = append(choices, flags|o.with)
		}
		for i := range len(choices) / 2 {
			choices[i] |= o.without & AllMountFlags
		}
	}
	return choices
}

// choices judges a mount by each of the sets of flags that it may have; the strictest
// verdict counts.
func (j judge) choices(m Mount) judgement {
	var result judgement
	for i, flags := range m.Choices() {
		m.Flags, m.Either = flags, 0
		if judged := j.names(m); i == 0 {
			result = judged
		} else {
			result = stricter(result, judged)
		}
	}
	return result
}

// choiceNotes tells which of the sets of flags decided.
func choiceNotes(from, to Mount) []string {
	if from.Either == 0 {
		return nil
	}
	return []string{fmt.Sprintf("flags and data do not tell for certain whether it is %s; decided as %s",
		strings.Join(from.Either.names(), ", "), to.Flags)}
}
