// SPDX-License-Identifier: Apache-2.0
//! Flag values, cpuset lists, lines of procfs.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| creel_fuzz::fuzz::texts(text));
