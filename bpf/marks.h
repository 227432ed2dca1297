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

/* has_marks reports whether a subject has any marks. */
static __always_inline bool has_marks(const struct subject *subject)
{
	__u64 any = 0;
	int i;

	for (i = 0; i < MARK_WORDS; i++)
		any |= subject->marks[i];
	return any;
}

/* add_chosen adds the marks of a task's process in the staged revision to those of
 * identity->subject. A function of its own, or refresh_marks would take more of the stack. */
__noinline int add_chosen(identity_arg given_identity, __u64 number)
{
	struct task_struct *task = (void *)number;
	__u64 start = BPF_CORE_READ(task, group_leader, start_boottime);
	struct sip sip;
	__u64 list;

	sip_start(&sip);
	sip_word(&sip, (__u64)TAG_PROCESS << 32 | (__u32)BPF_CORE_READ(task, tgid));
	sip_word(&sip, start / TICK);
	list = find(SLOT_STAGED, sip_finish(&sip));
	return add_mark_words(given_identity, SLOT_STAGED, list, list >> 32);
}

/* classify_staged finds the marks of a task's subject in the staged revision, which are then in
 * identity->subject. */
static __always_inline void classify_staged(struct subject *subject, struct identity *identity,
					    struct task_struct *task)
{
	find_names(subject, identity, task, SLOT_STAGED);
	add_chosen(hand_identity(identity), as_number(task));
}

/* refresh_marks adds the marks of the current task's program and process, before the
 * task has a child or starts another program. It mostly has them, with its class: then it
 * needs no scratch space, which a child that starts a program would make for this alone.
 * False when there is no memory to find them. */
__noinline int refresh_marks(void)
{
	struct subject *subject = current_subject();
	void *tables = tables_in(SLOT_ACTIVE);
	const struct revision *revision;
	const struct subjects *subjects;
	struct identity *identity;
	bool is_staged;

	if (!subject || !tables)
		return true; /* without memory it was never known */
	is_staged = tables_in(SLOT_STAGED) != NULL;
	revision = revision_of(tables);
	if (!is_staged && revision && subject->class >> 32 == revision->number)
		return true; /* added already */
	identity = current_identity();
	if (!identity)
		return false;
	if (is_staged) {
		classify_staged(subject, identity, current_task());
		keep_marks(subject, identity);
	}
	if (!revision || subject->class >> 32 == revision->number)
		return true;
	subjects = (const void *)line_at(tables, revision->subjects);
	if (subjects && subjects->flags & SUBJECTS_MARKS)
		classify(subject, identity, current_uid());
	return true;
}

/* add_marks adds marks where revisions know any; false as refresh_marks. */
static __always_inline bool add_marks(void)
{
	__u64 now = active_word();

	return (now && !(now & ACTIVE_MARKS)) || refresh_marks();
}

/* The marks of processes, while mark_tasks runs. The loader makes it as large as there are
 * processes: this is the most that there can be (PID_MAX_LIMIT). */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 1 << 22);
	__type(key, __u32);
	__type(value, __u64[MARK_WORDS]);
} marks SEC(".maps");

/* How many tasks the last run of mark_tasks gave a mark, or of label_containers (cgroup.h) a container. */
__u64 marked = 0;
/* How often marks had no room for a process: its descendants may lack its marks. */
__u64 unmarked = 0;
/* Marks that mark_tasks takes away, since they are to stand for others. */
__u64 forgotten[MARK_WORDS] = {};

/* forget_marks takes marks away that are to stand for others, and reports whether there were
 * any. */
static __always_inline bool forget_marks(struct subject *subject)
{
	__u64 any = 0;
	int i;

	for (i = 0; i < MARK_WORDS; i++) {
		__u64 gone = subject->marks[i] & forgotten[i];

		any |= gone;
		if (!SINCE_6_2)
			subject->marks[i] &= ~gone;
		else if (gone)
			__sync_fetch_and_and(&subject->marks[i], ~gone);
	}
	return any;
}

/* inherit_marks adds the marks of a process to those of identity->subject. */
static __always_inline void inherit_marks(struct identity *identity, __u32 process)
{
	__u64 *inherited = bpf_map_lookup_elem(&marks, &process);
	int i;

	if (!inherited)
		return;
	for (i = 0; i < MARK_WORDS; i++)
		identity->subject.marks[i] |= inherited[i];
}

/*
 * mark_tasks gives each task the marks of its program and process in the next
 * revision, and those of its parent. The loader runs it until nothing changes: then every
 * task has the marks of all its living ancestors.
 */
SEC("iter/task")
int mark_tasks(struct bpf_iter__task *ctx)
{
	struct task_struct *task = ctx->task;
	struct identity *identity = current_identity();
	struct subject *subject;
	bool changed;
	__u32 process;

	if (!task || !identity)
		return 0;
	subject = task_get(&tasks, task);
	if (!subject)
		return 0;
	changed = forget_marks(subject);
	classify_staged(subject, identity, task);
	inherit_marks(identity, BPF_CORE_READ(task, real_parent, tgid));
	process = BPF_CORE_READ(task, tgid);
	inherit_marks(identity, process);
	changed |= keep_marks(subject, identity);
	if (bpf_map_update_elem(&marks, &process, identity->subject.marks, BPF_ANY))
		__sync_fetch_and_add(&unmarked, 1);
	if (changed) {
		subject->class = 0;
		__sync_fetch_and_add(&marked, 1);
	}
	return 0;
}

#endif
