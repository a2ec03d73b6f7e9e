// SPDX-License-Identifier: Apache-2.0
//! `events --top`: what the containers use, as a table for people that is drawn anew at an interval.

use std::collections::HashMap;
use std::io::{IsTerminal, stdout};
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, Signal, raise};
use nix::sys::signalfd::{SfdFlags, SignalFd};

use super::{details, list, load, print};
use crate::ExitCode;
use crate::cgroup::stats::{Blkio, Stats};
use crate::cli::args::{Globals, Top};
use crate::cli::top::{Row, lines, redraw, sort};
use crate::error::{Context, Kind, Result};
use crate::interrupt;
use crate::state::{Container, Status};
use crate::sys::tty::{self, Size};

/// By id: init, the CPU time in nanoseconds, and when that was.
type Before = HashMap<String, (i32, u64, Instant)>;

pub(crate) fn top(globals: &Globals, top: &Top) -> Result<ExitCode> {
    for id in &top.ids {
        load(globals, id)?;
    }
    let mut before = Before::new();
    if top.once {
        return print(&plain(&frame(globals, top, &mut before)?)).map(|()| ExitCode::SUCCESS);
    }
    let signals = Signals::block()?;
    let mut screen = Screen::open()?;
    loop {
        let due = Instant::now() + top.interval;
        let rows = frame(globals, top, &mut before)?;
        if rows.is_empty() && !top.ids.is_empty() {
            // Those that were named have been deleted.
            return Ok(ExitCode::SUCCESS);
        }
        screen.draw(&rows)?;
        while let Some(signal) = signals.wait(due)? {
            match signal {
                Signal::SIGWINCH => screen.draw(&rows)?,
                Signal::SIGTSTP => {
                    drop(screen);
                    raise(Signal::SIGSTOP).context(|| "raise SIGSTOP")?;
                    screen = Screen::open()?;
                    screen.draw(&rows)?;
                }
                _ => return Ok(ExitCode::SUCCESS),
            }
        }
    }
}

fn plain(rows: &[Row]) -> String {
    lines(rows).join("\n") + "\n"
}

/// A row for each container that is there.
fn frame(globals: &Globals, top: &Top, before: &mut Before) -> Result<Vec<Row>> {
    let all = if top.ids.is_empty() { list::ids(globals)? } else { Vec::new() };
    let ids = if top.ids.is_empty() { &all } else { &top.ids };
    let mut now = Before::new();
    let mut rows = Vec::new();
    for id in ids {
        match load(globals, id).and_then(|c| Ok((c.status()?, c))) {
            Ok((status, container)) => rows.push(row(&container, status, before, &mut now)),
            Err(error) if error.kind() == Kind::NoSuchContainer => {}
            // As it is half made or half deleted, or damaged.
            Err(_) => rows.push(Row { id: id.clone(), status: "unreadable", ..Row::default() }),
        }
    }
    *before = now;
    sort(&mut rows);
    Ok(rows)
}

fn row(container: &Container, status: Status, before: &Before, now: &mut Before) -> Row {
    let facts = &container.facts;
    let row = Row { id: facts.id.clone(), status: status.name(), ..Row::default() };
    if status == Status::Stopped || facts.pid <= 0 {
        return row;
    }
    let row = Row { pid: facts.pid, ..row };
    // It may end at any time.
    let Ok(stats) = facts.cgroup.stats() else { return row };
    let (total, at) = (stats.cpu.usage.total, Instant::now());
    let cpu = match before.get(&facts.id) {
        Some((pid, earlier, then)) if *pid == facts.pid => {
            percent(total.saturating_sub(*earlier), at - *then)
        }
        // Since it began.
        _ => details::uptime_of(facts.start_time).and_then(|up| percent(total, up)),
    };
    now.insert(facts.id.clone(), (facts.pid, total, at));
    Row { cpu: cpu.filter(|_| total != 0), ..with_stats(row, &stats) }
}

/// Who runs uses something: zero is a controller that is not there.
fn with_stats(row: Row, stats: &Stats) -> Row {
    let memory = (stats.memory.usage.usage, stats.memory.usage.limit);
    let pids = (stats.pids.current, stats.pids.limit);
    let psi = [&stats.cpu.psi, &stats.memory.psi, &stats.blkio.psi];
    let avg10 = psi.map(|psi| psi.as_ref().map_or(0.0, |psi| psi.some.avg10));
    Row {
        memory: (memory.0 != 0).then_some(memory),
        pids: (pids.0 != 0).then_some(pids),
        io: io(&stats.blkio),
        pressure: psi.iter().any(|psi| psi.is_some()).then_some(avg10),
        ..row
    }
}

/// Of all devices. Without any it is not known whether somebody counts.
fn io(blkio: &Blkio) -> Option<(u64, u64)> {
    let entries = &blkio.io_service_bytes_recursive;
    let sum = |op| {
        let of_op = entries.iter().filter(|entry| entry.op.eq_ignore_ascii_case(op));
        of_op.fold(0, |sum: u64, entry| sum.saturating_add(entry.value))
    };
    (!entries.is_empty()).then(|| (sum("Read"), sum("Write")))
}

#[expect(clippy::cast_precision_loss, reason = "shown with one digit of the fraction")]
fn percent(nanos: u64, time: Duration) -> Option<f64> {
    (!time.is_zero()).then(|| nanos as f64 / time.as_nanos() as f64 * 100.0)
}

/// What ends the table or has it drawn again; ignored ones stay ignored.
struct Signals(SignalFd);

impl Signals {
    fn block() -> Result<Self> {
        let mut set: SigSet = interrupt::SIGNALS.into_iter().collect();
        set.add(Signal::SIGWINCH);
        set.add(Signal::SIGTSTP);
        set.thread_block().context(|| "block signals")?;
        let flags = SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK;
        SignalFd::with_flags(&set, flags).context(|| "signalfd").map(Self)
    }

    /// The next one; None when it is time.
    fn wait(&self, due: Instant) -> Result<Option<Signal>> {
        loop {
            if let Some(info) = self.0.read_signal().context(|| "read signals")? {
                let number = i32::try_from(info.ssi_signo).expect("a signal number");
                return Ok(Some(Signal::try_from(number).expect("one of those blocked")));
            }
            let left = due.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(None);
            }
            // Rounded up: not to wake before it is time.
            let left = left + Duration::from_micros(999);
            let timeout = PollTimeout::try_from(left.as_millis()).unwrap_or(PollTimeout::MAX);
            match poll(&mut [PollFd::new(self.0.as_fd(), PollFlags::POLLIN)], timeout) {
                Ok(_) | Err(Errno::EINTR) => {}
                Err(errno) => return Err(errno).context(|| "poll"),
            }
        }
    }
}

/// Where frames go: one after another, or in place on a terminal's second screen, which is left when
/// this is dropped.
enum Screen {
    Plain { is_first: bool },
    Terminal,
}

impl Screen {
    fn open() -> Result<Self> {
        if !stdout().is_terminal() || std::env::var("TERM").is_ok_and(|term| term == "dumb") {
            return Ok(Self::Plain { is_first: true });
        }
        // The second screen, without a cursor.
        print("\x1b[?1049h\x1b[?25l").map(|()| Self::Terminal)
    }

    fn draw(&mut self, rows: &[Row]) -> Result<()> {
        match self {
            Self::Plain { is_first: true } => {
                *self = Self::Plain { is_first: false };
                print(&plain(rows))
            }
            Self::Plain { is_first: false } => print(&format!("\n{}", plain(rows))),
            Self::Terminal => {
                let unknown = Size { rows: 0, columns: 0 };
                let size = tty::size(stdout().as_fd()).unwrap_or(unknown);
                print(&redraw(&lines(rows), size))
            }
        }
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        if matches!(self, Self::Terminal) {
            // A terminal that is gone needs no restoring.
            let _ = print("\x1b[?25h\x1b[?1049l");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cgroup::stats::BlkioEntry;

    #[test]
    fn percent_is_of_one_cpu() {
        assert_eq!(percent(500_000_000, Duration::from_secs(1)), Some(50.0));
        assert_eq!(percent(4_000_000_000, Duration::from_secs(2)), Some(200.0));
        assert_eq!(percent(5, Duration::ZERO), None);
    }

    #[test]
    fn io_is_of_all_devices_and_without_totals() {
        let entry = |op: &str, value| BlkioEntry { op: op.into(), value, ..BlkioEntry::default() };
        let list = vec![entry("Read", 5), entry("Write", 7), entry("Total", 12), entry("Read", 1)];
        let blkio = Blkio { io_service_bytes_recursive: list, ..Blkio::default() };
        assert_eq!(io(&blkio), Some((6, 7)));
        assert_eq!(io(&Blkio::default()), None);
    }

    #[test]
    fn what_no_controller_counts_is_not_known() {
        let row = with_stats(Row::default(), &Stats::default());
        assert_eq!(row, Row::default());
    }
}
