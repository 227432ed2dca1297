/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * A file or directory gets another name: it is renamed or linked. That changes two
 * names, which file_open_path.h judges. It also changes what is known of the file, and
 * of all that lies below a directory: a file that only a directory or a glob names has
 * no identity, so under the new name the rules for the former one would not find it;
 * and a directory that is moved to where rules name something brings that along.
 *
 * Where both names lead the automaton to the same state, nothing changes. Nor does
 * what the file is known by anyway, its identity. What goes away is judged for every
 * access: for the file itself by the class of its name, for a directory also by that of
 * all that rules name below it (TAG_BELOW). What comes below a directory is judged as a
 * write, where rules name it by globs.
 */
#ifndef EBPFGUARD_MOVE_H
#define EBPFGUARD_MOVE_H

#include "cache/known.h"

/* In the uses of judge_move_once. */
#define MOVES_DIRECTORY (1 << 3)

/* class_below returns the class of all that rules name below a state, or name there by
 * globs; 0 for nothing. */
static __always_inline __u32 class_below(__u64 state, bool globs)
{
	struct sip sip;

	sip_start(&sip);
	sip_word(&sip, (__u64)TAG_BELOW << 32 | (__u32)state);
	sip_word(&sip, globs);
	return find(SLOT_ACTIVE, sip_finish(&sip)) >> 32 & CLASS_MASK;
}

/* has_state reports whether a state is one of two, or has no names. */
static __always_inline bool has_state(const __u64 *states, __u64 state)
{
	return !(__u32)state || state == states[0] || state == states[1];
}

/* is_kept reports whether a file is known by a name however it is named: its identity
 * stands for the name. */
__noinline int is_kept(__u64 known, __u64 state)
{
	return known && (known == state || covers(known, state));
}

/* verdict_below returns the strictest verdict on an access to what has a name, and to
 * all that rules name below. */
static __always_inline __u32 verdict_below(struct judgement *judgement, __u32 here, __u32 below,
					   __u32 access)
{
	__u32 verdict = NO_RULE_ALLOW;

	if (here)
		verdict = verdict_of(judgement, here, access, 0, 0);
	if (below)
		verdict = stricter(verdict, verdict_of(judgement, below, access, 0, 0));
	return verdict;
}

/* leaves judges what goes away with the name in one of the runs. */
__noinline __u64 leaves(scratch_arg given, __u32 id, __u64 begun, __u32 run, __u32 uses)
{
	struct scratch *scratch = scratch_of(given);
	__u32 here, under = 0, verdict = NO_RULE_ALLOW, one, there, access;
	struct judgement judgement;
	__u64 state;

	if (!scratch)
		return begun >> 32 << 32 | UNDECIDED_DENY;
	if (!fetch(&judgement, id, begun))
		return judgement.answer;
	state = run ? scratch->move.from[1] : scratch->move.from[0];
	if (has_state(scratch->move.to, state) || is_kept(scratch->move.known, state))
		return judgement.number | verdict;
	here = state >> 32 & CLASS_MASK;
	if (uses & MOVES_DIRECTORY)
		under = class_below(state, false);
	for (access = 0; access < 3; access++) {
		/* The write to the file itself is judged already. */
		one = verdict_below(&judgement, access == 1 ? 0 : here, under, access);
		/* What the new name forbids as well is not lost. */
		if (!(uses & MOVES_DIRECTORY)) {
			there = verdict_of_names(&judgement, scratch->move.to_classes,
						 rest_of(access, 0, 0));
			if (there >> VERDICT_SHIFT >= one >> VERDICT_SHIFT &&
			    !(there & FLAG_DELEGATED))
				continue;
		}
		if (one >> VERDICT_SHIFT > VERDICT_ALLOW)
			scratch->object.flags |= 1 << access;
		verdict = stricter(verdict, one);
	}
	return is_active(begun) ? judgement.number | verdict : RETRY;
}

/* comes judges what comes with a directory to its new name in one of the runs. */
__noinline __u64 comes(scratch_arg given, __u32 id, __u64 begun, __u32 run)
{
	struct scratch *scratch = scratch_of(given);
	struct judgement judgement;
	__u32 under, verdict;
	__u64 state;

	if (!scratch)
		return begun >> 32 << 32 | UNDECIDED_DENY;
	if (!fetch(&judgement, id, begun))
		return judgement.answer;
	state = run ? scratch->move.to[1] : scratch->move.to[0];
	if (has_state(scratch->move.from, state) || is_kept(scratch->move.known, state))
		return judgement.number | NO_RULE_ALLOW;
	under = class_below(state, true);
	verdict = verdict_below(&judgement, 0, under, 1);
	if (verdict >> VERDICT_SHIFT > VERDICT_ALLOW)
		scratch->object.flags |= ACCESS_WRITE;
	return is_active(begun) ? judgement.number | verdict : RETRY;
}

/* stricter_answer is stricter() for answers of the same revision, or RETRY. */
static __always_inline __u64 stricter_answer(__u64 a, __u64 b)
{
	if ((__u32)a == RETRY || (__u32)b == RETRY)
		return RETRY;
	return a >> 32 << 32 | stricter(a, b);
}

/* look_at finds the states and classes of one of the names, whatever has it now. */
static __always_inline __u64 look_at(struct scratch *scratch, __u32 id, __u64 mnt, __u64 dentry,
				     __u64 *states)
{
	__u64 classes;

	set_object(scratch, mnt, dentry, 0, 0);
	scratch->object.bare = true;
	classes = object_classes(hand(scratch), id);
	states[0] = number_of(scratch->path);
	states[1] = number_of(scratch->file);
	return classes;
}

/* judge_move_once judges scratch->move once. */
__noinline __u64 judge_move_once(__u32 id, __u64 begun, __u32 uses)
{
	struct scratch *scratch = current_scratch();
	struct move *move;
	__u64 answer;

	if (is_final(begun))
		return early_answer(begun);
	if (!scratch)
		return begun >> 32 << 32 | UNDECIDED_DENY;
	move = &scratch->move;
	move->to_classes = look_at(scratch, id, move->to_mnt, move->to_dentry, move->to);
	move->from_classes = look_at(scratch, id, move->mnt, move->dentry, move->from);
	if ((move->to_classes | move->from_classes) & CLASSES_RETRY && !(uses & LAST))
		return RETRY;
	/* Wherever it may be: all that may be is judged. */
	if ((move->to_classes | move->from_classes) & CLASSES_UNKNOWN) {
		scratch->object.flags = ACCESS_READ | ACCESS_WRITE | ACCESS_EXEC;
		return uses_verdict(hand(scratch), id, begun, CLASSES_UNKNOWN,
				    scratch->object.flags);
	}
	move->known = named_file(id, inode_of(scratch, (void *)move->dentry));
	answer = stricter_answer(leaves(hand(scratch), id, begun, 0, uses),
				 leaves(hand(scratch), id, begun, 1, uses));
	if (uses & MOVES_DIRECTORY) {
		answer = stricter_answer(answer, comes(hand(scratch), id, begun, 0));
		answer = stricter_answer(answer, comes(hand(scratch), id, begun, 1));
	}
	return answer;
}

/* is_known_move reports whether it is known that nothing is refused of a file that gets another
 * name, under either. Below a directory there may be what is refused. */
static __always_inline bool is_known_move(struct dentry *dentry, struct vfsmount *mnt,
					  struct dentry *to_dentry, struct vfsmount *to_mnt)
{
	struct inode *inode = inode_of_name(dentry), *to_inode = inode_of_name(to_dentry);

	/* 6.12 and others exchange two names in one call. */
	if ((inode->i_mode & MODE_TYPE) == MODE_DIRECTORY ||
	    (to_inode->i_mode & MODE_TYPE) == MODE_DIRECTORY)
		return false;
	return is_known(OPERATION_FILE_OPEN, dentry, mnt, inode) &&
	       is_known(OPERATION_FILE_OPEN, to_dentry, to_mnt, to_inode);
}

/* decide_move judges a file or directory that gets another name, and concludes. */
static __always_inline int decide_move(enum hook_id hook, __u64 mnt, __u64 dentry, __u64 to_mnt,
				       __u64 to_dentry)
{
	struct scratch *scratch = current_scratch();
	__u16 mode = BPF_CORE_READ((struct dentry *)dentry, d_inode, i_mode);
	__u32 uses = (mode & MODE_TYPE) == MODE_DIRECTORY ? MOVES_DIRECTORY : 0;
	__u64 answer;
	int try;

	if (!scratch)
		return decide_undecided(OPERATION_FILE_OPEN, hook);
	scratch->move.mnt = mnt;
	scratch->move.dentry = dentry;
	scratch->move.to_mnt = to_mnt;
	scratch->move.to_dentry = to_dentry;
	answer = JUDGE(try, OPERATION_FILE_OPEN, judge_move_once,
		       try == LAST_TRY ? uses | LAST : uses);
	return conclude(answer, OPERATION_FILE_OPEN, hook, NULL);
}

#endif
