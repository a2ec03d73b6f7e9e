// SPDX-License-Identifier: Apache-2.0
//! What a case is and how it can end.

use super::arena::Arena;
use super::weak::Weak;

/// One vulnerability: the attack set up for real, and a runtime weakened so that the attack succeeds.
pub(crate) struct Case {
    pub(crate) id: &'static str,
    /// Whose it was.
    pub(crate) who: &'static str,
    pub(crate) attack: &'static str,
    pub(crate) run: fn(&Arena) -> Outcome,
    /// Gives a sound runtime the flaw, or its effect: the case must notice.
    pub(crate) weaken: fn(&mut Weak),
}

/// What was seen to hold, or why the case ended otherwise. A case that could not be set up panics.
pub(crate) type Outcome = Result<String, Stop>;

#[derive(Debug)]
pub(crate) enum Stop {
    Vulnerable(String),
    Skipped(String),
}

pub(crate) fn vulnerable<T>(why: impl Into<String>) -> Result<T, Stop> {
    Err(Stop::Vulnerable(why.into()))
}

pub(crate) fn skipped<T>(why: impl Into<String>) -> Result<T, Stop> {
    Err(Stop::Skipped(why.into()))
}
