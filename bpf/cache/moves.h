/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Renames of files. The kernel counts all renames in one number (rename_lock), and most are
 * of files, which no chain of directories depends on; it counts each mount there too
 * (d_set_mounted), up to 6.12. So these are counted here as they end, and subtracted: what is left moves
 * with directories only, and what is kept outlives the rest. A file that is renamed is told
 * by its own count (sequence_of).
 *
 * What is left must never be the same before and after a directory moved. It is twice the
 * number of moved directories, and twice the number of files whose move the kernel has
 * counted and we have not yet: it may be too high, never too low. Nothing is kept while it may
 * be too high, which is while more moves have begun than ended (counts_to_keep).
 *
 * Neither program need run each time: on a preemptible kernel, one that interrupts itself on
 * its processor is left out. So a move counts only if its task has a slot, which the first
 * program takes and the second one gives back. A move without a slot is never counted, and
 * taken for one of a directory. Who finds the slot of another task takes it over. For each
 * slot one move more has begun than ended, so that a slot whose task never comes back is
 * emptied by time (settle). Two guards' programs at once, in a takeover, count one move once:
 * there is one slot. Nor does a move count that the kernel did not count.
 *
 * This needs atomic exchanges (since 5.12), and loads that are not reordered: on older
 * kernels and on arm64, any rename counts. So the object for older kernels has exchanges in these
 * programs only, and slots are emptied when the next move begins.
 */
#ifndef EBPFGUARD_CACHE_MOVES_H
#define EBPFGUARD_CACHE_MOVES_H

#include "words.h"

/* After so long, in units of 2^20 ns, a slot is given up. */
#define MOVE_LASTS 100

static __always_inline __u64 counts_without(__u64 sequences, __u64 moves)
{
	return sequences - (moves << 33);
}

/* counts_now returns the count of moved directories, as far as that is known, << 32 | that of
 * mounts. What is kept holds while it is the same; it may be odd (is_odd). */
static __always_inline __u64 counts_now(const struct words *all)
{
	__u64 ended = *(const volatile __u64 *)&all->moves_ended; /* first */

	return counts_without(sequences(), ended);
}

static __always_inline __u32 move_time(void)
{
	return bpf_ktime_get_ns() >> 20;
}

/* settle empties the slots that were taken too long ago. */
__noinline int settle(void)
{
	struct words *all = all_words();
	__u32 now = move_time();
	int i;

	if (!all)
		return 0;
	for (i = 0; i < MOVE_SLOTS; i++) {
		__u64 held = *(volatile __u64 *)&all->moving[i];

		if (!held || now - (__u32)held < MOVE_LASTS)
			continue;
		if (__sync_val_compare_and_swap(&all->moving[i], held, 0) == held)
			__sync_fetch_and_add(&all->moves_begun, -1);
	}
	return 0;
}

static __always_inline int move_begins(void)
{
	__u64 id = (__u32)bpf_get_current_pid_tgid(), slot = id % MOVE_SLOTS;
	struct words *all = all_words();

	if (!all)
		return 0;
	if (!SINCE_6_2)
		settle();
	__sync_fetch_and_add(&all->moves_begun, 1); /* before there is a slot */
	if (__sync_lock_test_and_set(&all->moving[slot], id << 32 | move_time()))
		__sync_fetch_and_add(&all->moves_begun, -1);
	*(volatile __u64 *)&all->moving_from[slot] = sequences() >> 32;
	return 0;
}

/* What move_ends returns when the kernel has not counted the move. */
enum { MOVE_NOT_COUNTED = 1 };

static __always_inline int move_ends(void)
{
	__u64 id = (__u32)bpf_get_current_pid_tgid(), slot = id % MOVE_SLOTS, held;
	struct words *all = all_words();
	bool counted;

	if (!all)
		return 0;
	held = *(volatile __u64 *)&all->moving[slot];
	if (held >> 32 != id)
		return 0;
	counted = (__u32)((sequences() >> 32) - *(volatile __u64 *)&all->moving_from[slot]) >= 2;
	if (__sync_val_compare_and_swap(&all->moving[slot], held, 0) != held)
		return 0;
	if (!counted) { /* as if it had not begun */
		__sync_fetch_and_add(&all->moves_begun, -1);
		return MOVE_NOT_COUNTED;
	}
	__sync_fetch_and_add(&all->moves_ended, 1);
	return 0;
}

static __always_inline bool is_file(struct dentry *dentry)
{
	struct inode *inode = dentry->d_inode;

	return inode && (inode->i_mode & MODE_TYPE) != MODE_DIRECTORY;
}

SEC("fentry/d_move")
int BPF_PROG(file_move_begins, struct dentry *dentry)
{
	return is_file(dentry) ? move_begins() : 0;
}

SEC("fexit/d_move")
int BPF_PROG(file_move_ends, struct dentry *dentry)
{
	if (is_file(dentry))
		move_ends();
	return 0;
}

/*
 * It takes rename_lock for writing, and moves nothing; not on newer kernels, where these are not
 * attached: a directory that moves meanwhile would be taken for the mount. Should a kernel mount
 * without the lock all the same, the first mount tells.
 */
SEC("fentry/d_set_mounted")
int BPF_PROG(mount_begins, struct dentry *dentry)
{
	struct words *all = all_words();

	return all && !all->mounts_quietly ? move_begins() : 0;
}

SEC("fexit/d_set_mounted")
int BPF_PROG(mount_ends, struct dentry *dentry)
{
	struct words *all = all_words();

	if (move_ends() == MOVE_NOT_COUNTED && all)
		all->mounts_quietly = 1;
	return 0;
}

/* Odd, so that nothing is found by it. */
#define NOT_SETTLED (~0ULL)

/*
 * counts_to_keep returns the counts that what was found out since the kernel's counts were
 * `before` may be kept with, if nothing at all was renamed or mounted meanwhile: a move of
 * a file leaves the counts alone, but may have been that of the file in question. Else, or
 * while the counts may be too high, NOT_SETTLED. Who reads a name after that has to compare
 * the kernel's counts once more.
 */
static __always_inline __u64 counts_to_keep(const struct words *all, __u64 before)
{
	__u64 ended = *(const volatile __u64 *)&all->moves_ended; /* in this order */
	__u64 now = sequences();
	__u64 begun = *(const volatile __u64 *)&all->moves_begun;

	if (begun != ended) {
		if (SINCE_6_2)
			settle();
		return NOT_SETTLED;
	}
	return now == before && !is_odd(now) ? counts_without(now, ended) : NOT_SETTLED;
}

#endif
