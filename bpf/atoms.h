/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Sets of atoms: what is true of a process, a bit each. Of each kind of selector a plane says
 * which atoms that selector lets through (identity->plane); the planes are ANDed to the atoms
 * of a class (scratch->class).
 *
 * A loop over the words of a line is a function of its own, which the verifier checks once.
 */
#ifndef EBPFGUARD_ATOMS_H
#define EBPFGUARD_ATOMS_H

#include "subject.h"

/* Words of 64 bits in a line, and lines of a set of atoms. */
#define ATOMS_AT_ONCE (LINE_WORDS / 2)
#define ATOM_LINES (ATOM_WORDS / ATOMS_AT_ONCE)

static __always_inline const struct subjects *subjects_of(void *tables)
{
	const struct revision *revision = tables ? revision_of(tables) : NULL;

	return revision ? (const void *)line_at(tables, revision->subjects) : NULL;
}

/* line_of returns the words of a line of a set of atoms; NULL when there is no such line. */
static __always_inline __u64 *line_of(__u64 *atoms, __u32 line)
{
	__u64 first = (__u64)line * sizeof(struct line);

	barrier_var(first); /* the verifier has to see one register */
	if (first > ATOM_WORDS * sizeof(__u64) - sizeof(struct line))
		return NULL;
	return (void *)atoms + first;
}

/* plane_line copies a line of atoms to identity->plane. */
__noinline int plane_line(identity_arg given_identity, __u32 at, __u32 line)
{
	void *tables = tables_in(SLOT_ACTIVE);
	struct identity *identity = identity_of(given_identity);
	const __u64 *words;
	__u64 *plane;
	int i;

	if (!tables || !identity)
		return 0;
	words = (const void *)line_at(tables, at + line * LINE_WORDS);
	if (!words)
		return 0;
	plane = line_of(identity->plane, line);
	if (!plane)
		return 0;
	for (i = 0; i < ATOMS_AT_ONCE; i++)
		plane[i] = words[i];
	return 0;
}

/* begin_plane makes identity->plane one of the active revision's sets of atoms (enum plane). */
__noinline int begin_plane(identity_arg given_identity, __u32 number)
{
	const struct subjects *subjects = subjects_of(tables_in(SLOT_ACTIVE));
	__u32 at, lines, i;

	if (!subjects)
		return 0;
	lines = subjects->lines;
	at = subjects->planes + number * lines * LINE_WORDS;
	for (i = 0; i < ATOM_LINES && i < lines; i++)
		plane_line(given_identity, at, i);
	return 0;
}

/* Words of atoms that are added at once: two short loops cost the verifier less than a long
 * one. */
#define ADDED_AT_ONCE 8
_Static_assert(ATOM_WORDS % ADDED_AT_ONCE == 0, "all are added");

/* add_next adds some of a list of atoms to identity->plane, and reports whether there may be more. */
__noinline int add_next(identity_arg given_identity, __u32 at, __u32 count)
{
	void *tables = tables_in(SLOT_ACTIVE);
	struct identity *identity = identity_of(given_identity);
	int i;

	if (!tables || !identity)
		return false;
	for (i = 0; i < ADDED_AT_ONCE; i++) {
		const struct atom_word *atoms;
		__u32 word;

		if (i >= count)
			return false;
		atoms = entry_at(tables, at, i, ENTRY_WORDS(struct atom_word));
		if (!atoms)
			return false;
		word = atoms->word;
		if (word >= ATOM_WORDS)
			return false;
		identity->plane[word] |= (__u64)atoms->upper << 32 | atoms->lower;
	}
	return true;
}

/* add_atoms adds the atoms of a class to identity->plane, by the index of the classes' lists. */
__noinline int add_atoms(identity_arg given_identity, __u32 index, __u32 class)
{
	void *tables = tables_in(SLOT_ACTIVE);
	const struct table *list;
	__u32 at, count;
	int i;

	if (!tables)
		return 0;
	list = entry_at(tables, index, class, ENTRY_WORDS(struct table));
	if (!list)
		return 0;
	at = list->at;
	count = list->count;
	for (i = 0; i < ATOM_WORDS / ADDED_AT_ONCE && count > i * ADDED_AT_ONCE; i++)
		if (!add_next(given_identity,
			      at + i * ADDED_AT_ONCE * ENTRY_WORDS(struct atom_word),
			      count - i * ADDED_AT_ONCE))
			break;
	return 0;
}

/* take_line leaves of a line of the class's atoms those that are in identity->plane, if it is not
 * the first plane. */
__noinline int take_line(scratch_arg given, identity_arg given_identity, bool first, __u32 line)
{
	struct identity *identity = identity_of(given_identity);
	struct scratch *scratch = scratch_of(given);
	__u64 keep = first ? 0 : -1ULL, *atoms, *plane;
	int i;

	if (!identity || !scratch)
		return 0;
	atoms = line_of(scratch->class.atoms, line);
	plane = line_of(identity->plane, line);
	if (!atoms || !plane)
		return 0;
	for (i = 0; i < ATOMS_AT_ONCE; i++)
		atoms[i] = (atoms[i] | ~keep) & plane[i];
	return 0;
}

/* take_plane leaves of the class's atoms those that are in identity->plane. */
__noinline int take_plane(scratch_arg given, identity_arg given_identity, bool first)
{
	const struct subjects *subjects = subjects_of(tables_in(SLOT_ACTIVE));
	__u32 i;

	if (!subjects)
		return 0;
	for (i = 0; i < ATOM_LINES && i < subjects->lines; i++)
		take_line(given, given_identity, first, i);
	return 0;
}

/* Marks whose atoms are added at once. */
#define MARKS_AT_ONCE 8
_Static_assert(64 % MARKS_AT_ONCE == 0, "all are added");

/* add_some_marked adds the atoms of some marks, of which `mark` is the first, from the lists
 * that begin at `base`. Those that the revision does not know have none. */
__noinline int add_some_marked(identity_arg given_identity, __u32 base, __u32 mark, __u64 marks)
{
	const struct subjects *subjects = subjects_of(tables_in(SLOT_ACTIVE));
	int i;

	if (!subjects)
		return 0;
	for (i = 0; i < MARKS_AT_ONCE; i++, marks >>= 1)
		if (marks & 1 && mark + i < subjects->marks)
			add_atoms(given_identity, subjects->mark_atoms, base + mark + i);
	return 0;
}

/* add_word_marked adds the atoms of a word of marks. */
__noinline int add_word_marked(identity_arg given_identity, __u32 base, __u32 mark, __u64 marks)
{
	int i;

	for (i = 0; i < 64 && marks; i += MARKS_AT_ONCE, marks >>= MARKS_AT_ONCE)
		add_some_marked(given_identity, base, mark + i, marks);
	return 0;
}

/* add_marked adds the atoms of the marks of identity->subject to identity->plane, from the
 * lists that begin at `base`. A chain of calls has no room for a function more. */
static __always_inline void add_marked(struct identity *identity, __u32 base)
{
	int i;

	for (i = 0; i < MARK_WORDS; i++)
		if (identity->subject.marks[i])
			add_word_marked(hand_identity(identity), base, 64 * i,
					identity->subject.marks[i]);
}

/* Lists of selectors that are added at once. */
#define SELECTORS_AT_ONCE 8
_Static_assert((MAX_CONTAINER_SELECTORS + 1) % SELECTORS_AT_ONCE == 0, "all are added");

static __always_inline const struct container_class *class_of_container(__u32 container)
{
	void *tables = tables_in(SLOT_ACTIVE);
	const struct revision *revision = tables ? revision_of(tables) : NULL;
	__u64 key;

	if (!revision)
		return NULL;
	key = (__u64)revision->number << 32 | container;
	return bpf_map_lookup_elem(&container_classes, &key);
}

/* add_some_selectors adds the atoms of the lists of selectors from one on that select a container. */
__noinline int add_some_selectors(identity_arg given_identity, __u32 index, __u32 container,
				  __u32 from)
{
	const struct container_class *class = class_of_container(container);
	__u32 i;

	if (!class)
		return 0;
	for (i = 0; i < SELECTORS_AT_ONCE; i++) {
		__u64 at = from + i;

		if (at >= class->count)
			break;
		barrier_var(at); /* the verifier has to see one register */
		if (at >= MAX_CONTAINER_SELECTORS)
			break;
		add_atoms(given_identity, index, CONTAINER_LIST_SELECTORS + class->selectors[at]);
	}
	return 0;
}

/* add_container adds the atoms of a container to identity->plane: those of an unidentified one if it
 * has no class. */
__noinline int add_container(identity_arg given_identity, __u32 index, __u32 container)
{
	const struct container_class *class;
	__u32 i, count;

	if (container == CONTAINER_HOST)
		return add_atoms(given_identity, index, CONTAINER_LIST_HOST);
	class = class_of_container(container);
	if (!class)
		return add_atoms(given_identity, index, CONTAINER_LIST_UNIDENTIFIED);
	count = class->count;
	for (i = 0; i <= MAX_CONTAINER_SELECTORS && i < count; i += SELECTORS_AT_ONCE)
		add_some_selectors(given_identity, index, container, i);
	return 0;
}

/* add_containers adds the atoms of the containers of identity->subject. */
static __always_inline void add_containers(struct identity *identity)
{
	const struct subjects *subjects = subjects_of(tables_in(SLOT_ACTIVE));
	__u32 first = identity->subject.first_container, last = identity->subject.last_container;

	if (!subjects)
		return;
	add_container(hand_identity(identity), subjects->container_atoms, last);
	if (first != CONTAINER_HOST && first != last)
		add_container(hand_identity(identity), subjects->container_atoms, first);
}

/* In place of a set of atoms: all. */
#define ALL_ATOMS ((__u32)-1)

/* hash_line continues scratch->sip by those of a line of the class's atoms that are in a set at
 * `at`, or by all. Words without any count nothing, so that what is empty costs little. */
__noinline int hash_line(scratch_arg given, __u32 at, __u32 line)
{
	void *tables = tables_in(SLOT_ACTIVE);
	struct scratch *scratch = scratch_of(given);
	__u64 all = at == ALL_ATOMS ? -1ULL : 0;
	const __u64 *words, *atoms;
	struct sip sip;
	int i;

	if (!tables || !scratch)
		return 0;
	/* One loop for both: then any line does. */
	words = (const void *)line_at(tables, all ? 0 : at + line * LINE_WORDS);
	if (!words)
		return 0;
	sip = scratch->sip;
	atoms = line_of(scratch->class.atoms, line);
	if (!atoms)
		return 0;
	for (i = 0; i < ATOMS_AT_ONCE; i++) {
		__u64 word = atoms[i] & (words[i] | all);

		if (!word)
			continue;
		sip_word(&sip, line * ATOMS_AT_ONCE + i);
		sip_word(&sip, word);
	}
	scratch->sip = sip;
	return 0;
}

/* hash_atoms returns a hash of the class's atoms that are in a set as well. */
__noinline __u64 hash_atoms(scratch_arg given, __u64 seed, __u32 number)
{
	struct scratch *scratch = scratch_of(given);
	const struct subjects *subjects = subjects_of(tables_in(SLOT_ACTIVE));
	__u32 at = ALL_ATOMS, lines, i;

	if (!scratch || !subjects)
		return 0;
	lines = subjects->lines;
	if (number != ALL_ATOMS)
		at = subjects->planes + number * lines * LINE_WORDS;
	sip_start(&scratch->sip);
	sip_word(&scratch->sip, seed);
	for (i = 0; i < ATOM_LINES && i < lines; i++)
		hash_line(hand(scratch), at, i);
	return sip_finish(&scratch->sip);
}

/* has_line reports whether any of a line of the class's atoms is in a set at `at`. */
__noinline int has_line(scratch_arg given, __u32 at, __u32 line)
{
	void *tables = tables_in(SLOT_ACTIVE);
	struct scratch *scratch = scratch_of(given);
	const __u64 *words, *atoms;
	__u64 found = 0;
	int i;

	if (!tables || !scratch)
		return true; /* fails closed */
	words = (const void *)line_at(tables, at + line * LINE_WORDS);
	if (!words)
		return true;
	atoms = line_of(scratch->class.atoms, line);
	if (!atoms)
		return true;
	for (i = 0; i < ATOMS_AT_ONCE; i++)
		found |= words[i] & atoms[i];
	return found != 0;
}

/* has_atoms reports whether any of the class's atoms is in a set. */
__noinline int has_atoms(scratch_arg given, __u32 number)
{
	const struct subjects *subjects = subjects_of(tables_in(SLOT_ACTIVE));
	__u32 at, lines, i;
	int found = 0;

	if (!subjects)
		return true; /* fails closed */
	lines = subjects->lines;
	at = subjects->planes + number * lines * LINE_WORDS;
	for (i = 0; i < ATOM_LINES && i < lines && !found; i++)
		found = has_line(given, at, i);
	return found;
}

#endif
