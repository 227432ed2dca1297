/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* The name of one component of a path, and the key of a file, as policies name it. */
#ifndef EBPFGUARD_NAME_H
#define EBPFGUARD_NAME_H

#include "path.h"

/* mask_length shows the verifier that a length is at most MAX_NAME. */
static __always_inline __u32 mask_length(__u32 length)
{
	barrier_var(length); /* or clang drops the mask as superfluous */
	return length & MAX_NAME;
}

/* end_name ends the name that scratch->name begins with, of at most MAX_NAME bytes:
 * hash_name() takes whole words. */
static __always_inline void end_name(struct scratch *scratch, __u32 length)
{
	__u64 last = length / 8, left = length % 8 * 8;

	scratch->name_length = length;
	barrier_var(last); /* the verifier has to see one register */
	last &= (MAX_NAME + 1) / 8 - 1;
	scratch->name[last] &= (1ULL << left) - 1;
}

/* read_name_of reads the name of a dentry into scratch->name; 0 when it cannot, also
 * because it is just being renamed. */
static __always_inline __u32 read_name_of(struct scratch *scratch, struct dentry *dentry)
{
	__u32 before = sequence_of(dentry);
	__u32 length = READ(dentry, d_name.len);
	const unsigned char *name = READ(dentry, d_name.name);

	if (!length || length > MAX_NAME || before & 1)
		return 0;
	if (bpf_probe_read_kernel(scratch->name, mask_length(length), name))
		return 0;
	if (sequence_of(dentry) != before)
		return 0;
	end_name(scratch, length);
	return length;
}

__noinline __u32 read_name(scratch_arg given, __u64 dentry)
{
	struct scratch *scratch = scratch_of(given);

	return scratch ? read_name_of(scratch, (void *)dentry) : 0;
}

/* Words of a name that hash_name passes by itself: most names are no longer. */
#define NAME_WORDS 6

/* hash_rest continues scratch->sip by the words of scratch->name that hash_name leaves: a
 * function of its own, which the verifier checks once. */
__noinline int hash_rest(scratch_arg given)
{
	struct scratch *scratch = scratch_of(given);
	__u32 i, length;
	struct sip sip;

	if (!scratch)
		return 0;
	length = scratch->name_length;
	sip = scratch->sip;
	for (i = NAME_WORDS; i < (MAX_NAME + 1) / 8; i++) {
		if (i * 8 >= length)
			break;
		sip_word(&sip, scratch->name[i]);
	}
	scratch->sip = sip;
	return 0;
}

/* hash_name returns the key of scratch->name below a tag. */
static __always_inline __u64 hash_name(struct scratch *scratch, __u64 tag)
{
	__u32 i, length = scratch->name_length;
	struct sip sip;

	sip_start(&sip);
	sip_word(&sip, tag);
	for (i = 0; i < NAME_WORDS; i++) {
		if (i * 8 >= length)
			break;
		sip_word(&sip, scratch->name[i]);
	}
	if (length > NAME_WORDS * 8) {
		scratch->sip = sip;
		hash_rest(hand(scratch));
		sip = scratch->sip;
	}
	sip_word(&sip, length);
	return sip_finish(&sip);
}

/* uuid_of returns what tells a tmpfs from those that had its device number before: its
 * random UUID, of which statfs(2) shows as much (mm/shmem.c, shmem_statfs;
 * include/linux/statfs.h, uuid_to_fsid); 0 where it does not. */
static __always_inline __u32 uuid_of(struct super_block *sb)
{
	__u32 words[4] = {};

	if (!tmpfs_uuid)
		return 0;
	bpf_probe_read_kernel(words, sizeof(words),
			      (void *)sb + bpf_core_field_offset(struct super_block, s_uuid));
	return words[0] ^ words[1] ^ words[2] ^ words[3];
}

/* device_of returns what tells the filesystem of a file from others: its device or, of one that
 * there is just one of, however often it is mounted, its magic number. */
static __always_inline __u64 device_of(struct inode *inode)
{
	struct super_block *sb = READ(inode, i_sb);
	__u64 magic = READ(sb, s_magic);

	return magic == PROC_SUPER_MAGIC || magic == SYSFS_MAGIC ? magic : READ(sb, s_dev);
}

/* file_key returns the key of a file: device, inode number and the generation
 * of the number, so that a number used again is another file. */
__noinline __u64 file_key(__u32 dimension, __u64 number)
{
	struct inode *inode = (void *)number;
	struct super_block *sb = READ(inode, i_sb);
	__u64 magic = READ(sb, s_magic);
	struct sip sip;

	sip_start(&sip);
	sip_word(&sip, (__u64)TAG_FILE << 32 | dimension);
	sip_word(&sip, device_of(inode));
	sip_word(&sip, READ(inode, i_ino));
	/* These count inode numbers up and offer no way to ask for the generation. */
	if (magic == TMPFS_MAGIC)
		sip_word(&sip, uuid_of(sb));
	else if (magic == RAMFS_MAGIC || magic == PROC_SUPER_MAGIC || magic == SYSFS_MAGIC)
		sip_word(&sip, 0);
	else
		sip_word(&sip, READ(inode, i_generation));
	return sip_finish(&sip);
}

#endif
