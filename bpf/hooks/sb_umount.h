/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* sb_umount: a mount is removed. */
#ifndef EBPFGUARD_HOOKS_SB_UMOUNT_H
#define EBPFGUARD_HOOKS_SB_UMOUNT_H

#include "../mount.h"

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

#endif
