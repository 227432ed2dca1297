/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * The names that a task keeps (struct subject): of its script, its program and
 * its control group, as they were when it started them. They are kept as text,
 * so that a policy set that comes later can still be asked about them, whatever
 * has been renamed since.
 */
#ifndef EBPFGUARD_TEXT_H
#define EBPFGUARD_TEXT_H

#include "run.h"

/* What store_* return when a text does not fit or cannot be read. */
#define TEXT_FAILED ((__u32)-1)

/* store_name appends scratch->name to the text of scratch->next
 * and returns the new length of the text. */
__noinline __u32 store_name(__u32 at)
{
	struct scratch *scratch = current_scratch();
	__u32 length;
	__u64 to;

	if (!scratch)
		return TEXT_FAILED;
	length = scratch->name_length;
	if (at > MAX_TEXT || at + 1 + length > MAX_TEXT)
		return TEXT_FAILED;
	to = at;
	barrier_var(to); /* the verifier has to see one register */
	to &= MAX_TEXT - 1;
	scratch->next.text[to] = length;
	if (bpf_probe_read_kernel(&scratch->next.text[to + 1], mask_length(length), scratch->name))
		return TEXT_FAILED;
	return at + 1 + length;
}

/* store_next appends the next name of scratch->chain. */
__noinline __u32 store_next(__u32 at)
{
	struct scratch *scratch = current_scratch();
	__u64 left, link;

	if (!scratch)
		return TEXT_FAILED;
	left = scratch->left;
	if (!left || left > MAX_CHAIN)
		return TEXT_FAILED;
	left--;
	scratch->left = left;
	link = link_at(scratch, left);
	if (link & CHAIN_ROOT)
		return at;
	return read_name(link) ? store_name(at) : TEXT_FAILED;
}

/* store_path appends the names of scratch->chain. */
__noinline __u32 store_path(__u32 at)
{
	struct scratch *scratch = current_scratch();
	int i;

	if (!scratch)
		return TEXT_FAILED;
	scratch->left = scratch->count;
	for (i = 0; i < MAX_CHAIN; i++) {
		if (!scratch->left || at == TEXT_FAILED)
			break;
		at = store_next(at);
	}
	return at;
}

/* The parent of a control group's directory has another name since 6.15, and
 * its name a mark that changes its type. */
struct kernfs_node___since_6_15 {
	struct kernfs_node *__parent;
} __attribute__((preserve_access_index));

static __always_inline struct kernfs_node *node_of_cgroup(__u64 task)
{
	return BPF_CORE_READ((struct task_struct *)task, cgroups, dfl_cgrp, kn);
}

static __always_inline struct kernfs_node *parent_of(struct kernfs_node *node)
{
	struct kernfs_node___since_6_15 *newer = (void *)node;

	if (bpf_core_field_exists(newer->__parent))
		return BPF_CORE_READ(newer, __parent);
	return BPF_CORE_READ(node, parent);
}

/* collect_cgroup puts the directories of a control group into the chain; false when
 * there are more than there is room for: the end of a path is no path. */
__noinline int collect_cgroup(__u64 number)
{
	struct scratch *scratch = current_scratch();
	struct kernfs_node *node = (void *)number;
	int i;

	if (!scratch)
		return false;
	scratch->count = 0;
	for (i = 0; i <= MAX_COMPONENTS; i++) {
		struct kernfs_node *parent = parent_of(node);
		__u32 count = scratch->count;

		if (!parent)
			return true;
		if (count >= MAX_COMPONENTS)
			return false;
		add_link(scratch, count, (__u64)BPF_CORE_READ(node, name));
		scratch->count = count + 1;
		node = parent;
	}
	return false;
}

/* store_cgroup appends the path of a task's control group, which becomes that of
 * scratch->next. */
__noinline __u32 store_cgroup(__u32 at, __u64 task)
{
	struct kernfs_node *node = node_of_cgroup(task);
	struct scratch *scratch = current_scratch();
	int i;

	if (!scratch)
		return TEXT_FAILED;
	scratch->next.cgroup = BPF_CORE_READ(node, id);
	if (!collect_cgroup((__u64)node))
		return TEXT_FAILED;
	scratch->left = scratch->count;
	for (i = 0; i < MAX_COMPONENTS; i++) {
		__u64 left = scratch->left;
		long length;

		if (!left || left > MAX_COMPONENTS)
			break;
		left--;
		scratch->left = left;
		length = bpf_probe_read_kernel_str(scratch->name, MAX_NAME + 1,
						   (void *)link_at(scratch, left));
		if (length <= 1)
			return TEXT_FAILED;
		scratch->name_length = length - 1;
		at = store_name(at);
		if (at == TEXT_FAILED)
			break;
	}
	return at;
}

/* text_next steps over the next name of the text and reports whether there was one. */
__noinline int text_next(__u32 slot)
{
	struct scratch *scratch = current_scratch();
	__u64 here;
	__u32 length;

	if (!scratch)
		return false;
	here = scratch->at;
	if (here >= scratch->end || scratch->path.accept & STATE_STAYS)
		return false;
	barrier_var(here); /* the verifier has to see one register */
	here &= MAX_TEXT - 1;
	length = scratch->spare.text[here];
	scratch->at = here + 1 + length;
	scratch->name_length = length;
	if (bpf_probe_read_kernel(scratch->name, mask_length(length),
				  &scratch->spare.text[here] + 1))
		return false;
	scratch->path = state_of(step(slot, number_of(scratch->path)));
	return true;
}

/* run_text runs the automaton that starts in `start` over the bytes from `at`
 * to `end` of the text of scratch->spare, and returns the class. */
static __always_inline __u32 run_text(struct scratch *scratch, __u32 slot, __u64 start, __u32 at,
				      __u32 end)
{
	int i;

	scratch->path = state_of(start);
	scratch->at = at;
	scratch->end = end;
	for (i = 0; i <= MAX_COMPONENTS; i++)
		if (!text_next(slot))
			break;
	return scratch->path.accept & CLASS_MASK;
}

#endif
