/* SPDX-License-Identifier: Apache-2.0
 *
 * Runs commands for bench.py and says what each one cost.
 *
 * Small and static for a reason: ru_maxrss of a command starts at the resident size of the program that
 * forked it, so a launcher of 10 MB would hide every runtime's own size. It is a child subreaper: the init of
 * a detached container comes back here, and its CPU time is counted for every runtime alike.
 *
 * stdin:  u32 length, then an opcode and its arguments, each ended by NUL:
 *           r ARGV...   run to its end      k PID      reap the orphan PID
 *           m COUNT AT_ONCE ARGV...   run COUNT of it, so many at a time; "@" in a word is the number
 * stdout: one line: status wall_ns cpu_ns maxrss_kb minor_faults voluntary involuntary
 *         after m: status wall_ns median_ns 99th_percentile_ns most_ns failed: of the whole, and of one each
 * The commands' stdout goes to fd 3, their stderr to fd 4 (files of the caller, truncated before each run).
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define MAX_ARGS 128
#define MAX_MANY 1024

static int64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

static int64_t cpu_ns(const struct rusage *u)
{
	return ((int64_t)u->ru_utime.tv_sec + u->ru_stime.tv_sec) * 1000000000 +
	       ((int64_t)u->ru_utime.tv_usec + u->ru_stime.tv_usec) * 1000;
}

static void report(int status, int64_t wall, const struct rusage *u)
{
	printf("%d %lld %lld %ld %ld %ld %ld\n", status, (long long)wall, (long long)cpu_ns(u),
	       u->ru_maxrss, u->ru_minflt, u->ru_nvcsw, u->ru_nivcsw);
	fflush(stdout);
}

static void child(char **argv)
{
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	dup2(3, 1);
	dup2(4, 2);
	close(3);
	close(4);
	execv(argv[0], argv);
	_exit(127);
}

static void run(char **argv)
{
	struct rusage usage;
	int status;
	int64_t begin;
	pid_t pid;

	ftruncate(3, 0);
	lseek(3, 0, SEEK_SET);
	ftruncate(4, 0);
	lseek(4, 0, SEEK_SET);
	begin = now_ns();
	pid = vfork();
	if (pid == 0)
		child(argv);
	if (pid < 0 || wait4(pid, &status, 0, &usage) != pid) {
		perror("measure");
		exit(1);
	}
	report(status, now_ns() - begin, &usage);
}

static void reap(const char *pid)
{
	struct rusage usage = {0};
	int64_t begin = now_ns();
	int status;

	/* -1: not ours (the runtime has waited for it itself, or it is no child of the subreaper). */
	if (wait4(atoi(pid), &status, 0, &usage) < 0)
		status = -1;
	report(status, now_ns() - begin, &usage);
}

static pid_t start_numbered(char **argv, int number)
{
	static char words[MAX_ARGS][512];
	static char *numbered[MAX_ARGS];
	int i;
	pid_t pid;

	for (i = 0; argv[i]; i++) {
		char *at = strchr(argv[i], '@');

		if (at)
			snprintf(words[i], sizeof(words[i]), "%.*s%d%s", (int)(at - argv[i]), argv[i],
				 number, at + 1);
		else
			snprintf(words[i], sizeof(words[i]), "%s", argv[i]);
		numbered[i] = words[i];
	}
	numbered[i] = NULL;
	pid = vfork();
	if (pid == 0)
		child(numbered);
	return pid;
}

static int by_time(const void *a, const void *b)
{
	int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;

	return (x > y) - (x < y);
}

/* Who is none of ours, an init that came back here, is reaped and not counted. */
static void run_many(int count, int at_once, char **argv)
{
	static struct { pid_t pid; int64_t begun; } live[MAX_MANY];
	static int64_t took[MAX_MANY];
	int started = 0, ended = 0, failed = 0, i;
	int64_t begin = now_ns(), all;

	if (count < 1 || count > MAX_MANY || at_once < 1)
		exit(1);
	while (ended < count) {
		int status;
		pid_t pid;

		while (started < count && started - ended < at_once) {
			live[started].begun = now_ns();
			live[started].pid = start_numbered(argv, started);
			if (live[started].pid < 0)
				exit(1);
			started++;
		}
		pid = wait4(-1, &status, 0, NULL);
		if (pid < 0)
			exit(1);
		for (i = 0; i < started && live[i].pid != pid; i++)
			;
		if (i == started)
			continue;
		live[i].pid = 0;
		took[ended++] = now_ns() - live[i].begun;
		failed += status != 0;
	}
	all = now_ns() - begin;
	qsort(took, count, sizeof(took[0]), by_time);
	printf("%d %lld %lld %lld %lld %d\n", failed, (long long)all, (long long)took[count / 2],
	       (long long)took[count * 99 / 100], (long long)took[count - 1], failed);
	fflush(stdout);
}

static int read_full(void *to, size_t size)
{
	size_t done = 0;

	while (done < size) {
		ssize_t n = read(0, (char *)to + done, size - done);

		if (n <= 0)
			return 0;
		done += n;
	}
	return 1;
}

int main(void)
{
	static char buffer[16384];
	char *argv[MAX_ARGS];
	uint32_t size;

	prctl(PR_SET_CHILD_SUBREAPER, 1);
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	while (read_full(&size, sizeof(size)) && size < sizeof(buffer) && read_full(buffer, size)) {
		int argc = 0;

		for (char *at = buffer; at < buffer + size && argc < MAX_ARGS - 1;
		     at += strlen(at) + 1)
			argv[argc++] = at;
		argv[argc] = NULL;
		if (argc < 2)
			return 1;
		if (buffer[0] == 'r')
			run(argv + 1);
		else if (buffer[0] == 'm' && argc > 3)
			run_many(atoi(argv[1]), atoi(argv[2]), argv + 3);
		else
			reap(argv[1]);
	}
	return 0;
}
