/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Whether it is known already that nothing is refused of a file. This is what most uses of
 * files come to, so nothing is looked up that it can do without: the words of what holds for
 * anybody first, then what the task is, then the words of what holds for its kind.
 */
#ifndef EBPFGUARD_CACHE_KNOWN_H
#define EBPFGUARD_CACHE_KNOWN_H

#include "../file.h"

/* inode_of_name returns the inode that a name has, NULL for none. The verifier takes what a
 * dentry that it trusts points to for an inode. */
static __always_inline struct inode *inode_of_name(struct dentry *dentry)
{
	return SINCE_6_2 ? CAST(dentry)->d_inode : dentry->d_inode;
}

/* is_alias reports whether a file is not its dentry's: before 6.7 overlayfs opens files of other
 * filesystems under its own path. */
static __always_inline bool is_alias(struct dentry *dentry, struct inode *inode)
{
	struct backing_file *backing = NULL;

	return !bpf_core_field_exists(backing->user_path) && inode_of_name(dentry) != inode;
}

/* may_concern_files reports whether rules about files or programs are in force. */
static __always_inline bool may_concern_files(__u64 now)
{
	return !now || now & (1 << OPERATION_FILE_OPEN | 1 << OPERATION_BPRM_CHECK_SECURITY);
}

/* place_underneath returns the place of a file that overlayfs opens for one of its own (below.h); 0
 * while no rules concern it. */
static __always_inline __u64 place_underneath(__u64 now, struct dentry *dentry, struct inode *inode)
{
	struct words *all = all_words();
	__u64 itself;

	if (!all || !all->at || !may_concern_files(now))
		return 0;
	itself = is_alias(dentry, inode) ? alias_of(inode) : distance(all, dentry) + all->at;
	return place_below(now, itself, distance(all, inode->i_sb), inode->i_ino,
			   inode->i_generation);
}

/* is_plain reports whether a file is what its directory and its name tell. */
static __always_inline bool is_plain(struct words *all, __u64 now, __u32 id, struct dentry *dentry,
				     struct inode *inode)
{
	__u16 mode = inode->i_mode;

	/* Policies know devices by their numbers, whichever node is used. */
	if ((mode & MODE_TYPE & ~MODE_DIRECTORY) == MODE_CHARACTER)
		return false;
	/* A file that is deleted is of a kind of its own; a name without a file may be nowhere. */
	if (!dentry->d_hash.pprev && mode)
		return false;
	return !may_be_named(all, inode, inode->i_ino) ||
	       !is_in_tables(now, id, distance(all, inode) + all->at);
}

/* find_directory returns the place of the directory of a file. */
static __always_inline __u64 find_directory(struct words *all, __u64 now, __u32 id,
					    struct dentry *parent, struct vfsmount *mnt)
{
	struct inode *inode = parent->d_inode;
	struct directory_identity identity = {
		.dentry = distance(all, parent),
		.mount = mnt ? distance(all, mnt) : ANY_MOUNT,
		.number = inode->i_ino,
		.generation = inode->i_generation,
		.name = parent->d_name.hash,
	};

	return place_of_directory(&identity, now, id);
}

/* learn finds out where a directory is, and what rules can match in it, for the task that
 * nothing is refused to, since others may ask. */
__noinline int learn(__u32 id, __u64 mnt, __u64 dentry, __u64 inode)
{
	struct vfsmount *mount = (void *)mnt;
	struct dentry *itself = (void *)dentry;
	struct scratch *scratch;

	/* Of what has no directory, or lies at the root of a mount, nothing is kept. */
	if (READ(itself, d_parent) == itself || (mnt && READ(mount, mnt_root) == itself))
		return 0;
	scratch = current_scratch();
	if (set_object(scratch, mnt, dentry, inode, 0))
		object_classes(hand(scratch), id);
	return 0;
}

/* What know_further returns. */
enum known {
	UNKNOWN = 0,
	KNOWN,
	/* ... and learn() is to find out more, for others. */
	KNOWN_LEARN,
};

/* make_word makes the word for the counts from one that has outlived them, if there is one. */
static __always_inline bool make_word(struct words *all, __u64 place, __u64 there, __u64 counts,
				      __u64 subject)
{
	__u64 word = word_for(place, counts, subject);

	if (!has_word(all, lasting_word(place, there, subject)))
		return false;
	*word_at_hash(all, word) = word;
	return true;
}

/* know_further is the part of is_known that most uses of files do not come to: a function of
 * its own, which the verifier checks once. A chain of calls has no room for learn() here. */
__noinline enum known know_further(__u32 id, __u64 directory, __u64 file, __u64 dentry, __u64 mnt)
{
	__u64 now = active_word(), begun, counts, key, there = IS_GONE, above;
	struct dentry *itself = (void *)dentry;
	struct words *all = all_words();
	struct subject *subject;

	if (!all)
		return UNKNOWN;
	counts = counts_now(all);
	above = address_of(all, READ(itself, d_parent));
	if (allows_others(now, id)) {
		there = is_there(directory, above, mnt, counts, true);
		if (there == IS_FOR_ANYBODY ||
		    (there & IS_THERE && make_word(all, file, there, counts, 0)))
			return KNOWN;
	}
	begun = begin_by(id, &subject);
	if (begun & ROW_ALLOWED)
		return there == NOT_THERE ? KNOWN_LEARN : KNOWN;
	/* The places are of what was active when they were made. */
	if (is_final(begun) || active_word() != now)
		return UNKNOWN;
	key = subject_key(begun, subject, id);
	if (has_word(all, word_for(directory, counts, key)) ||
	    has_word(all, word_for(file, counts, key)))
		return KNOWN;
	if (!allows_others(now, id))
		there = is_there(directory, above, mnt, counts, false);
	if (there & IS_THERE && (make_word(all, directory, there, counts, key) ||
				 make_word(all, file, there, counts, key)))
		return KNOWN;
	return UNKNOWN;
}

/* is_known_at reports whether nothing is refused of a file, reported or counted, as far as is
 * known. No mount stands for any. `below` is the place of a file that is not its dentry's. */
static __always_inline bool is_known_at(__u32 id, struct dentry *dentry, struct vfsmount *mnt,
					struct inode *inode, __u64 below)
{
	__u64 now = active_word(), counts, directory, file, mnt_at;
	struct words *all = all_words();
	enum known known;

	if (!all || !now)
		return false;
	if (!(now >> id & 1))
		return true; /* no rule concerns the operation */
	if (!all->at)
		begin_words();
	if (is_alias(dentry, inode) && is_nameless(all, below, id))
		inode = inode_of_name(dentry); /* what it is for remains */
	if (!all->at || is_alias(dentry, inode) || !is_plain(all, now, id, dentry, inode))
		return begin_known(id) & ROW_ALLOWED;
	counts = counts_now(all);
	directory = find_directory(all, now, id, dentry->d_parent, mnt);
	if (has_word(all, word_for(directory, counts, 0)))
		return true;
	file = place_of_file(directory, distance(all, dentry), dentry->d_name.hash,
			     sequence_of(dentry), inode->i_ino, inode->i_generation);
	if (has_word(all, word_for(file, counts, 0)))
		return true;
	mnt_at = mnt ? distance(all, mnt) + all->at : ANY_MOUNT;
	known = know_further(id, directory, file, distance(all, dentry) + all->at, mnt_at);
	if (known == KNOWN_LEARN)
		learn(id, mnt_at, distance(all, dentry) + all->at, distance(all, inode) + all->at);
	return known != UNKNOWN;
}

/* is_known is is_known_at for any file. */
static __always_inline bool is_known(__u32 id, struct dentry *dentry, struct vfsmount *mnt,
				     struct inode *inode)
{
	__u64 below = 0;

	if (is_alias(dentry, inode))
		below = place_underneath(active_word(), dentry, inode);
	return is_known_at(id, dentry, mnt, inode, below);
}

/*
 * remember makes the word of scratch->object, which was judged since it was not known: if all
 * uses of it were allowed, and no rule was needed for it. It reports whether it did.
 */
__noinline int remember(scratch_arg given, __u32 id)
{
	struct scratch *scratch = scratch_of(given);
	struct words *all = all_words();
	const struct record *found;
	__u64 place, key = 0, counts, word, now, there;
	struct subject *subject;
	struct dentry *dentry;
	bool whole;
	struct inode *inode;

	if (!scratch || !all || !scratch->place)
		return false;
	found = &scratch->kept;
	place = scratch->place;
	counts = counts_to_keep(all, scratch->sequences);
	now = scratch->now;
	if (now >> 32 != found->number || counts == NOT_SETTLED ||
	    found->classes & (CLASSES_UNKNOWN | CLASSES_RETRY) ||
	    found->verdicts[0] != NO_RULE_ALLOW || found->verdicts[1] != NO_RULE_ALLOW ||
	    found->verdicts[2] != NO_RULE_ALLOW)
		return false;
	dentry = (void *)scratch->object.dentry;
	inode = (void *)inode_of(scratch, dentry);
	/* is_plain() once more: it may have been something else why the file is judged. */
	if ((scratch->object.inode && scratch->object.inode != (__u64)inode) ||
	    (READ(inode, i_mode) & MODE_TYPE & ~MODE_DIRECTORY) == MODE_CHARACTER ||
	    (is_unhashed(dentry) && inode) ||
	    (may_be_named(all, inode, READ(inode, i_ino)) && is_in_tables(now, id, scratch->inode)))
		return false;
	there = kept_chain(place, counts);
	whole = scratch->directory.path & scratch->directory.file & (__u64)STATE_ABSORBING << 32;
	if (!whole)
		place = place_of_file(place, scratch->object.dentry - all->at,
				      READ(dentry, d_name.hash), sequence_of(dentry),
				      READ(inode, i_ino), READ(inode, i_generation));
	if (!allows_others(now, id) || found->classes & ~CLASSES_UNDERNEATH) {
		if (is_final(begin_by(id, &subject)))
			return false;
		key = found->key;
		if (key != subject_key(now, subject, id))
			return false;
	}
	if (sequences() != scratch->sequences)
		return false;
	word = word_for(place, counts, key);
	*word_at_hash(all, word) = word;
	/* What is everybody's of a whole directory, is_there() knows. */
	if (there && (key || !whole)) {
		word = lasting_word(place, there, key);
		*word_at_hash(all, word) = word;
	}
	return true;
}

/* decide_dentry judges a change of a file and concludes. */
static __always_inline int decide_dentry(enum hook_id hook, struct vfsmount *mnt,
					 struct dentry *dentry)
{
	struct scratch *scratch;
	__u64 answer;

	if (is_known(OPERATION_FILE_OPEN, dentry, mnt, inode_of_name(dentry)))
		return 0;
	scratch = current_scratch();
	if (!set_object(scratch, (__u64)mnt, (__u64)dentry, 0, ACCESS_WRITE))
		return decide_undecided(OPERATION_FILE_OPEN, hook);
	scratch->kept.key = 0;
	answer = judge_file(OPERATION_FILE_OPEN, ACCESS_WRITE);
	if ((__u32)answer == NO_RULE_ALLOW)
		remember(hand(scratch), OPERATION_FILE_OPEN);
	return conclude(answer, OPERATION_FILE_OPEN, hook, NULL);
}

#endif
