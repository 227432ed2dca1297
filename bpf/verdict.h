/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * The only place that turns a decision into an errno and an alert. It decides,
 * then reports: nothing that happens to the alert can change the verdict.
 */
#ifndef EBPFGUARD_VERDICT_H
#define EBPFGUARD_VERDICT_H

#include "enrich.h"

#define UNDECIDED_DENY \
	((__u32)VERDICT_DENY << VERDICT_SHIFT | NO_RULE << RULE_SHIFT | FLAG_UNDECIDED)
#define NO_RULE_ALLOW ((__u32)VERDICT_ALLOW << VERDICT_SHIFT | NO_RULE << RULE_SHIFT)

/* What a judgement returns when the revision changed under it: begin anew. */
#define RETRY 0
/* How often to begin anew. A new revision takes milliseconds to publish and
 * a judgement microseconds, so twice is rare already; a path is looked at anew
 * when anything was renamed or mounted meanwhile, which is less rare. */
#define MAX_TRIES 8

/* What begin_judgement returns in its lower half instead of a row. */
#define ROW_RETRY 0x7ffffffe /* the task has to be looked up: begin() */
#define ROW_DAMAGED 0x7fffffff

/* refresh_class looks up what the current task is in the active revision. */
__noinline int refresh_class(void)
{
	struct subject *subject = current_subject();
	struct scratch *scratch = current_scratch();

	/* Without memory the judgements fail, closed. */
	if (subject && scratch)
		classify(subject, scratch, SLOT_ACTIVE, current_uid());
	return 0;
}

/* active_revision returns what is active (maps.h), also while that is replaced; 0 when
 * nothing ever was. */
static __always_inline __u64 active_revision(void)
{
	__u64 now = active_word();
	const struct revision *revision;
	void *tables;

	if (now)
		return now;
	tables = tables_in(SLOT_ACTIVE);
	revision = tables ? revision_of(tables) : NULL;
	return revision ? (__u64)revision->number << 32 | revision->concerned : 0;
}

/*
 * begin_by looks up everything that does not depend on the object. It returns the
 * number of the revision << 32 | row of the subject, with ROW_ALLOWED when
 * nothing can be refused. Unless what it returns is final, the subject is there.
 */
static __always_inline __u64 begin_by(__u32 id, struct subject **subject)
{
	__u64 now = active_revision(), number = now >> 32 << 32;
	struct task_struct *task;

	*subject = NULL;
	if (!now)
		return ROW_DAMAGED;
	if (!(now >> id & 1))
		return number | ROW_ALLOWED;
	task = current_task();
	*subject = task_get(&tasks, task);
	if (!*subject || (*subject)->class >> 32 != now >> 32 || (*subject)->uid != uid_of(task))
		return ROW_RETRY;
	if (now & ACTIVE_TIMED && bpf_ktime_get_boot_ns() >= (*subject)->until)
		return ROW_RETRY;
	return number | (*subject)->rows[id & (OPERATIONS - 1)];
}

static __always_inline __u64 begin_judgement(__u32 id)
{
	struct subject *subject;

	return begin_by(id, &subject);
}

/* begin is begin_judgement for a task that may have to be looked up first. */
static __always_inline __u64 begin(__u32 id)
{
	__u64 begun = begin_judgement(id);

	if ((__u32)begun != ROW_RETRY)
		return begun;
	refresh_class();
	return begin_judgement(id);
}

/* is_unrestricted reports whether the current task can be refused nothing. */
static __always_inline bool is_unrestricted(__u32 id)
{
	return begin_judgement(id) & ROW_ALLOWED;
}

/* is_active reports whether a revision is the active one. If it was before and
 * still is, everything that was looked up in between is of it: global functions
 * fetch the tables anew. */
static __always_inline bool is_active(__u64 begun)
{
	void *tables = tables_in(SLOT_ACTIVE);
	const struct revision *revision = tables ? revision_of(tables) : NULL;

	return revision && revision->number == begun >> 32;
}

static __always_inline __u64 early_answer(__u64 begun)
{
	__u64 number = begun >> 32 << 32;

	if (begun & ROW_ALLOWED)
		return number | NO_RULE_ALLOW;
	if ((__u32)begun == ROW_RETRY)
		return RETRY;
	return number | UNDECIDED_DENY;
}

/* spares_open reports whether an answer leaves alone what is open already: a rule
 * decided, and it does not revoke. */
static __always_inline bool spares_open(__u64 answer)
{
	return !(answer & FLAG_REVOKE) && (__u32)answer != RETRY &&
	       (answer >> RULE_SHIFT & RULE_MASK) != NO_RULE;
}

static __always_inline bool is_allow(__u64 answer)
{
	return (__u32)answer >> VERDICT_SHIFT == VERDICT_ALLOW;
}

/* is_final reports whether nothing has to be known of the object. */
static __always_inline bool is_final(__u64 begun)
{
	return (__u32)begun >= ROW_RETRY;
}

/* verdict_at returns a word of the verdict table of the active revision;
 * NOT_FOUND becomes a verdict that conclude() takes for a damaged table. */
static __always_inline __u32 verdict_at(void *tables, const struct operation *operation, __u32 row,
					__u32 c0, __u32 c1, __u32 c2, __u32 c3)
{
	__u32 cell = row;

	cell = cell * operation->classes[0] + c0;
	cell = cell * operation->classes[1] + c1;
	cell = cell * operation->classes[2] + c2;
	cell = cell * operation->classes[3] + c3;
	return word_at(tables, operation->verdicts + cell);
}

/* stricter returns the greater of two verdicts; where both are the same, either
 * rule revokes. No branch: see search(). */
static __always_inline __u32 stricter(__u32 a, __u32 b)
{
	__u64 less = ((__s64)a - (__s64)b) >> 63;
	__u64 same = ((__s64)(a >> VERDICT_SHIFT ^ b >> VERDICT_SHIFT) - 1) >> 63;

	barrier_var(less);
	barrier_var(same);
	return (b & less) | (a & ~less) | ((a | b) & FLAG_REVOKE & same);
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
	alert->start = start_of(task);
	alert->inode = inode_of_program(task);
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

/* fill_object writes what it is about into an alert, but for its path. */
static __always_inline void fill_object(struct alert *alert, const struct object *object)
{
	alert->flags = object->flags;
	alert->from_uid = object->from_uid;
	alert->from_gid = object->from_gid;
	alert->to = object->to;
	alert->means = object->means;
	__builtin_memcpy(alert->type, object->type, sizeof(alert->type));
}

/* copy_source appends the source of a mount. */
static __always_inline __u32 copy_source(struct alert_buffer *buffer, __u32 from, __u64 source)
{
	__u64 at = from;
	long length;

	barrier_var(at); /* the verifier has to see one register */
	if (!source || at > 3 * MAX_PATH)
		return from;
	length = bpf_probe_read_kernel_str(&buffer->paths[at], MAX_NAME + 1, (void *)source);
	return length > 1 && length <= MAX_NAME + 1 ? from + length - 1 : from;
}

/* send_alert reports whether the alert reached the ring buffer. The object is
 * scratch->object unless it is a socket. */
static __always_inline bool send_alert(__u32 revision, enum operation_id id, enum hook_id hook,
				       __u32 verdict, const struct socket_object *socket)
{
	struct task_struct *task = current_task();
	struct alert_buffer *buffer = current_alert_buffer();
	struct scratch *scratch = current_scratch();
	__u32 binary, parent, path, end;
	struct alert *alert;
	__u64 size;

	if (!buffer || !scratch) /* no memory: the alert is lost, the verdict stands */
		return false;
	alert = &buffer->alert;
	alert->operation = id;
	alert->hook = hook;
	alert->verdict = verdict;
	alert->revision = revision;
	fill_context(alert);
	binary = copy_file(0, BPF_CORE_READ(task, mm, exe_file));
	parent = end = path = copy_file(binary, BPF_CORE_READ(task, real_parent, mm, exe_file));
	if (socket) {
		alert->socket = *socket;
	} else {
		fill_object(alert, &scratch->object);
		path = copy_path(parent, scratch->object.mnt, scratch->object.dentry);
		end = copy_source(buffer, path, scratch->object.source);
	}
	alert->binary_length = binary;
	alert->parent_length = parent - binary;
	alert->path_length = path - parent;
	alert->source_length = end - path;
	alert->ancestors = 0;
	size = sizeof(*alert) + (enrich ? append_ancestors(end) : end);
	barrier_var(size); /* the verifier has to see one register */
	if (size > sizeof(*alert) + sizeof(buffer->paths))
		return false; /* never: the paths fit */
	return !bpf_ringbuf_output(&alerts, buffer, size, 0);
}

/* add counts exactly: a program may be preempted within its processor's counters. */
static __always_inline void add(__u64 *counter)
{
	__sync_fetch_and_add(counter, 1);
}

/* rule_of returns the counters of the rule that decided, which are its revision's;
 * NULL when no rule did, or when they went with their revision. */
static __always_inline struct rule_counters *rule_of(__u32 number, __u32 verdict)
{
	void *tables = tables_in(SLOT_ACTIVE);
	__u32 rule = NO_RULE - (verdict >> RULE_SHIFT & RULE_MASK) - 1;
	const struct revision *revision;

	if (!tables || rule >= NO_RULE)
		return NULL;
	revision = revision_of(tables);
	if (!revision || revision->number != number)
		return NULL;
	return (struct rule_counters *)line_at(tables, revision->rules + rule * LINE_WORDS);
}

#define SECOND 1000000000

/* is_limited reports whether a rule has raised its alerts of this second. Several
 * processors that begin a second at once may let a few more through. */
static __always_inline bool is_limited(struct rule_counters *rule)
{
	__u64 now;

	if (!rule->alert_limit)
		return false;
	now = bpf_ktime_get_boot_ns();
	if ((__s64)(now - rule->second) >= SECOND) {
		rule->second = now;
		rule->in_second = 1;
		return false;
	}
	if (rule->in_second >= rule->alert_limit)
		return true;
	add(&rule->in_second);
	return false;
}

/* What became of an alert. */
enum alert_outcome { ALERT_LOST, ALERT_SENT, ALERT_LIMITED };

/* raise_alert counts a decision for its rule, and sends its alert unless the rule has
 * raised enough of them. */
static __noinline enum alert_outcome raise_alert(__u64 answer, enum operation_id id,
						 enum hook_id hook, __u32 verdict,
						 const struct socket_object *socket)
{
	struct rule_counters *rule = rule_of(answer >> 32, verdict);

	if (rule)
		add(&rule->hits);
	if (rule && is_limited(rule)) {
		add(&rule->alerts_limited);
		return ALERT_LIMITED;
	}
	if (send_alert(answer >> 32, id, hook, verdict, socket))
		return ALERT_SENT;
	if (rule)
		add(&rule->alerts_lost);
	return ALERT_LOST;
}

/* refuse returns what a hook returns when a global function has concluded: the
 * verifier knows nothing about the results of those. */
static __always_inline int refuse(int concluded)
{
	if (concluded) {
		barrier(); /* or clang computes it */
		return -EPERM;
	}
	return 0;
}

/* conclude takes an answer (revision << 32 | verdict) and returns what the
 * hook returns: 0 or -EPERM. The object is scratch->object unless it is a socket. */
static __always_inline int conclude(__u64 answer, enum operation_id id, enum hook_id hook,
				    const struct socket_object *socket)
{
	__u32 verdict = answer, decision = verdict >> VERDICT_SHIFT, key = id;
	struct operation_counters *counts;
	enum alert_outcome outcome;

	if (verdict == NO_RULE_ALLOW) /* what no rule concerns is not counted */
		return 0;
	counts = bpf_map_lookup_elem(&counters, &key);
	/* A damaged table denies, and so does one that never stands still. */
	if (decision < VERDICT_ALLOW || decision > VERDICT_KILL) {
		verdict = UNDECIDED_DENY;
		decision = VERDICT_DENY;
	}
	if (decision == VERDICT_ALLOW) {
		if (counts)
			add(&counts->allowed);
		return 0;
	}
	outcome = raise_alert(answer, id, hook, verdict, socket);
	if (counts)
		add(outcome == ALERT_SENT      ? &counts->alerts
		    : outcome == ALERT_LIMITED ? &counts->alerts_limited
					       : &counts->alerts_lost);
	if (counts && verdict & FLAG_UNDECIDED)
		add(&counts->undecided);
	if (decision == VERDICT_AUDIT) {
		if (counts)
			add(&counts->audited);
		return 0;
	}
	if (counts)
		add(&counts->denied);
	if (decision == VERDICT_KILL) {
		if (counts)
			add(&counts->killed);
		bpf_send_signal(SIGKILL);
	}
	return -EPERM;
}

/* without_memory refuses what cannot be looked at, if any rule could. */
static __always_inline __u64 without_memory(enum operation_id id)
{
	__u64 begun = begin_judgement(id);

	return begun >> 32 << 32 | (begun & ROW_ALLOWED ? NO_RULE_ALLOW : UNDECIDED_DENY);
}

static __always_inline int decide_without_memory(enum operation_id id, enum hook_id hook)
{
	return conclude(without_memory(id), id, hook, NULL);
}

#endif
