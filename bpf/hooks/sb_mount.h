/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * sb_mount, sb_remount, sb_umount: what is mounted where, and how.
 *
 * mount(2) asks sb_mount for everything: new filesystems, bind mounts, moves,
 * propagation, remounts. The new mount API asks sb_kern_mount when fsmount(2)
 * makes a mount that is nowhere yet, and move_mount when it gets its place;
 * open_tree(2) asks no hook before that. sb_remount is asked by fsconfig(2)'s
 * reconfigure as well. pivot_root(2) asks sb_pivotroot.
 *
 * Not judged: mount_setattr(2) and the mounts that the kernel makes itself
 * (automounts), for which no kernel has a hook (docs/hooks.md).
 */
#ifndef EBPFGUARD_HOOKS_SB_MOUNT_H
#define EBPFGUARD_HOOKS_SB_MOUNT_H

#include "../mount.h"

/* kind_of_call returns what mount(2) is asked for (fs/namespace.c, path_mount). */
static __always_inline __u32 kind_of_call(unsigned long flags)
{
	if (flags & MS_BIND)
		return flags & MS_REC ? MOUNT_BIND | MOUNT_REC : MOUNT_BIND;
	if (flags & (MS_SHARED | MS_PRIVATE | MS_SLAVE | MS_UNBINDABLE))
		return (flags & MS_SHARED ? MOUNT_SHARED : 0) |
		       (flags & MS_PRIVATE ? MOUNT_PRIVATE : 0) |
		       (flags & MS_SLAVE ? MOUNT_SLAVE : 0) |
		       (flags & MS_UNBINDABLE ? MOUNT_UNBINDABLE : 0) |
		       (flags & MS_REC ? MOUNT_REC : 0);
	if (flags & MS_MOVE)
		return MOUNT_MOVE;
	return MOUNT_NEW;
}

/* name_of_type returns the beginning of a type's name as a number: enough to
 * tell which type mount(2) was allowed a moment ago. A subtype ("fuse.sshfs") is
 * told to the filesystem only. */
static __always_inline __u64 name_of_type(const char *type)
{
	__u64 name = 0;
	int i;

	bpf_probe_read_kernel_str(&name, sizeof(name), type);
	for (i = 0; i < (int)sizeof(name); i++)
		if ((name >> 8 * i & 0xff) == '.')
			name &= (1ULL << 8 * i) - 1;
	return name;
}

static __always_inline int decide_call(const char *source, const struct path *path,
				       const char *type, unsigned long flags, const void *data)
{
	struct scratch *scratch = current_scratch();
	__u32 kind = kind_of_call(flags), result = kind;

	/* A bind mount has the options of what it shows; only a new mount and
	 * nothing else is of the type and has the options that are asked for. */
	if (kind == MOUNT_NEW)
		result |= flags_of_call(flags);
	else
		type = NULL;
	if (kind & (MOUNT_SHARED | MOUNT_PRIVATE | MOUNT_SLAVE | MOUNT_UNBINDABLE))
		source = NULL;
	if (!set_mount(scratch, (__u64)path->mnt, (__u64)path->dentry, result, source, type))
		return decide_undecided(OPERATION_SB_MOUNT, HOOK_SB_MOUNT);
	if (kind == MOUNT_NEW)
		add_data(scratch, data);
	return decide_mount(OPERATION_SB_MOUNT, HOOK_SB_MOUNT);
}

SEC("lsm/sb_mount")
int BPF_PROG(sb_mount, const char *source, const struct path *path, const char *type,
	     unsigned long flags, void *data, int ret)
{
	struct scratch *scratch;

	if (ret)
		return ret;
	if (flags & MS_REMOUNT)
		return 0; /* judged as sb_remount */
	ret = decide_call(source, path, type, flags, data);
	scratch = current_scratch();
	if (scratch)
		remember_judged(scratch,
				!ret && kind_of_call(flags) == MOUNT_NEW ? name_of_type(type) : 0);
	return ret;
}

SEC("lsm/sb_kern_mount")
int BPF_PROG(sb_kern_mount, struct super_block *sb, int ret)
{
	struct scratch *scratch = current_scratch();
	unsigned long flags;

	if (ret)
		return ret;
	if (is_judged(scratch, name_of_type(type_of(sb))))
		return 0; /* by mount(2), allowed a moment ago */
	/* What fsconfig(2) asked for is in the superblock; the rest, move_mount tells. */
	flags = BPF_CORE_READ(sb, s_flags);
	if (!set_mount(scratch, 0, 0,
		       MOUNT_NEW | flags_of_call(flags & (MS_RDONLY | MS_SYNCHRONOUS)), NULL,
		       type_of(sb)))
		return decide_undecided(OPERATION_SB_MOUNT, HOOK_SB_KERN_MOUNT);
	return decide_mount(OPERATION_SB_MOUNT, HOOK_SB_KERN_MOUNT);
}

static __always_inline bool is_attached(struct mount *mount)
{
	return !(place_of(mount) & CHAIN_NOWHERE);
}

SEC("lsm/move_mount")
int BPF_PROG(move_mount, const struct path *from, const struct path *to, int ret)
{
	struct vfsmount *mnt = from->mnt;
	struct mount *mount = mount_of(mnt);
	bool moves = is_attached(mount);
	__u64 source = (__u64)BPF_CORE_READ(mount, mnt_devname), shown = 0;
	__u32 kind = MOUNT_MOVE;
	const char *type = NULL;
	struct scratch *scratch;

	if (ret)
		return ret;
	if (moves) {
		shown = as_number(mnt);
	} else {
		/* Made by fsmount, or a copy by open_tree: whose root is not that of
		 * the filesystem, or which is not the filesystem's only mount. */
		struct super_block *sb = BPF_CORE_READ(mnt, mnt_sb);

		if (BPF_CORE_READ(mnt, mnt_root) != BPF_CORE_READ(sb, s_root) ||
		    has_other_mounts(sb)) {
			kind = MOUNT_BIND;
			shown = any_mount((__u64)sb);
		} else {
			kind = MOUNT_NEW;
			type = type_of(sb);
		}
		kind |= flags_of_mount(mnt);
	}
	scratch = current_scratch();
	if (!set_mount(scratch, (__u64)to->mnt, (__u64)to->dentry, kind, NULL, type))
		return decide_undecided(OPERATION_SB_MOUNT, HOOK_MOVE_MOUNT);
	/* What is moved or shown is named by its path, as in mount(2). */
	if (shown)
		source = write_source(shown, (__u64)BPF_CORE_READ(from, dentry))
				 ? as_number(scratch->source)
				 : SOURCE_UNKNOWN;
	scratch->object.source = source;
	return decide_mount(OPERATION_SB_MOUNT, HOOK_MOVE_MOUNT);
}

SEC("lsm/sb_pivotroot")
int BPF_PROG(sb_pivotroot, const struct path *old, const struct path *new, int ret)
{
	if (ret)
		return ret;
	if (!set_mount(current_scratch(), (__u64) new->mnt, (__u64) new->dentry, MOUNT_PIVOT, NULL,
		       NULL))
		return decide_undecided(OPERATION_SB_MOUNT, HOOK_SB_PIVOTROOT);
	return decide_mount(OPERATION_SB_MOUNT, HOOK_SB_PIVOTROOT);
}

#endif
