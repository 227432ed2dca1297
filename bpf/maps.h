/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * The maps, and what belongs to a task.
 *
 * A task's class and scratch space live in task storage. Per-processor scratch
 * would be unsafe: a program may be preempted by another task on the same
 * processor, which then overwrites it. Two kernels need another home for them:
 * 5.10 has no task storage, and before 6.2 bpf_task_storage_get() fails while
 * another task that was preempted holds the processor's storage lock
 * (kernel/bpf/bpf_task_storage.c). There the loader makes the same maps hashes
 * keyed by the address of the task and sets task_storage to false; task_free
 * removes the entries.
 */
#ifndef EBPFGUARD_MAPS_H
#define EBPFGUARD_MAPS_H

#include "abi.h"

/* Components and roots of mounts on the way to a file. */
#define MAX_CHAIN (MAX_COMPONENTS + MAX_MOUNTS)

/* What an operation is about, where it is not a socket. */
struct object {
	/* The file; no mount where the hook tells none. */
	__u64 mnt, dentry;
	/* The inode, where it is not the dentry's: the real file of overlayfs. */
	__u64 inode;
	/* The source of a mount, a string of the kernel. */
	__u64 source;
	__u32 flags; /* as in struct alert */
	__u32 from_uid, from_gid, to, means;
	__u32 reserved;
	__u8 type[TYPE_LENGTH];
};

/* What is kept with an inode for an operation (cache.h). */
struct record {
	/* The classes of the file's names. */
	__u64 classes;
	/* The revision's number << 32 | the row that the verdicts are for. */
	__u64 begun;
	/* The verdicts on each enum access_flags, or on starting and loading the
	 * program. */
	__u32 verdicts[3];
	__u32 reserved;
	__u64 check;
};

/* What is kept of a directory (directory.h). */
struct directory {
	__u64 check;
	/* The states of both runs below it. */
	__u64 path, file;
	__u32 flags; /* enum chain_flags of the files in it */
	/* Names above the files in it. */
	__u32 components;
};

/* What is kept with the file of a program that was started (exec.h). Only `class`
 * and what it depends on and `stamp` ever change. */
struct label {
	/* Where the file lay when its names were as they are here. */
	__u64 stamp;
	__u64 key; /* TAG_FILE */
	/* The class of the last process that started it, as in struct subject, a
	 * hash of that and of what else it depends on, and until when it holds. */
	__u64 class, class_check, until;
	/* The names, as in a subject's text. */
	__u64 length;
	__u8 text[MAX_LABEL + 1];
};

/* A task's scratch space; made at its first walk. Much of it would be local
 * variables if the verifier did not follow each of their values through loops. */
struct scratch {
	/* What a task is found to be, and a copy of its subject while that is
	 * classified. First, or clang computes the address before it tests for
	 * NULL. */
	struct subject next, spare;
	/* What is to be kept with a program's file. */
	struct label label;
	/* The names of the file of subject->exec, where they are long. */
	__u8 long_name[MAX_TEXT];
	struct object object;
	/* The dentries from the file up to the root; the root of a mount is in it
	 * too, with its lowest bit set, and has no name. */
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
	/* What has been passed of a text, and its end. */
	__u32 at, end;
	/* The states of the two runs: by the path, and by the identity of the
	 * files on it; and those of the latter for what is above. */
	struct state path, file, above_path, above_file;
	__u32 flags; /* enum run_flags */
	/* What the run found of the file's directory, the directory's chain, and the
	 * number of the revision that it was looked up in. */
	struct directory directory;
	__u64 above_chain;
	__u32 number, reserved3;
	/* What the last judgement of a file found, and what that holds for. */
	struct record kept;
	__u64 sequences;
	/* The name of the component being passed, or the addresses of
	 * sctp_bindx(3); whatever starts within the first MAX_NAME bytes may be a
	 * sockaddr_in6 long. */
	__u32 name_length;
	/* Names among what the chain holds. */
	__u32 components;
	__u64 name[(MAX_NAME + 1) / 8 + 4];
	struct socket_object socket;
	__u32 reserved2;
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
	/* Where a mount comes from, where the kernel has no string of it. */
	__u8 source[MAX_NAME + 1];
};

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
_Static_assert(sizeof(struct scratch) <= sizeof(struct alert_buffer), "zeros are enough for both");

struct {
	__uint(type, BPF_MAP_TYPE_TASK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, int);
	__type(value, struct subject);
} tasks SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_INODE_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, int);
	__type(value, struct label);
} labels SEC(".maps");

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
	__type(value, struct alert_buffer);
} alert_buffers SEC(".maps");

/* The active revision and the one that is staged to follow. BPF_F_INNER_MAP lets each be
 * as long as it needs. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS);
	__uint(max_entries, 2);
	__type(key, __u32);
	__array(
		values, struct {
			__uint(type, BPF_MAP_TYPE_ARRAY);
			__uint(map_flags, BPF_F_INNER_MAP);
			__uint(max_entries, 1);
			__type(key, __u32);
			__type(value, struct line);
		});
} revisions SEC(".maps");

/*
 * What is active, in one word: the revision's number << 32 | the operations
 * that its rules concern | enum active_flags, which is what its first line says. While the
 * loader switches to another revision it is 0, so that nothing counts then that was kept.
 * A program that reads a number here finds the tables of that number, or sees by their
 * number that they have been replaced. The loader writes it through memory (mmap).
 */
#define ACTIVE_OPERATIONS ((1 << OPERATIONS) - 1)
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u64);
} active SEC(".maps");

static __always_inline __u64 active_word(void)
{
	__u32 key = 0;
	volatile __u64 *word = bpf_map_lookup_elem(&active, &key);

	return word ? *word : 0;
}

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 1 << 12); /* the loader sets the size */
} alerts SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 1 << 12); /* the loader sets the size */
} executions SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, OPERATIONS);
	__type(key, __u32);
	__type(value, struct operation_counters);
} counters SEC(".maps");

/* Set by the loader before the programs are loaded. */
volatile const bool task_storage = true;
volatile const __u64 hash_key[2] = {};
/* Addresses of the kernel's rename_lock and mount_lock, 0 when unknown. */
volatile const __u64 rename_lock_at = 0, mount_lock_at = 0;
/* Which argument of these hooks is the dentry: later kernels have one more. */
volatile const __u32 setattr_dentry = 0, setxattr_dentry = 0, removexattr_dentry = 0;
/* path_chown takes structs by value, to which programs can be attached since 6.0
 * only; before, inode_setattr judges changes of owner. */
volatile const bool chown_by_path = true;
/* Whether alerts name the ancestors. */
volatile const bool enrich = false;
/* How many arguments path_rename has. */
volatile const __u32 rename_arguments = 5;

/* What a new hash entry is filled with. */
static const __u8 zeros[sizeof(struct alert_buffer)];

/* as_number returns a pointer as a number, which is what global functions take;
 * the verifier does not forget by itself what a pointer points to. */
static __always_inline __u64 as_number(const void *pointer)
{
	__u64 number = 0;

	bpf_probe_read_kernel(&number, sizeof(number), &pointer);
	return number;
}

/* task_get returns the storage of a task; NULL when there is none. The
 * verifier knows task_storage and never sees the branch that the kernel does
 * not offer. */
static __always_inline void *task_get(void *map, struct task_struct *task)
{
	__u64 key = (__u64)task;

	return task_storage ? bpf_task_storage_get(map, (void *)task, NULL, 0)
			    : bpf_map_lookup_elem(map, &key);
}

/* current_get_or_make returns the storage of the current task; a new one holds
 * zeros. NULL when memory or the hash is full. */
static __always_inline void *current_get_or_make(void *map)
{
	__u64 key;
	void *value;

	if (task_storage)
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

static __always_inline struct alert_buffer *current_alert_buffer(void)
{
	return current_get_or_make(&alert_buffers);
}

/* delete_alert_buffer gives its memory back, of a task that will rarely need it again. */
static __always_inline void delete_alert_buffer(void)
{
	__u64 key;

	if (task_storage) {
		bpf_task_storage_delete(&alert_buffers, bpf_get_current_task_btf());
		return;
	}
	key = bpf_get_current_task();
	bpf_map_delete_elem(&alert_buffers, &key);
}

#endif
