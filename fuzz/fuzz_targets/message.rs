// SPDX-License-Identifier: Apache-2.0
//! What comes from the clone, from CRIU, from a bus; a saved seccomp filter.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| creel_fuzz::fuzz::message(bytes));
