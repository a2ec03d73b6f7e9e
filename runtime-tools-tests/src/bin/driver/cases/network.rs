//! config-linux.md: network devices.
// SPDX-License-Identifier: Apache-2.0

use std::path::Path;

use nix::sched::{CloneFlags, unshare};
use serde_json::{Value, json};

use conformance::sys;

use crate::case::{Case, Outcome, ensure, skip};
use crate::stage::Stage;

pub(crate) const CASES: &[Case] = &[
    Case::run(
        "netdevices-moved",
        "config-linux.md#network-devices: listed devices MUST be available and up in the container",
        |stage| moved(stage, json!({"conf0": {}})),
    ),
    Case::run(
        "netdevices-renamed",
        "config-linux.md#network-devices: name is the device's name in the container",
        |stage| moved(stage, json!({"conf0": {"name": "inner0"}})),
    ),
    Case::run(
        "netdevices-name-taken",
        "config-linux.md#network-devices: MUST error if the name exists in the container",
        |stage| refused(stage, json!({"conf0": {"name": "lo"}})),
    ),
    Case::run(
        "netdevices-absent",
        "runtime.md#create: MUST error if a property cannot be applied",
        |stage| refused(stage, json!({"conf7": {}})),
    ),
];

/// A device in a network namespace of the case, in which the runtime then runs.
fn device() -> Outcome {
    unshare(CloneFlags::CLONE_NEWNET).map_err(std::io::Error::from)?;
    if !Path::new("/dev/net/tun").exists() {
        return skip("no /dev/net/tun to make a device with");
    }
    Ok(sys::make_tap("conf0")?)
}

fn config(devices: Value) -> Value {
    let base = crate::config::base();
    let mut mounts = base["mounts"].clone();
    // The host's sysfs would show the host's devices.
    if let Some(sys) =
        mounts.as_array_mut().into_iter().flatten().find(|entry| entry["destination"] == "/sys")
    {
        *sys =
            json!({"destination": "/sys", "type": "sysfs", "source": "sysfs", "options": ["ro"]});
    }
    json!({
        "mounts": mounts,
        "linux": {"+namespaces": [{"type": "network"}], "netDevices": devices}
    })
}

fn moved(stage: &mut Stage, devices: Value) -> Outcome {
    device()?;
    stage.check_inside("netdevices", config(devices))?;
    let mine = std::fs::read_to_string("/proc/self/net/dev")?;
    ensure(!mine.contains("conf0"), || "the device is still outside".into())
}

fn refused(stage: &mut Stage, devices: Value) -> Outcome {
    device()?;
    stage.must_refuse(config(devices))?;
    let mine = std::fs::read_to_string("/proc/self/net/dev")?;
    ensure(mine.contains("conf0"), || "the device is gone from outside".into())
}
