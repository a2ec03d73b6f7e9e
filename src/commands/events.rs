// SPDX-License-Identifier: Apache-2.0
//! `events`: one JSON object a line; statistics at an interval, out-of-memory kills as they happen.

use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollTimeout, poll};
use serde::Serialize;

use super::{load, print};
use crate::ExitCode;
use crate::cgroup::OomEvent;
use crate::cli::args::Globals;
use crate::error::{Context, Error, Kind, Result};
use crate::state::{Container, Status};

#[derive(Serialize)]
struct Event<'a, T> {
    #[serde(rename = "type")]
    kind: &'a str,
    id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<T>,
}

pub(crate) fn events(
    globals: &Globals,
    id: &str,
    interval: Duration,
    stats: bool,
) -> Result<ExitCode> {
    let container = load(globals, id)?;
    if container.status()? == Status::Stopped {
        let text = format!("container with id {id} is not running");
        return Err(Error::text(text).with_kind(Kind::NotRunning));
    }
    if stats {
        print_stats(&container)?;
    } else {
        stream(&container, interval)?;
    }
    Ok(ExitCode::SUCCESS)
}

fn print_stats(container: &Container) -> Result<()> {
    let data = Some(container.facts.cgroup.stats()?);
    line(&Event { kind: "stats", id: &container.facts.id, data })
}

fn line<T: Serialize>(event: &Event<'_, T>) -> Result<()> {
    let mut text = serde_json::to_string(event).expect("plain data");
    text.push('\n');
    print(&text)
}

/// Until the container has ended.
fn stream(container: &Container, interval: Duration) -> Result<()> {
    let mut watch = container.facts.cgroup.watch_oom()?;
    let mut due = Instant::now() + interval;
    loop {
        let left = due.saturating_duration_since(Instant::now());
        let timeout = PollTimeout::try_from(left.as_millis()).unwrap_or(PollTimeout::MAX);
        match poll(&mut watch.poll_fds(), timeout) {
            Err(Errno::EINTR) => continue,
            Ok(0) => {
                if container.status()? == Status::Stopped {
                    return Ok(());
                }
                print_stats(container)?;
                due += interval;
                continue;
            }
            other => other.context(|| "poll")?,
        };
        match watch.next()? {
            OomEvent::Oom => {
                line(&Event::<()> { kind: "oom", id: &container.facts.id, data: None })?;
            }
            OomEvent::Gone => return Ok(()),
            OomEvent::Nothing => {}
        }
    }
}
