// SPDX-License-Identifier: Apache-2.0
//! The attacker's container: it shares a volume with the victim and exchanges two names in it, as
//! fast as it can. And this program inside containers, whose other parts hunt for what a runtime
//! leaves in reach.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use nix::fcntl::{AT_FDCWD, RenameFlags, renameat2};

use super::arena::{Arena, delete, write_executable};
use super::common::{Bundle, json};

/// Nothing in a container outlives this, should everything else fail.
const LONGEST: Duration = Duration::from_secs(3600);

/// Puts this program and the libraries that it has loaded into a root file system, as /own.
pub(crate) fn install(rootfs: &Path) {
    let own = std::env::current_exe().expect("this program");
    fs::copy(own, rootfs.join("own")).expect("copy this program");
    let maps = fs::read_to_string("/proc/self/maps").expect("maps");
    let mut libraries: Vec<&str> = maps.lines().filter_map(|l| l.split(' ').next_back()).collect();
    libraries.retain(|path| path.starts_with('/') && path.contains(".so"));
    libraries.dedup();
    for library in libraries {
        // The loader is known by the path in the program, the others by the loader's own search.
        let name = library.rsplit('/').next().expect("a name");
        for dir in ["lib", "lib64", "usr/lib"] {
            let dir = rootfs.join(dir);
            fs::create_dir_all(&dir).expect("mkdir");
            fs::copy(library, dir.join(name)).expect("copy a library");
        }
    }
}

/// Runs until it is dropped.
pub(crate) struct Racer(Bundle);

impl Racer {
    /// Exchanges `one` and `other` of the arena's volume, from inside a container.
    pub(crate) fn start(arena: &Arena, one: &str, other: &str) -> Self {
        let path = |name: &str| format!("/volume/{name}");
        Self::begin(arena, &["/own", "inside", "exchange", &path(one), &path(other)])
    }

    fn begin(arena: &Arena, args: &[&str]) -> Self {
        let bundle = Bundle::with_args(args).add_mount(arena.volume_mount("/volume"));
        let bundle = bundle.patch("/hostname", json!("racer"));
        install(&bundle.rootfs());
        bundle.start_detached();
        let ready = arena.volume().join("racing");
        let begun = Instant::now();
        while !ready.exists() {
            assert!(begun.elapsed() < Duration::from_secs(20), "the racer never starts");
            std::thread::sleep(Duration::from_millis(5));
        }
        Self(bundle)
    }
}

impl Drop for Racer {
    fn drop(&mut self) {
        delete(&self.0);
    }
}

/// `inside exchange ONE OTHER`.
pub(crate) fn exchange(one: &str, other: &str) {
    let begun = Instant::now();
    let swap = || {
        renameat2(AT_FDCWD, one, AT_FDCWD, other, RenameFlags::RENAME_EXCHANGE).expect("exchange");
    };
    swap();
    write_executable(Path::new("/volume/racing"), "");
    let mut pause = 0_u32;
    while begun.elapsed() < LONGEST {
        for _ in 0..64 {
            swap();
            // Not always the same rhythm: now and then it stays for a while.
            pause = pause.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            for _ in 0..(pause >> 22) {
                std::hint::spin_loop();
            }
        }
    }
}
