/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * What is kept with the file of a program: the names that it was started by, and the
 * class of the last process that started it. A label's names never change, so that a
 * reader never sees half of them; a file that is started under another name makes no use
 * of its label.
 */
#ifndef EBPFGUARD_CACHE_LABEL_H
#define EBPFGUARD_CACHE_LABEL_H

#include "../judge.h"
#include "moves.h"

struct {
	__uint(type, BPF_MAP_TYPE_INODE_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, int);
	__type(value, struct label);
} labels SEC(".maps");

/* label_of returns the label of a file if its names are those that it is started by. */
static __always_inline struct label *label_of(struct file *file)
{
	struct words *all = all_words();
	struct label *found;

	if (!can_keep() || !all)
		return NULL;
	found = bpf_inode_storage_get(&labels, file->f_inode, NULL, 0);
	return found && found->stamp == stamp_of(found, file, counts_now(all)) ? found : NULL;
}

/* is_named_so reports whether a label is what identity->label is to be. */
static __always_inline bool is_named_so(struct identity *identity, const struct label *found)
{
	__u64 differ = identity->label.key ^ found->key;
	int i;

	differ |= identity->label.length ^ found->length;
	for (i = 0; i < (MAX_LABEL + 1) / 8; i++)
		differ |= ((__u64 *)identity->label.text)[i] ^ ((__u64 *)found->text)[i];
	return !differ;
}

/* walk_program walks to a file that is started, and makes it the program of
 * identity->subject. It returns the file's label if that can be used from now on. */
static __always_inline struct label *walk_program(struct identity *identity, struct file *file)
{
	__u64 before = sequences(), counts, stamp;
	struct words *all = all_words();
	struct label *found;
	__u32 length;

	begin_subject(&identity->subject);
	add_program(identity, file);
	length = identity->subject.program_length;
	if (identity->subject.flags || length > MAX_LABEL || !can_keep() || !all)
		return NULL;
	counts = counts_to_keep(all, before);
	if (counts == NOT_SETTLED)
		return NULL;
	__builtin_memset(&identity->label, 0, sizeof(identity->label));
	identity->label.key = identity->subject.program;
	identity->label.length = length;
	if (bpf_probe_read_kernel(identity->label.text, mask_length(length), identity->names.text))
		return NULL;
	found = bpf_inode_storage_get(&labels, file->f_inode, &identity->label,
				      BPF_LOCAL_STORAGE_GET_F_CREATE);
	if (!found || !is_named_so(identity, found))
		return NULL;
	stamp = stamp_of(found, file, counts);
	if (sequences() != before)
		return NULL;
	found->stamp = stamp;
	return found;
}

/* append_text appends names of at most SHORT_LABEL bytes to the short text of a subject; false
 * when they do not fit. */
static __always_inline bool append_text(struct subject *subject, __u64 at, const void *names,
					__u32 length)
{
	if (length > SHORT_LABEL || at + length > SHORT_TEXT)
		return false;
	barrier_var(at); /* the verifier has to see one register */
	if (at > SHORT_TEXT)
		return false;
	return !bpf_probe_read_kernel(&subject->text[at], length & SHORT_LABEL, names);
}

/* hash_marks hashes the marks of a subject, where marks count. */
static __always_inline __u64 hash_marks(const struct subject *subject)
{
	__u64 hash = hash_key[0];
	int i;

	if (active_word() & ACTIVE_MARKS)
		for (i = 0; i < MARK_WORDS; i++)
			hash = mix(hash, subject->marks[i]);
	return hash;
}

/* class_check_of hashes the class of a subject that runs no script and what it depends on,
 * but for the program. */
static __always_inline __u64 class_check_of(const struct subject *subject, __u64 class, __u64 check,
					    __u64 until, __u32 uid)
{
	__u64 hash = mix(hash_marks(subject), class);

	hash = mix(hash, check);
	hash = mix(hash, uid);
	hash = mix(hash, until);
	hash = mix(hash, subject->cgroup);
	if (subject->last_container != CONTAINER_HOST) {
		hash = mix(hash, (__u64)subject->first_container << 32 | subject->last_container);
		hash = mix(hash, word_of_active(ACTIVE_CHANGES));
	}
	return mix(hash, hash_key[0]);
}

/* classify_started finds the class of a subject whose program has just been started, by
 * what is kept with the program's file if that was started like this before. Its names
 * are those of the label then, and no others. */
static __always_inline void classify_started(struct subject *subject, struct file *file)
{
	__u64 now = active_word(), class, check, until, marks;
	struct label *found;
	struct class *shared;
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
	check = found->check;
	until = found->until;
	shared = class_at(check);
	if (shared && shared->check == check && class >> 32 == now >> 32 &&
	    found->class_check == class_check_of(subject, class, check, until, uid) &&
	    !(now & ACTIVE_TIMED && bpf_ktime_get_boot_ns() >= until)) {
		set_class(subject, shared, class, until, uid);
		if (subject->class && subject->check == check)
			return;
	}
	marks = hash_marks(subject);
	refresh_class();
	if (!subject->class || hash_marks(subject) != marks)
		return;
	found->class = subject->class;
	found->check = subject->check;
	found->until = subject->until;
	found->class_check = class_check_of(subject, subject->class, subject->check, subject->until,
					    subject->uid);
}

#endif
