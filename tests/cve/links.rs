// SPDX-License-Identifier: Apache-2.0
//! A victim whose image is hostile and whose /proc must be guarded all the same.

use super::arena::{Arena, bind, delete};
use super::case::Stop;
use super::common::{Bundle, json};
use super::cve_2019_16884::fake_proc;
use super::seen;
use super::weak::Weak;

/// With a volume at /evil that looks like a procfs to whoever only asks for names.
pub(crate) fn victim(arena: &Arena) -> Bundle {
    let fake = arena.path("fake");
    fake_proc(&fake);
    let bundle = Bundle::with_args(&["/bin/sleep", "100"]).patch("/root/readonly", json!(false));
    let bundle = bundle.add_mount(bind(&fake, "/evil"));
    bundle.patch("/linux/sysctl", json!({"net.ipv4.ip_unprivileged_port_start": "1111"}))
}

/// The victim without the attack is created, and guarded.
pub(crate) fn control(bundle: &Bundle) -> Result<(), Stop> {
    bundle.create().ok();
    seen::is_guarded(bundle, bundle.pid())?;
    delete(bundle);
    Ok(())
}

/// 1 if it was refused.
pub(crate) fn is_guarded_or_refused(bundle: &Bundle) -> Result<u32, Stop> {
    if bundle.create().code != 0 {
        return Ok(1);
    }
    let checked = seen::is_guarded(bundle, bundle.pid());
    delete(bundle);
    checked.map(|()| 0)
}

/// The guards get lost: they went to what the links lead to.
pub(crate) fn weaken(weak: &mut Weak) {
    if weak.args[0] != "create" {
        return;
    }
    weak.config["linux"]["maskedPaths"] = json!([]);
    weak.config["linux"]["sysctl"] = json!({});
    for name in ["proc", "sys"] {
        let path = weak.bundle.join("rootfs").join(name);
        super::arena::remove(&path);
        std::fs::create_dir(path).expect("mkdir");
    }
}
