/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Everything that C and Go share: the layout of a generation of tables and of
 * an alert. bpf2go generates the Go side from here; there is no second copy.
 *
 * A generation is what a policy set was compiled to. It is one array map of
 * 32-bit words in lines of 64 bytes; the one pointer in `generations` switches
 * all operations and all subjects to another generation at once, so a decision
 * can never mix two policy sets. All offsets below are counted in words from
 * the start of the array, and every table starts at a line.
 */
#ifndef EBPFGUARD_ABI_H
#define EBPFGUARD_ABI_H

enum abi_sizes {
	LINE_WORDS = 16,
	/* Line 0 is a `struct generation`, line OPERATION a `struct operation`. */
	OPERATIONS = 16,
	/* A path of more components is "too deep" (docs/semantics.md, rule 6). */
	MAX_COMPONENTS = 64,
	MAX_NAME = 255,
	/* Mounts that a path may cross, and mounts on top of each other on its way. */
	MAX_MOUNTS = 32,
	/* Bytes of each of the two paths that an alert has room for. Storage of a
	 * task cannot be larger than 8 KiB on 7.x (mm/slub.c, kmalloc_nolock). */
	MAX_PATH = 2048,
	/* Intervals of ports that a bind to port 0 looks at before it gives up. */
	MAX_PORT_INTERVALS = 64,
	TASK_COMM_LEN = 16,
};

enum operation_id {
	OPERATION_SOCKET_BIND = 1,
};

/* The hook that asked: a key of the alert. */
enum hook_id {
	HOOK_SOCKET_BIND = 1,
	HOOK_SOCKET_LISTEN = 2,
	HOOK_SCTP_BIND_CONNECT = 3,
};

struct line {
	__u32 words[LINE_WORDS];
};

struct generation {
	__u32 number;
	/* Table of struct subject_entry, sorted by key. */
	__u32 subjects, subject_count;
	/* The class of a process that no entry names. */
	__u32 everyone;
	/* The class of a process that could not be identified. */
	__u32 unknown;
	__u32 reserved[11];
};

/* Maps the key of a program (path_hash or identity_hash, path.h) to the class
 * of the processes that run it. */
struct subject_entry {
	__u32 key[2]; /* the upper half first */
	__u32 class;
	__u32 reserved;
};

/* How an operation on sockets decides: the verdict is
 * verdicts[((row * address_classes + address) * port_classes + port) * protocol_classes + protocol]. */
struct operation {
	/* Row of the verdict table by subject class. 0: no rule concerns the operation. */
	__u32 rows;
	/* Tables of struct interval, sorted by start; the first start is 0. */
	__u32 ports, port_count;
	__u32 addresses4, address4_count;
	/* Table of struct interval6, sorted by start; the first start is 0. */
	__u32 addresses6, address6_count;
	/* Class by enum protocol_id. */
	__u32 protocols;
	__u32 verdicts;
	__u32 address_classes, port_classes, protocol_classes;
	__u32 reserved[4];
};

struct interval {
	__u32 start; /* in host byte order */
	__u32 class;
};

struct interval6 {
	__u32 start[4]; /* each in host byte order, most significant first */
	__u32 class;
	__u32 reserved[3];
};

enum port_values {
	/* What has no ports: an interval of ports of its own. */
	NO_PORT = 0x10000,
};

/* The values agree with policy.Protocol. */
enum protocol_id {
	PROTOCOL_TCP = 1,
	PROTOCOL_UDP,
	PROTOCOL_UDPLITE,
	PROTOCOL_SCTP,
	PROTOCOL_DCCP,
	PROTOCOL_ICMP,
	PROTOCOL_RAW,
	PROTOCOL_OTHER,
};

/*
 * One word of the verdict table. It is built so that the stricter of two
 * decisions is the greater number (policy.Stricter): first the verdict, then
 * the earlier rule, then the flags.
 */
enum verdict_bits {
	VERDICT_SHIFT = 29,
	RULE_SHIFT = 5,
	RULE_MASK = 0xffffff,
	/* The rule field holds NO_RULE less the rule's index less one; NO_RULE
	 * itself means that no rule decided. */
	NO_RULE = 0xffffff,
	/* The guard could not decide and a deny rule could have applied. */
	FLAG_UNDECIDED = 1 << 1,
	/* The decision does not name port 0 outright: where the object is port 0,
	 * the ports that the kernel may choose count as well. */
	FLAG_ANY_PORT = 1 << 0,
};

/* The values agree with policy.Verdict. */
enum verdict_id {
	VERDICT_ALLOW = 1,
	VERDICT_AUDIT = 2,
	VERDICT_DENY = 3,
};

/* Counters of one operation, summed over the processors. */
struct operation_counters {
	__u64 allowed, audited, denied;
	/* Of the above, decided without knowing enough. */
	__u64 undecided;
	/* audited + denied == alerts + alerts_lost */
	__u64 alerts, alerts_lost;
};

/* What is known of a task since it started its program. */
struct subject {
	/* Key of the program's path, 0 when the path is not to be trusted. */
	__u64 path;
	/* Key of the program's file. */
	__u64 identity;
	/* Generation number and class as last looked up, written as one word. */
	__u64 class;
	__u32 flags;
	__u32 reserved;
};
/* The program's path could not be found out. */
enum { SUBJECT_UNKNOWN = 1 };

struct socket_object {
	/* IPv4 as v4-mapped IPv6, in network byte order. */
	__u8 address[16];
	__u16 port;
	/* The ports that the kernel may choose for port 0. */
	__u16 automatic_first, automatic_last;
	__u8 protocol; /* enum protocol_id */
	__u8 family;   /* 4 or 6 */
	__u8 dual_stack;
	/* The address could not be read: fails closed. */
	__u8 unreadable;
	/* IPPROTO_*: what the socket was made with */
	__u16 ip_protocol;
};

struct alert {
	__u64 time; /* CLOCK_BOOTTIME, nanoseconds */
	__u32 operation;
	__u32 hook;
	__u32 verdict; /* a word of the verdict table */
	__u32 generation;
	__u32 pid, tid, ppid;
	__u32 uid, gid;
	__u32 mnt_ns, pid_ns, net_ns, user_ns;
	__u8 comm[TASK_COMM_LEN];
	__u32 reserved;
	__u64 cgroup;
	struct socket_object socket;
	/* Lengths of the two paths that follow, the parent's behind the program's;
	 * 0 for a kernel thread. */
	__u16 binary_length, parent_length;
	__u32 reserved2[2];
};

_Static_assert(sizeof(struct line) == 64, "a line is 64 bytes");
_Static_assert(sizeof(struct generation) == sizeof(struct line), "one line");
_Static_assert(sizeof(struct operation) == sizeof(struct line), "one line");
_Static_assert(sizeof(struct subject_entry) == 16, "four to a line");
_Static_assert(sizeof(struct interval) == 8, "eight to a line");
_Static_assert(sizeof(struct interval6) == 32, "two to a line");
_Static_assert(sizeof(struct socket_object) == 28, "no padding");
_Static_assert(sizeof(struct alert) == 128, "no padding");

#endif
