/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Judging: from what an operation is about to one word of its table of verdicts. All
 * operations go through the same steps:
 *
 *  1. begin() finds the row of the current task in the active revision. Most tasks have
 *     none for the operation, and that is the end of it.
 *  2. fetch() gets the revision's tables and compares its number with that of the row.
 *  3. Each key of the object becomes a class (keys.h).
 *  4. The classes name a verdict. It counts if the revision is still the active one;
 *     else the answer is RETRY.
 *  5. JUDGE() begins anew as long as the answer is RETRY, at most MAX_TRIES times.
 *
 * An operation on numbers needs no more than this, here for one number:
 *
 *	__noinline __u64 judge_capability(__u32 id, __u64 begun, __u32 capability)
 *	{
 *		struct key keys[MAX_KEYS] = {INTERVAL(TABLE_CAPABILITIES, capability)};
 *
 *		return judge_keys(id, begun, keys);
 *	}
 *
 *	SEC("lsm/capable")
 *	int BPF_PROG(capable, const struct cred *cred, struct user_namespace *ns,
 *		     int capability, unsigned int options, int ret)
 *	{
 *		if (ret)
 *			return ret;
 *		return decide_number(OPERATION_CAPABLE, HOOK_CAPABLE, judge_capability,
 *				     capability);
 *	}
 */
#ifndef EBPFGUARD_JUDGE_H
#define EBPFGUARD_JUDGE_H

#include "keys.h"
#include "row.h"

#define UNDECIDED_DENY \
	((__u32)VERDICT_DENY << VERDICT_SHIFT | NO_RULE << RULE_SHIFT | FLAG_UNDECIDED)
#define NO_RULE_ALLOW ((__u32)VERDICT_ALLOW << VERDICT_SHIFT | NO_RULE << RULE_SHIFT)

/* The answer when something changed under a judgement: begin anew. */
#define RETRY 0
/* How often to begin anew. A new revision takes milliseconds to publish and
 * a judgement microseconds, so twice is rare already; a path is looked at anew
 * when anything was renamed or mounted meanwhile, which is less rare. */
#define MAX_TRIES 8
#define LAST_TRY (MAX_TRIES - 1)

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

/* One judgement: the tables of the row that was begun with. */
struct judgement {
	void *tables;
	const struct operation *operation;
	const struct tables *intervals; /* fetch_intervals */
	__u64 number;			/* of the revision << 32 */
	__u64 answer;			/* where fetch returns false */
	__u32 id, row;
};

/* fetch gets the tables of an operation; false when the answer is known without. */
static __always_inline bool fetch(struct judgement *judgement, __u32 id, __u64 begun)
{
	const struct revision *revision;

	if (is_final(begun)) {
		judgement->answer = early_answer(begun);
		return false;
	}
	judgement->id = id;
	judgement->row = begun;
	judgement->number = begun >> 32 << 32;
	/* Damaged tables refuse. */
	judgement->answer = judgement->number | UNDECIDED_DENY;
	judgement->tables = tables_in(SLOT_ACTIVE);
	if (!judgement->tables)
		return false;
	revision = revision_of(judgement->tables);
	judgement->operation = operation_of(judgement->tables, id);
	if (!revision || !judgement->operation)
		return false;
	judgement->answer = RETRY;
	return revision->number == begun >> 32;
}

/* fetch_intervals gets its interval tables as well. */
static __always_inline bool fetch_intervals(struct judgement *judgement, __u32 id, __u64 begun)
{
	if (!fetch(judgement, id, begun))
		return false;
	judgement->answer = judgement->number | UNDECIDED_DENY;
	judgement->intervals = tables_of(judgement->tables, id);
	return judgement->intervals;
}

static __always_inline __u64 class_of(const struct judgement *judgement, struct key key)
{
	return class_of_key(judgement->tables, judgement->intervals, judgement->id, &key);
}

/* verdict_of returns a word of the table of verdicts. */
static __always_inline __u32 verdict_of(const struct judgement *judgement, __u32 c0, __u32 c1,
					__u32 c2, __u32 c3)
{
	return verdict_at(judgement->tables, judgement->operation, judgement->row, c0, c1, c2, c3);
}

/* judge_keys judges an object by its keys alone, once: revision << 32 | verdict, or
 * RETRY. */
static __always_inline __u64 judge_keys(__u32 id, __u64 begun, const struct key *keys)
{
	struct judgement judgement;
	__u64 classes[MAX_KEYS];

	if (!fetch_intervals(&judgement, id, begun))
		return judgement.answer;
	classes[0] = class_of(&judgement, keys[0]);
	classes[1] = class_of(&judgement, keys[1]);
	classes[2] = class_of(&judgement, keys[2]);
	classes[3] = class_of(&judgement, keys[3]);
	if (!is_active(begun))
		return RETRY;
	if (classes[0] == NOT_FOUND || classes[1] == NOT_FOUND || classes[2] == NOT_FOUND ||
	    classes[3] == NOT_FOUND)
		return judgement.number | UNDECIDED_DENY;
	return judgement.number |
	       verdict_of(&judgement, classes[0], classes[1], classes[2], classes[3]);
}

/* JUDGE(try, id, once, arguments) is what once(id, begun, arguments) answers, asked anew
 * as long as that is RETRY. The arguments are evaluated at each try, of which `try` is
 * the number. */
#define JUDGE(try, id, once, ...)                                                \
	({                                                                       \
		__u64 answer_;                                                   \
                                                                                 \
		try = 0;                                                         \
		answer_ = once(id, begin(id), __VA_ARGS__);                      \
		for (try = 1; try < MAX_TRIES && (__u32)answer_ == RETRY; try++) \
			answer_ = once(id, begin_anew(id), __VA_ARGS__);         \
		answer_;                                                         \
	})

/* undecided answers for what cannot be looked at: refused, if any rule could. */
static __always_inline __u64 undecided(enum operation_id id)
{
	__u64 begun = begin_judgement(id);

	return begun >> 32 << 32 | (begun & ROW_ALLOWED ? NO_RULE_ALLOW : UNDECIDED_DENY);
}

#endif
