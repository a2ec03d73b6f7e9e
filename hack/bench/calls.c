// SPDX-License-Identifier: Apache-2.0
/*
 * What a seccomp filter costs, for seccomp.py.
 *
 *     calls loop BATCHES CALLS    in the container: nanoseconds of an allowed call, one whose argument
 *                                 is checked, and a denied one: each the fastest of BATCHES
 *     calls wait                  in the container: nothing, until it is killed
 *     calls dump PID FILE         outside: the filter of PID into FILE; prints its instructions
 *     calls install FILE ROUNDS   outside: the median nanoseconds of seccomp(2) with that filter, each
 *                                 time in a fresh child
 */
#define _GNU_SOURCE
#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#ifndef PTRACE_SECCOMP_GET_FILTER
#define PTRACE_SECCOMP_GET_FILTER 0x420c
#endif

#define MAX_INSNS 4096

static void die(const char *what)
{
	perror(what);
	exit(1);
}

static uint64_t now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000000000ull + t.tv_nsec;
}

/*
 * getppid: always allowed, so that the kernel need not run the filter. personality: Docker's profile
 * compares its argument, 0xffffffff only asks. nfsservctl: not in the profile, and no kernel has it.
 */
static const struct {
	long number, argument;
} kinds[] = {
	{ SYS_getppid, 0 },
	{ SYS_personality, 0xffffffff },
	{ SYS_nfsservctl, 0 },
};

static double batch(int kind, long calls)
{
	uint64_t start = now();

	for (long i = 0; i < calls; i++)
		syscall(kinds[kind].number, kinds[kind].argument);
	return (double)(now() - start) / calls;
}

static void loop(long batches, long calls)
{
	double fastest[3] = { 1e9, 1e9, 1e9 };

	if (syscall(SYS_getppid) < 0 || syscall(SYS_personality, 0xffffffff) < 0)
		die("an allowed call");
	if (syscall(SYS_nfsservctl, 0) != -1)
		die("a denied call");
	/* EPERM from the filter, ENOSYS from the kernel. */
	fprintf(stderr, "nfsservctl: %s\n", strerrorname_np(errno));
	for (long i = 0; i < batches; i++)
		for (int kind = 0; kind < 3; kind++) {
			double one = batch(kind, calls);

			if (one < fastest[kind])
				fastest[kind] = one;
		}
	printf("%.2f %.2f %.2f\n", fastest[0], fastest[1], fastest[2]);
}

static void dump(pid_t pid, const char *path)
{
	struct sock_filter insns[MAX_INSNS];
	FILE *file = fopen(path, "w");
	long count;

	if (!file)
		die(path);
	if (ptrace(PTRACE_ATTACH, pid, 0, 0) || waitpid(pid, NULL, __WALL) < 0)
		die("PTRACE_ATTACH");
	count = ptrace(PTRACE_SECCOMP_GET_FILTER, pid, 0, insns);
	if (count < 0)
		die("PTRACE_SECCOMP_GET_FILTER");
	ptrace(PTRACE_DETACH, pid, 0, 0);
	fwrite(insns, sizeof(*insns), count, file);
	fclose(file);
	printf("%ld\n", count);
}

static uint64_t install_once(struct sock_fprog *program)
{
	uint64_t took = 0;
	int fds[2], status;
	pid_t pid;

	if (pipe(fds))
		die("pipe");
	pid = fork();
	if (pid < 0)
		die("fork");
	if (pid == 0) {
		prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
		took = now();
		if (syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_SPEC_ALLOW, program))
			_exit(1);
		took = now() - took;
		_exit(write(fds[1], &took, sizeof(took)) != sizeof(took));
	}
	close(fds[1]);
	if (read(fds[0], &took, sizeof(took)) != sizeof(took))
		die("seccomp");
	close(fds[0]);
	waitpid(pid, &status, 0);
	return took;
}

static int compare(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

static void install(const char *path, long rounds)
{
	struct sock_filter insns[MAX_INSNS];
	uint64_t *times = calloc(rounds, sizeof(*times));
	FILE *file = fopen(path, "r");
	struct sock_fprog program = { .filter = insns };

	if (!file || !times)
		die(path);
	program.len = fread(insns, sizeof(*insns), MAX_INSNS, file);
	for (long i = 0; i < rounds; i++)
		times[i] = install_once(&program);
	qsort(times, rounds, sizeof(*times), compare);
	printf("%llu\n", (unsigned long long)times[rounds / 2]);
}

int main(int argc, char **argv)
{
	if (argc == 4 && !strcmp(argv[1], "loop"))
		loop(atol(argv[2]), atol(argv[3]));
	else if (argc == 2 && !strcmp(argv[1], "wait"))
		for (;;)
			pause();
	else if (argc == 4 && !strcmp(argv[1], "dump"))
		dump(atoi(argv[2]), argv[3]);
	else if (argc == 4 && !strcmp(argv[1], "install"))
		install(argv[2], atol(argv[3]));
	else
		return 2;
	return 0;
}
