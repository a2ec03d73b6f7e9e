// SPDX-License-Identifier: Apache-2.0
//! What a hook wrote, as part of an error line.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| creel_fuzz::fuzz::hook_output(bytes));
