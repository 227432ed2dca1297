/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * What belongs to a task: what it is (struct subject), its scratch spaces and its alert
 * buffer.
 *
 * They live in task storage. Per-processor scratch would be unsafe: a program may be
 * preempted by another task on the same processor, which then overwrites it. Two kernels
 * need another home for them: 5.10 has no task storage, and before 6.2
 * bpf_task_storage_get() fails while another task that was preempted holds the
 * processor's storage lock (kernel/bpf/bpf_task_storage.c). There the loader makes the
 * same maps hashes keyed by the address of the task; task_free (subject.h) removes the
 * entries.
 */
#ifndef EBPFGUARD_SCRATCH_H
#define EBPFGUARD_SCRATCH_H

#include "maps.h"
#include "cache/record.h"

/* The state of a hash (siphash.h). */
struct sip {
	__u64 v0, v1, v2, v3;
};

/* Components and roots of mounts on the way to a file. */
#define MAX_CHAIN (MAX_COMPONENTS + MAX_MOUNTS)

/* Files below the end of a chain that policies may know. */
#define MAX_SUSPECTS 4

/* What an operation is about, where it is not a socket. */
struct object {
	/* The file; no mount where the hook tells none. */
	__u64 mnt, dentry;
	/* The inode, where it is not the dentry's: the real file of overlayfs. */
	__u64 inode;
	/* The source of a mount, a string of the kernel. */
	__u64 source;
	__u32 flags; /* as in struct alert */
	__u32 from_uid, from_gid, to, method;
	/* Options that a mount may have or not, of a pair both; flags has them too. */
	__u32 either;
	/* Only the name counts, not what has it now (move.h). */
	__u32 bare;
	/* Only what it is counts, not its name: overlayfs opens it for a file of its
	 * own. */
	__u32 below;
	__u8 type[TYPE_LENGTH];
};

/* The reading of a mount's data (mount_data.h). */
struct mount_data {
	/* The address of the bytes that follow. */
	__u64 next;
	/* The word so far and its length. */
	__u64 word;
	__u32 letters;
	/* enum mount_flags and marks */
	__u32 told;
};

/* A file or directory that gets another name (move.h). */
struct move {
	/* Its name, and the one that it gets. */
	__u64 mnt, dentry, to_mnt, to_dentry;
	/* The states of both runs at each, and the classes. */
	__u64 from[2], to[2];
	__u64 from_classes, to_classes;
	/* The state of the names that it is known by, whatever its name. */
	__u64 known;
};

/* A page of task storage less what the kernel adds. More would make a task's first use of it slow:
 * large pieces come from the page allocator. */
#define MAX_SCRATCH (4096 - 112)

/* A task's scratch space; made at its first walk. Much of it would be local
 * variables if the verifier did not follow each of their values through loops. */
struct scratch {
	/* What the task is in the revision in which it was judged last; first, or clang computes
	 * the address before it tests for NULL. */
	struct class class;
	/* A hash over atoms. */
	struct sip sip;
	struct object object;
	struct move move;
	/* The dentries from the file up to the root; the root of a mount is in it too, with its
	 * lowest bit set, and has no name. */
	__u64 chain[MAX_CHAIN];
	/* The dentries above a mount that shows a part of a filesystem only. */
	__u64 above[MAX_COMPONENTS];
	/* Where the collecting is. */
	__u64 dentry, mount;
	/* What is being passed. */
	__u64 inode;
	/* How many there are, and how many are still to be passed. */
	__u32 count, above_count, left;
	/* Index of the root of the file's own mount in the chain. */
	__u32 root;
	/* Of a path that is too deep: how many there are in all, of which the chain
	 * holds the upper ones, each at its index modulo MAX_CHAIN; and those of the
	 * others that policies may know by identity. */
	__u32 deep, suspects;
	__u64 suspect[MAX_SUSPECTS], root_dentry;
	/* What has been passed of a text, and its end. */
	__u32 at, end;
	/* The states of the two runs: by the path, and by the identity of the
	 * files on it; and those of the latter for what is above. */
	struct state path, file, above_path, above_file;
	__u32 flags; /* enum run_flags */
	/* What the run found of the file's directory; the directory, the mount that the hook
	 * told, and what was active (cache/directory.h). */
	struct directory directory;
	__u64 above_dentry, told_mount, now;
	/* Which directory that is; 0 when nothing is kept of it. */
	__u64 place;
	/* What the last judgement of a file found, and what that holds for. */
	struct record kept;
	/* The kernel's counts when that began, and those by which it looks for what is kept
	 * (cache/moves.h). */
	__u64 sequences, counts;
	/* The name of the component being passed, or the addresses of
	 * sctp_bindx(3); whatever starts within the first MAX_NAME bytes may be a
	 * sockaddr_in6 long. */
	__u32 name_length;
	/* Names among what the chain holds. */
	__u32 components;
	__u64 name[(MAX_NAME + 1) / 8 + 4];
	struct socket_object socket;
	/* The container of the control group that was walked to, and whether the name of any says
	 * that it is one. */
	__u32 container, is_contained;
	/* What the loop over those addresses keeps between its turns: the socket,
	 * the strictest answer, where its address is, where the next is. */
	__u64 sk, answer;
	__u32 strictest_at, next_at;
	/* The port that the socket has or gets from the first address that names
	 * one: port 0 in another address means this port. */
	__u32 port;
	__u32 reserved;
	/* The mount, remount or socket that is judged already, and by which system call
	 * (judged.h). */
	__u64 judged;
	__s64 judged_by;
	struct mount_data data;
	/* Where a mount comes from, where the kernel has no string of it. */
	__u8 source[MAX_NAME + 1];
};
_Static_assert(sizeof(struct scratch) <= MAX_SCRATCH, "a task's first walk is cheap");

/* The names of a subject that has no room for them. */
struct long_text {
	__u64 stored; /* as in struct subject */
	__u8 text[MAX_TEXT];
};

/* More of it, for who finds out what a task is: the subject and its class. */
struct identity {
	/* What a task is found to be; and what is to be classified, a copy. */
	struct subject subject;
	union {
		struct {
			/* Its names, all of them. */
			struct long_text names;
			/* What is to be kept with a program's file. */
			struct label label;
		};
		/* The atoms of one kind of selector, while a class is made of what the names are. */
		__u64 plane[ATOM_WORDS];
	};
	/* The classes of what a subject's names and files are. */
	struct {
		__u32 programs[4], cgroup;
	} found;
	/* The names of the file of subject->exec, where they are long. */
	__u8 long_name[MAX_TEXT];
};
_Static_assert(sizeof(struct identity) <= MAX_SCRATCH, "nor is its first exec slow");

/* Where a task's alert is put together; made at its first alert. */
struct alert_buffer {
	/* What is sent begins here, and goes on with the paths. */
	union {
		struct alert alert;
		struct {
			__u8 unused[sizeof(struct alert) - sizeof(struct execution)];
			struct execution execution;
		};
	};
	/* Three paths, the source of a mount, and room for one more name; the
	 * ancestors. */
	__u8 paths[3 * MAX_PATH + 2 * (MAX_NAME + 1) + MAX_ANCESTORS * sizeof(struct ancestor)];
	struct ancestor ancestors[MAX_ANCESTORS];
};
_Static_assert(MAX_SCRATCH <= sizeof(struct alert_buffer), "zeros are enough for all");

struct {
	__uint(type, BPF_MAP_TYPE_TASK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, int);
	__type(value, struct subject);
} tasks SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_TASK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, int);
	__type(value, struct long_text);
} long_texts SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_TASK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, int);
	__type(value, struct scratch);
} scratches SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_TASK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, int);
	__type(value, struct identity);
} identities SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_TASK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, int);
	__type(value, struct alert_buffer);
} alert_buffers SEC(".maps");

/* What a new hash entry is filled with. */
static const __u8 zeros[sizeof(struct alert_buffer)];

/* task_get returns the storage of a task; NULL when there is none. */
static __always_inline void *task_get(void *map, struct task_struct *task)
{
	__u64 key = (__u64)task;

	return SINCE_6_2 ? bpf_task_storage_get(map, (void *)task, NULL, 0)
			 : bpf_map_lookup_elem(map, &key);
}

/* current_get_or_make returns the storage of the current task; a new one holds
 * zeros. NULL when memory or the hash is full. */
static __always_inline void *current_get_or_make(void *map)
{
	__u64 key;
	void *value;

	if (SINCE_6_2)
		return bpf_task_storage_get(map, bpf_get_current_task_btf(), NULL,
					    BPF_LOCAL_STORAGE_GET_F_CREATE);
	key = bpf_get_current_task();
	value = bpf_map_lookup_elem(map, &key);
	if (value)
		return value;
	bpf_map_update_elem(map, &key, zeros, BPF_NOEXIST);
	return bpf_map_lookup_elem(map, &key);
}

static __always_inline struct scratch *current_scratch(void)
{
	return current_get_or_make(&scratches);
}

static __always_inline struct identity *current_identity(void)
{
	return current_get_or_make(&identities);
}

/*
 * How a function that the verifier checks by itself gets at what its caller looked up: to look it
 * up again takes a hundred instructions. Since 5.12 such a function takes pointers, NULL too
 * (kernel/bpf/btf.c, btf_prepare_func_args); where it takes nothing but numbers, it looks.
 */
#ifdef BEFORE_6_2
typedef __u64 scratch_arg, identity_arg;
#define hand(scratch) ((void)(scratch), 0)
#define hand_identity(identity) ((void)(identity), 0)
/* An argument that is never used would not be passed: clang leaves any value in its register. */
#define scratch_of(given)           \
	({                          \
		barrier_var(given); \
		current_scratch();  \
	})
#define identity_of(given)          \
	({                          \
		barrier_var(given); \
		current_identity(); \
	})
#else
typedef struct scratch *scratch_arg;
typedef struct identity *identity_arg;
#define hand(scratch) (scratch)
#define hand_identity(identity) (identity)
#define scratch_of(given) (given)
#define identity_of(given) (given)
#endif

static __always_inline struct alert_buffer *current_alert_buffer(void)
{
	return current_get_or_make(&alert_buffers);
}

/* delete_alert_buffer gives its memory back, of a task that will rarely need it again. */
static __always_inline void delete_alert_buffer(void)
{
	__u64 key;

	if (SINCE_6_2) {
		bpf_task_storage_delete(&alert_buffers, bpf_get_current_task_btf());
		return;
	}
	key = bpf_get_current_task();
	bpf_map_delete_elem(&alert_buffers, &key);
}

#endif
