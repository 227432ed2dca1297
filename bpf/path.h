/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Where a file lies: from its dentry up to the root of the mount namespace,
 * crossing mounts, as d_path() does (fs/d_path.c, prepend_path). The walk
 * collects the dentries into the task's chain; run.h and text.h then pass them
 * from the root down.
 *
 * Functions are global (not static) so that the verifier checks each of them
 * once instead of at every turn of the loop that calls it; 5.10 lets them take
 * nothing but numbers, so kernel pointers travel as numbers and are read with
 * bpf_probe_read_kernel().
 */
#ifndef EBPFGUARD_PATH_H
#define EBPFGUARD_PATH_H

#include "tables.h"

/* What is known of a chain. */
enum chain_flags {
	/* No memory, more than MAX_WALK components, or a dentry that is connected to
	 * nothing (opened by handle): it is unknown where the file lies. */
	CHAIN_UNKNOWN = 1 << 0,
	/* There is no such path for others: the mount is detached, internal to
	 * the kernel (memfd, overlayfs's own), or in the mount namespace of an
	 * unprivileged user namespace, where its owner may mount any file at any
	 * path. The file is known by its identity alone. */
	CHAIN_NO_PATH = 1 << 1,
	/* The file is deleted. */
	CHAIN_DELETED = 1 << 2,
	/* The mount is internal to the kernel or detached. */
	CHAIN_NOWHERE = 1 << 3,
	/* ... and no filesystem of the system holds the file. */
	CHAIN_FILELESS = 1 << 4,
	/* ... since the kernel keeps it to itself: a pipe, memory, a socket. */
	CHAIN_INTERNAL = 1 << 5,
	/* More than MAX_COMPONENTS: there is no chain, but scratch->deep. */
	CHAIN_DEEP = 1 << 6,
};

/* In a chain: the root of a mount, which has no name. */
#define CHAIN_ROOT 1ULL

static __always_inline bool is_unhashed(struct dentry *dentry)
{
	return !READ(dentry, d_hash.pprev);
}

static __always_inline bool is_deleted(struct dentry *dentry)
{
	return is_unhashed(dentry) && READ(dentry, d_parent) != dentry && READ(dentry, d_inode);
}

/* The mark of an anonymous namespace: seq is 0, since 6.18 its number, and 7.x
 * has a field for it (fs/mount.h, is_anon_ns). */
struct ns_common___since_6_18 {
	__u64 ns_id;
} __attribute__((preserve_access_index));
struct mnt_namespace___since_7 {
	bool is_anon;
} __attribute__((preserve_access_index));

/* is_anonymous reports whether a mount is not part of a tree yet (fsmount,
 * open_tree). */
static __always_inline bool is_anonymous(struct mnt_namespace *ns)
{
	struct mnt_namespace___since_7 *newest = (void *)ns;
	struct ns_common___since_6_18 *newer = (void *)&ns->ns;

	if (bpf_core_field_exists(newest->is_anon))
		return READ(newest, is_anon);
	if (bpf_core_field_exists(ns->seq))
		return !READ(ns, seq);
	if (bpf_core_field_exists(newer->ns_id))
		return !READ(newer, ns_id);
	return false;
}

/* place_of returns CHAIN_NO_PATH and CHAIN_NOWHERE as they apply to the topmost
 * mount of a path. */
static __always_inline int place_of(struct mount *mount)
{
	struct mnt_namespace *ns = READ(mount, mnt_ns);
	struct user_namespace *owner = NULL;
	int level = 1;

	/* NULL for a detached mount, an error pointer for an internal one: of the
	 * kernel's own filesystem (memfd), or overlayfs's view of another. */
	if (!ns)
		return CHAIN_NO_PATH | CHAIN_NOWHERE | CHAIN_FILELESS;
	if ((__u64)ns >= (__u64)-MAX_ERRNO)
		return CHAIN_NO_PATH | CHAIN_NOWHERE |
		       (BPF_CORE_READ(mount, mnt.mnt_sb, s_flags) & SB_KERNMOUNT
				? CHAIN_FILELESS | CHAIN_INTERNAL
				: 0);
	if (is_anonymous(ns))
		return CHAIN_NO_PATH | CHAIN_NOWHERE | CHAIN_FILELESS;
	if (BPF_CORE_READ_INTO(&owner, ns, user_ns) || !owner)
		return CHAIN_NO_PATH;
	/* Only the initial user namespace is at level 0. */
	if (BPF_CORE_READ_INTO(&level, owner, level))
		return CHAIN_NO_PATH;
	return level ? CHAIN_NO_PATH : 0;
}

/* The chain's entries, by an index that the verifier can follow. Indices are
 * below MAX_CHAIN, and MAX_COMPONENTS above, whatever it believes. */
static __always_inline __u64 link_at(struct scratch *scratch, __u64 index)
{
	barrier_var(index);
	return index < MAX_CHAIN ? scratch->chain[index] : 0;
}

static __always_inline void add_link(struct scratch *scratch, __u64 index, __u64 link)
{
	barrier_var(index);
	if (index < MAX_CHAIN)
		scratch->chain[index] = link;
}

static __always_inline __u64 above_at(struct scratch *scratch, __u64 index)
{
	barrier_var(index);
	return index < MAX_COMPONENTS ? scratch->above[index] : 0;
}

static __always_inline void add_above(struct scratch *scratch, __u64 index, __u64 link)
{
	barrier_var(index);
	if (index < MAX_COMPONENTS)
		scratch->above[index] = link;
}

/* Dentries above a mount that are collected at once. */
#define ABOVE_AT_ONCE 8

/* above_next collects some of the dentries above one, and returns the next; 0 when that was
 * the last, or there is no room for more. */
__noinline __u64 above_next(scratch_arg given, __u64 number)
{
	struct scratch *scratch = scratch_of(given);
	struct dentry *dentry = (void *)number;
	int i;

	if (!scratch)
		return 0;
	for (i = 0; i < ABOVE_AT_ONCE; i++) {
		struct dentry *parent = BPF_CORE_READ(dentry, d_parent);
		__u32 count = scratch->above_count;

		if (count >= MAX_COMPONENTS)
			return 0;
		if (parent == dentry || !parent) {
			if (!count)
				return 0; /* nothing is above */
			add_above(scratch, count, (__u64)dentry | CHAIN_ROOT);
			scratch->above_count = count + 1;
			return 0;
		}
		/* The name of each is passed before the next below it. */
		add_above(scratch, count, (__u64)dentry);
		scratch->above_count = count + 1;
		dentry = parent;
	}
	return (__u64)dentry;
}

/* collect_above collects the dentries above the root of a mount that shows but
 * a part of its filesystem, for what they are, not for their names; false when
 * there are more than there is room for. */
static __always_inline int collect_above(struct scratch *scratch, __u64 dentry)
{
	int i;

	scratch->above_count = 0;
	for (i = 0; i <= MAX_COMPONENTS / ABOVE_AT_ONCE && dentry; i++)
		dentry = above_next(hand(scratch), dentry);
	return !scratch->above_count || above_at(scratch, scratch->above_count - 1) & CHAIN_ROOT;
}

/* What collect_next returns. */
enum collected { COLLECTED_MORE = 0, COLLECTED_ALL, COLLECTED_ASTRAY, COLLECTED_TOO_MANY };

/* filtered reports whether policies may know a file with an inode number. */
static __always_inline bool filtered(__u64 number)
{
	void *tables = tables_in(SLOT_ACTIVE);
	const struct revision *revision;
	__u64 word;

	if (!tables)
		return false;
	revision = revision_of(tables);
	if (!revision || !revision->filter_bits)
		return false;
	number &= revision->filter_bits - 1;
	word = word_at(tables, revision->filter + number / 32);
	return word >> number % 32 & 1;
}

/* is_in_filter is filtered(), checked once by the verifier. */
__noinline int is_in_filter(__u64 number)
{
	return filtered(number);
}

/* drop makes room in a full chain: the lowest dentry goes, unless policies may know it.
 * Some call chains have no room for a function more. */
static __always_inline void drop(struct scratch *scratch, __u32 index)
{
	struct dentry *dentry;
	struct inode *inode;
	__u32 suspects;

	dentry = (void *)(link_at(scratch, index) & ~CHAIN_ROOT);
	scratch->inode = (__u64)READ(dentry, d_inode);
	barrier(); /* what is loaded is no pointer to the verifier */
	inode = (void *)scratch->inode;
	if (!inode || !filtered(READ(inode, i_ino)))
		return;
	suspects = scratch->suspects;
	scratch->suspects = suspects + 1;
	barrier_var(suspects);
	if (suspects < MAX_SUSPECTS)
		scratch->suspect[suspects] = scratch->inode;
}

static __always_inline int collect_one(struct scratch *scratch)
{
	struct dentry *dentry = (void *)scratch->dentry, *parent;
	struct mount *mount = (void *)scratch->mount, *above;
	__u32 passed = scratch->count, count = passed % MAX_CHAIN;

	if (passed >= MAX_WALK)
		return COLLECTED_TOO_MANY;
	if (passed >= MAX_CHAIN)
		drop(scratch, count);
	scratch->count = passed + 1;
	if (dentry == READ(mount, mnt.mnt_root)) {
		above = READ(mount, mnt_parent);
		if (scratch->root == MAX_WALK) {
			scratch->root = passed;
			scratch->root_dentry = (__u64)dentry;
		}
		add_link(scratch, count, (__u64)dentry | CHAIN_ROOT);
		if (above == mount)
			return COLLECTED_ALL;
		scratch->dentry = (__u64)READ(mount, mnt_mountpoint);
		scratch->mount = (__u64)above;
		return COLLECTED_MORE;
	}
	parent = READ(dentry, d_parent);
	if (parent == dentry || !parent) {
		/* Moved out of a bind mount, or connected to nothing. */
		add_link(scratch, count, (__u64)dentry | CHAIN_ROOT);
		return COLLECTED_ASTRAY;
	}
	scratch->components++;
	add_link(scratch, count, (__u64)dentry);
	scratch->dentry = (__u64)parent;
	return COLLECTED_MORE;
}

/* Components and mounts that are collected at once. */
#define COLLECTED_AT_ONCE 8

/* collect_next passes some components and mounts on the way up. */
__noinline int collect_next(scratch_arg given)
{
	struct scratch *scratch = scratch_of(given);
	int collected, i;

	if (!scratch)
		return COLLECTED_TOO_MANY;
	for (i = 0; i < COLLECTED_AT_ONCE; i++) {
		/* What was stored is a number when it is loaded again. */
		barrier();
		collected = collect_one(scratch);
		if (collected != COLLECTED_MORE)
			return collected;
	}
	return COLLECTED_MORE;
}

/* How often collect_more goes on. */
#define COLLECTED_IN_TURN 16
_Static_assert(MAX_WALK % (COLLECTED_AT_ONCE * COLLECTED_IN_TURN) == 0, "all that is allowed");

/* collect_more passes many: a loop within a loop costs the verifier less than a long one. */
__noinline int collect_more(scratch_arg given)
{
	int collected = COLLECTED_MORE, i;

	for (i = 0; i < COLLECTED_IN_TURN && collected == COLLECTED_MORE; i++)
		collected = collect_next(given);
	return collected;
}

/* collect finds the dentries of a path and puts them into the current task's
 * chain, the file itself first. It returns enum chain_flags. */
__noinline int collect(scratch_arg given, __u64 mnt, __u64 file)
{
	struct scratch *scratch = scratch_of(given);
	struct dentry *dentry = (void *)file;
	int flags = 0, collected = COLLECTED_MORE, i;

	if (!scratch)
		return CHAIN_UNKNOWN;
	scratch->count = scratch->components = scratch->deep = scratch->suspects = 0;
	scratch->root = MAX_WALK;
	scratch->above_count = 0;
	if (!dentry || !mnt)
		return CHAIN_UNKNOWN;
	scratch->dentry = file;
	scratch->mount = mnt - bpf_core_field_offset(struct mount, mnt);
	if (is_deleted(dentry))
		flags = CHAIN_DELETED;
	for (i = 0; i <= MAX_WALK / (COLLECTED_AT_ONCE * COLLECTED_IN_TURN); i++) {
		collected = collect_more(hand(scratch));
		if (collected != COLLECTED_MORE)
			break;
	}
	if (collected != COLLECTED_ALL && collected != COLLECTED_ASTRAY) {
		scratch->count = 0; /* the end of a path is no path */
		return CHAIN_UNKNOWN;
	}
	flags |= place_of((void *)scratch->mount);
	if (collected == COLLECTED_ASTRAY) {
		dentry = (void *)scratch->dentry;
		flags |= CHAIN_NO_PATH;
		if (dentry != READ(dentry, d_sb, s_root) && !(flags & CHAIN_NOWHERE))
			flags |= CHAIN_UNKNOWN;
	}
	if (scratch->root < MAX_WALK && !collect_above(scratch, scratch->root_dentry))
		flags |= CHAIN_UNKNOWN;
	if (scratch->components > MAX_COMPONENTS || scratch->count > MAX_CHAIN) {
		scratch->deep = scratch->count;
		scratch->count = 0;
		flags |= CHAIN_DEEP;
	}
	return flags;
}

#endif
