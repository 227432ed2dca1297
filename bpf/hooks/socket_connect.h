/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * socket_connect: a socket connects, or sends to an address.
 *
 * socket_connect is asked by connect(2) and io_uring's connect, whatever the
 * protocol. Sending to an address without connect (sendto, sendmsg, sendmmsg,
 * io_uring, TCP fast open) asks socket_sendmsg. SCTP connects by setsockopt(2)
 * and by sending, too; sctp_bind_connect sees those addresses.
 *
 * 0.0.0.0 and [::] mean the machine itself here (sockaddr.h, read_remote).
 *
 * RDS and RxRPC take an internet address, which the kernel then reaches by a socket of
 * its own: their addresses are judged as such.
 *
 * What goes on over a socket that is connected already is judged by rules with
 * `revoke` only, in open_sockets.h.
 *
 * Not judged: packets that a raw or packet socket writes with a header of its own;
 * further paths that MPTCP opens itself (docs/hooks.md).
 */
#ifndef EBPFGUARD_HOOKS_SOCKET_CONNECT_H
#define EBPFGUARD_HOOKS_SOCKET_CONNECT_H

#include "../sctp.h"

/* include/linux/sctp.h: what the other side asks for, in network byte order; it
 * is no deed of the current task. */
#define SCTP_PARAM_ADD_IP bpf_htons(0xc001)
#define SCTP_PARAM_SET_PRIMARY bpf_htons(0xc004)
/* include/uapi/linux/sctp.h */
#define SCTP_SET_PEER_PRIMARY_ADDR 5
#define SCTP_PRIMARY_ADDR 6

SEC("lsm/socket_connect")
int BPF_PROG(socket_connect, struct socket *sock, struct sockaddr *address, int length, int ret)
{
	if (ret)
		return ret;
	if (address->sa_family == AF_UNSPEC)
		return 0; /* ends a connection, whatever the protocol */
	return decide_address(OPERATION_SOCKET_CONNECT, HOOK_SOCKET_CONNECT, sock->sk, address,
			      length, NULL);
}

/* decide_controls judges the further addresses of an SCTP association that is made by
 * sending: it refuses them as what could be any. */
static __always_inline int decide_controls(struct sock *sk, struct msghdr *message)
{
	enum operation_id id = OPERATION_SOCKET_CONNECT;
	struct socket_object object;

	if (!sk || is_unrestricted(id) || sk->sk_protocol != IPPROTO_SCTP)
		return 0;
	if (!has_more_addresses(as_number(message->msg_control), message->msg_controllen))
		return 0;
	object_begin(&object, socket_of(sk));
	return conclude(undecided(id), id, HOOK_SOCKET_SENDMSG, &object);
}

SEC("lsm/socket_sendmsg")
int BPF_PROG(socket_sendmsg, struct socket *sock, struct msghdr *message, int size, int ret)
{
	void *address = message->msg_name;
	struct sock *sk = sock->sk;

	if (ret)
		return ret;
	if (!address)
		return 0; /* goes where the socket is connected to: judged then */
	ret = decide_address(OPERATION_SOCKET_CONNECT, HOOK_SOCKET_SENDMSG, sk, address,
			     message->msg_namelen, message);
	if (ret || !message->msg_controllen)
		return ret;
	return decide_controls(sk, message);
}

SEC("lsm/sctp_bind_connect")
int BPF_PROG(sctp_connect, struct sock *sk, int option, struct sockaddr *addresses, int length,
	     int ret)
{
	if (ret)
		return ret;
	if (option == SCTP_SOCKOPT_BINDX_ADD || option == SCTP_PRIMARY_ADDR ||
	    option == SCTP_SET_PEER_PRIMARY_ADDR || option == SCTP_PARAM_ADD_IP ||
	    option == SCTP_PARAM_SET_PRIMARY)
		return 0; /* connects to nothing */
	return decide_packed(sk, OPERATION_SOCKET_CONNECT, addresses, length);
}

#endif
