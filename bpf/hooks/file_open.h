/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * file_open: a file is read, written, executed or changed.
 *
 * Here are hooks on open files; shared.h in this folder has those that programs are
 * judged at as well, file_open_path.h those on names and attributes. A file is judged
 * when it is opened, also by io_uring, by handle, by exec and by overlayfs for its own
 * files; when its descriptor comes over a Unix socket; when it is mapped to be executed;
 * when it is truncated, or changed by ioctl(2) (file_open_ioctl.h) through a descriptor. A descriptor that
 * was opened before the policy came is only judged by rules with `revoke`, at each use
 * (file_permission): that program is attached while there are such rules.
 *
 * Not judged: pages that are mapped already; descriptors taken over with
 * pidfd_getfd(2), which file_receive sees as well.
 */
#ifndef EBPFGUARD_HOOKS_FILE_OPEN_H
#define EBPFGUARD_HOOKS_FILE_OPEN_H

#include "../cache/file.h"

/* include/linux/fs.h, include/uapi/linux/fs.h, include/uapi/asm-generic */
#define FMODE_READ 1
#define FMODE_WRITE 2
#define FMODE_PATH 0x4000
#define FMODE_EXEC_FLAG 0x20 /* __FMODE_EXEC in f_flags */
#define O_TRUNC 01000
#define MAY_EXEC 1
#define MAY_WRITE 2
#define MAY_READ 4
#define MAY_APPEND 8
#define PROT_READ 1
#define PROT_WRITE 2
#define PROT_EXEC 4
#define MAP_TYPE 0xf
#define MAP_PRIVATE 2

static __always_inline int decide_file(struct file *file, enum hook_id hook, __u32 wanted)
{
	return conclude(judge_use(&files, OPERATION_FILE_OPEN, file, wanted), OPERATION_FILE_OPEN,
			hook, NULL);
}

/* wanted_by returns what a file was opened for. One that was opened for neither
 * (access mode 3, for ioctl) needs the permission for both. */
static __always_inline __u32 wanted_by(struct file *file)
{
	__u32 wanted = 0;

	if (file->f_flags & FMODE_EXEC_FLAG)
		return ACCESS_EXEC;
	if (file->f_mode & FMODE_READ)
		wanted |= ACCESS_READ;
	if (file->f_mode & FMODE_WRITE || file->f_flags & O_TRUNC)
		wanted |= ACCESS_WRITE;
	return wanted ? wanted : ACCESS_READ | ACCESS_WRITE;
}

/* is_no_file reports whether a descriptor stands for a socket, a pipe, an event or
 * whatever else has a descriptor and is no file, so that no rule about files
 * concerns it. The kernel keeps these in filesystems of its own, in which
 * memory (memfd, System V) counts as a file. */
static __always_inline bool is_no_file(struct file *file)
{
	struct super_block *sb = file->f_path.mnt->mnt_sb;
	__u64 magic = sb->s_magic;

	return sb->s_flags & SB_KERNMOUNT && magic != TMPFS_MAGIC && magic != HUGETLBFS_MAGIC;
}

SEC("lsm/file_receive")
int BPF_PROG(file_receive, struct file *file, int ret)
{
	if (ret)
		return ret;
	if (file->f_mode & FMODE_PATH)
		return 0; /* gives no access: what is opened by it is judged */
	if (is_no_file(file))
		return 0; /* no rule can concern it */
	return decide_file(file, HOOK_FILE_RECEIVE, wanted_by(file));
}

/* is_executing reports whether the task is on its way through execve(2). */
static __always_inline bool is_executing(void)
{
	struct task_struct *task = (void *)bpf_get_current_task();

	return BPF_CORE_READ_BITFIELD_PROBED(task, in_execve);
}

/* is_started reports whether the kernel itself reads or maps the file because the
 * task starts it, which was judged as execution. */
static __always_inline bool is_started(struct file *file)
{
	return file->f_flags & FMODE_EXEC_FLAG && is_executing();
}

/* decide_use judges the use of a descriptor: only rules with `revoke` count, and
 * what no rule decided, since nothing could be looked up. */
static __always_inline int decide_use(struct file *file, enum hook_id hook, __u32 wanted)
{
	__u64 answer;

	if (is_no_file(file) || is_started(file))
		return 0; /* no rule about its use can concern it */
	answer = judge_use(&files, OPERATION_FILE_OPEN, file, wanted);
	if (spares_open(answer))
		return 0;
	return conclude(answer, OPERATION_FILE_OPEN, hook, NULL);
}

/* Attached while a rule has `revoke`. */
SEC("lsm/file_permission")
int BPF_PROG(file_permission, struct file *file, int mask, int ret)
{
	__u32 wanted = 0;

	if (ret)
		return ret;
	if (mask & MAY_READ)
		wanted |= ACCESS_READ;
	if (mask & (MAY_WRITE | MAY_APPEND))
		wanted |= ACCESS_WRITE;
	if (!wanted)
		return 0; /* asks for nothing that file_open did not judge */
	return decide_use(file, HOOK_FILE_PERMISSION, wanted);
}

SEC("lsm/file_truncate")
int BPF_PROG(file_truncate, struct file *file, int ret)
{
	if (ret)
		return ret;
	return decide_file(file, HOOK_FILE_TRUNCATE, ACCESS_WRITE);
}

/* Attached while a rule has `revoke`: mapping a file uses its descriptor. */
SEC("lsm/mmap_file")
int BPF_PROG(revoke_mmap, struct file *file, unsigned long reqprot, unsigned long prot,
	     unsigned long flags, int ret)
{
	__u32 wanted = 0;

	if (ret)
		return ret;
	if (prot & PROT_READ)
		wanted |= ACCESS_READ;
	if (prot & PROT_WRITE && (flags & MAP_TYPE) != MAP_PRIVATE)
		wanted |= ACCESS_WRITE;
	if (!file || !wanted)
		return 0; /* gives no access to a file */
	return decide_use(file, HOOK_MMAP_FILE, wanted);
}

#endif
