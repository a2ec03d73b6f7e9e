// SPDX-License-Identifier: Apache-2.0
//! config.json, to the plan of `create`.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| creel_fuzz::fuzz::config(text));
