/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* The maps that all programs share, and what the loader sets before it loads them. */
#ifndef EBPFGUARD_MAPS_H
#define EBPFGUARD_MAPS_H

#include "abi.h"

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
 *
 * Two more words are about containers (container.h).
 */
#define ACTIVE_OPERATIONS ((1 << OPERATIONS) - 1)
struct active {
	__u64 words[ACTIVE_WORDS];
};
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct active);
} active SEC(".maps");

/* VALUE_OF(map) is the address of an array's only value, which takes one instruction and no
 * look-up: the loader makes it that of the value (internal/bpf/compiled.go, pointAtValues). */
#define VALUE_OF(map)                                                 \
	({                                                            \
		void *value_ = &(map);                                \
		barrier_var(value_); /* clang takes it for the map */ \
		value_;                                               \
	})

static __always_inline __u64 word_of_active(__u32 key)
{
	struct active *all = VALUE_OF(active);

	return *(volatile __u64 *)&all->words[key];
}

static __always_inline __u64 active_word(void)
{
	return word_of_active(ACTIVE_REVISION);
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

/*
 * The object is compiled twice, and the loader takes the one for its kernel (internal/bpf,
 * object.go). Since 6.2 what belongs to a task lives in task storage, and a pointer can be
 * taken for one to a type; before, it lives in hashes, and memory is read by a helper.
 * Both in one object would double the time that loading takes: the verifier checks what it
 * then cuts out, branch by branch.
 */
#ifdef BEFORE_6_2
#define SINCE_6_2 false
#else
#define SINCE_6_2 true
#endif

/* Set by the loader before the programs are loaded. */
volatile const __u64 hash_key[2] = {};
/* Addresses of the kernel's rename_lock and mount_lock, 0 when unknown. */
volatile const __u64 rename_lock_at = 0, mount_lock_at = 0;
/* Which argument of these hooks is the dentry: later kernels have one more. */
volatile const __u32 setattr_dentry = 0, setxattr_dentry = 0, removexattr_dentry = 0;
/* path_chown takes structs by value, to which programs can be attached since 6.0
 * only; before, inode_setattr judges changes of owner. */
volatile const bool chown_by_path = true;
/* Whether mmap_backing_file judges the file below that is mapped through overlayfs. */
volatile const bool maps_backing_files = true;
/* Whether statfs(2) shows the UUID of a tmpfs (since 5.13), which is part of its files' keys
 * then. */
volatile const bool tmpfs_uuid = false;
/* Whether alerts name the ancestors. */
volatile const bool enrich = false;
/* How many arguments path_rename has. */
volatile const __u32 rename_arguments = 5;

/* as_number returns a pointer as a number, which is what global functions take;
 * the verifier does not forget by itself what a pointer points to. */
static __always_inline __u64 as_number(const void *pointer)
{
	__u64 number = 0;

	bpf_probe_read_kernel(&number, sizeof(number), &pointer);
	return number;
}

#endif
