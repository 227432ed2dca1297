/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * The class of a task: what it is (subject.h), looked up in a revision of tables.
 *
 * The class follows from the subject and the revision alone, so that a new policy set
 * needs no walk over the tasks: a task whose class is of another revision looks it up
 * anew. Policies may end, so a class holds until the next deadline of its revision. A
 * decision after that looks it up anew as well (begin_by, row.h); nothing of ours has
 * to run for that.
 */
#ifndef EBPFGUARD_CLASS_H
#define EBPFGUARD_CLASS_H

#include "subject.h"

/* When a class ends that holds for as long as its revision. */
#define NEVER ((__u64)-1)

/* Steps of a binary search over the deadlines. */
#define DEADLINE_STEPS 9
_Static_assert(1 << DEADLINE_STEPS > MAX_DEADLINES + 1, "the first is at 0");

/* unite returns the class of what is of both classes, NO_CLASS where none is known. */
static __always_inline __u32 unite(void *tables, const struct subjects *subjects, __u32 a, __u32 b)
{
	__u32 n;

	if (!b || a == b)
		return a;
	if (!a)
		return b;
	n = word_at(tables, subjects->unions);
	if (a >= n || b >= n)
		return NO_CLASS;
	return word_at(tables, subjects->unions + 1 + a * n + b);
}

static __always_inline __u32 class_of_file(__u32 slot, __u64 key)
{
	return key ? find(slot, key) >> 32 & CLASS_MASK : 0;
}

static __always_inline __u32 class_of_user(void *tables, const struct subjects *subjects, __u32 uid)
{
	return class_in_intervals(tables, subjects->users.at, subjects->users.count, uid);
}

/* time_now returns how many of a revision's deadlines are over, and makes the next one
 * when scratch->spare ends. Where the tables are damaged none is over. */
__noinline __u32 time_now(__u32 slot)
{
	void *tables = tables_in(slot);
	struct scratch *scratch = current_scratch();
	const struct revision *revision;
	const struct subjects *subjects;
	const struct deadline *next;
	__u32 key[2], at, times;
	__u64 now, passed;

	if (!tables || !scratch)
		return 0;
	scratch->spare.until = NEVER;
	revision = revision_of(tables);
	if (!revision)
		return 0;
	at = revision->subjects + LINE_WORDS;
	subjects = (const void *)line_at(tables, revision->subjects);
	if (!subjects)
		return 0;
	times = subjects->times;
	if (times < 2)
		return 0;
	now = bpf_ktime_get_boot_ns();
	key[0] = now >> 32;
	key[1] = now;
	passed = search(tables, at, times, ENTRY_WORDS(struct deadline), key, 2, DEADLINE_STEPS);
	if (passed >= times)
		return 0;
	if (passed + 1 == times)
		return passed;
	next = entry_at(tables, at, passed + 1, ENTRY_WORDS(struct deadline));
	if (next)
		scratch->spare.until = (__u64)next->upper << 32 | next->lower;
	return passed;
}

/*
 * classify_spare looks scratch->spare up in a revision, adds to its
 * marks, and returns number and class: number << 32 | class; 0 when there are
 * no tables. It is called when a task's class is of another revision, so once
 * a program and policy set.
 */
__noinline __u64 classify_spare(__u32 slot, __u32 uid)
{
	void *tables = tables_in(slot);
	struct scratch *scratch = current_scratch();
	const struct revision *revision;
	const struct subjects *subjects;
	__u32 program, script = 0, set = 0, time, user, cgroup, cgroup_end, script_end, at;
	__u64 marks;

	if (!tables || !scratch)
		return 0;
	revision = revision_of(tables);
	if (!revision)
		return 0;
	subjects = (const void *)line_at(tables, revision->subjects);
	if (!subjects)
		return 0;
	user = class_of_user(tables, subjects, uid);
	time = time_now(slot);
	if (scratch->spare.flags & SUBJECT_UNKNOWN)
		goto unknown;
	cgroup_end = scratch->spare.cgroup_length;
	script_end = cgroup_end + scratch->spare.script_length;
	program = class_of_file(slot, scratch->spare.program);
	if (scratch->spare.program_length)
		program = unite(tables, subjects, program,
				run_text(scratch, slot, number_of(subjects->programs), script_end,
					 script_end + scratch->spare.program_length));
	if (scratch->spare.script)
		script = class_of_file(slot, scratch->spare.script);
	if (scratch->spare.script_length)
		script = unite(tables, subjects, script,
			       run_text(scratch, slot, number_of(subjects->programs), cgroup_end,
					script_end));
	/* Each of the two by itself first: what is both has a class, but not what is
	 * that and a third one. */
	program = unite(tables, subjects, program, script);
	if (program >= subjects->program_classes)
		goto unknown;
	if (subjects->flags & SUBJECTS_MARKS) {
		at = subjects->program_marks + 2 * program;
		marks = word_at(tables, at) & 0xffffffff;
		marks |= word_at(tables, at + 1) << 32;
		scratch->spare.marks |= marks;
		marks = scratch->spare.marks &
			((__u64)subjects->marks[1] << 32 | subjects->marks[0]);
		if (marks) {
			struct sip sip;
			__u64 found;

			sip_start(&sip);
			sip_word(&sip, (__u64)TAG_MARKS << 32);
			sip_word(&sip, marks);
			found = find(slot, sip_finish(&sip));
			if (found == NO_STATE)
				goto unknown;
			set = found;
		}
	}
	cgroup = run_text(scratch, slot, number_of(subjects->cgroups), 0, cgroup_end);
	return (__u64)revision->number << 32 |
	       ((((program * subjects->mark_sets + set) * subjects->times + time) *
			 subjects->user_classes +
		 user) * subjects->cgroup_classes +
		cgroup);
unknown:
	return (__u64)revision->number << 32 |
	       (subjects->unknown + time * subjects->user_classes + user);
}

/* copy_rows copies the rows of a class, number << 32 | class, to a subject; false
 * when the revision is no longer the active one. */
static __always_inline bool copy_rows(struct subject *subject, __u64 class)
{
	void *tables = tables_in(SLOT_ACTIVE);
	const struct revision *revision;
	const struct line *line;

	if (!tables)
		return false;
	revision = revision_of(tables);
	if (!revision || revision->number != class >> 32)
		return false;
	line = line_at(tables, revision->rows + (__u32) class * LINE_WORDS);
	if (!line)
		return false;
	__builtin_memcpy(subject->rows, line, sizeof(subject->rows));
	return true;
}

/* set_class gives a subject a class of the active revision, and its rows, for as
 * long as that holds. */
static __always_inline void set_class(struct subject *subject, __u64 class, __u64 until, __u32 uid)
{
	subject->class = 0; /* or the rows would be another class's meanwhile */
	barrier();
	if (!copy_rows(subject, class))
		return;
	subject->until = until;
	subject->uid = uid;
	barrier();
	subject->class = class;
}

/* classify looks a subject up in a revision, and keeps its marks and, for the
 * active revision, its class and rows. */
static __always_inline void classify(struct subject *subject, struct scratch *scratch, __u32 slot,
				     __u32 uid)
{
	__u64 class;

	bpf_probe_read_kernel(&scratch->spare, sizeof(scratch->spare), subject);
	class = classify_spare(slot, uid);
	subject->marks |= scratch->spare.marks;
	if (slot != SLOT_ACTIVE)
		return;
	set_class(subject, class, scratch->spare.until, uid);
}

/* uid_of returns the user of the current task, where that has to be fast. */
static __always_inline __u32 uid_of(struct task_struct *current)
{
	if (SINCE_6_2)
		return current->cred->uid.val;
	return bpf_get_current_uid_gid();
}

/* current_uid is uid_of where it need not be: each pointer of a trusted one that is
 * followed has the verifier search all of the kernel's types (kernel/bpf/btf.c,
 * btf_nested_type_is_trusted). */
static __always_inline __u32 current_uid(void)
{
	return bpf_get_current_uid_gid();
}

#endif
