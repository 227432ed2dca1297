/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Files that overlayfs opens for files of its own. Policies know such a file by what it is
 * only, wherever it is seen: by its own identity, or by that of a directory above it in its
 * own filesystem. Most are known by nothing, and for these there is a word (words.h).
 *
 * It has in it the file with its dentry, and the directory that this is in. Mounts have no
 * part in it. Directories further up are in the count of moved ones (moves.h).
 */
#ifndef EBPFGUARD_CACHE_BELOW_H
#define EBPFGUARD_CACHE_BELOW_H

#include "directory.h"

/* The list of an inode's names is no longer in a union of that name on 7.x. */
struct dentry___since_7 {
	struct hlist_node d_alias;
} __attribute__((preserve_access_index));

/* alias_of returns the dentry that an inode has in its own filesystem, as a number; 0 for none. */
static __always_inline __u64 alias_of(struct inode *inode)
{
	__u64 alias = (__u64)BPF_CORE_READ(inode, i_dentry.first);
	struct dentry___since_7 *newer = NULL;

	if (!alias)
		return 0;
	return alias - (bpf_core_field_exists(newer->d_alias)
				? bpf_core_field_offset(struct dentry___since_7, d_alias)
				: bpf_core_field_offset(struct dentry, d_u.d_alias));
}

/* place_below hashes where the file of a dentry lies in its own filesystem, for what is active; 0
 * where that is unknown. The filesystem is how far its superblock is from the words. */
__noinline __u64 place_below(__u64 now, __u64 dentry, __u64 filesystem, __u64 number,
			     __u32 generation)
{
	struct words *all = all_words();
	struct directory_identity identity;
	struct dentry_parts itself;

	if (!all || !all->at || !can_keep() || !now || !dentry)
		return 0;
	itself = read_dentry(all, dentry);
	if (!itself.parent || itself.parent == dentry)
		return 0;
	identify_directory(&identity, all, itself.parent, NO_MOUNT);
	/* Each filesystem counts its files. */
	return place_of_file(add_word(place_of_directory(&identity, now, 0), filesystem),
			     dentry - all->at, itself.name, itself.renamed, number, generation);
}

/* word_below returns the word of a file at a place, which says that the rules of an operation have no
 * name for it. */
static __always_inline __u64 word_below(__u64 place, __u64 counts, __u32 id)
{
	return word_for(place, counts >> 32, id + 1);
}

/* is_nameless reports whether it is known that an operation's rules have no name for the file at
 * a place. */
static __always_inline bool is_nameless(struct words *all, __u64 place, __u32 id)
{
	__u64 counts = counts_now(all);

	return place && !(counts >> 32 & 1) && has_word(all, word_below(place, counts, id));
}

/* may_have_name reports whether rules of an operation concern the file, as far as is known. */
static __always_inline bool may_have_name(struct words *all, __u64 now, __u64 place, __u32 id)
{
	if (now && !(now >> id & 1))
		return false; /* there are none */
	return !is_nameless(all, place, id);
}

/* keep_nameless makes that word for what was active, if nothing was renamed since the kernel's counts
 * were `before`. */
__noinline int keep_nameless(__u32 id, __u64 now, __u64 inode, __u64 dentry, __u64 before)
{
	struct words *all = all_words();
	struct inode *file = (void *)inode;
	__u64 place, counts, word;

	if (!all)
		return 0;
	place = place_below(now, dentry, far(all, READ(file, i_sb)), READ(file, i_ino),
			    READ(file, i_generation));
	if (!place || named_file(id, inode) != NO_STATE)
		return 0;
	counts = counts_to_keep(all, before);
	if (counts == NOT_SETTLED || active_word() != now)
		return 0;
	word = word_below(place, counts, id);
	*word_at_hash(all, word) = word;
	return 0;
}

#endif
