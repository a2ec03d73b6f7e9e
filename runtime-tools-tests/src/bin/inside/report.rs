//! One line a finding on standard output: `ok GROUP: WHAT` or `not ok GROUP: WHAT: DETAIL`.
// SPDX-License-Identifier: Apache-2.0

use std::fmt::Debug;
use std::process::ExitCode;

#[derive(Debug, Default)]
pub(crate) struct Report {
    pub(crate) group: &'static str,
    count: usize,
    failed: usize,
}

impl Report {
    pub(crate) fn is(&mut self, holds: bool, what: &str, detail: impl FnOnce() -> String) {
        self.count += 1;
        if holds {
            println!("ok {}: {what}", self.group);
        } else {
            self.failed += 1;
            println!("not ok {}: {what}: {}", self.group, detail().replace('\n', " "));
        }
    }

    pub(crate) fn equal<T: PartialEq + Debug>(&mut self, what: &str, want: T, have: T) {
        self.is(want == have, what, || format!("want {want:?}, have {have:?}"));
    }

    /// A value that could not be read is a finding too.
    pub(crate) fn value<T, E: ToString>(&mut self, what: &str, got: Result<T, E>) -> Option<T> {
        match got {
            Ok(value) => Some(value),
            Err(error) => {
                self.is(false, what, || error.to_string());
                None
            }
        }
    }

    /// The closing line tells the driver that the checker was not cut off.
    pub(crate) fn close(&self) -> ExitCode {
        println!("inside: {} checks, {} failed", self.count, self.failed);
        if self.failed == 0 { ExitCode::SUCCESS } else { ExitCode::from(1) }
    }
}
