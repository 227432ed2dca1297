/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Everything that C and Go share: the layout of a revision of tables and of
 * an alert. internal/abi/generate makes the Go side of it; there is no second copy.
 *
 * A revision is what a policy set was compiled to. It is one array map of
 * 32-bit words in lines of 64 bytes; the one pointer in `revisions` switches
 * all operations and all subjects to another revision at once, so a decision
 * can never mix two policy sets. All offsets below are counted in words from
 * the start of the array, and every table starts at a line.
 *
 * An object is a tuple of keys (path and access; address, port and protocol).
 * Each key of an object is looked up by itself and becomes a class, a small
 * number; the classes of a process and of an object's keys are the coordinates
 * of one word in the operation's verdict table.
 */
#ifndef EBPFGUARD_ABI_H
#define EBPFGUARD_ABI_H

enum abi_sizes {
	LINE_WORDS = 16,
	/* Line 0 is a struct revision, line 2 * OPERATION a struct operation and
	 * the line after it its struct tables. */
	OPERATIONS = 16,
	/* A path of more components has no text for a process's program, and may be
	 * undecided as a file's (docs/semantics.md, rule 6). */
	MAX_COMPONENTS = 64,
	/* Components and mounts that are passed on the way up, as many as a path can
	 * have that a system call takes. */
	MAX_WALK = 2048,
	MAX_NAME = 255,
	/* Mounts that a path may cross, and mounts on top of each other on its way. */
	MAX_MOUNTS = 32,
	/* Bytes of each of the paths that an alert has room for. Storage of a
	 * task cannot be larger than 8 KiB on 7.x (mm/slub.c, kmalloc_nolock). */
	MAX_PATH = 2048,
	/* Intervals of ports that a bind to port 0 looks at before it gives up. */
	MAX_PORT_INTERVALS = 64,
	TASK_COMM_LEN = 16,
	/* Bytes for the names of control group, script and program of a task, and
	 * for those of a program that are kept with its file. */
	MAX_TEXT = 1024,
	MAX_LABEL = 255,
	TYPE_LENGTH = 32,
	/* Keys of an object, and sets of flags that an operation's rules name. */
	MAX_KEYS = 4,
	MAX_MASKS = 8,
	/* Programs with `descendants` and lists of processes that one policy set can
	 * tell apart. */
	MAX_MARKS = 64,
	/* Processes that an alert names besides, and bytes of a process's arguments. */
	MAX_ANCESTORS = 8,
	MAX_ARGUMENTS = 1024,
	/* Different times at which the policies of one set end. */
	MAX_DEADLINES = 256,
	/* Groups that are judged when a process sets its supplementary groups. */
	MAX_GROUPS = 1024,
};

enum operation_id {
	OPERATION_SOCKET_BIND = 1,
	OPERATION_SOCKET_CONNECT,
	OPERATION_FILE_OPEN,
	OPERATION_BPRM_CHECK_SECURITY,
	OPERATION_SB_MOUNT,
	OPERATION_SB_REMOUNT,
	OPERATION_SB_UMOUNT,
	OPERATION_TASK_FIX_SETUID,
};

/* The hook that asked: a key of the alert. */
enum hook_id {
	HOOK_SOCKET_BIND = 1,
	HOOK_SOCKET_LISTEN,
	HOOK_SCTP_BIND_CONNECT,
	HOOK_SOCKET_CONNECT,
	HOOK_SOCKET_SENDMSG,
	HOOK_FILE_OPEN,
	HOOK_FILE_RECEIVE,
	HOOK_FILE_PERMISSION,
	HOOK_FILE_TRUNCATE,
	HOOK_FILE_IOCTL,
	HOOK_MMAP_FILE,
	HOOK_FILE_MPROTECT,
	HOOK_PATH_TRUNCATE,
	HOOK_PATH_UNLINK,
	HOOK_PATH_RMDIR,
	HOOK_PATH_MKDIR,
	HOOK_PATH_MKNOD,
	HOOK_PATH_SYMLINK,
	HOOK_PATH_LINK,
	HOOK_PATH_RENAME,
	HOOK_PATH_CHMOD,
	HOOK_PATH_CHOWN,
	HOOK_INODE_SETATTR,
	HOOK_INODE_SETXATTR,
	HOOK_INODE_REMOVEXATTR,
	HOOK_INODE_SET_ACL,
	HOOK_INODE_REMOVE_ACL,
	HOOK_INODE_FILE_SETATTR,
	HOOK_BPRM_CHECK_SECURITY,
	HOOK_BPRM_CREDS_FROM_FILE,
	HOOK_SB_MOUNT,
	HOOK_SB_REMOUNT,
	HOOK_SB_UMOUNT,
	HOOK_SB_PIVOTROOT,
	HOOK_SB_KERN_MOUNT,
	HOOK_MOVE_MOUNT,
	HOOK_TASK_FIX_SETUID,
	HOOK_TASK_FIX_SETGID,
	HOOK_TASK_FIX_SETGROUPS,
	HOOK_CAPSET,
	HOOK_USERNS_CREATE,
	HOOK_SOCKET_RECVMSG,
	HOOK_SOCKET_ACCEPT,
	HOOK_SOCKET_GETSOCKOPT,
	HOOK_MMAP_BACKING_FILE,
	HOOK_BPRM_CREDS_FOR_EXEC,
};

struct line {
	__u32 words[LINE_WORDS];
};

/* An interval table: entries sorted by start, the first starts at 0. */
struct table {
	__u32 at, count;
};

/* A state of an automaton. A state is left by the name of a component. */
struct state {
	__u32 number;
	/* The class of what ends here, and enum state_flags. */
	__u32 accept;
};

enum state_flags {
	CLASS_MASK = 0xffffff,
	/* Whatever follows, class and state stay the same. */
	STATE_ABSORBING = 1 << 24,
	/* A name without an edge of its own may have an edge by its glob class. */
	STATE_WILD = 1 << 25,
	/* ... and that class has to be found out; else it is 0. */
	STATE_GLOBS = 1 << 26,
	/* Lies below /dev/shm. */
	STATE_SHM = 1 << 27,
};

/*
 * An entry of the dictionary, four to a line. It is found in one of two lines:
 * the lower half of its key, and the upper half, both modulo the number of
 * lines, which is a power of two. Free entries have key 0.
 *
 * Keys are hashes (siphash.h) of words, the first of which is a tag << 32 plus
 * a number:
 *   TAG_NAME | state      the name in words of 8 bytes, its length -> state
 *   TAG_GLOB | state      a glob class -> state
 *   TAG_FILE | dimension  device, inode number, its generation -> state
 *   TAG_MARKS             set of marks -> index of the set
 *   TAG_PROCESS | pid     ticks of its start -> its marks, as a struct state
 *   TAG_SUBSUMES            two states -> there, if all names that a file has in
 *                         the second are among those that it has in the first
 *   TAG_BELOW | state     0: the class of all that rules name below a directory in the
 *                         state, as of a file that has all of those names; 1: of what
 *                         they name there by globs
 * A block or character device is known by its number, too: as a file on
 * the device DEVICE_BLOCK or DEVICE_CHARACTER with that inode number.
 * A device is that of the superblock; for the filesystems that there is one of
 * (proc, sysfs) it is their magic number, whatever superblock it is.
 */
struct entry {
	__u32 key[2]; /* the upper half first */
	struct state value;
};

enum entry_tags {
	TAG_NAME = 1,
	TAG_GLOB,
	TAG_FILE,
	TAG_MARKS,
	TAG_SUBSUMES,
	TAG_PROCESS,
	TAG_BELOW,
};

/* No device has these numbers. */
enum device_ids { DEVICE_BLOCK = 0xfffffff1, DEVICE_CHARACTER = 0xfffffff2 };

/* What the start of a process is counted in: nanoseconds. */
enum { TICK = 10000000 };

/* The dimensions in which files are known: what TAG_FILE is combined with.
 * An operation's is its number. */
enum dimension_id { DIMENSION_SUBJECTS = 0 };

struct revision {
	__u32 number;
	__u32 dictionary, dictionary_lines;
	/* Files that policies name: a bit for each inode number modulo the size,
	 * which is a power of two of at least 32 bits. */
	__u32 filter, filter_bits;
	/* Automaton over the bytes of one name. class_of[byte]: four classes to a
	 * word; next state: glob_next[state * glob_columns + class]; the glob
	 * class of a name that ends in a state: glob_accept[state]. Starts in 0. */
	__u32 glob_bytes, glob_next, glob_columns, glob_accept;
	/* A struct subjects of one line. */
	__u32 subjects;
	/* Of each rule a struct rule_counters. */
	__u32 rules;
	/* Rows of the verdict tables, with enum row_flags: a line for each class of
	 * processes, in it a word for each operation. */
	__u32 rows;
	/* The operations that rules concern, a bit for each, and enum active_flags. */
	__u32 concerned;
	/* What a process needs to take the enforcement over, and its CRC-32; not for
	 * the kernel. In every layout (internal/bpf/pins.go) these three are the last
	 * words of the first line. */
	__u32 handover, handover_bytes, handover_check;
};

/* The slots of the map of revisions (maps.h). */
enum slot { SLOT_ACTIVE = 0, SLOT_STAGED = 1 };

/* What is active besides operations (maps.h). */
enum active_flags {
	/* Fork and exec have to add marks: this revision or the next has some. */
	ACTIVE_MARKS = 1 << 30,
	/* Policies end: what a task is holds until a time. */
	ACTIVE_TIMED = 1 << 29,
};

/* A time of CLOCK_BOOTTIME in nanoseconds. */
struct deadline {
	__u32 upper, lower;
};

/*
 * The class of a process:
 *   (((program * mark_sets + marks) * times + time) * user_classes + user) * cgroup_classes + cgroup
 * where time is how many of the deadlines are over, of which there are times with the
 * first. A process that could not be identified:
 *   unknown + time * user_classes + user
 */
struct subjects {
	struct state programs, cgroups;
	/* Classes of programs: of the first n, which unions[0] is,
	 * unions[1 + a * n + b] is the class of what is both, or NO_CLASS. */
	__u32 program_classes, unions;
	/* A program's marks, 2 words a class, the lower first. */
	__u32 program_marks;
	__u32 mark_sets;
	/* Intervals of user ids. */
	struct table users;
	__u32 user_classes, cgroup_classes;
	__u32 unknown;
	__u16 flags; /* enum subjects_flags */
	/* When policies end: struct deadline, sorted, the first at 0, in the lines
	 * that follow this one. */
	__u16 times;
	/* The marks that this revision knows, the lower half first. */
	__u32 marks[2];
};

enum subjects_flags {
	/* A policy selects descendants or processes: marks have to be kept at fork and exec. */
	SUBJECTS_MARKS = 1,
};

enum class_values { NO_CLASS = 0xffffffff };

/* How an operation decides: the verdict is
 * verdicts[(((row * classes[0] + class0) * classes[1] + class1) * classes[2] + class2) * classes[3] + class3]. */
struct operation {
	__u32 verdicts;
	__u32 classes[MAX_KEYS];
	/* Automata: [0] over paths (a mount's target), [1] over the source and
	 * [2] over the type of a mount, each of which is one name. */
	struct state automata[3];
	/* Class of a path that could not be found out. */
	__u32 unknown;
	/* mask_count words: class of a set of flags is the number whose bit i says
	 * that it has any of masks[i]. */
	__u32 masks, mask_count;
	/* Class of a source that could not be read. */
	__u32 unknown_source;
	__u32 reserved;
};

enum row_flags {
	ROW_MASK = 0x7fffffff,
	/* Everything is allowed and no rule is needed for it. */
	ROW_ALLOWED = 0x80000000,
};

/* The interval tables of an operation, by enum table_id. */
struct tables {
	struct table tables[8];
};

enum table_id {
	/* sockets */
	TABLE_PORTS = 0,
	TABLE_ADDRESSES4,
	TABLE_ADDRESSES6, /* of struct interval6 */
	TABLE_PROTOCOLS,  /* class by enum protocol_id, not intervals */
	/* credentials */
	TABLE_FROM_UIDS = 0,
	TABLE_FROM_GIDS,
	TABLE_TO_UIDS,
	TABLE_TO_GIDS,
};

struct interval {
	__u32 start; /* in host byte order */
	__u32 class;
};

struct interval6 {
	__u32 start[4]; /* each in host byte order, most significant first */
	__u32 class;
	__u32 reserved[3];
};

enum port_values {
	/* What has no ports: an interval of ports of its own. */
	NO_PORT = 0x10000,
};

enum id_values {
	/* No user or group: an interval of its own. The kernel's invalid id. */
	NO_ID = 0xffffffff,
};

/* The values agree with policy.Protocol. */
enum protocol_id {
	PROTOCOL_TCP = 1,
	PROTOCOL_UDP,
	PROTOCOL_UDPLITE,
	PROTOCOL_SCTP,
	PROTOCOL_DCCP,
	PROTOCOL_ICMP,
	PROTOCOL_RAW,
	PROTOCOL_OTHER,
};

/* The values agree with policy.Access. */
enum access_flags {
	ACCESS_READ = 1,
	ACCESS_WRITE = 2,
	ACCESS_EXEC = 4,
};

/*
 * What is no file of the system, in the order of policy.FileKinds. Behind the class of
 * a path that could not be found out (struct operation, unknown) follow that of a deleted
 * file without a name in rules, and those of the rules that name a kind, by kind.
 */
enum file_kind {
	FILE_PIPE = 1,
	FILE_MEMFD,
	FILE_SOCKET,
	FILE_DELETED,
	FILE_OTHER,
};

/* What a program is that is started: class is the number itself. */
enum trait_flags {
	TRAIT_FILELESS = 1,
	TRAIT_NO_ARGS = 2,
};

/* The values agree with policy.MountFlags. */
enum mount_flags {
	MOUNT_NEW = 1 << 0,
	MOUNT_BIND = 1 << 1,
	MOUNT_REC = 1 << 2,
	MOUNT_MOVE = 1 << 3,
	MOUNT_SHARED = 1 << 4,
	MOUNT_PRIVATE = 1 << 5,
	MOUNT_SLAVE = 1 << 6,
	MOUNT_UNBINDABLE = 1 << 7,
	MOUNT_PIVOT = 1 << 8,
	MOUNT_RO = 1 << 9,
	MOUNT_RW = 1 << 10,
	MOUNT_NOSUID = 1 << 11,
	MOUNT_SUID = 1 << 12,
	MOUNT_NODEV = 1 << 13,
	MOUNT_DEV = 1 << 14,
	MOUNT_NOEXEC = 1 << 15,
	MOUNT_EXEC = 1 << 16,
	MOUNT_NOATIME = 1 << 17,
	MOUNT_SYNC = 1 << 18,
	MOUNT_DETACH = 1 << 19,
	MOUNT_FORCE = 1 << 20,
};

/* How an identity changes. */
enum method_id {
	METHOD_SETUID = 1,
	METHOD_SETGID,
	METHOD_SETGROUPS,
	METHOD_SETUID_PROGRAM,
	METHOD_SETGID_PROGRAM,
	METHOD_FILE_CAPABILITIES,
	METHOD_CAPSET,
	METHOD_USER_NAMESPACE,
};

/*
 * One word of the verdict table. It is built so that the stricter of two
 * decisions is the greater number (policy.Stricter): first the verdict, then
 * the earlier rule, then the flags.
 */
enum verdict_bits {
	VERDICT_SHIFT = 29,
	RULE_SHIFT = 5,
	RULE_MASK = 0xffffff,
	/* The rule field holds NO_RULE less the rule's index less one; NO_RULE
	 * itself means that no rule decided. */
	NO_RULE = 0xffffff,
	/* The guard could not decide and a deny rule could have applied. */
	FLAG_UNDECIDED = 1 << 3,
	/* The rule names the object (paths, fileless): it concerns a file that is
	 * mapped, too, and not only one that is started. */
	FLAG_NAMES_OBJECT = 1 << 2,
	/* The rule refuses the use of files and sockets that are open already. */
	FLAG_REVOKE = 1 << 1,
	/* The decision does not name port 0 outright: where the object is port 0,
	 * the ports that the kernel may choose count as well. */
	FLAG_ANY_PORT = 1 << 0,
};

/* The values agree with policy.Verdict. */
enum verdict_id {
	VERDICT_ALLOW = 1,
	VERDICT_AUDIT = 2,
	VERDICT_DENY = 3,
	VERDICT_KILL = 4,
};

/* Counters of one operation, summed over the processors. Those of operation 0 have
 * what was sent and lost of struct execution in alerts and alerts_lost. */
struct operation_counters {
	__u64 allowed, audited, denied;
	/* Of the above, decided without knowing enough. */
	__u64 undecided;
	/* Of denied, those whose process was killed. */
	__u64 killed;
	/* audited + denied == alerts + alerts_lost + alerts_limited. */
	__u64 alerts, alerts_lost, alerts_limited;
};

/* What a rule decided otherwise than to allow, a line of its revision. The
 * compiler sets alert_limit, the kernel the rest. */
struct rule_counters {
	/* hits == alerts sent + alerts_lost + alerts_limited */
	__u64 hits, alerts_lost, alerts_limited;
	/* Alerts in the second that began at this time of CLOCK_BOOTTIME. */
	__u64 second, in_second;
	/* Alerts a second at most, 0 for no limit. */
	__u32 alert_limit;
	__u32 reserved[5];
};

/* The last answer on a socket that a process got: revision << 32 | verdict, and all
 * that it depends on (decide_address, socket.h). */
struct socket_cache {
	__u64 begun;
	__u64 address[3]; /* as it came */
	__u64 socket;	  /* its family, type and protocol */
	__u64 automatic;  /* the range of ports, where that counts */
	__u64 answer;
};

/* Operations on sockets. */
enum { SOCKET_CACHES = 2 };

/* What is known of a task since it started its program. */
struct subject {
	/* Revision number and class as last looked up, written as one word. */
	__u64 class;
	/* That class's rows. */
	__u32 rows[OPERATIONS];
	/* Keys of the files of program and script, TAG_FILE; 0 for none. */
	__u64 program, script;
	/* What the task and those that it descends from are and were. */
	__u64 marks;
	/* The class holds until then, if policies end: a deadline. */
	__u64 until;
	struct socket_cache socket_caches[SOCKET_CACHES];
	/* The user that the class is for. */
	__u32 uid;
	__u32 flags; /* enum subject_flags */
	/* The control group whose names the text begins with. */
	__u64 cgroup;
	/* The exec that is on its way: its struct linux_binprm and new memory; the
	 * inode and key of the file that it was asked for. */
	__u64 exec, exec_mm, exec_inode, exec_key;
	/* Whether its names are those of its label (cache/label.h). */
	__u64 exec_labelled;
	/* Bytes of text for each, in this order: names, each a byte of length and
	 * that many bytes, from the root down. A path that is not to be trusted
	 * has none. Those of the exec's file follow at MAX_TEXT, or are in scratch->long_name
	 * if they are longer than MAX_LABEL. */
	__u16 cgroup_length, script_length, program_length, exec_length;
	__u8 text[MAX_TEXT + MAX_LABEL + 1];
};

/* What exec_length is when the name of the file is unknown. */
enum { EXEC_UNKNOWN = 0xffff };

enum subject_flags {
	/* The program could not be found out. */
	SUBJECT_UNKNOWN = 1,
	/* It runs env for its script, which goes on in what env starts (exec.h). */
	SUBJECT_ENV = 2,
};

struct socket_object {
	/* IPv4 as v4-mapped IPv6, in network byte order. */
	__u8 address[16];
	__u16 port;
	/* The ports that the kernel may choose for port 0. */
	__u16 automatic_first, automatic_last;
	__u8 protocol; /* enum protocol_id */
	__u8 family;   /* 4 or 6 */
	__u8 dual_stack;
	/* The address could not be read: fails closed. */
	__u8 unreadable;
	/* IPPROTO_*: what the socket was made with */
	__u16 ip_protocol;
};

struct alert {
	__u64 time; /* CLOCK_BOOTTIME, nanoseconds */
	__u64 cgroup;
	/* When the process was forked, and the inode number of its program. */
	__u64 start, inode;
	__u32 operation;
	__u32 hook;
	__u32 verdict; /* a word of the verdict table */
	__u32 revision;
	__u32 pid, tid, ppid;
	__u32 uid, gid;
	__u32 mnt_ns, pid_ns, net_ns, user_ns;
	__u8 comm[TASK_COMM_LEN];
	/* The object: what of it applies to the operation. */
	struct socket_object socket;
	/* enum access_flags, trait_flags or mount_flags */
	__u32 flags;
	/* task_fix_setuid */
	__u32 from_uid, from_gid, to, method;
	__u8 type[TYPE_LENGTH];
	/* Lengths of the paths that follow: the program's, its parent's, the
	 * object's (a mount's target) and the source of a mount; 0 for none. */
	__u16 binary_length, parent_length, path_length, source_length;
	/* How many struct ancestor follow the paths. */
	__u32 ancestors;
};

/* A process that another one descends from. No other process has both its pid and its
 * start. */
struct ancestor {
	__u64 start, inode;
	__u32 pid;
	__u32 reserved;
};

/* A process started a program. Its path and arguments follow. */
struct execution {
	__u64 time; /* CLOCK_BOOTTIME, as all of these */
	__u64 start, parent_start;
	__u64 inode;
	__u32 pid, ppid, uid;
	__u16 binary_length, arguments_length;
};

_Static_assert(sizeof(struct line) == 64, "a line is 64 bytes");
_Static_assert(sizeof(struct revision) == sizeof(struct line), "one line");
_Static_assert(sizeof(struct operation) == sizeof(struct line), "one line");
_Static_assert(sizeof(struct tables) == sizeof(struct line), "one line");
_Static_assert(sizeof(struct subjects) == sizeof(struct line), "one line");
_Static_assert(sizeof(struct rule_counters) == sizeof(struct line), "one line");
_Static_assert(sizeof(struct entry) == 16, "four to a line");
_Static_assert(sizeof(struct deadline) == 8, "eight to a line");
_Static_assert(sizeof(struct interval) == 8, "eight to a line");
_Static_assert(sizeof(struct interval6) == 32, "two to a line");
_Static_assert(sizeof(struct socket_object) == 28, "no padding");
_Static_assert(sizeof(struct alert) == 192, "no padding");
_Static_assert(sizeof(struct ancestor) == 24, "no padding");
_Static_assert(sizeof(struct execution) == 48, "no padding");

#endif
