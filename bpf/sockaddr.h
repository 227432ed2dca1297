/* SPDX-License-Identifier: GPL-2.0-only */
/* What a socket operation acts on: address, port and protocol. */
#ifndef EBPFGUARD_SOCKADDR_H
#define EBPFGUARD_SOCKADDR_H

#include "verdict.h"

static __always_inline __u8 protocol_of(__u16 type, __u16 protocol, __u16 family)
{
	if (type == SOCK_RAW)
		return PROTOCOL_RAW;
	if (family == AF_SMC) /* its protocol numbers are its own; it falls back to TCP */
		return PROTOCOL_TCP;
	switch (protocol) {
	case IPPROTO_TCP:
	case IPPROTO_MPTCP:
	case IPPROTO_SMC: /* since 6.11; falls back to TCP as well */
		return PROTOCOL_TCP;
	case IPPROTO_UDP:
		return PROTOCOL_UDP;
	case IPPROTO_UDPLITE:
		return PROTOCOL_UDPLITE;
	case IPPROTO_SCTP:
		return PROTOCOL_SCTP;
	case IPPROTO_DCCP:
		return PROTOCOL_DCCP;
	case IPPROTO_ICMP:
	case IPPROTO_ICMPV6:
		return PROTOCOL_ICMP;
	}
	return PROTOCOL_OTHER;
}

static __always_inline bool has_ports(__u8 protocol)
{
	return protocol <= PROTOCOL_DCCP;
}

/* read_automatic reads from which ports the kernel chooses for this socket's
 * network namespace. A narrower range set with IP_LOCAL_PORT_RANGE is left
 * aside: another thread may change it until the port is chosen. */
static __always_inline void read_automatic(struct socket_object *object, struct sock *sk)
{
	struct net *net = BPF_CORE_READ(sk, __sk_common.skc_net.net);
	struct local_ports___since_6_8 *packed = (void *)&net->ipv4.ip_local_ports;
	int range[2] = {};

	if (bpf_core_field_exists(packed->range)) {
		__u32 both = BPF_CORE_READ(packed, range);

		object->automatic_first = both;
		object->automatic_last = both >> 16;
	} else {
		BPF_CORE_READ_INTO(&range, net, ipv4.ip_local_ports.range);
		object->automatic_first = range[0];
		object->automatic_last = range[1];
	}
}

static __always_inline void set_address4(struct socket_object *object, __be32 address)
{
	__u32 *words = (__u32 *)object->address;

	words[0] = words[1] = 0;
	words[2] = bpf_htonl(0xffff);
	words[3] = address;
	object->family = 4;
}

static __always_inline void set_address6(struct socket_object *object, const __be32 *address)
{
	__u32 *words = (__u32 *)object->address;

	words[0] = address[0];
	words[1] = address[1];
	words[2] = address[2];
	words[3] = address[3];
	object->family = !words[0] && !words[1] && words[2] == bpf_htonl(0xffff) ? 4 : 6;
}

/* object_begin fills in what does not depend on the address. It returns false
 * for a socket that is none of the internet's. */
static __always_inline bool object_begin(struct socket_object *object, struct sock *sk)
{
	__u16 family = sk->__sk_common.skc_family;

	if (family != AF_INET && family != AF_INET6 && family != AF_SMC)
		return false;
	__builtin_memset(object, 0, sizeof(*object));
	object->ip_protocol = sk->sk_protocol;
	object->protocol = protocol_of(sk->sk_type, sk->sk_protocol, family);
	return true;
}

/* object_finish settles what follows from address and port. `asked_again` says
 * that socket_listen asks before anybody can connect. */
static __always_inline void object_finish(struct socket_object *object, struct sock *sk,
					  bool asked_again)
{
	__u32 *words = (__u32 *)object->address;

	if (has_ports(object->protocol)) {
		if (!object->port)
			read_automatic(object, sk);
	} else {
		object->port = 0;
	}
	if (object->family == 6 && !words[0] && !words[1] && !words[2] && !words[3]) {
		/* [::] takes IPv4 too unless IPV6_V6ONLY is set. Another thread may
		 * clear that until the port is taken, so it only counts where
		 * somebody asks again. */
		bool listens = object->protocol == PROTOCOL_TCP ||
			       object->protocol == PROTOCOL_SCTP ||
			       object->protocol == PROTOCOL_DCCP;

		object->dual_stack = !(asked_again && listens &&
				       BPF_CORE_READ_BITFIELD_PROBED(sk, __sk_common.skc_ipv6only));
	}
}

/* read_address reads as much of a socket address as an address of IPv6 has; what
 * is not there is 0. It returns false when that is less than one of IPv4 has. */
static __always_inline bool read_address(struct socket_object *object, struct sockaddr_in6 *addr,
					 const void *address, __u32 length)
{
	__u64 size = length < SIN6_LEN_RFC2133 ? sizeof(struct sockaddr_in) : SIN6_LEN_RFC2133;

	if (length < sizeof(struct sockaddr_in))
		return false;
	if (bpf_probe_read_kernel(addr, size, address))
		object->unreadable = true;
	return true;
}

/*
 * read_sockaddr reads a socket address as the socket's bind() will. It returns
 * false for one that bind() refuses by itself because it is too short: those
 * need no verdict.
 *
 * What counts is the family of the socket, not the one that the address
 * claims: an IPv4 socket also takes AF_UNSPEC (net/ipv4/af_inet.c,
 * __inet_bind), a raw one any family. SCTP over IPv6 (net/sctp/ipv6.c) and SMC
 * (net/smc/af_smc.c) take addresses of both families.
 */
static __always_inline bool read_sockaddr(struct socket_object *object, struct sock *sk,
					  __u16 family, const void *address, __u32 length)
{
	struct sockaddr_in6 addr = {};

	if (!read_address(object, &addr, address, length))
		return false;
	object->port = bpf_ntohs(addr.sin6_port);
	if (family == AF_INET || (addr.sin6_family != AF_INET6 && family == AF_SMC) ||
	    addr.sin6_family == AF_INET) {
		set_address4(object, ((struct sockaddr_in *)&addr)->sin_addr);
	} else {
		if (length < SIN6_LEN_RFC2133)
			return false;
		set_address6(object, addr.sin6_addr);
	}
	object_finish(object, sk, true);
	return true;
}

/*
 * read_remote reads the address that a socket connects or sends to. It returns
 * false for what is no destination: one that is too short, or AF_UNSPEC, which
 * ends a connection (only IPv4's datagrams take it for AF_INET: net/ipv4/udp.c,
 * raw.c).
 */
static __always_inline bool read_remote(struct socket_object *object, struct sock *sk, __u16 family,
					const void *address, __u32 length)
{
	struct sockaddr_in6 addr = {};
	__u32 *words = (__u32 *)object->address;

	if (!read_address(object, &addr, address, length))
		return false;
	if (has_ports(object->protocol))
		object->port = bpf_ntohs(addr.sin6_port);
	if (family == AF_INET || (addr.sin6_family != AF_INET6 && family == AF_SMC) ||
	    addr.sin6_family == AF_INET) {
		set_address4(object, ((struct sockaddr_in *)&addr)->sin_addr);
		if (!words[3]) { /* the machine itself, at the socket's own address */
			words[3] = BPF_CORE_READ(sk, __sk_common.skc_rcv_saddr);
			if (!words[3])
				words[3] = bpf_htonl(0x7f000001);
		}
		return true;
	}
	if (length < SIN6_LEN_RFC2133)
		return false;
	set_address6(object, addr.sin6_addr);
	if (!words[0] && !words[1] && !words[2] && !words[3])
		words[3] = bpf_htonl(1);
	else if (object->family == 4 && !words[3])
		words[3] = bpf_htonl(0x7f000001);
	return true;
}

/* read_bound reads the address and port that a socket already has. */
static __always_inline void read_bound(struct socket_object *object, struct sock *sk)
{
	__be32 address6[4] = {};

	object->port = sk->__sk_common.skc_num;
	if (sk->__sk_common.skc_family == AF_INET6) {
		BPF_CORE_READ_INTO(&address6, sk, __sk_common.skc_v6_rcv_saddr.in6_u.u6_addr32);
		set_address6(object, address6);
	} else {
		set_address4(object, sk->__sk_common.skc_rcv_saddr);
	}
	object_finish(object, sk, object->port);
}

#endif
