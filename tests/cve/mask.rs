// SPDX-License-Identifier: Apache-2.0
//! Masked files, and whether they are.

use std::fs;

use super::case::{Stop, vulnerable};
use super::common::{Bundle, json};
use super::seen;
use super::weak::Weak;

/// Below /proc only those that are harmless to look at.
const MASKED: [&str; 3] = ["/masked", "/proc/kcore", "/proc/timer_list"];

pub(crate) fn victim() -> Bundle {
    let bundle = Bundle::with_args(&["/bin/sleep", "100"]);
    fs::write(bundle.rootfs().join("masked"), "not for the container").expect("write");
    bundle.patch("/linux/maskedPaths", json!(MASKED))
}

/// Each masked file is the real null device.
pub(crate) fn holds(bundle: &Bundle) -> Result<(), Stop> {
    let pid = bundle.pid();
    for path in MASKED {
        if path.starts_with("/proc") && !std::path::Path::new(path).exists() {
            continue;
        }
        match seen::stat(pid, path) {
            Ok(about) if seen::device(&about) == (1, 3) => {}
            Ok(_) => return vulnerable(format!("{path} is not masked by the null device")),
            Err(errno) => return vulnerable(format!("{path}: {errno}")),
        }
    }
    Ok(())
}

/// Nothing is masked.
pub(crate) fn weaken(weak: &mut Weak) {
    if weak.args[0] == "create" {
        weak.config["linux"]["maskedPaths"] = json!([]);
    }
}
