/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* How a key of an object becomes its class: the small number that stands for it in the
 * operation's table of verdicts. */
#ifndef EBPFGUARD_KEYS_H
#define EBPFGUARD_KEYS_H

#include "automaton.h"

/* Where the class of a key is looked up. */
enum key_kind {
	/* The operation has no such key, or there is but one class of it. */
	KEY_NONE = 0,
	/* The interval in which the number lies, in a table of struct tables. */
	KEY_INTERVAL,
	/* The same for the two halves of an IPv6 address. */
	KEY_INTERVAL6,
	/* The number is the index of its class in a table. */
	KEY_DIRECT,
	/* The automaton over a single name, the object's source or type. */
	KEY_AUTOMATON,
	/* Which of the operation's sets of flags it has any of. */
	KEY_FLAGS,
};

struct key {
	enum key_kind kind;
	__u32 where; /* enum table_id or automaton */
	__u64 value, second;
};

/* clang-format off */
#define INTERVAL(table, number) {.kind = KEY_INTERVAL, .where = (table), .value = (number)}
#define INTERVAL6(table, first, rest) \
	{.kind = KEY_INTERVAL6, .where = (table), .value = (first), .second = (rest)}
#define DIRECT(table, number) {.kind = KEY_DIRECT, .where = (table), .value = (number)}
#define AUTOMATON(automaton) {.kind = KEY_AUTOMATON, .where = (automaton)}
#define FLAGS(flags) {.kind = KEY_FLAGS, .value = (flags)}
/* clang-format on */

/* The automata for single names. */
enum { SOURCE = 1, TYPE = 2 };

/* The source of an object that could not be found out. */
#define SOURCE_UNKNOWN 1

/* read_string reads the object's source or type into scratch->name; false
 * when it is longer than a name or cannot be read. */
__noinline int read_string(scratch_arg given, __u32 automaton)
{
	struct scratch *scratch = scratch_of(given);
	const void *string;
	long length;

	if (!scratch)
		return false;
	string = automaton == SOURCE ? (void *)scratch->object.source : scratch->object.type;
	if ((__u64)string == SOURCE_UNKNOWN)
		return false;
	scratch->name_length = 0;
	if (!string)
		return true;
	length = bpf_probe_read_kernel_str(scratch->name, MAX_NAME + 1, string);
	if (length <= 0 || length > MAX_NAME)
		return false;
	end_name(scratch, length - 1);
	return true;
}

/* class_of_string returns the class of the object's source or type. */
__noinline __u64 class_of_string(__u32 id, __u32 automaton)
{
	void *tables = tables_in(SLOT_ACTIVE);
	const struct operation *operation;
	struct scratch *scratch = current_scratch();
	__u64 start;

	if (!tables || !scratch)
		return NOT_FOUND;
	operation = operation_of(tables, id);
	if (!operation)
		return NOT_FOUND;
	start = number_of(automaton == SOURCE ? operation->automata[1] : operation->automata[2]);
	if (!read_string(hand(scratch), automaton))
		return automaton == SOURCE ? operation->unknown_source : NOT_FOUND;
	if (!scratch->name_length)
		return 0;
	return step(hand(scratch), SLOT_ACTIVE, start) >> 32 & CLASS_MASK;
}

/* class_of_flags returns which of the operation's sets of flags the flags have any
 * of. */
__noinline __u32 class_of_flags(__u32 id, __u32 flags)
{
	void *tables = tables_in(SLOT_ACTIVE);
	const struct operation *operation;
	__u32 class = 0, i;

	if (!tables)
		return 0;
	operation = operation_of(tables, id);
	if (!operation)
		return 0;
	for (i = 0; i < MAX_MASKS; i++) {
		__u32 mask;

		if (i >= operation->mask_count)
			break;
		mask = word_at(tables, operation->masks + i);
		if (flags & mask)
			class |= 1 << i;
	}
	return class;
}

/* class_of_key returns the class of a key; NOT_FOUND when it could not be read or the
 * tables are damaged. The descriptor is constant, so that one case of it is left. */
static __always_inline __u64 class_of_key(void *tables, const struct tables *intervals, __u32 id,
					  const struct key *key)
{
	switch (key->kind) {
	case KEY_NONE:
		return 0;
	case KEY_INTERVAL:
		return class_in_intervals(tables, intervals->tables[key->where].at,
					  intervals->tables[key->where].count, key->value);
	case KEY_INTERVAL6:
		return class_in_intervals6(tables, intervals->tables[key->where].at,
					   intervals->tables[key->where].count, key->value,
					   key->second);
	case KEY_DIRECT:
		return word_at(tables, intervals->tables[key->where].at + key->value);
	case KEY_AUTOMATON:
		return class_of_string(id, key->where);
	case KEY_FLAGS:
		return class_of_flags(id, key->value);
	}
	return NOT_FOUND;
}

#endif
