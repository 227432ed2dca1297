/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * A system call that comes to several hooks with the same thing: mount(2), of whose
 * hooks only the first knows what is wanted, and read(2) and write(2) on a socket,
 * of which an audit is to tell once.
 */
#ifndef EBPFGUARD_JUDGED_H
#define EBPFGUARD_JUDGED_H

#include "scratch.h"

/* Where a task's registers are below the end of its stack, which helps before
 * 5.15 (x86 and arm64 with pages of 4 KiB). */
#define THREAD_SIZE 16384

/* current_call returns the number of the system call that is going on; negative
 * when it cannot be found out. */
static __always_inline __s64 current_call(void)
{
	struct pt_regs___arm64 *arm64;
	struct pt_regs___x86 *x86;
	struct task_struct *task;
	void *registers;
	__s64 number;

	if (bpf_core_enum_value_exists(enum bpf_func_id___task_pt_regs,
				       BPF_FUNC_task_pt_regs___task_pt_regs)) {
		registers = (void *)bpf_task_pt_regs(bpf_get_current_task_btf());
	} else {
		task = (void *)bpf_get_current_task();
		registers = BPF_CORE_READ(task, stack) + THREAD_SIZE -
			    bpf_core_type_size(struct pt_regs);
	}
	x86 = registers;
	arm64 = registers;
	if (bpf_core_field_exists(x86->orig_ax))
		return BPF_CORE_READ_INTO(&number, x86, orig_ax) ? -1 : number;
	return BPF_CORE_READ(arm64, syscallno);
}

/* remember_judged remembers what was judged, for the hooks that the same system call
 * comes to next. It may fail before it does; what another one wants is judged. */
static __always_inline void remember_judged(struct scratch *scratch, __u64 what)
{
	scratch->judged = what;
	scratch->judged_by = current_call();
}

/* is_judged reports whether that was judged in this system call already, for once. */
static __always_inline bool is_judged(struct scratch *scratch, __u64 what)
{
	__u64 judged;

	if (!scratch)
		return false;
	judged = scratch->judged;
	scratch->judged = 0;
	return judged && judged == what && scratch->judged_by >= 0 &&
	       scratch->judged_by == current_call();
}

#endif
