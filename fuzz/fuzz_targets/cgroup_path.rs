// SPDX-License-Identifier: Apache-2.0
//! `linux.cgroupsPath`, for both drivers.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| creel_fuzz::fuzz::cgroup_path(text));
