//! A case: its name, the clause that it holds the runtime to, and how.
// SPDX-License-Identifier: Apache-2.0

use serde_json::Value;

use crate::stage::Stage;

/// Why a case ended early.
#[derive(Debug)]
pub(crate) enum Stop {
    Failed(String),
    Skipped(String),
}

pub(crate) type Outcome<T = ()> = Result<T, Stop>;

impl From<String> for Stop {
    fn from(text: String) -> Stop {
        Stop::Failed(text)
    }
}

impl From<std::io::Error> for Stop {
    fn from(error: std::io::Error) -> Stop {
        Stop::Failed(error.to_string())
    }
}

impl From<serde_json::Error> for Stop {
    fn from(error: serde_json::Error) -> Stop {
        Stop::Failed(error.to_string())
    }
}

#[derive(Debug)]
pub(crate) enum How {
    /// A sequence of its own.
    Run(fn(&mut Stage) -> Outcome),
    /// A patch of the base config; the named groups of `inside check` then hold.
    Inside(&'static str, fn() -> Value),
    /// A patch that create must refuse, leaving nothing.
    Refused(fn() -> Value),
    /// A patch that must be refused by create or, at the latest, by start.
    RefusedByStart(fn() -> Value),
}

#[derive(Debug)]
pub(crate) struct Case {
    pub(crate) name: &'static str,
    pub(crate) clause: &'static str,
    pub(crate) how: How,
}

impl Case {
    pub(crate) const fn run(
        name: &'static str,
        clause: &'static str,
        work: fn(&mut Stage) -> Outcome,
    ) -> Case {
        Case { name, clause, how: How::Run(work) }
    }

    pub(crate) const fn inside(
        name: &'static str,
        clause: &'static str,
        groups: &'static str,
        patch: fn() -> Value,
    ) -> Case {
        Case { name, clause, how: How::Inside(groups, patch) }
    }

    pub(crate) const fn refused(
        name: &'static str,
        clause: &'static str,
        patch: fn() -> Value,
    ) -> Case {
        Case { name, clause, how: How::Refused(patch) }
    }

    pub(crate) fn perform(&self, stage: &mut Stage) -> Outcome {
        match self.how {
            How::Run(work) => work(stage),
            How::Inside(groups, patch) => stage.check_inside(groups, patch()),
            How::Refused(patch) => stage.must_refuse(patch()),
            How::RefusedByStart(patch) => stage.must_refuse_by_start(patch()),
        }
    }
}

pub(crate) fn ensure(holds: bool, otherwise: impl FnOnce() -> String) -> Outcome {
    if holds { Ok(()) } else { Err(Stop::Failed(otherwise())) }
}

pub(crate) fn skip<T>(why: impl Into<String>) -> Outcome<T> {
    Err(Stop::Skipped(why.into()))
}
