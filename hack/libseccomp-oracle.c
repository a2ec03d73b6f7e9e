// SPDX-License-Identifier: Apache-2.0
/*
 * What libseccomp makes of a profile, used as runc uses it. An oracle for creel's own compiler:
 * built and run by the tests in src/child/seccomp/, never shipped.
 *
 *     cc -O2 -o oracle hack/libseccomp-oracle.c -lseccomp
 *
 * Reads profiles as lines, numbers in hexadecimal:
 *     default ACTION
 *     without-native                              (before "arch": for one of the other byte order)
 *     plain                                       (no binary tree: as crun uses it, not as runc does)
 *     arch TOKEN                                  (native is there already)
 *     rule ACTION NAME [INDEX OP VALUE VALUETWO]...
 *     end
 * For each profile writes "newest TOKEN NUMBER" per architecture (the highest number that the rules
 * name), "insn CODE JT JF K" per instruction, and "end"; or "error ERRNO" and "end" if a rule is
 * refused, "gave-up" and "end" if libseccomp crashed or did not come back in two seconds. "time
 * NANOSECONDS" tells how much CPU time libseccomp took.
 *     resolve TOKEN NAME
 * answers with the number of a system call in decimal, negative if there is none.
 */
#define _GNU_SOURCE
#include <endian.h>
#include <errno.h>
#include <linux/filter.h>
#include <seccomp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define MAX_ARCHES 8
#define MAX_RULES 4096
#define MAX_ARGS 6

struct rule {
	uint32_t action;
	char name[64];
	unsigned count;
	struct scmp_arg_cmp args[MAX_ARGS];
};

struct profile {
	uint32_t action;
	uint32_t arches[MAX_ARCHES];
	unsigned arch_count;
	int without_native, plain;
	struct rule *rules;
	unsigned rule_count;
};

static void die(const char *what)
{
	perror(what);
	exit(1);
}

static int repeats_an_argument(const struct rule *rule)
{
	unsigned i, j;

	for (i = 0; i < rule->count; i++)
		for (j = 0; j < i; j++)
			if (rule->args[i].arg == rule->args[j].arg)
				return 1;
	return 0;
}

static int add_rule(scmp_filter_ctx ctx, const struct profile *profile, const struct rule *rule)
{
	int rc, number = seccomp_syscall_resolve_name(rule->name);
	unsigned i;

	if (rule->action == profile->action || number == __NR_SCMP_ERROR)
		return 0;
	if (!repeats_an_argument(rule))
		return seccomp_rule_add_array(ctx, rule->action, number, rule->count, rule->args);
	for (i = 0; i < rule->count; i++) {
		rc = seccomp_rule_add_array(ctx, rule->action, number, 1, &rule->args[i]);
		if (rc)
			return rc;
	}
	return 0;
}

static void print_newest(const struct profile *profile, uint32_t arch)
{
	int number, newest = 0;
	unsigned i;

	for (i = 0; i < profile->rule_count; i++) {
		number = seccomp_syscall_resolve_name_arch(arch, profile->rules[i].name);
		if (number > newest)
			newest = number;
	}
	printf("newest %x %x\n", arch, newest);
}

/* libseccomp writes a program in the byte order of its machine: only s390x's differs from ours. */
static int is_foreign(const struct profile *profile)
{
	return profile->without_native && profile->arches[0] == SCMP_ARCH_S390X;
}

static int is_action(const struct profile *profile, uint32_t value)
{
	unsigned i;

	for (i = 0; i < profile->rule_count; i++)
		if (profile->rules[i].action == value)
			return 1;
	return profile->action == value;
}

/* For a machine of the other byte order libseccomp turns the returns behind long jumps around twice. */
static void turn_around(const struct profile *profile, struct sock_filter *insn)
{
	insn->code = be16toh(insn->code);
	insn->k = be32toh(insn->k);
	if (insn->code == (BPF_RET | BPF_K) && !is_action(profile, insn->k) &&
	    is_action(profile, be32toh(insn->k)))
		insn->k = be32toh(insn->k);
}

static void print_program(const struct profile *profile, int fd)
{
	struct sock_filter insn;

	if (lseek(fd, 0, SEEK_SET) < 0)
		die("lseek");
	while (read(fd, &insn, sizeof(insn)) == sizeof(insn)) {
		if (is_foreign(profile))
			turn_around(profile, &insn);
		printf("insn %x %x %x %x\n", insn.code, insn.jt, insn.jf, insn.k);
	}
}

static int build(const struct profile *profile, int fd)
{
	scmp_filter_ctx ctx = seccomp_init(profile->action);
	int rc = 0;
	unsigned i;

	if (!ctx)
		die("seccomp_init");
	if (profile->without_native)
		rc = seccomp_arch_remove(ctx, seccomp_arch_native());
	for (i = 0; i < profile->arch_count && !rc; i++) {
		rc = seccomp_arch_add(ctx, profile->arches[i]);
		if (rc == -EEXIST)
			rc = 0;
	}
	if (!rc && profile->rule_count > 32 && !profile->plain)
		rc = seccomp_attr_set(ctx, SCMP_FLTATR_CTL_OPTIMIZE, 2);
	for (i = 0; i < profile->rule_count && !rc; i++)
		rc = add_rule(ctx, profile, &profile->rules[i]);
	if (!rc)
		rc = seccomp_export_bpf(ctx, fd);
	seccomp_release(ctx);
	return rc;
}

static void answer(const struct profile *profile)
{
	struct timespec start, end;
	int rc, fd = memfd_create("program", MFD_CLOEXEC);
	unsigned i;

	if (fd < 0)
		die("memfd_create");
	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &start);
	rc = build(profile, fd);
	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &end);
	if (rc) {
		printf("error %x\n", -rc);
	} else {
		printf("time %llx\n", (end.tv_sec - start.tv_sec) * 1000000000ll + end.tv_nsec -
					      start.tv_nsec);
		for (i = 0; i < profile->arch_count; i++)
			print_newest(profile, profile->arches[i]);
		print_program(profile, fd);
	}
	puts("end");
	close(fd);
}

/* libseccomp 2.5.4 loops for ever on some profiles: each gets a process of its own. */
static void answer_or_give_up(const struct profile *profile)
{
	int status = 0;
	pid_t pid;

	fflush(stdout);
	pid = fork();
	if (pid < 0)
		die("fork");
	if (pid == 0) {
		alarm(2);
		answer(profile);
		exit(0);
	}
	if (waitpid(pid, &status, 0) < 0)
		die("waitpid");
	if (status)
		puts("gave-up\nend");
}

static void read_rule(struct profile *profile, char *words)
{
	struct rule *rule = &profile->rules[profile->rule_count];
	char *word = strtok(words, " \n");
	unsigned i;

	if (profile->rule_count == MAX_RULES || !word)
		exit(2);
	memset(rule, 0, sizeof(*rule));
	rule->action = strtoul(word, NULL, 16);
	word = strtok(NULL, " \n");
	snprintf(rule->name, sizeof(rule->name), "%s", word);
	for (i = 0; i < MAX_ARGS && (word = strtok(NULL, " \n")); i++) {
		rule->args[i].arg = strtoul(word, NULL, 16);
		rule->args[i].op = strtoul(strtok(NULL, " \n"), NULL, 16);
		rule->args[i].datum_a = strtoull(strtok(NULL, " \n"), NULL, 16);
		rule->args[i].datum_b = strtoull(strtok(NULL, " \n"), NULL, 16);
		rule->count++;
	}
	profile->rule_count++;
}

int main(void)
{
	struct profile profile = { .rules = calloc(MAX_RULES, sizeof(struct rule)) };
	char line[4096], *word;

	if (!profile.rules)
		die("calloc");
	while (fgets(line, sizeof(line), stdin)) {
		if (!strncmp(line, "default ", 8)) {
			profile.action = strtoul(line + 8, NULL, 16);
			profile.rule_count = 0;
			profile.arch_count = 1;
			profile.arches[0] = seccomp_arch_native();
			profile.without_native = 0;
			profile.plain = 0;
		} else if (!strncmp(line, "plain", 5)) {
			profile.plain = 1;
		} else if (!strncmp(line, "without-native", 14)) {
			profile.arch_count = 0;
			profile.without_native = 1;
		} else if (!strncmp(line, "arch ", 5) && profile.arch_count < MAX_ARCHES) {
			profile.arches[profile.arch_count++] = strtoul(line + 5, NULL, 16);
		} else if (!strncmp(line, "rule ", 5)) {
			read_rule(&profile, line + 5);
		} else if (!strncmp(line, "resolve ", 8)) {
			uint32_t token = strtoul(line + 8, &word, 16);

			word = strtok(word, " \n");
			printf("%d\n", seccomp_syscall_resolve_name_arch(token, word));
		} else if (!strncmp(line, "end", 3)) {
			answer_or_give_up(&profile);
		}
	}
	return 0;
}
