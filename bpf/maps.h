/* SPDX-License-Identifier: GPL-2.0-only */
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

/* What a walk along a path needs; made at the first walk of a task. */
struct walk {
	/* The current task's subject, when there is no memory to keep it. First,
	 * or clang computes its address before it tests for NULL. */
	struct subject spare;
	__u64 dentries[MAX_COMPONENTS];
	/* How many dentries there are. It lives here because the verifier would
	 * follow every value of a local variable through the loop. */
	__u32 count;
	__u32 reserved;
	/* The name being hashed, or the addresses of sctp_bindx(3); whatever
	 * starts within the first MAX_NAME bytes may be a sockaddr_in6 long. */
	__u64 name[(MAX_NAME + 1) / 8 + 4];
	/* What the loop over those addresses keeps between its turns: the socket,
	 * the strictest answer, where its address is, where the next is. */
	__u64 sk, answer;
	__u32 strictest_at, at;
	/* The port that the socket has or gets from the first address that names
	 * one: port 0 in another address means this port. */
	__u32 port;
	__u32 reserved2;
};

/* Where a task's alert is put together; made at its first alert. */
struct report {
	struct alert alert;
	/* Twice MAX_PATH, and room for one more name behind either. */
	__u8 paths[2 * MAX_PATH + MAX_NAME + 1];
};

struct {
	__uint(type, BPF_MAP_TYPE_TASK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, int);
	__type(value, struct subject);
} subjects SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_TASK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, int);
	__type(value, struct walk);
} walks SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_TASK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, int);
	__type(value, struct report);
} reports SEC(".maps");

/* The generation in force. BPF_F_INNER_MAP lets each be as long as it needs. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS);
	__uint(max_entries, 1);
	__type(key, __u32);
	__array(
		values, struct {
			__uint(type, BPF_MAP_TYPE_ARRAY);
			__uint(map_flags, BPF_F_INNER_MAP);
			__uint(max_entries, 1);
			__type(key, __u32);
			__type(value, struct line);
		});
} generations SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 1 << 12); /* the loader sets the size */
} alerts SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, OPERATIONS);
	__type(key, __u32);
	__type(value, struct operation_counters);
} counters SEC(".maps");

/* Set by the loader before the programs are loaded. */
volatile const bool task_storage = true;
volatile const __u64 hash_key[2] = {};

/* What a new hash entry is filled with. */
static const __u8 zeros[sizeof(struct report)];

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

static __always_inline struct walk *current_walk(void)
{
	return current_get_or_make(&walks);
}

static __always_inline struct report *current_report(void)
{
	return current_get_or_make(&reports);
}

#endif
