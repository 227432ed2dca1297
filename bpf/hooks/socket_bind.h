/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * socket_bind: a socket takes a local address and port.
 *
 * socket_bind is asked by bind(2) and by io_uring's bind, whatever the
 * protocol (net/socket.c, __sys_bind_socket). Two other ways to take a port
 * pass it by:
 *
 *  - listen(2) on a socket without a port lets the kernel choose one
 *    (inet_csk_get_port), which is judged as port 0. A socket that has a port
 *    is judged again at listen: it may have been bound before the policy came,
 *    or the kernel may have chosen the port at bind.
 *  - sctp_bindx(3) adds addresses with setsockopt(2); sctp_bind_connect sees
 *    them packed one behind the other (net/sctp/socket.c).
 *
 * Not judged: the automatic port of a socket that connects or sends without
 * bind; sockets of families other than the internet's that bind one inside the
 * kernel (RxRPC) (docs/hooks.md).
 */
#ifndef EBPFGUARD_HOOKS_SOCKET_BIND_H
#define EBPFGUARD_HOOKS_SOCKET_BIND_H

#include "../socket.h"

/* Bytes of packed addresses that are judged: 14 of IPv4 or 8 of IPv6. */
#define MAX_BINDX 224

SEC("lsm/socket_bind")
int BPF_PROG(socket_bind, struct socket *sock, struct sockaddr *address, int length, int ret)
{
	struct socket_object object;
	struct sock *sk = sock->sk;

	if (ret)
		return ret;
	if (!sk || !object_begin(&object, sk))
		return 0; /* not the internet: no rule can concern it */
	if (!read_sockaddr(&object, sk, sk->__sk_common.skc_family, address, length))
		return 0; /* bind() itself refuses it */
	return decide_socket(OPERATION_SOCKET_BIND, HOOK_SOCKET_BIND, &object);
}

SEC("lsm/socket_listen")
int BPF_PROG(socket_listen, struct socket *sock, int backlog, int ret)
{
	struct socket_object object;
	struct sock *sk = sock->sk;

	if (ret)
		return ret;
	if (!sk || !object_begin(&object, sk))
		return 0; /* not the internet: no rule can concern it */
	read_bound(&object, sk);
	return decide_socket(OPERATION_SOCKET_BIND, HOOK_SOCKET_LISTEN, &object);
}

/* read_bindx reads the address that starts `at` bytes into the walk's name, and
 * returns its size; 0 when there is no whole address. */
static __always_inline __u32 read_bindx(struct socket_object *object, struct sock *sk, __u16 family,
					struct walk *walk, __u32 at, __u32 total)
{
	const struct sockaddr_in6 *address = (void *)walk->name + mask_length(at);
	__u32 size = sizeof(struct sockaddr_in);

	if (at + size > total)
		return 0;
	if (address->sin6_family == AF_INET6)
		size = sizeof(*address);
	return read_sockaddr(object, sk, family, address, size) ? size : 0;
}

/* judge_bindx judges the next of the packed addresses and tells whether there
 * was one. Global, so that the verifier checks it once and not at every turn of
 * the loop, and for the same reason it keeps its state in the walk. */
__noinline int judge_bindx(__u32 family, __u32 total)
{
	struct socket_object object = {.protocol = PROTOCOL_SCTP};
	struct walk *walk = current_walk();
	__u32 at, size;
	__u64 answer;

	if (!walk)
		return false; /* it was there a moment ago */
	at = walk->at;
	size = read_bindx(&object, (void *)walk->sk, family, walk, at, total);
	if (!size)
		return false;
	if (!walk->port)
		walk->port = object.port;
	else if (!object.port) /* net/sctp/socket.c, sctp_do_bind */
		object.port = walk->port;
	answer = ask(OPERATION_SOCKET_BIND, &object);
	/* CHANGED, the least of all, has to stay: conclude() fails closed on it. */
	if ((__u32)walk->answer != CHANGED &&
	    ((__u32)answer == CHANGED || (__u32)answer > (__u32)walk->answer)) {
		walk->answer = answer;
		walk->strictest_at = at;
	}
	walk->at = at + size;
	return true;
}

SEC("lsm/sctp_bind_connect")
int BPF_PROG(sctp_bind_connect, struct sock *sk, int option, struct sockaddr *addresses, int length,
	     int ret)
{
	struct socket_object object;
	__u32 total = length;
	struct walk *walk;
	__u16 family;
	int i;

	if (ret)
		return ret;
	if (option != SCTP_SOCKOPT_BINDX_ADD || !object_begin(&object, sk))
		return 0; /* takes no local address */
	family = sk->__sk_common.skc_family;
	walk = current_walk();
	/* Without memory, or with more addresses than fit, nothing can be judged. */
	if (!walk || total > MAX_BINDX ||
	    bpf_probe_read_kernel(walk->name, mask_length(total), addresses)) {
		object.unreadable = true;
		return decide_socket(OPERATION_SOCKET_BIND, HOOK_SCTP_BIND_CONNECT, &object);
	}
	walk->sk = (__u64)sk;
	walk->answer = NO_RULE_ALLOW;
	walk->strictest_at = 0;
	walk->at = 0;
	walk->port = sk->__sk_common.skc_num;
	for (i = 0; i < MAX_BINDX / (int)sizeof(struct sockaddr_in); i++)
		if (!judge_bindx(family, total))
			break; /* all are judged */
	read_bindx(&object, sk, family, walk, walk->strictest_at, total);
	if (!object.port)
		object.port = walk->port;
	return conclude(walk->answer, OPERATION_SOCKET_BIND, HOOK_SCTP_BIND_CONNECT, &object);
}

#endif
