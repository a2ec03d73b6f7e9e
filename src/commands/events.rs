// SPDX-License-Identifier: Apache-2.0
//! `events`: one JSON object a line; statistics at an interval, out-of-memory kills and refused forks
//! as they happen, until the container has ended.

use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use serde::Serialize;

use super::{load, print};
use crate::ExitCode;
use crate::cgroup::{Happened, NetworkInterface, Watch};
use crate::cli::args::Globals;
use crate::error::{Context, Error, Kind, Result};
use crate::log;
use crate::namespace::{NETWORK, is_own};
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
    let mut stats = container.facts.cgroup.stats()?;
    if let Some(group) = &container.facts.resctrl {
        stats.intel_rdt = group.stats()?;
    }
    stats.network_interfaces = interfaces(container.facts.pid);
    line(&Event { kind: "stats", id: &container.facts.id, data: Some(stats) })
}

fn line<T: Serialize>(event: &Event<'_, T>) -> Result<()> {
    let mut text = serde_json::to_string(event).expect("plain data");
    text.push('\n');
    print(&text)
}

/// Until the container has ended.
fn stream(container: &Container, interval: Duration) -> Result<()> {
    let mut watch = container.facts.cgroup.watch()?;
    if !watch.sees_oom() {
        log::warn("out-of-memory kills are not seen: the container has no memory cgroup");
    }
    let Ok(init) = container.init_pidfd() else { return Ok(()) };
    let mut due = Instant::now() + interval;
    loop {
        let ready = wait(&watch, &init, due)?;
        // Before the end is taken note of: the last process may have been killed.
        for happened in watch.next()? {
            match happened {
                Happened::Oom => mark("oom", container)?,
                Happened::PidsLimit => mark("pids", container)?,
                Happened::Gone => return Ok(()),
            }
        }
        if ready == Ready::Ended {
            return Ok(());
        }
        if Instant::now() >= due {
            print_stats(container)?;
            due += interval;
        }
    }
}

#[derive(PartialEq, Eq)]
enum Ready {
    Ended,
    Other,
}

fn wait(watch: &Watch, init: &OwnedFd, due: Instant) -> Result<Ready> {
    // Rounded up: not to wake before it is time.
    let left = due.saturating_duration_since(Instant::now()) + Duration::from_micros(999);
    let timeout = PollTimeout::try_from(left.as_millis()).unwrap_or(PollTimeout::MAX);
    let mut fds = watch.poll_fds();
    fds.push(PollFd::new(init.as_fd(), PollFlags::POLLIN));
    match poll(&mut fds, timeout) {
        Ok(_) | Err(Errno::EINTR) => {}
        Err(errno) => return Err(errno).context(|| "poll"),
    }
    let ended = fds.last().and_then(PollFd::any).unwrap_or(false);
    Ok(if ended { Ready::Ended } else { Ready::Other })
}

/// A line without data, as runc's `oom` is.
fn mark(kind: &str, container: &Container) -> Result<()> {
    line(&Event::<()> { kind, id: &container.facts.id, data: None })
}

/// The interfaces of the container's own network namespace but the loopback; None where there are
/// none, as with runc.
fn interfaces(pid: i32) -> Option<Vec<NetworkInterface>> {
    if is_own(pid, &NETWORK).unwrap_or(true) {
        return None;
    }
    let text = std::fs::read_to_string(format!("/proc/{pid}/net/dev")).ok()?;
    let found: Vec<_> = text.lines().filter_map(interface).filter(|i| i.name != "lo").collect();
    (!found.is_empty()).then_some(found)
}

/// `eth0: 1 2 3 4 …`: eight numbers received, eight sent.
fn interface(line: &str) -> Option<NetworkInterface> {
    let (name, numbers) = line.split_once(':')?;
    let numbers: Vec<u64> =
        numbers.split_ascii_whitespace().map(|n| n.parse().ok()).collect::<Option<_>>()?;
    let (rx, tx) = (numbers.get(0..4)?, numbers.get(8..12)?);
    Some(NetworkInterface {
        name: name.trim().to_owned(),
        rx_bytes: rx[0],
        rx_packets: rx[1],
        rx_errors: rx[2],
        rx_dropped: rx[3],
        tx_bytes: tx[0],
        tx_packets: tx[1],
        tx_errors: tx[2],
        tx_dropped: tx[3],
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_net_dev() {
        let found = interface("  eth0: 10 2 3 4 0 0 0 0 50 6 7 8 0 0 0 0").unwrap();
        assert_eq!(found.name, "eth0");
        assert_eq!((found.rx_bytes, found.rx_dropped), (10, 4));
        assert_eq!((found.tx_bytes, found.tx_dropped), (50, 8));
        assert!(interface(" face |bytes    packets errs drop fifo frame|bytes").is_none());
        assert!(interface("Inter-|   Receive  |  Transmit").is_none());
    }

    #[test]
    fn our_own_network_is_not_the_containers() {
        assert_eq!(interfaces(nix::unistd::getpid().as_raw()), None);
    }
}
