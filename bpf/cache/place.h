/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * What is kept of places: of each address that a socket connected, sent or bound to, that
 * it was allowed. One word of 64 bits stands for all that the answer depends on: the
 * revision, the operation, family, type and protocol of the socket, the address as it
 * came, the ports that the kernel may choose for port 0, and who asks. A word that is
 * there says: allowed. An answer that holds for anyone is kept without who asks, so that
 * nothing has to be looked up of the task.
 *
 * Whoever may connect chooses addresses, and may try to find two of which one is allowed
 * and the other one forbidden that have the same word. So the hash is keyed. It is no
 * SipHash, which would cost as much as all the rest (180 instructions for two words), but
 * one for which more can be proved: the inputs are cut into numbers x of 32 bits, and a
 * half of the word is the upper half of
 *
 *	a[0] * x[0] + a[1] * x[1] + ...    modulo 2^64
 *
 * with random a of 64 bits that are each half's own. That is universal (Dietzfelbinger,
 * "Universal hashing and k-wise independent random variables via integer arithmetic
 * without primes", 1996): whatever two different inputs somebody chooses, they have the
 * same word with a probability of 2^-64, over the choice of a. Nobody can learn anything
 * of a, other than by finding such a pair: words are never shown, and the slot where a
 * word is kept, which the time that a system call takes may tell, is chosen with random
 * numbers of its own.
 *
 * A word is one store and one load, so no other word can be read in between.
 */
#ifndef EBPFGUARD_CACHE_PLACE_H
#define EBPFGUARD_CACHE_PLACE_H

#include "../row.h"

enum { PLACE_BITS = 13 };

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1 << PLACE_BITS);
	__type(key, __u32);
	__type(value, __u64);
} places SEC(".maps");

/* The inputs. One that is 0 adds nothing, so that none need be added that is not there.
 * The first is never 0 in what is kept, so that no empty slot has its word. */
enum place_input {
	PLACE_REVISION = 0,
	/* Protocol, type and family of the socket, and the operation. */
	PLACE_SOCKET,
	/* The first bytes of the address: family and port; then IPv4's address. */
	PLACE_PORT,
	PLACE_ADDRESS4,
	/* The address of IPv6. */
	PLACE_ADDRESS6,
	PLACE_AUTOMATIC = PLACE_ADDRESS6 + 4,
	PLACE_SUBJECT,
	PLACE_INPUTS = PLACE_SUBJECT + 2,
};

/* What a slot is chosen by. */
enum place_slot { SLOT_START = 0, SLOT_ADDRESS6, SLOT_SUBJECT = SLOT_ADDRESS6 + 2, SLOT_INPUTS };

_Static_assert(PLACE_KEYS == 2 * PLACE_INPUTS + SLOT_INPUTS, "a number for each use of an input");

/* The random numbers, which are odd (internal/bpf, object.go). */
volatile const __u64 place_keys[PLACE_KEYS] = {};

/* The sums for both halves of a word and for its slot. */
struct place {
	__u64 upper, lower, slot;
};

/* place_add adds an input, of 32 bits. */
static __always_inline void place_add(struct place *place, enum place_input input, __u64 value)
{
	place->upper += place_keys[2 * input] * value;
	place->lower += place_keys[2 * input + 1] * value;
}

static __always_inline void place_add_both(struct place *place, enum place_input input, __u64 value)
{
	place_add(place, input, (__u32)value);
	place_add(place, input + 1, value >> 32);
}

/* place_choose chooses the slot by one more number. */
static __always_inline void place_choose(struct place *place, enum place_slot input, __u64 value)
{
	place->slot += place_keys[2 * PLACE_INPUTS + input] * value;
}

/* place_add_subject makes it the place for those with a key (subject_key). */
static __always_inline void place_add_subject(struct place *place, __u64 key)
{
	place_add_both(place, PLACE_SUBJECT, key);
	place_choose(place, SLOT_SUBJECT, key);
}

static __always_inline __u64 place_word(const struct place *place)
{
	return place->upper >> 32 << 32 | place->lower >> 32;
}

static __always_inline __u64 *place_slot(const struct place *place)
{
	__u32 slot = place->slot >> (64 - PLACE_BITS);

	return bpf_map_lookup_elem(&places, &slot);
}

/* is_place_kept reports whether a place is kept, for anyone. */
static __always_inline bool is_place_kept(const struct place *place)
{
	volatile __u64 *slot = place_slot(place);

	return slot && *slot == place_word(place);
}

/* What is kept of a place for a kind of process: an allowance that has to be counted is
 * kept as the complement of the word. */
enum kept { KEPT_NOTHING = 0, KEPT_ALLOWED, KEPT_COUNTED };

static __always_inline enum kept place_kept(const struct place *place)
{
	volatile __u64 *slot = place_slot(place);
	__u64 kept;

	if (!slot)
		return KEPT_NOTHING;
	kept = *slot;
	return kept == place_word(place)    ? KEPT_ALLOWED
	       : kept == ~place_word(place) ? KEPT_COUNTED
					    : KEPT_NOTHING;
}

/* place_keep keeps that a place is allowed. */
static __always_inline void place_keep(const struct place *place, bool counted)
{
	volatile __u64 *slot = place_slot(place);

	if (slot)
		*slot = counted ? ~place_word(place) : place_word(place);
}

#endif
