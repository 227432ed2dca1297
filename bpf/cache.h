/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The classes of a file's names, kept with its inode, so that the path of a
 * file that is opened again is not walked again.
 *
 * What is kept is valid for the same dentry below the same parent with the
 * same name, the same mount, the same generation and as long as nothing has
 * been renamed or mounted anywhere: the kernel's own counts of those
 * (fs/dcache.c, rename_lock; fs/namespace.c, mount_lock) were read before and
 * after the walk. All of that is hashed into the record's check, together with
 * the classes, so that neither a stale record nor one that is being written by
 * another task can be taken for valid.
 */
#ifndef EBPFGUARD_CACHE_H
#define EBPFGUARD_CACHE_H

#include "object.h"

struct record {
	__u64 classes, check;
};

struct {
	__uint(type, BPF_MAP_TYPE_INODE_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, int);
	__type(value, struct record);
} files SEC(".maps");

static __always_inline __u64 mix(__u64 hash, __u64 word)
{
	hash ^= word;
	hash *= 0x9fb21c651e98df25; /* odd: a permutation of 64 bits */
	return hash ^ hash >> 32;
}

/* The beginning of a struct dentry that makes up its place, read at once. */
struct place {
	__u64 next, pprev, parent, name;
};

/* is_known tells whether the fields lie one behind the other on this kernel, as
 * they have for long (include/linux/dcache.h). */
static __always_inline bool is_known(void)
{
	__u32 start = bpf_core_field_offset(struct dentry, d_hash);

	return bpf_core_field_offset(struct dentry, d_parent) == start + 16 &&
	       bpf_core_field_offset(struct dentry, d_name) == start + 24;
}

/* check_of hashes what a record of the walk's object depends on. */
static __always_inline __u64 check_of(const struct walk *walk, __u32 generation, __u64 sequences,
				      __u64 classes)
{
	struct place place = {};
	__u64 hash = hash_key[0];

	bpf_probe_read_kernel(&place, sizeof(place),
			      (void *)walk->object.dentry +
				      bpf_core_field_offset(struct dentry, d_hash));
	hash = mix(hash, walk->object.dentry);
	hash = mix(hash, walk->object.mnt);
	hash = mix(hash, place.pprev);
	hash = mix(hash, place.parent);
	hash = mix(hash, place.name);
	hash = mix(hash, generation);
	hash = mix(hash, sequences);
	hash = mix(hash, classes);
	return mix(hash, hash_key[1]);
}

/* judge_cached judges an open file, which is the walk's object as well, for
 * file_open. */
static __always_inline __u64 judge_cached(struct file *file, struct walk *walk, __u32 flags)
{
	enum operation_id id = OPERATION_FILE_OPEN;
	struct record *record;
	__u64 begun, answer, classes;
	__u64 now;

	/* Without the counts nothing can be kept. */
	if (!rename_lock_at || !mount_lock_at || !is_known())
		return judge_file(id, flags);
	begun = begin_judgement(id);
	if (begun & ROW_ALLOWED)
		return begun >> 32 << 32 | NO_RULE_ALLOW;
	record = bpf_inode_storage_get(&files, file->f_inode, NULL, 0);
	if (record && !is_final(begun)) {
		classes = record->classes;
		now = sequences();
		if (record->check == check_of(walk, begun >> 32, now, classes)) {
			answer = accesses_verdict(id, begun, classes, flags);
			if ((__u32)answer != CHANGED)
				return answer;
		}
	}
	/* A judgement that is over early, because the task turns out to be one
	 * that no rule concerns, leaves what was found for the object before. */
	walk->classes = CLASSES_UNKNOWN;
	answer = judge_file(id, flags);
	if ((__u32)answer == CHANGED || walk->classes & (CLASSES_UNKNOWN | CLASSES_CHANGED))
		return answer;
	record = bpf_inode_storage_get(&files, file->f_inode, NULL, BPF_LOCAL_STORAGE_GET_F_CREATE);
	if (record) { /* without memory the next open walks again */
		record->classes = walk->classes;
		record->check = check_of(walk, walk->generation, walk->sequences, walk->classes);
	}
	return answer;
}

#endif
