/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The only place that turns a decision into an errno and an alert. It decides,
 * then reports: nothing that happens to the alert can change the verdict.
 */
#ifndef EBPFGUARD_VERDICT_H
#define EBPFGUARD_VERDICT_H

#include "subject.h"

#define UNDECIDED_DENY \
	((__u32)VERDICT_DENY << VERDICT_SHIFT | NO_RULE << RULE_SHIFT | FLAG_UNDECIDED)
#define NO_RULE_ALLOW ((__u32)VERDICT_ALLOW << VERDICT_SHIFT | NO_RULE << RULE_SHIFT)

/* What a judgement returns when the generation changed under it: begin anew. */
#define CHANGED 0
/* How often to begin anew. A new generation takes milliseconds to publish and
 * a judgement microseconds, so twice is rare already. */
#define MAX_TRIES 4

/* One question to the tables: who asks, and where the answers are. */
struct judgement {
	void *tables;
	const struct operation *operation;
	__u32 generation;
	/* Row of the subject in the operation's verdicts. */
	__u32 row;
};

/* What judge_begin returns when the object has to be judged. */
#define JUDGE_OBJECT 1

/*
 * judge_begin looks up everything that does not depend on the object. It
 * returns JUDGE_OBJECT, CHANGED, or the verdict: allowed when no rule concerns
 * the operation, undecided when the tables are damaged.
 */
static __always_inline __u32 judge_begin(struct judgement *judgement, enum operation_id id)
{
	const struct generation *generation;
	const struct operation *operation;
	struct subject *subject;
	__u64 class, row;

	judgement->generation = 0;
	judgement->tables = current_tables();
	if (!judgement->tables)
		return UNDECIDED_DENY;
	operation = (const void *)line_at(judgement->tables, id * LINE_WORDS);
	if (!operation)
		return UNDECIDED_DENY;
	if (!operation->rows)
		return NO_RULE_ALLOW;
	generation = (const void *)line_at(judgement->tables, 0);
	if (!generation)
		return UNDECIDED_DENY;
	judgement->operation = operation;
	judgement->generation = generation->number;
	subject = current_subject();
	if (!subject) {
		class = generation->unknown;
	} else {
		class = subject->class;
		if (class >> 32 != generation->number) {
			class = classify(subject->path, subject->identity, subject->flags);
			subject->class = class;
			if (class >> 32 != generation->number)
				return CHANGED;
		}
	}
	row = word_at(judgement->tables, operation->rows + (__u32) class);
	if (row == NOT_FOUND)
		return UNDECIDED_DENY;
	judgement->row = row;
	return JUDGE_OBJECT;
}

static __always_inline __u32 namespace_of(struct ns_common *ns)
{
	return BPF_CORE_READ(ns, inum);
}

/* fill_context writes who asks into an alert. */
static __always_inline void fill_context(struct alert *alert)
{
	struct task_struct *task = current_task();
	struct nsproxy *nsproxy = BPF_CORE_READ(task, nsproxy);
	struct pid *pid = BPF_CORE_READ(task, thread_pid);
	__u32 level = BPF_CORE_READ(pid, level);
	__u64 ids = bpf_get_current_pid_tgid();
	struct pid_namespace *pid_ns = NULL;

	alert->time = bpf_ktime_get_boot_ns();
	alert->pid = ids >> 32;
	alert->tid = ids;
	alert->ppid = BPF_CORE_READ(task, real_parent, tgid);
	ids = bpf_get_current_uid_gid();
	alert->uid = ids;
	alert->gid = ids >> 32;
	alert->cgroup = bpf_get_current_cgroup_id();
	bpf_get_current_comm(alert->comm, sizeof(alert->comm));
	alert->mnt_ns = namespace_of(&BPF_CORE_READ(nsproxy, mnt_ns)->ns);
	alert->net_ns = namespace_of(&BPF_CORE_READ(nsproxy, net_ns)->ns);
	alert->user_ns = namespace_of(&BPF_CORE_READ(task, cred, user_ns)->ns);
	/* The namespace in which the task has its pid is that of the deepest level. */
	bpf_probe_read_kernel(&pid_ns, sizeof(pid_ns),
			      (void *)pid + bpf_core_field_offset(struct pid, numbers) +
				      level * bpf_core_type_size(struct upid) +
				      bpf_core_field_offset(struct upid, ns));
	alert->pid_ns = namespace_of(&pid_ns->ns);
}

/* within_paths shows the verifier that a length lies within a report's paths. */
static __always_inline __u32 within_paths(__u32 length)
{
	if (length >= 2 * MAX_PATH)
		length = 2 * MAX_PATH - 1;
	barrier_var(length); /* or clang drops the mask as superfluous */
	return length & (2 * MAX_PATH - 1);
}

/* send_alert tells whether the alert reached the ring buffer. */
static __noinline bool send_alert(__u32 generation, enum operation_id id, enum hook_id hook,
				  __u32 verdict, const struct socket_object *object)
{
	struct task_struct *task = current_task();
	struct report *report = current_report();
	struct alert *alert;
	__u32 binary, parent;

	if (!report) /* no memory: the alert is lost, the verdict stands */
		return false;
	alert = &report->alert;
	alert->operation = id;
	alert->hook = hook;
	alert->verdict = verdict;
	alert->generation = generation;
	alert->socket = *object;
	fill_context(alert);
	binary = within_paths(copy_path(0, (__u64)BPF_CORE_READ(task, mm, exe_file)));
	parent = within_paths(
		copy_path(binary, (__u64)BPF_CORE_READ(task, real_parent, mm, exe_file)));
	alert->binary_length = binary;
	alert->parent_length = parent - binary;
	return !bpf_ringbuf_output(&alerts, report, sizeof(*alert) + parent, 0);
}

/* add counts exactly: a program may be preempted within its processor's counters. */
static __always_inline void add(__u64 *counter)
{
	__sync_fetch_and_add(counter, 1);
}

/* conclude takes an answer (generation << 32 | verdict) and returns what the
 * hook returns: 0 or -EPERM. */
static __always_inline int conclude(__u64 answer, enum operation_id id, enum hook_id hook,
				    const struct socket_object *object)
{
	__u32 verdict = answer, outcome = verdict >> VERDICT_SHIFT, key = id;
	struct operation_counters *counts;

	if (verdict == NO_RULE_ALLOW) /* what no rule concerns is not counted */
		return 0;
	counts = bpf_map_lookup_elem(&counters, &key);
	/* A damaged table denies, and so does one that never stands still. */
	if (outcome < VERDICT_ALLOW || outcome > VERDICT_DENY) {
		verdict = UNDECIDED_DENY;
		outcome = VERDICT_DENY;
	}
	if (outcome == VERDICT_ALLOW) {
		if (counts)
			add(&counts->allowed);
		return 0;
	}
	if (send_alert(answer >> 32, id, hook, verdict, object)) {
		if (counts)
			add(&counts->alerts);
	} else if (counts) {
		add(&counts->alerts_lost);
	}
	if (counts && verdict & FLAG_UNDECIDED)
		add(&counts->undecided);
	if (outcome == VERDICT_AUDIT) {
		if (counts)
			add(&counts->audited);
		return 0;
	}
	if (counts)
		add(&counts->denied);
	return -EPERM;
}

#endif
