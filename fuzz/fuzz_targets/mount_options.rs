// SPDX-License-Identifier: Apache-2.0
//! `mounts[].options`, separated by commas.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| creel_fuzz::fuzz::mount_options(text));
