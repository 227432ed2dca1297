/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* What is kept from one use of a file, a directory or a program to the next. */
#ifndef EBPFGUARD_CACHE_RECORD_H
#define EBPFGUARD_CACHE_RECORD_H

#include "../abi.h"

/* What is kept with an inode for an operation (file.h). */
struct record {
	/* The classes of the file's names. */
	__u64 classes;
	/* What the operation's rules see of whom the verdicts are for (row.h, subject_key). */
	__u64 key;
	/* The verdicts on each enum access_flags, or on starting and loading the
	 * program. */
	__u32 verdicts[3];
	__u32 number; /* of the revision */
	/* Hashes of all that, and of where the file is: as the counts of renames and mounts
	 * tell it, and as its directory's chain does, which outlives those elsewhere. */
	__u64 check, lasting_check;
};

/* What is kept of a directory (directory.h). */
struct directory {
	/* Which it is, and a hash of that and all else for the counts of moved directories and
	 * mounts that it holds for; and for what lies above it, and for the mounts of that. */
	__u64 place, stamp, chain, mounts;
	__u64 counts;
	/* The states of both runs below it. */
	__u64 path, file;
	__u32 flags; /* enum chain_flags of the files in it */
	/* Names above the files in it. */
	__u32 components;
};

/* What is kept with the file of a program that was started (label.h). Only `class`
 * and what it depends on and `stamp` ever change. */
struct label {
	/* Where the file lay when its names were as they are here. */
	__u64 stamp;
	__u64 key; /* TAG_FILE */
	/* The class of the last process that started it, as in struct subject, a
	 * hash of that and of what else it depends on, and until when it holds. */
	__u64 class, check, class_check, until;
	/* The names, as in a subject's text. */
	__u64 length;
	__u8 text[MAX_LABEL + 1];
};

#endif
