/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Words: that nothing is refused, reported or counted, whatever is done with a file. Most
 * files can match nothing, and for these one word of memory is all that is kept.
 *
 * A word is a hash of everything that the answer depends on:
 *
 *  - where the file's directory is: its dentry, mount and inode (place_of_directory), and
 *    the counts of moved directories and mounts, which stand for all that lies above
 *    (moves.h); in a second word its chain in their place (directory.h), for when the counts
 *    have moved;
 *  - what is in force: the revision and the operation;
 *  - who asks, unless the answer is anybody's;
 *  - for an answer that is not that of the whole directory, the file itself, and how often
 *    it was renamed.
 *
 * It lies where the hash says. A word is read and written at once, so there is no lock and
 * nothing to tear; a directory or file that needs the place of another takes it.
 *
 * What a word does not tell is looked at each time (is_plain): whether the file is one that
 * policies know by identity, a device or deleted. Of one that is not its dentry's, a word of
 * another kind tells the rest (below.h).
 */
#ifndef EBPFGUARD_CACHE_WORDS_H
#define EBPFGUARD_CACHE_WORDS_H

#include "../run.h"

enum { WORD_BITS = 18, MOVE_SLOTS = 16 };

struct words {
	/* Files that policies know, a bit of each: by the remainder of its inode number, and by that
	 * of the number with the device. The loader sets those of a revision before it is active,
	 * and takes those of the former ones away when no program counts on them any more. The
	 * first page, which it maps. */
	__u64 named[NAMED_BITS / 64], identified[NAMED_BITS / 64];
	/* The address of this struct: what pointers are counted from. 0 while nothing is kept. */
	__u64 at;
	/* How many moves have begun and ended that are of no directory; whose are going on, the
	 * task's number << 32 | when; and the kernel's count when they began (moves.h). */
	__u64 moves_ended, moves_begun, moving[MOVE_SLOTS], moving_from[MOVE_SLOTS];
	/* The kernel counts no mounts among the renames. */
	__u64 mounts_quietly;
	__u64 words[1 << WORD_BITS];
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct words);
} words SEC(".maps");

static __always_inline struct words *all_words(void)
{
	return VALUE_OF(words);
}

/* begin_words finds out where the words are, if anything can be kept. */
__noinline int begin_words(void)
{
	struct words *all = all_words();

	if (all && can_keep())
		all->at = as_number(all);
	return 0;
}

/*
 * add_word hashes another word. Hashes of kernel pointers, counts and numbers begin with a
 * secret, and no process chooses or sees the pointers among them. It is not for what
 * a process can choose.
 */
static __always_inline __u64 add_word(__u64 hash, __u64 word)
{
	return (hash + word) * 0x9fb21c651e98df25;
}

/* far returns how far what a pointer of the kernel or of READ() points to is from the words. */
static __always_inline __u64 far(const struct words *all, const void *pointer)
{
	return SINCE_6_2 ? distance(all, pointer) : (__u64)pointer - all->at;
}

static __always_inline __u64 *word_at_hash(struct words *all, __u64 hash)
{
	return &all->words[hash >> (64 - WORD_BITS)];
}

static __always_inline bool has_word(struct words *all, __u64 hash)
{
	return *(volatile __u64 *)word_at_hash(all, hash) == hash;
}

/* word_for returns the word of a directory or file for who asks, 0 for anybody. */
static __always_inline __u64 word_for(__u64 place, __u64 counts, __u64 subject)
{
	return add_word(add_word(place, counts), subject);
}

/*
 * lasting_word returns the word that renames and mounts elsewhere leave alone: in place of
 * their counts it has where the directory is (is_there). The word for the counts is made
 * anew from it.
 */
static __always_inline __u64 lasting_word(__u64 place, __u64 there, __u64 subject)
{
	return add_word(add_word(place, ~there), subject);
}

/* What tells a directory from others: which it is, and as what it was found. A dentry that
 * was dropped leaves its memory to another one; an inode's number may be used again, with
 * another generation. The name's hash is salted with the address of what is above. */
struct directory_identity {
	__u64 dentry, mount; /* as far as they are from the words; no mount: ANY_MOUNT */
	__u64 number;
	__u32 generation, name;
};

/* The mount of which a hook does not tell: whichever any_mount() finds. */
#define ANY_MOUNT 0
/* No mount: what is kept is of a file wherever it is seen (below.h). */
#define NO_MOUNT 1

/* place_of_directory hashes where a directory is by itself, whatever is above. */
static __always_inline __u64 place_of_directory(const struct directory_identity *directory,
						__u64 now, __u32 id)
{
	__u64 hash = hash_key[0] + id; /* which is less than a dentry is long */

	hash = add_word(hash, directory->dentry);
	hash = add_word(hash, directory->mount);
	hash = add_word(hash, directory->number);
	hash = add_word(hash, (__u64)directory->generation << 32 | directory->name);
	hash = add_word(hash, now);
	return hash ^ hash_key[1];
}

/* place_of_file hashes a file in a directory: which it is, under which name, and how often it
 * was renamed. */
static __always_inline __u64 place_of_file(__u64 directory, __u64 dentry, __u32 name, __u32 renamed,
					   __u64 number, __u32 generation)
{
	__u64 hash = add_word(directory, dentry);

	hash = add_word(hash, number);
	hash = add_word(hash, (__u64)generation << 32 | name);
	return add_word(hash, renamed);
}

/* is_in_tables reports whether policies know a file by its identity, also when the tables are not
 * those that `now` is about. Its number alone does not tell: each filesystem counts its own. */
__noinline int is_in_tables(__u64 now, __u32 id, __u64 inode)
{
	void *tables = tables_in(SLOT_ACTIVE);
	const struct revision *revision;

	if (!tables)
		return true;
	revision = revision_of(tables);
	if (!revision || revision->number != now >> 32)
		return true;
	/* It takes the tables anew. */
	return named_file(id, inode) != NO_STATE || active_word() != now;
}

static __always_inline bool has_bit(const __u64 *bits, __u64 number)
{
	__u64 index = number / 64 % (NAMED_BITS / 64);

	barrier_var(index);
	index &= NAMED_BITS / 64 - 1;
	return bits[index] >> number % 64 & 1;
}

/* may_be_named reports whether policies may know a file by its identity. Most files are told apart
 * by their number, which is given; each filesystem counts its own, and a tmpfs from 1. */
static __always_inline bool may_be_named(const struct words *all, struct inode *inode, __u64 number)
{
	__u64 device;

	if (!has_bit(all->named, number))
		return false;
	device = device_of(inode);
	return has_bit(all->identified, number + (device + (device >> 20)) * DEVICE_STEP);
}

#endif
