/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * What a reader of alerts wants to know of the processes besides: who started them,
 * and with which arguments. An alert names the process and its ancestors by pid and
 * start time, which no other process ever has; what these run is told once, when
 * they start it, in a buffer of its own. So there is no need to read /proc while
 * the processes come and go.
 *
 * Nothing here decides anything, and nothing of it runs unless it was asked for.
 */
#ifndef EBPFGUARD_ENRICH_H
#define EBPFGUARD_ENRICH_H

#include "alert_path.h"
#include "subject.h"

static __always_inline __u64 start_of(struct task_struct *task)
{
	return READ(task, group_leader, start_boottime);
}

static __always_inline __u64 inode_of_program(struct task_struct *task)
{
	return READ(task, mm, exe_file, f_inode, i_ino);
}

/* append_ancestors appends the processes that the current task descends from to
 * buffer->paths, the parent first, and returns the new length of these. */
__noinline __u32 append_ancestors(__u32 from)
{
	struct task_struct *task = current_task();
	struct alert_buffer *buffer = current_alert_buffer();
	__u64 at = from;
	int i;

	barrier_var(at); /* the verifier has to see one register */
	if (!buffer || at > sizeof(buffer->paths) - sizeof(buffer->ancestors))
		return from; /* never: the paths leave room */
#pragma unroll
	for (i = 0; i < MAX_ANCESTORS; i++) {
		task = READ(task, real_parent);
		buffer->ancestors[i].pid = READ(task, tgid); /* 0 is the last one's parent */
		buffer->ancestors[i].start = start_of(task);
		buffer->ancestors[i].inode = inode_of_program(task);
	}
	if (bpf_probe_read_kernel(&buffer->paths[at], sizeof(buffer->ancestors), buffer->ancestors))
		return from;
	buffer->alert.ancestors = MAX_ANCESTORS;
	return from + sizeof(buffer->ancestors);
}

/* append_arguments appends the arguments of the current task's program and returns how
 * many bytes these are. They are on its new stack, in memory still. */
static __always_inline __u32 append_arguments(struct alert_buffer *buffer, struct task_struct *task,
					      __u32 from)
{
	__u64 start = READ(task, mm, arg_start), size = READ(task, mm, arg_end) - start, at = from;

	if (size > MAX_ARGUMENTS)
		size = MAX_ARGUMENTS;
	barrier_var(size); /* the verifier has to see one register of each */
	barrier_var(at);
	if (size > MAX_ARGUMENTS || at > MAX_PATH)
		return 0;
	return bpf_probe_read_user(&buffer->paths[at], size, (void *)start) ? 0 : size;
}

/* Attached only when it was asked for. The program has been started: it runs
 * nothing of its own yet. */
SEC("tp_btf/sched_process_exec")
int BPF_PROG(sched_process_exec, struct task_struct *traced)
{
	struct task_struct *task = current_task(), *parent = READ(task, real_parent);
	struct alert_buffer *buffer = current_alert_buffer();
	struct operation_counters *counts;
	struct execution *execution;
	__u32 key = 0, binary, arguments;
	__u64 size, ids = bpf_get_current_pid_tgid();
	bool sent = false;

	if (buffer) {
		execution = &buffer->execution;
		execution->time = bpf_ktime_get_boot_ns();
		execution->pid = ids >> 32;
		execution->start = start_of(task);
		execution->ppid = READ(parent, tgid);
		execution->parent_start = start_of(parent);
		execution->inode = inode_of_program(task);
		execution->uid = bpf_get_current_uid_gid();
		binary = copy_file(0, BPF_CORE_READ(task, mm, exe_file));
		arguments = append_arguments(buffer, task, binary);
		execution->binary_length = binary;
		execution->arguments_length = arguments;
		size = sizeof(*execution) + binary + arguments;
		barrier_var(size);
		if (size <= sizeof(*execution) + sizeof(buffer->paths))
			sent = !bpf_ringbuf_output(&executions, execution, size, 0);
		delete_alert_buffer();
	}
	counts = bpf_map_lookup_elem(&counters, &key);
	if (!counts)
		return 0;
	__sync_fetch_and_add(sent ? &counts->alerts : &counts->alerts_lost, 1);
	return 0;
}

#endif
