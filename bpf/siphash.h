/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * SipHash-1-3 (Aumasson and Bernstein, "SipHash: a fast short-input PRF",
 * 2012; 1-3 is the variant that hash tables use). The key is random for each
 * load, so that two paths which collide cannot be constructed. Go's side is
 * internal/compile/siphash.go; a test compares the two in a real kernel.
 */
#ifndef EBPFGUARD_SIPHASH_H
#define EBPFGUARD_SIPHASH_H

#include "scratch.h"

static __always_inline __u64 rotate(__u64 x, int n)
{
	return (x << n) | (x >> (64 - n));
}

static __always_inline void sip_round(struct sip *s)
{
	s->v0 += s->v1;
	s->v2 += s->v3;
	s->v1 = rotate(s->v1, 13) ^ s->v0;
	s->v3 = rotate(s->v3, 16) ^ s->v2;
	s->v0 = rotate(s->v0, 32);
	s->v2 += s->v1;
	s->v0 += s->v3;
	s->v1 = rotate(s->v1, 17) ^ s->v2;
	s->v3 = rotate(s->v3, 21) ^ s->v0;
	s->v2 = rotate(s->v2, 32);
}

static __always_inline void sip_start(struct sip *s)
{
	s->v0 = hash_key[0] ^ 0x736f6d6570736575;
	s->v1 = hash_key[1] ^ 0x646f72616e646f6d;
	s->v2 = hash_key[0] ^ 0x6c7967656e657261;
	s->v3 = hash_key[1] ^ 0x7465646279746573;
}

static __always_inline void sip_word(struct sip *s, __u64 word)
{
	s->v3 ^= word;
	sip_round(s);
	s->v0 ^= word;
}

static __always_inline __u64 sip_finish(struct sip *s)
{
	s->v2 ^= 0xff;
	sip_round(s);
	sip_round(s);
	sip_round(s);
	return s->v0 ^ s->v1 ^ s->v2 ^ s->v3;
}

#endif
