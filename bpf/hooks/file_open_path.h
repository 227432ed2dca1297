/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * file_open, continued: changes of names and attributes, each of which is a
 * write to the file: making, removing, renaming it away or over, linking from
 * or to it, its mode, owner, times, extended attributes and ACL.
 *
 * A name that does not exist yet is judged by path: the dentry that the hook
 * gets has the name already. The hooks on inodes do not tell the mount; there
 * the path is that of a mount of the filesystem (superblock.h, any_mount), which
 * is no gap for what exists: it is known by its identity and its directories'.
 */
#ifndef EBPFGUARD_HOOKS_FILE_OPEN_PATH_H
#define EBPFGUARD_HOOKS_FILE_OPEN_PATH_H

#include "../move.h"

/*
 * pick returns one of two arguments of a hook. clang would compute the address
 * and the verifier only takes constant ones, so each is read by itself; only
 * the one that exists is ever seen by the verifier, which knows the flag.
 */
#define PICK(ctx, flag, with, without)            \
	({                                        \
		unsigned long long picked_;       \
		if (flag) {                       \
			picked_ = (ctx)[with];    \
			barrier_var(picked_);     \
		} else {                          \
			picked_ = (ctx)[without]; \
			barrier_var(picked_);     \
		}                                 \
		picked_;                          \
	})

/* include/uapi/linux/fs.h */
#define RENAME_EXCHANGE 2

SEC("lsm/path_truncate")
int BPF_PROG(path_truncate, const struct path *path, int ret)
{
	if (ret)
		return ret;
	return decide_dentry(HOOK_PATH_TRUNCATE, path->mnt, path->dentry);
}

SEC("lsm/path_unlink")
int BPF_PROG(path_unlink, const struct path *dir, struct dentry *dentry, int ret)
{
	if (ret)
		return ret;
	return decide_dentry(HOOK_PATH_UNLINK, dir->mnt, dentry);
}

SEC("lsm/path_rmdir")
int BPF_PROG(path_rmdir, const struct path *dir, struct dentry *dentry, int ret)
{
	if (ret)
		return ret;
	return decide_dentry(HOOK_PATH_RMDIR, dir->mnt, dentry);
}

SEC("lsm/path_mkdir")
int BPF_PROG(path_mkdir, const struct path *dir, struct dentry *dentry, unsigned short mode,
	     int ret)
{
	if (ret)
		return ret;
	return decide_dentry(HOOK_PATH_MKDIR, dir->mnt, dentry);
}

SEC("lsm/path_mknod")
int BPF_PROG(path_mknod, const struct path *dir, struct dentry *dentry, unsigned short mode,
	     unsigned int dev, int ret)
{
	if (ret)
		return ret;
	return decide_dentry(HOOK_PATH_MKNOD, dir->mnt, dentry);
}

SEC("lsm/path_symlink")
int BPF_PROG(path_symlink, const struct path *dir, struct dentry *dentry, const char *old, int ret)
{
	if (ret)
		return ret;
	return decide_dentry(HOOK_PATH_SYMLINK, dir->mnt, dentry);
}

SEC("lsm/path_link")
int BPF_PROG(path_link, struct dentry *old, const struct path *dir, struct dentry *dentry, int ret)
{
	if (ret)
		return ret;
	if (is_unrestricted(OPERATION_FILE_OPEN))
		return 0;
	/* Both lie on the same mount (fs/namei.c, do_linkat). */
	if (is_known_move(old, dir->mnt, dentry, dir->mnt))
		return 0;
	ret = decide_dentry(HOOK_PATH_LINK, dir->mnt, old);
	if (ret)
		return ret;
	ret = decide_dentry(HOOK_PATH_LINK, dir->mnt, dentry);
	if (ret)
		return ret;
	return decide_move(HOOK_PATH_LINK, (__u64)dir->mnt, (__u64)old, (__u64)dir->mnt,
			   (__u64)dentry);
}

SEC("lsm/path_rename")
int BPF_PROG(path_rename, const struct path *old_dir, struct dentry *old,
	     const struct path *new_dir, struct dentry *new)
{
	/* What came before is the last argument: the fifth on 5.10, then the
	 * sixth. */
	int ret = PICK(ctx, rename_arguments == 5, 5, 4);
	__u64 flags = ctx[4]; /* what came before on 5.10 */

	if (ret)
		return ret;
	if (is_unrestricted(OPERATION_FILE_OPEN))
		return 0;
	if (is_known_move(old, old_dir->mnt, new, new_dir->mnt))
		return 0;
	ret = decide_dentry(HOOK_PATH_RENAME, old_dir->mnt, old);
	if (ret)
		return ret;
	ret = decide_dentry(HOOK_PATH_RENAME, new_dir->mnt, new);
	if (ret)
		return ret;
	ret = decide_move(HOOK_PATH_RENAME, (__u64)old_dir->mnt, (__u64)old, (__u64)new_dir->mnt,
			  (__u64) new);
	/* 5.10 asks twice about an exchange, once for each. */
	if (ret || rename_arguments != 5 || !(flags & RENAME_EXCHANGE))
		return ret;
	return decide_move(HOOK_PATH_RENAME, (__u64)new_dir->mnt, (__u64) new, (__u64)old_dir->mnt,
			   (__u64)old);
}

SEC("lsm/path_chmod")
int BPF_PROG(path_chmod, const struct path *path, unsigned short mode, int ret)
{
	if (ret)
		return ret;
	return decide_dentry(HOOK_PATH_CHMOD, path->mnt, path->dentry);
}

SEC("lsm/path_chown")
int BPF_PROG(path_chown, const struct path *path, unsigned int uid, unsigned int gid, int ret)
{
	if (ret)
		return ret;
	return decide_dentry(HOOK_PATH_CHOWN, path->mnt, path->dentry);
}

/* Changes of mode, owner and size come here too; they are judged where the
 * path is known. What is left are times, and what overlayfs and others do. */
#define ATTR_OWNER (1 << 1 | 1 << 2)  /* ATTR_UID, ATTR_GID */
#define ATTR_JUDGED (1 << 0 | 1 << 3) /* ATTR_MODE, ATTR_SIZE */

SEC("lsm/inode_setattr")
int inode_setattr(unsigned long long *ctx)
{
	struct iattr *attr = (void *)PICK(ctx, setattr_dentry, 2, 1);
	int ret = PICK(ctx, setattr_dentry, 3, 2);
	unsigned int valid;

	if (ret)
		return ret;
	valid = BPF_CORE_READ(attr, ia_valid);
	if (valid & ATTR_JUDGED || (chown_by_path && valid & ATTR_OWNER))
		return 0; /* judged by path_chmod, path_chown, path_truncate or file_truncate */
	return decide_dentry(HOOK_INODE_SETATTR, NULL, (void *)PICK(ctx, setattr_dentry, 1, 0));
}

SEC("lsm/inode_setxattr")
int inode_setxattr(unsigned long long *ctx)
{
	int ret = PICK(ctx, setxattr_dentry, 6, 5);

	if (ret)
		return ret;
	return decide_dentry(HOOK_INODE_SETXATTR, NULL, (void *)PICK(ctx, setxattr_dentry, 1, 0));
}

SEC("lsm/inode_removexattr")
int inode_removexattr(unsigned long long *ctx)
{
	int ret = PICK(ctx, removexattr_dentry, 3, 2);

	if (ret)
		return ret;
	return decide_dentry(HOOK_INODE_REMOVEXATTR, NULL,
			     (void *)PICK(ctx, removexattr_dentry, 1, 0));
}

struct mnt_idmap;

SEC("lsm/inode_set_acl")
int BPF_PROG(inode_set_acl, struct mnt_idmap *idmap, struct dentry *dentry, const char *name,
	     void *acl, int ret)
{
	if (ret)
		return ret;
	return decide_dentry(HOOK_INODE_SET_ACL, NULL, dentry);
}

SEC("lsm/inode_remove_acl")
int BPF_PROG(inode_remove_acl, struct mnt_idmap *idmap, struct dentry *dentry, const char *name,
	     int ret)
{
	if (ret)
		return ret;
	return decide_dentry(HOOK_INODE_REMOVE_ACL, NULL, dentry);
}

SEC("lsm/inode_file_setattr")
int BPF_PROG(inode_file_setattr, struct dentry *dentry, void *attr, int ret)
{
	if (ret)
		return ret;
	return decide_dentry(HOOK_INODE_FILE_SETATTR, NULL, dentry);
}

#endif
