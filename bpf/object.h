/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * The verdict on what has a path: the object in the current task's scratch space. Its
 * names are found by two runs over its path (run.h), each name's class with
 * the classes of the object's other keys is one verdict, and the strictest of
 * them counts.
 */
#ifndef EBPFGUARD_OBJECT_H
#define EBPFGUARD_OBJECT_H

#include "directory.h"
#include "verdict.h"

/* What object_classes adds when something was renamed or mounted meanwhile. */
#define CLASSES_RETRY (1ULL << 63)

/* Since 6.18 the mounts of a superblock are linked otherwise. */
struct mount___since_6_18 {
	struct mount___since_6_18 *mnt_next_for_sb;
} __attribute__((preserve_access_index));
struct super_block___since_6_18 {
	struct mount *s_mounts;
} __attribute__((preserve_access_index));

/* Mounts of a superblock that are looked at. */
#define MAX_SEARCHED 128

/* is_whole reports whether a mount has a place and shows its whole filesystem.
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
static __always_inline bool collect_alias(struct scratch *scratch, struct inode *inode)
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
	scratch->root = 0;
	return collect_above(dentry);
}

/* object_classes finds the classes of the names of scratch->object. */
__noinline __u64 object_classes(__u32 id)
{
	struct scratch *scratch = current_scratch();
	struct dentry *dentry;
	__u64 classes;
	bool is_alias;
	int flags;

	if (!scratch)
		return CLASSES_UNKNOWN;
	dentry = (void *)scratch->object.dentry;
	if (!dentry)
		return 0; /* a mount that is nowhere yet: it has no target */
	scratch->sequences = sequences();
	if (!scratch->object.mnt)
		scratch->object.mnt = any_mount((__u64)BPF_CORE_READ(dentry, d_sb));
	is_alias = scratch->object.inode && scratch->object.inode != inode_of(scratch, dentry);
	scratch->above_chain = 0;
	flags = is_alias ? NOT_KEPT : enter_directory(id);
	if (flags != NOT_KEPT) {
		pass(id, scratch->object.inode);
		classes = classes_of(scratch, flags);
	} else {
		flags = collect(scratch->object.mnt, (__u64)dentry);
		if (is_alias && !collect_alias(scratch, (void *)scratch->object.inode))
			flags |= CHAIN_UNKNOWN;
		run_above(id);
		classes = run_chain(id, flags);
		if (!(classes & CLASSES_UNKNOWN))
			keep_directory(id, flags);
	}
	if (is_odd(scratch->sequences) || sequences() != scratch->sequences)
		classes |= CLASSES_RETRY;
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

/* verdict_of_names returns the strictest verdict over the names of an object. */
static __always_inline __u32 verdict_of_names(void *tables, const struct operation *operation,
					      __u32 row, __u64 classes, __u64 rest)
{
	__u32 first = classes & CLASS_MASK, second = classes >> SECOND_SHIFT & CLASS_MASK;
	__u32 c1 = rest & 0xffffff, c2 = rest >> 24 & 0xffffff, c3 = rest >> 48 & 0x7fff;
	__u32 verdict, other;

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
		other = verdict_at(tables, operation, row, second, c1, c2, c3);
		if (rest & REST_NAMED)
			other = only_named(other);
		verdict = stricter(verdict, other);
	}
	return verdict;
}

/*
 * names_verdict returns the strictest verdict over the names of an object:
 * revision << 32 | verdict, or RETRY. `begun` is what begin_judgement
 * returned.
 */
__noinline __u64 names_verdict(__u32 id, __u64 begun, __u64 classes, __u64 rest)
{
	void *tables = tables_in(SLOT_ACTIVE);
	const struct revision *revision;
	const struct operation *operation;

	if (!tables)
		return UNDECIDED_DENY;
	revision = revision_of(tables);
	operation = operation_of(tables, id);
	if (!revision || !operation)
		return UNDECIDED_DENY;
	if (revision->number != begun >> 32)
		return RETRY;
	return begun >> 32 << 32 |
	       verdict_of_names(tables, operation, begun & ROW_MASK, classes, rest);
}

/* Uses of a program; those of a file are enum access_flags. */
enum program_uses {
	PROGRAM_STARTED = 1,
	/* Not started but brought in: only rules that name it count. */
	PROGRAM_LOADED = 2,
	/* Started without arguments. */
	PROGRAM_BARE = 4,
};

/* flags_of_uses returns what an alert tells of uses of a file or a program, before
 * anything is known of it. */
static __always_inline __u32 flags_of_uses(__u32 id, __u32 uses)
{
	if (id == OPERATION_FILE_OPEN)
		return uses;
	return uses & PROGRAM_BARE ? TRAIT_NO_ARGS : 0;
}

/* strictest_of returns the strictest of the verdicts on uses of a file. */
static __always_inline __u32 strictest_of(const struct record *found, __u32 uses)
{
	__u32 verdict = 0;

	if (uses & 1)
		verdict = found->verdicts[0];
	if (uses & 2)
		verdict = stricter(verdict, found->verdicts[1]);
	if (uses & 4)
		verdict = stricter(verdict, found->verdicts[2]);
	return verdict;
}

/*
 * uses_verdict finds the verdicts on all uses of scratch->object, a file or a
 * program, keeps them in scratch and returns the strictest of those that are
 * asked about: revision << 32 | verdict, or RETRY.
 */
__noinline __u64 uses_verdict(__u32 id, __u64 begun, __u64 classes, __u32 uses)
{
	/* Rules for all files concern the file above, and allow-lists name that one. */
	__u64 named = classes & CLASSES_UNDERNEATH ? REST_NAMED : 0;
	__u64 rests[3] = {rest_of(0, 0, 0) | named, rest_of(1, 0, 0) | named,
			  rest_of(2, 0, 0) | named};
	void *tables = tables_in(SLOT_ACTIVE);
	const struct revision *revision;
	const struct operation *operation;
	struct scratch *scratch = current_scratch();
	__u32 traits = 0;

	if (!tables || !scratch)
		return UNDECIDED_DENY;
	revision = revision_of(tables);
	operation = operation_of(tables, id);
	if (!revision || !operation)
		return UNDECIDED_DENY;
	if (revision->number != begun >> 32)
		return RETRY;
	if (id != OPERATION_FILE_OPEN) {
		if (classes & (CLASSES_SHM | CLASSES_DELETED | CLASSES_FILELESS))
			traits = TRAIT_FILELESS;
		rests[0] = rest_of(traits, 0, 0);
		rests[1] = rest_of(traits, 0, 0) | REST_NAMED;
		rests[2] = rest_of(traits | TRAIT_NO_ARGS, 0, 0);
		scratch->object.flags = flags_of_uses(id, uses) | traits;
	}
	scratch->kept.classes = classes;
	scratch->kept.verdicts[0] =
		verdict_of_names(tables, operation, begun & ROW_MASK, classes, rests[0]);
	scratch->kept.verdicts[1] =
		verdict_of_names(tables, operation, begun & ROW_MASK, classes, rests[1]);
	scratch->kept.verdicts[2] =
		verdict_of_names(tables, operation, begun & ROW_MASK, classes, rests[2]);
	scratch->kept.begun = begun;
	return begun >> 32 << 32 | strictest_of(&scratch->kept, uses);
}

/*
 * The last try: where renames and mounts never stand still, what was found is
 * taken. Each name was read while its file was not being renamed, else the
 * object is unknown; at worst the path is one of which every part was true
 * while it was looked at, which a process can have more cheaply.
 */
#define LAST (1 << 30)

/* judge_once judges uses of scratch->object once. Mounts have their own, in
 * mount.h. */
__noinline __u64 judge_once(__u32 id, __u64 begun, __u32 uses)
{
	struct scratch *scratch = current_scratch();
	__u64 classes;

	if (is_final(begun))
		return early_answer(begun);
	if (!scratch)
		return begun >> 32 << 32 | UNDECIDED_DENY;
	classes = object_classes(id);
	if (classes & CLASSES_RETRY && !(uses & LAST))
		return RETRY;
	return uses_verdict(id, begun, classes, uses);
}

/* judge_file judges uses of scratch->object. */
static __always_inline __u64 judge_file(enum operation_id id, __u32 uses)
{
	__u64 answer = RETRY;
	int i;

	for (i = 0; i < MAX_TRIES && (__u32)answer == RETRY; i++)
		answer = judge_once(id, begin(id), i == MAX_TRIES - 1 ? uses | LAST : uses);
	return answer;
}

/* set_object makes a file scratch->object; false when there is no memory. */
static __always_inline bool set_object(struct scratch *scratch, __u64 mnt, __u64 dentry,
				       __u64 inode, __u32 flags)
{
	if (!scratch)
		return false;
	__builtin_memset(&scratch->object, 0, sizeof(scratch->object));
	scratch->object.mnt = mnt;
	scratch->object.dentry = dentry;
	scratch->object.inode = inode;
	scratch->object.flags = flags;
	return true;
}

/* decide_dentry judges a change of a file and concludes. */
static __always_inline int decide_dentry(enum hook_id hook, __u64 mnt, __u64 dentry)
{
	if (!set_object(current_scratch(), mnt, dentry, 0, ACCESS_WRITE))
		return decide_without_memory(OPERATION_FILE_OPEN, hook);
	return conclude(judge_file(OPERATION_FILE_OPEN, ACCESS_WRITE), OPERATION_FILE_OPEN, hook,
			NULL);
}

#endif
