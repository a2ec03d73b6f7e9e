/* SPDX-License-Identifier: Apache-2.0
 *
 * Runs a command and counts the instructions that it and its children execute in user mode, one by one
 * (ptrace), for budget.py: the same number on every machine that runs the same code, however busy. A child is
 * let go where it executes a program, so that the container's own is not counted; the command itself may.
 *
 * usage: steps OUT ARGV...     the number goes into the file OUT
 * With STEPS_PLACES=FILE, each address that was executed goes there when it first is, for hack/hot/list.py: of a
 * program that is linked to fixed addresses. After it the stage it was in: 0 until the command executes itself, 1
 * from then on, 2 in its children.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ptrace.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>

#define PLACES 0x1000000 /* 16 MiB from address 0 */
#define STAGES 3

#ifdef __x86_64__
static void note(FILE *out, pid_t pid, int stage)
{
	static char noted[STAGES][PLACES];
	unsigned long at = ptrace(PTRACE_PEEKUSER, pid, offsetof(struct user_regs_struct, rip), 0);

	if (at >= PLACES || noted[stage][at])
		return;
	noted[stage][at] = 1;
	fprintf(out, "%lx %d\n", at, stage);
}
#else
static void note(FILE *out, pid_t pid, int stage)
{
	(void)out, (void)pid, (void)stage;
}
#endif

static void fail(const char *what)
{
	perror(what);
	exit(125);
}

int main(int argc, char **argv)
{
	const long options = PTRACE_O_TRACEFORK | PTRACE_O_TRACEVFORK | PTRACE_O_TRACECLONE |
			     PTRACE_O_TRACEEXEC | PTRACE_O_EXITKILL;
	const char *path = getenv("STEPS_PLACES");
	unsigned long long count = 0;
	int status, stage = 0, result = 125;
	pid_t first, pid;
	FILE *out, *places = NULL;

	if (argc < 3)
		return 125;
	first = fork();
	if (first == 0) {
		ptrace(PTRACE_TRACEME, 0, 0, 0);
		execv(argv[2], argv + 2);
		_exit(127);
	}
	if (first < 0 || waitpid(first, &status, 0) != first || !WIFSTOPPED(status))
		fail("steps: start");
	if (path && !(places = fopen(path, "w")))
		fail(path);
	if (ptrace(PTRACE_SETOPTIONS, first, 0, options) || ptrace(PTRACE_SINGLESTEP, first, 0, 0))
		fail("steps: ptrace");
	while ((pid = waitpid(-1, &status, __WALL)) > 0 || errno == EINTR) {
		int signal, event;

		if (pid < 0)
			continue;
		if (!WIFSTOPPED(status)) {
			if (pid != first)
				continue;
			result = WIFEXITED(status) ? WEXITSTATUS(status) : 126;
			break;
		}
		signal = WSTOPSIG(status);
		event = status >> 16;
		if (event == PTRACE_EVENT_EXEC && pid != first) {
			ptrace(PTRACE_DETACH, pid, 0, 0);
			continue;
		}
		if (event == PTRACE_EVENT_EXEC)
			stage = 1;
		if (signal == SIGTRAP && !event) {
			count++;
			if (places)
				note(places, pid, pid == first ? stage : 2);
		}
		/* A new child begins with a stop that is for us. */
		if (signal == SIGTRAP || signal == SIGSTOP)
			signal = 0;
		ptrace(PTRACE_SINGLESTEP, pid, 0, signal);
	}
	if (places && fclose(places))
		fail(path);
	out = fopen(argv[1], "w");
	if (!out || fprintf(out, "%llu\n", count) < 0 || fclose(out))
		fail(argv[1]);
	return result;
}
