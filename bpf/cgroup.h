/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * The control group of a subject, which is the one that its process was in when it started,
 * or tried to start, a program.
 */
#ifndef EBPFGUARD_CGROUP_H
#define EBPFGUARD_CGROUP_H

#include "marks.h"

/* is_same_cgroup reports whether the names of the current task's control group are
 * those that the subject's text begins with. */
static __always_inline bool is_same_cgroup(struct subject *subject)
{
	return subject->cgroup && subject->cgroup == bpf_get_current_cgroup_id();
}

/* append_names appends names of the current task's subject to identity->names. */
static __always_inline void append_names(struct identity *identity, struct subject *subject,
					 __u32 to, __u32 from, __u32 length)
{
	if (!copy_names(identity, to, subject, current_task(), from, length))
		identity->subject.flags |= SUBJECT_UNKNOWN;
}

/* leaves_cgroup reports whether the current task is in another group than its subject. */
__noinline int leaves_cgroup(void)
{
	struct subject *subject = task_get(&tasks, current_task());

	return subject && !is_same_cgroup(subject);
}

/*
 * enter_cgroup makes the control group that the current task is in now the subject's.
 * Who starts a program is judged as one that is in it already: what is moved into a group
 * to start its first program there is to be judged as everything that follows. It
 * stays in that group when the exec fails, as if it had started itself again.
 *
 * The task must have its marks (add_marks): it may be unknown afterwards.
 */
__noinline int enter_cgroup(void)
{
	struct subject *subject = task_get(&tasks, current_task());
	struct identity *identity;

	if (!subject)
		return 0;   /* it is yet to be identified, in its group */
	subject->class = 0; /* what it was is no longer true */
	barrier();
	identity = current_identity();
	if (!identity) {
		subject->flags |= SUBJECT_UNKNOWN;
		return 0;
	}
	begin_subject(&identity->subject);
	add_cgroup(identity, bpf_get_current_task());
	identity->subject.script_length = subject->script_length;
	identity->subject.program_length = subject->program_length;
	append_names(identity, subject, identity->subject.cgroup_length, subject->cgroup_length,
		     subject->script_length + subject->program_length);
	subject->flags |= identity->subject.flags;
	enter_container(subject, identity->subject.last_container);
	subject->writes++;
	barrier();
	keep_names(subject, identity);
	barrier();
	subject->writes++;
	return 0;
}

/* find_container looks whether somebody has told meanwhile of the container in which the current
 * task has been all along. */
__noinline int find_container(void)
{
	struct subject *subject = task_get(&tasks, current_task());

	if (!subject || subject->first_container != CONTAINER_HOST)
		return 0;
	if (enter_container(subject, known_container(bpf_get_current_task())))
		subject->class = 0;
	return 0;
}

/* start_in_cgroup is for a task that is about to start a program. */
static __always_inline void start_in_cgroup(void)
{
	if (!leaves_cgroup()) {
		if (are_containers_known())
			find_container();
		return;
	}
	/* Here and not in enter_cgroup: a chain of calls has little stack. */
	add_marks();
	enter_cgroup();
}

/* Whether label_containers also has tasks look up anew what their containers are. */
__u32 has_changed = 0;

/* label_containers gives each task the container that its control group is that of, if somebody
 * has told of it after the task started its program. The loader runs it until nothing changes:
 * then no task has a child that was forked before. */
SEC("iter/task")
int label_containers(struct bpf_iter__task *ctx)
{
	struct task_struct *task = ctx->task;
	struct subject *subject;
	bool enters;

	if (!task)
		return 0;
	subject = task_get(&tasks, task);
	if (!subject)
		return 0;
	enters = enter_container(subject, known_container(as_number(task)));
	if (enters || (has_changed && subject->last_container != CONTAINER_HOST))
		subject->class = 0;
	if (enters)
		__sync_fetch_and_add(&marked, 1);
	return 0;
}

#endif
