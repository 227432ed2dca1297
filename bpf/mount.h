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

/* judge_mount_once judges scratch->object as a mount, once. */
__noinline __u64 judge_mount_once(__u32 id, __u64 begun, __u32 last)
{
	struct scratch *scratch = current_scratch();
	__u64 classes, rest;

	if (is_final(begun))
		return early_answer(begun);
	if (!scratch)
		return begun >> 32 << 32 | UNDECIDED_DENY;
	classes = object_classes(id);
	if (classes & CLASSES_RETRY && !last)
		return RETRY;
	rest = rest_of_keys(id, (struct key[]){AUTOMATON(SOURCE), AUTOMATON(TYPE),
					       FLAGS(scratch->object.flags)});
	if (rest == NOT_FOUND)
		return begun >> 32 << 32 | UNDECIDED_DENY;
	return names_verdict(id, begun, classes, rest);
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
	int try;

	return conclude(JUDGE(try, id, judge_mount_once, try == LAST_TRY), id, hook, NULL);
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
