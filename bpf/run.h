/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Running an automaton (abi.h) over names.
 *
 * Over a path two runs go side by side. One follows the names from the root of
 * the mount namespace. The other begins at a file or directory that policies
 * name, wherever it is met on the way, and follows the names from there, so
 * that what a policy names is found behind hard links, bind mounts, renamed
 * directories, another root and other mounts of the same filesystem. An object
 * is judged under the names that both of them find (policy.Names).
 */
#ifndef EBPFGUARD_RUN_H
#define EBPFGUARD_RUN_H

#include "path.h"

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
/* A filesystem opens it for its own files (overlayfs since 6.6), after the process
 * was judged for that one. */
#define CLASSES_UNDERNEATH (1ULL << 52)

static __always_inline struct state state_of(__u64 number)
{
	struct state state = {.number = number, .accept = number >> 32};

	return state;
}

static __always_inline __u64 number_of(struct state state)
{
	return (__u64)state.accept << 32 | state.number;
}

#define DEAD ((__u64)STATE_STAYS << 32)

/* glob_byte leaves a state of the automaton over bytes by a byte of the walk's
 * name. Global, so that the verifier checks it once and not for each byte. */
__noinline __u32 glob_byte(__u32 slot, __u32 state, __u64 at)
{
	struct walk *walk = current_walk();
	void *tables = tables_in(slot);
	const struct revision *revision;
	__u32 byte, class;

	if (!walk || !tables || at >= MAX_NAME)
		return 0;
	revision = revision_of(tables);
	if (!revision)
		return 0;
	byte = ((const __u8 *)walk->name)[at];
	class = word_at(tables, revision->glob_bytes + byte / 4) >> byte % 4 * 8 & 0xff;
	return word_at(tables, revision->glob_next + state * revision->glob_columns + class);
}

/* glob_class returns which globs the walk's name matches. */
__noinline __u32 glob_class(__u32 slot)
{
	struct walk *walk = current_walk();
	void *tables = tables_in(slot);
	const struct revision *revision;
	__u32 state = 0, length, i;

	if (!walk || !tables)
		return 0;
	revision = revision_of(tables);
	if (!revision)
		return 0;
	length = walk->name_length;
	for (i = 0; i < MAX_NAME; i++) {
		if (i >= length)
			break;
		state = glob_byte(slot, state, i);
	}
	return word_at(tables, revision->glob_accept + state);
}

static __always_inline __u64 hash_glob(__u32 state, __u32 class)
{
	struct sip sip;

	sip_start(&sip);
	sip_word(&sip, (__u64)TAG_GLOB << 32 | state);
	sip_word(&sip, class);
	return sip_finish(&sip);
}

/* step_of leaves a state by the walk's name. */
static __always_inline __u64 step_of(struct walk *walk, __u32 slot, __u64 from)
{
	struct state state = state_of(from);
	__u32 class = 0;
	__u64 to;

	if (state.accept & STATE_STAYS)
		return from;
	to = find(slot, hash_name(walk, (__u64)TAG_NAME << 32 | state.number));
	if (to != NO_STATE)
		return to;
	if (!(state.accept & STATE_WILD))
		return DEAD;
	if (state.accept & STATE_GLOBS)
		class = glob_class(slot);
	to = find(slot, hash_glob(state.number, class));
	if (to == NO_STATE && class)
		to = find(slot, hash_glob(state.number, 0));
	return to == NO_STATE ? DEAD : to;
}

__noinline __u64 step(__u32 slot, __u64 from)
{
	struct walk *walk = current_walk();

	return walk ? step_of(walk, slot, from) : DEAD;
}

/* named_file returns the state at the names that policies have for a file;
 * NO_STATE when they have none. */
__noinline __u64 named_file(__u32 dimension, __u64 inode)
{
	void *tables = tables_in(SLOT_FORCE);
	const struct revision *revision;
	__u64 number, word;

	if (!tables || !inode)
		return NO_STATE;
	revision = revision_of(tables);
	if (!revision || !revision->filter_bits)
		return NO_STATE;
	number = READ((struct inode *)inode, i_ino) & (revision->filter_bits - 1);
	word = word_at(tables, revision->filter + number / 32);
	if (!(word >> number % 32 & 1))
		return NO_STATE;
	return find(SLOT_FORCE, file_key(dimension, inode));
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
	sip_word(&sip, (__u64)TAG_COVERS << 32);
	sip_word(&sip, all);
	sip_word(&sip, some);
	return find(SLOT_FORCE, sip_finish(&sip)) != NO_STATE;
}

/* join_third finds out which of the runs' states and another have the names of
 * one of the others, so that it need not be followed. */
__noinline int join_third(__u64 other)
{
	struct walk *walk = current_walk();
	__u64 path, file;

	if (!walk)
		return 0;
	path = number_of(walk->path);
	file = number_of(walk->file);
	if (covers(file, other) || covers(path, other))
		return 0;
	if (covers(other, file) || covers(path, file))
		walk->file = state_of(other);
	else if (covers(other, path) || covers(file, path))
		walk->path = state_of(other);
	else
		walk->flags |= RUN_AMBIGUOUS;
	return 0;
}

/* join gives the run by identity another state that it should be in as well. A
 * state that the run by path is in, too, need not be followed twice; and where
 * the path leads nowhere, its run has room for a name. */
static __always_inline void join(struct walk *walk, struct state other)
{
	struct state file = walk->file;

	if (is_dead(other) || is_same(other, file))
		return;
	if (is_dead(file) || is_same(file, walk->path)) {
		walk->file = other;
	} else if (is_dead(walk->path)) {
		walk->path = file;
		walk->file = other;
	} else if (!is_same(other, walk->path)) {
		join_third(number_of(other));
	}
}

/* pass_name steps both runs of the walk over its name. */
static __always_inline void pass_name(struct walk *walk)
{
	__u64 path = number_of(walk->path), file = number_of(walk->file), next;

	next = step_of(walk, SLOT_FORCE, path);
	if (file == path)
		file = next;
	else if (!(walk->file.accept & STATE_STAYS))
		file = step(SLOT_FORCE, file);
	walk->path = state_of(next);
	walk->file = state_of(file);
}

/* inode_of returns the inode of a dentry as a number. */
static __always_inline __u64 inode_of(struct walk *walk, struct dentry *dentry)
{
	walk->inode = (__u64)READ(dentry, d_inode);
	barrier(); /* what is loaded is no pointer to the verifier */
	return walk->inode;
}

/* pass_above passes a dentry above the file's mount: by identity only, so that
 * both runs have room for its names. */
__noinline int pass_above(__u32 dimension, __u64 link)
{
	struct walk *walk = current_walk();
	struct dentry *dentry = (void *)(link & ~CHAIN_ROOT);

	if (!walk)
		return 0;
	if (!(link & CHAIN_ROOT) && !(is_dead(walk->path) && is_dead(walk->file))) {
		if (!read_name_of(walk, dentry))
			walk->flags |= RUN_FAILED;
		pass_name(walk);
	}
	join(walk, state_of(named_file(dimension, inode_of(walk, dentry))));
	return 0;
}

/* pass passes the next dentry of the chain and reports whether there was one. */
__noinline int pass(__u32 dimension, __u64 inode)
{
	struct walk *walk = current_walk();
	struct dentry *dentry;
	__u64 left, link;

	if (!walk)
		return false;
	left = walk->left;
	if (!left || left > MAX_CHAIN)
		return false;
	left--;
	walk->left = left;
	link = link_at(walk, left);
	dentry = (void *)(link & ~CHAIN_ROOT);
	if (!(link & CHAIN_ROOT) && !(walk->path.accept & walk->file.accept & STATE_STAYS)) {
		if (!read_name_of(walk, dentry))
			walk->flags |= RUN_FAILED;
		pass_name(walk);
	}
	if (left || !inode) /* the file itself may be another than the dentry's */
		inode = inode_of(walk, dentry);
	join(walk, state_of(named_file(dimension, inode)));
	if (left == walk->root) {
		join(walk, walk->above_path);
		join(walk, walk->above_file);
	}
	if (left == 1) {
		walk->directory.path = number_of(walk->path);
		walk->directory.file = number_of(walk->file);
	}
	return true;
}

/* run_above runs over what lies above the file's mount, before run_chain; the
 * states are kept in above_path and above_file. */
__noinline int run_above(__u32 dimension)
{
	struct walk *walk = current_walk();
	int i;

	if (!walk)
		return 0;
	walk->flags = 0;
	walk->file = walk->path = state_of(DEAD);
	walk->left = walk->above_count;
	for (i = 0; i < MAX_COMPONENTS; i++) {
		__u32 left = walk->left;

		if (!left || left > MAX_COMPONENTS)
			break;
		left--;
		walk->left = left;
		pass_above(dimension, above_at(walk, left));
	}
	walk->above_path = walk->path;
	walk->above_file = walk->file;
	walk->file = state_of(DEAD);
	return 0;
}

/* classes_of returns the classes that the runs of the walk have come to, and what `flags`
 * (enum chain_flags) means for them. */
static __always_inline __u64 classes_of(struct walk *walk, __u32 flags)
{
	__u64 classes = walk->path.accept & CLASS_MASK;
	__u64 second = walk->file.accept & CLASS_MASK;

	if (second != classes)
		classes |= second << SECOND_SHIFT;
	if ((walk->path.accept | walk->file.accept) & STATE_SHM)
		classes |= CLASSES_SHM;
	if (flags & CHAIN_DELETED)
		classes |= CLASSES_DELETED;
	if (flags & CHAIN_FILELESS)
		classes |= CLASSES_FILELESS;
	else if (flags & CHAIN_NOWHERE)
		classes |= CLASSES_UNDERNEATH;
	if (flags & CHAIN_UNKNOWN || walk->flags)
		classes |= CLASSES_UNKNOWN;
	return classes;
}

/* run_chain runs the automaton of an operation over the walk's chain and returns the
 * classes. */
__noinline __u64 run_chain(__u32 id, __u32 flags)
{
	void *tables = tables_in(SLOT_FORCE);
	const struct operation *operation;
	struct walk *walk = current_walk();
	int i;

	if (!tables || !walk)
		return CLASSES_UNKNOWN;
	operation = operation_of(tables, id);
	if (!operation)
		return CLASSES_UNKNOWN;
	walk->file = walk->path = state_of(DEAD);
	if (!(flags & CHAIN_NO_PATH))
		walk->path = operation->automata[0];
	walk->left = walk->count;
	for (i = 0; i < MAX_CHAIN; i++)
		if (!pass(id, walk->object.inode))
			break;
	return classes_of(walk, flags);
}

#endif
