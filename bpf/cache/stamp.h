/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Where an open file lies, as one number: it is the same for the same dentry below
 * the same parent with the same name and the same mount, as long as neither it nor
 * any directory has been renamed and nothing mounted anywhere. What was found out about a
 * file's place can be kept together with its stamp, and holds while the stamp is the
 * same. The kernel counts renames and mounts itself (fs/dcache.c, rename_lock;
 * fs/namespace.c, mount_lock); a walk has to read the counts before and after.
 */
#ifndef EBPFGUARD_CACHE_STAMP_H
#define EBPFGUARD_CACHE_STAMP_H

#include "../read.h"

/* count_at reads the count of changes with which a kernel's seqlock_t begins. */
static __always_inline __u32 count_at(__u64 lock)
{
	__u32 count = 0;

	if (!lock)
		return 0;
	if (SINCE_6_2)
		return CAST((struct seqcount *)lock)->sequence;
	/* Not every kernel that lacks the cast has a type of this name. */
	bpf_probe_read_kernel(&count, sizeof(count), (void *)lock);
	return count;
}

/* sequence_of returns how often a dentry has been renamed; odd while it is. */
static __always_inline __u32 sequence_of(struct dentry *dentry)
{
	return count_at((__u64)dentry + bpf_core_field_offset(struct dentry, d_seq));
}

/* sequences returns the counts of renames and mounts; an odd count says that
 * one is going on. 0 where the loader could not find them. */
static __always_inline __u64 sequences(void)
{
	return (__u64)count_at(rename_lock_at) << 32 | count_at(mount_lock_at);
}

static __always_inline bool is_odd(__u64 sequences)
{
	return sequences & (1ULL << 32 | 1);
}

/* can_keep reports whether the counts of renames and mounts are known. */
static __always_inline bool can_keep(void)
{
	return rename_lock_at && mount_lock_at;
}

static __always_inline __u64 mix(__u64 hash, __u64 word)
{
	hash ^= word;
	hash *= 0x9fb21c651e98df25; /* odd: a permutation of 64 bits */
	return hash ^ hash >> 32;
}

/* stamp_of returns the stamp of an open file. Pointers count as distances from where
 * the stamp is kept, which stays where it is. */
static __always_inline __u64 stamp_of(const void *kept, struct file *file, __u64 counts)
{
	struct dentry *dentry = file->f_path.dentry;
	__u64 parent = distance(kept, dentry->d_parent);
	__u64 hash = hash_key[0];

	if (!dentry->d_hash.pprev)
		parent |= 1; /* the name is no longer there */
	hash = mix(hash, distance(kept, dentry));
	hash = mix(hash, distance(kept, file->f_path.mnt));
	hash = mix(hash, parent);
	/* Hash, salted with the parent's address, and length of the name: another
	 * name of the same file may get the memory of a dentry that was dropped. */
	hash = mix(hash, (__u64)dentry->d_name.len << 32 | dentry->d_name.hash);
	hash = mix(hash, sequence_of(dentry));
	return mix(hash, counts);
}

#endif
