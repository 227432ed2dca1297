/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The verdict on what has a path: the object of the current task's walk. Its
 * names are found by two runs over its path (run.h), each name's class with
 * the classes of the object's other keys is one verdict, and the strictest of
 * them counts.
 */
#ifndef EBPFGUARD_OBJECT_H
#define EBPFGUARD_OBJECT_H

#include "verdict.h"

/* What object_classes adds when something was renamed or mounted meanwhile. */
#define CLASSES_CHANGED (1ULL << 63)

/* sequences returns the counts of renames and mounts; an odd count says that
 * one is going on. 0 where the loader could not find them. */
static __always_inline __u64 sequences(void)
{
	__u32 renames = 0, mounts = 0;

	if (rename_lock_at)
		bpf_probe_read_kernel(&renames, sizeof(renames), (void *)rename_lock_at);
	if (mount_lock_at)
		bpf_probe_read_kernel(&mounts, sizeof(mounts), (void *)mount_lock_at);
	return (__u64)renames << 32 | mounts;
}

static __always_inline bool is_odd(__u64 sequences)
{
	return sequences & (1ULL << 32 | 1);
}

/* Since 6.18 the mounts of a superblock are linked otherwise. */
struct mount___since_6_18 {
	struct mount___since_6_18 *mnt_next_for_sb;
} __attribute__((preserve_access_index));
struct super_block___since_6_18 {
	struct mount *s_mounts;
} __attribute__((preserve_access_index));

/* Mounts of a superblock that are looked at. */
#define MAX_SEARCHED 128

/* is_whole tells whether a mount has a place and shows its whole filesystem.
 * Global, so that the verifier checks it once and not for each mount. */
__noinline int is_whole(__u64 number)
{
	struct mount *mount = (void *)number;

	return !(place_of(mount) & CHAIN_NOWHERE) &&
	       BPF_CORE_READ(mount, mnt.mnt_root) == BPF_CORE_READ(mount, mnt.mnt_sb, s_root);
}

/* any_mount returns a mount of a superblock, for hooks that tell none: the
 * first, which in most cases is the only one. */
__noinline __u64 any_mount(__u64 number)
{
	struct super_block *sb = (void *)number;
	struct super_block___since_6_18 *newer = (void *)sb;
	struct mount___since_6_18 *mount = NULL;
	struct mount___since_6_18 *best;
	struct list_head *first;
	int i;

	if (bpf_core_field_exists(mount->mnt_next_for_sb)) {
		mount = (void *)BPF_CORE_READ(newer, s_mounts);
		if (!mount)
			return 0;
		/* The newest comes first: rather the oldest of those that have a place
		 * and show the whole filesystem. */
		best = mount;
		for (i = 0; i < MAX_SEARCHED && mount; i++) {
			if (is_whole((__u64)mount))
				best = mount;
			mount = BPF_CORE_READ(mount, mnt_next_for_sb);
		}
		mount = best;
	} else {
		first = BPF_CORE_READ(sb, s_mounts.next);
		if (!first ||
		    first == (void *)sb + bpf_core_field_offset(struct super_block, s_mounts))
			return 0;
		mount = (void *)first - bpf_core_field_offset(struct mount, mnt_instance);
	}
	return (__u64)mount + bpf_core_field_offset(struct mount, mnt);
}

/* The list of an inode's names is no longer in a union of that name on 7.x. */
struct dentry___since_7 {
	struct hlist_node d_alias;
} __attribute__((preserve_access_index));

/* collect_alias collects the place of an inode in its own filesystem as what is
 * above the file: overlayfs opens files of other filesystems under its own
 * path on kernels before 6.6. */
static __always_inline bool collect_alias(struct walk *walk, struct inode *inode)
{
	void *alias = BPF_CORE_READ(inode, i_dentry.first);
	struct dentry___since_7 *newer = NULL;
	__u64 dentry = (__u64)alias;

	if (!alias)
		return true;
	if (bpf_core_field_exists(newer->d_alias))
		dentry -= bpf_core_field_offset(struct dentry___since_7, d_alias);
	else
		dentry -= bpf_core_field_offset(struct dentry, d_u.d_alias);
	walk->root = 0;
	return collect_above(dentry);
}

/* object_classes finds the classes of the names of the walk's object. */
__noinline __u64 object_classes(__u32 id)
{
	void *tables = tables_in(SLOT_FORCE);
	const struct operation *operation;
	struct walk *walk = current_walk();
	struct dentry *dentry;
	__u64 before, classes, start;
	int flags;

	if (!tables || !walk)
		return CLASSES_UNKNOWN;
	operation = operation_of(tables, id);
	if (!operation)
		return CLASSES_UNKNOWN;
	start = number_of(operation->automata[0]);
	dentry = (void *)walk->object.dentry;
	if (!dentry)
		return 0; /* a mount that is nowhere yet: it has no target */
	before = sequences();
	if (!walk->object.mnt)
		walk->object.mnt = any_mount((__u64)BPF_CORE_READ(dentry, d_sb));
	flags = collect(walk->object.mnt, (__u64)dentry);
	if (walk->object.inode && walk->object.inode != (__u64)BPF_CORE_READ(dentry, d_inode) &&
	    !collect_alias(walk, (void *)walk->object.inode))
		flags |= CHAIN_UNKNOWN;
	run_above(id);
	classes = run_chain(id, start, flags, walk->object.inode);
	if (is_odd(before) || sequences() != before)
		classes |= CLASSES_CHANGED;
	walk->sequences = before;
	return classes;
}

/* In `rest`: only rules that name the object count. */
#define REST_NAMED (1ULL << 63)

/* The classes of an object's other keys, as one number. */
static __always_inline __u64 rest_of(__u32 c1, __u32 c2, __u32 c3)
{
	return c1 | (__u64)c2 << 24 | (__u64)c3 << 48;
}

/* only_named returns a verdict if its rule names the object. */
static __always_inline __u32 only_named(__u32 verdict)
{
	if (verdict & (FLAG_NAMES_OBJECT | FLAG_UNDECIDED) || !(verdict >> VERDICT_SHIFT))
		return verdict;
	return NO_RULE_ALLOW;
}

/*
 * names_verdict returns the strictest verdict over the names of an object:
 * generation << 32 | verdict, or CHANGED. `begun` is what begin_judgement
 * returned.
 */
__noinline __u64 names_verdict(__u32 id, __u64 begun, __u64 classes, __u64 rest)
{
	void *tables = tables_in(SLOT_FORCE);
	const struct generation *generation;
	const struct operation *operation;
	__u32 row = begun & ROW_MASK, first, second, verdict;
	__u32 c1 = rest & 0xffffff, c2 = rest >> 24 & 0xffffff, c3 = rest >> 48 & 0x7fff;
	__u64 number = begun >> 32 << 32;

	if (!tables)
		return UNDECIDED_DENY;
	generation = generation_of(tables);
	operation = operation_of(tables, id);
	if (!generation || !operation)
		return UNDECIDED_DENY;
	if (generation->number != begun >> 32)
		return CHANGED;
	first = classes & CLASS_MASK;
	second = classes >> SECOND_SHIFT & CLASS_MASK;
	if (classes & CLASSES_UNKNOWN) {
		first = operation->unknown;
		second = 0;
	}
	/* A name that no policy names counts only if it is the only one. */
	if (!first) {
		first = second;
		second = 0;
	}
	verdict = verdict_at(tables, operation, row, first, c1, c2, c3);
	if (rest & REST_NAMED)
		verdict = only_named(verdict);
	if (second) {
		__u32 other = verdict_at(tables, operation, row, second, c1, c2, c3);

		if (rest & REST_NAMED)
			other = only_named(other);
		verdict = stricter(verdict, other);
	}
	return number | verdict;
}

/* worse returns the stricter of two answers of the same generation; CHANGED
 * stays. */
static __always_inline __u64 worse(__u64 a, __u64 b)
{
	if ((__u32)a == CHANGED || (__u32)b == CHANGED)
		return CHANGED;
	return a >> 32 << 32 | stricter(a, b);
}

/* accesses_verdict judges a file for each access that is wanted. */
static __always_inline __u64 accesses_verdict(__u32 id, __u64 begun, __u64 classes, __u32 wanted)
{
	__u64 answer = begun >> 32 << 32 | NO_RULE_ALLOW;

	/* Class 0 is reading, 1 writing, 2 execution. */
	if (wanted & ACCESS_READ)
		answer = names_verdict(id, begun, classes, rest_of(0, 0, 0));
	if (wanted & ACCESS_WRITE)
		answer = worse(answer, names_verdict(id, begun, classes, rest_of(1, 0, 0)));
	if (wanted & ACCESS_EXEC)
		answer = worse(answer, names_verdict(id, begun, classes, rest_of(2, 0, 0)));
	return answer;
}

/* traits_of returns what a program is of enum trait_flags. */
static __always_inline __u32 traits_of(__u32 flags, __u64 classes)
{
	if (classes & (CLASSES_SHM | CLASSES_DELETED | CLASSES_FILELESS))
		flags |= TRAIT_FILELESS;
	return flags;
}

/* Beside trait flags: the program is not started but brought in. */
#define LOADED (1 << 31)

/*
 * The last try: where renames and mounts never stand still, what was found is
 * taken. Each name was read while its file was not being renamed, else the
 * object is unknown; at worst the path is one of which every part was true
 * while it was looked at, which a process can have more cheaply.
 */
#define LAST (1 << 30)

/* judge_once judges the walk's object once: as a file for the accesses in its
 * flags, or as a program. Mounts have their own, in mount.h. */
__noinline __u64 judge_once(__u32 id, __u32 flags)
{
	__u64 begun = begin_judgement(id), classes;
	struct walk *walk = current_walk();

	if (is_final(begun))
		return early_answer(begun);
	if (!walk)
		return begun >> 32 << 32 | UNDECIDED_DENY;
	classes = object_classes(id);
	if (classes & CLASSES_CHANGED && !(flags & LAST))
		return CHANGED;
	walk->classes = classes;
	walk->generation = begun >> 32;
	if (id == OPERATION_FILE_OPEN)
		return accesses_verdict(id, begun, classes, flags);
	walk->object.flags = traits_of(flags & 3, classes);
	return names_verdict(id, begun, classes,
			     rest_of(walk->object.flags, 0, 0) | (flags & LOADED ? REST_NAMED : 0));
}

/* judge_file judges the walk's object. */
static __always_inline __u64 judge_file(enum operation_id id, __u32 flags)
{
	__u64 answer = CHANGED;
	int i;

	for (i = 0; i < MAX_TRIES && (__u32)answer == CHANGED; i++) {
		if (i)
			refresh_class();
		answer = judge_once(id, i == MAX_TRIES - 1 ? flags | LAST : flags);
	}
	return answer;
}

/* set_object makes a file the walk's object; false when there is no memory. */
static __always_inline bool set_object(struct walk *walk, __u64 mnt, __u64 dentry, __u64 inode,
				       __u32 flags)
{
	if (!walk)
		return false;
	__builtin_memset(&walk->object, 0, sizeof(walk->object));
	walk->object.mnt = mnt;
	walk->object.dentry = dentry;
	walk->object.inode = inode;
	walk->object.flags = flags;
	return true;
}

/* decide_dentry judges a change of a file and concludes. */
static __always_inline int decide_dentry(enum hook_id hook, __u64 mnt, __u64 dentry)
{
	if (!set_object(current_walk(), mnt, dentry, 0, ACCESS_WRITE))
		return decide_without_memory(OPERATION_FILE_OPEN, hook);
	return conclude(judge_file(OPERATION_FILE_OPEN, ACCESS_WRITE), OPERATION_FILE_OPEN, hook,
			NULL);
}

#endif
