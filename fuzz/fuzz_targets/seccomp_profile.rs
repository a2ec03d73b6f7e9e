// SPDX-License-Identifier: Apache-2.0
//! Any text as `linux.seccomp`: refused by name, or a program that the kernel takes and that does
//! what the rules say.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| creel_fuzz::fuzz::seccomp_profile(text));
