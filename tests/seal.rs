// SPDX-License-Identifier: Apache-2.0
//! creel's own file cannot be written through a process that it has put into a container
//! (CVE-2019-5736): not while that runs, and not through a descriptor that is held until it has ended.

mod common;

use std::fs::{self, OpenOptions};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};

use common::{Bundle, can_run, is_creel, lacks};

#[test]
fn a_descriptor_held_past_the_end_of_init_cannot_be_opened_for_writing() {
    if !can_run() || !is_creel() {
        return;
    }
    let bundle = Bundle::new("true");
    bundle.create().ok();
    let exe = format!("/proc/{}/exe", bundle.pid());
    let held = OpenOptions::new()
        .read(true)
        .custom_flags(nix::libc::O_PATH)
        .open(&exe)
        .expect("the waiting init's program");
    bundle.runtime(&["delete", "--force", bundle.id()]).ok();
    // Nothing runs it any more as far as this descriptor goes: what is left is the mount's flag.
    let again = OpenOptions::new().write(true).open(format!("/proc/self/fd/{}", held.as_raw_fd()));
    if lacks("mount_setattr") {
        // The sealed copy in memory, which can be opened.
        let error = std::io::Write::write(&mut again.expect("a memfd"), b"x").unwrap_err();
        assert_eq!(error.raw_os_error(), Some(nix::libc::EPERM), "{error}");
        return;
    }
    let error = again.map(drop).expect_err("opened creel's file for writing");
    let kind = error.raw_os_error();
    assert!(matches!(kind, Some(nix::libc::EROFS | nix::libc::ETXTBSY)), "{error}");
    let about = nix::sys::statvfs::fstatvfs(&held).expect("statvfs");
    assert!(about.flags().contains(nix::sys::statvfs::FsFlags::ST_RDONLY), "not a read-only view");
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
    let before = fs::read(common::runtime()).expect("creel's file");
    bundle.start_detached();
    for _ in 0..10 {
        let run = bundle.exec(&["/evil"]);
        // creel as an interpreter has no command of that name; what counts is its file.
        assert_ne!(run.code, 0, "{}", run.out);
    }
    assert_eq!(fs::read(common::runtime()).expect("creel's file"), before);
}
