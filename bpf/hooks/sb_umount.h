/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * sb_umount: a mount is removed, by umount(2), or with the directory or file that it is
 * mounted on. Since 3.18 that can be removed or replaced when nothing is mounted there in
 * the process's own mount namespace, and what is mounted there in others is detached
 * (fs/namei.c, vfs_rmdir; fs/namespace.c, detach_mounts). The kernel asks about the name
 * only, with path_rmdir, path_unlink and path_rename. It is judged like a lazy unmount at
 * that name. Which filesystems are detached is not known there: the strictest verdict
 * over all types counts.
 */
#ifndef EBPFGUARD_HOOKS_SB_UMOUNT_H
#define EBPFGUARD_HOOKS_SB_UMOUNT_H

#include "../mount.h"
#include "file_open_path.h"

SEC("lsm/sb_umount")
int BPF_PROG(sb_umount, struct vfsmount *mnt, int flags, int ret)
{
	__u32 kind = flags_of_mount(mnt);

	if (ret)
		return ret;
	if (flags & UMOUNT_DETACH)
		kind |= MOUNT_DETACH;
	if (flags & UMOUNT_FORCE)
		kind |= MOUNT_FORCE;
	if (!set_mount(current_scratch(), (__u64)mnt, (__u64)BPF_CORE_READ(mnt, mnt_root), kind,
		       NULL, type_of(BPF_CORE_READ(mnt, mnt_sb))))
		return decide_undecided(OPERATION_SB_UMOUNT, HOOK_SB_UMOUNT);
	return decide_mount(OPERATION_SB_UMOUNT, HOOK_SB_UMOUNT);
}

/* include/linux/dcache.h: an enum in later kernels. Before, the bit was 16 and then 15, which
 * only dentries had until then that are gone. Where it is 15, 16 is for automounts. */
enum dentry_flags___later { DCACHE_MOUNTED___later = 1 };
#define DCACHE_MOUNTED_BEFORE (1 << 15 | 1 << 16)

/* is_mount_point reports whether something is mounted on a dentry in any namespace. */
static __always_inline bool is_mount_point(struct dentry *dentry)
{
	__u32 flags = BPF_CORE_READ(dentry, d_flags);

	if (bpf_core_enum_value_exists(enum dentry_flags___later, DCACHE_MOUNTED___later))
		return flags &
		       bpf_core_enum_value(enum dentry_flags___later, DCACHE_MOUNTED___later);
	return flags & DCACHE_MOUNTED_BEFORE;
}

/* Types of filesystems that an operation's rules tell apart at most; with more, what has an
 * unknown type cannot be judged. */
#define MAX_TYPES 64

/* judge_detached judges scratch->object as a mount of any type, once. */
__noinline __u64 judge_detached(__u32 id, __u64 begun, __u32 last)
{
	struct scratch *scratch = current_scratch();
	const struct operation *operation;
	__u64 classes, flags, answer, next;
	__u32 type, types;
	void *tables;

	if (is_final(begun))
		return early_answer(begun);
	tables = tables_in(SLOT_ACTIVE);
	operation = tables ? operation_of(tables, id) : NULL;
	if (!scratch || !operation)
		return begun >> 32 << 32 | UNDECIDED_DENY;
	types = operation->classes[TYPE];
	flags = class_of_flags(id, scratch->object.flags);
	classes = object_classes(hand(scratch), id);
	if (classes & CLASSES_RETRY && !last)
		return RETRY;
	answer = names_verdict(id, begun, classes, rest_of(0, 0, flags));
	for (type = 1; type < MAX_TYPES && type < types; type++) {
		next = names_verdict(id, begun, classes, rest_of(0, type, flags));
		if ((__u32)answer == RETRY || (__u32)next == RETRY)
			return RETRY;
		answer = next >> 32 << 32 | stricter(answer, next);
	}
	return types > MAX_TYPES ? begun >> 32 << 32 | UNDECIDED_DENY : answer;
}

/* decide_detached judges that a name goes, and with it what is mounted on it. */
static __always_inline int decide_detached(enum hook_id hook, const struct path *dir,
					   struct dentry *dentry)
{
	enum operation_id id = OPERATION_SB_UMOUNT;
	int try;

	if (is_unrestricted(id) || !is_mount_point(dentry))
		return 0;
	if (!set_mount(current_scratch(), (__u64)dir->mnt, (__u64)dentry, MOUNT_DETACH, NULL, NULL))
		return decide_undecided(id, hook);
	return conclude(JUDGE(try, id, judge_detached, try == LAST_TRY), id, hook, NULL);
}

SEC("lsm/path_rmdir")
int BPF_PROG(detach_rmdir, const struct path *dir, struct dentry *dentry, int ret)
{
	if (ret)
		return ret;
	return decide_detached(HOOK_PATH_RMDIR, dir, dentry);
}

SEC("lsm/path_unlink")
int BPF_PROG(detach_unlink, const struct path *dir, struct dentry *dentry, int ret)
{
	if (ret)
		return ret;
	return decide_detached(HOOK_PATH_UNLINK, dir, dentry);
}

SEC("lsm/path_rename")
int BPF_PROG(detach_rename, const struct path *old_dir, struct dentry *old,
	     const struct path *new_dir, struct dentry *new)
{
	int ret = PICK(ctx, rename_arguments == 5, 5, 4); /* as in path_rename */

	if (ret)
		return ret;
	return decide_detached(HOOK_PATH_RENAME, new_dir, new);
}

#endif
