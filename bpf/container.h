/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * The containers of a subject.
 *
 * User space tells which control group is that of which container, by a number
 * (`containers`), before the container's first program starts. A task enters a container when it
 * starts a program in that group or below it: the innermost group that is known counts. It
 * never leaves. A task that is found in another container later is in both: the first one and
 * the last one. So neither unshare(2), nor setns(2), nor another control group, nor what it
 * starts gives a task fewer rules than it had.
 *
 * At fork a group may be the one of who forks still (a runtime attaches a new process to its
 * group by writing to cgroup.procs), so a child inherits what its parent is.
 *
 * A group with the name of a container's of which nobody has told is that of an
 * unidentified container, and so is a container whose class is not there: rules about
 * containers may concern it (docs/semantics.md, rule 6).
 */
#ifndef EBPFGUARD_CONTAINER_H
#define EBPFGUARD_CONTAINER_H

#include "run.h"

/* The number of the container of a control group, by the group's id. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, MAX_CONTAINERS);
	__type(key, __u64);
	__type(value, __u32);
} containers SEC(".maps");

/* What a container is in a revision, by the revision's number << 32 | the container's. While a
 * revision is staged there are those of two. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 4 * MAX_CONTAINERS);
	__type(key, __u64);
	__type(value, struct container_class);
} container_classes SEC(".maps");

/* are_containers_known reports whether anybody has told of a container. */
static __always_inline bool are_containers_known(void)
{
	return word_of_active(ACTIVE_CONTAINERS);
}

static __always_inline __u32 container_of_group(__u64 group)
{
	__u32 *number = bpf_map_lookup_elem(&containers, &group);

	return number ? *number : CONTAINER_HOST;
}

/* enter_container adds a container to those of a subject, and reports whether that changed any. */
static __always_inline bool enter_container(struct subject *subject, __u32 container)
{
	__u32 last = subject->last_container;

	if (container == CONTAINER_HOST || container == last)
		return false;
	if (container == CONTAINER_UNIDENTIFIED) {
		if (last != CONTAINER_HOST)
			return false;
	} else if (subject->first_container == CONTAINER_HOST) {
		subject->first_container = container;
	}
	subject->last_container = container;
	return true;
}

#define WORD(a, b, c, d, e, f, g, h)                                                             \
	((__u64)(a) | (__u64)(b) << 8 | (__u64)(c) << 16 | (__u64)(d) << 24 | (__u64)(e) << 32 | \
	 (__u64)(f) << 40 | (__u64)(g) << 48 | (__u64)(h) << 56)

/* Characters of a container's id, and of what may follow it in a name: ".scope". */
#define ID_LENGTH 64
#define SCOPE_LENGTH 6

/* is_hexadecimal reports whether a word holds eight hexadecimal digits as ids have. */
static __always_inline bool is_hexadecimal(__u64 word)
{
	int i;

	for (i = 0; i < 8; i++, word >>= 8) {
		__u8 c = word;

		if ((__u8)(c - '0') > 9 && (__u8)(c - 'a') > 5)
			return false;
	}
	return true;
}

/* is_id_at reports whether scratch->name has an id at a place, of which its first and last
 * characters are looked at. */
static __always_inline bool is_id_at(struct scratch *scratch, __u64 at)
{
	__u64 first = 0, last = 0;

	barrier_var(at); /* the verifier has to see one register */
	at &= MAX_NAME;
	if (at > MAX_NAME - ID_LENGTH)
		return false;
	bpf_probe_read_kernel(&first, sizeof(first), (void *)scratch->name + at);
	bpf_probe_read_kernel(&last, sizeof(last), (void *)scratch->name + at + ID_LENGTH - 8);
	return is_hexadecimal(first) && is_hexadecimal(last);
}

/* is_container_name reports whether scratch->name is what runtimes call the control group of a
 * container: kubepods…, lxc.payload…, machine-….scope or payload (systemd-nspawn), or
 * [RUNTIME-]ID[.scope]. A monitor (libpod-conmon-ID.scope) runs outside. */
__noinline int is_container_name(scratch_arg given)
{
	struct scratch *scratch = scratch_of(given);
	__u64 word, length, monitor = 0;

	if (!scratch)
		return false;
	word = scratch->name[0];
	length = scratch->name_length;
	if (word == WORD('k', 'u', 'b', 'e', 'p', 'o', 'd', 's') ||
	    word == WORD('l', 'x', 'c', '.', 'p', 'a', 'y', 'l') ||
	    word == WORD('p', 'a', 'y', 'l', 'o', 'a', 'd', 0))
		return true;
	if (word == WORD('m', 'a', 'c', 'h', 'i', 'n', 'e', '-'))
		/* libvirt's machines are no containers; neither are Podman's pods (machine-libpod_pod_ID.slice), in which
		 * its monitors are beside the containers */
		return (__u32)scratch->name[1] != (__u32)WORD('q', 'e', 'm', 'u', 0, 0, 0, 0) &&
		       scratch->name[1] != WORD('l', 'i', 'b', 'p', 'o', 'd', '_', 'p');
	if (length < ID_LENGTH)
		return false;
	bpf_probe_read_kernel(&monitor, sizeof(monitor), (void *)scratch->name + 3);
	if (monitor == WORD('o', '-', 'c', 'o', 'n', 'm', 'o', 'n'))
		return false; /* crio-conmon */
	bpf_probe_read_kernel(&monitor, sizeof(monitor), (void *)scratch->name + 5);
	if (monitor == WORD('d', '-', 'c', 'o', 'n', 'm', 'o', 'n'))
		return false; /* libpod-conmon */
	if (is_id_at(scratch, length - ID_LENGTH))
		return true;
	return length >= ID_LENGTH + SCOPE_LENGTH &&
	       is_id_at(scratch, length - ID_LENGTH - SCOPE_LENGTH);
}

/* found_container returns what store_cgroup (text.h) saw on its way. */
static __always_inline __u32 found_container(const struct scratch *scratch)
{
	if (scratch->container != CONTAINER_HOST)
		return scratch->container;
	return scratch->is_contained ? CONTAINER_UNIDENTIFIED : CONTAINER_HOST;
}

#endif
