/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * file_open, continued: ioctl(2). Filesystems change files and directories by it through
 * descriptors that are open for reading only, and devices read files that are handed to
 * them by their descriptors, whatever those are open for.
 *
 * The list is that of the filesystems in Linux 7: all that change a file, its attributes
 * or what has its name without asking for a descriptor that is open for writing. A
 * filesystem's ioctl is known by its type and number, since its size differs for 32-bit
 * processes, and only on a regular file or a directory.
 *
 * btrfs copies whole trees by ioctl, and XFS changes files by handle. Which, the process
 * tells in its memory, where another thread can change it: they could be any file.
 *
 * Not judged: a descriptor that another thread exchanges for another one after it was
 * looked at here, before the device takes it.
 */
#ifndef EBPFGUARD_HOOKS_FILE_OPEN_IOCTL_H
#define EBPFGUARD_HOOKS_FILE_OPEN_IOCTL_H

#include "file_open.h"

#define IOCTL(type, number) ((type) << 8 | (number))

/* is_change reports whether an ioctl changes the file that it is called on. */
static __always_inline bool is_change(__u32 ioctl)
{
	switch (ioctl) {
	/* of several filesystems (include/uapi/linux/fs.h, fsverity.h, fscrypt.h) */
	case IOCTL('f', 2):   /* FS_IOC_SETFLAGS */
	case IOCTL('X', 32):  /* FS_IOC_FSSETXATTR */
	case IOCTL('v', 2):   /* FS_IOC_SETVERSION */
	case IOCTL('f', 133): /* FS_IOC_ENABLE_VERITY */
	case IOCTL('f', 19):  /* FS_IOC_SET_ENCRYPTION_POLICY */
	case IOCTL('f', 23):  /* FS_IOC_ADD_ENCRYPTION_KEY */
	case IOCTL('f', 24):  /* FS_IOC_REMOVE_ENCRYPTION_KEY */
	case IOCTL('f', 25):  /* FS_IOC_REMOVE_ENCRYPTION_KEY_ALL_USERS */
	case IOCTL('X', 125): /* FS_IOC_SHUTDOWN */
	/* ext4 (fs/ext4/ext4.h), ocfs2 */
	case IOCTL('f', 4):  /* EXT4_IOC_SETVERSION */
	case IOCTL('f', 9):  /* EXT4_IOC_MIGRATE */
	case IOCTL('f', 12): /* EXT4_IOC_ALLOC_DA_BLKS */
	case IOCTL('f', 15): /* EXT4_IOC_MOVE_EXT */
	case IOCTL('f', 17): /* EXT4_IOC_SWAP_BOOT */
	/* vfat, exfat (include/uapi/linux/msdos_fs.h) */
	case IOCTL('r', 0x11): /* FAT_IOCTL_SET_ATTRIBUTES */
	/* XFS (fs/xfs/libxfs/xfs_fs.h) */
	case IOCTL('X', 109): /* XFS_IOC_SWAPEXT */
	case IOCTL('X', 129): /* XFS_IOC_EXCHANGE_RANGE */
	case IOCTL('X', 131): /* XFS_IOC_COMMIT_RANGE */
	/* f2fs (include/uapi/linux/f2fs.h) */
	case IOCTL(0xf5, 1):  /* F2FS_IOC_START_ATOMIC_WRITE */
	case IOCTL(0xf5, 2):  /* F2FS_IOC_COMMIT_ATOMIC_WRITE */
	case IOCTL(0xf5, 3):  /* F2FS_IOC_START_VOLATILE_WRITE */
	case IOCTL(0xf5, 4):  /* F2FS_IOC_RELEASE_VOLATILE_WRITE */
	case IOCTL(0xf5, 5):  /* F2FS_IOC_ABORT_ATOMIC_WRITE */
	case IOCTL(0xf5, 8):  /* F2FS_IOC_DEFRAGMENT */
	case IOCTL(0xf5, 9):  /* F2FS_IOC_MOVE_RANGE */
	case IOCTL(0xf5, 13): /* F2FS_IOC_SET_PIN_FILE */
	case IOCTL(0xf5, 18): /* F2FS_IOC_RELEASE_COMPRESS_BLOCKS */
	case IOCTL(0xf5, 19): /* F2FS_IOC_RESERVE_COMPRESS_BLOCKS */
	case IOCTL(0xf5, 20): /* F2FS_IOC_SEC_TRIM_FILE */
	case IOCTL(0xf5, 22): /* F2FS_IOC_SET_COMPRESS_OPTION */
	case IOCTL(0xf5, 23): /* F2FS_IOC_DECOMPRESS_FILE */
	case IOCTL(0xf5, 24): /* F2FS_IOC_COMPRESS_FILE */
	case IOCTL(0xf5, 25): /* F2FS_IOC_START_ATOMIC_REPLACE */
	/* btrfs (include/uapi/linux/btrfs.h) */
	case IOCTL(0x94, 2):  /* BTRFS_IOC_DEFRAG */
	case IOCTL(0x94, 14): /* BTRFS_IOC_SUBVOL_CREATE */
	case IOCTL(0x94, 15): /* BTRFS_IOC_SNAP_DESTROY */
	case IOCTL(0x94, 16): /* BTRFS_IOC_DEFRAG_RANGE */
	case IOCTL(0x94, 19): /* BTRFS_IOC_DEFAULT_SUBVOL */
	case IOCTL(0x94, 24): /* BTRFS_IOC_SUBVOL_CREATE_V2 */
	case IOCTL(0x94, 26): /* BTRFS_IOC_SUBVOL_SETFLAGS */
	case IOCTL(0x94, 37): /* BTRFS_IOC_SET_RECEIVED_SUBVOL */
	case IOCTL(0x94, 63): /* BTRFS_IOC_SNAP_DESTROY_V2 */
	/* Others: jfs and reiserfs (FS_IOC_SETFLAGS above), hfsplus, ceph, SMB, bcachefs */
	case IOCTL(0xcd, 1):   /* REISERFS_IOC_UNPACK */
	case IOCTL('h', 0x80): /* HFSPLUS_IOC_BLESS */
	case IOCTL(0x97, 2):   /* CEPH_IOC_SET_LAYOUT */
	case IOCTL(0x97, 5):   /* CEPH_IOC_SET_LAYOUT_POLICY */
	case IOCTL(0xcf, 4):   /* CIFS_IOC_SET_INTEGRITY */
	case IOCTL(0xbc, 16):  /* BCH_IOCTL_SUBVOLUME_CREATE */
	case IOCTL(0xbc, 17):  /* BCH_IOCTL_SUBVOLUME_DESTROY */
	case IOCTL(0xbc, 64):  /* BCHFS_IOC_REINHERIT_ATTRS */
		return true;
	}
	return false;
}

/* is_of_any reports whether an ioctl reads or changes files that it does not tell. */
static __always_inline bool is_of_any(__u32 ioctl)
{
	switch (ioctl) {
	case IOCTL(0x94, 1):  /* BTRFS_IOC_SNAP_CREATE */
	case IOCTL(0x94, 23): /* BTRFS_IOC_SNAP_CREATE_V2 */
	case IOCTL(0x94, 38): /* BTRFS_IOC_SEND */
	case IOCTL('X', 123): /* XFS_IOC_ATTRMULTI_BY_HANDLE */
	case IOCTL('o', 4):   /* OCFS2_IOC_REFLINK */
		return true;
	}
	return false;
}

/* include/uapi/linux/loop.h */
#define LOOP_SET_FD 0x4C00
#define LOOP_CHANGE_FD 0x4C06
#define LOOP_CONFIGURE 0x4C0A

/* file_of returns an open file of the current task by its descriptor, 0 for none. */
static __always_inline __u64 file_of(__u32 number)
{
	struct task_struct *task = (void *)bpf_get_current_task();
	struct fdtable *table = BPF_CORE_READ(task, files, fdt);
	struct file *file = NULL;

	if (number >= BPF_CORE_READ(table, max_fds))
		return 0;
	bpf_probe_read_kernel(&file, sizeof(file), BPF_CORE_READ(table, fd) + number);
	return (__u64)file;
}

/* decide_handed judges a file that the task hands to a device, which then reads it, and
 * writes to it if it is open for that. */
static __always_inline int decide_handed(enum hook_id hook, unsigned int cmd, unsigned long arg)
{
	__u32 number = arg, wanted = ACCESS_READ;
	struct file *file;

	if (is_unrestricted(OPERATION_FILE_OPEN))
		return 0;
	/* struct loop_config begins with it. What cannot be read now could be any. */
	if (cmd == LOOP_CONFIGURE &&
	    bpf_probe_read_user(&number, sizeof(number), (const void *)arg))
		return decide_any(hook, wanted);
	file = (void *)file_of(number);
	if (!file)
		return 0; /* no file, so the device refuses */
	if (BPF_CORE_READ(file, f_mode) & FMODE_WRITE)
		wanted |= ACCESS_WRITE;
	if (!set_object(current_scratch(), (__u64)BPF_CORE_READ(file, f_path.mnt),
			(__u64)BPF_CORE_READ(file, f_path.dentry),
			(__u64)BPF_CORE_READ(file, f_inode), wanted))
		return decide_undecided(OPERATION_FILE_OPEN, hook);
	return conclude(judge_file(OPERATION_FILE_OPEN, wanted), OPERATION_FILE_OPEN, hook, NULL);
}

static __always_inline int decide_ioctl(struct file *file, unsigned int cmd, unsigned long arg)
{
	__u32 type = file->f_inode->i_mode & MODE_TYPE, ioctl = cmd & 0xffff;

	if (type == MODE_BLOCK) {
		if (cmd == LOOP_SET_FD || cmd == LOOP_CHANGE_FD || cmd == LOOP_CONFIGURE)
			return decide_handed(HOOK_FILE_IOCTL, cmd, arg);
		return 0; /* a device does what it was opened for */
	}
	if (type != MODE_FILE && type != MODE_DIRECTORY)
		return 0; /* no filesystem answers */
	if (is_change(ioctl))
		return decide_file(file, HOOK_FILE_IOCTL, ACCESS_WRITE);
	if (is_of_any(ioctl))
		return decide_any(HOOK_FILE_IOCTL, ACCESS_READ | ACCESS_WRITE);
	return 0; /* changes nothing that a rule names */
}

SEC("lsm/file_ioctl")
int BPF_PROG(file_ioctl, struct file *file, unsigned int cmd, unsigned long arg, int ret)
{
	if (ret)
		return ret;
	return decide_ioctl(file, cmd, arg);
}

/* Of 32-bit processes; where this hook is missing, file_ioctl is asked. */
SEC("lsm/file_ioctl_compat")
int BPF_PROG(file_ioctl_compat, struct file *file, unsigned int cmd, unsigned long arg, int ret)
{
	if (ret)
		return ret;
	return decide_ioctl(file, cmd, arg);
}

#endif
