/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Subjects: what a task is.
 *
 * A task is identified once, at exec: by the path from which its program was
 * started, by the program's file, by the script if it runs one, by its
 * control group and by its containers. A child inherits what its parent is. Tasks that already run
 * when the guard starts are labelled by an iterator over all tasks, which is
 * started after fork and exec are covered and before anything is enforced;
 * a task that still has no label identifies itself at its first decision.
 *
 * What remains open: a copy of a program is another program, and a process that
 * may write to a program's file or directory may put another program there
 * (docs/threat-model.md).
 */
#ifndef EBPFGUARD_SUBJECT_H
#define EBPFGUARD_SUBJECT_H

#include "text.h"

static __always_inline struct task_struct *current_task(void)
{
	return SINCE_6_2 ? (void *)bpf_get_current_task_btf() : (void *)bpf_get_current_task();
}

/* begin_subject makes identity->subject one that is nothing yet. */
static __always_inline void begin_subject(struct subject *next)
{
	next->class = 0;
	next->program = next->script = 0;
	__builtin_memset(next->marks, 0, sizeof(next->marks));
	next->until = 0;
	next->flags = 0;
	next->first_container = next->last_container = CONTAINER_HOST;
	next->cgroup = 0;
	next->exec = 0;
	next->cgroup_length = next->script_length = next->program_length = next->exec_length = 0;
}

/* store_file appends the path of a file to identity->names
 * and returns the bytes added; none for a path that is not to be trusted. What
 * cannot be found out makes the subject unknown: that fails closed.
 *
 * A program that was replaced or removed while it runs has the name that it had. The kernel keeps
 * it, and nobody could have given the file that name without writing to that directory. */
__noinline __u32 store_file(__u32 at, __u64 mnt, __u64 dentry)
{
	struct identity *identity = current_identity();
	struct scratch *scratch = current_scratch();
	int flags = collect(hand(scratch), mnt, dentry);
	__u32 end;

	if (!identity)
		return 0;
	if (flags & CHAIN_NO_PATH)
		return 0;
	end = flags & (CHAIN_UNKNOWN | CHAIN_DEEP)
		      ? TEXT_FAILED
		      : store_path(hand(scratch), hand_identity(identity), at);
	if (end == TEXT_FAILED) {
		identity->subject.flags |= SUBJECT_UNKNOWN;
		return 0;
	}
	return end - at;
}

/* keep_long_names makes long_texts hold the names in identity->names for the current task; false
 * when there is no memory. */
static __always_inline bool keep_long_names(const struct identity *identity)
{
	struct long_text *names = current_get_or_make(&long_texts);

	return names && !bpf_probe_read_kernel(names, sizeof(*names), &identity->names);
}

/* keep_names gives the current task's subject the names in identity->names, whose lengths are in
 * identity->subject. Without memory it is unknown, and so is its group at the next exec. */
static __always_inline void keep_names(struct subject *subject, struct identity *identity)
{
	subject->cgroup = identity->subject.cgroup;
	subject->cgroup_length = identity->subject.cgroup_length;
	subject->script_length = identity->subject.script_length;
	subject->program_length = identity->subject.program_length;
	if (!has_long_names(&identity->subject)) {
		bpf_probe_read_kernel(subject->text, SHORT_TEXT, identity->names.text);
		return;
	}
	identity->names.stored = bpf_ktime_get_boot_ns();
	subject->stored = identity->names.stored;
	if (keep_long_names(identity))
		return;
	subject->flags |= SUBJECT_UNKNOWN;
	subject->cgroup = 0;
	subject->cgroup_length = subject->script_length = subject->program_length = 0;
}

/* add_cgroup puts the names of a task's control group first, and adds its container. */
static __always_inline void add_cgroup(struct identity *identity, __u64 task)
{
	struct scratch *scratch = current_scratch();
	__u32 end = store_cgroup(hand(scratch), hand_identity(identity), 0, task);

	if (scratch) /* or it failed */
		enter_container(&identity->subject, found_container(scratch));
	if (end != TEXT_FAILED) {
		identity->subject.cgroup_length = end;
		return;
	}
	identity->subject.flags |= SUBJECT_UNKNOWN;
	identity->subject.cgroup = 0; /* or the next exec takes no names for its names */
}

/* add_program makes a file the program of identity->subject. */
static __always_inline void add_program(struct identity *identity, struct file *file)
{
	identity->subject.program =
		file_key(DIMENSION_SUBJECTS, (__u64)BPF_CORE_READ(file, f_inode));
	identity->subject.program_length = store_file(
		identity->subject.cgroup_length + identity->subject.script_length,
		(__u64)BPF_CORE_READ(file, f_path.mnt), (__u64)BPF_CORE_READ(file, f_path.dentry));
}

/* identify makes identity->subject what a task runs, which is nothing for
 * a kernel thread. */
__noinline int identify(__u64 number)
{
	struct task_struct *task = (void *)number;
	struct file *file = BPF_CORE_READ(task, mm, exe_file);
	struct identity *identity = current_identity();

	if (!identity)
		return 0;
	begin_subject(&identity->subject);
	add_cgroup(identity, number);
	if (file)
		add_program(identity, file);
	bpf_probe_read_kernel(identity->subject.text, SHORT_TEXT, identity->names.text);
	identity->names.stored = identity->subject.stored = bpf_ktime_get_boot_ns();
	return 0;
}

/* label gives a task the subject, whose long names are given, unless it has one. In a hash, a task
 * that is being made (BPF_ANY) may find what a former task at its address left. NULL when
 * there is no memory. */
static __always_inline struct subject *label(struct task_struct *task, struct subject *subject,
					     struct long_text *names, __u64 flags)
{
	__u64 key = (__u64)task;

	/* The names first: they count as soon as the subject is there. */
	if (has_long_names(subject) && !give_long_names(task, names, flags))
		return NULL;
	if (SINCE_6_2)
		return bpf_task_storage_get(&tasks, (void *)task, subject,
					    BPF_LOCAL_STORAGE_GET_F_CREATE);
	bpf_map_update_elem(&tasks, &key, subject, flags);
	return bpf_map_lookup_elem(&tasks, &key);
}

/* current_subject returns the subject of the current task; one that has none is
 * identified now. NULL, an unknown process, when there is no memory. */
static __always_inline struct subject *current_subject(void)
{
	struct subject *subject = task_get(&tasks, current_task());
	struct identity *identity;

	if (subject)
		return subject;
	identity = current_identity();
	if (!identity)
		return NULL;
	identify(bpf_get_current_task());
	subject = label(current_task(), &identity->subject, &identity->names, BPF_NOEXIST);
	/* What a label that failed has left is of other names. */
	if (subject && has_long_names(subject) && subject->stored == identity->names.stored &&
	    !keep_long_names(identity))
		subject->flags |= SUBJECT_UNKNOWN;
	return subject;
}

/* Only where the maps are hashes (scratch.h). */
SEC("lsm/task_free")
int BPF_PROG(task_free, struct task_struct *task)
{
	__u64 key = (__u64)task;

	bpf_map_delete_elem(&tasks, &key);
	bpf_map_delete_elem(&long_texts, &key);
	bpf_map_delete_elem(&scratches, &key);
	bpf_map_delete_elem(&identities, &key);
	bpf_map_delete_elem(&alert_buffers, &key);
	return 0;
}

SEC("iter/task")
int label_tasks(struct bpf_iter__task *ctx)
{
	struct task_struct *task = ctx->task;
	struct identity *identity = current_identity();

	if (!task || !identity)
		return 0;
	identify(as_number(task));
	label(task, &identity->subject, &identity->names, BPF_NOEXIST);
	return 0;
}

#endif
