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
	/* Bytes for those that a fork copies, and for those of a program that is being
	 * started: a pod's control group has some 200, most programs less than 40. */
	SHORT_TEXT = 320,
	SHORT_LABEL = 127,
	TYPE_LENGTH = 32,
	/* Keys of an object, and sets of flags that an operation's rules name. */
	MAX_KEYS = 4,
	MAX_MASKS = 8,
	/* Programs with `descendants` and lists of processes that one policy set can
	 * tell apart. */
	MAX_MARKS = 1024,
	MARK_WORDS = MAX_MARKS / 64,
	/* Processes that an alert names besides, and bytes of a process's arguments. */
	MAX_ANCESTORS = 8,
	MAX_ARGUMENTS = 1024,
	/* Different times at which the policies of one set end. */
	MAX_DEADLINES = 1024,
	/* Bits of each filter of named files that lies in memory (cache/words.h). */
	NAMED_BITS = 1 << 14,
	/* By how much files with the same number on devices in turn are apart in a filter. */
	DEVICE_STEP = 0x3779b1,
	/* Groups that are judged when a process sets its supplementary groups. */
	MAX_GROUPS = 1024,
	/* Words of 64 bits, eight to a line, that hold the atoms of a set (struct subjects). */
	ATOM_WORDS = 160,
	/* Nodes that a verdict may take (struct node). */
	MAX_NODES = 65536,
	/* Lists of selectors of one policy set that one container can be in. */
	MAX_CONTAINER_SELECTORS = 127,
	/* Containers that there can be, and bytes of a struct container_text. */
	MAX_CONTAINERS = 1 << 16,
	CONTAINER_TEXT_BYTES = 240,
	/* Random numbers of the hash of places (cache/place.h). */
	PLACE_KEYS = 26,
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
 *   TAG_PROCESS | pid     ticks of its start -> its marks: where a list of struct atom_word is, and its length
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
	 * which is a power of two of at least 32 bits; and as many for the number with
	 * the device (cache/words.h, may_be_named). */
	__u32 filter, filter_bits, identities;
	/* Automaton over the bytes of one name. class_of[byte]: four classes to a
	 * word; next state: glob_next[state * glob_columns + class]; the glob
	 * class of a name that ends in a state: glob_accept[state]. Starts in 0. */
	__u32 glob_bytes, glob_next, glob_columns, glob_accept;
	/* A struct subjects of one line. */
	__u32 subjects;
	/* Of each rule a struct rule_counters. */
	__u32 rules;
	/* The operations that rules concern, a bit for each, and enum active_flags. */
	__u32 concerned;
	/* What a process needs to take the enforcement over, and its CRC-32; not for
	 * the kernel. In every layout (internal/bpf/pins.go) these three are the last
	 * words of the first line. */
	__u32 handover, handover_bytes, handover_check;
};

/* The slots of the map of revisions (maps.h). */
enum slot { SLOT_ACTIVE = 0, SLOT_STAGED = 1 };

/* The words of the map `active` (maps.h). */
enum active_words {
	ACTIVE_REVISION = 0,
	/* How many containers are known. */
	ACTIVE_CONTAINERS,
	/* How often what is known of one has changed. */
	ACTIVE_CHANGES,
	ACTIVE_WORDS,
};

/* What is active besides operations (maps.h). */
enum active_flags {
	/* Fork and exec have to add marks: this revision or the next has some. */
	ACTIVE_MARKS = 1 << 30,
	/* Policies end: what a task is holds until a time. */
	ACTIVE_TIMED = 1 << 29,
	/* Some subject names users: what a task is holds for its user only. */
	ACTIVE_USERS = 1 << 28,
	/* From this bit on, one for each operation: no process is refused anything, and nothing
	 * is counted, where the object is none that policies name. */
	ACTIVE_OTHERS_SHIFT = 16,
};

/* A time of CLOCK_BOOTTIME in nanoseconds. */
struct deadline {
	__u32 upper, lower;
};

/*
 * Who a policy is about is an atom: one way in which its subject can match, such as by
 * the exact path of a program, or as a descendant. A process is the set of the atoms that
 * are true of it, a bit for each. An atom is true if it is in force at the time and in
 * each plane: that plane's selector is one of the process's, or the atom has none of the
 * kind. So policies add bits, and never a product of all the kinds of selectors.
 *
 * Atom 0 is always true. The subjects of policies for everyone are that.
 */
struct subjects {
	struct state programs, cgroups;
	/* By class of program, of cgroup and of user, and by mark: a struct table of the struct
	 * atom_word that are true in their plane. By mark there are two after each other, of
	 * `marks` lists each: those of PLANE_DESCENT, then those of PLANE_PROCESS. */
	__u32 program_atoms, cgroup_atoms, user_atoms, mark_atoms;
	/* Sets of atoms of `lines` lines each, by enum plane. */
	__u32 planes;
	/* Intervals of user ids. */
	struct table users;
	/* A program's marks: by class a struct table of struct atom_word. */
	__u32 program_marks;
	/* The revision knows no mark but lower ones. */
	__u32 marks;
	/* By enum container_list a struct table of the struct atom_word that are true in their plane. */
	__u32 container_atoms;
	__u16 lines, user_classes;
	__u16 flags; /* enum subjects_flags */
	/* When policies end: struct deadline, sorted, the first at 0, in the lines
	 * that follow this one. */
	__u16 times;
};

enum plane {
	/* The atoms without a selector of the kind. */
	PLANE_PROGRAM,
	PLANE_CGROUP,
	PLANE_USER,
	PLANE_DESCENT,
	PLANE_PROCESS,
	PLANE_CONTAINER,
	/* Of each operation two sets: the atoms that its rules ask for, and of these the ones by
	 * which it can refuse or report something. */
	PLANE_OPERATIONS,
	/* The atoms in force after each of the deadlines. */
	PLANE_TIMES = PLANE_OPERATIONS + 2 * OPERATIONS,
};

/* Atoms, or marks, in one of the words. */
struct atom_word {
	__u32 word, reserved;
	__u32 lower, upper;
};

enum subjects_flags {
	/* A policy selects descendants or processes: marks have to be kept at fork and exec. */
	SUBJECTS_MARKS = 1,
	/* A policy selects containers or the host. */
	SUBJECTS_CONTAINERS = 2,
};

/* The lists of container_atoms. */
enum container_list {
	CONTAINER_LIST_HOST = 0,
	CONTAINER_LIST_UNIDENTIFIED,
	/* One for each list of selectors, of which struct container_class tells. */
	CONTAINER_LIST_SELECTORS,
};

/* Numbers of containers that are none. */
enum container_number {
	CONTAINER_HOST = 0,
	/* Of which nobody has told. */
	CONTAINER_UNIDENTIFIED = 0xffffffff,
};

/* What selects a container in a revision: indices of lists of selectors. */
struct container_class {
	__u16 count;
	__u16 selectors[MAX_CONTAINER_SELECTORS];
};

/* A piece of what is known of a container, for a later process: JSON, filled up with zeros. */
struct container_text_key {
	__u32 number, part;
};

struct container_text {
	__u8 text[CONTAINER_TEXT_BYTES];
};

/*
 * Where a verdict depends on who asks, the word of the table is the number of a node, which
 * leads to the verdict or to another node. Numbers are less than any verdict, and at least 1.
 * The first word of a node is its kind and a number.
 */
struct node {
	__u32 what;
	__u32 then, otherwise;
	__u32 reserved;
};

enum node_kind {
	/* `then` if an atom is true. */
	NODE_ATOM = 0,
	/* `then` if any of the atoms in a word is true that the node behind this one tells (in
	 * then and otherwise: the lower half and the upper). */
	NODE_ANY = 1 << 29,
	/* For an unknown process: word number time * user_classes + user of a list that begins at
	 * `then`. The number says nothing. */
	NODE_UNKNOWN = 2 << 29,
	NODE_MASK = (1 << 29) - 1,
};

/* How an operation decides: two words for each of its cells, one for processes and one for
 * those that could not be identified, each a verdict or the number of a node. The cell is
 * ((class0 * classes[1] + class1) * classes[2] + class2) * classes[3] + class3. */
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
	/* Of struct node; 0 where no verdict depends on who asks. */
	__u32 nodes;
};

/* What a process is to an operation. */
enum row_flags {
	/* Which could not be identified. */
	ROW_UNKNOWN = 1,
	/* Some verdicts depend on who asks. */
	ROW_DEPENDS = 2,
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
	/* Only delegated policies are so strict. For files only. */
	FLAG_DELEGATED = 1 << 4,
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

/* What is known of a task since it started its program. */
struct subject {
	/* The class as last looked up, and whether it is one of an unknown process: number of the
	 * revision << 32 | (time * user_classes + user) << 1 | ROW_UNKNOWN, written as one word. */
	__u64 class;
	/* A hash of the class, and of what each operation's rules see of it: 0 for nothing that
	 * could be refused, else with enum row_flags in the lowest bits. */
	__u64 check;
	__u64 rows[OPERATIONS];
	/* Keys of the files of program and script, TAG_FILE; 0 for none. */
	__u64 program, script;
	/* What the task and those that it descends from are and were. */
	__u64 marks[MARK_WORDS];
	/* The class holds until then, if policies end: a deadline. */
	__u64 until;
	/* The user that the class is for. */
	__u32 uid;
	__u32 flags; /* enum subject_flags */
	/* How often the task began or ended to write its names; odd while it does. */
	__u32 writes;
	__u32 reserved;
	/* The containers that it was in first and last, by number (enum container_number); of one of
	 * which nobody has told only the last. */
	__u32 first_container, last_container;
	/* The control group whose names the text begins with. */
	__u64 cgroup;
	/* Which names in long_texts are meant: when these were stored. */
	__u64 stored;
	/* The exec that is on its way: its struct linux_binprm and new memory; the
	 * inode and key of the file that it was asked for. */
	__u64 exec, exec_mm, exec_inode, exec_key;
	/* Whether its names are those of its label (cache/label.h). */
	__u64 exec_labelled;
	/* Bytes of text for each, in this order: names, each a byte of length and
	 * that many bytes, from the root down. A path that is not to be trusted
	 * has none. They are here, or in long_texts if they are longer than SHORT_TEXT. Those of
	 * the exec's file follow at SHORT_TEXT, or are in identity->long_name if they are longer
	 * than SHORT_LABEL. */
	__u16 cgroup_length, script_length, program_length, exec_length;
	__u8 text[SHORT_TEXT + SHORT_LABEL + 1];
};

/* What a process is in a revision: its class as in struct subject, and the atoms that are
 * true of it. */
struct class
{
	__u64 class;
	__u64 check;
	__u64 rows[OPERATIONS], rows_check; /* a hash of check and rows */
	__u64 atoms[ATOM_WORDS];
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
	/* As in struct subject. */
	__u32 first_container, last_container;
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
_Static_assert(sizeof(struct node) == 16, "four to a line");
_Static_assert(sizeof(struct atom_word) == 16, "four to a line");
_Static_assert(sizeof(struct interval) == 8, "eight to a line");
_Static_assert(sizeof(struct interval6) == 32, "two to a line");
_Static_assert(sizeof(struct socket_object) == 28, "no padding");
_Static_assert(sizeof(struct alert) == 200, "no padding");
_Static_assert(sizeof(struct ancestor) == 24, "no padding");
_Static_assert(sizeof(struct execution) == 48, "no padding");

#endif
