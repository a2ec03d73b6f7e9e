/* SPDX-License-Identifier: Apache-2.0
 * Runs a program on an older kernel, as far as it can tell: the system calls that $ENOSYS names, with
 * commas between, answer ENOSYS to it and to whatever it starts. For tests only: hack/enosys.sh.
 *
 *     ENOSYS=openat2,close_range enosys PROGRAM ARGUMENT...
 *     ENOSYS=... ENOSYS_PROGRAM=/path/of/creel creel ARGUMENT...     (this file, named as the program)
 */
#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#ifndef SYS_clone3
#define SYS_clone3 435
#endif
/* The same numbers on every architecture. */
static const struct { const char *name; unsigned number; } calls[] = {
    {"pidfd_send_signal", 424}, {"open_tree", 428},  {"move_mount", 429}, {"fsopen", 430},
    {"fsconfig", 431},          {"fsmount", 432},    {"fspick", 433},     {"pidfd_open", 434},
    {"clone3", 435},            {"close_range", 436}, {"openat2", 437},   {"pidfd_getfd", 438},
    {"faccessat2", 439},        {"mount_setattr", 442}, {"fchmodat2", 452}, {"statmount", 457},
    {"listmount", 458},         {"open_tree_attr", 467},
};

static unsigned number_of(const char *name)
{
    for (size_t i = 0; i < sizeof calls / sizeof *calls; i++)
        if (strcmp(calls[i].name, name) == 0)
            return calls[i].number;
    fprintf(stderr, "enosys: %s is not a system call that can be left out\n", name);
    exit(2);
}

int main(int argc, char **argv)
{
    struct sock_filter code[64] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
    };
    unsigned short length = 1;
    const char *names = getenv("ENOSYS"), *program = getenv("ENOSYS_PROGRAM");
    if (program != NULL && *program == '\0')
        program = NULL;
    if (names == NULL || (program == NULL && argc < 2)) {
        fputs("usage: ENOSYS=NAME,... [ENOSYS_PROGRAM=PATH] enosys [PROGRAM] ARGUMENT...\n", stderr);
        return 2;
    }
    char *list = strdup(names);
    for (char *name = strtok(list, ","); name != NULL; name = strtok(NULL, ",")) {
        struct sock_filter test = BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, number_of(name), 0, 1);
        struct sock_filter answer = BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | ENOSYS);
        code[length++] = test;
        code[length++] = answer;
    }
    struct sock_filter allow = BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
    code[length++] = allow;
    struct sock_fprog filter = {length, code};
    /* With CAP_SYS_ADMIN, so that what is run finds no_new_privs as it would be without us. */
    if (prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter) != 0) {
        perror("enosys: load the filter");
        return 2;
    }
    if (program != NULL) {
        /* A runtime that knows nothing of it, under the name that was typed. Test programs may look what
         * they have to do without. */
        unsetenv("ENOSYS");
        unsetenv("ENOSYS_PROGRAM");
    } else {
        argv++;
        program = argv[0];
    }
    execvp(program, argv);
    perror(program);
    return 127;
}
