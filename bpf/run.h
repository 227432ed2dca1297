/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Two runs over a path, side by side. One follows the names from the root of
 * the mount namespace. The other begins at a file or directory that policies
 * name, wherever it is met on the way, and follows the names from there, so
 * that what a policy names is found behind hard links, bind mounts, renamed
 * directories, another root and other mounts of the same filesystem. An object
 * is judged under the names that both of them find (policy.Names).
 */
#ifndef EBPFGUARD_RUN_H
#define EBPFGUARD_RUN_H

#include "automaton.h"

enum run_flags {
	/* Three states that have names of their own each: two can be followed. */
	RUN_AMBIGUOUS = 1 << 0,
	/* A name could not be read. */
	RUN_FAILED = 1 << 1,
};

/* What run_chain returns: the classes of the two names, 24 bits each, and flags. */
enum classes_flags {
	SECOND_SHIFT = 24,
};
#define CLASSES_UNKNOWN (1ULL << 48)
#define CLASSES_SHM (1ULL << 49)
#define CLASSES_DELETED (1ULL << 50)
#define CLASSES_FILELESS (1ULL << 51)
/* A filesystem opens it for its own files (overlayfs since 6.7), after the process
 * was judged for that one. */
#define CLASSES_UNDERNEATH (1ULL << 52)
/* enum file_kind, 3 bits. */
#define CLASSES_KIND 53

/* named_file returns the state at the names that policies have for a file;
 * NO_STATE when they have none. */
__noinline __u64 named_file(__u32 dimension, __u64 inode)
{
	if (!inode || !is_in_filter(READ((struct inode *)inode, i_ino)))
		return NO_STATE;
	return find(SLOT_ACTIVE, file_key(dimension, inode));
}

/* named_device returns the state at the names that policies have for the device of a
 * device node, whichever node it is. */
__noinline __u64 named_device(__u32 dimension, __u64 number)
{
	struct inode *inode = (void *)number;
	__u32 type = READ(inode, i_mode) & MODE_TYPE, device;
	struct sip sip;

	if (type != MODE_BLOCK && type != MODE_CHARACTER)
		return NO_STATE;
	device = READ(inode, i_rdev);
	if (!is_in_filter(device))
		return NO_STATE;
	sip_start(&sip);
	sip_word(&sip, (__u64)TAG_FILE << 32 | dimension);
	sip_word(&sip, (__u32)(type == MODE_BLOCK ? DEVICE_BLOCK : DEVICE_CHARACTER));
	sip_word(&sip, device);
	sip_word(&sip, 0);
	return find(SLOT_ACTIVE, sip_finish(&sip));
}

static __always_inline bool is_dead(struct state state)
{
	return !state.number;
}

static __always_inline bool is_same(struct state a, struct state b)
{
	return number_of(a) == number_of(b);
}

/* covers reports whether the names of a state are among those of another. */
__noinline int covers(__u64 all, __u64 some)
{
	struct sip sip;

	sip_start(&sip);
	sip_word(&sip, (__u64)TAG_SUBSUMES << 32);
	sip_word(&sip, all);
	sip_word(&sip, some);
	return find(SLOT_ACTIVE, sip_finish(&sip)) != NO_STATE;
}

/* join_third finds out which of the runs' states and another have the names of
 * one of the others, so that it need not be followed. */
__noinline int join_third(scratch_arg given, __u64 other)
{
	struct scratch *scratch = scratch_of(given);
	__u64 path, file;

	if (!scratch)
		return 0;
	path = number_of(scratch->path);
	file = number_of(scratch->file);
	if (covers(file, other) || covers(path, other))
		return 0;
	if (covers(other, file) || covers(path, file))
		scratch->file = state_of(other);
	else if (covers(other, path) || covers(file, path))
		scratch->path = state_of(other);
	else
		scratch->flags |= RUN_AMBIGUOUS;
	return 0;
}

/* join gives the run by identity another state that it should be in as well. A
 * state that the run by path is in, too, need not be followed twice; and where
 * the path leads nowhere, its run has room for a name. */
static __always_inline void join(struct scratch *scratch, struct state other)
{
	struct state file = scratch->file;

	if (is_dead(other) || is_same(other, file))
		return;
	if (is_dead(file) || is_same(file, scratch->path)) {
		scratch->file = other;
	} else if (is_dead(scratch->path)) {
		scratch->path = file;
		scratch->file = other;
	} else if (!is_same(other, scratch->path)) {
		join_third(hand(scratch), number_of(other));
	}
}

/* pass_name steps both runs over scratch->name. */
static __always_inline void pass_name(struct scratch *scratch)
{
	__u64 path = number_of(scratch->path), file = number_of(scratch->file), next;

	next = step_of(scratch, SLOT_ACTIVE, path);
	if (file == path)
		file = next;
	else if (!(scratch->file.accept & STATE_ABSORBING))
		file = step(hand(scratch), SLOT_ACTIVE, file);
	scratch->path = state_of(next);
	scratch->file = state_of(file);
}

/* inode_of returns the inode of a dentry as a number. */
static __always_inline __u64 inode_of(struct scratch *scratch, struct dentry *dentry)
{
	scratch->inode = (__u64)READ(dentry, d_inode);
	barrier(); /* what is loaded is no pointer to the verifier */
	return scratch->inode;
}

/* pass_above passes the next dentry above the file's mount and reports whether there was one:
 * by identity only, so that both runs have room for its names. */
__noinline int pass_above(scratch_arg given, __u32 dimension)
{
	struct scratch *scratch = scratch_of(given);
	struct dentry *dentry;
	__u64 left, link;

	if (!scratch)
		return false;
	left = scratch->left;
	if (!left || left > MAX_COMPONENTS)
		return false;
	left--;
	scratch->left = left;
	link = above_at(scratch, left);
	dentry = (void *)(link & ~CHAIN_ROOT);
	if (!(link & CHAIN_ROOT) && !(is_dead(scratch->path) && is_dead(scratch->file))) {
		__u64 path = number_of(scratch->path), file = number_of(scratch->file);

		if (!read_name(hand(scratch), link))
			scratch->flags |= RUN_FAILED;
		/* pass_name() is faster, and costs the verifier more. */
		scratch->path = state_of(step(hand(scratch), SLOT_ACTIVE, path));
		scratch->file = file == path ? scratch->path
					     : state_of(step(hand(scratch), SLOT_ACTIVE, file));
	}
	join(scratch, state_of(named_file(dimension, inode_of(scratch, dentry))));
	return true;
}

/* pass passes the next dentry of the chain and reports whether there was one. */
__noinline int pass(scratch_arg given, __u32 dimension)
{
	struct scratch *scratch = scratch_of(given);
	struct dentry *dentry;
	__u64 left, link, inode;

	if (!scratch)
		return false;
	left = scratch->left;
	if (!left || left > MAX_WALK)
		return false;
	left--;
	scratch->left = left;
	link = link_at(scratch, left % MAX_CHAIN);
	dentry = (void *)(link & ~CHAIN_ROOT);
	if (!(link & CHAIN_ROOT) &&
	    !(scratch->path.accept & scratch->file.accept & STATE_ABSORBING)) {
		if (!read_name_of(scratch, dentry))
			scratch->flags |= RUN_FAILED;
		pass_name(scratch);
	}
	inode = scratch->object.inode;
	if (left || !inode) /* the file itself may be another than the dentry's */
		inode = inode_of(scratch, dentry);
	if (!left && scratch->object.bare)
		inode = 0;
	barrier_var(inode);
	join(scratch, state_of(named_file(dimension, inode)));
	if (!left && inode)
		join(scratch, state_of(named_device(dimension, inode)));
	if (left == scratch->root) {
		join(scratch, scratch->above_path);
		join(scratch, scratch->above_file);
	}
	if (left == 1) {
		scratch->directory.path = number_of(scratch->path);
		scratch->directory.file = number_of(scratch->file);
	}
	return true;
}

/* run_above runs over what lies above the file's mount, before run_chain; the
 * states are kept in above_path and above_file. */
__noinline int run_above(scratch_arg given, __u32 dimension)
{
	struct scratch *scratch = scratch_of(given);
	int i;

	if (!scratch)
		return 0;
	scratch->flags = 0;
	scratch->file = scratch->path = state_of(DEAD);
	scratch->left = scratch->above_count;
	for (i = 0; i < MAX_COMPONENTS; i++)
		if (!pass_above(hand(scratch), dimension))
			break;
	scratch->above_path = scratch->path;
	scratch->above_file = scratch->file;
	scratch->file = state_of(DEAD);
	return 0;
}

/* kind_of_internal returns what the kernel keeps to itself (enum file_kind). */
static __always_inline __u64 kind_of_internal(__u64 dentry)
{
	__u64 magic = BPF_CORE_READ((struct dentry *)dentry, d_sb, s_magic);

	if (magic == PIPEFS_MAGIC)
		return FILE_PIPE;
	if (magic == SOCKFS_MAGIC)
		return FILE_SOCKET;
	if (magic == TMPFS_MAGIC || magic == HUGETLBFS_MAGIC || magic == SECRETMEM_MAGIC)
		return FILE_MEMFD;
	return FILE_OTHER;
}

/* classes_of returns the classes that both runs have come to, and what `flags`
 * (enum chain_flags) means for them. */
static __always_inline __u64 classes_of(struct scratch *scratch, __u32 flags)
{
	__u64 classes = scratch->path.accept & CLASS_MASK;
	__u64 second = scratch->file.accept & CLASS_MASK;

	if (second != classes)
		classes |= second << SECOND_SHIFT;
	if ((scratch->path.accept | scratch->file.accept) & STATE_SHM)
		classes |= CLASSES_SHM;
	if (flags & CHAIN_DELETED)
		classes |= CLASSES_DELETED;
	if (flags & CHAIN_INTERNAL)
		classes |= kind_of_internal(scratch->object.dentry) << CLASSES_KIND;
	else if (flags & CHAIN_DELETED)
		classes |= (__u64)FILE_DELETED << CLASSES_KIND;
	if (flags & CHAIN_FILELESS)
		classes |= CLASSES_FILELESS;
	else if (flags & CHAIN_NOWHERE || scratch->object.below)
		classes |= CLASSES_UNDERNEATH;
	if (flags & CHAIN_UNKNOWN || scratch->flags)
		classes |= CLASSES_UNKNOWN;
	return classes;
}

/*
 * is_settled reports whether both runs over the upper part of a path that is too deep
 * have come to what holds for everything below: neither a name nor the identity of a
 * file that was left out can change it.
 */
__noinline int is_settled(scratch_arg given, __u32 id)
{
	struct scratch *scratch = scratch_of(given);
	__u32 dropped, i;

	if (!scratch)
		return false;
	if (scratch->deep <= MAX_CHAIN)
		return true; /* nothing was left out */
	dropped = scratch->deep - MAX_CHAIN;
	if (!(scratch->path.accept & scratch->file.accept & STATE_ABSORBING) ||
	    scratch->suspects > MAX_SUSPECTS)
		return false;
	/* What lies above the mount of the file comes in at its root. */
	if (scratch->root < dropped &&
	    !(is_dead(scratch->above_path) && is_dead(scratch->above_file)))
		return false;
	if (scratch->object.inode && named_file(id, scratch->object.inode) != NO_STATE)
		return false;
	for (i = 0; i < MAX_SUSPECTS; i++)
		if (i < scratch->suspects && named_file(id, scratch->suspect[i]) != NO_STATE)
			return false;
	return true;
}

/* run_chain runs the automaton of an operation over scratch->chain and returns the
 * classes. */
__noinline __u64 run_chain(scratch_arg given, __u32 id, __u32 flags)
{
	void *tables = tables_in(SLOT_ACTIVE);
	const struct operation *operation;
	struct scratch *scratch = scratch_of(given);
	int i;

	if (!tables || !scratch)
		return CLASSES_UNKNOWN;
	operation = operation_of(tables, id);
	if (!operation)
		return CLASSES_UNKNOWN;
	scratch->file = scratch->path = state_of(DEAD);
	if (!(flags & CHAIN_NO_PATH) && !scratch->object.below)
		scratch->path = operation->automata[0];
	scratch->left = scratch->count | scratch->deep; /* one of them is 0 */
	for (i = 0; i < MAX_CHAIN; i++)
		if (!pass(hand(scratch), id))
			break;
	if (flags & CHAIN_DEEP && !is_settled(hand(scratch), id))
		flags |= CHAIN_UNKNOWN;
	return classes_of(scratch, flags);
}

#endif
