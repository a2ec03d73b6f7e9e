// SPDX-License-Identifier: Apache-2.0
//! creel's own file cannot be written through a process that it has put into a container
//! (CVE-2019-5736): not while that runs, and not through a descriptor that is held until it has ended.
//! Who does what is in tests/cve/cve_2019_5736.rs; here, each way of protection is looked at.

mod common;

use std::fs::{self, File, OpenOptions};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use common::{Bundle, can_run, is_creel, is_root, lacks, runtime};
use nix::fcntl::{FcntlArg, SealFlag, fcntl};
use nix::sys::statvfs::{FsFlags, fstatvfs};

/// The program of a process, to hold.
fn hold(exe: &str) -> File {
    let mut options = OpenOptions::new();
    options.read(true).custom_flags(nix::libc::O_PATH).open(exe).expect("the process's program")
}

#[track_caller]
fn cannot_be_written(held: &File) {
    let again = OpenOptions::new().write(true).open(format!("/proc/self/fd/{}", held.as_raw_fd()));
    let error = again.map(drop).expect_err("opened creel's file for writing");
    let kind = error.raw_os_error();
    assert!(matches!(kind, Some(nix::libc::EROFS | nix::libc::ETXTBSY)), "{error}");
}

fn is_read_only_view(held: &File) -> bool {
    fstatvfs(held).expect("statvfs").flags().contains(FsFlags::ST_RDONLY)
}

#[test]
fn a_descriptor_held_past_the_end_of_init_cannot_be_opened_for_writing() {
    if !is_root() || !is_creel() {
        return;
    }
    let bundle = Bundle::new("true");
    bundle.create().ok();
    let held = hold(&format!("/proc/{}/exe", bundle.pid()));
    bundle.runtime(&["delete", "--force", bundle.id()]).ok();
    // Nothing runs it any more as far as this descriptor goes: what is left is the mount's flag.
    if lacks("mount_setattr") {
        // The sealed copy in memory.
        cannot_be_written_any_more(&held);
        return;
    }
    cannot_be_written(&held);
    assert!(is_read_only_view(&held));
}

#[test]
fn a_script_whose_interpreter_is_the_runtime_itself_gets_the_read_only_view() {
    if !can_run() || !is_creel() {
        return;
    }
    // The kernel runs creel's own file in the container, as the interpreter of /evil; a sibling tries
    // to write to it all the while.
    let bundle = Bundle::new(
        "for i in $(seq 200); do for p in /proc/[0-9]*; do \
           ( : >$p/exe ) 2>/dev/null && [ \"$(readlink $p/exe)\" != /bin/busybox ] && echo written; \
         done; done; echo done",
    );
    let evil = bundle.rootfs().join("evil");
    fs::write(&evil, "#!/proc/self/exe\n").expect("write the script");
    fs::set_permissions(&evil, fs::Permissions::from_mode(0o755)).expect("chmod");
    let before = fs::read(runtime()).expect("creel's file");
    bundle.start_detached();
    for _ in 0..10 {
        let run = bundle.exec(&["/evil"]);
        // creel as an interpreter has no command of that name; what counts is its file.
        assert_ne!(run.code, 0, "{}", run.out);
    }
    assert_eq!(fs::read(runtime()).expect("creel's file"), before);
}

/// A copy of creel that `wrapper` starts, as the owner of it, and that waits for its config.json, a fifo,
/// for ever: by then it is protected. What is held of it cannot be written, now or when it has ended.
fn protected(wrapper: &[&str], owner: u32) -> Option<File> {
    if !is_root() || !is_creel() {
        return None;
    }
    if std::env::var_os("ENOSYS").is_some() {
        println!(
            "SKIP: the launcher that refuses system calls is not creel's file, which is looked at"
        );
        return None;
    }
    let bundle = Bundle::new("true");
    let creel = bundle.dir.join("creel");
    fs::copy(runtime(), &creel).expect("copy creel");
    let before = fs::read(&creel).expect("creel's file");
    let config = bundle.dir.join("config.json");
    nix::unistd::mkfifo(&config, nix::sys::stat::Mode::from_bits_truncate(0o600)).expect("mkfifo");
    for path in [&bundle.dir, &creel, &config] {
        std::os::unix::fs::chown(path, Some(owner), Some(owner)).expect("chown");
    }
    let (program, args) = wrapper.split_first().expect("a program");
    let mut command = Command::new(program);
    command.args(args).arg(&creel).arg("--root").arg(bundle.state_root()).args(["create", "c"]);
    command.current_dir(&bundle.dir).stdin(Stdio::null()).stdout(Stdio::null());
    let mut child = command.spawn().expect("creel starts");
    let held = wait_until_protected(child.id(), &creel);
    if let Some(held) = &held {
        cannot_be_written(held);
    }
    child.kill().expect("kill");
    child.wait().expect("wait");
    let held = held.expect("never protected");
    cannot_be_written_any_more(&held);
    assert_eq!(fs::read(&creel).expect("creel's file"), before);
    Some(held)
}

/// After its end a memfd may be opened for writing; only, nothing can be written to it.
fn cannot_be_written_any_more(held: &File) {
    let again = OpenOptions::new().write(true).open(format!("/proc/self/fd/{}", held.as_raw_fd()));
    if let Ok(mut file) = again {
        std::io::Write::write_all(&mut file, b"x").expect_err("wrote to creel's file");
    }
}

/// Its program once that is no longer the plain file.
fn wait_until_protected(pid: u32, creel: &Path) -> Option<File> {
    let (begun, exe) = (Instant::now(), format!("/proc/{pid}/exe"));
    while begun.elapsed() < Duration::from_secs(20) {
        let name = fs::read_link(&exe).unwrap_or_default();
        let held = hold(&exe);
        if name.to_string_lossy().contains("memfd:creel")
            || (is_of(&name, creel) && is_read_only_view(&held))
        {
            return Some(held);
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    None
}

/// A detached mount shows its file as its root.
fn is_of(name: &Path, creel: &Path) -> bool {
    name == creel || name == Path::new("/")
}

const AS_USER: [&str; 5] =
    ["setpriv", "--reuid=1234", "--regid=1234", "--clear-groups", "--inh-caps=-all"];

#[test]
fn root_runs_from_a_read_only_view() {
    let Some(held) = protected(&["env"], 0) else { return };
    assert!(is_read_only_view(&held));
}

#[test]
fn an_ordinary_user_runs_from_a_read_only_view() {
    let Some(held) = protected(&AS_USER, 1234) else { return };
    assert!(is_read_only_view(&held));
}

#[test]
fn without_user_namespaces_an_ordinary_user_runs_from_a_sealed_copy() {
    let none = "echo 0 >/proc/sys/user/max_user_namespaces && exec setpriv --bounding-set=-all \
                --inh-caps=-all -- \"$@\"";
    let mut wrapper = AS_USER.to_vec();
    wrapper.extend(["unshare", "--map-root-user", "sh", "-c", none, "sh"]);
    let Some(held) = protected(&wrapper, 1234) else { return };
    assert!(!is_read_only_view(&held), "a view, although no namespace could be made");
    let copy = File::open(format!("/proc/self/fd/{}", held.as_raw_fd())).expect("open");
    let seals = fcntl(&copy, FcntlArg::F_GET_SEALS).expect("seals");
    assert!(SealFlag::from_bits_retain(seals).contains(SealFlag::F_SEAL_WRITE));
}
