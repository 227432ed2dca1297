/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * The verdict on what has a path: the object in the current task's scratch space. Its
 * names are found by two runs over its path (run.h), each name's class with
 * the classes of the object's other keys is one verdict, and the strictest of
 * them counts.
 */
#ifndef EBPFGUARD_OBJECT_H
#define EBPFGUARD_OBJECT_H

#include "cache/below.h"
#include "judge.h"

/* What object_classes adds when something was renamed or mounted meanwhile. */
#define CLASSES_RETRY (1ULL << 63)

/* has_no_name reports whether a state is at no name of its own. */
static __always_inline bool has_no_name(struct state state)
{
	return !(state.accept & (CLASS_MASK | STATE_SHM));
}

/* collect_alias collects the place that a file has in its own filesystem as what is above it. */
static __always_inline bool collect_alias(struct scratch *scratch, __u64 alias)
{
	if (!alias)
		return true;
	scratch->root = 0;
	return collect_above(scratch, alias);
}

/* object_classes finds the classes of the names of scratch->object. */
__noinline __u64 object_classes(scratch_arg given, __u32 id)
{
	struct scratch *scratch = scratch_of(given);
	struct words *all = all_words();
	struct dentry *dentry;
	__u64 classes, now = active_word(), alias = 0;
	bool has_alias;
	int flags = NOT_KEPT;

	if (!scratch || !all)
		return CLASSES_UNKNOWN;
	dentry = (void *)scratch->object.dentry;
	if (!dentry)
		return 0; /* a mount that is nowhere yet: it has no target */
	scratch->sequences = sequences();
	scratch->counts = counts_now(all);
	scratch->told_mount = scratch->object.mnt;
	scratch->place = 0;
	if (!scratch->object.mnt)
		scratch->object.mnt = any_mount((__u64)BPF_CORE_READ(dentry, d_sb));
	has_alias = scratch->object.inode && scratch->object.inode != inode_of(scratch, dentry);
	if (has_alias)
		alias = alias_of((void *)scratch->object.inode);
	else if (find_own_directory(hand(scratch), id) &&
		 is_there(scratch->place, scratch->above_dentry, scratch->told_mount,
			  scratch->counts, false) &
			 IS_THERE)
		flags = enter_directory(hand(scratch));
	if (flags != NOT_KEPT) {
		pass(hand(scratch), id);
		classes = classes_of(scratch, flags);
	} else if (has_alias && scratch->object.below) {
		/* Not the path, which is that of the file above. */
		scratch->above_count = 0;
		flags = collect_alias(scratch, alias) ? 0 : CHAIN_UNKNOWN;
		run_above(hand(scratch), id);
		scratch->path = scratch->above_path;
		scratch->file = scratch->above_file;
		classes = classes_of(scratch, flags);
	} else {
		flags = collect(hand(scratch), scratch->object.mnt, (__u64)dentry);
		if (!collect_alias(scratch, alias))
			flags |= CHAIN_UNKNOWN;
		run_above(hand(scratch), id);
		classes = run_chain(hand(scratch), id, flags);
		keep_directory(hand(scratch),
			       flags | (classes & CLASSES_UNKNOWN ? CHAIN_UNKNOWN : 0));
	}
	if (!(classes & CLASSES_UNKNOWN) &&
	    (has_alias ? has_no_name(scratch->above_path) && has_no_name(scratch->above_file)
		       : scratch->object.below && !(classes & ~CLASSES_UNDERNEATH)))
		keep_nameless(id, now, scratch->object.inode, has_alias ? alias : (__u64)dentry,
			      scratch->sequences);
	if (is_odd(scratch->sequences) || sequences() != scratch->sequences)
		classes |= CLASSES_RETRY;
	return classes;
}

/* In `rest`: only rules that name the object count. */
#define REST_NAMED (1ULL << 63)

/* The classes of an object's other keys, as one number. */
static __always_inline __u64 rest_of(__u32 c1, __u32 c2, __u32 c3)
{
	return c1 | (__u64)c2 << 24 | (__u64)c3 << 48;
}

/* rest_of_keys is rest_of for three keys, of which none is in a table of intervals;
 * NOT_FOUND when one has no class. */
static __always_inline __u64 rest_of_keys(__u32 id, const struct key *keys)
{
	__u64 c1 = class_of_key(NULL, NULL, id, &keys[0]);
	__u64 c2 = class_of_key(NULL, NULL, id, &keys[1]);
	__u64 c3 = class_of_key(NULL, NULL, id, &keys[2]);

	if (c1 == NOT_FOUND || c2 == NOT_FOUND || c3 == NOT_FOUND)
		return NOT_FOUND;
	return rest_of(c1, c2, c3);
}

/* only_named returns a verdict if its rule names the object. */
static __always_inline __u32 only_named(__u32 verdict)
{
	if (verdict & (FLAG_NAMES_OBJECT | FLAG_UNDECIDED) || !(verdict >> VERDICT_SHIFT))
		return verdict;
	return NO_RULE_ALLOW;
}

/* verdict_of_names returns the strictest verdict over the names of an object. */
static __always_inline __u32 verdict_of_names(struct judgement *judgement, __u64 classes,
					      __u64 rest)
{
	__u32 first = classes & CLASS_MASK, second = classes >> SECOND_SHIFT & CLASS_MASK;
	__u32 c1 = rest & 0xffffff, c2 = rest >> 24 & 0xffffff, c3 = rest >> 48 & 0x7fff;
	__u32 verdict, other;

	if (classes & CLASSES_UNKNOWN) {
		first = judgement->operation->unknown;
		second = 0;
	}
	/* A name that no policy names counts only if it is the only one. */
	if (!first) {
		first = second;
		second = 0;
	}
	verdict = verdict_of(judgement, first, c1, c2, c3);
	if (rest & REST_NAMED)
		verdict = only_named(verdict);
	if (second) {
		other = verdict_of(judgement, second, c1, c2, c3);
		if (rest & REST_NAMED)
			other = only_named(other);
		verdict = stricter(verdict, other);
	}
	return verdict;
}

/*
 * names_verdict returns the strictest verdict over the names of an object:
 * revision << 32 | verdict, or RETRY. `begun` is what begin_judgement
 * returned.
 */
__noinline __u64 names_verdict(__u32 id, __u64 begun, __u64 classes, __u64 rest)
{
	struct judgement judgement;
	__u32 verdict;

	if (!fetch(&judgement, id, begun))
		return judgement.answer;
	verdict = verdict_of_names(&judgement, classes, rest);
	return is_active(begun) ? judgement.number | verdict
				: RETRY; /* verdict_at() takes what is active */
}

/* set_object makes a file scratch->object; false when there is no memory. */
static __always_inline bool set_object(struct scratch *scratch, __u64 mnt, __u64 dentry,
				       __u64 inode, __u32 flags)
{
	if (!scratch)
		return false;
	__builtin_memset(&scratch->object, 0, sizeof(scratch->object));
	scratch->place = 0; /* is that of another object */
	scratch->object.mnt = mnt;
	scratch->object.dentry = dentry;
	scratch->object.inode = inode;
	scratch->object.flags = flags;
	return true;
}

#endif
