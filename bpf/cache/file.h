/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * What is kept with an inode, so that a file that is used again is judged without
 * walking its path: the classes of its names, and the verdicts on it for the last
 * row of subjects that asked.
 *
 * A record is valid for the same revision and while the file has the same stamp
 * (stamp.h). Both are hashed into the record's check, together with what is kept, so
 * that neither a stale record nor one that is being written by another task can
 * be taken for valid.
 */
#ifndef EBPFGUARD_CACHE_FILE_H
#define EBPFGUARD_CACHE_FILE_H

#include "known.h"

struct {
	__uint(type, BPF_MAP_TYPE_INODE_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, int);
	__type(value, struct record);
} files SEC(".maps");

/* The same for bprm_check_security. */
struct {
	__uint(type, BPF_MAP_TYPE_INODE_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, int);
	__type(value, struct record);
} programs SEC(".maps");

/* check_of hashes what is kept for an open file, and what that depends on. */
static __always_inline __u64 check_of(const struct record *kept, const struct record *record,
				      struct file *file, __u64 sequences)
{
	__u64 hash = stamp_of(record, file, sequences);

	hash = mix(hash, kept->classes);
	hash = mix(hash, kept->key);
	hash = mix(hash, (__u64)kept->verdicts[1] << 32 | kept->verdicts[0]);
	hash = mix(hash, (__u64)kept->number << 32 | kept->verdicts[2]);
	return mix(hash, hash_key[1]);
}

/* kept_answer returns the verdict on uses of an open file by what is kept with its inode;
 * RETRY when that does not tell. */
static __always_inline __u64 kept_answer(void *map, enum operation_id id, struct file *file,
					 __u32 uses)
{
	struct subject *subject;
	__u64 begun = begin_by(id, &subject);
	struct record *record, kept;

	if (is_final(begun) || !can_keep() || !subject)
		return RETRY;
	record = bpf_inode_storage_get(map, file->f_inode, NULL, 0);
	if (!record)
		return RETRY;
	kept = *record;
	barrier(); /* what was checked is what counts */
	if (kept.number != begun >> 32 || kept.key != subject_key(begun, subject, id) ||
	    kept.check != check_of(&kept, record, file, sequences()))
		return RETRY;
	return begun >> 32 << 32 | strictest_of(&kept, uses);
}

/* judge_and_keep judges an open file, which is scratch->object as well, and
 * keeps what it finds. */
static __always_inline __u64 judge_and_keep(void *map, enum operation_id id, struct file *file,
					    struct scratch *scratch, __u32 uses)
{
	__u64 begun = begin(id), answer = RETRY, now;
	struct record *record, kept;

	scratch->kept.key = 0;
	if (can_keep() && !is_final(begun)) {
		record = bpf_inode_storage_get(map, file->f_inode, NULL, 0);
		now = sequences();
		if (record) {
			kept = *record;
			barrier();
			/* Kept for other subjects. */
			if (kept.number == begun >> 32 &&
			    kept.check == check_of(&kept, record, file, now)) {
				scratch->sequences = now;
				answer = uses_verdict(id, begun, kept.classes, uses);
			}
		}
	}
	if ((__u32)answer == RETRY)
		answer = judge_file(id, uses);
	if (!can_keep() || (__u32)answer == RETRY || !scratch->kept.key ||
	    scratch->kept.classes & (CLASSES_UNKNOWN | CLASSES_RETRY))
		return answer;
	if (remember(id))
		return answer;
	record = bpf_inode_storage_get(map, file->f_inode, NULL, BPF_LOCAL_STORAGE_GET_F_CREATE);
	if (record) { /* without memory the next use walks again */
		kept = scratch->kept;
		kept.check = check_of(&kept, record, file, scratch->sequences);
		*record = kept;
	}
	return answer;
}

/* judge_use judges uses of an open file, by what is kept if that allows them.
 * Otherwise the file becomes scratch->object, for the alert. */
static __always_inline __u64 judge_use(void *map, enum operation_id id, struct file *file,
				       __u32 uses)
{
	struct scratch *scratch;
	__u64 answer;

	if (is_known(id, file->f_path.dentry, file->f_path.mnt, file->f_inode))
		return NO_RULE_ALLOW; /* of whatever revision */
	answer = kept_answer(map, id, file, uses);
	if (is_allow(answer))
		return answer;
	scratch = current_scratch();
	if (!set_object(scratch, (__u64)file->f_path.mnt, (__u64)file->f_path.dentry,
			(__u64)file->f_inode, flags_of_uses(id, uses)))
		return undecided(id);
	return judge_and_keep(map, id, file, scratch, uses);
}

#endif
