/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* Running an automaton (abi.h, struct state) over names. */
#ifndef EBPFGUARD_AUTOMATON_H
#define EBPFGUARD_AUTOMATON_H

#include "name.h"

static __always_inline struct state state_of(__u64 number)
{
	struct state state = {.number = number, .accept = number >> 32};

	return state;
}

static __always_inline __u64 number_of(struct state state)
{
	return (__u64)state.accept << 32 | state.number;
}

#define DEAD ((__u64)STATE_ABSORBING << 32)

/* Bytes of a name that an automaton passes at once: the verifier follows each turn of a
 * loop, so two short loops cost it less than a long one. */
#define GLOB_BYTES 8

/* glob_bytes leaves a state of the automaton over bytes by those of scratch->name that
 * follow. Global, so that the verifier checks it once. */
__noinline __u32 glob_bytes(scratch_arg given, __u32 slot, __u32 state, __u64 at)
{
	struct scratch *scratch = scratch_of(given);
	void *tables = tables_in(slot);
	const struct revision *revision;
	__u64 bytes, left;

	if (!scratch || !tables || at > MAX_NAME + 1 - GLOB_BYTES || at % GLOB_BYTES)
		return 0;
	revision = revision_of(tables);
	if (!revision)
		return 0;
	/* The bytes in one register, and how many of them count: there is little stack. */
	bytes = scratch->name[at / GLOB_BYTES];
	left = scratch->name_length - at;
	for (int i = 0; i < GLOB_BYTES && left; i++, left--, bytes >>= 8) {
		__u32 class = word_at(tables, revision->glob_bytes + (bytes & 0xff) / 4) >>
				      bytes % 4 * 8 &
			      0xff;

		state = word_at(tables,
				revision->glob_next + state * revision->glob_columns + class);
	}
	return state;
}

/* glob_class returns which globs scratch->name matches. */
static __always_inline __u32 glob_class(struct scratch *scratch, __u32 slot)
{
	__u32 state = 0, length = scratch->name_length, i;
	const struct revision *revision;
	void *tables;

	for (i = 0; i < MAX_NAME + 1 && i < length; i += GLOB_BYTES)
		state = glob_bytes(hand(scratch), slot, state, i);
	tables = tables_in(slot);
	revision = tables ? revision_of(tables) : NULL;
	return revision ? word_at(tables, revision->glob_accept + state) : 0;
}

static __always_inline __u64 hash_glob(__u32 state, __u32 class)
{
	struct sip sip;

	sip_start(&sip);
	sip_word(&sip, (__u64)TAG_GLOB << 32 | state);
	sip_word(&sip, class);
	return sip_finish(&sip);
}

/* step_of leaves a state by scratch->name. */
static __always_inline __u64 step_of(struct scratch *scratch, __u32 slot, __u64 from)
{
	struct state state = state_of(from);
	__u32 class = 0;
	__u64 to;

	if (state.accept & STATE_ABSORBING)
		return from;
	to = find(slot, hash_name(scratch, (__u64)TAG_NAME << 32 | state.number));
	if (to != NO_STATE)
		return to;
	if (!(state.accept & STATE_WILD))
		return DEAD;
	if (state.accept & STATE_GLOBS)
		class = glob_class(scratch, slot);
	to = find(slot, hash_glob(state.number, class));
	if (to == NO_STATE && class)
		to = find(slot, hash_glob(state.number, 0));
	return to == NO_STATE ? DEAD : to;
}

__noinline __u64 step(scratch_arg given, __u32 slot, __u64 from)
{
	struct scratch *scratch = scratch_of(given);

	return scratch ? step_of(scratch, slot, from) : DEAD;
}

#endif
