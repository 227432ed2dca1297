/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is measured: a program that asks the kernel for one thing again and
 * again. It has no library and little memory, so that nothing but the kernel
 * takes its time, and so that a fork copies little.
 *
 *   workload NAME TIMES DIRECTORY ELSEWHERE
 *
 * prints the nanoseconds that it took each time, by CLOCK_MONOTONIC_RAW and
 * without what reading the clock takes; with -icount, QEMU lets an instruction
 * take one nanosecond. The files that it uses are in the directory; what it
 * changes between two of them is elsewhere, and does not count. It ends with 3
 * when the kernel refused something, with 4 when that change failed.
 */
#include <linux/in.h>
#include <linux/time.h>
#include <linux/socket.h>
#include <asm/unistd.h>

#ifndef __x86_64__
#error "the system calls are those of x86-64"
#endif

#define AF_INET 2
#define SOCK_STREAM 1
#define SOCK_DGRAM 2
#define SOL_SOCKET 1
#define SO_RCVBUF 8
#define O_RDWR 2
#define O_CREAT 0100
#define SIGCHLD 17
#define EPERM 1
#define EACCES 13
#define PROT_READ 1
#define PROT_WRITE 2
#define PROT_EXEC 4
#define MAP_SHARED 1
#define MAP_PRIVATE 2
#define MAP_ANONYMOUS 0x20
#define MNT_DETACH 2
#define PAGE 4096
#define MAX_TIMES 10000

static int refused;

static long call(long number, long a, long b, long c, long d, long e, long f)
{
	register long r10 __asm__("r10") = d;
	register long r8 __asm__("r8") = e;
	register long r9 __asm__("r9") = f;
	long result;

	__asm__ volatile("syscall"
			 : "=a"(result)
			 : "a"(number), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9)
			 : "rcx", "r11", "memory");
	if (result == -EPERM || result == -EACCES)
		refused = 1;
	return result;
}

/* done ends the program when what does not count failed: the figure would be of
 * something else. */
static long done(long result)
{
	if (result < 0)
		call(__NR_exit_group, 4, 0, 0, 0, 0, 0);
	return result;
}

/* The compiler may call this one. */
void *memset(void *at, int value, unsigned long length)
{
	for (unsigned long i = 0; i < length; i++)
		((volatile char *)at)[i] = value;
	return at;
}

static int equal(const char *a, const char *b)
{
	while (*a && *a == *b)
		a++, b++;
	return *a == *b;
}

static char *append(char *to, const char *text)
{
	while ((*to = *text))
		to++, text++;
	return to;
}

static char *append_number(char *to, long number)
{
	char digits[24];
	int n = 0;

	do
		digits[n++] = '0' + number % 10;
	while (number /= 10);
	while (n)
		*to++ = digits[--n];
	*to = 0;
	return to;
}

static long parse(const char *text)
{
	long number = 0;

	for (; *text; text++)
		number = number * 10 + *text - '0';
	return number;
}

static long now(void)
{
	struct timespec t;

	call(__NR_clock_gettime, 4 /* CLOCK_MONOTONIC_RAW */, (long)&t, 0, 0, 0, 0);
	return t.tv_sec * 1000000000L + t.tv_nsec;
}

/* What is used is in the directory. */
static char file[256], victim[256], name[256], program[256], cold[256], dirs[256];
static char *cold_number, *dirs_number;
/* What is changed between is elsewhere. */
static char other[2][256], place[256], place_moved[256], place_file[256];
static struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr = {0x0100007f}};
static struct {
	char bytes[128];
} stat_buffer;
static char data[8];
static long fd, mapped;
static int pipe_fds[2];
static long *shared; /* with children */
static char *arguments[2];

static void open_close(const char *path)
{
	long opened = call(__NR_open, (long)path, 0, 0, 0, 0, 0);

	call(__NR_close, opened, 0, 0, 0, 0, 0);
}

static void open_file(long i)
{
	open_close(file);
}
static void open_cold(long i)
{
	append_number(cold_number, i);
	open_close(cold);
}
static void open_dir(long i)
{
	append(append_number(dirs_number, i), "/file");
	open_close(dirs);
}
static void open_dir_again(long i)
{
	append(append_number(dirs_number, i), "/other");
	open_close(dirs);
}
/* open_first is what it costs a process that did nothing before, which tells it. */
static void open_first(long i)
{
	long pid = call(__NR_fork, 0, 0, 0, 0, 0, 0);

	if (!pid) {
		long start = now();

		open_close(file);
		*shared = now() - start;
		call(__NR_exit_group, 0, 0, 0, 0, 0, 0);
	}
	call(__NR_wait4, pid, 0, 0, 0, 0, 0);
}
static void stat(long i)
{
	call(__NR_stat, (long)file, (long)&stat_buffer, 0, 0, 0, 0);
}
static void read(long i)
{
	call(__NR_pread64, fd, (long)data, sizeof(data), 0, 0, 0);
}
static void write(long i)
{
	call(__NR_pwrite64, fd, (long)data, sizeof(data), 0, 0, 0);
}
static void pipe(long i)
{
	call(__NR_write, pipe_fds[1], (long)data, sizeof(data), 0, 0, 0);
	call(__NR_read, pipe_fds[0], (long)data, sizeof(data), 0, 0, 0);
}
static void mkdir(long i)
{
	call(__NR_mkdir, (long)name, 0755, 0, 0, 0, 0);
	call(__NR_rmdir, (long)name, 0, 0, 0, 0, 0);
}
static void create(long i)
{
	long created = call(__NR_open, (long)name, O_RDWR | O_CREAT, 0644, 0, 0, 0);

	call(__NR_close, created, 0, 0, 0, 0, 0);
	call(__NR_unlink, (long)name, 0, 0, 0, 0, 0);
}
static void rename(long i)
{
	call(__NR_rename, (long)victim, (long)name, 0, 0, 0, 0);
}
static void rename_back(long i)
{
	if (call(__NR_access, (long)victim, 0, 0, 0, 0, 0))
		done(call(__NR_rename, (long)name, (long)victim, 0, 0, 0, 0));
}
static void link(long i)
{
	call(__NR_link, (long)victim, (long)name, 0, 0, 0, 0);
}
static void unlink(long i)
{
	call(__NR_unlink, (long)name, 0, 0, 0, 0, 0);
}
static void chmod(long i)
{
	call(__NR_chmod, (long)victim, 0600 + i % 2, 0, 0, 0, 0);
}
static void utimes(long i)
{
	call(__NR_utimes, (long)victim, 0, 0, 0, 0, 0);
}
static void truncate(long i)
{
	call(__NR_truncate, (long)victim, i % 2, 0, 0, 0, 0);
}
static void mmap(long i)
{
	mapped = call(__NR_mmap, 0, PAGE, PROT_READ | PROT_EXEC, MAP_PRIVATE, fd, 0);
}
static void munmap(long i)
{
	if (mapped)
		done(call(__NR_munmap, mapped, PAGE, 0, 0, 0, 0));
}
static void mprotect(long i)
{
	call(__NR_mprotect, mapped, PAGE, PROT_READ | PROT_EXEC, 0, 0, 0);
}
static void remap(long i)
{
	munmap(i);
	mapped = done(call(__NR_mmap, 0, PAGE, PROT_READ, MAP_PRIVATE, fd, 0));
}
static void bind(long i)
{
	long s = call(__NR_socket, AF_INET, SOCK_STREAM, 0, 0, 0, 0);

	call(__NR_bind, s, (long)&address, sizeof(address), 0, 0, 0);
	call(__NR_close, s, 0, 0, 0, 0, 0);
}
static void connect_udp(long i)
{
	call(__NR_connect, fd, (long)&address, sizeof(address), 0, 0, 0);
}
/* The next of several addresses and ports. */
static void turn2(long i)
{
	address.sin_port ^= 0x0100;
}
static void turn8(long i)
{
	address.sin_addr.s_addr = 0x0100007f + (i % 8 << 24);
}
static void connect_tcp(long i)
{
	long s = call(__NR_socket, AF_INET, SOCK_STREAM, 0, 0, 0, 0);

	call(__NR_connect, s, (long)&address, sizeof(address), 0, 0, 0);
	call(__NR_close, s, 0, 0, 0, 0, 0);
}
static void sendto(long i)
{
	call(__NR_sendto, fd, (long)data, sizeof(data), 0, (long)&address, sizeof(address));
}
static void fork_exec(long i)
{
	long pid = call(__NR_fork, 0, 0, 0, 0, 0, 0);
	int status = 0;

	if (!pid) {
		call(__NR_execve, (long)program, (long)arguments, 0, 0, 0, 0);
		call(__NR_exit_group, 1, 0, 0, 0, 0, 0);
	}
	call(__NR_wait4, pid, (long)&status, 0, 0, 0, 0);
	if (status == 1 << 8) /* of what is executed it is 2 */
		refused = 1;
}
static void fork_only(long i)
{
	long pid = call(__NR_fork, 0, 0, 0, 0, 0, 0);

	if (!pid)
		call(__NR_exit_group, 0, 0, 0, 0, 0, 0);
	call(__NR_wait4, pid, 0, 0, 0, 0, 0);
}
static void setuid(long i)
{
	call(__NR_setuid, 0, 0, 0, 0, 0, 0);
}
static void mount(long i)
{
	call(__NR_mount, (long)"tmpfs", (long)place, (long)"tmpfs", 0, 0, 0);
	call(__NR_umount2, (long)place, 0, 0, 0, 0, 0);
}

/* What happens between two opens, elsewhere. */
static void rename_other(long i)
{
	if (call(__NR_rename, (long)other[0], (long)other[1], 0, 0, 0, 0))
		done(call(__NR_rename, (long)other[1], (long)other[0], 0, 0, 0, 0));
}
static void rename_directory(long i)
{
	done(call(__NR_rename, (long)place, (long)place_moved, 0, 0, 0, 0));
	done(call(__NR_rename, (long)place_moved, (long)place, 0, 0, 0, 0));
}
static void mount_other(long i)
{
	done(call(__NR_mount, (long)"tmpfs", (long)place, (long)"tmpfs", 0, 0, 0));
	done(call(__NR_umount2, (long)place, 0, 0, 0, 0, 0));
}
static void umount_lazily(long i)
{
	long kept;

	done(call(__NR_mount, (long)"tmpfs", (long)place, (long)"tmpfs", 0, 0, 0));
	kept = done(call(__NR_open, (long)place_file, O_RDWR | O_CREAT, 0644, 0, 0, 0));
	done(call(__NR_umount2, (long)place, MNT_DETACH, 0, 0, 0, 0));
	done(call(__NR_close, kept, 0, 0, 0, 0, 0));
}
static void change_user(long i)
{
	done(call(__NR_setresuid, i % 2 ? 1000 : 0, -1, -1, 0, 0, 0));
}

static const struct {
	const char *name;
	void (*run)(long);
	void (*before)(long); /* each time; does not count */
	void (*first)(long);  /* all times before the first one; does not count */
	int depth;	      /* of the file, where it is not 3 */
	int port;	      /* of the address, in network order */
	int socket;	      /* of this type, opened before */
	int open;	      /* the file, before */
	int fresh;	      /* every time counts, the first too */
} workloads[] = {
	{"open3", open_file},
	{"open10", open_file, .depth = 10},
	{"open40", open_file, .depth = 40},
	{"open3_rename", open_file, rename_other},
	{"open10_rename", open_file, rename_other, .depth = 10},
	{"open40_rename", open_file, rename_other, .depth = 40},
	{"open3_dir", open_file, rename_directory},
	{"open10_dir", open_file, rename_directory, .depth = 10},
	{"open40_dir", open_file, rename_directory, .depth = 40},
	{"open3_mount", open_file, mount_other},
	{"open10_mount", open_file, mount_other, .depth = 10},
	{"open40_mount", open_file, mount_other, .depth = 40},
	{"open3_lazy", open_file, umount_lazily},
	{"open3_uid", open_file, change_user},
	{"open3_first", open_first},
	{"open_cold", open_cold, .fresh = 1},
	{"open_warm", open_cold, .first = open_cold},
	{"open_dirs", open_dir, .fresh = 1},
	{"open_many", open_dir_again, .first = open_dir, .fresh = 1},
	{"stat", stat},
	{"read", read, .open = 1},
	{"write", write, .open = 1},
	{"pipe", pipe},
	{"mkdir", mkdir},
	{"create", create},
	{"rename", rename, rename_back},
	{"link", link, unlink},
	{"chmod", chmod},
	{"utimes", utimes},
	{"truncate", truncate},
	{"mmap", mmap, munmap, .open = 1},
	{"mprotect", mprotect, remap, .open = 1},
	{"bind", bind, .port = 0x901f}, /* 8080 */
	{"bind2", bind, turn2, .port = 0x901f},
	{"connect_udp", connect_udp, .port = 0x0900, .socket = SOCK_DGRAM},
	{"connect_udp2", connect_udp, turn2, .port = 0x0900, .socket = SOCK_DGRAM},
	{"connect_udp8", connect_udp, turn8, .port = 0x0900, .socket = SOCK_DGRAM},
	{"connect_tcp", connect_tcp, .port = 0x0900},
	{"sendto", sendto, .port = 0x0700, .socket = SOCK_DGRAM},
	{"fork_exec", fork_exec},
	{"fork", fork_only},
	{"setuid", setuid},
	{"mount", mount},
};

/* receive makes a socket that sendto sends to, which takes next to nothing. */
static void receive(void)
{
	long s = call(__NR_socket, AF_INET, SOCK_DGRAM, 0, 0, 0, 0);
	int size = 1;

	call(__NR_setsockopt, s, SOL_SOCKET, SO_RCVBUF, (long)&size, sizeof(size), 0);
	call(__NR_bind, s, (long)&address, sizeof(address), 0, 0, 0);
}

/* clock_cost is what reading the clock adds to a measurement. */
static long clock_cost(void)
{
	long least = 1L << 40;

	for (int i = 0; i < 100; i++) {
		long start = now(), taken = now() - start;

		if (taken < least)
			least = taken;
	}
	return least;
}

static int run(int count, char **argument)
{
	static long taken[MAX_TIMES];
	static char out[24 * MAX_TIMES];
	long times, warm, clock;
	char *end = out;
	unsigned long w;

	if (count != 5)
		return 2;
	for (w = 0; w < sizeof(workloads) / sizeof(*workloads); w++)
		if (equal(workloads[w].name, argument[1]))
			break;
	times = parse(argument[2]);
	if (w == sizeof(workloads) / sizeof(*workloads) || times > MAX_TIMES)
		return 2;
	end = append(file, argument[3]);
	for (int depth = 3; depth < workloads[w].depth; depth++)
		end = append(end, "/d");
	append(end, "/file");
	append(append(victim, argument[3]), "/names/file");
	append(append(name, argument[3]), "/names/name");
	append(append(program, argument[3]), "/true");
	cold_number = append(append(cold, argument[3]), "/cold/");
	dirs_number = append(append(dirs, argument[3]), "/dirs/");
	append(append(other[0], argument[4]), "/other");
	append(append(other[1], argument[4]), "/another");
	append(append(place, argument[4]), "/mount");
	append(append(place_moved, argument[4]), "/moved");
	append(append(place_file, place), "/file");
	end = out;
	arguments[0] = program;
	address.sin_port = workloads[w].port;
	if (workloads[w].run == sendto)
		receive();
	if (workloads[w].run == pipe)
		done(call(__NR_pipe, (long)pipe_fds, 0, 0, 0, 0, 0));
	if (workloads[w].run == open_first)
		shared = (long *)done(call(__NR_mmap, 0, PAGE, PROT_READ | PROT_WRITE,
					   MAP_SHARED | MAP_ANONYMOUS, -1, 0));
	if (workloads[w].socket)
		fd = call(__NR_socket, AF_INET, workloads[w].socket, 0, 0, 0, 0);
	if (workloads[w].open)
		fd = call(__NR_open, (long)file, O_RDWR, 0, 0, 0, 0);
	/* What a fork copies is to be the same every time. */
	for (long i = 0; i < times; i++)
		((volatile long *)taken)[i] = 1;
	clock = clock_cost();
	warm = workloads[w].fresh ? 0 : times / 10 + 3;
	for (long i = 0; i < times && workloads[w].first; i++)
		workloads[w].first(i);
	for (long i = 0; i < warm; i++) {
		if (workloads[w].before)
			workloads[w].before(i);
		workloads[w].run(i);
	}
	for (long i = 0; i < times; i++) {
		long start;

		if (workloads[w].before)
			workloads[w].before(i);
		start = now();
		workloads[w].run(i);
		taken[i] = (shared ? *shared : now() - start) - clock;
	}
	if (workloads[w].before)
		workloads[w].before(times); /* undoes the last one */
	for (long i = 0; i < times; i++) {
		end = append_number(end, taken[i] > 0 ? taken[i] : 0);
		*end++ = '\n';
	}
	call(__NR_write, 1, (long)out, end - out, 0, 0, 0);
	return refused ? 3 : 0;
}

__attribute__((used)) static void begin(long *stack)
{
	call(__NR_exit_group, run(*stack, (char **)(stack + 1)), 0, 0, 0, 0, 0);
}

__asm__(".globl _start\n_start:\n\tmov %rsp, %rdi\n\tand $-16, %rsp\n\tcall begin\n");
