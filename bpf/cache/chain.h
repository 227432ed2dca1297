/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * The chain of a directory: a hash of all that lies above it. While the counts of renames
 * and mounts stand still, no chain changes. When they have moved, somewhere, chains tell
 * whether it was here.
 *
 * In a chain are the dentries up to the root, with their names' hashes, counts of renames
 * and inodes; the mounts on the way; at the top the mount namespace, with its number, since
 * memory is used again; and what lies above the root of the directory's own mount, where
 * that shows a part of its filesystem.
 */
#ifndef EBPFGUARD_CACHE_CHAIN_H
#define EBPFGUARD_CACHE_CHAIN_H

#include "moves.h"

/* Mounts that a chain is made of at most, and components in each; files further down are walked
 * to each time. */
#define MAX_KEPT_MOUNTS 8
#define MAX_KEPT_CHAIN 64

/* address_of returns the address that a pointer has as a number. */
static __always_inline __u64 address_of(const struct words *all, const void *pointer)
{
	return far(all, pointer) + all->at;
}

/* What tells which dentry it is. */
struct dentry_parts {
	__u64 parent, inode; /* addresses */
	__u32 name;	     /* a hash, salted with the parent's address */
	__u32 renamed;	     /* how often; odd while it is */
};

/* Bytes with which struct dentry begins. */
#define DENTRY_PARTS 64

/* HAS_PART reports whether a field, or at least 8 bytes of it, is among these. */
#define HAS_PART(field) (bpf_core_field_offset(struct dentry, field) <= DENTRY_PARTS - 8)

/* PART is a field of a copy of these. */
#define PART(copy, type, field)     \
	(*(type *)((void *)(copy) + \
		   (bpf_core_field_offset(struct dentry, field) & (DENTRY_PARTS - 1))))

/* read_dentry reads what tells which dentry it is. Before 6.2 each read is a call, so there it is one
 * of all, unless the kernel's spinlocks are made for debugging, and long. */
static __always_inline struct dentry_parts read_dentry(const struct words *all, __u64 address)
{
	struct dentry *dentry = (void *)address;
	struct dentry_parts parts;
	__u64 copy[DENTRY_PARTS / 8];

	if (SINCE_6_2 || !HAS_PART(d_parent) || !HAS_PART(d_inode) || !HAS_PART(d_name) ||
	    !HAS_PART(d_seq)) {
		parts.parent = address_of(all, READ(dentry, d_parent));
		parts.inode = address_of(all, READ(dentry, d_inode));
		parts.name = READ(dentry, d_name.hash);
		parts.renamed = sequence_of(dentry);
		return parts;
	}
	if (bpf_probe_read_kernel(copy, sizeof(copy), dentry))
		return (struct dentry_parts){};
	parts.parent = PART(copy, __u64, d_parent);
	parts.inode = PART(copy, __u64, d_inode);
	parts.name = PART(copy, __u32, d_name.hash);
	parts.renamed = PART(copy, __u32, d_seq);
	return parts;
}

static __always_inline __u64 dentry_above(const struct words *all, __u64 dentry)
{
	return address_of(all, READ((struct dentry *)dentry, d_parent));
}

/* add_parts hashes a dentry and its inode. */
static __always_inline __u64 add_parts(__u64 hash, __u64 dentry, const struct dentry_parts *parts)
{
	struct inode *inode = (void *)parts->inode;

	hash = mix(hash, dentry);
	hash = mix(hash, (__u64)parts->name << 32 | parts->renamed);
	return mix(hash, READ(inode, i_ino));
}

/* add_dentry reads them first: a function of its own, which the verifier checks once. */
__noinline __u64 add_dentry(__u64 hash, __u64 dentry)
{
	struct words *all = all_words();
	struct dentry_parts parts;

	if (!all)
		return 0;
	parts = read_dentry(all, dentry);
	return add_parts(hash, dentry, &parts);
}

/* No dentry: up to the root of the filesystem. */
#define NO_ROOT 0

/* add_dentries hashes the dentries from one up to the root of a mount, without that; 0 where they
 * lead elsewhere, or are more than there is room for. A function of its own: the verifier follows
 * each turn of a loop, and those of a loop within a loop for each turn of that. */
__noinline __u64 add_dentries(__u64 hash, __u64 dentry, __u64 root)
{
	struct words *all = all_words();
	__u64 parent;
	int i;

	if (!all)
		return 0;
	for (i = 0; i < MAX_KEPT_CHAIN && dentry != root; i++) {
		struct dentry_parts parts = {};

		if (SINCE_6_2) {
			parent = dentry_above(all, dentry);
		} else { /* no stack for one more function, and each read is a call */
			parts = read_dentry(all, dentry);
			parent = parts.parent;
		}
		if (parent == dentry || !parent)
			return root == NO_ROOT ? hash | 1 : 0;
		hash = SINCE_6_2 ? add_dentry(hash, dentry) : add_parts(hash, dentry, &parts);
		dentry = parent;
	}
	return dentry == root ? hash | 1 : 0;
}

/* namespace_number returns what tells a mount namespace from one that had its memory. */
static __always_inline __u64 namespace_number(struct mnt_namespace *ns)
{
	struct ns_common___since_6_18 *newer = (void *)&ns->ns;

	if (bpf_core_field_exists(ns->seq))
		return READ(ns, seq);
	if (bpf_core_field_exists(newer->ns_id))
		return READ(newer, ns_id);
	return 0;
}

/* hash_top hashes the mount namespace of the topmost mount. */
__noinline __u64 hash_top(__u64 hash, __u64 mount)
{
	struct words *all = all_words();
	struct mnt_namespace *ns = READ((struct mount *)mount, mnt_ns);
	__u64 address;

	if (!all)
		return 0;
	address = address_of(all, ns);
	hash = mix(hash, address);
	if (address - 1 < (__u64)-MAX_ERRNO - 1)
		hash = mix(hash, namespace_number(ns));
	return hash | 1;
}

/* mounts_of hashes a mount and those above it, and where each is mounted: what of a chain changes
 * while no directory moves. 0 for more than there is room for. */
__noinline __u64 mounts_of(__u64 mnt)
{
	__u64 mount = mnt - bpf_core_field_offset(struct mount, mnt), above;
	struct words *all = all_words();
	__u64 hash = hash_key[1];
	int i;

	if (!all)
		return 0;
	for (i = 0; i < MAX_KEPT_MOUNTS; i++) {
		struct mount *itself = (void *)mount;

		hash = mix(hash, mount);
		hash = mix(hash, address_of(all, READ(itself, mnt.mnt_root)));
		above = address_of(all, READ(itself, mnt_parent));
		if (above == mount)
			return hash_top(hash, mount);
		hash = mix(hash, address_of(all, READ(itself, mnt_mountpoint)));
		mount = above;
	}
	return 0;
}

/* chain_of returns the chain of a directory as it is in a mount; 0 for one that leads
 * nowhere or is too long. All addresses are numbers, which the verifier need not tell apart. */
__noinline __u64 chain_of(__u64 dentry, __u64 mnt)
{
	__u64 mount = mnt - bpf_core_field_offset(struct mount, mnt), above, root;
	struct words *all = all_words();
	__u64 hash = hash_key[0], upper;
	int i;

	if (!all)
		return 0;
	root = address_of(all, READ((struct mount *)mount, mnt.mnt_root));
	if (dentry_above(all, root) != root) {
		upper = add_dentries(hash_key[0], root, NO_ROOT);
		if (!upper)
			return 0;
		hash = mix(hash, upper);
	}
	for (i = 0; i < MAX_KEPT_MOUNTS; i++) {
		hash = add_dentries(hash, dentry, root);
		if (!hash)
			return 0;
		above = address_of(all, READ((struct mount *)mount, mnt_parent));
		hash = mix(mix(hash, mount), root);
		if (above == mount)
			return hash_top(hash, mount);
		dentry = address_of(all, READ((struct mount *)mount, mnt_mountpoint));
		mount = above;
		root = address_of(all, READ((struct mount *)mount, mnt.mnt_root));
	}
	return 0;
}

#endif
