/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* The mounts of a filesystem, for hooks that do not tell which one is meant. */
#ifndef EBPFGUARD_SUPERBLOCK_H
#define EBPFGUARD_SUPERBLOCK_H

#include "path.h"

/* Since 6.18 the mounts of a superblock are linked otherwise. */
struct mount___since_6_18 {
	struct mount___since_6_18 *mnt_next_for_sb;
} __attribute__((preserve_access_index));
struct super_block___since_6_18 {
	struct mount *s_mounts;
} __attribute__((preserve_access_index));

/* Mounts of a superblock that are looked at. */
#define MAX_SEARCHED 128

/* is_whole reports whether a mount has a place and shows its whole filesystem.
 * Global, so that the verifier checks it once and not for each mount. */
__noinline int is_whole(__u64 number)
{
	struct mount *mount = (void *)number;

	return !(place_of(mount) & CHAIN_NOWHERE) &&
	       BPF_CORE_READ(mount, mnt.mnt_root) == BPF_CORE_READ(mount, mnt.mnt_sb, s_root);
}

#define SEARCHED_AT_ONCE 8

/* whole_among returns the last of the next few mounts of a superblock that is_whole(); 0 for none.
 * Two short loops, each in a function, cost the verifier less than a long one. */
__noinline __u64 whole_among(__u64 number)
{
	struct mount___since_6_18 *mount = (void *)number;
	__u64 found = 0;
	int i;

	if (!bpf_core_field_exists(mount->mnt_next_for_sb))
		return 0;
	for (i = 0; i < SEARCHED_AT_ONCE && mount; i++) {
		if (is_whole((__u64)mount))
			found = (__u64)mount;
		mount = BPF_CORE_READ(mount, mnt_next_for_sb);
	}
	return found;
}

/* mount_behind returns the mount after those. */
__noinline __u64 mount_behind(__u64 number)
{
	struct mount___since_6_18 *mount = (void *)number;
	int i;

	if (!bpf_core_field_exists(mount->mnt_next_for_sb))
		return 0;
	for (i = 0; i < SEARCHED_AT_ONCE && mount; i++)
		mount = BPF_CORE_READ(mount, mnt_next_for_sb);
	return (__u64)mount;
}

/* any_mount returns a mount of a superblock, for hooks that tell none: the
 * first, which in most cases is the only one. */
__noinline __u64 any_mount(__u64 number)
{
	struct super_block *sb = (void *)number;
	struct super_block___since_6_18 *newer = (void *)sb;
	struct mount___since_6_18 *mount = NULL;
	struct list_head *first;
	__u64 next, whole;
	int i;

	if (bpf_core_field_exists(mount->mnt_next_for_sb)) {
		mount = (void *)BPF_CORE_READ(newer, s_mounts);
		if (!mount)
			return 0;
		/* The newest comes first: rather the oldest of those that have a place
		 * and show the whole filesystem. */
		next = (__u64)mount;
		for (i = 0; i < MAX_SEARCHED / SEARCHED_AT_ONCE && next; i++) {
			whole = whole_among(next);
			if (whole)
				mount = (void *)whole;
			next = mount_behind(next);
		}
	} else {
		first = BPF_CORE_READ(sb, s_mounts.next);
		if (!first ||
		    first == (void *)sb + bpf_core_field_offset(struct super_block, s_mounts))
			return 0;
		mount = (void *)first - bpf_core_field_offset(struct mount, mnt_instance);
	}
	return (__u64)mount + bpf_core_field_offset(struct mount, mnt);
}

/* has_other_mounts reports whether a superblock has more than one mount. */
static __always_inline bool has_other_mounts(struct super_block *sb)
{
	struct super_block___since_6_18 *newer = (void *)sb;
	struct mount___since_6_18 *mount = NULL;

	if (bpf_core_field_exists(mount->mnt_next_for_sb)) {
		mount = (void *)BPF_CORE_READ(newer, s_mounts);
		return mount && BPF_CORE_READ(mount, mnt_next_for_sb);
	}
	return BPF_CORE_READ(sb, s_mounts.next) != BPF_CORE_READ(sb, s_mounts.prev);
}

static __always_inline struct mount *mount_of(struct vfsmount *mnt)
{
	return (void *)mnt - bpf_core_field_offset(struct mount, mnt);
}

#endif
