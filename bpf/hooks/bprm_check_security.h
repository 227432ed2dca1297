/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * bprm_check_security: a program is started.
 *
 * The kernel asks for each file that an exec goes through: the script, then its
 * interpreter. What the dynamic loader is told to load instead (ld.so PROGRAM)
 * passes by exec, so a file is judged as well when it is mapped to be executed
 * or made executable, but then only by rules that name it: "deny all but these
 * programs" is not meant for libraries, and does forbid the loader itself.
 * Exec of a file on overlayfs opens the real file, too (file_open with
 * __FMODE_EXEC), which is known by its own identity.
 *
 * argc 0: since 5.18 the kernel gives such a program an empty argument before it
 * asks any hook (fs/exec.c, do_execveat_common), so that there is nothing left to
 * refuse.
 */
#ifndef EBPFGUARD_HOOKS_BPRM_CHECK_SECURITY_H
#define EBPFGUARD_HOOKS_BPRM_CHECK_SECURITY_H

#include "../exec.h"
#include "file_open.h"

static __always_inline int decide_program(struct file *file, enum hook_id hook, __u32 use)
{
	return conclude(judge_use(&programs, OPERATION_BPRM_CHECK_SECURITY, file, use),
			OPERATION_BPRM_CHECK_SECURITY, hook, NULL);
}

SEC("lsm/bprm_check_security")
int BPF_PROG(bprm_check_security, struct linux_binprm *bprm, int ret)
{
	if (ret)
		return ret;
	return decide_program(bprm->file, HOOK_BPRM_CHECK_SECURITY,
			      bprm->argc ? PROGRAM_STARTED : PROGRAM_BARE);
}

struct linux_binprm___since_6_14 {
	unsigned int is_check : 1;
} __attribute__((preserve_access_index));

/* execveat(2) with AT_EXECVE_CHECK asks whether a program may be started, and ends before
 * bprm_check_security. */
SEC("lsm/bprm_creds_for_exec")
int BPF_PROG(bprm_execve_check, struct linux_binprm *bprm, int ret)
{
	struct linux_binprm___since_6_14 *newer = (void *)bprm;

	if (ret)
		return ret;
	if (!bpf_core_field_exists(newer->is_check) ||
	    !BPF_CORE_READ_BITFIELD_PROBED(newer, is_check))
		return 0; /* bprm_check_security is asked */
	return decide_program(bprm->file, HOOK_BPRM_CREDS_FOR_EXEC,
			      bprm->argc ? PROGRAM_STARTED : PROGRAM_BARE);
}

/* is_underneath reports whether overlayfs opens a file of its own: under its own
 * path, or since 6.7 under that of a mount in no namespace. A memfd has none of
 * either. */
static __always_inline bool is_underneath(struct file *file)
{
	struct mount *mount = (void *)file->f_path.mnt - bpf_core_field_offset(struct mount, mnt);

	/* What place_of() calls nowhere, but a file: of no namespace, and of none of the kernel's own
	 * filesystems. */
	return file->f_inode != inode_of_name(file->f_path.dentry) ||
	       ((__u64)READ(mount, mnt_ns) >= (__u64)-MAX_ERRNO &&
		!(file->f_path.mnt->mnt_sb->s_flags & SB_KERNMOUNT));
}

/*
 * is_under_way reports whether the exec that the task asked about last goes on:
 * what it opens besides its program are interpreters, of scripts and of ELF. An
 * exec that failed leaves its record. Since 6.8 the next one opens its program
 * before it is on its way. Until then, what remains of the failed one has given
 * back the pages of its arguments, is the next one, which has no file yet, or
 * something else (fs/exec.c, free_bprm and alloc_bprm).
 */
static __always_inline bool is_under_way(void)
{
	struct subject *subject = task_get(&tasks, current_task());
	struct linux_binprm *bprm;

	if (!subject)
		return true; /* who knows */
	bprm = (void *)subject->exec;
	return bprm && is_executing() && BPF_CORE_READ(bprm, file) &&
	       BPF_CORE_READ(bprm, vma_pages) && (__u64)BPF_CORE_READ(bprm, mm) == subject->exec_mm;
}

/* open_program judges a file that is opened to be started. */
static __always_inline int open_program(struct file *file)
{
	if (!(file->f_flags & FMODE_EXEC_FLAG) || is_unrestricted(OPERATION_BPRM_CHECK_SECURITY))
		return 0;
	if (!is_underneath(file) && !is_under_way())
		return 0; /* the program itself, for bprm_check_security */
	return decide_program(file, HOOK_FILE_OPEN, PROGRAM_LOADED);
}

#endif
