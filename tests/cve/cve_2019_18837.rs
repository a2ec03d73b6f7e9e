// SPDX-License-Identifier: Apache-2.0
//! A mount's target was a link in the image: the runtime followed it on the host, made the missing
//! directories there and mounted there.

use std::fs;
use std::path::Path;

use super::arena::{Arena, bind, control, delete, marked_tmpfs, replace_by_link};
use super::case::{Case, Outcome};
use super::common::{Bundle, Value, json};
use super::seen;

pub(crate) const CASE: Case = Case {
    id: "CVE-2019-18837",
    who: "crun",
    attack: "mount targets in the image are links to the host's directories and files",
    run,
    weaken: |weak| {
        if weak.args[0] == "create" {
            weak.keep_mounts(|mount| mount["source"] != "cve-mark");
        }
    },
};

const MARK: &str = "cve-mark";

fn run(arena: &Arena) -> Outcome {
    let file = arena.path("file");
    fs::write(&file, "bound").expect("write");
    let decoy = arena.decoy("");
    let climb = format!("../../../../../../../..{}", decoy.display());
    let attacks: [(&str, &str, &Path, Value); 7] = [
        ("/out", "out", &decoy, marked_tmpfs(MARK, "/out")),
        ("/out/new/er", "out", &decoy, marked_tmpfs(MARK, "/out/new/er")),
        ("/up/new", "up", Path::new(&climb), marked_tmpfs(MARK, "/up/new")),
        ("/deep", "deep", &arena.decoy("deep/er"), marked_tmpfs(MARK, "/deep")),
        ("/over", "over", &arena.decoy("secret"), bind(&file, "/over")),
        ("/create", "create", &arena.decoy("created"), bind(&file, "/create")),
        ("/sys", "sys", &decoy, json!({"destination": "/sys", "type": "sysfs", "source": MARK})),
    ];
    let mut refused = 0;
    for (target, link, leads_to, mount) in &attacks {
        let is_marked = mount["source"] == MARK;
        let mut bundle = Bundle::with_args(&["/bin/true"]).patch("/root/readonly", json!(false));
        bundle.config["mounts"]
            .as_array_mut()
            .expect("mounts")
            .retain(|m| m["destination"] != *target);
        bundle.set("/mounts/-", mount.clone());
        control(&bundle);
        let _ = fs::remove_dir_all(bundle.rootfs().join("out/new"));
        replace_by_link(&bundle.rootfs().join(link), leads_to);
        if bundle.create().code == 0 {
            if is_marked {
                seen::landed_inside(bundle.pid(), MARK)?;
            }
            delete(&bundle);
        } else {
            refused += 1;
        }
        arena.untouched()?;
    }
    Ok(format!("{} targets, {refused} of them refused", attacks.len()))
}
