/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * The verdict on a socket: its address, port and protocol are looked up in the
 * tables, and with the process's row they name one verdict. The unspecified
 * address has a class of its own, in which the compiler has settled what it
 * stands for; what port 0 stands for is known here only (docs/semantics.md).
 */
#ifndef EBPFGUARD_SOCKET_H
#define EBPFGUARD_SOCKET_H

#include "sockaddr.h"

/* Intervals of ports that automatic_next looks at; the verifier follows each turn of a
 * loop, so two short loops cost it less than a long one. */
#define PORTS_AT_ONCE 8
_Static_assert(MAX_PORT_INTERVALS % PORTS_AT_ONCE == 0, "all are looked at");

/* What automatic_next adds to a verdict. */
#define AUTOMATIC_MORE (1ULL << 32)
/* ... which is the answer, whatever was found before. */
#define AUTOMATIC_FAILED (1ULL << 33)

/* automatic_next returns the strictest verdict over some of the intervals of ports from
 * which the kernel may choose, beginning with the one of an index. It takes the active
 * tables and compares their number with that of the judgement which it continues.
 * `classes` are those of protocol and address: protocol << 32 | address. */
__noinline __u64 automatic_next(__u32 id, __u64 begun, __u64 classes, __u64 index, __u32 last)
{
	struct judgement judgement;
	__u32 strictest = 0;
	const struct table *ports;
	int i;

	if (!fetch_intervals(&judgement, id, begun))
		return AUTOMATIC_FAILED | (__u32)judgement.answer;
	ports = &judgement.intervals->tables[TABLE_PORTS];
	for (i = 0; i < PORTS_AT_ONCE; i++, index++) {
		const struct interval *interval;

		if (index >= ports->count)
			return strictest;
		interval = interval_at(judgement.tables, ports->at, index);
		if (!interval)
			return AUTOMATIC_FAILED | UNDECIDED_DENY;
		if (interval->start > last)
			return strictest;
		strictest = stricter(strictest, verdict_of(&judgement, classes, interval->class,
							   classes >> 32, 0));
	}
	return AUTOMATIC_MORE | strictest;
}

/* judge_automatic returns the strictest verdict over the ports that the kernel may choose:
 * first << 16 | last. */
__noinline __u32 judge_automatic(__u32 id, __u64 begun, __u64 classes, __u32 range)
{
	__u64 found = AUTOMATIC_MORE, index;
	struct judgement judgement;
	const struct table *ports;
	__u32 strictest = 0;
	int i;

	if (!fetch_intervals(&judgement, id, begun))
		return judgement.answer;
	ports = &judgement.intervals->tables[TABLE_PORTS];
	index = index_of(ports->at, ports->count, range >> 16);
	if (index == NOT_FOUND)
		return UNDECIDED_DENY;
	for (i = 0; i < MAX_PORT_INTERVALS / PORTS_AT_ONCE && found & AUTOMATIC_MORE; i++) {
		found = automatic_next(id, begun, classes, index, range & 0xffff);
		if (found & AUTOMATIC_FAILED)
			return found;
		strictest = stricter(strictest, found);
		index += PORTS_AT_ONCE;
	}
	/* Else there are too many to look at. */
	return found & AUTOMATIC_MORE ? UNDECIDED_DENY : strictest;
}

/* What judge_socket takes as a number: an object without its address. */
struct packed_object {
	__u16 port;
	__u16 automatic_first, automatic_last;
	__u8 protocol;
	__u8 family : 7;
	__u8 dual_stack : 1;
};
_Static_assert(sizeof(struct packed_object) == sizeof(__u64), "one number");

static __always_inline __u32 judge_address(const struct judgement *judgement, __u64 address,
					   __u32 port, __u32 protocol,
					   const struct packed_object *object)
{
	__u32 verdict, automatic, any_port;

	if (address == NOT_FOUND)
		return UNDECIDED_DENY;
	verdict = verdict_of(judgement, address, port, protocol, 0);
	any_port = verdict & FLAG_ANY_PORT;
	verdict &= ~FLAG_ANY_PORT; /* or what no rule concerns would look like another thing */
	if (!any_port || object->port || !has_ports(object->protocol))
		return verdict;
	automatic = judge_automatic(judgement->id, judgement->number | judgement->row,
				    address | (__u64)protocol << 32,
				    (__u32)object->automatic_first << 16 | object->automatic_last);
	if (automatic == RETRY)
		return RETRY;
	return stricter(verdict, automatic & ~FLAG_ANY_PORT);
}

/* socket_verdict returns the verdict on a socket's address, port and protocol. */
static __always_inline __u32 socket_verdict(const struct judgement *judgement, __u64 first,
					    __u64 second, const struct packed_object *object)
{
	__u32 number = has_ports(object->protocol) ? object->port : NO_PORT;
	__u64 protocol = class_of(judgement, (struct key)DIRECT(TABLE_PROTOCOLS, object->protocol));
	__u64 port = class_of(judgement, (struct key)INTERVAL(TABLE_PORTS, number)), address;
	__u32 verdict = 0, verdict4;

	if (protocol == NOT_FOUND || port == NOT_FOUND)
		return UNDECIDED_DENY;
	if (object->family == 6) {
		address =
			class_of(judgement, (struct key)INTERVAL6(TABLE_ADDRESSES6, first, second));
		verdict = judge_address(judgement, address, port, protocol, object);
		if (!object->dual_stack || verdict == RETRY)
			return verdict;
	}
	/* The last word of [::] reads as 0.0.0.0. */
	address = class_of(judgement,
			   (struct key)INTERVAL(TABLE_ADDRESSES4, bpf_ntohl(second >> 32)));
	verdict4 = judge_address(judgement, address, port, protocol, object);
	return verdict4 == RETRY ? RETRY : stricter(verdict, verdict4);
}

/*
 * judge_socket judges a socket's address, port and protocol, once: revision << 32 |
 * verdict, or RETRY. The address comes in two halves in network byte order.
 */
__noinline __u64 judge_socket(__u32 id, __u64 begun, __u64 first, __u64 second, __u64 packed)
{
	struct judgement judgement;
	__u32 verdict;

	if (!fetch_intervals(&judgement, id, begun))
		return judgement.answer;
	verdict = socket_verdict(&judgement, first, second, (void *)&packed);
	return is_active(begun) ? judgement.number | verdict : RETRY;
}

/* pack returns an object without its address as a number. */
static __always_inline __u64 pack(const struct socket_object *object)
{
	struct packed_object packed = {
		.port = object->port,
		.automatic_first = object->automatic_first,
		.automatic_last = object->automatic_last,
		.protocol = object->protocol,
		.family = object->family,
		.dual_stack = object->dual_stack,
	};

	return *(__u64 *)&packed;
}

/* with_unreadable returns the answer on an object that may not have been read. */
static __always_inline __u64 with_unreadable(__u64 answer, const struct socket_object *object)
{
	if (object->unreadable && (__u32)answer != NO_RULE_ALLOW && (__u32)answer != RETRY)
		return answer >> 32 << 32 | UNDECIDED_DENY;
	return answer;
}

/* ask returns the verdict on an object and the revision that decided, or
 * RETRY. */
static __always_inline __u64 ask(enum operation_id id, __u64 begun,
				 const struct socket_object *object)
{
	const __u64 *address = (const __u64 *)object->address;

	return with_unreadable(judge_socket(id, begun, address[0], address[1], pack(object)),
			       object);
}

/* decide_socket judges a socket and concludes. The answer is RETRY unless it was found
 * already. */
static __always_inline int decide_socket(enum operation_id id, enum hook_id hook, __u64 answer,
					 const struct socket_object *object)
{
	int try;

	if ((__u32)answer == RETRY)
		answer = JUDGE(try, id, ask, object);
	return conclude(answer, id, hook, object);
}

/*
 * decide_address judges the address that a socket is to have or to reach, and
 * concludes. Programs connect and send to the same place again and again, so the last
 * answer is kept, together with all that it depends on. The message is the one that is
 * sent, if any.
 */
static __always_inline int decide_address(enum operation_id id, enum hook_id hook, struct sock *sk,
					  const void *address, __u32 length,
					  const struct msghdr *message)
{
	struct socket_object object;
	union raw_address raw = {};
	struct subject *subject;
	__u64 begun = begin_by(id, &subject), answer = RETRY, socket;
	struct socket_cache *cache = NULL;
	enum sockaddr_kind kind;
	__u32 automatic = 0;
	__u16 family;
	bool readable;

	if (begun & ROW_ALLOWED || !sk)
		return 0;
	socket = socket_of(sk);
	family = family_of(socket);
	if (!is_internet(family)) {
		if (!is_carried(family))
			return 0; /* no rule can concern it */
		if (family == AF_RXRPC) {
			if (length < RXRPC_TRANSPORT)
				return 0; /* refused by the protocol itself */
			address += RXRPC_TRANSPORT;
			length -= RXRPC_TRANSPORT;
		}
	}
	if (length < sizeof(struct sockaddr_in))
		return 0; /* refused by the protocol itself */
	readable = read_address(&raw, address, length);
	if (id == OPERATION_SOCKET_BIND && !raw.in.sin_port)
		automatic = automatic_of(sk);
	if (!is_final(begun) && subject && readable) {
		cache = &subject->socket_caches[id == OPERATION_SOCKET_BIND];
		if (cache->begun == begun && cache->address[0] == raw.words[0] &&
		    cache->address[1] == raw.words[1] && cache->address[2] == raw.words[2] &&
		    cache->socket == socket && cache->automatic == automatic) {
			answer = cache->answer;
			if ((__u32)answer == NO_RULE_ALLOW)
				return 0;
		}
	}
	object_begin(&object, socket);
	object.unreadable = !readable;
	kind = id == OPERATION_SOCKET_BIND
		       ? read_local(&object, sk, family, &raw, length, automatic)
		       : read_remote(&object, sk, family, &raw, length, message);
	if (kind == SOCKADDR_NONE)
		return 0;
	if (family == AF_RDS)
		object.port = RDS_TCP_PORT;
	if (kind == SOCKADDR_ANY)
		return conclude(undecided(id), id, hook, &object);
	if (cache && (__u32)answer == RETRY) {
		answer = ask(id, begun, &object);
		if ((__u32)answer != RETRY && kind == SOCKADDR_PLACE) {
			cache->begun = begun;
			cache->address[0] = raw.words[0];
			cache->address[1] = raw.words[1];
			cache->address[2] = raw.words[2];
			cache->socket = socket;
			cache->automatic = automatic;
			cache->answer = answer;
		}
	}
	return decide_socket(id, hook, answer, &object);
}

#endif
