// SPDX-License-Identifier: Apache-2.0
//! state.json of a container.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| creel_fuzz::fuzz::state(text));
