/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Reading the kernel's memory by pointers that the verifier knows nothing about. Since
 * 6.2 a pointer can be taken for one to a type, after which a read is one instruction;
 * before, each is a call of bpf_probe_read_kernel(). What is not there reads as 0
 * either way.
 */
#ifndef EBPFGUARD_READ_H
#define EBPFGUARD_READ_H

#include "scratch.h"

/* Since 6.2 (kernel/bpf/helpers.c). */
extern void *bpf_rdonly_cast(const void *object, __u32 type) __ksym;

#define CAST(pointer) \
	((typeof(pointer))bpf_rdonly_cast(pointer, bpf_core_type_id_kernel(typeof(*(pointer)))))

/* READ(p, a, b) is p->a->b, as with BPF_CORE_READ. A pointer that it returns may be one
 * to the verifier: it can be compared and kept, but not calculated with, see
 * distance(). The pointer is a variable: an expression that goes through a struct of
 * ours, READ(scratch->inode, i_ino), would be looked up in the kernel as well. */
#define READ(pointer, ...) \
	(SINCE_6_2 ? ___arrow(CAST(pointer), __VA_ARGS__) : BPF_CORE_READ(pointer, __VA_ARGS__))

/* distance returns how far a pointer is from another. The verifier lets nothing
 * else be calculated with pointers. */
static __always_inline __u64 distance(const void *from, const void *to)
{
	__u64 number;

	/* Or clang compares them instead. */
	asm volatile("%0 = %1\n%0 -= %2" : "=&r"(number) : "r"(to), "r"(from));
	return number;
}

#endif
