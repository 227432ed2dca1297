/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * socket_connect and socket_bind once more: sockets that are connected, or bound,
 * already. Only rules with `revoke` count, and these programs are attached while
 * there are such rules.
 *
 * Each time a socket that has a peer sends or receives, it is judged by
 * socket_connect as if it connected to that peer now, whichever side connected. One
 * without a peer is judged by socket_bind as if it took its address and port now,
 * when it receives or accepts; when it sends, the address that is given is judged.
 *
 *  - socket_sendmsg and socket_recvmsg: send(2), recv(2) and all their kin, read(2)
 *    and write(2), io_uring. A stream leaves the address that is given with a
 *    message aside (net/ipv4/tcp.c) and IPv6 datagrams do so for AF_UNSPEC
 *    (net/ipv6/udp.c, udpv6_sendmsg), so the peer counts, whatever is given.
 *  - file_permission: splice(2) from a socket, and before 6.5 splice(2) and
 *    sendfile(2) to one, ask neither of the two (net/socket.c, sock_splice_read,
 *    sock_sendpage).
 *  - socket_getsockopt: TCP_ZEROCOPY_RECEIVE maps what has come (net/ipv4/tcp.c).
 *  - socket_accept.
 *
 * Not judged: a call that waits for data already, until it returns; an SCTP socket
 * with several associations, which has no peer of its own; the inner sockets of KCM;
 * SMC, by rules that name addresses or ports; what io_uring receives without copying
 * (6.15), which asks no hook.
 */
#ifndef EBPFGUARD_HOOKS_OPEN_SOCKETS_H
#define EBPFGUARD_HOOKS_OPEN_SOCKETS_H

#include "../judged.h"
#include "../socket.h"
#include "file_open.h"

/* include/uapi/linux/tcp.h */
#define TCP_ZEROCOPY_RECEIVE 35
/* include/net/tcp_states.h; SMC has the same number for it (net/smc/smc.h) */
#define TCP_ESTABLISHED 1

/* is_nowhere reports whether an object has neither address nor port. */
static __always_inline bool is_nowhere(const struct socket_object *object)
{
	const __u32 *words = (const __u32 *)object->address;

	return !object->port && !words[3] && (object->family == 4 || is_zero(words));
}

/* read_peer reads what a socket is connected to; false when it is not. */
static __always_inline bool read_peer(struct socket_object *object, struct sock *sk, __u16 family)
{
	__be32 address6[4] = {};

	if (has_ports(object->protocol))
		object->port = bpf_ntohs(READ(sk, __sk_common.skc_dport));
	if (family == AF_INET6) {
		BPF_CORE_READ_INTO(&address6, sk, __sk_common.skc_v6_daddr.in6_u.u6_addr32);
		set_address6(object, address6);
	} else {
		set_address4(object, READ(sk, __sk_common.skc_daddr));
	}
	if (!is_nowhere(object))
		return true;
	object->unreadable =
		is_smc(object, family) && READ(sk, __sk_common.skc_state) == TCP_ESTABLISHED;
	return object->unreadable;
}

/* is_told reports whether the same system call told of the socket at file_permission,
 * which read(2) and write(2) come to first. */
static __always_inline bool is_told(struct sock *sk, enum hook_id hook)
{
	struct scratch *scratch = current_scratch();

	if (hook != HOOK_FILE_PERMISSION)
		return is_judged(scratch, (__u64)sk);
	if (scratch)
		remember_judged(scratch, (__u64)sk);
	return false;
}

/* decide_open judges a socket that is open already, for sending or for receiving. */
static __always_inline int decide_open(struct sock *sk, enum hook_id hook, bool receives)
{
	enum operation_id id = OPERATION_SOCKET_CONNECT;
	struct socket_object object;
	__u64 answer;
	__u16 family;

	if (!sk)
		return 0;
	/* file_permission knows the socket by an address only: no socket_of(). Most sockets
	 * are of other families, so this comes first. */
	family = READ(sk, __sk_common.skc_family);
	if (!is_internet(family))
		return 0; /* no rule can concern it */
	if (is_unrestricted(OPERATION_SOCKET_CONNECT) && is_unrestricted(OPERATION_SOCKET_BIND))
		return 0;
	object_begin(&object,
		     (__u64)READ(sk, sk_protocol) << 32 | (__u64)READ(sk, sk_type) << 16 | family);
	if (!read_peer(&object, sk, family)) {
		if (!receives)
			return 0;
		read_bound(&object, sk);
		object.unreadable = is_smc(&object, family);
		if (is_nowhere(&object) && !object.unreadable)
			return 0;
		id = OPERATION_SOCKET_BIND;
	}
	answer = ask_anew(id, &object);
	if (spares_open(answer))
		return 0;
	if ((__u32)answer >> VERDICT_SHIFT == VERDICT_AUDIT && is_told(sk, hook))
		return 0;
	return conclude(answer, id, hook, &object);
}

SEC("lsm/socket_sendmsg")
int BPF_PROG(revoke_sendmsg, struct socket *sock, struct msghdr *message, int size, int ret)
{
	if (ret)
		return ret;
	return decide_open(sock->sk, HOOK_SOCKET_SENDMSG, false);
}

SEC("lsm/socket_recvmsg")
int BPF_PROG(revoke_recvmsg, struct socket *sock, struct msghdr *message, int size, int flags,
	     int ret)
{
	if (ret)
		return ret;
	return decide_open(sock->sk, HOOK_SOCKET_RECVMSG, true);
}

SEC("lsm/socket_accept")
int BPF_PROG(revoke_accept, struct socket *sock, struct socket *accepted, int ret)
{
	if (ret)
		return ret;
	return decide_open(sock->sk, HOOK_SOCKET_ACCEPT, true);
}

SEC("lsm/socket_getsockopt")
int BPF_PROG(revoke_getsockopt, struct socket *sock, int level, int option, int ret)
{
	if (ret)
		return ret;
	if (level != IPPROTO_TCP || option != TCP_ZEROCOPY_RECEIVE)
		return 0; /* receives nothing */
	return decide_open(sock->sk, HOOK_SOCKET_GETSOCKOPT, true);
}

SEC("lsm/file_permission")
int BPF_PROG(revoke_socket, struct file *file, int mask, int ret)
{
	struct socket *sock;

	if (ret)
		return ret;
	/* Everything that is read or written comes here: files, pipes. Of what has the mode of
	 * a socket only sockets can be opened (net/socket.c, sock_alloc). */
	if ((file->f_inode->i_mode & MODE_TYPE) != MODE_SOCKET)
		return 0;
	if (BPF_CORE_READ(file, f_path.mnt, mnt_sb, s_magic) != SOCKFS_MAGIC)
		return 0;
	sock = file->private_data; /* net/socket.c, sock_alloc_file */
	return decide_open(READ(sock, sk), HOOK_FILE_PERMISSION, mask & MAY_READ);
}

#endif
