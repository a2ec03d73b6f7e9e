//! config.md#valid-values and runtime.md#create: what no other table refuses.
// SPDX-License-Identifier: Apache-2.0

use serde_json::json;

use crate::case::{Case, How};

const VALID: &str = "config.md#valid-values: MUST error when an invalid value is encountered";

pub(crate) const CASES: &[Case] = &[
    Case::refused("refused-namespaces-not-a-list", VALID, || json!({"linux": {"namespaces": {}}})),
    Case::refused("refused-args-not-strings", VALID, || json!({"process": {"args": [1, 2]}})),
    Case::refused(
        "refused-rlimit-negative",
        VALID,
        || json!({"process": {"rlimits": [{"type": "RLIMIT_NOFILE", "soft": -5, "hard": -5}]}}),
    ),
    Case::refused("refused-mapping-out-of-range", VALID, || {
        let range = json!([{"containerID": 0, "hostID": 0, "size": 8_589_934_592_u64}]);
        json!({"linux": {"+namespaces": [{"type": "user"}], "uidMappings": range, "gidMappings": range}})
    }),
    Case::refused("refused-mappings-overlap", VALID, || {
        let ranges = json!([
            {"containerID": 0, "hostID": 100_000, "size": 100},
            {"containerID": 50, "hostID": 200_000, "size": 100}
        ]);
        json!({"linux": {"+namespaces": [{"type": "user"}], "uidMappings": ranges, "gidMappings": ranges}})
    }),
    Case {
        name: "refused-user-unmapped",
        clause: "runtime.md#create: MUST error if a property cannot be applied",
        how: How::RefusedByStart(|| {
            let range = json!([{"containerID": 0, "hostID": 0, "size": 10}]);
            json!({
                "process": {"user": {"uid": 77, "gid": 77}},
                "linux": {"+namespaces": [{"type": "user"}], "uidMappings": range, "gidMappings": range}
            })
        }),
    },
    Case::refused(
        "refused-time-offsets-without-namespace",
        VALID,
        || json!({"linux": {"timeOffsets": {"monotonic": {"secs": 5}}}}),
    ),
    Case::refused(
        "refused-time-offset-unknown-clock",
        VALID,
        || json!({"linux": {"+namespaces": [{"type": "time"}], "timeOffsets": {"unheard": {"secs": 5}}}}),
    ),
    Case::refused(
        "refused-device-access-unknown",
        VALID,
        || json!({"linux": {"resources": {"devices": [{"allow": true, "type": "c", "access": "rwz"}]}}}),
    ),
    Case::refused(
        "refused-device-rule-type-unknown",
        VALID,
        || json!({"linux": {"resources": {"devices": [{"allow": true, "type": "z", "access": "rwm"}]}}}),
    ),
    Case::refused(
        "refused-apparmor-profile-unknown",
        VALID,
        || json!({"process": {"apparmorProfile": "unheard-of-profile"}}),
    ),
    Case::refused(
        "refused-io-priority-out-of-range",
        VALID,
        || json!({"process": {"ioPriority": {"class": "IOPRIO_CLASS_BE", "priority": 99}}}),
    ),
    Case::refused(
        "refused-scheduler-priority-out-of-range",
        VALID,
        || json!({"process": {"scheduler": {"policy": "SCHED_FIFO", "priority": 5000}}}),
    ),
    Case::refused("refused-hook-point-not-a-list", VALID, || json!({"hooks": {"poststop": "x"}})),
];
