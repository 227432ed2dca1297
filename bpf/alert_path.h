/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* Paths as text, for alerts. */
#ifndef EBPFGUARD_ALERT_PATH_H
#define EBPFGUARD_ALERT_PATH_H

#include "name.h"

/* copy_name appends "/name" to buffer->paths and
 * returns the new length of the paths. */
__noinline __u32 copy_name(__u32 from, __u64 dentry)
{
	__u64 at = from;
	struct alert_buffer *buffer = current_alert_buffer();
	__u32 length = BPF_CORE_READ((struct dentry *)dentry, d_name.len);
	const unsigned char *name = BPF_CORE_READ((struct dentry *)dentry, d_name.name);

	barrier_var(at); /* the verifier has to see one register */
	if (!buffer || at >= 3 * MAX_PATH || length > MAX_NAME)
		return from;
	buffer->paths[at] = '/';
	if (bpf_probe_read_kernel(&buffer->paths[at + 1], mask_length(length), name))
		return from;
	return from + 1 + length;
}

/* Names that are copied at once, as in text.h. */
#define COPIED_AT_ONCE 4
_Static_assert(MAX_CHAIN % COPIED_AT_ONCE == 0, "all are passed");

/* copy_next appends the next names of scratch->chain to buffer->paths, up to a length of
 * the paths. */
__noinline __u32 copy_next(scratch_arg given, __u32 at, __u32 limit)
{
	struct scratch *scratch = scratch_of(given);
	int i;

	if (!scratch)
		return at;
	for (i = 0; i < COPIED_AT_ONCE; i++) {
		__u64 left = scratch->left, link;

		if (!left || left > MAX_CHAIN || at > limit)
			break;
		left--;
		scratch->left = left;
		link = link_at(scratch, left);
		if (!(link & CHAIN_ROOT))
			at = copy_name(at, link);
	}
	return at;
}

/* copy_path appends a path to buffer->paths and returns the new length of
 * the paths; the same length when there is none. A path that does not fit is
 * cut at its end. */
__noinline __u32 copy_path(__u32 at, __u64 mnt, __u64 dentry)
{
	struct alert_buffer *buffer = current_alert_buffer();
	struct scratch *scratch = current_scratch();
	__u32 start = at, limit = at + MAX_PATH - MAX_NAME - 1;
	__u64 end;
	int i;

	if (!scratch || !mnt)
		return at;
	/* Untrusted paths are reported as well: a person can judge them. */
	collect(hand(scratch), mnt, dentry);
	if (!scratch->count)
		return at;
	scratch->left = scratch->count;
	for (i = 0; i < MAX_CHAIN / COPIED_AT_ONCE; i++) {
		if (!scratch->left || at > limit)
			break;
		at = copy_next(hand(scratch), at, limit);
	}
	end = at;
	barrier_var(end);
	if (at == start && buffer && end < 3 * MAX_PATH) { /* the root itself */
		buffer->paths[end] = '/';
		at++;
	}
	return at;
}

/* copy_file appends the path of a struct file. */
static __always_inline __u32 copy_file(__u32 at, struct file *file)
{
	if (!file)
		return at;
	return copy_path(at, (__u64)BPF_CORE_READ(file, f_path.mnt),
			 (__u64)BPF_CORE_READ(file, f_path.dentry));
}

#endif
