/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Marks say which programs and processes a task descends from, of those that policies
 * select with their descendants. They are kept at fork and exec for the active revision
 * and for the staged one, once that is there; the loader then marks the tasks
 * that descend from a running process by an iterator (mark_tasks), before it
 * makes the staged revision the active one.
 */
#ifndef EBPFGUARD_MARKS_H
#define EBPFGUARD_MARKS_H

#include "class.h"

/* chosen_marks returns the marks of a task's process in the staged revision. A function of
 * its own, or refresh_marks would take more of the stack. */
__noinline __u64 chosen_marks(__u64 number)
{
	struct task_struct *task = (void *)number;
	__u64 start = BPF_CORE_READ(task, group_leader, start_boottime);
	struct sip sip;

	sip_start(&sip);
	sip_word(&sip, (__u64)TAG_PROCESS << 32 | (__u32)BPF_CORE_READ(task, tgid));
	sip_word(&sip, start / TICK);
	return find(SLOT_STAGED, sip_finish(&sip));
}

/* refresh_marks adds the marks of the current task's program and process, before the
 * task has a child or starts another program. */
__noinline int refresh_marks(void)
{
	struct subject *subject = current_subject();
	struct scratch *scratch = current_scratch();
	const struct revision *revision;
	const struct subjects *subjects;
	void *tables = tables_in(SLOT_ACTIVE);

	if (!subject || !scratch || !tables)
		return 0; /* without memory it was never known */
	if (tables_in(SLOT_STAGED)) {
		classify(subject, scratch, SLOT_STAGED, current_uid());
		subject->marks |= chosen_marks(bpf_get_current_task());
	}
	revision = revision_of(tables);
	if (!revision || subject->class >> 32 == revision->number)
		return 0; /* added already */
	subjects = (const void *)line_at(tables, revision->subjects);
	if (subjects && subjects->flags & SUBJECTS_MARKS)
		classify(subject, scratch, SLOT_ACTIVE, current_uid());
	return 0;
}

/* add_marks adds marks where revisions know any. */
static __always_inline void add_marks(void)
{
	__u64 now = active_word();

	if (!now || now & ACTIVE_MARKS)
		refresh_marks();
}

/* The marks of processes, while mark_tasks runs. The loader makes it as large as there are
 * processes: this is the most that there can be (PID_MAX_LIMIT). */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 1 << 22);
	__type(key, __u32);
	__type(value, __u64);
} marks SEC(".maps");

/* How many tasks the last run of mark_tasks gave a mark. */
__u64 marked = 0;
/* How often marks had no room for a process: its descendants may lack its marks. */
__u64 unmarked = 0;
/* Marks that mark_tasks takes away, since they are to stand for others. */
__u64 forgotten = 0;

/*
 * mark_tasks gives each task the marks of its program and process in the next
 * revision, and those of its parent. The loader runs it until nothing changes: then every
 * task has the marks of all its living ancestors.
 */
SEC("iter/task")
int mark_tasks(struct bpf_iter__task *ctx)
{
	struct task_struct *task = ctx->task;
	struct scratch *scratch = current_scratch();
	struct subject *subject;
	__u64 *inherited, before, now;
	__u32 key;

	if (!task || !scratch)
		return 0;
	subject = task_get(&tasks, task);
	if (!subject)
		return 0;
	before = subject->marks;
	if (before & forgotten)
		subject->marks = before & ~forgotten;
	classify(subject, scratch, SLOT_STAGED, 0);
	subject->marks |= chosen_marks(as_number(task));
	key = BPF_CORE_READ(task, real_parent, tgid);
	inherited = bpf_map_lookup_elem(&marks, &key);
	if (inherited)
		subject->marks |= *inherited;
	key = BPF_CORE_READ(task, tgid);
	inherited = bpf_map_lookup_elem(&marks, &key);
	if (inherited)
		subject->marks |= *inherited;
	now = subject->marks;
	if (bpf_map_update_elem(&marks, &key, &now, BPF_ANY))
		__sync_fetch_and_add(&unmarked, 1);
	if (now != before) {
		subject->class = 0;
		__sync_fetch_and_add(&marked, 1);
	}
	return 0;
}

#endif
