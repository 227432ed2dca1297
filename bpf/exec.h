/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * What becomes of a subject at fork and exec.
 *
 * An exec is seen twice. When it begins, the file that was asked for is there: the
 * script, or the program itself. Past the point of no return the file is the program.
 * Names that were walked are kept with the file's inode (struct label), so that
 * starting a program again costs no walk, and no scratch space in the new process.
 * A label's names never change, so that whoever reads them reads a whole; a file that
 * is started under another name has no use of its label.
 */
#ifndef EBPFGUARD_EXEC_H
#define EBPFGUARD_EXEC_H

#include "stamp.h"
#include "verdict.h"

/* add_marks adds marks where revisions know any. */
static __always_inline void add_marks(void)
{
	__u64 now = active_word();

	if (!now || now & ACTIVE_MARKS)
		refresh_marks();
}

SEC("lsm/task_alloc")
int BPF_PROG(task_alloc, struct task_struct *task, unsigned long clone_flags, int ret)
{
	struct subject *subject;

	if (ret)
		return ret;
	add_marks();
	subject = current_subject();
	/* Without memory the child identifies itself at its first decision. */
	if (!subject)
		return 0;
	subject = label(task, subject, BPF_ANY);
	if (subject)
		subject->exec = 0;
	return 0;
}

/* label_of returns the label of a file if its names are those that it is started by. */
static __always_inline struct label *label_of(struct file *file)
{
	struct label *found;

	if (!can_keep())
		return NULL;
	found = bpf_inode_storage_get(&labels, file->f_inode, NULL, 0);
	return found && found->stamp == stamp_of(found, file, sequences()) ? found : NULL;
}

/* is_named_so reports whether a label is what scratch->label is to be. */
static __always_inline bool is_named_so(struct scratch *scratch, const struct label *found)
{
	__u64 differ = scratch->label.key ^ found->key;
	int i;

	differ |= scratch->label.length ^ found->length;
	for (i = 0; i < (MAX_LABEL + 1) / 8; i++)
		differ |= ((__u64 *)scratch->label.text)[i] ^ ((__u64 *)found->text)[i];
	return !differ;
}

/* walk_program walks to a file that is started, and makes it the program of
 * scratch->next. It returns the file's label if that can be used from now on. */
static __always_inline struct label *walk_program(struct scratch *scratch, struct file *file)
{
	__u64 before = sequences();
	struct label *found;
	__u32 length;

	begin_subject(&scratch->next);
	add_program(scratch, file);
	length = scratch->next.program_length;
	if (scratch->next.flags || length > MAX_LABEL || !can_keep() || is_odd(before) ||
	    sequences() != before)
		return NULL;
	__builtin_memset(&scratch->label, 0, sizeof(scratch->label));
	scratch->label.key = scratch->next.program;
	scratch->label.length = length;
	if (bpf_probe_read_kernel(scratch->label.text, mask_length(length), scratch->next.text))
		return NULL;
	found = bpf_inode_storage_get(&labels, file->f_inode, &scratch->label,
				      BPF_LOCAL_STORAGE_GET_F_CREATE);
	if (!found || !is_named_so(scratch, found))
		return NULL;
	found->stamp = stamp_of(found, file, before);
	return found;
}

/* begin_exec keeps the names of the file that is asked for with the subject, which may
 * be that of a script. */
static __always_inline void begin_exec(struct subject *subject, struct file *file)
{
	struct label *found = label_of(file);
	struct scratch *scratch;

	if (!found) {
		scratch = current_scratch();
		if (!scratch) {
			subject->exec_length = EXEC_UNKNOWN;
			return;
		}
		found = walk_program(scratch, file);
		subject->exec_key = scratch->next.program;
		subject->exec_length = scratch->next.program_length;
		if (scratch->next.flags & SUBJECT_UNKNOWN)
			subject->exec_length = EXEC_UNKNOWN;
		else if (scratch->next.program_length > MAX_LABEL)
			bpf_probe_read_kernel(scratch->long_name, sizeof(scratch->long_name),
					      scratch->next.text);
		else if (!found)
			bpf_probe_read_kernel(&subject->text[MAX_TEXT],
					      mask_length(scratch->next.program_length),
					      scratch->next.text);
	}
	subject->exec_labelled = found != NULL;
	if (found) {
		subject->exec_key = found->key;
		subject->exec_length = found->length;
		bpf_probe_read_kernel(&subject->text[MAX_TEXT], mask_length(found->length),
				      found->text);
	}
}

/* The file that is started: a script, or the program itself. */
SEC("lsm/bprm_creds_for_exec")
int BPF_PROG(bprm_creds_for_exec, struct linux_binprm *bprm, int ret)
{
	struct file *file = bprm->file;
	struct subject *subject;

	if (ret)
		return ret;
	add_marks();
	subject = current_subject();
	if (!subject)
		return 0; /* no memory: unknown when it has started */
	subject->exec = (__u64)bprm;
	subject->exec_mm = (__u64)bprm->mm;
	subject->exec_inode = (__u64)file->f_inode;
	begin_exec(subject, file);
	return 0;
}

/* append_text appends names of at most MAX_LABEL bytes to the text of a subject; false
 * when they do not fit. */
static __always_inline bool append_text(struct subject *subject, __u64 at, const void *names,
					__u32 length)
{
	if (length > MAX_LABEL || at + length > MAX_TEXT)
		return false;
	barrier_var(at); /* the verifier has to see one register */
	at &= MAX_TEXT - 1;
	return !bpf_probe_read_kernel(&subject->text[at], mask_length(length), names);
}

/* is_same_cgroup reports whether the names of the current task's control group are
 * those that the subject's text begins with. */
static __always_inline bool is_same_cgroup(struct subject *subject)
{
	return subject->cgroup && subject->cgroup == bpf_get_current_cgroup_id();
}

/* start makes the exec that is on its way the subject's program, by what is kept; false
 * when that does not do. */
static __always_inline bool start(struct subject *subject, struct file *file)
{
	__u32 at = subject->cgroup_length;
	struct label *found;

	if (subject->exec_length > MAX_LABEL || !is_same_cgroup(subject))
		return false;
	if (subject->exec_inode == (__u64)file->f_inode) {
		if (!append_text(subject, at, &subject->text[MAX_TEXT], subject->exec_length))
			return false;
		subject->script = 0;
		subject->script_length = 0;
		subject->program = subject->exec_key;
		subject->program_length = subject->exec_length;
		return true;
	}
	found = label_of(file);
	if (!found || !append_text(subject, at, &subject->text[MAX_TEXT], subject->exec_length) ||
	    !append_text(subject, at + subject->exec_length, found->text, found->length))
		return false;
	subject->script = subject->exec_key;
	subject->script_length = subject->exec_length;
	subject->program = found->key;
	subject->program_length = found->length;
	return true;
}

/* add_script appends the names of the file of the exec that is on its way to the text of
 * scratch->next. */
static __always_inline void add_script(struct scratch *scratch, struct subject *subject)
{
	__u32 length = subject->exec_length, size = length;
	__u64 at = scratch->next.cgroup_length;
	long failed;

	scratch->next.script = subject->exec_key;
	if (length >= MAX_TEXT || at + length > MAX_TEXT) {
		scratch->next.flags |= SUBJECT_UNKNOWN;
		return;
	}
	barrier_var(at); /* the verifier has to see one register */
	at &= MAX_TEXT - 1;
	barrier_var(size);
	size &= MAX_TEXT - 1;
	if (length <= MAX_LABEL)
		failed = bpf_probe_read_kernel(&scratch->next.text[at], mask_length(length),
					       &subject->text[MAX_TEXT]);
	else
		failed = bpf_probe_read_kernel(&scratch->next.text[at], size, scratch->long_name);
	if (failed)
		scratch->next.flags |= SUBJECT_UNKNOWN;
	scratch->next.script_length = length;
}

/* start_by_walk makes the exec that is on its way the subject's program, by walking to
 * its file, and keeps the names. */
static __always_inline void start_by_walk(struct subject *subject, struct scratch *scratch,
					  struct file *file)
{
	if (subject->exec_inode != (__u64)file->f_inode)
		walk_program(scratch, file); /* for the next that is started by it */
	begin_subject(&scratch->next);
	add_cgroup(scratch, bpf_get_current_task());
	if (subject->exec_inode != (__u64)file->f_inode)
		add_script(scratch, subject);
	add_program(scratch, file);
	subject->flags = scratch->next.flags;
	subject->cgroup = scratch->next.cgroup;
	subject->cgroup_length = scratch->next.cgroup_length;
	subject->script = scratch->next.script;
	subject->script_length = scratch->next.script_length;
	subject->program = scratch->next.program;
	subject->program_length = scratch->next.program_length;
	bpf_probe_read_kernel(subject->text, MAX_TEXT, scratch->next.text);
}

/* class_check_of hashes the class of a subject that runs no script and what it depends on,
 * but for the program. */
static __always_inline __u64 class_check_of(const struct subject *subject, __u64 class, __u64 until,
					    __u32 uid)
{
	__u64 hash = mix(hash_key[0], class);

	hash = mix(hash, uid);
	hash = mix(hash, until);
	hash = mix(hash, subject->cgroup);
	return mix(hash, subject->marks);
}

/* classify_started finds the class of a subject whose program has just been started, by
 * what is kept with the program's file if that was started like this before. Its names
 * are those of the label then, and no others. */
static __always_inline void classify_started(struct subject *subject, struct file *file)
{
	__u64 now = active_word(), class, until, marks;
	struct label *found;
	__u32 uid;

	if (!now || !(now & ACTIVE_OPERATIONS))
		return; /* it may never be asked for */
	if (!subject->exec_labelled || subject->script || subject->flags)
		return; /* at the first decision */
	found = bpf_inode_storage_get(&labels, file->f_inode, NULL, 0);
	if (!found)
		return;
	uid = current_uid();
	class = found->class;
	until = found->until;
	if (class >> 32 != now >> 32 ||
	    found->class_check != class_check_of(subject, class, until, uid) ||
	    (now & ACTIVE_TIMED && bpf_ktime_get_boot_ns() >= until)) {
		marks = subject->marks;
		refresh_class();
		class = subject->class;
		if (!class || subject->marks != marks)
			return;
		found->class = class;
		found->until = subject->until;
		found->class_check = class_check_of(subject, class, subject->until, subject->uid);
		return;
	}
	set_class(subject, class, until, uid);
}

/* Past the point of no return of exec: the new program is certain. */
SEC("lsm/bprm_committed_creds")
int BPF_PROG(bprm_committed_creds, struct linux_binprm *bprm)
{
	struct file *file = bprm->file;
	struct subject *subject;
	struct scratch *scratch;

	add_marks();
	subject = current_subject();
	if (!subject)
		return 0;   /* without memory it identifies itself at its first decision */
	subject->class = 0; /* what it was is no longer true */
	barrier();
	if (subject->exec != (__u64)bprm) { /* what was begun is lost */
		subject->flags = SUBJECT_UNKNOWN;
		return 0;
	}
	subject->flags = 0;
	subject->exec = 0;
	if (!start(subject, file)) {
		scratch = current_scratch();
		if (scratch)
			start_by_walk(subject, scratch, file);
		else
			subject->flags = SUBJECT_UNKNOWN;
	}
	classify_started(subject, file);
	return 0;
}

#endif
