//! Runs one named case per rule of the runtime specification against an OCI runtime.
//!
//! `driver [--list] [FILTER...]`, with the runtime from `RUNTIME`. Each case runs in a process of
//! its own with a time limit, and what it left is removed after it, whichever way it ended.
// SPDX-License-Identifier: Apache-2.0

mod case;
mod cases;
mod cgroupfs;
mod config;
mod differences;
mod runtime;
mod stage;
mod supervise;

use std::env;
use std::path::PathBuf;
use std::process::ExitCode;

use case::Case;
use differences::Differences;
use supervise::Verdict;

fn selected(filters: &[String]) -> Vec<&'static Case> {
    let all = cases::ALL.iter().flat_map(|table| table.iter());
    let fits =
        |case: &&Case| filters.is_empty() || filters.iter().any(|word| case.name.contains(word));
    all.filter(fits).collect()
}

#[derive(Default)]
struct Counts {
    passed: usize,
    failed: usize,
    skipped: Vec<String>,
}

/// Prints one TAP line and counts it: an expected failure passes, an expected one that passes fails.
fn tally(
    number: usize,
    case: &Case,
    verdict: Verdict,
    expected: Option<&str>,
    counts: &mut Counts,
) {
    let title = format!("{number} - {} ({})", case.name, case.clause);
    match (verdict, expected) {
        (Verdict::Skipped(why), _) => {
            println!("ok {title} # SKIP {why}");
            counts.skipped.push(format!("{}: {why}", case.name));
        }
        (Verdict::Passed, None) => {
            println!("ok {title}");
            counts.passed += 1;
        }
        (Verdict::Failed(why), Some(reason)) => {
            println!(
                "ok {title} # differs as expected: {reason}\n  # {}",
                why.replace('\n', "\n  # ")
            );
            counts.passed += 1;
        }
        (Verdict::Passed, Some(reason)) => {
            println!("not ok {title}\n  # passes, but a difference is expected: {reason}");
            counts.failed += 1;
        }
        (Verdict::Failed(why), None) => {
            println!("not ok {title}\n  # {}", why.replace('\n', "\n  # "));
            counts.failed += 1;
        }
    }
}

/// Under hack/enosys.sh, what cannot be done without one of the calls that it leaves out: the runtime
/// must say which.
fn without_calls(verdict: Verdict) -> Verdict {
    let Ok(left_out) = env::var("ENOSYS") else { return verdict };
    match verdict {
        Verdict::Failed(why)
            if why.contains("ENOSYS") && left_out.split(',').any(|call| why.contains(call)) =>
        {
            let line = why.lines().find(|line| line.contains("ENOSYS")).unwrap_or(&why);
            Verdict::Skipped(format!("refused by name: {line}"))
        }
        other => other,
    }
}

fn run_all(filters: &[String]) -> Result<bool, String> {
    let cases = selected(filters);
    if cases.is_empty() {
        return Err(format!("no case fits {filters:?}"));
    }
    let runtime = runtime::find()?;
    let differences = Differences::load(&runtime)?;
    differences.check_names(cases::ALL)?;
    println!("TAP version 14\n1..{}\n# runtime: {}", cases.len(), runtime.display());
    println!("# expected differences: {}", differences.source());
    let supervisor = supervise::Supervisor::new(runtime)?;
    let mut counts = Counts::default();
    for (index, case) in cases.iter().enumerate() {
        let verdict = without_calls(supervisor.run(case)?);
        tally(index + 1, case, verdict, differences.reason(case.name), &mut counts);
    }
    for skipped in &counts.skipped {
        println!("# SKIP {skipped}");
    }
    let Counts { passed, failed, skipped } = counts;
    println!("{passed} passed, {failed} failed, {} skipped", skipped.len());
    Ok(failed == 0)
}

fn run() -> Result<bool, String> {
    let args: Vec<String> = env::args().skip(1).collect();
    match args.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["--list", ..] => {
            for case in selected(&args[1..]) {
                println!("{} ({})", case.name, case.clause);
            }
            Ok(true)
        }
        ["--case", name, runtime, dir] => {
            supervise::case_main(name, PathBuf::from(runtime), PathBuf::from(dir)).map(|()| true)
        }
        _ => run_all(&args),
    }
}

fn main() -> ExitCode {
    match run() {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(1),
        Err(error) => {
            eprintln!("driver: {error}");
            ExitCode::from(2)
        }
    }
}
