// SPDX-License-Identifier: Apache-2.0
//! The C `main`: Rust's own start-up makes eighteen system calls for what a short command does not
//! need (a guard page's handler, a name for the thread), and is paid twice by commands that seal.

use std::ffi::{CStr, OsStr, c_char};
use std::os::unix::ffi::OsStrExt;
use std::sync::atomic::{AtomicPtr, Ordering};

/// The C library's list: null-terminated, of strings that live as long as the process. Null in tests.
static ARGV: AtomicPtr<*const c_char> = AtomicPtr::new(std::ptr::null_mut());

unsafe extern "C" {
    static environ: *const *const c_char;
}

/// The command line, argv[0] first.
pub(crate) fn args() -> impl Iterator<Item = &'static OsStr> {
    let argv = ARGV.load(Ordering::Relaxed);
    let next = move |i: &usize| {
        if argv.is_null() {
            return None;
        }
        // SAFETY: the index is not past the null that ends the list: the iterator stops there.
        let arg = unsafe { *argv.add(*i) };
        // SAFETY: not null, so it is a terminated string that stays.
        (!arg.is_null()).then(|| OsStr::from_bytes(unsafe { CStr::from_ptr(arg) }.to_bytes()))
    };
    (0..).map_while(move |i| next(&i))
}

/// The arguments and the environment as the kernel takes them.
pub(super) fn raw() -> (*const *const c_char, *const *const c_char) {
    // SAFETY: creel has one thread, so that nobody changes the environment meanwhile.
    (ARGV.load(Ordering::Relaxed), unsafe { environ })
}

/// Takes a variable out of the environment, before anything is executed that would see it.
pub(crate) fn forget_variable(name: &str) {
    // SAFETY: creel has one thread, so that nobody reads the environment meanwhile.
    unsafe { std::env::remove_var(name) };
}

/// The environment and one more variable, ended as the kernel takes it; good for as long as that one.
pub(super) fn env_with(more: &CStr) -> Vec<*const c_char> {
    let (_, env) = raw();
    let mut list = Vec::new();
    if !env.is_null() {
        // SAFETY: the list ends with a null, behind which nothing is looked for.
        let at = |i: usize| unsafe { *env.add(i) };
        list.extend((0..).map(at).take_while(|variable| !variable.is_null()));
    }
    list.extend([more.as_ptr(), std::ptr::null()]);
    list
}

#[cfg(not(any(test, fuzzing)))]
mod start {
    use std::ffi::{c_char, c_int};
    use std::sync::atomic::Ordering;

    /// Called by the C library, once, in the only thread.
    #[unsafe(no_mangle)]
    extern "C" fn main(_: c_int, argv: *mut *const c_char) -> c_int {
        super::ARGV.store(argv, Ordering::Relaxed);
        c_int::from(crate::run().0)
    }
}
