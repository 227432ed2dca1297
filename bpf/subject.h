/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Subjects: what a task is, and which class that makes it.
 *
 * A task is identified once, at exec: by the path from which its program was
 * started, by the program's file, by the script if it runs one and by its
 * control group. A child inherits what its parent is. Tasks that already run
 * when the guard starts are labelled by an iterator over all tasks, which is
 * started after fork and exec are covered and before anything is enforced;
 * whoever is still without a label identifies itself at its first decision. The
 * class follows from that and the revision of tables, so that a new policy
 * set needs no walk over the tasks: a task whose class is of another revision
 * looks it up anew.
 *
 * Marks say which programs and processes a task descends from, of those that policies
 * select with their descendants. They are kept at fork and exec for the active revision
 * and for the staged one, once that is there; the loader then marks the tasks
 * that descend from a running process by an iterator (mark_tasks), before it
 * makes the staged revision the active one.
 *
 * Policies may end. So a class holds until the next deadline of its revision, and
 * whoever asks later looks it up anew (begin_by, verdict.h): nothing of ours has to run
 * for that.
 *
 * What remains open: a copy of a program is another program, and somebody who
 * may write to a program's file or directory may put another program there
 * (docs/threat-model.md).
 */
#ifndef EBPFGUARD_SUBJECT_H
#define EBPFGUARD_SUBJECT_H

#include "text.h"

/* When a class ends that holds for as long as its revision. */
#define NEVER ((__u64)-1)

/* Steps of a binary search over the deadlines. */
#define DEADLINE_STEPS 9
_Static_assert(1 << DEADLINE_STEPS > MAX_DEADLINES + 1, "the first is at 0");

static __always_inline struct task_struct *current_task(void)
{
	return task_storage ? (void *)bpf_get_current_task_btf() : (void *)bpf_get_current_task();
}

/* begin_subject makes scratch->next one that is nothing yet. */
static __always_inline void begin_subject(struct subject *next)
{
	next->class = 0;
	next->program = next->script = 0;
	next->marks = 0;
	next->until = 0;
	next->flags = 0;
	next->cgroup = 0;
	next->exec = 0;
	next->cgroup_length = next->script_length = next->program_length = next->exec_length = 0;
}

/* store_file appends the path of a file to the text of scratch->next
 * and returns the bytes added; none for a path that is not to be trusted. What
 * cannot be found out makes the subject unknown: that fails closed. */
__noinline __u32 store_file(__u32 at, __u64 mnt, __u64 dentry)
{
	struct scratch *scratch = current_scratch();
	int flags = collect(mnt, dentry);
	__u32 end;

	if (!scratch)
		return 0;
	if (flags & (CHAIN_NO_PATH | CHAIN_DELETED))
		return 0;
	end = flags & CHAIN_UNKNOWN ? TEXT_FAILED : store_path(at);
	if (end == TEXT_FAILED) {
		scratch->next.flags |= SUBJECT_UNKNOWN;
		return 0;
	}
	return end - at;
}

/* add_cgroup puts the names of a task's control group first. */
static __always_inline void add_cgroup(struct scratch *scratch, __u64 task)
{
	__u32 end = store_cgroup(0, task);

	if (end != TEXT_FAILED) {
		scratch->next.cgroup_length = end;
		return;
	}
	scratch->next.flags |= SUBJECT_UNKNOWN;
	scratch->next.cgroup = 0; /* or the next exec takes no names for its names */
}

/* add_program makes a file the program of scratch->next. */
static __always_inline void add_program(struct scratch *scratch, struct file *file)
{
	scratch->next.program = file_key(DIMENSION_SUBJECTS, (__u64)BPF_CORE_READ(file, f_inode));
	scratch->next.program_length = store_file(
		scratch->next.cgroup_length + scratch->next.script_length,
		(__u64)BPF_CORE_READ(file, f_path.mnt), (__u64)BPF_CORE_READ(file, f_path.dentry));
}

/* identify makes scratch->next what a task runs, which is nothing for
 * a kernel thread. */
__noinline int identify(__u64 number)
{
	struct task_struct *task = (void *)number;
	struct file *file = BPF_CORE_READ(task, mm, exe_file);
	struct scratch *scratch = current_scratch();

	if (!scratch)
		return 0;
	begin_subject(&scratch->next);
	add_cgroup(scratch, number);
	if (file)
		add_program(scratch, file);
	return 0;
}

/* label gives a task the subject unless it has one. In a hash, a task that is
 * being made (BPF_ANY) may find what a former task at its address left. */
static __always_inline struct subject *label(struct task_struct *task, struct subject *subject,
					     __u64 flags)
{
	__u64 key = (__u64)task;

	if (task_storage)
		return bpf_task_storage_get(&tasks, (void *)task, subject,
					    BPF_LOCAL_STORAGE_GET_F_CREATE);
	bpf_map_update_elem(&tasks, &key, subject, flags);
	return bpf_map_lookup_elem(&tasks, &key);
}

/* current_subject returns the subject of the current task; one that has none is
 * identified now. NULL, a process that nobody knows, when there is no memory. */
static __always_inline struct subject *current_subject(void)
{
	struct subject *subject = task_get(&tasks, current_task());
	struct scratch *scratch;

	if (subject)
		return subject;
	scratch = current_scratch();
	if (!scratch)
		return NULL;
	identify(bpf_get_current_task());
	return label(current_task(), &scratch->next, BPF_NOEXIST);
}

/* unite returns the class of what is of both classes. */
static __always_inline __u32 unite(void *tables, const struct subjects *subjects, __u32 a, __u32 b)
{
	if (!b || a == b || a == NO_CLASS)
		return a;
	if (!a)
		return b;
	return word_at(tables, subjects->unions + a * subjects->program_classes + b);
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
	__u32 program, set = 0, time, user, cgroup, cgroup_end, script_end, at;
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
		program = unite(tables, subjects, program,
				class_of_file(slot, scratch->spare.script));
	if (scratch->spare.script_length)
		program = unite(tables, subjects, program,
				run_text(scratch, slot, number_of(subjects->programs), cgroup_end,
					 script_end));
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

/* uid_of returns the user of the current task. */
static __always_inline __u32 uid_of(struct task_struct *current)
{
	if (task_storage)
		return current->cred->uid.val;
	return bpf_get_current_uid_gid();
}

static __always_inline __u32 current_uid(void)
{
	return uid_of(current_task());
}

/* chosen_marks returns the marks of a task's process in the staged revision. */
static __always_inline __u64 chosen_marks(struct task_struct *task)
{
	__u64 start = BPF_CORE_READ(task, group_leader, start_boottime);
	struct sip sip;

	sip_start(&sip);
	sip_word(&sip, (__u64)TAG_PROCESS << 32 | (__u32)BPF_CORE_READ(task, tgid));
	sip_word(&sip, start / TICK);
	return find(SLOT_STAGED, sip_finish(&sip));
}

/* refresh_marks adds the marks of the current task's program and process, before the
 * task has a child or starts another program. */
__noinline int refresh_marks(void)
{
	struct subject *subject = current_subject();
	struct scratch *scratch = current_scratch();
	const struct revision *revision;
	const struct subjects *subjects;
	void *tables = tables_in(SLOT_ACTIVE);

	if (!subject || !scratch || !tables)
		return 0; /* without memory it was never known */
	if (tables_in(SLOT_STAGED)) {
		classify(subject, scratch, SLOT_STAGED, current_uid());
		subject->marks |= chosen_marks(current_task());
	}
	revision = revision_of(tables);
	if (!revision || subject->class >> 32 == revision->number)
		return 0; /* added already */
	subjects = (const void *)line_at(tables, revision->subjects);
	if (subjects && subjects->flags & SUBJECTS_MARKS)
		classify(subject, scratch, SLOT_ACTIVE, current_uid());
	return 0;
}

/* Only where the maps are hashes (maps.h). */
SEC("lsm/task_free")
int BPF_PROG(task_free, struct task_struct *task)
{
	__u64 key = (__u64)task;

	bpf_map_delete_elem(&tasks, &key);
	bpf_map_delete_elem(&scratches, &key);
	bpf_map_delete_elem(&alert_buffers, &key);
	return 0;
}

SEC("iter/task")
int label_tasks(struct bpf_iter__task *ctx)
{
	struct task_struct *task = ctx->task;
	struct scratch *scratch = current_scratch();

	if (!task || !scratch)
		return 0;
	identify(as_number(task));
	label(task, &scratch->next, BPF_NOEXIST);
	return 0;
}

/* The marks of processes, while mark_tasks runs. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 1 << 22);
	__type(key, __u32);
	__type(value, __u64);
} marks SEC(".maps");

/* How many tasks the last run of mark_tasks gave a mark. */
__u64 marked = 0;
/* Marks that mark_tasks takes away, since they are to stand for others. */
__u64 forgotten = 0;

/*
 * mark_tasks gives each task the marks of its program and process in the next
 * revision, and those of its parent. The loader runs it until nothing changes: then every
 * task has the marks of all its living ancestors.
 */
SEC("iter/task")
int mark_tasks(struct bpf_iter__task *ctx)
{
	struct task_struct *task = ctx->task;
	struct scratch *scratch = current_scratch();
	struct subject *subject;
	__u64 *inherited, before, now;
	__u32 key;

	if (!task || !scratch)
		return 0;
	subject = task_get(&tasks, task);
	if (!subject)
		return 0;
	before = subject->marks;
	if (before & forgotten)
		subject->marks = before & ~forgotten;
	classify(subject, scratch, SLOT_STAGED, 0);
	subject->marks |= chosen_marks(task);
	key = BPF_CORE_READ(task, real_parent, tgid);
	inherited = bpf_map_lookup_elem(&marks, &key);
	if (inherited)
		subject->marks |= *inherited;
	key = BPF_CORE_READ(task, tgid);
	inherited = bpf_map_lookup_elem(&marks, &key);
	if (inherited)
		subject->marks |= *inherited;
	now = subject->marks;
	bpf_map_update_elem(&marks, &key, &now, BPF_ANY);
	if (now != before) {
		subject->class = 0;
		__sync_fetch_and_add(&marked, 1);
	}
	return 0;
}

#endif
