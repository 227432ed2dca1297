/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
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

#include "../sctp.h"

SEC("lsm/socket_bind")
int BPF_PROG(socket_bind, struct socket *sock, struct sockaddr *address, int length, int ret)
{
	if (ret)
		return ret;
	return decide_address(OPERATION_SOCKET_BIND, HOOK_SOCKET_BIND, sock->sk, address, length,
			      NULL);
}

SEC("lsm/socket_listen")
int BPF_PROG(socket_listen, struct socket *sock, int backlog, int ret)
{
	struct socket_object object;
	struct sock *sk = sock->sk;
	__u64 socket;

	if (ret)
		return ret;
	if (is_unrestricted(OPERATION_SOCKET_BIND) || !sk)
		return 0;
	socket = socket_of(sk);
	if (!is_internet(family_of(socket)))
		return 0; /* no rule can concern it */
	object_begin(&object, socket);
	read_bound(&object, sk);
	return decide_socket(OPERATION_SOCKET_BIND, HOOK_SOCKET_LISTEN, RETRY, &object);
}

SEC("lsm/sctp_bind_connect")
int BPF_PROG(sctp_bind_connect, struct sock *sk, int option, struct sockaddr *addresses, int length,
	     int ret)
{
	if (ret)
		return ret;
	if (option != SCTP_SOCKOPT_BINDX_ADD)
		return 0; /* takes no local address */
	return decide_packed(sk, OPERATION_SOCKET_BIND, addresses, length);
}

#endif
