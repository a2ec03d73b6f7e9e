// SPDX-License-Identifier: Apache-2.0
//! `linux.resources`, also of `update --resources`.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| creel_fuzz::fuzz::resources(text));
