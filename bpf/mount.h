/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* The verdict on a mount: its target, source, type and flags. */
#ifndef EBPFGUARD_MOUNT_H
#define EBPFGUARD_MOUNT_H

#include "judged.h"
#include "object.h"
#include "verdict.h"

/* include/uapi/linux/mount.h, include/linux/mount.h */
#define MS_RDONLY 1
#define MS_NOSUID 2
#define MS_NODEV 4
#define MS_NOEXEC 8
#define MS_SYNCHRONOUS 16
#define MS_REMOUNT 32
#define MS_NOATIME 1024
#define MS_BIND 4096
#define MS_MOVE 8192
#define MS_REC 16384
#define MS_UNBINDABLE (1 << 17)
#define MS_PRIVATE (1 << 18)
#define MS_SLAVE (1 << 19)
#define MS_SHARED (1 << 20)
#define MNT_NOSUID 1
#define MNT_NODEV 2
#define MNT_NOEXEC 4
#define MNT_NOATIME 8
#define MNT_READONLY 64
#define UMOUNT_FORCE 1
#define UMOUNT_DETACH 2

/* options_of returns the options of a mount by name, and the opposite of those
 * that it lacks. */
static __always_inline __u32 options_of(bool ro, bool nosuid, bool nodev, bool noexec)
{
	return (ro ? MOUNT_RO : MOUNT_RW) | (nosuid ? MOUNT_NOSUID : MOUNT_SUID) |
	       (nodev ? MOUNT_NODEV : MOUNT_DEV) | (noexec ? MOUNT_NOEXEC : MOUNT_EXEC);
}

/* flags_of_call translates the flags of mount(2). */
static __always_inline __u32 flags_of_call(unsigned long flags)
{
	__u32 result = options_of(flags & MS_RDONLY, flags & MS_NOSUID, flags & MS_NODEV,
				  flags & MS_NOEXEC);

	if (flags & MS_NOATIME)
		result |= MOUNT_NOATIME;
	if (flags & MS_SYNCHRONOUS)
		result |= MOUNT_SYNC;
	return result;
}

/* flags_of_mount translates the flags that a mount has. */
static __always_inline __u32 flags_of_mount(struct vfsmount *mnt)
{
	int flags = BPF_CORE_READ(mnt, mnt_flags);
	unsigned long super = BPF_CORE_READ(mnt, mnt_sb, s_flags);
	__u32 result = options_of(flags & MNT_READONLY || super & MS_RDONLY, flags & MNT_NOSUID,
				  flags & MNT_NODEV, flags & MNT_NOEXEC);

	if (flags & MNT_NOATIME)
		result |= MOUNT_NOATIME;
	return result;
}

/* The automata for single names. */
enum { SOURCE = 1, TYPE = 2 };

/* The source of an object that could not be found out. */
#define SOURCE_UNKNOWN 1

/* read_string reads the object's source or type into scratch->name; false
 * when it is longer than a name or cannot be read. */
__noinline int read_string(__u32 automaton)
{
	struct scratch *scratch = current_scratch();
	const void *string;
	long length;

	if (!scratch)
		return false;
	string = automaton == SOURCE ? (void *)scratch->object.source : scratch->object.type;
	if ((__u64)string == SOURCE_UNKNOWN)
		return false;
	scratch->name_length = 0;
	if (!string)
		return true;
	length = bpf_probe_read_kernel_str(scratch->name, MAX_NAME + 1, string);
	if (length <= 0 || length > MAX_NAME)
		return false;
	scratch->name_length = length - 1;
	return true;
}

/* class_of_string returns the class of the object's source or type. */
__noinline __u32 class_of_string(__u32 id, __u32 automaton)
{
	void *tables = tables_in(SLOT_ACTIVE);
	const struct operation *operation;
	struct scratch *scratch = current_scratch();
	__u64 start;

	if (!tables || !scratch)
		return NO_CLASS;
	operation = operation_of(tables, id);
	if (!operation)
		return NO_CLASS;
	start = number_of(automaton == SOURCE ? operation->automata[1] : operation->automata[2]);
	if (!read_string(automaton))
		return automaton == SOURCE ? operation->unknown_source : NO_CLASS;
	if (!scratch->name_length)
		return 0;
	return step(SLOT_ACTIVE, start) >> 32 & CLASS_MASK;
}

/* class_of_flags returns which of the operation's sets of flags a mount has
 * any of. */
__noinline __u32 class_of_flags(__u32 id, __u32 flags)
{
	void *tables = tables_in(SLOT_ACTIVE);
	const struct operation *operation;
	__u32 class = 0, i;

	if (!tables)
		return 0;
	operation = operation_of(tables, id);
	if (!operation)
		return 0;
	for (i = 0; i < MAX_MASKS; i++) {
		__u32 mask;

		if (i >= operation->mask_count)
			break;
		mask = word_at(tables, operation->masks + i);
		if (flags & mask)
			class |= 1 << i;
	}
	return class;
}

/* judge_mount_once judges scratch->object as a mount, once. */
__noinline __u64 judge_mount_once(__u32 id, __u64 begun, __u32 last)
{
	struct scratch *scratch = current_scratch();
	__u32 source, type, flags;
	__u64 classes;

	if (is_final(begun))
		return early_answer(begun);
	if (!scratch)
		return begun >> 32 << 32 | UNDECIDED_DENY;
	classes = object_classes(id);
	if (classes & CLASSES_RETRY && !last)
		return RETRY;
	source = class_of_string(id, SOURCE);
	type = class_of_string(id, TYPE);
	if (source == NO_CLASS || type == NO_CLASS)
		return begun >> 32 << 32 | UNDECIDED_DENY;
	flags = class_of_flags(id, scratch->object.flags);
	return names_verdict(id, begun, classes, rest_of(source, type, flags));
}

/* set_mount makes a mount scratch->object; false when there is no memory. */
static __always_inline bool set_mount(struct scratch *scratch, __u64 mnt, __u64 dentry, __u32 flags,
				      const char *source, const char *type)
{
	int i;

	if (!set_object(scratch, mnt, dentry, 0, flags))
		return false;
	scratch->object.source = (__u64)source;
	if (!type)
		return true;
	bpf_probe_read_kernel_str(scratch->object.type, TYPE_LENGTH, type);
	/* A subtype ("fuse.sshfs") is told to the filesystem only. */
	for (i = 0; i < TYPE_LENGTH; i++)
		if (scratch->object.type[i] == '.')
			scratch->object.type[i] = 0;
	return true;
}

/* decide_mount judges scratch->object and concludes. */
static __always_inline int decide_mount(enum operation_id id, enum hook_id hook)
{
	__u64 answer = RETRY;
	int i;

	for (i = 0; i < MAX_TRIES && (__u32)answer == RETRY; i++)
		answer = judge_mount_once(id, begin(id), i == MAX_TRIES - 1);
	return conclude(answer, id, hook, NULL);
}

static __always_inline const char *type_of(struct super_block *sb)
{
	return BPF_CORE_READ(sb, s_type, name);
}

/* write_source writes a path into scratch->source and reports whether it fits. */
__noinline int write_source(__u64 mnt, __u64 dentry)
{
	struct alert_buffer *buffer = current_alert_buffer();
	struct scratch *scratch = current_scratch();
	__u64 length;

	if (!buffer || !scratch)
		return false;
	length = copy_path(0, mnt, dentry);
	barrier_var(length);
	if (!length || length > MAX_NAME)
		return false;
	if (bpf_probe_read_kernel(scratch->source, mask_length(length), buffer->paths))
		return false;
	scratch->source[mask_length(length)] = 0;
	return true;
}

#endif
