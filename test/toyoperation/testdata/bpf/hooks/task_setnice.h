/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * task_setnice: a process changes the niceness of one, by setpriority(2) or nice(2).
 * sched_setscheduler(2) asks another hook and stays open. The object is a level: the
 * niceness after it, plus 20.
 */
#ifndef EBPFGUARD_HOOKS_TASK_SETNICE_H
#define EBPFGUARD_HOOKS_TASK_SETNICE_H

#include "../verdict.h"

enum { TABLE_LEVELS = 0 };

__noinline __u64 judge_level(__u32 id, __u64 begun, __u32 level)
{
	struct key keys[MAX_KEYS] = {INTERVAL(TABLE_LEVELS, level)};

	return judge_keys(id, begun, keys);
}

SEC("lsm/task_setnice")
int BPF_PROG(task_setnice, struct task_struct *task, int nice, int ret)
{
	if (ret)
		return ret;
	return decide_number(OPERATION_TASK_SETNICE, HOOK_TASK_SETNICE, judge_level, nice + 20);
}

#endif
