/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is measured: a program that asks the kernel for one thing again and
 * again. It has no library and little memory, so that nothing but the kernel
 * takes its time, and so that a fork copies little.
 *
 *   workload NAME TIMES DIRECTORY
 *
 * prints the nanoseconds that it took each time, by CLOCK_MONOTONIC_RAW and
 * without what reading the clock takes; with -icount, QEMU lets an instruction
 * take one nanosecond. It ends with 3 when the kernel refused something.
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
#define SIGCHLD 17
#define EPERM 1
#define EACCES 13
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

static char file3[256], file10[256], place[256], program[256], cold[256];
static char *cold_number;
static struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr = {0x0100007f}};
static struct {
	char bytes[128];
} stat_buffer;
static char data[8];
static long fd;
static char *arguments[2];

static void open_close(const char *path)
{
	long opened = call(__NR_open, (long)path, 0, 0, 0, 0, 0);

	call(__NR_close, opened, 0, 0, 0, 0, 0);
}

static void open3(long i)
{
	open_close(file3);
}
static void open10(long i)
{
	open_close(file10);
}
static void open_cold(long i)
{
	append_number(cold_number, i);
	open_close(cold);
}
static void stat(long i)
{
	call(__NR_stat, (long)file3, (long)&stat_buffer, 0, 0, 0, 0);
}
static void read(long i)
{
	call(__NR_pread64, fd, (long)data, sizeof(data), 0, 0, 0);
}
static void write(long i)
{
	call(__NR_pwrite64, fd, (long)data, sizeof(data), 0, 0, 0);
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

static const struct {
	const char *name;
	void (*run)(long);
	int port;   /* of the address, in network order */
	int socket; /* of this type, opened before */
	int open;   /* the file, before */
	int fresh;  /* every time counts, the first too */
} workloads[] = {
	{"open3", open3},
	{"open10", open10},
	{"open_cold", open_cold, .fresh = 1},
	{"open_warm", open_cold},
	{"stat", stat},
	{"read", read, .open = 1},
	{"write", write, .open = 1},
	{"bind", bind, .port = 0x901f}, /* 8080 */
	{"connect_udp", connect_udp, .port = 0x0900, .socket = SOCK_DGRAM},
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

	if (count != 4)
		return 2;
	for (w = 0; w < sizeof(workloads) / sizeof(*workloads); w++)
		if (equal(workloads[w].name, argument[1]))
			break;
	times = parse(argument[2]);
	append(append(file3, argument[3]), "/file");
	if (w == sizeof(workloads) / sizeof(*workloads) || times > MAX_TIMES)
		return 2;
	append(append(file10, argument[3]), "/d/d/d/d/d/d/d/file");
	append(append(place, argument[3]), "/mount");
	append(append(program, argument[3]), "/true");
	cold_number = append(append(cold, argument[3]), "/cold/");
	arguments[0] = program;
	address.sin_port = workloads[w].port;
	if (workloads[w].run == sendto)
		receive();
	if (workloads[w].socket)
		fd = call(__NR_socket, AF_INET, workloads[w].socket, 0, 0, 0, 0);
	if (workloads[w].open)
		fd = call(__NR_open, (long)file3, O_RDWR, 0, 0, 0, 0);
	/* What a fork copies is to be the same every time. */
	for (long i = 0; i < times; i++)
		((volatile long *)taken)[i] = 1;
	clock = clock_cost();
	warm = workloads[w].run == open_cold ? times : times / 10 + 3;
	for (long i = 0; i < warm && !workloads[w].fresh; i++)
		workloads[w].run(i);
	for (long i = 0; i < times; i++) {
		long start = now();

		workloads[w].run(i);
		taken[i] = now() - start - clock;
	}
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
