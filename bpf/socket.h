/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * The verdict on a socket: its address, port and protocol are looked up in the
 * tables, and with the process's row they name one verdict. The unspecified
 * address has a class of its own, in which the compiler has settled what it
 * stands for; what port 0 stands for is known here only (docs/semantics.md).
 */
#ifndef EBPFGUARD_SOCKET_H
#define EBPFGUARD_SOCKET_H

#include "cache/place.h"
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

/* judge_address judges an address. FLAG_ANY_PORT stays where the ports that the kernel may
 * choose count as well. */
static __always_inline __u32 judge_address(struct judgement *judgement, __u64 address, __u32 port,
					   __u32 protocol, const struct packed_object *object)
{
	__u32 verdict;

	if (address == NOT_FOUND)
		return UNDECIDED_DENY;
	verdict = verdict_of(judgement, address, port, protocol, 0);
	if (object->port || !has_ports(object->protocol))
		verdict &=
			~FLAG_ANY_PORT; /* or what no rule concerns would look like another thing */
	return verdict;
}

/* socket_verdict returns the verdict on a socket's address, port and protocol. */
static __always_inline __u32 socket_verdict(struct judgement *judgement, __u64 first, __u64 second,
					    const struct packed_object *object)
{
	__u32 number = has_ports(object->protocol) ? object->port : NO_PORT;
	__u64 protocol = class_of(judgement, (struct key)DIRECT(TABLE_PROTOCOLS, object->protocol));
	__u64 port = class_of(judgement, (struct key)INTERVAL(TABLE_PORTS, number)), address;
	__u32 verdict = 0, verdict4, any_port;

	if (protocol == NOT_FOUND || port == NOT_FOUND)
		return UNDECIDED_DENY;
	if (object->family == 6) {
		address =
			class_of(judgement, (struct key)INTERVAL6(TABLE_ADDRESSES6, first, second));
		verdict = judge_address(judgement, address, port, protocol, object);
		if (!object->dual_stack)
			return verdict;
	}
	/* The last word of [::] reads as 0.0.0.0. */
	address = class_of(judgement,
			   (struct key)INTERVAL(TABLE_ADDRESSES4, bpf_ntohl(second >> 32)));
	verdict4 = judge_address(judgement, address, port, protocol, object);
	any_port = (verdict | verdict4) & FLAG_ANY_PORT;
	return stricter(verdict & ~FLAG_ANY_PORT, verdict4 & ~FLAG_ANY_PORT) | any_port;
}

/*
 * judge_socket judges a socket's address, port and protocol, once: revision << 32 |
 * verdict, with FOR_ANYONE, or RETRY; with FLAG_ANY_PORT where judge_any_port has to be asked as
 * well. The address comes in two halves in network byte order.
 */
__noinline __u64 judge_socket(__u32 id, __u64 begun, __u64 first, __u64 second, __u64 packed)
{
	struct judgement judgement;
	__u32 verdict;

	if (!fetch_intervals(&judgement, id, begun))
		return judgement.answer;
	verdict = socket_verdict(&judgement, first, second, (void *)&packed);
	if (verdict == NO_RULE_ALLOW && is_for_anyone(&judgement))
		verdict |= FOR_ANYONE;
	return is_active(begun) ? judgement.number | verdict : RETRY;
}

/* No address of the family counts for the ports that the kernel may choose. */
#define NO_CLASSES ((__u64)-1)

/* classes_of_any returns the classes of an address and its protocol, as judge_automatic takes
 * them, if the ports that the kernel may choose count for it. */
__noinline __u64 classes_of_any(__u32 id, __u64 begun, __u64 first, __u64 second, __u64 packed)
{
	const struct packed_object *object = (void *)&packed;
	struct judgement judgement;
	__u64 address, protocol, port;
	__u32 verdict;

	if (!fetch_intervals(&judgement, id, begun))
		return NO_CLASSES;
	protocol = class_of(&judgement, (struct key)DIRECT(TABLE_PROTOCOLS, object->protocol));
	port = class_of(&judgement, (struct key)INTERVAL(TABLE_PORTS, 0));
	if (object->family == 6)
		address = class_of(&judgement,
				   (struct key)INTERVAL6(TABLE_ADDRESSES6, first, second));
	else
		address = class_of(&judgement,
				   (struct key)INTERVAL(TABLE_ADDRESSES4, bpf_ntohl(second >> 32)));
	if (address == NOT_FOUND || protocol == NOT_FOUND || port == NOT_FOUND)
		return NO_CLASSES;
	verdict = verdict_of(&judgement, address, port, protocol, 0);
	return verdict & FLAG_ANY_PORT ? address | protocol << 32 : NO_CLASSES;
}

/* judge_any_port returns the strictest verdict over the ports that the kernel may choose for
 * an object, with FLAG_ANY_PORT, or RETRY. */
static __always_inline __u64 judge_any_port(__u32 id, __u64 begun, __u64 first, __u64 second,
					    __u64 packed)
{
	struct packed_object object = *(struct packed_object *)&packed;
	__u32 range = (__u32)object.automatic_first << 16 | object.automatic_last, verdict = 0, one;
	__u64 classes;
	int i;

	for (i = 0; i < 2; i++) {
		if (i && (object.family == 4 || !object.dual_stack))
			break;
		if (i)
			object.family = 4;
		classes = classes_of_any(id, begun, first, second, *(__u64 *)&object);
		if (classes == NO_CLASSES)
			continue;
		one = judge_automatic(id, begun, classes, range);
		if (one == RETRY)
			return RETRY;
		verdict = stricter(verdict, one & ~FLAG_ANY_PORT);
	}
	return is_active(begun) ? begun >> 32 << 32 | verdict | FLAG_ANY_PORT : RETRY;
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

/* ask_packed returns the verdict on an object and the revision that decided, with FOR_ANYONE
 * where it holds for anyone, or RETRY. */
__noinline __u64 ask_packed(__u32 id, __u64 begun, __u64 first, __u64 second, __u64 packed)
{
	__u64 answer = judge_socket(id, begun, first, second, packed), ports;

	if ((__u32)answer == RETRY || !(answer & FLAG_ANY_PORT))
		return answer;
	ports = judge_any_port(id, begun, first, second, packed);
	if ((__u32)ports == RETRY)
		return RETRY;
	return answer >> 32 << 32 |
	       stricter((__u32)answer & ~FLAG_ANY_PORT, (__u32)ports & ~FLAG_ANY_PORT);
}

/* ask_anyone is ask_packed for an object. */
static __always_inline __u64 ask_anyone(enum operation_id id, __u64 begun,
					const struct socket_object *object)
{
	const __u64 *address = (const __u64 *)object->address;

	return ask_packed(id, begun, address[0], address[1], pack(object));
}

/* ask returns the verdict on an object and the revision that decided, or
 * RETRY. */
static __always_inline __u64 ask(enum operation_id id, __u64 begun,
				 const struct socket_object *object)
{
	return with_unreadable(ask_anyone(id, begun, object) & ~(__u64)FOR_ANYONE, object);
}

/* ask_anew is ask(), as often as JUDGE() does. */
static __always_inline __u64 ask_anew(enum operation_id id, const struct socket_object *object)
{
	__u64 answer;
	int try;

	answer = JUDGE(try, id, ask_anyone, object);
	return with_unreadable(answer & ~(__u64)FOR_ANYONE, object);
}

/* decide_socket judges a socket and concludes. The answer is RETRY unless it was found
 * already. */
static __always_inline int decide_socket(enum operation_id id, enum hook_id hook, __u64 answer,
					 const struct socket_object *object)
{
	if ((__u32)answer == RETRY)
		answer = ask_anew(id, object);
	return conclude(answer, id, hook, object);
}

/* find_place makes a place of what an answer depends on, but for the automatic ports and who
 * asks. */
static __always_inline void find_place(struct place *place, enum operation_id id, __u64 now,
				       __u64 socket, const union raw_address *raw)
{
	place->upper = place->lower = place->slot = 0;
	place_add(place, PLACE_REVISION, now >> 32);
	/* A type fits into 8 bits (SOCK_MAX), the families that come here into 6. */
	place_add(place, PLACE_SOCKET,
		  (__u64)protocol_in(socket) << 16 | type_in(socket) << 8 | id << 6 |
			  family_of(socket));
	place_add(place, PLACE_PORT, (__u32)raw->words[0]);
	if (is_ip4(raw, family_of(socket))) {
		place_add(place, PLACE_ADDRESS4, raw->words[0] >> 32);
		place_choose(place, SLOT_START, raw->words[0]);
		return;
	}
	place_add_both(place, PLACE_ADDRESS6, raw->words[1]);
	place_add_both(place, PLACE_ADDRESS6 + 2, raw->words[2]);
	place_choose(place, SLOT_START, (__u32)raw->words[0]);
	place_choose(place, SLOT_ADDRESS6, raw->words[1]);
	place_choose(place, SLOT_ADDRESS6 + 1, raw->words[2]);
}

/* read_again reads what was read of a socket address. Before 6.2 it is on the stack. */
static __always_inline void read_again(union raw_address *raw, const void *address, __u32 length)
{
	if (!SINCE_6_2)
		return;
	barrier_var(address);
	read_address(raw, address, length);
	if (length >= SIN6_LEN_RFC2133)
		read_address6(raw, address);
}

/* is_kept_allowed reports whether a place is kept, and counts where that has to be. */
static __always_inline bool is_kept_allowed(const struct place *place, enum operation_id id)
{
	enum kept kept = place_kept(place);

	if (kept == KEPT_COUNTED)
		count_allowed(id);
	return kept != KEPT_NOTHING;
}

/*
 * decide_address judges the address that a socket is to have or to reach, and
 * concludes. Programs connect and send to the same places again and again, so that they
 * were allowed is kept (cache/place.h). The message is the one that is sent, if any.
 *
 * What a word of the address is, and whether the address is a SOCKADDR_PLACE, follows from
 * what a place is made of. So what is no such place is never found to be kept.
 */
static __always_inline int decide_address(enum operation_id id, enum hook_id hook, struct sock *sk,
					  const void *address, __u32 length,
					  const struct msghdr *message)
{
	__u64 now = active_word(), begun, answer = RETRY, socket;
	struct socket_object object;
	union raw_address raw;
	struct subject *subject;
	struct place place;
	enum sockaddr_kind kind;
	bool readable, keeps, anyone;
	__u32 automatic = 0;
	__u16 family;

	/* While another set is put in force begin_by() tells. */
	if ((now && !(now >> id & 1)) || !sk)
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
	if (!is_ip4(&raw, family)) {
		if (length < SIN6_LEN_RFC2133)
			return 0; /* as above */
		read_address6(&raw, address);
	}
	find_place(&place, id, now, socket, &raw);
	if (id == OPERATION_SOCKET_BIND && !raw.in.sin_port) {
		automatic = automatic_of(sk);
		place_add(&place, PLACE_AUTOMATIC, automatic);
	}
	if (readable && is_place_kept(&place))
		return 0;
	begun = begin_by(id, &subject);
	if ((__u32)begun == ROW_RETRY) {
		refresh_class();
		begun = begin_by(id, &subject);
	}
	if (begun & ROW_ALLOWED)
		return 0;
	/* Nor is kept what another set than the place's decides. */
	keeps = readable && subject && !is_final(begun) && begun >> 32 == now >> 32;
	if (keeps) {
		place_add_subject(&place, subject_key(begun, subject, id));
		if (is_kept_allowed(&place, id))
			return 0;
	}
	/* Here and below what was read is read once more, since to keep it takes more of the
	 * stack than there is. */
	barrier_var(sk);
	socket = socket_of(sk);
	barrier_var(socket); /* or clang keeps each part of it */
	family = family_of(socket);
	read_again(&raw, address, length);
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
	if (keeps)
		begun = look_up(id, begun);
	if (keeps && !is_final(begun)) {
		answer = ask_anyone(id, begun, &object);
		anyone = answer & FOR_ANYONE;
		answer &= ~(__u64)FOR_ANYONE;
		if (kind == SOCKADDR_PLACE && is_allow(answer)) {
			read_again(&raw, address, length);
			find_place(&place, id, begun, socket, &raw);
			place_add(&place, PLACE_AUTOMATIC, automatic);
			if (!anyone)
				place_add_subject(&place, subject_key(begun, subject, id));
			place_keep(&place, (__u32)answer != NO_RULE_ALLOW);
		}
	}
	return decide_socket(id, hook, answer, &object);
}

#endif
