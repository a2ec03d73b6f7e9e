// SPDX-License-Identifier: Apache-2.0
//! What runs as pid 1 of a hostile container and lies in wait for the runtime's processes in it.

use std::collections::HashSet;
use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};

const FOUND: &str = "/volume/found";

fn report(text: &str) {
    let mut file = OpenOptions::new().append(true).create(true).open(FOUND).expect("open found");
    writeln!(file, "{text}").expect("write found");
}

/// Every process but this one.
fn others() -> Vec<String> {
    let own = std::process::id().to_string();
    let all = fs::read_dir("/proc").expect("read /proc").flatten();
    let names = all.map(|entry| entry.file_name().to_string_lossy().into_owned());
    names.filter(|name| name.parse::<u32>().is_ok() && *name != own).collect()
}

/// Whether that process runs a program that the container does not have: the runtime.
fn is_foreign(pid: &str) -> bool {
    let Ok(exe) = fs::metadata(format!("/proc/{pid}/exe")) else { return false };
    let own = ["/own", "/bin/busybox"].map(|path| fs::metadata(path).map(|a| (a.dev(), a.ino())));
    !own.iter().flatten().any(|file| *file == (exe.dev(), exe.ino()))
}

/// `inside access`: memory and descriptors of a runtime that is not the container's program yet.
pub(crate) fn access() {
    report("hunting");
    loop {
        for pid in others() {
            let memory = OpenOptions::new().read(true).write(true).open(format!("/proc/{pid}/mem"));
            let listed = fs::read_dir(format!("/proc/{pid}/fd"));
            let fds = listed.into_iter().flatten().flatten().filter_map(|entry| {
                let options = OpenOptions::new().read(true).custom_flags(nix::libc::O_PATH).clone();
                options.open(entry.path()).ok().map(|_| entry.file_name())
            });
            let fds: Vec<_> = fds.collect();
            // Asked afterwards: what was opened before belonged to the runtime.
            if (memory.is_ok() || !fds.is_empty()) && is_foreign(&pid) {
                report(&format!("process {pid}: memory {}, descriptors {fds:?}", memory.is_ok()));
            }
        }
    }
}

/// `inside overwrite`: holds the file of every foreign process, and writes to it when nothing runs it
/// any more.
pub(crate) fn overwrite() {
    let mut held: Vec<File> = Vec::new();
    let mut known = HashSet::new();
    report("hunting");
    loop {
        for pid in others() {
            let path = format!("/proc/{pid}/exe");
            let options = OpenOptions::new().read(true).custom_flags(nix::libc::O_PATH).clone();
            let Ok(file) = options.open(&path) else { continue };
            let about = file.metadata().expect("stat");
            if is_foreign(&pid) && known.insert((about.dev(), about.ino())) {
                report(&format!("held {:?}", fs::read_link(path).unwrap_or_default()));
                held.push(file);
            }
        }
        for file in &held {
            let again = format!("/proc/self/fd/{}", file.as_raw_fd());
            if let Ok(mut writable) = OpenOptions::new().write(true).open(again) {
                let written = writable.write_all(b"overwritten from a container");
                report(&format!("written: {written:?}"));
            }
        }
    }
}
