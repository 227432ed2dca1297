/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * The few kernel types that our programs read, by hand instead of a vmlinux.h
 * of 130,000 lines: what is here is what we depend on. Every struct is
 * relocated when it is loaded (CO-RE), so only the names and types of the
 * fields have to agree with the kernel, not their order or place. The source
 * of each is named beside it.
 */
#ifndef EBPFGUARD_KERNEL_H
#define EBPFGUARD_KERNEL_H

typedef signed char __s8;
typedef unsigned char __u8;
typedef short __s16;
typedef unsigned short __u16;
typedef int __s32;
typedef unsigned int __u32;
typedef long long __s64;
typedef unsigned long long __u64;
typedef __u16 __be16;
typedef __u32 __be32;
typedef __u32 __wsum; /* named by libbpf's helper prototypes */
typedef _Bool bool;

#define NULL ((void *)0)
#define true 1
#define false 0

/* include/uapi/linux/bpf.h */
enum {
	BPF_MAP_TYPE_HASH = 1,
	BPF_MAP_TYPE_ARRAY = 2,
	BPF_MAP_TYPE_PERCPU_ARRAY = 6,
	BPF_MAP_TYPE_ARRAY_OF_MAPS = 12,
	BPF_MAP_TYPE_RINGBUF = 27,
	BPF_MAP_TYPE_INODE_STORAGE = 28,
	BPF_MAP_TYPE_TASK_STORAGE = 29,
};
enum {
	BPF_ANY = 0,
	BPF_NOEXIST = 1,
	BPF_F_NO_PREALLOC = 1,
	BPF_F_MMAPABLE = 1 << 10,
	BPF_LOCAL_STORAGE_GET_F_CREATE = 1,
	BPF_F_INNER_MAP = 1 << 12,
};

/* include/uapi/asm-generic/errno-base.h */
#define EPERM 1
#define ENOMEM 12
/* include/uapi/asm-generic/signal.h */
#define SIGKILL 9
/* include/linux/err.h */
#define MAX_ERRNO 4095

/* include/linux/socket.h, include/uapi/linux/in.h, include/uapi/linux/sctp.h */
#define AF_UNSPEC 0
#define AF_INET 2
#define AF_INET6 10
#define AF_RDS 21
#define AF_RXRPC 33
#define AF_SMC 43
#define SIN6_LEN_RFC2133 24
#define SOCK_RAW 3
#define IPPROTO_ICMP 1
#define IPPROTO_TCP 6
#define IPPROTO_UDP 17
#define IPPROTO_DCCP 33
#define IPPROTO_ICMPV6 58
#define IPPROTO_SCTP 132
#define IPPROTO_UDPLITE 136
#define IPPROTO_SMC 256
#define IPPROTO_MPTCP 262
#define SCTP_SOCKOPT_BINDX_ADD 100

/* include/linux/fs.h */
#define SB_KERNMOUNT (1 << 22)

/* include/uapi/linux/magic.h */
#define PROC_SUPER_MAGIC 0x9fa0
#define SYSFS_MAGIC 0x62656572
#define TMPFS_MAGIC 0x01021994
#define RAMFS_MAGIC 0x858458f6
#define HUGETLBFS_MAGIC 0x958458f6
#define SOCKFS_MAGIC 0x534f434b
#define PIPEFS_MAGIC 0x50495045
#define SECRETMEM_MAGIC 0x5345434d

#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)

/* include/linux/socket.h, include/uapi/linux/in.h, include/uapi/linux/in6.h.
 * sockaddr_in and sockaddr_in6 are fixed by the system call interface. */
struct sockaddr {
	__u16 sa_family;
};

/* include/linux/ns_common.h and the namespaces that hold one */
struct ns_common {
	__u32 inum;
};
struct user_namespace {
	int level;
	struct ns_common ns;
};
struct mnt_namespace {
	struct ns_common ns;
	struct mount *root;
	__u64 seq;
	struct user_namespace *user_ns;
};
struct pid_namespace {
	struct ns_common ns;
};

/* include/net/netns/ipv4.h. Since 6.8 range is one u32 with the last port in
 * the upper half. */
struct local_ports {
	int range[2];
};
struct local_ports___since_6_8 {
	__u32 range;
};
struct netns_ipv4 {
	struct local_ports ip_local_ports;
};
struct net {
	struct ns_common ns;
	struct netns_ipv4 ipv4;
};

/* include/net/sock.h, include/linux/net.h */
typedef struct {
	struct net *net;
} possible_net_t;
/* For its first word (sockaddr.h). */
struct timespec64 {
	__s64 tv_sec;
};
struct in6_addr {
	union {
		__be32 u6_addr32[4];
	} in6_u;
};
struct sock_common {
	__be32 skc_daddr;
	__be32 skc_rcv_saddr;
	__be16 skc_dport;
	__u16 skc_num;
	__u16 skc_family;
	volatile unsigned char skc_state;
	unsigned char skc_ipv6only : 1;
	possible_net_t skc_net;
	struct in6_addr skc_v6_daddr;
	struct in6_addr skc_v6_rcv_saddr;
};
struct sock {
	struct sock_common __sk_common;
	__u16 sk_type;
	__u16 sk_protocol;
};
struct socket {
	struct sock *sk;
};
/* What sockets of the internet's families begin with (include/net/inet_sock.h). */
struct inet_sock {
	__be32 inet_saddr;
};
struct msghdr {
	void *msg_name;
	int msg_namelen;
	void *msg_control;
	unsigned long msg_controllen;
};
/* include/linux/socket.h: fixed by the system call interface; the next one begins at
 * a multiple of 8. */
struct cmsghdr {
	unsigned long cmsg_len;
	int cmsg_level;
	int cmsg_type;
};

/* include/linux/fs.h, include/linux/dcache.h, include/linux/mount.h, fs/mount.h */
struct hlist_bl_node {
	struct hlist_bl_node *next, **pprev;
};
struct hlist_node {
	struct hlist_node *next, **pprev;
};
struct hlist_head {
	struct hlist_node *first;
};
struct list_head {
	struct list_head *next, *prev;
};
struct file_system_type {
	const char *name;
};
typedef struct {
	__u8 b[16];
} uuid_t;
struct super_block {
	uuid_t s_uuid;
	__u32 s_dev;
	unsigned long s_flags;
	unsigned long s_magic;
	struct dentry *s_root;
	struct file_system_type *s_type;
	struct list_head s_mounts;
};
/* include/uapi/linux/stat.h */
#define MODE_TYPE 0170000
#define MODE_SOCKET 0140000
#define MODE_DIRECTORY 0040000
#define MODE_BLOCK 0060000
#define MODE_FILE 0100000
#define MODE_CHARACTER 0020000

struct inode {
	__u16 i_mode;
	struct super_block *i_sb;
	unsigned long i_ino;
	__u32 i_rdev;
	__u32 i_generation;
	struct hlist_head i_dentry;
	void *i_private;
};
struct qstr {
	struct {
		__u32 hash;
		__u32 len;
	};
	const unsigned char *name;
};
/* include/linux/seqlock_types.h: with one of these begins a seqlock_t */
struct seqcount {
	unsigned int sequence;
};
/* under whatever name, it begins with the count */
struct sequence_count {
	unsigned int sequence;
};
struct dentry {
	unsigned int d_flags;
	struct sequence_count d_seq;
	struct hlist_bl_node d_hash;
	struct dentry *d_parent;
	struct qstr d_name;
	struct inode *d_inode;
	struct super_block *d_sb;
	union {
		struct hlist_node d_alias;
	} d_u;
};
struct vfsmount {
	struct dentry *mnt_root;
	struct super_block *mnt_sb;
	int mnt_flags;
};
struct mount {
	struct mount *mnt_parent;
	struct dentry *mnt_mountpoint;
	struct vfsmount mnt;
	struct mnt_namespace *mnt_ns;
	struct list_head mnt_mounts, mnt_child;
	struct list_head mnt_instance;
	const char *mnt_devname;
};
struct path {
	struct vfsmount *mnt;
	struct dentry *dentry;
};
struct file {
	struct path f_path;
	struct inode *f_inode;
	unsigned int f_flags;
	unsigned int f_mode;
	void *private_data;
};
/* fs/file_table.c, since 6.7 */
struct backing_file {
	struct path user_path;
};
struct vm_area_struct {
	struct file *vm_file;
	unsigned long vm_flags;
};
struct iattr {
	unsigned int ia_valid;
};
struct mnt_idmap;
struct user_namespace;
struct mm_struct {
	struct file *exe_file;
	unsigned long arg_start, arg_end;
};
struct linux_binprm {
	unsigned long vma_pages;
	struct mm_struct *mm;
	struct file *file;
	struct cred *cred;
	int argc;
	const char *interp;
};

/* include/linux/sched.h, include/linux/cred.h, include/linux/nsproxy.h, include/linux/pid.h */
typedef struct {
	__u32 val;
} kuid_t;
typedef struct {
	__u32 val;
} kgid_t;
/* Since 6.3 a capability set is one u64 named val, before two u32 named cap. */
typedef struct {
	__u64 val;
} kernel_cap_t;
struct kernel_cap_struct {
	__u32 cap[2];
};
struct group_info {
	int ngroups;
	kgid_t gid[0];
};
struct cred {
	kuid_t uid, suid, euid, fsuid;
	kgid_t gid, sgid, egid, fsgid;
	kernel_cap_t cap_permitted, cap_effective;
	struct user_namespace *user_ns;
	struct group_info *group_info;
};
struct nsproxy {
	struct mnt_namespace *mnt_ns;
	struct net *net_ns;
};
struct upid {
	struct pid_namespace *ns;
};
struct pid {
	unsigned int level;
	struct upid numbers[1];
};
/* include/linux/kernfs.h, include/linux/cgroup-defs.h */
struct kernfs_node {
	__u64 id;
	struct kernfs_node *parent;
	const char *name;
};
struct cgroup {
	struct kernfs_node *kn;
};
struct css_set {
	struct cgroup *dfl_cgrp;
};
struct fdtable {
	unsigned int max_fds;
	struct file **fd;
};
struct files_struct {
	struct fdtable *fdt;
};
struct task_struct {
	void *stack;
	struct css_set *cgroups;
	int tgid;
	unsigned int in_execve : 1;
	struct mm_struct *mm;
	struct files_struct *files;
	struct task_struct *real_parent;
	struct task_struct *group_leader;
	__u64 start_boottime; /* of CLOCK_BOOTTIME, since 5.5 */
	const struct cred *cred;
	struct nsproxy *nsproxy;
	struct pid *thread_pid;
};

/* arch/.../include/asm/ptrace.h: the number of the system call that is going on */
struct pt_regs___x86 {
	unsigned long orig_ax;
};
struct pt_regs___arm64 {
	int syscallno;
};
struct pt_regs {
};

/* include/uapi/linux/bpf.h: a helper since 5.15 */
enum bpf_func_id___task_pt_regs { BPF_FUNC_task_pt_regs___task_pt_regs = 175 };

/* include/linux/bpf.h: the context of a bpf_iter over tasks */
struct seq_file;
struct bpf_iter_meta {
	struct seq_file *seq;
};
struct bpf_iter__task {
	struct bpf_iter_meta *meta;
	struct task_struct *task;
};

#pragma clang attribute pop

/* include/uapi/linux/in.h and in6.h: fixed by the system call interface. */
struct sockaddr_in {
	__u16 sin_family;
	__be16 sin_port;
	__be32 sin_addr;
	__u8 pad[8];
};
struct sockaddr_in6 {
	__u16 sin6_family;
	__be16 sin6_port;
	__be32 sin6_flowinfo;
	__be32 sin6_addr[4];
	__u32 sin6_scope_id;
};

#endif
