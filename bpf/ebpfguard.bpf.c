// SPDX-License-Identifier: GPL-2.0-only
/* All kernel programs, one object. A new operation adds one include. */
#include "kernel.h"

#include <bpf/bpf_helpers.h>
#include <bpf/bpf_core_read.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_tracing.h>

#include "hooks/socket_bind.h"

/* The kernel offers LSM programs to GPL code only. */
char LICENSE[] SEC("license") = "GPL";

/* Types that Go needs and no map names: this brings them into the object's BTF. */
struct abi {
	enum abi_sizes sizes;
	enum operation_id operation_id;
	enum hook_id hook;
	enum protocol_id protocol;
	enum verdict_bits verdict_bits;
	enum verdict_id verdict;
	enum port_values port_values;
	struct line line;
	struct generation generation;
	struct subject_entry subject_entry;
	struct operation operation;
	struct interval interval;
	struct interval6 interval6;
	struct alert alert;
};
const struct abi *unused_abi __attribute__((unused));
