/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * What is kept with an inode, so that a file that is used again is judged without
 * walking its path: the classes of its names, and the verdicts on it for the last
 * row of subjects that asked.
 *
 * A record is valid for the same revision and while the file has the same stamp
 * (stamp.h). Both are hashed into the record's check, together with what is kept, so
 * that neither a stale record nor one that is being written by another task can
 * be taken for valid; of a file that is not its dentry's, the place of its own as well (below.h). When the counts in the stamp have moved (moves.h), but neither the file nor
 * its directory has (is_there), the check is made anew.
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

/* seal hashes what is kept together with where that holds. */
static __always_inline __u64 seal(const struct record *kept, __u64 hash)
{
	hash = mix(hash, kept->classes);
	hash = mix(hash, kept->key);
	hash = mix(hash, (__u64)kept->verdicts[1] << 32 | kept->verdicts[0]);
	hash = mix(hash, (__u64)kept->number << 32 | kept->verdicts[2]);
	return mix(hash, hash_key[1]);
}

/* is_backing reports whether an open file is not its dentry's, so that the place of its own
 * (below.h) is a part of where it lies. */
static __always_inline bool is_backing(struct file *file)
{
	return is_alias(file->f_path.dentry, file->f_inode);
}

/* check_of hashes what is kept for an open file, and what that depends on. */
static __always_inline __u64 check_of(const struct record *kept, const struct record *record,
				      struct file *file, __u64 below, __u64 counts)
{
	__u64 stamp = stamp_of(record, file, counts);

	return seal(kept, is_backing(file) ? mix(stamp, below) : stamp);
}

/* lasting_place returns where a file was when renames and mounts had been counted so, as a hash
 * that those elsewhere leave alone; 0 where nothing is kept of its directory. */
__noinline __u64 lasting_place(__u32 id, __u64 dentry, __u64 mnt, __u64 number, __u64 counts)
{
	struct dentry *itself = (void *)dentry;
	struct inode *inode = (void *)number;
	struct directory_identity identity;
	__u64 now = active_word(), there, place, parent;
	struct words *all = all_words();

	if (!all || !all->at || !now || is_unhashed(itself) || READ(itself, d_inode) != inode)
		return 0;
	parent = address_of(all, READ(itself, d_parent));
	identify_directory(&identity, all, parent, mnt);
	place = place_of_directory(&identity, now, id);
	there = is_there(place, parent, mnt, counts, false);
	if (!(there & IS_THERE))
		return 0;
	place = place_of_file(place, dentry - all->at, READ(itself, d_name.hash),
			      sequence_of(itself), READ(inode, i_ino), READ(inode, i_generation));
	return lasting_word(place, there, 0);
}

/* lasting_check_of is check_of for a place that outlives renames and mounts elsewhere; 0 for
 * none. */
static __always_inline __u64 lasting_check_of(const struct record *kept, enum operation_id id,
					      struct file *file, __u64 counts)
{
	struct words *all = all_words();
	__u64 place;

	if (!all)
		return 0;
	place = lasting_place(id, distance(all, file->f_path.dentry) + all->at,
			      distance(all, file->f_path.mnt) + all->at,
			      distance(all, file->f_inode) + all->at, counts);
	return place ? seal(kept, place) | 1 : 0;
}

/* is_valid reports whether what was read of a file's record holds, and makes its check anew when
 * that has to be. */
static __always_inline bool is_valid(const struct record *kept, struct record *record,
				     enum operation_id id, struct file *file, __u64 below,
				     __u64 counts)
{
	__u64 check = check_of(kept, record, file, below, counts);

	if (kept->check == check)
		return true;
	if (!kept->lasting_check || is_odd(counts) ||
	    kept->lasting_check != lasting_check_of(kept, id, file, counts))
		return false;
	record->check = check;
	return true;
}

/* kept_answer returns the verdict on uses of an open file by what is kept with its inode;
 * RETRY when that does not tell. */
static __always_inline __u64 kept_answer(void *map, enum operation_id id, struct file *file,
					 __u32 uses, __u64 below)
{
	struct subject *subject;
	__u64 begun = begin_by(id, &subject);
	struct record *record, kept;
	struct words *all = all_words();

	if (is_final(begun) || !can_keep() || !subject || !all || (is_backing(file) && !below))
		return RETRY;
	record = bpf_inode_storage_get(map, file->f_inode, NULL, 0);
	if (!record)
		return RETRY;
	kept = *record;
	barrier(); /* what was checked is what counts */
	if (kept.number != begun >> 32 || kept.key != subject_key(begun, subject, id) ||
	    !is_valid(&kept, record, id, file, below, counts_now(all)))
		return RETRY;
	return begun >> 32 << 32 | strictest_of(&kept, uses);
}

/* judge_and_keep judges an open file, which is scratch->object as well, and
 * keeps what it finds. */
static __always_inline __u64 judge_and_keep(void *map, enum operation_id id, struct file *file,
					    struct scratch *scratch, __u32 uses, __u64 below)
{
	__u64 begun = begin(id), answer = RETRY, now;
	struct record *record, *found, kept;
	struct words *all = all_words();

	scratch->kept.key = 0;
	if (can_keep() && !is_final(begun) && all && !(is_backing(file) && !below)) {
		record = bpf_inode_storage_get(map, file->f_inode, NULL, 0);
		scratch->sequences = sequences();
		now = counts_now(all);
		if (record) {
			kept = *record;
			barrier();
			/* Kept for other subjects. */
			if (kept.number == begun >> 32 &&
			    is_valid(&kept, record, id, file, below, now)) {
				answer = uses_verdict(hand(scratch), id, begun, kept.classes, uses);
			}
		}
	}
	if ((__u32)answer == RETRY)
		answer = judge_file(id, uses);
	if (!can_keep() || (__u32)answer == RETRY || !scratch->kept.key || !all ||
	    (is_backing(file) && !below) ||
	    scratch->kept.classes & (CLASSES_UNKNOWN | CLASSES_RETRY))
		return answer;
	if (remember(hand(scratch), id))
		return answer;
	now = counts_to_keep(all, scratch->sequences);
	if (now == NOT_SETTLED)
		return answer;
	record = bpf_inode_storage_get(map, file->f_inode, NULL, BPF_LOCAL_STORAGE_GET_F_CREATE);
	if (record) { /* without memory the next use walks again */
		found = &scratch->kept;
		found->check = check_of(found, record, file, below, now);
		found->lasting_check = lasting_check_of(found, id, file, now);
		if (sequences() == scratch->sequences)
			*record = *found;
	}
	return answer;
}

/* judge_use_at judges uses of an open file, by what is kept if that allows them.
 * Otherwise the file becomes scratch->object, for the alert. `below` is as in is_known_at(). */
static __always_inline __u64 judge_use_at(void *map, enum operation_id id, struct file *file,
					  __u32 uses, __u64 below)
{
	struct scratch *scratch;
	__u64 answer;

	if (is_known_at(id, file->f_path.dentry, file->f_path.mnt, file->f_inode, below))
		return NO_RULE_ALLOW; /* of whatever revision */
	answer = kept_answer(map, id, file, uses, below);
	if (is_allow(answer))
		return answer;
	scratch = current_scratch();
	if (!set_object(scratch, (__u64)file->f_path.mnt, (__u64)file->f_path.dentry,
			(__u64)file->f_inode, flags_of_uses(id, uses)))
		return undecided(id);
	return judge_and_keep(map, id, file, scratch, uses, below);
}

/* judge_use is judge_use_at for any open file. */
static __always_inline __u64 judge_use(void *map, enum operation_id id, struct file *file,
				       __u32 uses)
{
	__u64 below = 0;

	if (is_backing(file))
		below = place_underneath(active_word(), file->f_path.dentry, file->f_inode);
	return judge_use_at(map, id, file, uses, below);
}

#endif
