/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * The class of a task: the atoms that are true of what it is (subject.h, abi.h) in a
 * revision of tables.
 *
 * The class follows from the subject and the revision alone, so that a new policy set
 * needs no walk over the tasks: a task whose class is of another revision looks it up
 * anew. Policies may end, so a class holds until the next deadline of its revision. A
 * decision after that looks it up anew as well (begin_by, row.h); nothing of ours has
 * to run for that.
 *
 * A task keeps a hash of its class, and of what each operation's rules see of it. The atoms
 * are in its scratch space since its last judgement that asked for them, and in an array that
 * all tasks share.
 */
#ifndef EBPFGUARD_CLASS_H
#define EBPFGUARD_CLASS_H

#include "atoms.h"

/* When a class ends that holds for as long as its revision. */
#define NEVER ((__u64)-1)

/* Steps of a binary search over the deadlines. */
#define DEADLINE_STEPS 11
_Static_assert(1 << DEADLINE_STEPS > MAX_DEADLINES + 1, "the first is at 0");

/* The classes that were looked up last, each at its hash. Whoever takes one checks its
 * hash, so nothing is lost but time where another writes it meanwhile. */
enum { CLASSES = 1024 };

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, CLASSES);
	__type(key, __u32);
	__type(value, struct class);
} classes SEC(".maps");

static __always_inline struct class *class_at(__u64 check)
{
	__u32 slot = check >> 32 & (CLASSES - 1);

	return bpf_map_lookup_elem(&classes, &slot);
}

static __always_inline __u32 class_of_file(__u32 slot, __u64 key)
{
	return key ? find(slot, key) >> 32 & CLASS_MASK : 0;
}

/* time_now returns how many of the active revision's deadlines are over, and makes the
 * next one when identity->subject ends. Where the tables are damaged none is over. */
__noinline __u32 time_now(identity_arg given_identity)
{
	void *tables = tables_in(SLOT_ACTIVE);
	struct identity *identity = identity_of(given_identity);
	const struct revision *revision;
	const struct subjects *subjects;
	const struct deadline *next;
	__u32 key[2], at, times;
	__u64 now, passed;

	if (!tables || !identity)
		return 0;
	identity->subject.until = NEVER;
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
		identity->subject.until = (__u64)next->upper << 32 | next->lower;
	return passed;
}

/* add_mark_words adds a list of marks to those of identity->subject. */
__noinline int add_mark_words(identity_arg given_identity, __u32 slot, __u32 at, __u32 count)
{
	struct identity *identity = identity_of(given_identity);
	void *tables = tables_in(slot);
	const struct atom_word *marks;
	int i;

	if (!identity || !tables)
		return 0;
	for (i = 0; i < MARK_WORDS && i < count; i++) {
		marks = entry_at(tables, at, i, ENTRY_WORDS(struct atom_word));
		if (!marks)
			return 0;
		identity->subject.marks[marks->word & (MARK_WORDS - 1)] |=
			(__u64)marks->upper << 32 | marks->lower;
	}
	return 0;
}

/* classify_names finds the classes of the names and files of identity->subject in a revision
 * and adds to its marks. A file has a class by its names and one by what it is. */
__noinline int classify_names(scratch_arg given, identity_arg given_identity, __u32 slot)
{
	void *tables = tables_in(slot);
	struct identity *identity = identity_of(given_identity);
	struct scratch *scratch = scratch_of(given);
	const struct subjects *subjects = subjects_of(tables);
	const struct table *list;
	__u32 cgroup_end, script_end;
	int i;

	if (!identity || !scratch || !subjects)
		return 0;
	cgroup_end = identity->subject.cgroup_length;
	script_end = cgroup_end + identity->subject.script_length;
	identity->found.programs[0] = class_of_file(slot, identity->subject.program);
	identity->found.programs[1] =
		run_text(scratch, identity, slot, number_of(subjects->programs), script_end,
			 script_end + identity->subject.program_length);
	identity->found.programs[2] = class_of_file(slot, identity->subject.script);
	identity->found.programs[3] = run_text(
		scratch, identity, slot, number_of(subjects->programs), cgroup_end, script_end);
	identity->found.cgroup =
		run_text(scratch, identity, slot, number_of(subjects->cgroups), 0, cgroup_end);
	if (!(subjects->flags & SUBJECTS_MARKS))
		return 0;
	for (i = 0; i < 4; i++) {
		list = entry_at(tables, subjects->program_marks, identity->found.programs[i],
				ENTRY_WORDS(struct table));
		if (list)
			add_mark_words(hand_identity(identity), slot, list->at, list->count);
	}
	return 0;
}

/* row_of returns what an operation's rules see of scratch->class. */
__noinline __u64 row_of(scratch_arg given, __u32 id, __u64 class)
{
	void *tables = tables_in(SLOT_ACTIVE);
	__u32 plane = PLANE_OPERATIONS + 2 * id;
	const struct operation *operation;
	__u64 row;

	if (!has_atoms(given, plane + 1))
		return 0;
	if (!tables)
		return 1 << 2;
	operation = operation_of(tables, id);
	if (!operation)
		return 1 << 2;
	row = hash_atoms(given, class, plane) | 1 << 2;
	row &= ~(__u64)(ROW_UNKNOWN | ROW_DEPENDS);
	if (operation->nodes)
		row |= ROW_DEPENDS;
	return row | (class & ROW_UNKNOWN);
}

/* check_rows hashes the rows of a class, which are secret hashes themselves. */
static __always_inline __u64 check_rows(__u64 check, const __u64 *rows)
{
	__u64 hash = mix(hash_key[0], check);
	int i;

	for (i = 0; i < OPERATIONS; i++)
		hash = mix(hash, rows[i]);
	return mix(hash, hash_key[1]);
}

/* finish_class completes scratch->class, and shares it. */
__noinline int finish_class(scratch_arg given, __u64 class)
{
	const struct revision *revision;
	struct scratch *scratch = scratch_of(given);
	void *tables = tables_in(SLOT_ACTIVE);
	__u32 concerned, id;
	struct class *slot;

	if (!tables || !scratch)
		return 0;
	revision = revision_of(tables);
	if (!revision)
		return 0;
	concerned = revision->concerned;
	scratch->class.class = class;
	for (id = 0; id < OPERATIONS; id++)
		scratch->class.rows[id] =
			concerned >> id & 1 ? row_of(hand(scratch), id, class) : 0;
	scratch->class.check = hash_atoms(hand(scratch), class, ALL_ATOMS);
	scratch->class.rows_check = check_rows(scratch->class.check, scratch->class.rows);
	slot = class_at(scratch->class.check);
	if (slot)
		bpf_probe_read_kernel(slot, sizeof(*slot), &scratch->class);
	return 0;
}

/*
 * classify_active makes scratch->class what identity->subject is in the active revision, for a
 * user, by what classify_names() found, and returns the class as in struct subject; 0
 * when there are no tables. It is called when a task's class is of another revision, so
 * once a program and policy set.
 */
__noinline __u64 classify_active(scratch_arg given, identity_arg given_identity, __u32 uid)
{
	void *tables = tables_in(SLOT_ACTIVE);
	struct identity *identity = identity_of(given_identity);
	struct scratch *scratch = scratch_of(given);
	const struct revision *revision;
	const struct subjects *subjects;
	__u32 user, time;
	__u64 class;

	if (!tables || !identity || !scratch)
		return 0;
	revision = revision_of(tables);
	subjects = subjects_of(tables);
	if (!revision || !subjects)
		return 0;
	scratch->class.check = 0; /* it is none until it is whole */
	class = (__u64)revision->number << 32;
	user = class_in_intervals(tables, subjects->users.at, subjects->users.count, uid);
	time = time_now(hand_identity(identity));
	begin_plane(hand_identity(identity), PLANE_TIMES + time);
	take_plane(hand(scratch), hand_identity(identity), true);
	begin_plane(hand_identity(identity), PLANE_USER);
	add_atoms(hand_identity(identity), subjects->user_atoms, user);
	take_plane(hand(scratch), hand_identity(identity), false);
	if (identity->subject.flags & SUBJECT_UNKNOWN) {
		class |= (time * subjects->user_classes + user) << 1 | ROW_UNKNOWN;
		finish_class(hand(scratch), class);
		return class;
	}
	begin_plane(hand_identity(identity), PLANE_PROGRAM);
	add_atoms(hand_identity(identity), subjects->program_atoms, identity->found.programs[0]);
	add_atoms(hand_identity(identity), subjects->program_atoms, identity->found.programs[1]);
	add_atoms(hand_identity(identity), subjects->program_atoms, identity->found.programs[2]);
	add_atoms(hand_identity(identity), subjects->program_atoms, identity->found.programs[3]);
	take_plane(hand(scratch), hand_identity(identity), false);
	begin_plane(hand_identity(identity), PLANE_CGROUP);
	add_atoms(hand_identity(identity), subjects->cgroup_atoms, identity->found.cgroup);
	take_plane(hand(scratch), hand_identity(identity), false);
	if (subjects->flags & SUBJECTS_CONTAINERS) {
		begin_plane(hand_identity(identity), PLANE_CONTAINER);
		add_containers(identity);
		take_plane(hand(scratch), hand_identity(identity), false);
	}
	if (subjects->flags & SUBJECTS_MARKS) {
		begin_plane(hand_identity(identity), PLANE_DESCENT);
		add_marked(identity, 0);
		take_plane(hand(scratch), hand_identity(identity), false);
		begin_plane(hand_identity(identity), PLANE_PROCESS);
		add_marked(identity, subjects->marks);
		take_plane(hand(scratch), hand_identity(identity), false);
	}
	finish_class(hand(scratch), class);
	return class;
}

/* set_class gives a subject a class of the active revision, for as long as that holds. */
static __always_inline void set_class(struct subject *subject, const struct class *found,
				      __u64 class, __u64 until, __u32 uid)
{
	__u64 check = found->check;

	subject->class = 0; /* or the rows would be another class's meanwhile */
	barrier();
	__builtin_memcpy(subject->rows, found->rows, sizeof(subject->rows));
	barrier(); /* what is checked is what counts */
	if (found->rows_check != check_rows(check, subject->rows))
		return;
	subject->check = check;
	subject->until = until;
	subject->uid = uid;
	barrier();
	subject->class = class;
}

/* keep_marks adds the marks of identity->subject to a subject's, and reports whether any is
 * new. Two may do so at the same time: the task itself, and mark_tasks (marks.h). */
static __always_inline bool keep_marks(struct subject *subject, const struct identity *identity)
{
	__u64 any = 0;
	int i;

	for (i = 0; i < MARK_WORDS; i++) {
		__u64 fresh = identity->subject.marks[i] & ~subject->marks[i];

		any |= fresh;
		if (!SINCE_6_2)
			subject->marks[i] |= fresh;
		else if (fresh)
			__sync_fetch_and_or(&subject->marks[i], fresh);
	}
	return any;
}

/* find_names copies a task's subject, and finds what its names and files are in a revision. Those
 * of another task that is just starting a program are unknown. */
static __always_inline void find_names(struct subject *subject, struct identity *identity,
				       struct task_struct *task, __u32 slot)
{
	struct subject *copy = &identity->subject;

	bpf_probe_read_kernel(copy, sizeof(*copy), subject);
	if (!copy_names(identity, 0, copy, task, 0, length_of_names(copy)) || copy->writes & 1 ||
	    *(volatile __u32 *)&subject->writes != copy->writes)
		copy->flags |= SUBJECT_UNKNOWN;
	if (!(identity->subject.flags & SUBJECT_UNKNOWN))
		classify_names(hand(current_scratch()), hand_identity(identity), slot);
}

/* classify looks the current task's subject up in the active revision, and keeps its marks and
 * its class. */
static __always_inline void classify(struct subject *subject, struct identity *identity, __u32 uid)
{
	struct scratch *scratch = current_scratch();
	__u64 class;

	find_names(subject, identity, current_task(), SLOT_ACTIVE);
	subject->flags |= identity->subject.flags & SUBJECT_UNKNOWN; /* its children are, too */
	keep_marks(subject, identity);
	class = classify_active(hand(scratch), hand_identity(identity), uid);
	if (class && scratch)
		set_class(subject, &scratch->class, class, identity->subject.until, uid);
}

/* current_uid returns the user of the current task, by a helper: each pointer of a trusted one
 * that is followed has the verifier search all of the kernel's types four times
 * (kernel/bpf/btf.c, btf_nested_type_is_trusted). */
static __always_inline __u32 current_uid(void)
{
	return bpf_get_current_uid_gid();
}

#endif
