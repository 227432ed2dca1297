/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * The names that a task keeps (struct subject): of its script, its program and
 * its control group, as they were when it started them. They are kept as text,
 * so that a policy set that comes later can still be asked about them, whatever
 * has been renamed since.
 */
#ifndef EBPFGUARD_TEXT_H
#define EBPFGUARD_TEXT_H

#include "container.h"

/* Names that are passed at once: the verifier follows each turn of a loop, so two short
 * loops, one in another function, cost it less than a long one. */
#define NAMES_AT_ONCE 4
_Static_assert(MAX_CHAIN % NAMES_AT_ONCE == 0 && MAX_COMPONENTS % NAMES_AT_ONCE == 0,
	       "all are passed");

/* What store_* return when a text does not fit or cannot be read. */
#define TEXT_FAILED ((__u32)-1)

/* length_of_names returns how long the names of a subject are. */
static __always_inline __u32 length_of_names(const struct subject *subject)
{
	return subject->cgroup_length + subject->script_length + subject->program_length;
}

/* has_long_names reports whether a subject has no room for its names, so that they are in
 * long_texts. Each fork copies what it has room for. */
static __always_inline bool has_long_names(const struct subject *subject)
{
	return length_of_names(subject) > SHORT_TEXT;
}

/* give_long_names makes long_texts hold the names of a task's subject, unless it has any, which
 * may be others (keep_long_names, subject.h); false when there is no memory. */
static __always_inline bool give_long_names(struct task_struct *task, struct long_text *names,
					    __u64 flags)
{
	__u64 key = (__u64)task;

	if (!names)
		return false;
	if (SINCE_6_2)
		return bpf_task_storage_get(&long_texts, (void *)task, names,
					    BPF_LOCAL_STORAGE_GET_F_CREATE) != NULL;
	bpf_map_update_elem(&long_texts, &key, names, flags);
	return bpf_map_lookup_elem(&long_texts, &key) != NULL;
}

/* copy_names copies some of the names of a task's subject into identity->names; false when they
 * are not there. */
static __always_inline bool copy_names(struct identity *identity, __u32 to,
				       const struct subject *subject, struct task_struct *task,
				       __u32 from, __u32 length)
{
	struct long_text *names;
	__u32 size = length;

	if (from + length >= MAX_TEXT || to + length >= MAX_TEXT || length >= MAX_TEXT)
		return false;
	barrier_var(to); /* the verifier has to see one register of each */
	to &= MAX_TEXT - 1;
	barrier_var(from);
	from &= MAX_TEXT - 1;
	barrier_var(size);
	size &= MAX_TEXT - 1;
	if (!has_long_names(subject)) {
		if (from + length > SHORT_TEXT)
			return false;
		return !bpf_probe_read_kernel(&identity->names.text[to], size,
					      &subject->text[from]);
	}
	names = task_get(&long_texts, task);
	return names && names->stored == subject->stored &&
	       !bpf_probe_read_kernel(&identity->names.text[to], size, &names->text[from]);
}

/* store_name appends scratch->name to the text of identity->names
 * and returns the new length of the text. */
__noinline __u32 store_name(scratch_arg given, identity_arg given_identity, __u32 at)
{
	struct identity *identity = identity_of(given_identity);
	struct scratch *scratch = scratch_of(given);
	__u32 length;
	__u64 to;

	if (!identity || !scratch)
		return TEXT_FAILED;
	length = scratch->name_length;
	if (at > MAX_TEXT || at + 1 + length >= MAX_TEXT) /* copy_names takes less than that */
		return TEXT_FAILED;
	to = at;
	barrier_var(to); /* the verifier has to see one register */
	to &= MAX_TEXT - 1;
	identity->names.text[to] = length;
	if (bpf_probe_read_kernel(&identity->names.text[to + 1], mask_length(length),
				  scratch->name))
		return TEXT_FAILED;
	return at + 1 + length;
}

/* store_next appends the next names of scratch->chain, NAMES_AT_ONCE at most. */
__noinline __u32 store_next(scratch_arg given, identity_arg given_identity, __u32 at)
{
	struct scratch *scratch = scratch_of(given);
	int i;

	if (!scratch)
		return TEXT_FAILED;
	for (i = 0; i < NAMES_AT_ONCE; i++) {
		__u64 left = scratch->left, link;

		if (!left)
			break;
		if (left > MAX_CHAIN)
			return TEXT_FAILED;
		left--;
		scratch->left = left;
		link = link_at(scratch, left);
		if (link & CHAIN_ROOT)
			continue;
		if (!read_name(hand(scratch), link))
			return TEXT_FAILED;
		at = store_name(hand(scratch), given_identity, at);
		if (at == TEXT_FAILED)
			break;
	}
	return at;
}

/* store_path appends the names of scratch->chain. */
__noinline __u32 store_path(scratch_arg given, identity_arg given_identity, __u32 at)
{
	struct scratch *scratch = scratch_of(given);
	int i;

	if (!scratch)
		return TEXT_FAILED;
	scratch->left = scratch->count;
	for (i = 0; i < MAX_CHAIN / NAMES_AT_ONCE; i++) {
		if (!scratch->left || at == TEXT_FAILED)
			break;
		at = store_next(hand(scratch), given_identity, at);
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

/* Directories of a control group that are collected at once. */
#define GROUPS_AT_ONCE 8

/* collect_cgroup puts directories of a control group into the chain, from one upwards, and
 * returns the next one; 0 when those were all. */
__noinline __u64 collect_cgroup(scratch_arg given, __u64 number)
{
	struct scratch *scratch = scratch_of(given);
	struct kernfs_node *node = (void *)number;
	int i;

	if (!scratch)
		return number;
	for (i = 0; i < GROUPS_AT_ONCE; i++) {
		struct kernfs_node *parent = parent_of(node);
		__u32 count = scratch->count;

		if (!parent)
			return 0;
		if (scratch->container == CONTAINER_HOST)
			scratch->container = container_of_group(BPF_CORE_READ(node, id));
		add_link(scratch, count, (__u64)BPF_CORE_READ(node, name));
		scratch->count = count + 1;
		node = parent;
	}
	return (__u64)node;
}

/* store_group appends the next directories of a control group, NAMES_AT_ONCE at most. */
__noinline __u32 store_group(scratch_arg given, identity_arg given_identity, __u32 at)
{
	struct scratch *scratch = scratch_of(given);
	int i;

	if (!scratch)
		return TEXT_FAILED;
	for (i = 0; i < NAMES_AT_ONCE; i++) {
		__u64 left = scratch->left;
		long length;

		if (!left)
			break;
		left--;
		scratch->left = left;
		length = bpf_probe_read_kernel_str(scratch->name, MAX_NAME + 1,
						   (void *)link_at(scratch, left));
		if (length <= 1)
			return TEXT_FAILED;
		scratch->name_length = length - 1;
		if (is_container_name(hand(scratch)))
			scratch->is_contained = true;
		at = store_name(hand(scratch), given_identity, at);
		if (at == TEXT_FAILED)
			break;
	}
	return at;
}

/* Where container_above goes on is an address, which is greater than any number of a container. */
#define IS_ADDRESS(at) ((at) >> 32)

/* container_above returns the number of the container of a directory of a control group, or of the
 * next ones above it; if there is none, where to go on, 0 at the end. */
__noinline __u64 container_above(__u64 number)
{
	struct kernfs_node *node = (void *)number;
	int i;

	for (i = 0; i < GROUPS_AT_ONCE && node; i++) {
		__u32 container = container_of_group(BPF_CORE_READ(node, id));

		if (container != CONTAINER_HOST)
			return container;
		node = parent_of(node);
	}
	return (__u64)node;
}

/* known_container returns the container that a task's control group is that of, or below; an
 * unidentified one is none. */
static __always_inline __u32 known_container(__u64 task)
{
	__u64 at = (__u64)node_of_cgroup(task);
	int i;

	for (i = 0; i <= MAX_COMPONENTS / GROUPS_AT_ONCE && IS_ADDRESS(at); i++)
		at = container_above(at);
	return IS_ADDRESS(at) ? CONTAINER_HOST : at;
}

/* store_cgroup appends the path of a task's control group, which becomes that of
 * identity->subject, and makes found_container() its container. It fails when there are more
 * directories than there is room for: the end of a path is no path. */
__noinline __u32 store_cgroup(scratch_arg given, identity_arg given_identity, __u32 at, __u64 task)
{
	struct kernfs_node *node = node_of_cgroup(task);
	struct identity *identity = identity_of(given_identity);
	struct scratch *scratch = scratch_of(given);
	__u64 next = (__u64)node;
	int i;

	if (!identity || !scratch)
		return TEXT_FAILED;
	identity->subject.cgroup = BPF_CORE_READ(node, id);
	scratch->container = CONTAINER_HOST;
	scratch->is_contained = false;
	scratch->count = 0;
	for (i = 0; i <= MAX_COMPONENTS / GROUPS_AT_ONCE && next; i++)
		next = collect_cgroup(hand(scratch), next);
	if (next || scratch->count > MAX_COMPONENTS)
		return TEXT_FAILED;
	scratch->left = scratch->count;
	for (i = 0; i < MAX_COMPONENTS / NAMES_AT_ONCE; i++) {
		if (!scratch->left || at == TEXT_FAILED)
			break;
		at = store_group(hand(scratch), hand_identity(identity), at);
	}
	return at;
}

/* text_next steps over the next names of the text, NAMES_AT_ONCE at most, and reports
 * whether there were so many. */
__noinline int text_next(scratch_arg given, identity_arg given_identity, __u32 slot)
{
	struct identity *identity = identity_of(given_identity);
	struct scratch *scratch = scratch_of(given);
	int i;

	if (!identity || !scratch)
		return false;
	for (i = 0; i < NAMES_AT_ONCE; i++) {
		__u64 here = scratch->at;
		__u32 length;

		if (here >= scratch->end || scratch->path.accept & STATE_ABSORBING)
			return false;
		barrier_var(here); /* the verifier has to see one register */
		here &= MAX_TEXT - 1;
		length = identity->names.text[here];
		scratch->at = here + 1 + length;
		if (bpf_probe_read_kernel(scratch->name, mask_length(length),
					  &identity->names.text[here] + 1))
			return false;
		end_name(scratch, length);
		scratch->path = state_of(step(hand(scratch), slot, number_of(scratch->path)));
	}
	return true;
}

/* run_text runs the automaton that starts in `start` over the bytes from `at`
 * to `end` of the text of identity->names, and returns the class. */
static __always_inline __u32 run_text(struct scratch *scratch, struct identity *identity,
				      __u32 slot, __u64 start, __u32 at, __u32 end)
{
	int i;

	scratch->path = state_of(start);
	scratch->at = at;
	scratch->end = end;
	for (i = 0; i <= MAX_COMPONENTS / NAMES_AT_ONCE; i++)
		if (!text_next(hand(scratch), hand_identity(identity), slot))
			break;
	return scratch->path.accept & CLASS_MASK;
}

#endif
