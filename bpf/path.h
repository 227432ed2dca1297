/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Where a file lies: from its dentry up to the root of the mount namespace,
 * crossing mounts, as d_path() does (fs/d_path.c, prepend_path). The walk
 * collects the dentries; then their names are hashed or copied from the root
 * down.
 *
 * Functions are global (not static) so that the verifier checks each of them
 * once instead of at every turn of the loop that calls it; 5.10 lets them take
 * nothing but numbers, so kernel pointers travel as numbers and are read with
 * bpf_probe_read_kernel().
 */
#ifndef EBPFGUARD_PATH_H
#define EBPFGUARD_PATH_H

#include "siphash.h"

/* The result of a walk: the number of components, and perhaps WALK_UNTRUSTED. */
enum walk_result {
	/* No memory, or more than MAX_COMPONENTS components: nobody knows. */
	WALK_FAILED = -1,
	/* The path exists for its owner only: the file is deleted, or its mount
	 * is detached, internal to the kernel (memfd) or in the mount namespace
	 * of an unprivileged user namespace, where its owner may mount any file
	 * at any path. The file is known by its identity alone. */
	WALK_UNTRUSTED = 1 << 8,
	WALK_COUNT = WALK_UNTRUSTED - 1,
};

static __always_inline bool is_unhashed(struct dentry *dentry)
{
	return !BPF_CORE_READ(dentry, d_hash.pprev);
}

static __always_inline bool is_trusted(struct mount *mount)
{
	struct mnt_namespace *ns = BPF_CORE_READ(mount, mnt_ns);
	struct user_namespace *owner = NULL;
	int level = 1;

	/* NULL for a detached mount, an error pointer for an internal one. */
	if (!ns || (__u64)ns >= (__u64)-MAX_ERRNO)
		return false;
	/* A mount that is not yet part of a tree (fsmount, open_tree): its
	 * namespace has no number, on kernels that have such a field. */
	if (bpf_core_field_exists(ns->seq) && !BPF_CORE_READ(ns, seq))
		return false;
	if (BPF_CORE_READ_INTO(&owner, ns, user_ns) || !owner)
		return false;
	/* Only the initial user namespace is at level 0. */
	if (BPF_CORE_READ_INTO(&level, owner, level))
		return false;
	return level == 0;
}

/* collect_path finds the dentries of a struct file's path, the file itself
 * first, and puts them into the current task's walk. */
__noinline int collect_path(__u64 file)
{
	struct walk *walk = current_walk();
	struct vfsmount *vfsmount;
	struct dentry *dentry;
	struct mount *mount;
	int flags = 0, i;

	if (!walk)
		return WALK_FAILED;
	walk->count = 0;
	dentry = BPF_CORE_READ((struct file *)file, f_path.dentry);
	vfsmount = BPF_CORE_READ((struct file *)file, f_path.mnt);
	if (!dentry || !vfsmount)
		return WALK_FAILED;
	mount = (void *)vfsmount - bpf_core_field_offset(struct mount, mnt);
	if (is_unhashed(dentry) && BPF_CORE_READ(dentry, d_parent) != dentry)
		flags = WALK_UNTRUSTED;

	/* Each turn passes a component or a mount. */
	for (i = 0; i < MAX_COMPONENTS + MAX_MOUNTS; i++) {
		struct dentry *root = BPF_CORE_READ(mount, mnt.mnt_root), *parent;
		__u32 count = walk->count;

		if (dentry == root) {
			struct mount *above = BPF_CORE_READ(mount, mnt_parent);

			if (above == mount)
				break;
			dentry = BPF_CORE_READ(mount, mnt_mountpoint);
			mount = above;
			continue;
		}
		parent = BPF_CORE_READ(dentry, d_parent);
		if (parent == dentry || !parent) { /* moved out of a bind mount */
			flags = WALK_UNTRUSTED;
			break;
		}
		if (count >= MAX_COMPONENTS)
			return WALK_FAILED;
		walk->dentries[count] = (__u64)dentry;
		walk->count = count + 1;
		dentry = parent;
	}
	if (i >= MAX_COMPONENTS + MAX_MOUNTS)
		return WALK_FAILED;
	if (!is_trusted(mount))
		flags = WALK_UNTRUSTED;
	return (walk->count & WALK_COUNT) | flags;
}

/* mask_length shows the verifier that a length is at most MAX_NAME. */
static __always_inline __u32 mask_length(__u32 length)
{
	barrier_var(length); /* or clang drops the mask as superfluous */
	return length & MAX_NAME;
}

/* hash_name continues the hash of a path with one more component. The hash of
 * a path is that of its last component, which took in that of the parent. */
__noinline __u64 hash_name(__u64 parent, __u64 dentry)
{
	struct walk *walk = current_walk();
	__u32 length = BPF_CORE_READ((struct dentry *)dentry, d_name.len);
	const unsigned char *name = BPF_CORE_READ((struct dentry *)dentry, d_name.name);
	struct sip sip;
	__u32 i;

	if (!walk || !length || length > MAX_NAME)
		return 0;
	if (bpf_probe_read_kernel(walk->name, mask_length(length), name))
		return 0;
	sip_start(&sip);
	sip_word(&sip, parent);
	for (i = 0; i < (MAX_NAME + 1) / 8; i++) {
		__u32 left = length - i * 8;
		__u64 word;

		if (i * 8 >= length)
			break;
		word = walk->name[i];
		if (left < 8)
			word &= (1ULL << (left * 8)) - 1;
		sip_word(&sip, word);
	}
	sip_word(&sip, length);
	return sip_finish(&sip);
}

/* hash_path returns the key of the path that collect_path found; 0 when a
 * component could not be read. */
__noinline __u64 hash_path(int count)
{
	struct walk *walk = current_walk();
	__u64 hash = 0;
	int i;

	if (!walk)
		return 0;
	for (i = MAX_COMPONENTS - 1; i >= 0; i--) {
		if (i >= count)
			continue;
		hash = hash_name(hash, walk->dentries[i]);
		if (!hash)
			return 0;
	}
	return hash;
}

/* copy_name appends "/name" to the paths of the current task's report and
 * returns the new length of the paths. */
__noinline __u32 copy_name(__u32 at, __u64 dentry)
{
	struct report *report = current_report();
	__u32 length = BPF_CORE_READ((struct dentry *)dentry, d_name.len);
	const unsigned char *name = BPF_CORE_READ((struct dentry *)dentry, d_name.name);

	if (!report || at >= 2 * MAX_PATH - 1 || length > MAX_NAME)
		return at;
	barrier_var(at);
	at &= 2 * MAX_PATH - 1;
	report->paths[at] = '/';
	if (bpf_probe_read_kernel(&report->paths[at + 1], mask_length(length), name))
		return at;
	return at + 1 + length;
}

/* copy_path appends the path of a struct file to the report's paths and
 * returns the new length of the paths; the same length when there is none. A
 * path that does not fit is cut at its end. */
__noinline __u32 copy_path(__u32 at, __u64 file)
{
	struct walk *walk = current_walk();
	__u32 end = at + MAX_PATH - MAX_NAME - 1;
	int count, i;

	count = collect_path(file);
	if (!walk || count < 0)
		return at;
	/* Untrusted paths are reported as well: a person can judge them. */
	count &= WALK_COUNT;
	for (i = MAX_COMPONENTS - 1; i >= 0; i--) {
		if (i >= count || at > end)
			continue;
		at = copy_name(at, walk->dentries[i]);
	}
	return at;
}

#endif
