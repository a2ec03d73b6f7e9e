/* SPDX-License-Identifier: Apache-2.0
 *
 * The floor: what bundle.json costs when nothing but the kernel works.
 *
 * No JSON, no validation, no state directory, no path resolution against a hostile root, no error recovery:
 * bench.py works the values out beforehand. What it does do is complete for that config, in this order:
 *
 *   parent  makes one cgroup directory (v2) or one per hierarchy (v1), writes the limits and v1's device list;
 *           on v2 loads and attaches the device program;
 *           clone3 into new mount, pid, network, ipc and uts namespaces (v2: straight into the cgroup).
 *   child   v1: joins each hierarchy; v2: unshares the cgroup namespace;
 *           new session, session keyring; propagation, bind of the root;
 *           mounts /proc, /dev, /dev/pts, /sys, /sys/fs/cgroup, /dev/mqueue, /dev/shm and binds
 *           /etc/resolv.conf, /etc/hostname, /etc/hosts;
 *           device nodes and links; pivot_root, detach of the old root; the two sysctls, hostname, loopback up;
 *           maskedPaths (files: /dev/null, directories: one read-only tmpfs), readonlyPaths;
 *           oom_score_adj, bounding set, groups and ids, seccomp filter, capabilities, close-on-exec, execve.
 *   parent  waits, removes the cgroup directories.
 *
 * `exec` does the same for a further process in a running container: setns, clone3, session keyring, cgroup,
 * capabilities, seccomp, execve, wait. It prepares no more than the config asks for: no terminal, no rlimits.
 *
 * floor [-2] [-c CGROUP_DIR]... [-u CGROUP_DIR] [-w FILE=VALUE]... [-t] [-V WAY]... run ROOT BIND_DIR ARGV...
 * floor [-2] [-c CGROUP_DIR]... [-u CGROUP_DIR] [-t] exec PID ARGV...
 *   -2   cgroup v2 (otherwise v1, with one -c per hierarchy; -u DIR is hybrid's unified directory)
 *   -t   print when each step began and how long it took, in microseconds, to stderr
 *   -V   choose between ways of doing a step, to learn which one waits (see README.md)
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/bpf.h>
#include <linux/capability.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <net/if.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "filter.h"

#ifndef CLONE_INTO_CGROUP
#define CLONE_INTO_CGROUP 0x200000000ULL
#endif
/* The kernel's numbers for what not every libc's headers have. */
#ifndef OPEN_TREE_CLONE
#define OPEN_TREE_CLONE 1
#define OPEN_TREE_CLOEXEC O_CLOEXEC
#define MOVE_MOUNT_F_EMPTY_PATH 4
#define MOUNT_ATTR_RDONLY 1
#define MOUNT_ATTR_NOSUID 2
#define MOUNT_ATTR_NODEV 4
#define MOUNT_ATTR_NOEXEC 8
#endif
#ifndef AT_RECURSIVE
#define AT_RECURSIVE 0x8000
#endif
#define MAX_DIRS 16
#define MAX_WRITES 64
#define MAX_STEPS 256

struct clone3_args {
	uint64_t flags, pidfd, child_tid, parent_tid, exit_signal, stack, stack_size, tls, set_tid,
		set_tid_size, cgroup;
};

struct attributes {
	uint64_t set, clear, propagation, userns_fd;
};

struct step {
	char name[40];
	char in_child;
	int64_t begin, ns;
};

/* Shared with the child, so that one list holds both sides. */
static struct trace {
	int used;
	struct step steps[MAX_STEPS];
} *trace;

static int in_child, v2, procs_by_parent, use_fsopen, remount_binds;
static const char *dirs[MAX_DIRS], *writes[MAX_WRITES], *unified;
static int n_dirs, n_writes;
static char **command;

static int64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

static void die(const char *what)
{
	dprintf(2, "floor: %s: %s\n", what, strerror(errno));
	_exit(1);
}

static long timed(const char *name, int64_t begin, long result)
{
	if (result < 0)
		die(name);
	if (trace) {
		int64_t ns = now_ns() - begin;
		int at = __atomic_fetch_add(&trace->used, 1, __ATOMIC_RELAXED);

		if (at < MAX_STEPS) {
			snprintf(trace->steps[at].name, sizeof(trace->steps[at].name), "%s", name);
			trace->steps[at].in_child = in_child;
			trace->steps[at].begin = begin;
			trace->steps[at].ns = ns;
		}
	}
	return result;
}

#define DO_AS(name, call)                              \
	({                                             \
		int64_t begin_ = trace ? now_ns() : 0; \
		timed(name, begin_, (long)(call));     \
	})
#define DO(call) DO_AS(#call, call)

static int clone_tree(int dir, const char *path, unsigned flags)
{
	return syscall(SYS_open_tree, dir, path, flags | OPEN_TREE_CLOEXEC);
}

static int put_tree(int tree, const char *path)
{
	return syscall(SYS_move_mount, tree, "", AT_FDCWD, path, MOVE_MOUNT_F_EMPTY_PATH);
}

static int set_attr(int tree, unsigned flags, uint64_t set, uint64_t propagation)
{
	struct attributes attr = {.set = set, .propagation = propagation};

	return syscall(SYS_mount_setattr, tree, "", AT_EMPTY_PATH | flags, &attr, sizeof(attr));
}

static int write_at(int dir, const char *path, const char *value)
{
	int fd = openat(dir, path, O_WRONLY | O_CLOEXEC);
	int result = fd < 0 ? -1 : write(fd, value, strlen(value));

	close(fd);
	return result;
}

static int write_file(const char *path, const char *value)
{
	return write_at(AT_FDCWD, path, value);
}

/* Cgroups ---------------------------------------------------------------------------------------------- */

static int bpf(int command_, union bpf_attr *attr, size_t size)
{
	return syscall(SYS_bpf, command_, attr, size);
}

#define INSN(c, d, s, o, i) \
	((struct bpf_insn){.code = c, .dst_reg = d, .src_reg = s, .off = o, .imm = i})

/* The config's allowed devices and those that every runtime allows. */
static const struct {
	int major, minor;
} allowed[] = {{1, 3}, {1, 5}, {1, 7}, {1, 8}, {1, 9}, {5, 0}, {5, 1}, {5, 2}};

/*
 * mknod of anything; character devices from the list and 136:*; else no. The refused 10:229 needs no rule then.
 * All verdicts share one exit: the verifier's time grows with the paths it has to walk, faster than the length.
 */
static int device_program(void)
{
	static struct bpf_insn code[64];
	static const char licence[] = "Apache-2.0";
	union bpf_attr attr = {0};
	int yes[16], n_yes = 0, n = 0;

#define YES_IF(reg, value)                                                     \
	do {                                                                   \
		yes[n_yes++] = n;                                              \
		code[n++] = INSN(BPF_JMP | BPF_JEQ | BPF_K, reg, 0, 0, value); \
	} while (0)
	code[n++] = INSN(BPF_LDX | BPF_MEM | BPF_W, 2, 1, 0, 0);
	code[n++] = INSN(BPF_LDX | BPF_MEM | BPF_W, 4, 1, 4, 0);
	code[n++] = INSN(BPF_LDX | BPF_MEM | BPF_W, 5, 1, 8, 0);
	code[n++] = INSN(BPF_ALU64 | BPF_MOV | BPF_K, 0, 0, 0, 1);
	YES_IF(2, BPF_DEVCG_ACC_MKNOD << 16 | BPF_DEVCG_DEV_CHAR);
	YES_IF(2, BPF_DEVCG_ACC_MKNOD << 16 | BPF_DEVCG_DEV_BLOCK);
	code[n++] = INSN(BPF_ALU64 | BPF_AND | BPF_K, 2, 0, 0, 0xffff);
	int no = n++;
	YES_IF(4, 136);
	code[n++] = INSN(BPF_ALU64 | BPF_LSH | BPF_K, 4, 0, 0, 20);
	code[n++] = INSN(BPF_ALU64 | BPF_OR | BPF_X, 4, 5, 0, 0);
	for (size_t i = 0; i < sizeof(allowed) / sizeof(*allowed); i++)
		YES_IF(4, allowed[i].major << 20 | allowed[i].minor);
	code[no] = INSN(BPF_JMP | BPF_JNE | BPF_K, 2, 0, n - no - 1, BPF_DEVCG_DEV_CHAR);
	code[n++] = INSN(BPF_ALU64 | BPF_MOV | BPF_K, 0, 0, 0, 0);
	for (int i = 0; i < n_yes; i++)
		code[yes[i]].off = n - yes[i] - 1;
	code[n++] = INSN(BPF_JMP | BPF_EXIT, 0, 0, 0, 0);
#undef YES_IF
	attr.prog_type = BPF_PROG_TYPE_CGROUP_DEVICE;
	attr.insns = (uintptr_t)code;
	attr.insn_cnt = n;
	attr.license = (uintptr_t)licence;
	return bpf(BPF_PROG_LOAD, &attr, sizeof(attr));
}

static void make_cgroups(void)
{
	for (int i = 0; i < n_dirs; i++)
		DO_AS("mkdir cgroup", mkdir(dirs[i], 0755));
	for (int i = 0; i < n_writes; i++) {
		char path[512], *value;

		snprintf(path, sizeof(path), "%s", writes[i]);
		value = strchr(path, '=');
		*value++ = '\0';
		DO_AS(strrchr(writes[i], '/') + 1, write_file(path, value));
	}
}

static void attach_devices(int cgroup)
{
	int program = DO_AS("bpf load devices", device_program());
	union bpf_attr attr = {0};

	attr.target_fd = cgroup;
	attr.attach_bpf_fd = program;
	attr.attach_type = BPF_CGROUP_DEVICE;
	attr.attach_flags = BPF_F_ALLOW_MULTI;
	DO_AS("bpf attach devices", bpf(BPF_PROG_ATTACH, &attr, sizeof(attr)));
}

/*
 * "0" in `tasks` moves the writing thread alone: the kernel takes no lock against all forks for that, and so waits
 * for no grace period. A v2 directory beside the v1 ones (hybrid) is entered by clone3 itself.
 */
static void join_v1(const int *tasks)
{
	for (int i = 0; i < n_dirs; i++)
		if (dirs[i] != unified)
			DO_AS("join: 0 to tasks", write(tasks[i], "0", 1));
}

static void open_tasks(int *tasks)
{
	char path[512];

	for (int i = 0; i < n_dirs; i++) {
		if (dirs[i] == unified)
			continue;
		snprintf(path, sizeof(path), "%s/tasks", dirs[i]);
		tasks[i] = DO_AS("open tasks", open(path, O_WRONLY | O_CLOEXEC));
	}
}

/* The other way, for comparison: what a parent does. */
static void place_v1(pid_t pid)
{
	char path[512], value[16];

	snprintf(value, sizeof(value), "%d", pid);
	for (int i = 0; i < n_dirs; i++) {
		snprintf(path, sizeof(path), "%s/cgroup.procs", dirs[i]);
		DO_AS("place: pid to cgroup.procs", write_file(path, value));
	}
}

/* The v2 directory that clone3 puts the child into, or -1. */
static int open_for_clone(void)
{
	const char *dir = v2 ? dirs[0] : procs_by_parent ? NULL : unified;

	return dir ? DO_AS("open cgroup", open(dir, O_DIRECTORY | O_CLOEXEC)) : -1;
}

static pid_t clone_into(uint64_t flags, int cgroup)
{
	struct clone3_args args = {.flags = flags, .exit_signal = SIGCHLD};

	if (cgroup >= 0) {
		args.flags |= CLONE_INTO_CGROUP;
		args.cgroup = cgroup;
	}
	int64_t begin = trace ? now_ns() : 0;
	pid_t pid = syscall(SYS_clone3, &args, sizeof(args));

	in_child = pid == 0;
	return timed("clone3", begin, pid);
}

/* The root -------------------------------------------------------------------------------------------- */

/* One new filesystem at `to`, by mount(2) or by the file-descriptor calls. */
static void mount_new(const char *type, const char *to, unsigned long flags, const char *data)
{
	if (!use_fsopen) {
		DO_AS(type, mount(type, to, type, flags, data));
		return;
	}
	int64_t begin = now_ns();
	int fs = syscall(SYS_fsopen, type, 1), tree;
	char options[256], *save = NULL;

	snprintf(options, sizeof(options), "%s", data ? data : "");
	for (char *o = strtok_r(options, ",", &save); o; o = strtok_r(NULL, ",", &save)) {
		char *value = strchr(o, '=');

		if (value)
			*value++ = '\0';
		if (syscall(SYS_fsconfig, fs, value ? 1 : 0, o, value, 0) < 0)
			die(o);
	}
	if (syscall(SYS_fsconfig, fs, 6, NULL, NULL, 0) < 0)
		die(type);
	tree = syscall(SYS_fsmount, fs, 1, flags & 0xf);
	close(fs);
	if (tree < 0 || put_tree(tree, to) < 0)
		die(type);
	close(tree);
	timed(type, begin, 0);
}

static void bind_tree(const char *from, const char *to, uint64_t attrs)
{
	if (remount_binds) {
		DO_AS("bind", mount(from, to, NULL, MS_BIND | MS_REC, NULL));
		if (attrs)
			DO_AS("bind remount",
			      mount(NULL, to, NULL, MS_BIND | MS_REMOUNT | (attrs & 0xf), NULL));
		return;
	}
	int tree = DO_AS("open_tree clone",
			 clone_tree(AT_FDCWD, from, OPEN_TREE_CLONE | AT_RECURSIVE));

	DO_AS("mount_setattr", set_attr(tree, AT_RECURSIVE, attrs, MS_PRIVATE));
	DO_AS("move_mount", put_tree(tree, to));
	DO_AS("close moved tree", close(tree));
}

static void mount_cgroup(const char *root)
{
	char to[512];

	if (v2) {
		DO_AS("unshare cgroup ns", unshare(CLONE_NEWCGROUP));
		snprintf(to, sizeof(to), "%s/sys/fs/cgroup", root);
		mount_new("cgroup2", to, MS_RDONLY | MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL);
		return;
	}
	snprintf(to, sizeof(to), "%s/sys/fs/cgroup", root);
	mount_new("tmpfs", to, MS_NOSUID | MS_NODEV | MS_NOEXEC, "mode=755");
	for (int i = 0; i < n_dirs; i++) {
		const char *name = dirs[i] + strlen("/sys/fs/cgroup/");

		snprintf(to, sizeof(to), "%s/sys/fs/cgroup/%.*s", root, (int)strcspn(name, "/"),
			 name);
		DO_AS("mkdir", mkdir(to, 0755));
		bind_tree(dirs[i], to,
			  MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV |
				  MOUNT_ATTR_NOEXEC);
	}
	snprintf(to, sizeof(to), "%s/sys/fs/cgroup", root);
	DO_AS("tmpfs read-only",
	      mount(NULL, to, NULL,
		    MS_BIND | MS_REMOUNT | MS_RDONLY | MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL));
}

static void make_devices(void)
{
	static const struct {
		const char *path;
		int major, minor;
	} nodes[] = {{"dev/null", 1, 3},   {"dev/zero", 1, 5},	  {"dev/full", 1, 7},
		     {"dev/random", 1, 8}, {"dev/urandom", 1, 9}, {"dev/tty", 5, 0}};
	static const char *const links[][2] = {{"/proc/self/fd", "dev/fd"},
					       {"/proc/self/fd/0", "dev/stdin"},
					       {"/proc/self/fd/1", "dev/stdout"},
					       {"/proc/self/fd/2", "dev/stderr"},
					       {"pts/ptmx", "dev/ptmx"}};

	for (int i = 0; i < 6; i++)
		DO_AS("mknod", mknod(nodes[i].path, S_IFCHR | 0666,
				     makedev(nodes[i].major, nodes[i].minor)));
	for (int i = 0; i < 5; i++)
		DO_AS("symlink", symlink(links[i][0], links[i][1]));
}

static void mount_all(const char *root, const char *binds)
{
	const unsigned long safe = MS_NOSUID | MS_NODEV | MS_NOEXEC;
	static const char *const files[] = {"resolv.conf", "hostname", "hosts"};
	char from[512], to[512];

	DO(mount(NULL, "/", NULL, MS_REC | MS_SLAVE, NULL));
	DO_AS("bind root", mount(root, root, NULL, MS_BIND | MS_REC, NULL));
	DO_AS("root private", mount(NULL, root, NULL, MS_PRIVATE, NULL));
	DO_AS("chdir", chdir(root));
	mount_new("proc", "proc", safe, NULL);
	mount_new("tmpfs", "dev", MS_NOSUID | MS_STRICTATIME, "mode=755,size=65536k");
	DO_AS("mkdir", mkdir("dev/pts", 0755));
	mount_new("devpts", "dev/pts", MS_NOSUID | MS_NOEXEC,
		  use_fsopen ? "ptmxmode=0666,mode=0620,gid=5"
			     : "newinstance,ptmxmode=0666,mode=0620,gid=5");
	mount_new("sysfs", "sys", safe | MS_RDONLY, NULL);
	mount_cgroup(root);
	DO_AS("mkdir", mkdir("dev/mqueue", 0755));
	mount_new("mqueue", "dev/mqueue", safe, NULL);
	DO_AS("mkdir", mkdir("dev/shm", 0755));
	mount_new("tmpfs", "dev/shm", safe, "mode=1777,size=67108864");
	for (int i = 0; i < 3; i++) {
		snprintf(from, sizeof(from), "%s/%s", binds, files[i]);
		snprintf(to, sizeof(to), "etc/%s", files[i]);
		bind_tree(from, to, 0);
	}
	make_devices();
}

static void enter_root(void)
{
	DO(syscall(SYS_pivot_root, ".", "."));
	DO(umount2(".", MNT_DETACH));
	DO(chdir("/"));
}

static void hide_paths(void)
{
	static const char *const masked[] = {
		"/proc/asound",	       "/proc/acpi",	   "/proc/kcore",	"/proc/keys",
		"/proc/latency_stats", "/proc/timer_list", "/proc/timer_stats", "/proc/sched_debug",
		"/proc/scsi",	       "/sys/firmware"};
	static const char *const readonly[] = {"/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys",
					       "/proc/sysrq-trigger"};
	int empty = -1, tree;
	struct stat st;

	for (size_t i = 0; i < sizeof(readonly) / sizeof(*readonly); i++) {
		tree = clone_tree(AT_FDCWD, readonly[i], OPEN_TREE_CLONE | AT_RECURSIVE);
		if (tree < 0 && errno == ENOENT)
			continue;
		DO_AS("read-only setattr", set_attr(tree, AT_RECURSIVE, MOUNT_ATTR_RDONLY, 0));
		DO_AS("read-only move", put_tree(tree, readonly[i]));
		close(tree);
	}
	for (size_t i = 0; i < sizeof(masked) / sizeof(*masked); i++) {
		if (stat(masked[i], &st) < 0)
			continue;
		if (!S_ISDIR(st.st_mode)) {
			DO_AS("mask file", mount("/dev/null", masked[i], NULL, MS_BIND, NULL));
		} else if (empty < 0) {
			DO_AS("mask dir (new tmpfs)", mount("tmpfs", masked[i], "tmpfs", MS_RDONLY,
							    "nr_blocks=1,nr_inodes=1"));
			empty = DO_AS("open first mask", open(masked[i], O_PATH | O_CLOEXEC));
		} else {
			tree = DO_AS("mask dir (clone)",
				     clone_tree(empty, "", OPEN_TREE_CLONE | AT_EMPTY_PATH));
			DO_AS("mask dir (move)", put_tree(tree, masked[i]));
			close(tree);
		}
	}
}

/* The process ----------------------------------------------------------------------------------------- */

static void loopback_up(void)
{
	struct ifreq request = {.ifr_name = "lo", .ifr_flags = IFF_UP};
	int fd = DO_AS("socket", socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));

	DO_AS("lo up", ioctl(fd, SIOCSIFFLAGS, &request));
	DO_AS("close socket", close(fd));
}

static void load_filter(void)
{
	struct sock_fprog program = {sizeof(filter_code) / sizeof(*filter_code), filter_code};

	DO_AS("seccomp", syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &program));
}

static void drop_and_exec(void)
{
	static const int keep[] = {
		CAP_CHOWN,   CAP_DAC_OVERRIDE, CAP_FSETID,	     CAP_FOWNER,
		CAP_MKNOD,   CAP_NET_RAW,      CAP_SETGID,	     CAP_SETUID,
		CAP_SETFCAP, CAP_SETPCAP,      CAP_NET_BIND_SERVICE, CAP_SYS_CHROOT,
		CAP_KILL,    CAP_AUDIT_WRITE};
	static char *const env[] = {
		"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
		"HOSTNAME=bench", NULL};
	struct __user_cap_header_struct head = {_LINUX_CAPABILITY_VERSION_3, 0};
	struct __user_cap_data_struct caps[2] = {{0}};
	uint64_t mask = 0;
	gid_t groups[] = {0};

	for (size_t i = 0; i < sizeof(keep) / sizeof(*keep); i++)
		mask |= 1ULL << keep[i];
	for (int i = 0; i <= CAP_LAST_CAP; i++)
		if (!(mask >> i & 1))
			DO_AS("bounding set", prctl(PR_CAPBSET_DROP, i));
	DO_AS("setgroups", syscall(SYS_setgroups, 1, groups));
	DO_AS("setresgid", syscall(SYS_setresgid, 0, 0, 0));
	DO_AS("setresuid", syscall(SYS_setresuid, 0, 0, 0));
	/* Without no_new_privileges the filter needs CAP_SYS_ADMIN: before the capabilities go. */
	load_filter();
	caps[0].effective = caps[0].permitted = mask & 0xffffffff;
	caps[1].effective = caps[1].permitted = mask >> 32;
	DO(syscall(SYS_capset, &head, caps));
	DO_AS("close_range", syscall(SYS_close_range, 3, ~0U, 4));
	DO_AS("(child ready)", 0);
	execve(command[0], command, env);
	die(command[0]);
}

static void container(const char *root, const char *binds)
{
	int tasks[MAX_DIRS];

	if (!v2 && !procs_by_parent) {
		open_tasks(tasks);
		join_v1(tasks);
	}
	DO(setsid());
	DO_AS("session keyring", syscall(SYS_keyctl, 1, "bench"));
	umask(0);
	mount_all(root, binds);
	enter_root();
	DO_AS("sysctl", write_file("/proc/sys/net/ipv4/ip_unprivileged_port_start", "0"));
	DO_AS("sysctl", write_file("/proc/sys/net/ipv4/ping_group_range", "0 2147483647"));
	DO(sethostname("bench", 5));
	loopback_up();
	hide_paths();
	umask(022);
	DO_AS("oom_score_adj", write_file("/proc/self/oom_score_adj", "0"));
	drop_and_exec();
}

static int finish(pid_t pid)
{
	int status;

	DO_AS("wait", waitpid(pid, &status, 0));
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

static int run(const char *root, const char *binds)
{
	int cgroup, status;
	pid_t pid;

	make_cgroups();
	cgroup = open_for_clone();
	if (v2)
		attach_devices(cgroup);
	pid = clone_into(CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWNET | CLONE_NEWIPC | CLONE_NEWUTS,
			 cgroup);
	if (pid == 0)
		container(root, binds);
	if (!v2 && procs_by_parent)
		place_v1(pid);
	status = finish(pid);
	for (int i = 0; i < n_dirs; i++)
		DO_AS("rmdir cgroup", rmdir(dirs[i]));
	return status;
}

static int exec(pid_t target)
{
	int tasks[MAX_DIRS], cgroup;
	int pidfd = DO(syscall(SYS_pidfd_open, target, 0));
	pid_t pid;

	cgroup = open_for_clone();
	if (!v2 && !procs_by_parent)
		open_tasks(tasks);
	DO_AS("setns", setns(pidfd, CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWNET | CLONE_NEWIPC |
					    CLONE_NEWUTS | (v2 ? CLONE_NEWCGROUP : 0)));
	pid = clone_into(0, cgroup);
	if (pid == 0) {
		if (!v2 && !procs_by_parent)
			join_v1(tasks);
		DO(setsid());
		DO_AS("session keyring", syscall(SYS_keyctl, 1, "bench"));
		DO_AS("oom_score_adj", write_file("/proc/self/oom_score_adj", "0"));
		drop_and_exec();
	}
	return finish(pid);
}

static void choose(const char *way)
{
	if (!strcmp(way, "procs-by-parent"))
		procs_by_parent = 1;
	else if (!strcmp(way, "fsopen"))
		use_fsopen = 1;
	else if (!strcmp(way, "remount"))
		remount_binds = 1;
	else
		die(way);
}

static void print_trace(void)
{
	for (int i = 0; i < trace->used && i < MAX_STEPS; i++)
		dprintf(2, "%9.1f %9.1f  %s %s\n",
			(trace->steps[i].begin - trace->steps[0].begin) / 1000.0,
			trace->steps[i].ns / 1000.0, trace->steps[i].in_child ? "child " : "parent",
			trace->steps[i].name);
}

int main(int argc, char **argv)
{
	int option, status, is_exec;

	while ((option = getopt(argc, argv, "+2tV:c:u:w:")) != -1) {
		if (option == '2')
			v2 = 1;
		else if (option == 't')
			trace = mmap(NULL, sizeof(*trace), PROT_READ | PROT_WRITE,
				     MAP_SHARED | MAP_ANONYMOUS, -1, 0);
		else if (option == 'V')
			choose(optarg);
		else if (option == 'c' && n_dirs < MAX_DIRS)
			dirs[n_dirs++] = optarg;
		else if (option == 'u' && n_dirs < MAX_DIRS)
			unified = dirs[n_dirs++] = optarg;
		else if (option == 'w' && n_writes < MAX_WRITES)
			writes[n_writes++] = optarg;
		else
			return 2;
	}
	is_exec = optind < argc && !strcmp(argv[optind], "exec");
	if (argc - optind < (is_exec ? 3 : 4))
		return 2;
	command = argv + optind + (is_exec ? 2 : 3);
	status = is_exec ? exec(atoi(argv[optind + 1])) : run(argv[optind + 1], argv[optind + 2]);
	if (trace)
		print_trace();
	return status;
}
