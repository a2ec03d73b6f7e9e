// SPDX-License-Identifier: Apache-2.0
//! A directory of the host stayed open in the runtime's process inside the container, and the working
//! directory was /proc/self/fd/N: the container's program started outside of its root.

use super::arena::{Arena, SECRET, control, exec};
use super::case::{Case, Outcome, Stop, vulnerable};
use super::common::{Bundle, Run, json};

pub(crate) const CASE: Case = Case {
    id: "CVE-2024-21626",
    who: "runc",
    attack: "process.cwd and exec --cwd of /proc/self/fd/3 to 40; descriptors left open",
    run,
    // A directory of the host in reach, as if it had stayed open.
    weaken: |weak| {
        if weak.args[0] == "run" && weak.config["process"]["cwd"] != "/" {
            let decoy = weak.decoy("");
            let mount = json!({"destination": "/leak", "type": "bind", "source": decoy,
                               "options": ["bind"]});
            weak.config["mounts"].as_array_mut().expect("mounts").push(mount);
            weak.config["process"]["cwd"] = json!("/leak");
        }
    },
};

/// Prints what of the host can be read from here.
fn spy(arena: &Arena) -> String {
    let decoy = arena.decoy("secret");
    let up = "../".repeat(12);
    format!("cat ./secret {up}{} 2>/dev/null; pwd; true", &decoy.display().to_string()[1..])
}

fn run(arena: &Arena) -> Outcome {
    let spy = spy(arena);
    let mut bundle = Bundle::new(&spy);
    control(&bundle);
    let mut entered = 0;
    for n in 3..=40 {
        for cwd in [format!("/proc/self/fd/{n}"), format!("/proc/self/fd/{n}/..")] {
            bundle.set("/process/cwd", json!(cwd));
            entered += inspect(&format!("process.cwd {cwd}"), &bundle.run())?;
        }
    }
    bundle.set("/process/cwd", json!("/"));
    bundle.set("/process/args", json!(["/bin/sleep", "100"]));
    bundle.start_detached();
    only_streams("init", bundle.pid())?;
    for n in 3..=40 {
        let cwd = format!("/proc/self/fd/{n}");
        let run = exec(&bundle, &["--cwd", &cwd], &["sh", "-c", &spy]);
        entered += inspect(&format!("exec --cwd {cwd}"), &run)?;
    }
    let pid_file = bundle.dir.join("pid");
    let path = pid_file.to_str().expect("UTF-8");
    exec(&bundle, &["--detach", "--pid-file", path], &["sleep", "100"]).ok();
    let pid = std::fs::read_to_string(pid_file).expect("a pid file");
    let pid = pid.trim().parse().expect("a pid");
    only_streams("exec", pid)?;
    Ok(format!("114 directories, {entered} of them entered, none of the host's"))
}

fn inspect(what: &str, run: &Run) -> Result<u32, Stop> {
    if run.out.contains(SECRET) {
        return vulnerable(format!("{what}: the host's files can be read"));
    }
    Ok(u32::from(run.code == 0))
}

/// Of the running process, seen from the host.
fn only_streams(what: &str, pid: i32) -> Result<(), Stop> {
    // Some runtimes return before the program is executed.
    let exe = format!("/proc/{pid}/exe");
    while !std::fs::read_link(&exe).is_ok_and(|exe| exe.ends_with("busybox")) {
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    for entry in std::fs::read_dir(format!("/proc/{pid}/fd")).expect("its descriptors") {
        let path = entry.expect("an entry").path();
        let name = path.file_name().expect("a name").to_string_lossy().into_owned();
        if name.parse::<u32>().is_ok_and(|fd| fd > 2) {
            let target = std::fs::read_link(&path).unwrap_or_default();
            return vulnerable(format!("{what}: descriptor {name} is open: {}", target.display()));
        }
    }
    Ok(())
}
