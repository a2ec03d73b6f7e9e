// SPDX-License-Identifier: Apache-2.0
//! The table of `events --top`: rows, their order, and how a frame fits a terminal. Pure.

use super::details::{bytes, of_limit};
use crate::sys::tty::Size;

/// One container at one moment. None: not known.
#[derive(Debug, Default, Clone, PartialEq)]
pub(crate) struct Row {
    pub id: String,
    pub status: &'static str,
    /// 0 if there is none.
    pub pid: i32,
    /// Of one CPU, in percent.
    pub cpu: Option<f64>,
    /// Usage and limit, in bytes.
    pub memory: Option<(u64, u64)>,
    /// How many, and the limit.
    pub pids: Option<(u64, u64)>,
    /// Bytes read and written.
    pub io: Option<(u64, u64)>,
    /// How much of the last ten seconds somebody waited for CPU, memory and I/O, in percent.
    pub pressure: Option<[f64; 3]>,
}

const HEAD: [&str; 8] = ["ID", "STATUS", "PID", "CPU%", "MEMORY", "PIDS", "IO R / W", "PSI C/M/IO"];

impl Row {
    fn cells(&self) -> [String; 8] {
        let none = || "-".to_owned();
        [
            self.id.clone(),
            self.status.to_owned(),
            if self.pid > 0 { self.pid.to_string() } else { none() },
            self.cpu.map_or_else(none, |percent| format!("{percent:.1}")),
            of_limit(self.memory, bytes),
            of_limit(self.pids, |count| count.to_string()),
            self.io.map_or_else(none, |(read, written)| {
                format!("{} / {}", bytes(read), bytes(written))
            }),
            self.pressure
                .map_or_else(none, |[cpu, memory, io]| format!("{cpu:.1}/{memory:.1}/{io:.1}")),
        ]
    }
}

/// The busiest first; what is not known last; then by id.
pub(crate) fn sort(rows: &mut [Row]) {
    let cpu = |row: &Row| row.cpu.unwrap_or(-1.0);
    rows.sort_by(|a, b| cpu(b).total_cmp(&cpu(a)).then_with(|| a.id.cmp(&b.id)));
}

/// The lines of a frame. Columns are as wide as their widest cell and two spaces, all but the first two
/// to the right. Pressure is left out where no container has it.
pub(crate) fn lines(rows: &[Row]) -> Vec<String> {
    let shown = if rows.iter().any(|row| row.pressure.is_some()) { 8 } else { 7 };
    let head = HEAD.map(str::to_owned);
    let table: Vec<[String; 8]> =
        std::iter::once(head).chain(rows.iter().map(Row::cells)).collect();
    let width = |n: usize| table.iter().map(|row| row[n].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..shown).map(width).collect();
    let line = |row: &[String; 8]| {
        let pad = |(n, (cell, width)): (usize, (&String, &usize))| match n {
            0 | 1 => format!("{cell:<width$}"),
            _ => format!("{cell:>width$}"),
        };
        row.iter().zip(&widths).enumerate().map(pad).collect::<Vec<_>>().join("  ")
    };
    table.iter().map(line).collect()
}

/// What a terminal is sent: over the frame before, cut to its size. A size of zero is not known.
pub(crate) fn redraw(lines: &[String], size: Size) -> String {
    let columns = if size.columns == 0 { usize::MAX } else { usize::from(size.columns) };
    let rows = if size.rows == 0 { usize::MAX } else { usize::from(size.rows) };
    let cut = |line: &str| line.chars().take(columns).collect::<String>();
    let mut shown: Vec<String> = lines.iter().take(rows).map(|line| cut(line)).collect();
    if lines.len() > rows {
        shown[rows - 1] = cut(&format!("... {} more", lines.len() - rows + 1));
    }
    // Home; each line and what is right of it; whatever is below.
    format!("\x1b[H{}\x1b[K\x1b[J", shown.join("\x1b[K\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(id: &str, cpu: Option<f64>) -> Row {
        Row { id: id.to_owned(), status: "running", pid: 7, cpu, ..Row::default() }
    }

    #[test]
    fn the_busiest_comes_first_and_the_unknown_last() {
        let mut rows =
            [row("d", None), row("b", Some(2.0)), row("c", Some(0.0)), row("a", Some(2.0))];
        sort(&mut rows);
        assert_eq!(rows.map(|row| row.id), ["a", "b", "c", "d"]);
    }

    #[test]
    fn a_frame_with_units_and_limits() {
        let busy = Row {
            memory: Some((64 << 20, 1 << 30)),
            pids: Some((12, 0)),
            io: Some((1536, 0)),
            ..row("busy", Some(123.46))
        };
        let gone = Row { status: "stopped", pid: 0, ..row("g", None) };
        let want = [
            "ID    STATUS   PID   CPU%        MEMORY  PIDS  IO R / W",
            "busy  running    7  123.5  64.0M / 1.0G    12  1.5K / 0",
            "g     stopped    -      -             -     -         -",
        ];
        assert_eq!(lines(&[busy.clone(), gone]), want);
        let waits = Row { pressure: Some([1.25, 0.0, 99.0]), ..busy };
        let lines = lines(&[waits]);
        assert!(lines[0].ends_with("R / W    PSI C/M/IO"), "{lines:?}");
        assert!(lines[1].ends_with("  1.2/0.0/99.0"), "{lines:?}");
    }

    #[test]
    fn a_frame_is_cut_to_the_terminal() {
        let lines = ["abcdef", "1234", "x", "y"].map(str::to_owned);
        let draw = |rows, columns| redraw(&lines, Size { rows, columns });
        assert_eq!(draw(4, 3), "\x1b[Habc\x1b[K\n123\x1b[K\nx\x1b[K\ny\x1b[K\x1b[J");
        assert_eq!(draw(2, 80), "\x1b[Habcdef\x1b[K\n... 3 more\x1b[K\x1b[J");
        assert_eq!(draw(0, 0), draw(9, 99));
    }
}
