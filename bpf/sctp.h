/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* The verdict on several addresses of a SCTP socket, packed one behind the
 * other (net/sctp/socket.c): the strictest of theirs. */
#ifndef EBPFGUARD_SCTP_H
#define EBPFGUARD_SCTP_H

#include "socket.h"

/* Bytes of packed addresses that are judged: 14 of IPv4 or 8 of IPv6. */
#define MAX_PACKED 224

/* read_packed reads the address that starts `at` bytes into scratch->name, and
 * returns its size; 0 when there is no whole address. */
static __always_inline __u32 read_packed(struct socket_object *object, struct sock *sk, __u32 id,
					 __u16 family, struct scratch *scratch, __u32 at,
					 __u32 total)
{
	const union raw_address *raw = (void *)scratch->name + mask_length(at);
	__u32 size = sizeof(struct sockaddr_in);
	enum sockaddr_kind kind;

	if (at + size > total)
		return 0;
	if (raw->in6.sin6_family == AF_INET6)
		size = sizeof(struct sockaddr_in6);
	kind = id == OPERATION_SOCKET_BIND
		       ? read_local(object, sk, family, raw, size, automatic_of(sk))
		       : read_remote(object, sk, family, raw, size, NULL);
	return kind == SOCKADDR_NONE ? 0 : size;
}

/* judge_packed judges the next of the packed addresses and reports whether there
 * was one. Global, so that the verifier checks it once and not at every turn of
 * the loop, and for the same reason it keeps its state in scratch. */
__noinline int judge_packed(__u32 id, __u32 family, __u32 total)
{
	struct scratch *scratch = current_scratch();
	struct socket_object *object;
	__u32 at, size;
	__u64 answer;

	if (!scratch)
		return false; /* it was there a moment ago */
	object = &scratch->socket;
	object->protocol = PROTOCOL_SCTP;
	at = scratch->next_at;
	size = read_packed(object, (void *)scratch->sk, id, family, scratch, at, total);
	if (!size)
		return false;
	if (!scratch->port)
		scratch->port = object->port;
	else if (!object->port) /* net/sctp/socket.c, sctp_do_bind */
		object->port = scratch->port;
	answer = ask(id, begin_judgement(id), object);
	/* RETRY, the least of all, has to stay: conclude() fails closed on it. */
	if ((__u32)scratch->answer != RETRY &&
	    ((__u32)answer == RETRY || (__u32)answer > (__u32)scratch->answer)) {
		scratch->answer = answer;
		scratch->strictest_at = at;
	}
	scratch->next_at = at + size;
	return true;
}

/* judge_all_packed judges packed addresses, once. */
static __always_inline __u64 judge_all_packed(enum operation_id id, __u64 begun,
					      struct scratch *scratch, struct sock *sk,
					      __u32 family, const void *addresses, __u32 total)
{
	int i;

	/* Looking the task up made use of scratch->name. */
	bpf_probe_read_kernel(scratch->name, mask_length(total), addresses);
	scratch->answer = NO_RULE_ALLOW;
	scratch->strictest_at = 0;
	scratch->next_at = 0;
	scratch->port = id == OPERATION_SOCKET_BIND ? sk->__sk_common.skc_num : 0;
	for (i = 0; i < MAX_PACKED / (int)sizeof(struct sockaddr_in); i++)
		if (!judge_packed(id, family, total))
			break; /* all are judged */
	return scratch->answer;
}

/* decide_packed judges packed addresses and concludes. */
static __always_inline int decide_packed(struct sock *sk, enum operation_id id,
					 const void *addresses, __u32 total)
{
	struct scratch *scratch = current_scratch();
	struct socket_object *object;
	__u16 family;
	__u64 socket, answer;
	int try;

	if (!scratch)
		return decide_undecided(id, HOOK_SCTP_BIND_CONNECT);
	object = &scratch->socket;
	socket = socket_of(sk);
	family = family_of(socket);
	if (!is_internet(family))
		return 0; /* no such socket */
	object_begin(object, socket);
	/* With more addresses than fit, nothing can be judged. */
	if (total > MAX_PACKED ||
	    bpf_probe_read_kernel(scratch->name, mask_length(total), addresses))
		return conclude(undecided(id), id, HOOK_SCTP_BIND_CONNECT, object);
	scratch->sk = (__u64)sk;
	answer = JUDGE(try, id, judge_all_packed, scratch, sk, family, addresses, total);
	read_packed(object, sk, id, family, scratch, scratch->strictest_at, total);
	if (!object->port)
		object->port = scratch->port;
	return conclude(answer, id, HOOK_SCTP_BIND_CONNECT, object);
}

/* include/uapi/linux/sctp.h */
#define SCTP_DSTADDRV4 7
#define SCTP_DSTADDRV6 8
/* Control messages that are looked at. */
#define MAX_CONTROLS 16

/* has_more_addresses reports whether the control messages of a message name addresses
 * beside the one that it goes to, or could (net/sctp/socket.c, sctp_sendmsg_new_asoc). */
__noinline int has_more_addresses(__u64 control, __u64 length)
{
	struct cmsghdr header;
	__u64 at = 0;
	int i;

	for (i = 0; i < MAX_CONTROLS; i++) {
		if (at + sizeof(header) > length)
			return false;
		if (bpf_probe_read_kernel(&header, sizeof(header), (void *)(control + at)))
			return true;
		if (header.cmsg_level == IPPROTO_SCTP &&
		    (header.cmsg_type == SCTP_DSTADDRV4 || header.cmsg_type == SCTP_DSTADDRV6))
			return true;
		if (header.cmsg_len < sizeof(header))
			return false; /* refused by the protocol itself */
		at += (header.cmsg_len + 7) & ~7ULL;
	}
	return true;
}

#endif
