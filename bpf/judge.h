/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* Judging: from what an operation is about to a word of its table of verdicts. */
#ifndef EBPFGUARD_JUDGE_H
#define EBPFGUARD_JUDGE_H

#include "class.h"

#define UNDECIDED_DENY \
	((__u32)VERDICT_DENY << VERDICT_SHIFT | NO_RULE << RULE_SHIFT | FLAG_UNDECIDED)
#define NO_RULE_ALLOW ((__u32)VERDICT_ALLOW << VERDICT_SHIFT | NO_RULE << RULE_SHIFT)

/* What a judgement returns when the revision changed under it: begin anew. */
#define RETRY 0
/* How often to begin anew. A new revision takes milliseconds to publish and
 * a judgement microseconds, so twice is rare already; a path is looked at anew
 * when anything was renamed or mounted meanwhile, which is less rare. */
#define MAX_TRIES 8

/* What begin_judgement returns in its lower half instead of a row. */
#define ROW_RETRY 0x7ffffffe /* the task has to be looked up: begin() */
#define ROW_DAMAGED 0x7fffffff

/* refresh_class looks up what the current task is in the active revision. */
__noinline int refresh_class(void)
{
	struct subject *subject = current_subject();
	struct scratch *scratch = current_scratch();

	/* Without memory the judgements fail, closed. */
	if (subject && scratch)
		classify(subject, scratch, SLOT_ACTIVE, current_uid());
	return 0;
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
 * number of the revision << 32 | row of the subject, with ROW_ALLOWED when
 * nothing can be refused. Unless what it returns is final, the subject is there.
 */
static __always_inline __u64 begin_by(__u32 id, struct subject **subject)
{
	__u64 now = active_revision(), number = now >> 32 << 32;
	struct task_struct *task;

	*subject = NULL;
	if (!now)
		return ROW_DAMAGED;
	if (!(now >> id & 1))
		return number | ROW_ALLOWED;
	task = current_task();
	*subject = task_get(&tasks, task);
	if (!*subject || (*subject)->class >> 32 != now >> 32 || (*subject)->uid != uid_of(task))
		return ROW_RETRY;
	if (now & ACTIVE_TIMED && bpf_ktime_get_boot_ns() >= (*subject)->until)
		return ROW_RETRY;
	return number | (*subject)->rows[id & (OPERATIONS - 1)];
}

static __always_inline __u64 begin_judgement(__u32 id)
{
	struct subject *subject;

	return begin_by(id, &subject);
}

/* begin is begin_judgement for a task that may have to be looked up first. */
static __always_inline __u64 begin(__u32 id)
{
	__u64 begun = begin_judgement(id);

	if ((__u32)begun != ROW_RETRY)
		return begun;
	refresh_class();
	return begin_judgement(id);
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

static __always_inline __u64 early_answer(__u64 begun)
{
	__u64 number = begun >> 32 << 32;

	if (begun & ROW_ALLOWED)
		return number | NO_RULE_ALLOW;
	if ((__u32)begun == ROW_RETRY)
		return RETRY;
	return number | UNDECIDED_DENY;
}

/* spares_open reports whether an answer leaves alone what is open already: a rule
 * decided, and it does not revoke. */
static __always_inline bool spares_open(__u64 answer)
{
	return !(answer & FLAG_REVOKE) && (__u32)answer != RETRY &&
	       (answer >> RULE_SHIFT & RULE_MASK) != NO_RULE;
}

static __always_inline bool is_allow(__u64 answer)
{
	return (__u32)answer >> VERDICT_SHIFT == VERDICT_ALLOW;
}

/* is_final reports whether nothing has to be known of the object. */
static __always_inline bool is_final(__u64 begun)
{
	return (__u32)begun >= ROW_RETRY;
}

/* verdict_at returns a word of the verdict table of the active revision;
 * NOT_FOUND becomes a verdict that conclude() takes for a damaged table. */
static __always_inline __u32 verdict_at(void *tables, const struct operation *operation, __u32 row,
					__u32 c0, __u32 c1, __u32 c2, __u32 c3)
{
	__u32 cell = row;

	cell = cell * operation->classes[0] + c0;
	cell = cell * operation->classes[1] + c1;
	cell = cell * operation->classes[2] + c2;
	cell = cell * operation->classes[3] + c3;
	return word_at(tables, operation->verdicts + cell);
}

/* stricter returns the greater of two verdicts; where both are the same, either
 * rule revokes. No branch: see search(). */
static __always_inline __u32 stricter(__u32 a, __u32 b)
{
	__u64 less = ((__s64)a - (__s64)b) >> 63;
	__u64 same = ((__s64)(a >> VERDICT_SHIFT ^ b >> VERDICT_SHIFT) - 1) >> 63;

	barrier_var(less);
	barrier_var(same);
	return (b & less) | (a & ~less) | ((a | b) & FLAG_REVOKE & same);
}

/* without_memory refuses what cannot be looked at, if any rule could. */
static __always_inline __u64 without_memory(enum operation_id id)
{
	__u64 begun = begin_judgement(id);

	return begun >> 32 << 32 | (begun & ROW_ALLOWED ? NO_RULE_ALLOW : UNDECIDED_DENY);
}

#endif
