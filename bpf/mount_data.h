/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * The data string of mount(2), which names options beside those of the flags:
 * "ro,size=1m" (fs/fs_context.c, vfs_parse_monolithic_sep and vfs_parse_sb_flag).
 * policy.Mount's WithData is the same in Go; the comparison with random strings keeps
 * the two alike.
 *
 * Which of the two wins depends on the filesystem, and so does the order within the
 * string, as some have escapes of their own. So a mount whose data names an option
 * otherwise than its flags may have it or not. Any option is possible where the string
 * cannot be read: when it chooses its separator (cifs, "sep="), holds control characters
 * (the binary data of old NFS) or is longer than 4,095 bytes, on machines with larger pages.
 */
#ifndef EBPFGUARD_MOUNT_DATA_H
#define EBPFGUARD_MOUNT_DATA_H

#include "scratch.h"

/* Bytes that are looked at, of a page that the kernel copied (fs/namespace.c,
 * copy_mount_options): how many are read at once, and how many passed at once, since the
 * verifier follows each turn of a loop. */
#define DATA_CHUNK 256
#define DATA_BYTES 16
#define DATA_CHUNKS 16

/* Marks beside enum mount_flags: the absence of an option without a flag for it. */
#define MARK_ATIME (1U << 30)
#define MARK_ASYNC (1U << 31)
/* The options of a mount, in pairs of which each mount has one. */
#define OPTION_PAIRS (MOUNT_RO | MOUNT_NOSUID | MOUNT_NODEV | MOUNT_NOEXEC)
#define ALL_OPTIONS \
	(OPTION_PAIRS | OPTION_PAIRS << 1 | MOUNT_NOATIME | MARK_ATIME | MOUNT_SYNC | MARK_ASYNC)
_Static_assert(MOUNT_RW == MOUNT_RO << 1 && MOUNT_SUID == MOUNT_NOSUID << 1 &&
		       MOUNT_DEV == MOUNT_NODEV << 1 && MOUNT_EXEC == MOUNT_NOEXEC << 1,
	       "the other one of a pair is the next bit");

/* WORD(r, o) is that word as a number. */
#define WORD2(a, b) ((a) << 8 | (b))
#define WORD3(a, b, c) (WORD2(a, b) << 8 | (c))
#define WORD4(a, b, c, d) ((__u64)WORD3(a, b, c) << 8 | (d))
#define WORD5(a, b, c, d, e) (WORD4(a, b, c, d) << 8 | (e))
#define WORD6(a, b, c, d, e, f) (WORD5(a, b, c, d, e) << 8 | (f))
#define WORD7(a, b, c, d, e, f, g) (WORD6(a, b, c, d, e, f) << 8 | (g))
#define LONG_WORD 8

/* option_of returns the option that a word names, 0 for another word. */
static __always_inline __u32 option_of(__u64 word)
{
	switch (word) {
	case WORD2('r', 'o'):
		return MOUNT_RO;
	case WORD2('r', 'w'):
		return MOUNT_RW;
	case WORD6('n', 'o', 's', 'u', 'i', 'd'):
		return MOUNT_NOSUID;
	case WORD4('s', 'u', 'i', 'd'):
		return MOUNT_SUID;
	case WORD5('n', 'o', 'd', 'e', 'v'):
		return MOUNT_NODEV;
	case WORD3('d', 'e', 'v'):
		return MOUNT_DEV;
	case WORD6('n', 'o', 'e', 'x', 'e', 'c'):
		return MOUNT_NOEXEC;
	case WORD4('e', 'x', 'e', 'c'):
		return MOUNT_EXEC;
	case WORD7('n', 'o', 'a', 't', 'i', 'm', 'e'):
		return MOUNT_NOATIME;
	case WORD5('a', 't', 'i', 'm', 'e'):
		return MARK_ATIME;
	case WORD4('s', 'y', 'n', 'c'):
		return MOUNT_SYNC;
	case WORD5('a', 's', 'y', 'n', 'c'):
		return MARK_ASYNC;
	}
	return 0;
}

/* pass_byte passes the next byte of the data; false at its end. The state is in
 * scratch, so that the verifier does not follow it through the loops. */
static __always_inline bool pass_byte(struct scratch *scratch, __u8 byte)
{
	struct mount_data *data = &scratch->data;

	if (byte == ',' || !byte || byte == '=') {
		if (data->letters < LONG_WORD)
			data->told |= option_of(data->word);
		data->word = 0;
		data->letters = byte == '=' ? LONG_WORD : 0; /* what follows is a value */
		return byte;
	}
	if (byte < ' ' || byte == 0x7f) {
		data->told = ALL_OPTIONS;
		return false;
	}
	if (data->letters < LONG_WORD) {
		data->word = data->word << 8 | byte;
		data->letters++;
	}
	return true;
}

/* read_data_bytes passes bytes of what was read of the data; false at its end. */
__noinline int read_data_bytes(scratch_arg given, __u64 at)
{
	struct scratch *scratch = scratch_of(given);
	int i;

	if (!scratch || at > DATA_CHUNK - DATA_BYTES)
		return false;
	for (i = 0; i < DATA_BYTES; i++)
		if (!pass_byte(scratch, ((__u8 *)scratch->name)[at + i]))
			return false;
	return true;
}

/* read_data_chunk reads the next bytes of the data and passes them; false at its end. */
__noinline int read_data_chunk(scratch_arg given)
{
	struct scratch *scratch = scratch_of(given);
	long length;
	int i;

	if (!scratch)
		return false;
	length = bpf_probe_read_kernel_str(scratch->name, DATA_CHUNK + 1,
					   (void *)scratch->data.next);
	if (length <= 0) {
		scratch->data.told = ALL_OPTIONS;
		return false;
	}
	for (i = 0; i < DATA_CHUNK; i += DATA_BYTES)
		if (!read_data_bytes(hand(scratch), i))
			return false;
	scratch->data.next += DATA_CHUNK;
	return true;
}

/* options_of_data returns the options that a data string names, all if it cannot be
 * read. */
__noinline __u32 options_of_data(scratch_arg given, __u64 data)
{
	struct scratch *scratch = scratch_of(given);
	char start[8] = {};
	int i;

	if (!data)
		return 0;
	if (!scratch)
		return ALL_OPTIONS;
	bpf_probe_read_kernel_str(start, sizeof(start), (void *)data);
	if (start[0] == 's' && start[1] == 'e' && start[2] == 'p' && start[3] == '=')
		return ALL_OPTIONS;
	scratch->data.next = data;
	scratch->data.word = scratch->data.letters = scratch->data.told = 0;
	for (i = 0; i < DATA_CHUNKS; i++)
		if (!read_data_chunk(hand(scratch)))
			return scratch->data.told;
	return ALL_OPTIONS;
}

#endif
