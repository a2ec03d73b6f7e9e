// SPDX-License-Identifier: Apache-2.0
//! `exec --process`.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| creel_fuzz::fuzz::process(text));
