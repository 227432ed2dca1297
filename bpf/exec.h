/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * What becomes of a subject at fork and exec.
 *
 * An exec is seen twice. When it begins, the file that was asked for is there: the
 * script, or the program itself. Past the point of no return the file is the program.
 * The file's names are kept with its inode (cache/label.h), so that starting a program
 * again costs no walk, and no scratch space in the new process.
 */
#ifndef EBPFGUARD_EXEC_H
#define EBPFGUARD_EXEC_H

#include "cache/label.h"
#include "cgroup.h"

/*
 * A process without a label identifies itself at its first decision, by the program that it
 * runs. When there is no memory for the label, as when the memory control group of
 * the guard is full, to which the kernel charges the maps, what cannot be found out
 * again would be lost: what the process descends from, its script, that it is unknown. So
 * then there is no such process: fork and exec fail with ENOMEM.
 */
static __always_inline bool is_more_than_program(const struct subject *subject)
{
	return has_marks(subject) || subject->script || subject->script_length || subject->flags ||
	       subject->last_container != CONTAINER_HOST;
}

static __always_inline bool needs_marks(void)
{
	__u64 now = active_word();

	return now ? now & ACTIVE_MARKS : active_revision();
}

/* is_enforcing reports whether anything is in force. */
static __always_inline bool is_enforcing(void)
{
	return active_revision() & ACTIVE_OPERATIONS;
}

SEC("lsm/task_alloc")
int BPF_PROG(task_alloc, struct task_struct *task, unsigned long clone_flags, int ret)
{
	struct subject *subject, *child;

	if (ret)
		return ret;
	if (!add_marks())
		return -ENOMEM;
	subject = current_subject();
	if (!subject)
		return needs_marks() ? -ENOMEM : 0;
	child = label(task, subject,
		      has_long_names(subject) ? task_get(&long_texts, current_task()) : NULL,
		      BPF_ANY);
	if (child) {
		child->exec = 0;
		child->flags &= ~SUBJECT_ENV; /* what it starts is not what env starts */
		return 0;
	}
	return is_more_than_program(subject) ? -ENOMEM : 0;
}

/* keep_exec keeps the names of the file that is asked for, whose length is known. */
static __always_inline void keep_exec(struct subject *subject, struct identity *identity,
				      const void *names)
{
	__u32 size = subject->exec_length;

	if (size > SHORT_LABEL) {
		barrier_var(size); /* or clang drops the mask; add_script takes no longer ones */
		size &= MAX_TEXT - 1;
		if (!identity || bpf_probe_read_kernel(identity->long_name, size, names))
			subject->exec_length = EXEC_UNKNOWN;
		return;
	}
	if (bpf_probe_read_kernel(&subject->text[SHORT_TEXT], size & SHORT_LABEL, names))
		subject->exec_length = EXEC_UNKNOWN;
}

/* begin_exec keeps the names of the file that is asked for with the subject, which may
 * be that of a script. */
static __always_inline void begin_exec(struct subject *subject, struct file *file)
{
	struct label *found = label_of(file);
	struct identity *identity;

	if (!found) {
		identity = current_identity();
		if (!identity) {
			subject->exec_length = EXEC_UNKNOWN;
			subject->exec_labelled = false;
			return;
		}
		found = walk_program(identity, file);
		subject->exec_key = identity->subject.program;
		subject->exec_length = identity->subject.program_length;
		if (identity->subject.flags & SUBJECT_UNKNOWN)
			subject->exec_length = EXEC_UNKNOWN;
		else
			keep_exec(subject, identity, identity->names.text);
	} else {
		subject->exec_key = found->key;
		subject->exec_length = found->length;
		keep_exec(subject, found->length > SHORT_LABEL ? current_identity() : NULL,
			  found->text);
	}
	subject->exec_labelled = found != NULL;
}

/* The file that is started: a script, or the program itself. */
SEC("lsm/bprm_creds_for_exec")
int BPF_PROG(bprm_creds_for_exec, struct linux_binprm *bprm, int ret)
{
	struct file *file = bprm->file;
	struct subject *subject;

	if (ret)
		return ret;
	if (!add_marks())
		return -ENOMEM;
	start_in_cgroup();
	subject = current_subject();
	if (!subject)
		return is_enforcing() ? -ENOMEM : 0;
	subject->exec = (__u64)bprm;
	subject->exec_mm = (__u64)bprm->mm;
	subject->exec_inode = (__u64)file->f_inode;
	begin_exec(subject, file);
	return 0;
}

/*
 * A script whose first line names env (`#!/usr/bin/env python3`) has env for its
 * interpreter, which finds the one that is meant and starts it in its own place. The
 * script goes on in that one: it stays the subject's until env has started something.
 * Who chooses the environment chooses what env finds; so can he with PYTHONPATH or LD_PRELOAD
 * where the interpreter is named outright (docs/threat-model.md).
 */
static __always_inline bool is_env(struct subject *subject, struct linux_binprm *bprm)
{
	const char *interpreter = BPF_CORE_READ(bprm, interp);
	char end[4] = {};
	long length, part;

	/* Where the exec's names were, which are no longer needed. A string that is as long as
	 * its room lacks its end. */
	part = bpf_probe_read_kernel_str(&subject->text[SHORT_TEXT], SHORT_LABEL + 1, interpreter);
	length = part;
	if (part == SHORT_LABEL + 1) {
		part = bpf_probe_read_kernel_str(&subject->text[SHORT_TEXT], SHORT_LABEL + 1,
						 interpreter + SHORT_LABEL);
		length += part - 1;
	}
	if (part <= 0 || part > SHORT_LABEL || length <= (long)sizeof(end))
		return false; /* longer than a first line can name */
	bpf_probe_read_kernel(end, sizeof(end), interpreter + length - 1 - sizeof(end));
	return end[0] == '/' && end[1] == 'e' && end[2] == 'n' && end[3] == 'v';
}

/* start makes the exec that is on its way the subject's program, by what is kept; false
 * when that does not do. */
static __always_inline bool start(struct subject *subject, struct file *file, bool carried)
{
	__u32 at = subject->cgroup_length;
	struct label *found;

	if (subject->exec_length > SHORT_LABEL || has_long_names(subject) ||
	    !is_same_cgroup(subject))
		return false;
	if (subject->exec_inode == (__u64)file->f_inode) {
		if (carried)
			at += subject->script_length;
		if (!append_text(subject, at, &subject->text[SHORT_TEXT], subject->exec_length))
			return false;
		if (!carried) {
			subject->script = 0;
			subject->script_length = 0;
		}
		subject->program = subject->exec_key;
		subject->program_length = subject->exec_length;
		return true;
	}
	found = label_of(file);
	if (!found || !append_text(subject, at, &subject->text[SHORT_TEXT], subject->exec_length) ||
	    !append_text(subject, at + subject->exec_length, found->text, found->length))
		return false;
	subject->script = subject->exec_key;
	subject->script_length = subject->exec_length;
	subject->program = found->key;
	subject->program_length = found->length;
	return true;
}

/* add_script appends the names of the file of the exec that is on its way to
 * identity->names. */
static __always_inline void add_script(struct identity *identity, struct subject *subject)
{
	__u32 length = subject->exec_length, size = length;
	__u64 at = identity->subject.cgroup_length;
	long failed;

	identity->subject.script = subject->exec_key;
	if (length >= MAX_TEXT || at + length > MAX_TEXT) {
		identity->subject.flags |= SUBJECT_UNKNOWN;
		return;
	}
	barrier_var(at); /* the verifier has to see one register */
	at &= MAX_TEXT - 1;
	barrier_var(size);
	size &= MAX_TEXT - 1;
	if (length <= SHORT_LABEL)
		failed = bpf_probe_read_kernel(&identity->names.text[at], length & SHORT_LABEL,
					       &subject->text[SHORT_TEXT]);
	else
		failed =
			bpf_probe_read_kernel(&identity->names.text[at], size, identity->long_name);
	if (failed)
		identity->subject.flags |= SUBJECT_UNKNOWN;
	identity->subject.script_length = length;
}

/* start_by_walk makes the exec that is on its way the subject's program, by walking to
 * its file, and keeps the names. */
static __always_inline void start_by_walk(struct subject *subject, struct identity *identity,
					  struct file *file, bool carried)
{
	if (subject->exec_inode != (__u64)file->f_inode)
		walk_program(identity, file); /* for the next that is started by it */
	begin_subject(&identity->subject);
	add_cgroup(identity, bpf_get_current_task());
	if (subject->exec_inode != (__u64)file->f_inode) {
		add_script(identity, subject);
	} else if (carried) {
		append_names(identity, subject, identity->subject.cgroup_length,
			     subject->cgroup_length, subject->script_length);
		identity->subject.script = subject->script;
		identity->subject.script_length = subject->script_length;
	}
	add_program(identity, file);
	subject->flags = identity->subject.flags;
	enter_container(subject, identity->subject.last_container);
	subject->script = identity->subject.script;
	subject->program = identity->subject.program;
	keep_names(subject, identity);
	/* The label may have the names that the file had when the exec began. */
	if (!label_of(file))
		subject->exec_labelled = false;
}

/* Past the point of no return of exec: the new program is certain. */
SEC("lsm/bprm_committed_creds")
int BPF_PROG(bprm_committed_creds, struct linux_binprm *bprm)
{
	struct file *file = bprm->file;
	struct subject *subject;
	struct identity *identity;
	bool carried, scripted;
	__u32 flags;

	add_marks();
	subject = current_subject();
	if (!subject)
		return 0;   /* nothing was in force when it began */
	subject->class = 0; /* what it was is no longer true */
	barrier();
	if (subject->exec != (__u64)bprm) { /* what was begun is lost */
		subject->flags = SUBJECT_UNKNOWN;
		return 0;
	}
	carried = subject->flags & SUBJECT_ENV;
	scripted = carried || subject->exec_inode != (__u64)file->f_inode;
	/* A script that is unknown is so still when it goes on in another program. */
	flags = carried ? subject->flags & SUBJECT_UNKNOWN : 0;
	subject->flags = 0;
	subject->exec = 0;
	subject->writes++;
	barrier();
	if (!start(subject, file, carried)) {
		identity = current_identity();
		if (identity)
			start_by_walk(subject, identity, file, carried);
		else
			subject->flags = SUBJECT_UNKNOWN;
	}
	barrier();
	subject->writes++;
	if (scripted && is_env(subject, bprm))
		flags |= SUBJECT_ENV;
	subject->flags |= flags;
	classify_started(subject, file);
	return 0;
}

#endif
