// SPDX-License-Identifier: Apache-2.0
//! POSIX extended regular expressions: regcomp(3), regexec(3) of the C library.

use std::ffi::CString;
use std::mem::MaybeUninit;
use std::ptr;

/// A compiled expression.
pub(crate) struct Regex {
    pattern: CString,
    compiled: Box<libc::regex_t>,
}

impl Regex {
    /// # Errors
    /// What is wrong with it, in the C library's words.
    pub(crate) fn new(pattern: &str) -> Result<Self, String> {
        let pattern = CString::new(pattern).map_err(|_| "a null byte".to_owned())?;
        let mut compiled = Box::new(MaybeUninit::<libc::regex_t>::zeroed());
        let flags = libc::REG_EXTENDED | libc::REG_NOSUB;
        // SAFETY: the pattern is terminated and outlives the call, which writes one regex_t.
        let code = unsafe { libc::regcomp(compiled.as_mut_ptr(), pattern.as_ptr(), flags) };
        if code != 0 {
            return Err(describe(code));
        }
        // SAFETY: regcomp has succeeded, so it has filled it.
        let compiled = unsafe { compiled.assume_init() };
        Ok(Self { pattern, compiled })
    }

    /// Whether it is found anywhere in the text.
    pub(crate) fn is_in(&self, text: &str) -> bool {
        let Ok(text) = CString::new(text) else { return false };
        // SAFETY: the expression is compiled, the text terminated; with no room for matches none is
        // written.
        unsafe {
            libc::regexec(&raw const *self.compiled, text.as_ptr(), 0, ptr::null_mut(), 0) == 0
        }
    }
}

fn describe(code: libc::c_int) -> String {
    let mut text = [0_u8; 128];
    // SAFETY: at most that many bytes are written, a terminator among them; without an expression
    // (POSIX allows null) the text is the general one.
    unsafe { libc::regerror(code, ptr::null(), text.as_mut_ptr().cast(), text.len()) };
    let text = text.split(|byte| *byte == 0).next().unwrap_or_default();
    String::from_utf8_lossy(text).into_owned()
}

impl Drop for Regex {
    fn drop(&mut self) {
        // SAFETY: it was compiled, and is freed once.
        unsafe { libc::regfree(&raw mut *self.compiled) };
    }
}

impl std::fmt::Debug for Regex {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Regex({:?})", self.pattern)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn extended_expressions_anywhere_in_the_text() {
        let is_in = |pattern, text| Regex::new(pattern).expect("valid").is_in(text);
        assert!(is_in("b+", "abbc") && is_in("^web-[0-9]+$", "web-12") && is_in("a|x", "x"));
        assert!(!is_in("^web-[0-9]+$", "web-12a") && !is_in("b", "a\0b"));
        assert!(is_in("", "anything"));
    }

    #[test]
    fn a_refusal_has_the_library_s_words() {
        for bad in ["[", "(", "a\0b"] {
            let text = Regex::new(bad).expect_err("invalid");
            assert!(!text.is_empty() && !text.contains('\0'), "{text:?}");
        }
    }
}
