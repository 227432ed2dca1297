/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * What is kept of directories: the states of both runs below one, so that a file that
 * was never used before is judged by its own name, without a walk to the root.
 *
 * It holds while the counts of moved directories and mounts (moves.h) stand still, which the stamp says.
 * When they have moved, the directory's chain (chain.h) is hashed, or only the mounts of it if
 * no directory moved: if it is the one that is kept, all is as it was, and the stamp is made
 * anew.
 *
 * The slots are written without a lock. The stamp is a hash of everything else in the slot,
 * so that a slot that is being written by another task is taken for an empty one.
 */
#ifndef EBPFGUARD_CACHE_DIRECTORY_H
#define EBPFGUARD_CACHE_DIRECTORY_H

#include "chain.h"
#include "../superblock.h"

enum { DIRECTORY_BITS = 15 };

/* What is_there returns when it does not tell where a directory is. */
enum there {
	NOT_THERE = 0, /* nothing is kept of it */
	IS_FOR_ANYBODY,
	IS_GONE, /* what is kept is of another place */
};
#define IS_THERE (1ULL << 63)

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1 << DIRECTORY_BITS);
	__type(key, __u32);
	__type(value, struct directory);
} directories SEC(".maps");

static __always_inline struct directory *directory_at(__u64 place)
{
	__u32 slot = place * 0x9fb21c651e98df25 >> (64 - DIRECTORY_BITS);

	return bpf_map_lookup_elem(&directories, &slot);
}

/* content_of hashes what is kept of a directory, but for its chain. */
static __always_inline __u64 content_of(const struct directory *kept)
{
	__u64 hash = add_word(kept->place, kept->path);

	hash = add_word(hash, kept->file);
	hash = add_word(hash, kept->mounts);
	return add_word(hash, (__u64)kept->flags << 32 | kept->components);
}

/* chain_of_directory hashes the chain of a directory with what is kept of it. */
static __always_inline __u64 chain_of_directory(__u64 content, __u64 chain)
{
	return add_word(add_word(content, chain), hash_key[0]) | IS_THERE;
}

/* stamp_of_directory returns what says that a directory was at its place when the counts of
 * renames and mounts were these. */
static __always_inline __u64 stamp_of_directory(__u64 content, __u64 chain, __u64 counts)
{
	return add_word(add_word(add_word(content, chain), counts), hash_key[1]);
}

/* is_for_all reports whether nothing below a directory is refused to anybody, whatever it
 * is called: its states stay as they are, and have no names that policies name. */
static __always_inline bool is_for_all(const struct directory *kept)
{
	return kept->path >> 32 == STATE_ABSORBING && kept->file >> 32 == STATE_ABSORBING &&
	       !(kept->flags & ~(CHAIN_NO_PATH | CHAIN_NOWHERE));
}

/* is_since_mounts reports whether nothing but mounts have been counted since a stamp was made. */
static __always_inline bool is_since_mounts(__u64 stamp, __u64 content, __u64 chain, __u64 former,
					    __u64 counts)
{
	return former >> 32 == counts >> 32 && stamp == stamp_of_directory(content, chain, former);
}

/*
 * is_there reports whether a directory that something is kept of was where it had been when
 * renames and mounts had been counted so, and makes its stamp anew when it has to. Where
 * nothing in it is refused to anybody, it gets its word, if anybody's words are asked for.
 * Otherwise what it returns has the bit IS_THERE and stays the same for as long as the
 * directory is there.
 */
__noinline __u64 is_there(__u64 place, __u64 dentry, __u64 mnt, __u64 counts, __u32 anybody)
{
	volatile struct directory *slot = directory_at(place);
	__u64 content, chain, found, mounts, before, word = 0;
	struct words *all = all_words();
	struct directory kept;

	if (!slot || !all || slot->place != place)
		return NOT_THERE;
	if (is_odd(counts))
		return IS_GONE;
	/* Each is read once: what is checked is what counts. */
	kept.place = place;
	kept.path = slot->path;
	kept.file = slot->file;
	kept.mounts = slot->mounts;
	kept.flags = slot->flags;
	kept.components = slot->components;
	mounts = kept.mounts;
	content = content_of(&kept);
	if (anybody && is_for_all(&kept))
		word = word_for(place, counts, 0);
	barrier_var(word); /* now: the stack has no room to do it later */
	barrier_var(content);
	chain = slot->chain;
	found = slot->stamp;
	if (found != stamp_of_directory(content, chain, counts)) {
		if (!is_since_mounts(found, content, chain, slot->counts, counts))
			mounts = 0;
		barrier_var(mounts);
		before = sequences();
		if (mnt == ANY_MOUNT)
			mnt = any_mount(address_of(all, READ((struct dentry *)dentry, d_sb)));
		if (!mounts || mounts != mounts_of(mnt)) {
			found = chain_of(dentry, mnt);
			if (!found || chain != chain_of_directory(content, found))
				return IS_GONE;
		}
		if (counts_to_keep(all, before) != counts)
			return IS_GONE;
		slot->counts = counts;
		slot->stamp = stamp_of_directory(content, chain, counts);
	}
	if (!word)
		return chain;
	*word_at_hash(all, word) = word;
	return IS_FOR_ANYBODY;
}

/* kept_chain returns what is_there() would for a directory that was looked at when the counts were
 * these; 0 for another. */
__noinline __u64 kept_chain(__u64 place, __u64 counts)
{
	struct directory *slot = directory_at(place), kept;

	if (!slot)
		return 0;
	kept = *slot;
	barrier(); /* what was checked is what counts */
	if (kept.place != place ||
	    kept.stamp != stamp_of_directory(content_of(&kept), kept.chain, counts))
		return 0;
	return kept.chain;
}

/* identify_directory tells a directory by numbers. */
static __always_inline void identify_directory(struct directory_identity *directory,
					       const struct words *all, __u64 dentry, __u64 mnt)
{
	struct dentry_parts above = read_dentry(all, dentry);
	struct inode *inode = (void *)above.inode;

	directory->dentry = dentry - all->at;
	directory->mount = mnt ? mnt - all->at : ANY_MOUNT;
	directory->number = READ(inode, i_ino);
	directory->generation = READ(inode, i_generation);
	directory->name = above.name;
}

/* find_own_directory finds out which directory scratch->object is in; false when nothing is kept of that. */
__noinline int find_own_directory(scratch_arg given, __u32 id)
{
	struct scratch *scratch = scratch_of(given);
	struct words *all = all_words();
	struct directory_identity identity;
	struct dentry *dentry;
	struct mount *mount;

	if (!scratch || !all || !can_keep() || !scratch->object.mnt)
		return false;
	if (!all->at)
		begin_words();
	dentry = (void *)scratch->object.dentry;
	mount = (void *)(scratch->object.mnt - bpf_core_field_offset(struct mount, mnt));
	scratch->now = active_word();
	if (dentry == READ(mount, mnt.mnt_root) || !scratch->now)
		return false;
	scratch->dentry = (__u64)READ(dentry, d_parent);
	barrier(); /* what is loaded is no pointer to the verifier */
	if (!scratch->dentry || scratch->dentry == scratch->object.dentry)
		return false;
	scratch->above_dentry = scratch->dentry;
	identify_directory(&identity, all, scratch->above_dentry, scratch->told_mount);
	scratch->place = place_of_directory(&identity, scratch->now, id);
	return true;
}

/* What enter_directory returns when nothing is kept. */
#define NOT_KEPT (-1)

/* enter_directory prepares a run over the name of scratch->object alone, from what is
 * kept of its directory, which is there. It returns enum chain_flags. */
__noinline int enter_directory(scratch_arg given)
{
	struct scratch *scratch = scratch_of(given);
	struct directory *slot, kept;

	if (!scratch)
		return NOT_KEPT;
	slot = directory_at(scratch->place);
	if (!slot)
		return NOT_KEPT;
	kept = *slot;
	barrier(); /* what was checked is what counts */
	if (kept.stamp != stamp_of_directory(content_of(&kept), kept.chain, scratch->counts) ||
	    kept.place != scratch->place || kept.components >= MAX_COMPONENTS)
		return NOT_KEPT;
	scratch->path = state_of(kept.path);
	scratch->file = state_of(kept.file);
	scratch->directory.path = kept.path;
	scratch->directory.file = kept.file;
	scratch->flags = 0;
	scratch->chain[0] = scratch->object.dentry;
	scratch->count = scratch->left = 1;
	scratch->root = MAX_CHAIN;
	return kept.flags | (is_deleted((void *)scratch->object.dentry) ? CHAIN_DELETED : 0);
}

/* keep_directory keeps what the run over scratch->chain found of the directory, unless
 * anything has changed since find_own_directory(). Otherwise it forgets which directory
 * that was. */
__noinline int keep_directory(scratch_arg given, __u32 flags)
{
	struct scratch *scratch = scratch_of(given);
	struct words *all = all_words();
	struct directory *slot, kept;
	__u64 chain, content;

	if (!scratch)
		return 0;
	kept.place = scratch->place;
	scratch->place = 0;
	slot = directory_at(kept.place);
	if (!kept.place || !slot)
		return 0;
	slot->place = kept.place; /* or learn() would try again and again */
	if (flags & CHAIN_UNKNOWN || scratch->count < 2 || !scratch->components || !all)
		return 0;
	chain = chain_of(scratch->above_dentry, scratch->object.mnt);
	kept.mounts = mounts_of(scratch->object.mnt);
	kept.counts = counts_to_keep(all, scratch->sequences);
	if (!chain || kept.counts == NOT_SETTLED || active_word() != scratch->now)
		return 0;
	kept.path = scratch->directory.path;
	kept.file = scratch->directory.file;
	kept.flags = flags & ~CHAIN_DELETED;
	kept.components = scratch->components - 1;
	content = content_of(&kept);
	kept.chain = chain_of_directory(content, chain);
	kept.stamp = stamp_of_directory(content, kept.chain, kept.counts);
	*slot = kept;
	scratch->place = kept.place;
	return 0;
}

#endif
