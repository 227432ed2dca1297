/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* The verdict on uses of a file or a program (object.h). */
#ifndef EBPFGUARD_FILE_H
#define EBPFGUARD_FILE_H

#include "object.h"
#include "verdict.h"

/* Uses of a program; those of a file are enum access_flags. */
enum program_uses {
	PROGRAM_STARTED = 1,
	/* Not started but brought in: only rules that name it count. */
	PROGRAM_LOADED = 2,
	/* Started without arguments. */
	PROGRAM_BARE = 4,
};

/* flags_of_uses returns what an alert tells of uses of a file or a program, before
 * anything is known of it. */
static __always_inline __u32 flags_of_uses(__u32 id, __u32 uses)
{
	if (id == OPERATION_FILE_OPEN)
		return uses;
	return uses & PROGRAM_BARE ? TRAIT_NO_ARGS : 0;
}

/* strictest_of returns the strictest of the verdicts on uses of a file. */
static __always_inline __u32 strictest_of(const struct record *found, __u32 uses)
{
	__u32 verdict = 0;

	if (uses & 1)
		verdict = found->verdicts[0];
	if (uses & 2)
		verdict = stricter(verdict, found->verdicts[1]);
	if (uses & 4)
		verdict = stricter(verdict, found->verdicts[2]);
	return verdict;
}

/* verdict_of_kind returns the verdict on an access to what is no file of the system, of
 * which `names` is that by its names. */
static __always_inline __u32 verdict_of_kind(struct judgement *judgement, __u64 classes,
					     __u32 names, __u32 access)
{
	__u32 kind = classes >> CLASSES_KIND & 7, first = judgement->operation->unknown + 1;
	__u64 named = classes & (CLASS_MASK | (__u64)CLASS_MASK << SECOND_SHIFT | CLASSES_UNKNOWN);
	__u32 own;

	if (kind == FILE_DELETED && !named)
		return verdict_of(judgement, first, access, 0, 0);
	own = verdict_of(judgement, first + kind, access, 0, 0);
	return named ? stricter(names, own) : own;
}

/*
 * uses_verdict finds the verdicts on all uses of scratch->object, a file or a
 * program, keeps them in scratch and returns the strictest of those that are
 * asked about: revision << 32 | verdict, or RETRY.
 */
__noinline __u64 uses_verdict(scratch_arg given, __u32 id, __u64 begun, __u64 classes, __u32 uses)
{
	/* Rules for all files concern the file above, and allow-lists name that one. */
	__u64 named = classes & CLASSES_UNDERNEATH ? REST_NAMED : 0;
	__u64 rests[3] = {rest_of(0, 0, 0) | named, rest_of(1, 0, 0) | named,
			  rest_of(2, 0, 0) | named};
	struct scratch *scratch = scratch_of(given);
	struct judgement judgement;
	__u32 traits = 0;

	if (!scratch)
		return begun >> 32 << 32 | UNDECIDED_DENY;
	if (!fetch(&judgement, id, begun))
		return judgement.answer;
	if (id != OPERATION_FILE_OPEN) {
		if (classes & (CLASSES_SHM | CLASSES_DELETED | CLASSES_FILELESS))
			traits = TRAIT_FILELESS;
		rests[0] = rest_of(traits, 0, 0);
		rests[1] = rest_of(traits, 0, 0) | REST_NAMED;
		rests[2] = rest_of(traits | TRAIT_NO_ARGS, 0, 0);
		scratch->object.flags = flags_of_uses(id, uses) | traits;
	}
	scratch->kept.classes = classes;
	scratch->kept.verdicts[0] = verdict_of_names(&judgement, classes, rests[0]);
	scratch->kept.verdicts[1] = verdict_of_names(&judgement, classes, rests[1]);
	scratch->kept.verdicts[2] = verdict_of_names(&judgement, classes, rests[2]);
	if (id == OPERATION_FILE_OPEN && classes >> CLASSES_KIND & 7) {
		scratch->kept.verdicts[0] =
			verdict_of_kind(&judgement, classes, scratch->kept.verdicts[0], 0);
		scratch->kept.verdicts[1] =
			verdict_of_kind(&judgement, classes, scratch->kept.verdicts[1], 1);
		scratch->kept.verdicts[2] =
			verdict_of_kind(&judgement, classes, scratch->kept.verdicts[2], 2);
	}
	scratch->kept.key = current_key(id);
	scratch->kept.number = begun >> 32;
	/* verdict_at() takes the tables that are active. */
	if (!is_active(begun))
		return RETRY;
	return judgement.number | strictest_of(&scratch->kept, uses);
}

/*
 * The last try: where renames and mounts never stand still, what was found is
 * taken. Each name was read while its file was not being renamed, else the
 * object is unknown; at worst the path is one of which every part was true
 * while it was looked at, which a process can have more cheaply.
 */
#define LAST (1 << 30)

/* judge_once judges uses of scratch->object once. Mounts have their own, in
 * mount.h. */
__noinline __u64 judge_once(__u32 id, __u64 begun, __u32 uses)
{
	struct scratch *scratch = current_scratch();
	__u64 classes;

	if (is_final(begun))
		return early_answer(begun);
	if (!scratch)
		return begun >> 32 << 32 | UNDECIDED_DENY;
	classes = object_classes(hand(scratch), id);
	if (classes & CLASSES_RETRY && !(uses & LAST))
		return RETRY;
	return uses_verdict(hand(scratch), id, begun, classes, uses);
}

/* judge_any_once judges uses of a file that could be any, once. */
__noinline __u64 judge_any_once(__u32 id, __u64 begun, __u32 uses)
{
	if (is_final(begun))
		return early_answer(begun);
	return uses_verdict(hand(current_scratch()), id, begun, CLASSES_UNKNOWN, uses);
}

/* decide_any judges uses of a file that could be any, and concludes. */
static __always_inline int decide_any(enum hook_id hook, __u32 uses)
{
	int try;

	if (!set_object(current_scratch(), 0, 0, 0, uses))
		return decide_undecided(OPERATION_FILE_OPEN, hook);
	return conclude(JUDGE(try, OPERATION_FILE_OPEN, judge_any_once, uses), OPERATION_FILE_OPEN,
			hook, NULL);
}

/* judge_file judges uses of scratch->object. */
static __always_inline __u64 judge_file(enum operation_id id, __u32 uses)
{
	int try;

	return JUDGE(try, id, judge_once, try == LAST_TRY ? uses | LAST : uses);
}

#endif
