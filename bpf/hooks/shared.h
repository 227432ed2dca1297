/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * The hooks on open files at which two operations judge, file_open and
 * bprm_check_security: one program for both, since each costs something by itself.
 * Rules concern none but operations that are attached.
 */
#ifndef EBPFGUARD_HOOKS_SHARED_H
#define EBPFGUARD_HOOKS_SHARED_H

#include "bprm_check_security.h"

/*
 * open_below judges a file that overlayfs opens for one of its own. mmap_file sees
 * overlayfs's file only. Where no hook sees that the file below is mapped to be executed
 * (mmap_backing_file: 7.x and later versions of 6.12), it is judged as if it were, by what
 * it is alone.
 */
static __always_inline int open_below(struct file *file, enum operation_id id, __u32 use)
{
	struct scratch *scratch;

	if (is_unrestricted(id))
		return 0;
	scratch = current_scratch();
	if (!set_object(scratch, (__u64)file->f_path.mnt, (__u64)file->f_path.dentry,
			(__u64)file->f_inode, flags_of_uses(id, use)))
		return decide_undecided(id, HOOK_FILE_OPEN);
	scratch->object.below = true;
	return conclude(judge_file(id, use), id, HOOK_FILE_OPEN, NULL);
}

/* open_underneath does that for both operations, unless it is known that the file at a place has
 * no name. */
static __always_inline int open_underneath(struct file *file, __u64 place)
{
	__u64 now = active_word();
	struct words *all = all_words();

	if (!all)
		return 0;
	if (may_have_name(all, now, place, OPERATION_FILE_OPEN) &&
	    open_below(file, OPERATION_FILE_OPEN, ACCESS_EXEC))
		return -EPERM;
	if (may_have_name(all, now, place, OPERATION_BPRM_CHECK_SECURITY) &&
	    open_below(file, OPERATION_BPRM_CHECK_SECURITY, PROGRAM_LOADED))
		return -EPERM;
	return 0;
}

SEC("lsm/file_open")
int BPF_PROG(file_open, struct file *file, int ret)
{
	bool underneath = false;
	__u64 below = 0;

	if (ret)
		return ret;
	if (file->f_flags & FMODE_EXEC_FLAG)
		start_in_cgroup(); /* before the other hooks of exec */
	if (!maps_backing_files && may_concern_files(active_word()))
		underneath = is_underneath(file);
	if (underneath)
		below = place_underneath(active_word(), file->f_path.dentry, file->f_inode);
	if (conclude(judge_use_at(&files, OPERATION_FILE_OPEN, file, wanted_by(file), below),
		     OPERATION_FILE_OPEN, HOOK_FILE_OPEN, NULL))
		return -EPERM;
	if (underneath && open_underneath(file, below))
		return -EPERM;
	return open_program(file);
}

SEC("lsm/mmap_file")
int BPF_PROG(mmap_file, struct file *file, unsigned long reqprot, unsigned long prot,
	     unsigned long flags, int ret)
{
	if (ret)
		return ret;
	if (!file || !(prot & PROT_EXEC))
		return 0; /* what may be read or written is settled at open */
	/* The kernel maps the program and its ELF interpreter. That is what the process has
	 * become; who started it was judged when they were opened. */
	if (is_executing())
		return 0;
	if (decide_file(file, HOOK_MMAP_FILE, ACCESS_EXEC))
		return -EPERM;
	return decide_program(file, HOOK_MMAP_FILE, PROGRAM_LOADED);
}

/* decide_mapped judges a file that is mapped. The verifier does not trust it, so that
 * no more can be kept of it than words. */
static __always_inline int decide_mapped(struct file *file, enum operation_id id, __u32 use,
					 enum hook_id hook)
{
	struct vfsmount *mnt;
	struct dentry *dentry;
	struct inode *inode;
	struct scratch *scratch;
	__u64 answer;

	/* Or 6.12 reports a defect of its own. */
	if (SINCE_6_2)
		file = CAST(file);
	dentry = file->f_path.dentry;
	mnt = file->f_path.mnt;
	inode = file->f_inode;
	if (is_known(id, dentry, mnt, inode))
		return 0;
	scratch = current_scratch();
	if (!set_object(scratch, (__u64)mnt, (__u64)dentry, (__u64)inode, flags_of_uses(id, use)))
		return decide_undecided(id, hook);
	scratch->kept.key = 0;
	answer = judge_file(id, use);
	if ((__u32)answer == NO_RULE_ALLOW)
		remember(hand(scratch), id);
	return conclude(answer, id, hook, NULL);
}

SEC("lsm/file_mprotect")
int BPF_PROG(file_mprotect, struct vm_area_struct *vma, unsigned long reqprot, unsigned long prot,
	     int ret)
{
	struct file *file;

	if (ret)
		return ret;
	file = vma->vm_file;
	if (!file || !(prot & PROT_EXEC))
		return 0; /* as above */
	if (decide_mapped(file, OPERATION_FILE_OPEN, ACCESS_EXEC, HOOK_FILE_MPROTECT))
		return -EPERM;
	return decide_mapped(file, OPERATION_BPRM_CHECK_SECURITY, PROGRAM_LOADED,
			     HOOK_FILE_MPROTECT);
}

#define VM_EXEC 4

/* The file below overlayfs's, which mmap_file was asked about. */
SEC("lsm/mmap_backing_file")
int BPF_PROG(mmap_backing_file, struct vm_area_struct *vma, struct file *backing, struct file *user,
	     int ret)
{
	if (ret)
		return ret;
	if (!(vma->vm_flags & VM_EXEC) || is_executing())
		return 0; /* as above */
	if (decide_mapped(backing, OPERATION_FILE_OPEN, ACCESS_EXEC, HOOK_MMAP_BACKING_FILE))
		return -EPERM;
	return decide_mapped(backing, OPERATION_BPRM_CHECK_SECURITY, PROGRAM_LOADED,
			     HOOK_MMAP_BACKING_FILE);
}

#endif
