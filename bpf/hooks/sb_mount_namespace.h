/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * sb_mount, continued: since 7.0, open_tree(2) and fsmount(2) make a mount namespace of a
 * tree of mounts (OPEN_TREE_NAMESPACE, FSMOUNT_NAMESPACE; fs/namespace.c,
 * open_new_namespace), whoever enters which finds any file at any path. It is what
 * unshare(2) and pivot_root(2) do, without a hook on mounts. Only file_open sees the new
 * namespace, as a file of nsfs. It is judged like pivot_root(2): the target is the new root.
 */
#ifndef EBPFGUARD_HOOKS_SB_MOUNT_NAMESPACE_H
#define EBPFGUARD_HOOKS_SB_MOUNT_NAMESPACE_H

#include "../mount.h"

#define NSFS_MAGIC 0x6e736673
/* include/uapi/asm-generic/unistd.h, alike on all architectures */
#define SYS_OPEN_TREE 428
#define SYS_FSMOUNT 432
#define SYS_OPEN_TREE_ATTR 467
/* Mounts on top of each other at the root of a new namespace; there are two. */
#define MAX_ROOTS 8

/* is_new_namespace reports whether the system call that opens a namespace made it. */
static __always_inline bool is_new_namespace(void)
{
	__s64 number = current_call();

	return number == SYS_OPEN_TREE || number == SYS_FSMOUNT || number == SYS_OPEN_TREE_ATTR;
}

/* root_of returns the topmost mount at the root of a mount namespace. */
static __always_inline struct mount *root_of(struct mnt_namespace *ns)
{
	struct mount *mount = BPF_CORE_READ(ns, root), *above;
	struct list_head *first;
	int i;

	for (i = 0; i < MAX_ROOTS; i++) {
		first = BPF_CORE_READ(mount, mnt_mounts.next);
		if (!first ||
		    first == (void *)mount + bpf_core_field_offset(struct mount, mnt_mounts))
			break;
		above = (void *)first - bpf_core_field_offset(struct mount, mnt_child);
		if (BPF_CORE_READ(above, mnt_mountpoint) != BPF_CORE_READ(mount, mnt.mnt_root))
			break;
		mount = above;
	}
	return mount;
}

SEC("lsm/file_open")
int BPF_PROG(mount_namespace, struct file *file, int ret)
{
	struct ns_common *common;
	struct super_block *sb;
	struct dentry *root;
	struct mount *mount;

	if (ret)
		return ret;
	if (file->f_inode->i_sb->s_magic != NSFS_MAGIC)
		return 0;
	if (is_unrestricted(OPERATION_SB_MOUNT) || !is_new_namespace())
		return 0;
	common = BPF_CORE_READ(file, f_inode, i_private);
	mount = root_of((void *)common - bpf_core_field_offset(struct mnt_namespace, ns));
	root = BPF_CORE_READ(mount, mnt.mnt_root);
	sb = BPF_CORE_READ(mount, mnt.mnt_sb);
	if (!root || !set_mount(current_scratch(), any_mount(as_number(sb)), as_number(root),
				MOUNT_PIVOT, NULL, NULL))
		return decide_undecided(OPERATION_SB_MOUNT, HOOK_FILE_OPEN);
	return decide_mount(OPERATION_SB_MOUNT, HOOK_FILE_OPEN);
}

#endif
