/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* What a socket operation acts on: address, port and protocol. */
#ifndef EBPFGUARD_SOCKADDR_H
#define EBPFGUARD_SOCKADDR_H

#include "read.h"
#include "verdict.h"

static __always_inline __u8 protocol_of(__u16 type, __u16 protocol, __u16 family)
{
	if (type == SOCK_RAW)
		return PROTOCOL_RAW;
	if (family == AF_SMC) /* its protocol numbers are its own; it falls back to TCP */
		return PROTOCOL_TCP;
	if (family == AF_RDS)
		return PROTOCOL_TCP;
	if (family == AF_RXRPC)
		return PROTOCOL_UDP;
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

/* automatic_of returns from which ports the kernel chooses for a socket's network
 * namespace: last << 16 | first. A narrower range set with IP_LOCAL_PORT_RANGE is
 * left aside: another thread may change it until the port is chosen. */
static __always_inline __u32 automatic_of(struct sock *sk)
{
	struct net *net = READ(sk, __sk_common.skc_net.net);
	struct local_ports___since_6_8 *packed = (void *)&net->ipv4.ip_local_ports;
	int range[2] = {};

	if (bpf_core_field_exists(packed->range))
		return READ(packed, range);
	BPF_CORE_READ_INTO(&range, net, ipv4.ip_local_ports.range);
	return range[1] << 16 | range[0];
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

/* is_internet reports whether rules can concern sockets of a family. */
static __always_inline bool is_internet(__u16 family)
{
	return family == AF_INET || family == AF_INET6 || family == AF_SMC;
}

/*
 * Families whose sockets take an internet address and have the kernel reach it by a
 * socket of its own, which asks no hook: RDS over TCP (net/rds/tcp_connect.c), RxRPC
 * over UDP (net/rxrpc/local_object.c).
 */
static __always_inline bool is_carried(__u16 family)
{
	return family == AF_RDS || family == AF_RXRPC;
}

/* include/net/rds.h, RDS_TCP_PORT: what the port of an RDS address names is none of TCP. */
#define RDS_TCP_PORT 16385
/* include/uapi/linux/rxrpc.h, struct sockaddr_rxrpc: where the address within begins */
#define RXRPC_TRANSPORT 8

/* socket_of returns of which family, type and protocol a socket is, as one number. */
static __always_inline __u64 socket_of(struct sock *sk)
{
	return (__u64)sk->sk_protocol << 32 | (__u64)sk->sk_type << 16 | sk->__sk_common.skc_family;
}

static __always_inline __u16 family_of(__u64 socket)
{
	return socket;
}

static __always_inline __u16 type_in(__u64 socket)
{
	return socket >> 16;
}

static __always_inline __u16 protocol_in(__u64 socket)
{
	return socket >> 32;
}

/* object_begin fills in what does not depend on the address. */
static __always_inline void object_begin(struct socket_object *object, __u64 socket)
{
	__builtin_memset(object, 0, sizeof(*object));
	object->ip_protocol = socket >> 32;
	object->protocol = protocol_of(socket >> 16, socket >> 32, family_of(socket));
}

static __always_inline bool is_zero(const __u32 *words)
{
	return !words[0] && !words[1] && !words[2] && !words[3];
}

/* object_finish settles what follows from address and port, and reports whether the
 * state of the socket decided. `automatic` is what automatic_of() returned, if the port
 * is 0; `listen_follows` says that socket_listen judges before a peer can connect. */
static __always_inline bool object_finish(struct socket_object *object, struct sock *sk,
					  __u32 automatic, bool listen_follows)
{
	bool listens;

	if (!has_ports(object->protocol)) {
		object->port = 0;
	} else if (!object->port) {
		object->automatic_first = automatic;
		object->automatic_last = automatic >> 16;
	}
	if (object->family != 6 || !is_zero((__u32 *)object->address))
		return false;
	/* [::] takes IPv4 too unless IPV6_V6ONLY is set. Another thread may clear that
	 * until the port is taken, so it only counts where socket_listen judges again. */
	listens = object->protocol == PROTOCOL_TCP || object->protocol == PROTOCOL_SCTP ||
		  object->protocol == PROTOCOL_DCCP;
	object->dual_stack = !(listen_follows && listens &&
			       BPF_CORE_READ_BITFIELD_PROBED(sk, __sk_common.skc_ipv6only));
	return true;
}

/* A socket address as it comes: as much of it as an address of IPv6 has, and 0
 * for what is not there. */
union raw_address {
	__u64 words[SIN6_LEN_RFC2133 / sizeof(__u64)];
	struct sockaddr_in in;
	struct sockaddr_in6 in6;
};

/* word_of reads a word of the kernel's memory; the type stands for any of 8 bytes. */
static __always_inline __u64 word_of(const void *memory)
{
	return CAST((struct timespec64 *)memory)->tv_sec;
}

/* is_ip4 reports whether an address is taken for one of IPv4. What counts is the family
 * of the socket, not the one that the address claims: an IPv4 socket also takes
 * AF_UNSPEC (net/ipv4/af_inet.c, __inet_bind; datagrams: net/ipv4/udp.c, raw.c), a raw
 * one any family. SCTP over IPv6 (net/sctp/ipv6.c) and SMC (net/smc/af_smc.c) take
 * addresses of both families. */
static __always_inline bool is_ip4(const union raw_address *raw, __u16 family)
{
	return family == AF_INET || (raw->in6.sin6_family != AF_INET6 && family == AF_SMC) ||
	       raw->in6.sin6_family == AF_INET;
}

/* read_address reads the first word of a socket address of `length` bytes, at least one of
 * IPv4's, and where reading is dear the rest. It returns false when it cannot be read. */
static __always_inline bool read_address(union raw_address *raw, const void *address, __u32 length)
{
	if (SINCE_6_2) {
		/* What the kernel copied there itself is readable. */
		raw->words[0] = word_of(address);
		return true;
	}
	raw->words[1] = raw->words[2] = 0;
	return !bpf_probe_read_kernel(
		raw, length >= SIN6_LEN_RFC2133 ? SIN6_LEN_RFC2133 : sizeof(struct sockaddr_in),
		address);
}

/* read_address6 reads the rest of one of IPv6, where read_address() did not. */
static __always_inline void read_address6(union raw_address *raw, const void *address)
{
	if (!SINCE_6_2)
		return;
	raw->words[1] = word_of(address + sizeof(__u64));
	raw->words[2] = word_of(address + 2 * sizeof(__u64));
}

/* What a socket address tells. */
enum sockaddr_kind {
	/* Nothing to judge: the protocol refuses it by itself, or it ends a
	 * connection. */
	SOCKADDR_NONE,
	/* An address and port. */
	SOCKADDR_PLACE,
	/* One that depends on more of the socket than type, protocol and the range of
	 * automatic ports. */
	SOCKADDR_OF_SOCKET,
	/* It cannot be told which address is meant. */
	SOCKADDR_ANY,
};

/* is_smc reports whether the addresses are those of a socket inside, of a type that only
 * the module knows (net/smc/smc.h). */
static __always_inline bool is_smc(const struct socket_object *object, __u16 family)
{
	return family == AF_SMC || object->ip_protocol == IPPROTO_SMC;
}

/*
 * read_self4 reads where 0.0.0.0 leads to: the machine itself, at the address that the
 * socket sends from (net/ipv4/route.c, ip_route_output_key_hash_rcu). That is not the
 * one that it is bound to where that is a multicast or broadcast address
 * (net/ipv4/af_inet.c, __inet_bind), and a control message can name another for one
 * datagram (IP_PKTINFO; net/ipv4/ip_sockglue.c, ip_cmsg_send).
 */
static __always_inline enum sockaddr_kind read_self4(struct socket_object *object, struct sock *sk,
						     __u16 family, const struct msghdr *message)
{
	__u32 *words = (__u32 *)object->address;

	words[3] = bpf_htonl(0x7f000001);
	if ((message && message->msg_controllen) || is_smc(object, family) || is_carried(family))
		return SOCKADDR_ANY;
	words[3] = BPF_CORE_READ((struct inet_sock *)sk, inet_saddr);
	if (!words[3])
		words[3] = bpf_htonl(0x7f000001);
	return SOCKADDR_OF_SOCKET;
}

/* is_bound_to_mapped reports whether a socket of IPv6 is bound to an address of IPv4. */
static __always_inline bool is_bound_to_mapped(struct sock *sk)
{
	__be32 address[4] = {};

	BPF_CORE_READ_INTO(&address, sk, __sk_common.skc_v6_rcv_saddr.in6_u.u6_addr32);
	return !address[0] && !address[1] && address[2] == bpf_htonl(0xffff);
}

/* read_local takes a socket address as the socket's bind() will. */
static __always_inline enum sockaddr_kind read_local(struct socket_object *object, struct sock *sk,
						     __u16 family, const union raw_address *raw,
						     __u32 length, __u32 automatic)
{
	object->port = bpf_ntohs(raw->in6.sin6_port);
	if (is_ip4(raw, family)) {
		set_address4(object, raw->in.sin_addr);
	} else {
		if (length < SIN6_LEN_RFC2133)
			return SOCKADDR_NONE;
		set_address6(object, raw->in6.sin6_addr);
	}
	return object_finish(object, sk, automatic, true) ? SOCKADDR_OF_SOCKET : SOCKADDR_PLACE;
}

/* read_remote takes a socket address for where the socket connects or sends to; the message
 * is the one that is sent, if any. */
static __always_inline enum sockaddr_kind read_remote(struct socket_object *object, struct sock *sk,
						      __u16 family, const union raw_address *raw,
						      __u32 length, const struct msghdr *message)
{
	__u32 *words = (__u32 *)object->address;

	if (has_ports(object->protocol))
		object->port = bpf_ntohs(raw->in6.sin6_port);
	if (is_ip4(raw, family)) {
		set_address4(object, raw->in.sin_addr);
		return words[3] ? SOCKADDR_PLACE : read_self4(object, sk, family, message);
	}
	if (length < SIN6_LEN_RFC2133)
		return SOCKADDR_NONE;
	set_address6(object, raw->in6.sin6_addr);
	if (is_zero(words)) {
		/* net/ipv6/tcp_ipv6.c, tcp_v6_connect; net/ipv6/udp.c, udpv6_sendmsg */
		if (family == AF_INET6 && is_bound_to_mapped(sk))
			set_address4(object, bpf_htonl(0x7f000001));
		else
			words[3] = bpf_htonl(1);
		return SOCKADDR_OF_SOCKET;
	}
	if (object->family == 4 && !words[3])
		return read_self4(object, sk, family, message);
	return SOCKADDR_PLACE;
}

/* read_bound reads the address and port that a socket already has. */
static __always_inline void read_bound(struct socket_object *object, struct sock *sk)
{
	__be32 address6[4] = {};

	object->port = READ(sk, __sk_common.skc_num);
	if (READ(sk, __sk_common.skc_family) == AF_INET6) {
		BPF_CORE_READ_INTO(&address6, sk, __sk_common.skc_v6_rcv_saddr.in6_u.u6_addr32);
		set_address6(object, address6);
	} else {
		set_address4(object, READ(sk, __sk_common.skc_rcv_saddr));
	}
	object_finish(object, sk, object->port ? 0 : automatic_of(sk), object->port);
}

#endif
