/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Judging: from what an operation is about to one word of its table of verdicts. All
 * operations go through the same steps:
 *
 *  1. begin() finds what the current task is in the active revision. To most tasks nothing
 *     can be refused, and that is the end of it.
 *  2. fetch() gets the revision's tables and compares their number with that.
 *  3. Each key of the object becomes a class (keys.h).
 *  4. The classes name a verdict, or where to find the one for this task. It counts if the
 *     revision is still the active one; else the answer is RETRY.
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

/* refusals tells verdicts that refuse from others: 1 and 2. */
static __always_inline __u32 refusals(__u32 verdict)
{
	return ((verdict >> VERDICT_SHIFT) + 1) >> 1;
}
_Static_assert((VERDICT_AUDIT + 1) >> 1 == 1 && (VERDICT_DENY + 1) >> 1 == 2 &&
		       (VERDICT_KILL + 1) >> 1 == 2,
	       "refusals");

/* stricter returns the greater of two verdicts; where both refuse or none, either
 * rule revokes. No branch: see search(). */
static __always_inline __u32 stricter(__u32 a, __u32 b)
{
	__u64 less = ((__s64)a - (__s64)b) >> 63;
	__u64 alike = ((__s64)(refusals(a) ^ refusals(b)) - 1) >> 63;

	barrier_var(less);
	barrier_var(alike);
	return (b & less) | (a & ~less) | ((a | b) & FLAG_REVOKE & alike);
}

/* In a judgement's flags: a verdict depends on who asks. */
#define VERDICT_DEPENDS (1 << 2)

/* One judgement: the tables of the revision that was begun with. */
struct judgement {
	void *tables;
	const struct operation *operation;
	const struct tables *intervals; /* fetch_intervals */
	__u64 number;			/* of the revision << 32 */
	__u64 answer;			/* where fetch returns false */
	__u32 id, flags;		/* enum row_flags, and VERDICT_DEPENDS */
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
	judgement->flags = begun & (ROW_UNKNOWN | ROW_DEPENDS);
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

static __always_inline __u64 class_of(struct judgement *judgement, struct key key)
{
	return class_of_key(judgement->tables, judgement->intervals, judgement->id, &key);
}

/* Nodes that follow_next passes, and how often follow_more and verdict_at go on: the verifier
 * follows each turn of a loop, so loops within loops cost it less than a long one. */
#define NODES_AT_ONCE 16
#define NODES_IN_TURN 64
_Static_assert(MAX_NODES % (NODES_AT_ONCE * NODES_IN_TURN) == 0, "all are passed");

static __always_inline bool is_verdict(__u64 word)
{
	return word >> VERDICT_SHIFT;
}

/* atoms_in returns those of some atoms in a word that are true of scratch->class. */
static __always_inline __u64 atoms_in(struct scratch *scratch, __u32 word, __u64 atoms)
{
	barrier_var(word);
	return word < ATOM_WORDS ? scratch->class.atoms[word] & atoms : 0;
}

/* follow_next goes on from a node for scratch->class, to a verdict or a node. What is
 * damaged becomes a verdict that conclude() takes for that. */
__noinline __u64 follow_next(scratch_arg given, __u32 nodes, __u64 at)
{
	void *tables = tables_in(SLOT_ACTIVE);
	struct scratch *scratch = scratch_of(given);
	int i;

	if (!tables || !scratch)
		return NOT_FOUND;
	for (i = 0; i < NODES_AT_ONCE && !is_verdict(at); i++) {
		const struct node *node = entry_at(tables, nodes, at, ENTRY_WORDS(struct node)),
				  *mask;
		__u32 what, word;
		__u64 atoms;

		if (!node || !at)
			return NOT_FOUND;
		what = node->what;
		if (what >= NODE_UNKNOWN)
			return word_at(tables,
				       node->then + (scratch->class.class >> 1 & NODE_MASK));
		if (what >= NODE_ANY) {
			at++;
			barrier_var(at); /* or clang keeps more on the stack */
			mask = entry_at(tables, nodes, at, ENTRY_WORDS(struct node));
			if (!mask)
				return NOT_FOUND;
			word = what & NODE_MASK;
			atoms = (__u64)mask->otherwise << 32 | mask->then;
		} else {
			word = what / 64;
			atoms = 1ULL << what % 64;
		}
		at = atoms_in(scratch, word, atoms) ? node->then : node->otherwise;
	}
	return at;
}

/* follow_more goes on for longer, for scratch->class, which load_class() has made that of the
 * task. If it is another, the verdict is one that conclude() takes for damage. */
__noinline __u64 follow_more(__u64 begun, __u32 nodes, __u64 at)
{
	struct subject *subject = task_get(&tasks, current_task());
	struct scratch *scratch = current_scratch();
	int i;

	if (!scratch || !subject || scratch->class.check != subject->check ||
	    scratch->class.class >> 32 != begun >> 32)
		return NOT_FOUND;
	for (i = 0; i < NODES_IN_TURN && !is_verdict(at); i++)
		at = follow_next(hand(scratch), nodes, at);
	return at;
}

/* verdict_at returns the verdict in a cell of the active revision's verdicts for the current
 * task. Where it depends on who asks, VERDICT_DEPENDS << 32 is added. */
__noinline __u64 verdict_at(__u64 begun, __u32 nodes, __u32 cell)
{
	void *tables = tables_in(SLOT_ACTIVE);
	__u64 at, depends = (__u64)VERDICT_DEPENDS << 32;
	int i;

	if (!tables)
		return (__u32)NOT_FOUND;
	at = word_at(tables, cell);
	if (is_verdict(at))
		return (__u32)at | (at != word_at(tables, cell ^ 1) ? depends : 0);
	for (i = 0; i < MAX_NODES / NODES_AT_ONCE / NODES_IN_TURN && !is_verdict(at); i++)
		at = follow_more(begun, nodes, at);
	return (__u32)(is_verdict(at) ? at : NOT_FOUND) | depends;
}

/* verdict_of returns the verdict on an object by the classes of its keys. */
static __always_inline __u32 verdict_of(struct judgement *judgement, __u32 c0, __u32 c1, __u32 c2,
					__u32 c3)
{
	const struct operation *operation = judgement->operation;
	__u32 cell = c0;
	__u64 found;

	cell = cell * operation->classes[1] + c1;
	cell = cell * operation->classes[2] + c2;
	cell = cell * operation->classes[3] + c3;
	cell = operation->verdicts + 2 * cell + (judgement->flags & ROW_UNKNOWN);
	found = verdict_at(judgement->number, operation->nodes, cell);
	judgement->flags |= found >> 32;
	return found;
}

/* allows_others reports whether nothing is refused, reported or counted of what no policy
 * names, whoever does it. `now` is what is active. */
static __always_inline bool allows_others(__u64 now, __u32 id)
{
	return now >> (ACTIVE_OTHERS_SHIFT + id) & 1;
}

/* judge_keys judges an object by its keys alone, once: revision << 32 | verdict, or
 * RETRY. */
static __always_inline __u64 judge_keys(__u32 id, __u64 begun, const struct key *keys)
{
	struct judgement judgement;
	__u64 classes[MAX_KEYS];
	__u32 verdict;

	if (!fetch_intervals(&judgement, id, begun))
		return judgement.answer;
	classes[0] = class_of(&judgement, keys[0]);
	classes[1] = class_of(&judgement, keys[1]);
	classes[2] = class_of(&judgement, keys[2]);
	classes[3] = class_of(&judgement, keys[3]);
	if (classes[0] == NOT_FOUND || classes[1] == NOT_FOUND || classes[2] == NOT_FOUND ||
	    classes[3] == NOT_FOUND)
		verdict = UNDECIDED_DENY;
	else
		verdict = verdict_of(&judgement, classes[0], classes[1], classes[2], classes[3]);
	/* All that fetched the tables anew, verdict_at() too, took those of this revision. */
	return is_active(begun) ? judgement.number | verdict : RETRY;
}

/* What an answer has besides that no rule concerned an object and that holds for anyone:
 * a bit that verdicts leave free (enum verdict_bits). */
#define FOR_ANYONE (1U << (RULE_SHIFT - 1))

/* is_for_anyone reports whether the verdicts of a judgement are the same whoever asks, also for
 * those that could not be identified. */
static __always_inline bool is_for_anyone(const struct judgement *judgement)
{
	return !(judgement->flags & VERDICT_DEPENDS);
}

/* load_begun loads the task's class where verdicts depend on that; ROW_RETRY where the task has
 * to be looked up first. */
__noinline __u64 load_begun(__u32 id, __u64 begun)
{
	if ((__u32)begun >= ROW_RETRY || !(begun & ROW_DEPENDS))
		return begun;
	return load_class() ? begin_known(id) : begun >> 32 << 32 | ROW_RETRY;
}

/* look_up is begun_or_anew() in fewer instructions. A chain of calls has no room for
 * refresh_class() in a function more. */
static __always_inline __u64 look_up(__u32 id, __u64 begun)
{
	begun = load_begun(id, begun);
	if ((__u32)begun == ROW_RETRY) {
		refresh_class();
		begun = load_begun(id, begin_known(id));
	}
	return begun;
}

/* begin_first is begin(), but that what is rare is in functions. ROW_RETRY has the bit that is
 * asked for as well. */
static __always_inline __u64 begin_first(__u32 id)
{
	__u64 begun = begin_judgement(id);

	return begun & ROW_DEPENDS ? look_up(id, begun) : begun;
}
_Static_assert((ROW_RETRY & ROW_DEPENDS) != 0, "else the task is not looked up");

/* JUDGE(try, id, once, arguments) is what once(id, begun, arguments) answers, asked anew
 * as long as that is RETRY. The arguments are evaluated at each try, of which `try` is
 * the number. */
#define JUDGE(try, id, once, ...)                                                      \
	({                                                                             \
		__u64 answer_;                                                         \
                                                                                       \
		try = 0;                                                               \
		answer_ = once(id, begin_first(id), __VA_ARGS__);                      \
		for (try = 1; try < MAX_TRIES && (__u32)answer_ == RETRY; try++)       \
			answer_ = once(id, look_up(id, begin_known(id)), __VA_ARGS__); \
		answer_;                                                               \
	})

/* undecided answers for what cannot be looked at: refused, if any rule could. */
static __always_inline __u64 undecided(enum operation_id id)
{
	__u64 begun = begin_judgement(id);

	return begun >> 32 << 32 | (begun & ROW_ALLOWED ? NO_RULE_ALLOW : UNDECIDED_DENY);
}

#endif
