// SPDX-License-Identifier: Apache-2.0
//! The rounds: a tree, a config, a swapper, a container; then a look at everything else.

use std::fs;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use super::arena::{Arena, remove};
use super::case::{Case, Outcome, Stop, vulnerable};
use super::common::Bundle;
use super::random::Random;
use super::{config, tree};

pub(crate) const CASE: Case = Case {
    id: "race-fuzz",
    who: "all",
    attack: "random trees, mounts and swaps in the root while it is set up",
    run,
    // Now and then it makes a directory on the host.
    weaken: |weak| {
        let count = weak.arena.join("creates");
        let creates = fs::read(&count).map_or(0, |bytes| bytes.len());
        if weak.args[0] == "create" {
            fs::write(&count, vec![0; creates + 1]).expect("write");
            if creates == 5 {
                fs::create_dir_all(weak.decoy("made")).expect("mkdir");
            }
        }
    },
};

/// The seed of the first round; the others follow.
const SEED: &str = "FUZZ_SEED";

/// A file for what the runtime says when it refuses: is it the right reason?
const ERRORS: &str = "FUZZ_ERRORS";

/// Whatever the root looks like, no command takes that long.
const PATIENCE: Duration = Duration::from_secs(30);

fn run(arena: &Arena) -> Outcome {
    let own = arena.path("own");
    fs::create_dir_all(own.join("dir/deep")).expect("mkdir");
    fs::write(own.join("file"), "bound").expect("write");
    let seed = match std::env::var(SEED) {
        Ok(text) => text.parse().expect("FUZZ_SEED is a number"),
        Err(_) => {
            let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970");
            u64::from(now.subsec_nanos()) << 20
        }
    };
    println!("{SEED}={seed}");
    let template = Bundle::with_args(&["/bin/true"]);
    let host_mounts = mounts();
    let (mut race, mut round, mut started) = (arena.race(), 0, 0);
    while race.goes_on() {
        let mut random = Random::new(seed + round);
        let mut bundle = Bundle::with_args(&["/bin/true"]);
        tree::fill(&bundle.rootfs(), &arena.decoy(""), &mut random);
        config::scramble(&mut bundle, arena, &mut random);
        bundle.write();
        let swapper = Swapper::start(&bundle, random.next());
        // Several times on the same tree: the swapper makes it another one each time.
        for _ in 0..3 {
            let outcome = once(&bundle).and_then(|created| {
                started += created;
                look(arena, &host_mounts)
            });
            if let Err(Stop::Vulnerable(why)) = outcome {
                return vulnerable(format!("{why} ({SEED}={}: {})", seed + round, bundle.config));
            }
        }
        drop(swapper);
        drop(bundle);
        // What was made in the sources of bind mounts was made inside of a container.
        remove(&own.join("dir"));
        fs::create_dir_all(own.join("dir/deep")).expect("mkdir");
        round += 1;
    }
    drop(template);
    Ok(format!("{SEED}={seed}: {} containers of {} set up, nothing outside", started, round * 3))
}

/// Creates, starts and deletes the container; 1 if it could be created.
fn once(bundle: &Bundle) -> Result<u64, Stop> {
    let created = limited(bundle, &["create", bundle.id()])?;
    if created {
        limited(bundle, &["start", bundle.id()])?;
    }
    limited(bundle, &["delete", "--force", bundle.id()])?;
    Ok(u64::from(created))
}

/// Whether the command succeeds; one that hangs is a finding.
fn limited(bundle: &Bundle, args: &[&str]) -> Result<bool, Stop> {
    let mut command = bundle.command(args);
    command.stdin(Stdio::null()).stdout(Stdio::null());
    command.stderr(match std::env::var_os(ERRORS) {
        Some(path) => {
            fs::File::options().append(true).create(true).open(path).expect("open").into()
        }
        None => Stdio::null(),
    });
    let mut child = command.spawn().expect("the runtime starts");
    let begun = Instant::now();
    loop {
        if let Some(status) = child.try_wait().expect("wait") {
            return Ok(status.success());
        }
        if begun.elapsed() > PATIENCE {
            let _ = child.kill();
            child.wait().expect("wait");
            return vulnerable(format!("{args:?} hangs"));
        }
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// Nothing of the host has changed.
fn look(arena: &Arena, host_mounts: &str) -> Result<(), Stop> {
    arena.untouched()?;
    if mounts() != host_mounts {
        return vulnerable("the host's mounts have changed");
    }
    Ok(())
}

fn mounts() -> String {
    fs::read_to_string("/proc/self/mountinfo").expect("mountinfo")
}

/// Ends with this value.
struct Swapper(Child);

impl Swapper {
    fn start(bundle: &Bundle, seed: u64) -> Self {
        let mut command = Command::new(std::env::current_exe().expect("this program"));
        command.args(["swap", &seed.to_string()]).current_dir(bundle.rootfs());
        command.stdin(Stdio::null()).process_group(0);
        Self(command.spawn().expect("the swapper starts"))
    }
}

impl Drop for Swapper {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
