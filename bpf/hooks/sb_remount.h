/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * sb_remount: the options of a mount or of a filesystem are changed, by
 * mount(2) with MS_REMOUNT (hook sb_mount) or by fsconfig(2) (hook sb_remount,
 * which mount(2) asks as well, after sb_mount: once is enough); or a filesystem is
 * switched off by ioctl(2).
 */
#ifndef EBPFGUARD_HOOKS_SB_REMOUNT_H
#define EBPFGUARD_HOOKS_SB_REMOUNT_H

#include "../mount.h"

SEC("lsm/sb_mount")
int BPF_PROG(remount_call, const char *source, const struct path *path, const char *type,
	     unsigned long flags, void *data, int ret)
{
	struct super_block *sb = BPF_CORE_READ(path, mnt, mnt_sb);
	struct scratch *scratch = current_scratch();
	__u32 kind;

	if (ret)
		return ret;
	if (!(flags & MS_REMOUNT))
		return 0; /* judged as sb_mount */
	kind = flags_of_call(flags) | (flags & MS_BIND ? MOUNT_BIND : 0);
	if (!set_mount(scratch, (__u64)path->mnt, (__u64)path->dentry, kind, source, type_of(sb)))
		return decide_undecided(OPERATION_SB_REMOUNT, HOOK_SB_MOUNT);
	if (!(flags & MS_BIND))
		add_data(scratch, data);
	ret = decide_mount(OPERATION_SB_REMOUNT, HOOK_SB_MOUNT);
	remember_judged(scratch, ret || flags & MS_BIND ? 0 : as_number(sb));
	return ret;
}

SEC("lsm/sb_remount")
int BPF_PROG(sb_remount, struct super_block *sb, void *options, int ret)
{
	struct scratch *scratch = current_scratch();
	struct vfsmount *mnt = (void *)any_mount(as_number(sb));
	const __u32 in_doubt = MOUNT_RO | MOUNT_RW | MOUNT_SYNC;

	if (ret)
		return ret;
	if (is_judged(scratch, as_number(sb)))
		return 0; /* by mount(2), allowed a moment ago */
	/* The hook does not tell what is asked for: it may become either. The options
	 * of the mount, which stay, count as the more dangerous. */
	if (!set_mount(scratch, (__u64)mnt, (__u64)BPF_CORE_READ(mnt, mnt_root),
		       options_of(false, false, false, false) | in_doubt, NULL, type_of(sb)))
		return decide_undecided(OPERATION_SB_REMOUNT, HOOK_SB_REMOUNT);
	scratch->object.either = in_doubt;
	return decide_mount(OPERATION_SB_REMOUNT, HOOK_SB_REMOUNT);
}

/*
 * ioctl(2) FS_IOC_SHUTDOWN (EXT4_IOC_SHUTDOWN, XFS_IOC_GOINGDOWN, …) on any of its files
 * switches a filesystem off, as if it became read-only and more.
 */
static __always_inline int decide_shutdown(struct file *file, unsigned int cmd)
{
	struct vfsmount *mnt;

	if ((cmd & 0xffff) != ('X' << 8 | 125))
		return 0; /* changes no option */
	mnt = file->f_path.mnt;
	if (!set_mount(current_scratch(), (__u64)mnt, (__u64)mnt->mnt_root,
		       MOUNT_RO | options_of(false, false, false, false), NULL,
		       type_of(mnt->mnt_sb)))
		return decide_undecided(OPERATION_SB_REMOUNT, HOOK_FILE_IOCTL);
	return decide_mount(OPERATION_SB_REMOUNT, HOOK_FILE_IOCTL);
}

SEC("lsm/file_ioctl")
int BPF_PROG(shutdown_ioctl, struct file *file, unsigned int cmd, unsigned long arg, int ret)
{
	return ret ? ret : decide_shutdown(file, cmd);
}

SEC("lsm/file_ioctl_compat")
int BPF_PROG(shutdown_compat, struct file *file, unsigned int cmd, unsigned long arg, int ret)
{
	return ret ? ret : decide_shutdown(file, cmd);
}

#endif
