/* SPDX-License-Identifier: Apache-2.0
 *
 * Runs a command under ptrace, counts every system call that it and its children make, and at one of them
 * kills the caller, lets the call fail, or sends the command a signal. Or it gives them another wall clock.
 *
 *   inject [-p PID] [-l FILE] [-a P.N.K=kill | -a P.N.K=ERRNO | -a P.N.K=sigS] [-c TIMES] -- COMMAND ARG...
 *
 *   -p PID    trace this process from the start too (the waiting init, for `start`): it is number 1 then
 *   -l FILE   a line for each call: process number, system call number, how often it has made that call
 *   -a P.N.K=X  before the K-th (from 0) system call number N of the P-th process (from 0, in order of
 *             appearance): SIGKILL to it, or skip the call and give it -ERRNO, or send signal S to COMMAND;
 *             SIGINT to that process too if it is of the same group, as a terminal does
 *   -c TIMES  CLOCK_REALTIME reads as these seconds since 1970 (commas between), one after the other and
 *             round again
 *
 * A process is followed until it executes a program that is not COMMAND's own: from there on it is the
 * container's, or a helper's, not the runtime's. What outlives COMMAND runs on, no longer traced. The end
 * is COMMAND's, by its status or by its signal; 120 is a mistake in the use, 121 a point that was not reached.
 */
#define _GNU_SOURCE
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define MAX_TRACEES 1024
#define MAX_CALLS 512	/* the highest number of x86_64 is below */
#define MAX_TIMES 16

struct tracee {
	pid_t pid;
	int number;
	unsigned calls[MAX_CALLS];
	int failing;	/* the call is skipped; this is its errno */
	int counting;	/* past its first execve: the command itself begins as a copy of this program */
};

static struct tracee tracees[MAX_TRACEES];
static int tracee_count, next_number;
static FILE *list;
static int at_process = -1, at_errno, at_signal, reached;
static pid_t command_pid;
static unsigned at_nr, at_call;
static struct stat own;
static long times[MAX_TIMES];
static int time_count, next_time;

static void die(const char *what)
{
	fprintf(stderr, "inject: %s: %s\n", what, strerror(errno));
	exit(120);
}

static struct tracee *find(pid_t pid)
{
	for (int i = 0; i < tracee_count; i++)
		if (tracees[i].pid == pid)
			return &tracees[i];
	if (tracee_count == MAX_TRACEES) {
		errno = ENOSPC;
		die("processes");
	}
	struct tracee *t = &tracees[tracee_count++];
	memset(t, 0, sizeof *t);
	t->pid = pid;
	t->number = next_number++;
	t->counting = t->number > 0;
	return t;
}

static void forget(struct tracee *t)
{
	*t = tracees[--tracee_count];
}

/* COMMAND's file, by any name: creel executes itself from a copy of its mount, runc from a bind of it. */
static int is_own_program(pid_t pid)
{
	char path[64];
	struct stat now;

	snprintf(path, sizeof path, "/proc/%d/exe", (int)pid);
	if (stat(path, &now) != 0)
		return 0;
	/* A sealed copy in memory has the size of the original. */
	return (now.st_ino == own.st_ino && now.st_dev == own.st_dev) || now.st_size == own.st_size;
}

#ifndef __x86_64__
#error "x86_64 only: skipping a call and giving it a result are per architecture"
#endif

static void set_register(pid_t pid, size_t offset, long value)
{
	if (ptrace(PTRACE_POKEUSER, pid, offset, value))
		die("set a register");
}

static long get_register(pid_t pid, size_t offset)
{
	return ptrace(PTRACE_PEEKUSER, pid, offset, 0);
}

/* At the end of a call: what it has read becomes the next of the times. */
static void change_time(pid_t pid)
{
	long at, nr = get_register(pid, offsetof(struct user_regs_struct, orig_rax));

	if (nr == SYS_clock_gettime) {
		long clock = get_register(pid, offsetof(struct user_regs_struct, rdi));

		if (clock != CLOCK_REALTIME && clock != CLOCK_REALTIME_COARSE)
			return;
		at = get_register(pid, offsetof(struct user_regs_struct, rsi));
	} else if (nr == SYS_gettimeofday) {
		at = get_register(pid, offsetof(struct user_regs_struct, rdi));
	} else if (nr == SYS_time) {
		at = get_register(pid, offsetof(struct user_regs_struct, rdi));
		set_register(pid, offsetof(struct user_regs_struct, rax), times[next_time]);
	} else {
		return;
	}
	if (at && ptrace(PTRACE_POKEDATA, pid, at, times[next_time]))
		die("change the time");
	next_time = (next_time + 1) % time_count;
}

/* A new program's C library finds no vDSO, so that it reads the clock by system calls. */
static void hide_vdso(pid_t pid)
{
	long at = get_register(pid, offsetof(struct user_regs_struct, rsp));
	long count = ptrace(PTRACE_PEEKDATA, pid, at, 0);

	at += (count + 2) * sizeof(long);	/* argc, the arguments, a null */
	while (ptrace(PTRACE_PEEKDATA, pid, at, 0))
		at += sizeof(long);	/* the environment */
	for (at += sizeof(long);; at += 2 * sizeof(long)) {
		long type = ptrace(PTRACE_PEEKDATA, pid, at, 0);

		if (type == AT_NULL)
			return;
		if (type == AT_SYSINFO_EHDR && ptrace(PTRACE_POKEDATA, pid, at, AT_IGNORE))
			die("hide the vDSO");
	}
}

/* Returns 0 when the tracee was killed. */
static int on_call(struct tracee *t)
{
	struct __ptrace_syscall_info info;

	if (ptrace(PTRACE_GET_SYSCALL_INFO, t->pid, sizeof info, &info) < 0)
		return 1;
	if (info.op == PTRACE_SYSCALL_INFO_EXIT) {
		if (t->failing) {
			set_register(t->pid, offsetof(struct user_regs_struct, rax), -t->failing);
			t->failing = 0;
		} else if (time_count) {
			change_time(t->pid);
		}
		return 1;
	}
	if (info.op != PTRACE_SYSCALL_INFO_ENTRY)
		return 1;
	if (!t->counting)
		return 1;
	if (info.entry.nr >= MAX_CALLS)
		return 1;
	unsigned nr = info.entry.nr, index = t->calls[nr]++;

	if (list) {
		fprintf(list, "%d %u %u\n", t->number, nr, index);
		fflush(list);
	}
	if (reached || t->number != at_process || nr != at_nr || index != at_call)
		return 1;
	reached = 1;
	if (at_signal) {
		kill(command_pid, at_signal);
		if (at_signal == SIGINT && t->pid != command_pid && getpgid(t->pid) == getpgid(command_pid))
			kill(t->pid, at_signal);
		return 1;
	}
	if (at_errno == 0) {
		kill(t->pid, SIGKILL);
		return 0;
	}
	t->failing = at_errno;
	set_register(t->pid, offsetof(struct user_regs_struct, orig_rax), -1);
	return 1;
}

static const long OPTIONS = PTRACE_O_TRACESYSGOOD | PTRACE_O_TRACECLONE | PTRACE_O_TRACEFORK |
			    PTRACE_O_TRACEVFORK | PTRACE_O_TRACEEXEC;

static int trace(pid_t command)
{
	for (;;) {
		int status;
		pid_t pid = waitpid(-1, &status, __WALL);

		if (pid < 0) {
			if (errno == EINTR)
				continue;
			die("wait");
		}
		if (WIFEXITED(status) || WIFSIGNALED(status)) {
			if (pid == command)
				return status;
			forget(find(pid));
			continue;
		}
		struct tracee *t = find(pid);
		int signal = WSTOPSIG(status), event = status >> 16;

		if (signal == (SIGTRAP | 0x80)) {
			if (!on_call(t))
				continue;
			signal = 0;
		} else if (event == PTRACE_EVENT_EXEC) {
			signal = 0;
			if (!is_own_program(pid)) {
				ptrace(PTRACE_DETACH, pid, 0, 0);
				forget(find(pid));
				continue;
			}
			t->counting = 1;
			if (time_count)
				hide_vdso(pid);
		} else if (event) {
			signal = 0;
		}
		if (ptrace(PTRACE_SYSCALL, pid, 0, signal) && errno != ESRCH)
			die("go on");
	}
}

int main(int argc, char **argv)
{
	int option;
	pid_t other = 0;

	while ((option = getopt(argc, argv, "+p:l:a:c:")) != -1) {
		switch (option) {
		case 'p':
			other = atoi(optarg);
			break;
		case 'l':
			list = fopen(optarg, "we");
			if (!list)
				die(optarg);
			break;
		case 'a': {
			char action[16];

			if (sscanf(optarg, "%d.%u.%u=%15s", &at_process, &at_nr, &at_call, action) != 4) {
				errno = EINVAL;
				die(optarg);
			}
			if (strncmp(action, "sig", 3) == 0)
				at_signal = atoi(action + 3);
			else
				at_errno = strcmp(action, "kill") == 0 ? 0 : atoi(action);
			break;
		}
		case 'c':
			for (char *text = strtok(optarg, ","); text; text = strtok(NULL, ",")) {
				if (time_count == MAX_TIMES)
					return 120;
				times[time_count++] = atol(text);
			}
			break;
		default:
			return 120;
		}
	}
	if (optind == argc || stat(argv[optind], &own) != 0)
		die("COMMAND");

	int gate[2];

	if (pipe2(gate, O_CLOEXEC))
		die("pipe");
	pid_t command = fork();

	if (command < 0)
		die("fork");
	command_pid = command;
	if (command == 0) {
		char byte;

		if (read(gate[0], &byte, 1) == 1)
			execv(argv[optind], argv + optind);
		_exit(127);
	}
	if (ptrace(PTRACE_SEIZE, command, 0, OPTIONS))
		die("trace the command");
	find(command);
	if (other) {
		if (ptrace(PTRACE_SEIZE, other, 0, OPTIONS) || ptrace(PTRACE_INTERRUPT, other, 0, 0))
			die("trace the other process");
		find(other);
	}
	if (ptrace(PTRACE_INTERRUPT, command, 0, 0) || write(gate[1], "", 1) != 1)
		die("let the command go");

	int status = trace(command);

	if (at_process >= 0 && !reached)
		return 121;
	if (WIFSIGNALED(status)) {
		signal(WTERMSIG(status), SIG_DFL);
		raise(WTERMSIG(status));
	}
	return WEXITSTATUS(status);
}
