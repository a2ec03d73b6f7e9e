// SPDX-License-Identifier: Apache-2.0
//! The C `main`: Rust's own start-up makes eighteen system calls for what a short command does not
//! need (a guard page's handler, a name for the thread), and is paid twice by commands that seal.

use std::ffi::OsString;
use std::sync::OnceLock;

static ARGS: OnceLock<Vec<OsString>> = OnceLock::new();

/// The command line, argv[0] first.
pub(crate) fn args() -> &'static [OsString] {
    ARGS.get().map_or(&[], Vec::as_slice)
}

/// Takes a variable out of the environment, before anything is executed that would see it.
pub(crate) fn forget_variable(name: &str) {
    // SAFETY: creel has one thread, so that nobody reads the environment meanwhile.
    unsafe { std::env::remove_var(name) };
}

#[cfg(not(any(test, fuzzing)))]
mod start {
    use std::ffi::{CStr, OsStr, c_char, c_int};
    use std::os::unix::ffi::OsStrExt;

    /// Called by the C library, once, in the only thread.
    #[unsafe(no_mangle)]
    extern "C" fn main(argc: c_int, argv: *const *const c_char) -> c_int {
        let count = usize::try_from(argc).unwrap_or(0);
        let args = (0..count).map(|i| {
            // SAFETY: argv has argc pointers to terminated strings that live as long as the process.
            let arg = unsafe { CStr::from_ptr(*argv.add(i)) };
            OsStr::from_bytes(arg.to_bytes()).to_owned()
        });
        super::ARGS.get_or_init(|| args.collect());
        c_int::from(crate::run().0)
    }
}
