/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* The verdict on a mount: its target, source, type and flags. */
#ifndef EBPFGUARD_MOUNT_H
#define EBPFGUARD_MOUNT_H

#include "judged.h"
#include "mount_data.h"
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

/* either_of returns the options that are in doubt where flags and data of mount(2) name
 * these. */
static __always_inline __u32 either_of(__u32 flags, __u32 told)
{
	__u32 pairs;

	told |= flags;
	told |= flags & MOUNT_NOATIME ? 0 : MARK_ATIME;
	told |= flags & MOUNT_SYNC ? 0 : MARK_ASYNC;
	pairs = told & told >> 1 & OPTION_PAIRS;
	return pairs | pairs << 1 | (told & MARK_ATIME ? told & MOUNT_NOATIME : 0) |
	       (told & MARK_ASYNC ? told & MOUNT_SYNC : 0);
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
	if (super & MS_SYNCHRONOUS)
		result |= MOUNT_SYNC;
	return result;
}

/* Of how many options a mount may have one or the other. */
#define CHOICES 6

/* chosen returns one of the pair of flags, or the first or nothing, if that is in doubt. */
static __always_inline __u32 chosen(__u32 either, __u32 with, __u32 without, bool first)
{
	return either & (first ? with : without);
}

/* flags_of_choice returns the flags of a mount if each option that is in doubt is what the
 * bits of `choice` say. */
static __always_inline __u32 flags_of_choice(__u32 flags, __u32 either, __u32 choice)
{
	return (flags & ~either) | chosen(either, MOUNT_RO, MOUNT_RW, choice & 1) |
	       chosen(either, MOUNT_NOSUID, MOUNT_SUID, choice & 2) |
	       chosen(either, MOUNT_NODEV, MOUNT_DEV, choice & 4) |
	       chosen(either, MOUNT_NOEXEC, MOUNT_EXEC, choice & 8) |
	       chosen(either, MOUNT_NOATIME, 0, choice & 16) |
	       chosen(either, MOUNT_SYNC, 0, choice & 32);
}

/* judge_choice judges scratch->object as a mount with the options of one choice. */
__noinline __u64 judge_choice(__u32 id, __u64 begun, __u64 classes, __u64 rest, __u32 choice)
{
	struct scratch *scratch = current_scratch();
	__u32 flags;

	if (!scratch)
		return begun >> 32 << 32 | UNDECIDED_DENY;
	flags = flags_of_choice(scratch->object.flags, scratch->object.either, choice);
	return names_verdict(id, begun, classes, rest | (__u64)class_of_flags(id, flags) << 48);
}

/* judge_choices is the strictest verdict over all choices but the first. */
__noinline __u64 judge_choices(__u32 id, __u64 begun, __u64 classes, __u64 rest)
{
	__u64 answer = begun >> 32 << 32 | NO_RULE_ALLOW, next;
	__u32 choice;

	for (choice = 1; choice < 1 << CHOICES; choice++) {
		next = judge_choice(id, begun, classes, rest, choice);
		if ((__u32)next == RETRY)
			return RETRY;
		answer = next >> 32 << 32 | stricter(answer, next);
	}
	return answer;
}

/* judge_mount_once judges scratch->object as a mount, once. */
__noinline __u64 judge_mount_once(__u32 id, __u64 begun, __u32 last)
{
	struct scratch *scratch = current_scratch();
	__u64 classes, rest, answer, others;

	if (is_final(begun))
		return early_answer(begun);
	if (!scratch)
		return begun >> 32 << 32 | UNDECIDED_DENY;
	classes = object_classes(hand(scratch), id);
	if (classes & CLASSES_RETRY && !last)
		return RETRY;
	rest = rest_of_keys(id, (struct key[]){AUTOMATON(SOURCE), AUTOMATON(TYPE), {}});
	if (rest == NOT_FOUND)
		return begun >> 32 << 32 | UNDECIDED_DENY;
	answer = judge_choice(id, begun, classes, rest, 0);
	if (!scratch->object.either || (__u32)answer == RETRY)
		return answer;
	others = judge_choices(id, begun, classes, rest);
	if ((__u32)others == RETRY)
		return RETRY;
	return answer >> 32 << 32 | stricter(answer, others);
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

/* add_data makes scratch->object, a mount by mount(2), one with that data, too. */
static __always_inline void add_data(struct scratch *scratch, const void *data)
{
	__u32 told = options_of_data(hand(scratch), as_number(data));

	scratch->object.either = either_of(scratch->object.flags, told);
	scratch->object.flags |= scratch->object.either;
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
