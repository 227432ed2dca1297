/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* Where a judgement begins: the row of the current task in the active revision, which is
 * everything that does not depend on the object. */
#ifndef EBPFGUARD_ROW_H
#define EBPFGUARD_ROW_H

#include "class.h"

/* What begin_judgement returns in its lower half instead of enum row_flags. */
#define ROW_RETRY 0x7ffffffe /* the task has to be looked up: begin() */
#define ROW_DAMAGED 0x7fffffff

/* refresh_class looks up what the current task is in the active revision. */
__noinline int refresh_class(void)
{
	struct subject *subject = current_subject();
	struct identity *identity = current_identity();

	/* Without memory the judgements fail, closed. */
	if (subject && identity)
		classify(subject, identity, current_uid());
	return 0;
}

/* load_class makes scratch->class that of the current task; false when it has to be looked
 * up. */
__noinline int load_class(void)
{
	struct subject *subject = task_get(&tasks, current_task());
	struct scratch *scratch = current_scratch();
	struct class *slot;
	__u64 check;

	if (!subject || !scratch)
		return false;
	check = subject->check;
	if (scratch->class.check == check)
		return true;
	slot = class_at(check);
	if (slot) {
		scratch->class.check = 0;
		if (slot->check == check &&
		    !bpf_probe_read_kernel(scratch->class.atoms, sizeof(scratch->class.atoms),
					   slot->atoms)) {
			scratch->class.class = slot->class;
			/* What another task is just writing is not taken. */
			if (hash_atoms(hand(scratch), scratch->class.class, ALL_ATOMS) == check) {
				scratch->class.check = check;
				return true;
			}
		}
	}
	return false;
}

/* active_revision returns what is active (maps.h), also while that is replaced; 0 when
 * nothing ever was. */
static __always_inline __u64 active_revision(void)
{
	__u64 now = active_word();
	const struct revision *revision;
	void *tables;

	if (now)
		return now;
	tables = tables_in(SLOT_ACTIVE);
	revision = tables ? revision_of(tables) : NULL;
	return revision ? (__u64)revision->number << 32 | revision->concerned : 0;
}

/*
 * begin_by looks up everything that does not depend on the object. It returns the
 * number of the revision << 32 | enum row_flags, with ROW_ALLOWED when nothing can be
 * refused. Unless what it returns is final, the subject is there, and its row is what
 * the operation's rules see of it.
 */
static __always_inline __u64 begin_by(__u32 id, struct subject **subject)
{
	__u64 now = active_revision(), number = now >> 32 << 32, row;
	struct task_struct *task;

	*subject = NULL;
	if (!now)
		return ROW_DAMAGED;
	if (!(now >> id & 1))
		return number | ROW_ALLOWED;
	task = current_task();
	*subject = task_get(&tasks, task);
	if (!*subject || (*subject)->class >> 32 != now >> 32)
		return ROW_RETRY;
	if (now & ACTIVE_USERS && (*subject)->uid != current_uid())
		return ROW_RETRY;
	if (now & ACTIVE_TIMED && bpf_ktime_get_boot_ns() >= (*subject)->until)
		return ROW_RETRY;
	row = (*subject)->rows[id & (OPERATIONS - 1)];
	return number | (row ? row & (ROW_UNKNOWN | ROW_DEPENDS) : ROW_ALLOWED);
}

/* subject_key returns what is kept together with an answer that holds for whoever is the
 * same to the operation's rules. */
static __always_inline __u64 subject_key(__u64 begun, const struct subject *subject, __u32 id)
{
	return subject->rows[id & (OPERATIONS - 1)];
}

/* current_key is subject_key of the current task; 0, which is none, without memory. */
static __always_inline __u64 current_key(__u32 id)
{
	struct subject *subject = task_get(&tasks, current_task());

	return subject ? subject->rows[id & (OPERATIONS - 1)] : 0;
}

static __always_inline __u64 begin_judgement(__u32 id)
{
	struct subject *subject;

	return begin_by(id, &subject);
}

/* begin_known is begin_judgement, checked once by the verifier. */
__noinline __u64 begin_known(__u32 id)
{
	return begin_judgement(id);
}

/* begun_or_anew looks the task up where that has to be first, and its class where verdicts
 * depend on that. */
static __always_inline __u64 begun_or_anew(__u32 id, __u64 begun)
{
	if ((__u32)begun == ROW_RETRY) {
		refresh_class();
		begun = begin_known(id);
	}
	if ((__u32)begun >= ROW_RETRY || !(begun & ROW_DEPENDS))
		return begun;
	if (!load_class()) {
		refresh_class();
		if (!load_class())
			return begun >> 32 << 32 | ROW_RETRY;
	}
	return begin_known(id);
}

/* begin is begin_judgement for a task that may have to be looked up first. */
static __always_inline __u64 begin(__u32 id)
{
	return begun_or_anew(id, begin_judgement(id));
}

/* is_unrestricted reports whether the current task can be refused nothing. */
static __always_inline bool is_unrestricted(__u32 id)
{
	return begin_judgement(id) & ROW_ALLOWED;
}

/* is_active reports whether a revision is the active one. If it was before and
 * still is, everything that was looked up in between is of it: global functions
 * fetch the tables anew. */
static __always_inline bool is_active(__u64 begun)
{
	void *tables = tables_in(SLOT_ACTIVE);
	const struct revision *revision = tables ? revision_of(tables) : NULL;

	return revision && revision->number == begun >> 32;
}

/* is_final reports whether nothing has to be known of the object. */
static __always_inline bool is_final(__u64 begun)
{
	return (__u32)begun >= ROW_RETRY;
}

#endif
