/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Reading a revision of tables (abi.h). Global functions take numbers only (5.10), no
 * pointer to tables, so each of them fetches the revision anew. A caller of several
 * compares the revision's number before and after (is_active, row.h).
 */
#ifndef EBPFGUARD_TABLES_H
#define EBPFGUARD_TABLES_H

#include "siphash.h"
#include "cache/stamp.h"

/* What a look-up returns when the tables are damaged. */
#define NOT_FOUND ((__u64)-1)

static __always_inline void *tables_in(__u32 slot)
{
	return bpf_map_lookup_elem(&revisions, &slot);
}

static __always_inline const struct line *line_at(void *tables, __u32 word)
{
	__u32 index = word / LINE_WORDS;

	return bpf_map_lookup_elem(tables, &index);
}

static __always_inline __u64 word_at(void *tables, __u32 word)
{
	const struct line *line = line_at(tables, word);

	return line ? line->words[word % LINE_WORDS] : NOT_FOUND;
}

static __always_inline const struct revision *revision_of(void *tables)
{
	return (const void *)line_at(tables, 0);
}

static __always_inline const struct operation *operation_of(void *tables, __u32 id)
{
	return (const void *)line_at(tables, 2 * id * LINE_WORDS);
}

static __always_inline const struct tables *tables_of(void *tables, __u32 id)
{
	return (const void *)line_at(tables, (2 * id + 1) * LINE_WORDS);
}

/* Steps of a binary search over at most 2^24 entries. */
#define MAX_STEPS 25

/* is_less returns all ones when the number in `key` is less than that in
 * `start`, else 0. Numbers have `words` words, the most significant first. No
 * branch: see search(). */
static __always_inline __s64 is_less(const __u32 *key, const __u32 *start, int words)
{
	__s64 borrow = 0;
	int i;

	for (i = words - 1; i >= 0; i--)
		borrow = ((__s64)key[i] - (__s64)start[i] + borrow) >> 63;
	return borrow;
}

/*
 * narrow halves an interval of indices, low | high << 32, `steps` times at most, so that
 * the first entry whose number is greater than the key stays in it; NOT_FOUND when the
 * tables are damaged. Entries have `size` words and begin with their number.
 *
 * The two outcomes of a comparison are merged by masks, not by a branch: the
 * verifier would follow each path of a branch through all steps that remain.
 */
static __always_inline __u64 narrow(void *tables, __u32 at, __u32 size, __u64 interval,
				    const __u32 *key, int words, int steps)
{
	__u64 low = (__u32)interval, high = interval >> 32;
	int i;

	for (i = 0; i < steps && low < high; i++) {
		__u64 middle = (low + high) >> 1, less;
		__u32 word = at + middle * size;
		const struct line *line = line_at(tables, word);

		if (!line)
			return NOT_FOUND;
		less = is_less(key, &line->words[word & (LINE_WORDS - size)], words);
		barrier_var(less); /* or clang makes it a branch */
		high = (middle & less) | (high & ~less);
		low = (low & less) | ((middle + 1) & ~less);
	}
	return low | high << 32;
}

/* search returns the index of the last entry whose number is not greater than the key;
 * NOT_FOUND when there is none. 2^steps is more than there are entries. */
static __always_inline __u64 search(void *tables, __u32 at, __u32 count, __u32 size,
				    const __u32 *key, int words, int steps)
{
	__u64 found = narrow(tables, at, size, (__u64)count << 32, key, words, steps);

	return found == NOT_FOUND ? NOT_FOUND : (__u64)(__u32)found - 1;
}

/* The entry of a table by its index; NULL when the index is NOT_FOUND or the
 * tables are damaged. */
static __always_inline const void *entry_at(void *tables, __u32 at, __u64 index, __u32 size)
{
	__u32 word = at + index * size;
	const struct line *line;

	if (index == NOT_FOUND)
		return NULL;
	line = line_at(tables, word);
	return line ? &line->words[word & (LINE_WORDS - size)] : NULL;
}

#define ENTRY_WORDS(type) (sizeof(type) / sizeof(__u32))

/* Steps that narrow_numbers takes at once: the verifier follows each turn of a loop, so two
 * short loops cost it less than a long one. */
#define STEPS_AT_ONCE 5
_Static_assert(MAX_STEPS % STEPS_AT_ONCE == 0, "no fewer steps than MAX_STEPS");

/* narrow_numbers is narrow() for intervals of the active revision. */
__noinline __u64 narrow_numbers(__u32 at, __u64 interval, __u32 number)
{
	void *tables = tables_in(SLOT_ACTIVE);

	if (!tables)
		return NOT_FOUND;
	return narrow(tables, at, ENTRY_WORDS(struct interval), interval, &number, 1,
		      STEPS_AT_ONCE);
}

/* index_of returns the index of the interval of the active revision in which a
 * number lies. */
__noinline __u64 index_of(__u32 at, __u32 count, __u32 number)
{
	__u64 interval = (__u64)count << 32;
	int i;

	for (i = 0; i < MAX_STEPS / STEPS_AT_ONCE; i++) {
		interval = narrow_numbers(at, interval, number);
		if (interval == NOT_FOUND)
			return NOT_FOUND;
		if ((__u32)interval >= interval >> 32)
			break;
	}
	return (__u64)(__u32)interval - 1;
}

static __always_inline const struct interval *interval_at(void *tables, __u32 at, __u64 index)
{
	return entry_at(tables, at, index, ENTRY_WORDS(struct interval));
}

/* class_in_intervals returns the class of a number, NOT_FOUND when the tables
 * are damaged. */
static __always_inline __u64 class_in_intervals(void *tables, __u32 at, __u32 count, __u32 number)
{
	const struct interval *interval = interval_at(tables, at, index_of(at, count, number));

	return interval ? interval->class : NOT_FOUND;
}

/* narrow_addresses is narrow() for intervals of IPv6 addresses of the active revision; the
 * address comes in two halves in network byte order. */
__noinline __u64 narrow_addresses(__u32 at, __u64 interval, __u64 first, __u64 second)
{
	void *tables = tables_in(SLOT_ACTIVE);
	__u32 key[4] = {bpf_ntohl(first), bpf_ntohl(first >> 32), bpf_ntohl(second),
			bpf_ntohl(second >> 32)};

	if (!tables)
		return NOT_FOUND;
	return narrow(tables, at, ENTRY_WORDS(struct interval6), interval, key, 4, STEPS_AT_ONCE);
}

/* class_in_intervals6 returns the class of an IPv6 address, given in two halves
 * in network byte order. */
static __always_inline __u64 class_in_intervals6(void *tables, __u32 at, __u32 count, __u64 first,
						 __u64 second)
{
	__u64 range = (__u64)count << 32;
	const struct interval6 *interval;
	int i;

	for (i = 0; i < MAX_STEPS / STEPS_AT_ONCE; i++) {
		range = narrow_addresses(at, range, first, second);
		if (range == NOT_FOUND)
			return NOT_FOUND;
		if ((__u32)range >= range >> 32)
			break;
	}
	interval = entry_at(tables, at, (__u64)(__u32)range - 1, ENTRY_WORDS(struct interval6));
	return interval ? interval->class : NOT_FOUND;
}

/* value_in returns the value of a key in a line of the dictionary. */
static __always_inline const struct state *value_in(void *tables, __u32 dictionary, __u32 line,
						    __u64 key)
{
	const struct entry *entries = (const void *)line_at(tables, dictionary + line * LINE_WORDS);
	int i;

	if (!entries)
		return NULL;
	for (i = 0; i < (int)(sizeof(struct line) / sizeof(struct entry)); i++)
		if (((__u64)entries[i].key[0] << 32 | entries[i].key[1]) == key)
			return &entries[i].value;
	return NULL;
}

/* A state as a number: accept << 32 | number. Found ones are never 0. */
#define NO_STATE 0

/* find looks a key up in the dictionary of a revision. Looking the
 * verdict up finds out that a table is damaged. */
__noinline __u64 find(__u32 slot, __u64 key)
{
	void *tables = tables_in(slot);
	const struct revision *revision;
	const struct state *value;
	__u32 dictionary, mask;

	if (!tables)
		return NO_STATE;
	revision = revision_of(tables);
	if (!revision || !revision->dictionary_lines)
		return NO_STATE;
	dictionary = revision->dictionary;
	mask = revision->dictionary_lines - 1;
	value = value_in(tables, dictionary, key & mask, key);
	if (!value)
		value = value_in(tables, dictionary, key >> 32 & mask, key);
	if (!value)
		return NO_STATE;
	return (__u64)value->accept << 32 | value->number;
}

#endif
