/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * The only place that turns a decision into an errno and an alert. It decides,
 * then reports: nothing that happens to the alert can change the verdict.
 */
#ifndef EBPFGUARD_VERDICT_H
#define EBPFGUARD_VERDICT_H

#include "alert.h"
#include "judge.h"

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

/* count_allowed counts what a rule allows. */
static __always_inline void count_allowed(__u32 id)
{
	struct operation_counters *counts = bpf_map_lookup_elem(&counters, &id);

	if (counts)
		add(&counts->allowed);
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

static __always_inline int decide_undecided(enum operation_id id, enum hook_id hook)
{
	return conclude(undecided(id), id, hook, NULL);
}

/* decide_number judges an operation on a number by `once` (judge.h) and concludes. The
 * alert tells the number as its flags. */
static __always_inline int decide_number(enum operation_id id, enum hook_id hook,
					 __u64 (*once)(__u32, __u64, __u32), __u32 number)
{
	struct scratch *scratch;
	__u64 answer;
	int try;

	answer = JUDGE(try, id, once, number);
	if ((__u32)answer == NO_RULE_ALLOW)
		return 0;
	scratch = current_scratch();
	if (scratch) { /* without memory the alert is lost, the verdict stands */
		__builtin_memset(&scratch->object, 0, sizeof(scratch->object));
		scratch->object.flags = number;
	}
	return conclude(answer, id, hook, NULL);
}

#endif
