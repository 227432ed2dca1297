/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * What is kept of directories: the states of both runs below one, so that a file that
 * was never used before is judged by its own name, without a walk to the root.
 *
 * Where a directory lies is told by its chain: a hash of the dentries up to the root,
 * with their names' hashes, inodes and counts of renames, and of the mounts on the way.
 * A rename elsewhere leaves it as it is; a rename of one of them, or another directory
 * in the memory of one, does not. It holds for the same count of mounts.
 *
 * The slots are written without a lock. The check of each hashes everything in it, so
 * that a slot that is being written by another task is taken for an empty one.
 */
#ifndef EBPFGUARD_CACHE_DIRECTORY_H
#define EBPFGUARD_CACHE_DIRECTORY_H

#include "../run.h"

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
	return SINCE_6_2 ? distance(base, pointer) : (__u64)pointer;
}

/* Components and mounts that are hashed at once, as in collect_next(). */
#define HASHED_AT_ONCE 8

/* What chain_next returns. */
enum hashed { HASHED_MORE = 0, HASHED_ALL, HASHED_ASTRAY };

/* chain_next hashes some components and mounts on the way up, from scratch->dentry and
 * scratch->mount into scratch->above_chain. */
__noinline int chain_next(void)
{
	struct scratch *scratch = current_scratch();
	struct mount *mount, *above;
	struct dentry *dentry, *parent;
	struct inode *inode;
	__u32 slot = 0;
	/* Any address that is the same for all. */
	const void *base = bpf_map_lookup_elem(&directories, &slot);
	__u64 hash;
	int i;

	if (!scratch || !base)
		return HASHED_ASTRAY;
	mount = (void *)scratch->mount;
	dentry = (void *)scratch->dentry;
	hash = scratch->above_chain;
	if (SINCE_6_2) {
		mount = CAST(mount);
		dentry = CAST(dentry);
	}
	for (i = 0; i < HASHED_AT_ONCE; i++) {
		if (dentry == READ(mount, mnt.mnt_root)) {
			above = READ(mount, mnt_parent);
			hash = mix(hash, address_of(base, mount));
			/* Itself, unless it got a place in its filesystem meanwhile. */
			hash = mix(hash, address_of(base, READ(dentry, d_parent)));
			if (above == mount) {
				scratch->above_chain = hash;
				return HASHED_ALL;
			}
			dentry = READ(mount, mnt_mountpoint);
			mount = above;
			continue;
		}
		parent = READ(dentry, d_parent);
		if (parent == dentry || !parent)
			return HASHED_ASTRAY;
		inode = READ(dentry, d_inode);
		hash = mix(hash, address_of(base, dentry));
		hash = mix(hash, (__u64)READ(dentry, d_name.len) << 32 | READ(dentry, d_name.hash));
		hash = mix(hash, address_of(base, inode));
		hash = mix(hash, READ(inode, i_ino) ^ (__u64)sequence_of(dentry) << 32);
		dentry = parent;
	}
	scratch->mount = (__u64)mount;
	scratch->dentry = (__u64)dentry;
	scratch->above_chain = hash;
	return HASHED_MORE;
}

/* find_chain makes scratch->above_chain the chain of the directory scratch->dentry as it
 * is in the mount of the object, 0 for one that leads nowhere or is too long. */
static __always_inline void find_chain(struct scratch *scratch, struct mount *mount)
{
	int hashed = HASHED_MORE, i;

	scratch->mount = (__u64)mount;
	scratch->above_chain = hash_key[0];
	for (i = 0; i < MAX_KEPT_CHAIN / HASHED_AT_ONCE && hashed == HASHED_MORE; i++)
		hashed = chain_next();
	if (hashed != HASHED_ALL)
		scratch->above_chain = 0;
}

static __always_inline __u64 check_of_directory(struct scratch *scratch,
						const struct directory *kept, __u32 id)
{
	__u64 hash = mix(scratch->above_chain, (__u64)scratch->number << 32 | id);

	hash = mix(hash, scratch->sequences & 0xffffffff); /* of mounts */
	hash = mix(hash, kept->path);
	hash = mix(hash, kept->file);
	hash = mix(hash, (__u64)kept->flags << 32 | kept->components);
	return mix(hash, hash_key[1]);
}

static __always_inline struct directory *slot_of(struct scratch *scratch, __u32 id)
{
	__u32 slot =
		mix(scratch->above_chain, (__u64)scratch->number << 32 | id) & (DIRECTORIES - 1);

	return bpf_map_lookup_elem(&directories, &slot);
}

static __always_inline __u32 active_number(void)
{
	void *tables = tables_in(SLOT_ACTIVE);
	const struct revision *revision = tables ? revision_of(tables) : NULL;

	return revision ? revision->number : 0;
}

/* What enter_directory returns when nothing is kept. */
#define NOT_KEPT (-1)

/* enter_directory prepares a run over the name of scratch->object alone, from what is
 * kept of its directory. It returns enum chain_flags. */
__noinline int enter_directory(__u32 id)
{
	struct scratch *scratch = current_scratch();
	struct directory *slot, kept;
	struct dentry *dentry;
	struct mount *mount;

	if (!scratch || !can_keep() || !scratch->object.mnt)
		return NOT_KEPT;
	dentry = (void *)scratch->object.dentry;
	mount = (void *)(scratch->object.mnt - bpf_core_field_offset(struct mount, mnt));
	if (dentry == READ(mount, mnt.mnt_root))
		return NOT_KEPT;
	scratch->dentry = (__u64)READ(dentry, d_parent);
	barrier(); /* what is loaded is no pointer to the verifier */
	if (!scratch->dentry || scratch->dentry == scratch->object.dentry)
		return NOT_KEPT;
	scratch->number = active_number();
	find_chain(scratch, mount);
	slot = slot_of(scratch, id);
	if (!scratch->above_chain || !slot)
		return NOT_KEPT;
	kept = *slot;
	barrier(); /* what was checked is what counts */
	if (kept.check != check_of_directory(scratch, &kept, id) ||
	    kept.components >= MAX_COMPONENTS)
		return NOT_KEPT;
	scratch->path = state_of(kept.path);
	scratch->file = state_of(kept.file);
	scratch->flags = 0;
	scratch->chain[0] = scratch->object.dentry;
	scratch->count = scratch->left = 1;
	scratch->root = MAX_CHAIN;
	return kept.flags | (is_deleted(dentry) ? CHAIN_DELETED : 0);
}

/* keep_directory keeps what the run over scratch->chain found of the directory, unless
 * anything has changed since enter_directory(). Of a mount that shows a part of its
 * filesystem it keeps nothing: what lies above that part counts, and is in no chain. */
__noinline int keep_directory(__u32 id, __u32 flags)
{
	struct scratch *scratch = current_scratch();
	struct directory *slot, kept;

	if (!scratch || !scratch->above_chain || scratch->above_count || scratch->count < 2 ||
	    !scratch->components || is_odd(scratch->sequences) ||
	    sequences() != scratch->sequences || active_number() != scratch->number)
		return 0;
	slot = slot_of(scratch, id);
	if (!slot)
		return 0;
	kept.path = scratch->directory.path;
	kept.file = scratch->directory.file;
	kept.flags = flags & ~CHAIN_DELETED;
	kept.components = scratch->components - 1;
	kept.check = check_of_directory(scratch, &kept, id);
	*slot = kept;
	return 0;
}

#endif
