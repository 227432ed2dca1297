/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What is kept of directories: the states of both runs below one, so that a file that
 * nobody has used yet is judged by its own name, without a walk to the root.
 *
 * Where a directory lies is told by its chain: a hash of the dentries up to the root,
 * with their names' hashes, inodes and counts of renames, and of the mounts on the way.
 * A rename elsewhere leaves it as it is; a rename of one of them, or another directory
 * in the memory of one, does not. It holds for the same count of mounts.
 *
 * The slots are written without a lock. The check of each hashes everything in it, so
 * that a slot that is being written by another task is taken for an empty one.
 */
#ifndef EBPFGUARD_DIRECTORY_H
#define EBPFGUARD_DIRECTORY_H

#include "run.h"

enum { DIRECTORIES = 4096 };

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, DIRECTORIES);
	__type(key, __u32);
	__type(value, struct directory);
} directories SEC(".maps");

/* Components and mounts that a chain is made of at most; a file further down is walked
 * to each time. */
#define MAX_KEPT_CHAIN 32

/* address_of returns a number that stands for a pointer. */
static __always_inline __u64 address_of(const void *base, const void *pointer)
{
	return bpf_rdonly_cast ? distance(base, pointer) : (__u64)pointer;
}

/* chain_of returns the chain of a directory as it is in a mount, 0 for one that leads
 * nowhere or is too long. */
__noinline __u64 chain_of(__u64 directory, __u64 mnt)
{
	struct mount *mount = (void *)(mnt - bpf_core_field_offset(struct mount, mnt)), *above;
	struct dentry *dentry = (void *)directory, *parent;
	struct inode *inode;
	__u64 hash = hash_key[0];
	__u32 slot = 0;
	/* Any address that is the same for all. */
	const void *base = bpf_map_lookup_elem(&directories, &slot);
	int i;

	if (!base)
		return 0;
	if (bpf_rdonly_cast) {
		mount = CAST(mount);
		dentry = CAST(dentry);
	}
	for (i = 0; i < MAX_KEPT_CHAIN; i++) {
		if (dentry == READ(mount, mnt.mnt_root)) {
			above = READ(mount, mnt_parent);
			hash = mix(hash, address_of(base, mount));
			if (above == mount)
				return hash;
			dentry = READ(mount, mnt_mountpoint);
			mount = above;
			continue;
		}
		parent = READ(dentry, d_parent);
		if (parent == dentry || !parent)
			return 0;
		inode = READ(dentry, d_inode);
		hash = mix(hash, address_of(base, dentry));
		hash = mix(hash, (__u64)READ(dentry, d_name.len) << 32 | READ(dentry, d_name.hash));
		hash = mix(hash, address_of(base, inode));
		hash = mix(hash, READ(inode, i_ino) ^ (__u64)sequence_of(dentry) << 32);
		dentry = parent;
	}
	return 0;
}

static __always_inline __u64 check_of_directory(const struct directory *kept, __u64 chain,
						__u64 number_and_id, __u64 sequences)
{
	__u64 hash = mix(chain, number_and_id);

	hash = mix(hash, sequences & 0xffffffff); /* of mounts */
	hash = mix(hash, kept->path);
	hash = mix(hash, kept->file);
	hash = mix(hash, (__u64)kept->flags << 32 | kept->components);
	return mix(hash, hash_key[1]);
}

static __always_inline struct directory *slot_of(__u64 chain, __u64 number_and_id)
{
	__u32 slot = mix(chain, number_and_id) & (DIRECTORIES - 1);

	return bpf_map_lookup_elem(&directories, &slot);
}

/* chain_above returns the chain of the directory in which the walk's object lies, 0 when
 * it has none. */
static __always_inline __u64 chain_above(struct walk *walk)
{
	__u64 mnt = walk->object.mnt;
	struct mount *mount = (void *)(mnt - bpf_core_field_offset(struct mount, mnt));
	struct dentry *dentry = (void *)walk->object.dentry;

	if (!can_keep() || !mnt || dentry == READ(mount, mnt.mnt_root))
		return 0;
	walk->dentry = (__u64)READ(dentry, d_parent);
	barrier(); /* what is loaded is no pointer to the verifier */
	if (!walk->dentry || walk->dentry == walk->object.dentry)
		return 0;
	return chain_of(walk->dentry, mnt);
}

/* What run_from_directory returns when nothing is kept. */
#define CLASSES_NOT_KEPT (~0ULL)

/* run_from_directory runs over the name of the walk's object alone, from what is kept of
 * its directory, and returns the classes. */
__noinline __u64 run_from_directory(__u64 chain, __u64 number_and_id)
{
	struct directory *slot = slot_of(chain, number_and_id), kept;
	struct walk *walk = current_walk();

	if (!slot || !walk)
		return CLASSES_NOT_KEPT;
	kept = *slot;
	barrier(); /* what was checked is what counts */
	if (kept.check != check_of_directory(&kept, chain, number_and_id, walk->sequences) ||
	    kept.components >= MAX_COMPONENTS)
		return CLASSES_NOT_KEPT;
	if (is_deleted((void *)walk->object.dentry))
		kept.flags |= CHAIN_DELETED;
	walk->path = state_of(kept.path);
	walk->file = state_of(kept.file);
	walk->flags = 0;
	walk->chain[0] = walk->object.dentry;
	walk->count = walk->left = 1;
	walk->root = MAX_CHAIN;
	pass(number_and_id & (OPERATIONS - 1), walk->object.inode);
	return classes_of(walk, kept.flags);
}

/* keep_directory keeps what the run over the walk's chain found of the directory. */
__noinline int keep_directory(__u64 chain, __u64 number_and_id, __u32 flags)
{
	struct directory *slot = slot_of(chain, number_and_id), kept;
	struct walk *walk = current_walk();

	if (!slot || !walk || walk->count < 2 || !walk->components)
		return 0;
	kept.path = walk->directory.path;
	kept.file = walk->directory.file;
	kept.flags = flags & ~CHAIN_DELETED;
	kept.components = walk->components - 1;
	kept.check = check_of_directory(&kept, chain, number_and_id, walk->sequences);
	*slot = kept;
	return 0;
}

#endif
