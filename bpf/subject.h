/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Subjects: which program a task runs, and which class that makes it.
 *
 * The program is identified once, at exec: by the path from which it was
 * started and by the file itself. A child inherits what its parent is. Tasks
 * that already run when the guard starts are labelled by an iterator over all
 * tasks, which is started after fork and exec are covered and before anything
 * is enforced; whoever is still without a label identifies itself at its first
 * decision. The class follows from the identity and the generation of tables,
 * so that a new policy set needs no walk over the tasks: a task whose class is
 * of another generation looks it up anew.
 *
 * What remains open: a copy of a program is another program, and somebody who
 * may write to a program's file or directory may put another program there
 * (docs/threat-model.md).
 */
#ifndef EBPFGUARD_SUBJECT_H
#define EBPFGUARD_SUBJECT_H

#include "path.h"
#include "tables.h"

/* identity_hash returns the key of a file: device, inode number and the
 * generation of the number, so that a number used again is another file. */
static __always_inline __u64 identity_hash(struct inode *inode)
{
	struct super_block *sb = BPF_CORE_READ(inode, i_sb);
	__u64 magic = BPF_CORE_READ(sb, s_magic);
	struct sip sip;

	sip_start(&sip);
	sip_word(&sip, BPF_CORE_READ(sb, s_dev));
	sip_word(&sip, BPF_CORE_READ(inode, i_ino));
	/* These count inode numbers up and offer no way to ask for the generation. */
	if (magic == TMPFS_MAGIC || magic == RAMFS_MAGIC)
		sip_word(&sip, 0);
	else
		sip_word(&sip, BPF_CORE_READ(inode, i_generation));
	return sip_finish(&sip);
}

/* identify fills in the subject that runs a file; NULL is a kernel thread. */
static __always_inline void identify(struct subject *subject, struct file *file)
{
	int count;

	subject->path = 0;
	subject->identity = 0;
	subject->class = 0;
	subject->flags = 0;
	subject->reserved = 0;
	if (!file)
		return;
	subject->identity = identity_hash(BPF_CORE_READ(file, f_inode));
	count = collect_path((__u64)file);
	if (count >= 0 && count & WALK_UNTRUSTED)
		return;
	if (count > 0)
		subject->path = hash_path(count);
	if (!subject->path) /* fails closed: judged as a process that nobody knows */
		subject->flags = SUBJECT_UNKNOWN;
}

/* label gives a task the subject unless it has one. In a hash, a task that is
 * being made (BPF_ANY) may find what a former task at its address left. */
static __always_inline struct subject *label(struct task_struct *task, struct subject *subject,
					     __u64 flags)
{
	__u64 key = (__u64)task;

	if (task_storage)
		return bpf_task_storage_get(&subjects, (void *)task, subject,
					    BPF_LOCAL_STORAGE_GET_F_CREATE);
	bpf_map_update_elem(&subjects, &key, subject, flags);
	return bpf_map_lookup_elem(&subjects, &key);
}

static __always_inline struct task_struct *current_task(void)
{
	return task_storage ? (void *)bpf_get_current_task_btf() : (void *)bpf_get_current_task();
}

/* identify_current identifies the current task into its walk, and labels it. */
__noinline int identify_current(void)
{
	struct walk *walk = current_walk();
	struct task_struct *task = current_task();

	if (!walk)
		return 0;
	identify(&walk->spare, BPF_CORE_READ(task, mm, exe_file));
	label(task, &walk->spare, BPF_NOEXIST);
	return 0;
}

/* current_subject returns the subject of the current task. Without memory for
 * a label the task is identified for this once; without any memory the result
 * is NULL, a process that nobody knows. */
static __always_inline struct subject *current_subject(void)
{
	struct subject *subject = task_get(&subjects, current_task());
	struct walk *walk;

	if (subject)
		return subject;
	identify_current();
	subject = task_get(&subjects, current_task());
	if (subject)
		return subject;
	walk = current_walk();
	return walk ? &walk->spare : NULL;
}

/*
 * classify looks a program up in the generation in force and returns number
 * and class of it: number << 32 | class; 0 when there are no tables. It is
 * called when a task's class is of another generation, so once a program and
 * policy set.
 */
__noinline __u64 classify(__u64 path, __u64 identity, __u32 flags)
{
	void *tables = current_tables();
	const struct generation *generation;
	__u64 by_path, by_identity;
	__u32 class;

	if (!tables)
		return 0;
	generation = (const void *)line_at(tables, 0);
	if (!generation)
		return 0;
	by_path = class_of_key(tables, generation->subjects, generation->subject_count, path);
	by_identity =
		class_of_key(tables, generation->subjects, generation->subject_count, identity);
	if (flags & SUBJECT_UNKNOWN)
		class = generation->unknown;
	else if (by_path == NOT_FOUND && by_identity == NOT_FOUND)
		class = generation->everyone;
	else if (by_path == NOT_FOUND)
		class = by_identity;
	else if (by_identity == NOT_FOUND || by_identity == by_path)
		class = by_path;
	else /* the path says one program, the file another: fails closed */
		class = generation->unknown;
	return (__u64)generation->number << 32 | class;
}

SEC("lsm/task_alloc")
int BPF_PROG(task_alloc, struct task_struct *task, unsigned long clone_flags, int ret)
{
	struct subject *subject;

	if (ret)
		return ret;
	subject = current_subject();
	/* Without memory the child identifies itself at its first decision. */
	if (subject)
		label(task, subject, BPF_ANY);
	return 0;
}

/* Past the point of no return of exec: the new program is certain. */
SEC("lsm/bprm_committed_creds")
int BPF_PROG(bprm_committed_creds, struct linux_binprm *bprm)
{
	struct subject fresh, *subject;

	identify(&fresh, BPF_CORE_READ(bprm, file));
	subject = label(current_task(), &fresh, BPF_NOEXIST);
	if (subject) {
		subject->path = fresh.path;
		subject->identity = fresh.identity;
		subject->flags = fresh.flags;
		subject->class = 0;
	}
	return 0;
}

/* Only where the maps are hashes (maps.h). */
SEC("lsm/task_free")
int BPF_PROG(task_free, struct task_struct *task)
{
	__u64 key = (__u64)task;

	bpf_map_delete_elem(&subjects, &key);
	bpf_map_delete_elem(&walks, &key);
	bpf_map_delete_elem(&reports, &key);
	return 0;
}

SEC("iter/task")
int label_tasks(struct bpf_iter__task *ctx)
{
	struct task_struct *task = ctx->task;
	struct subject subject;

	if (!task)
		return 0;
	identify(&subject, BPF_CORE_READ(task, mm, exe_file));
	label(task, &subject, BPF_NOEXIST);
	return 0;
}

#endif
