// SPDX-License-Identifier: Apache-2.0
//! The CVE suite: what has broken runtimes, set up for real against whatever `RUNTIME=` is. One file
//! per vulnerability, written from its mechanism. `cargo test --test cve -- --help` tells the options.

mod arena;
mod caps;
mod case;
#[path = "../common/mod.rs"]
mod common;
mod console;
mod driver;
mod hunter;
mod label;
mod links;
mod mask;
mod racer;
mod seen;
mod weak;

mod cve_2016_3697;
mod cve_2016_9962;
mod cve_2019_16884;
mod cve_2019_18837;
mod cve_2019_19921;
mod cve_2019_5736;
mod cve_2021_30465;
mod cve_2021_43784;
mod cve_2022_24769;
mod cve_2022_27650;
mod cve_2022_29162;
mod cve_2023_25809;
mod cve_2023_27561;
mod cve_2023_28642;
mod cve_2024_21626;
mod cve_2024_45310;
mod cve_2025_24965;
mod cve_2025_27612;
mod cve_2025_31133;
mod cve_2025_52565;
mod cve_2025_52881;
mod cve_2025_54867;
mod cve_2025_62161;
mod cve_2025_62596;
mod cve_2026_30892;
mod cve_2026_41579;
mod cve_2026_47766;
mod cve_2026_88264;
mod cve_2026_88265;

use std::process::ExitCode;
use std::time::Duration;

use case::Case;

const CASES: &[Case] = &[
    cve_2016_3697::CASE,
    cve_2016_9962::CASE,
    cve_2019_16884::CASE,
    cve_2019_18837::CASE,
    cve_2019_19921::CASE,
    cve_2019_5736::CASE,
    cve_2021_30465::CASE,
    cve_2021_43784::CASE,
    cve_2022_24769::CASE,
    cve_2022_27650::CASE,
    cve_2022_29162::CASE,
    cve_2023_25809::CASE,
    cve_2023_27561::CASE,
    cve_2023_28642::CASE,
    cve_2024_21626::CASE,
    cve_2024_45310::CASE,
    cve_2025_24965::CASE,
    cve_2025_27612::CASE,
    cve_2025_31133::CASE,
    cve_2025_52565::CASE,
    cve_2025_52881::CASE,
    cve_2025_54867::CASE,
    cve_2025_62161::CASE,
    cve_2025_62596::CASE,
    cve_2026_30892::CASE,
    cve_2026_41579::CASE,
    cve_2026_47766::CASE,
    cve_2026_88264::CASE,
    cve_2026_88265::CASE,
];

const HELP: &str = "\
cve [OPTION]... [TEXT]     runs the cases whose id has TEXT
  --seconds N    how long each race goes on (2)
  --rounds N     and how many rounds at most
  --limit N      seconds that a case may take beyond its races (60)
  --no-weak      not with a weakened runtime, which each case must notice
  --only-weak    with nothing else
  --markdown     rows of a table
  --list         the cases
RUNTIME=/path    the runtime, instead of creel
";

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().collect();
    if args[0].ends_with(weak::NAME) {
        let id = std::env::var(weak::CASE).expect("a case");
        let case = CASES.iter().find(|case| case.id == id);
        return weak::main(case.map_or(|_| {}, |case| case.weaken));
    }
    match args.get(1..).unwrap_or_default() {
        [word, what, rest @ ..] if word == "inside" => inside(what, rest),
        [word, id] if word == "case" && id == "probe" => driver::case(probe),
        [word, id] if word == "case" => {
            driver::case(CASES.iter().find(|case| case.id == id).expect("a case").run)
        }
        options => outside(options),
    }
}

/// In a container.
fn inside(what: &str, args: &[String]) -> ExitCode {
    match (what, args) {
        ("exchange", [one, other]) => racer::exchange(one, other),
        ("access", []) => hunter::access(),
        ("overwrite", []) => hunter::overwrite(),
        other => panic!("{other:?}"),
    }
    ExitCode::SUCCESS
}

fn probe(_: &arena::Arena) -> case::Outcome {
    arena::control(&common::Bundle::with_args(&["/bin/true"]));
    Ok(String::new())
}

fn outside(args: &[String]) -> ExitCode {
    let has = |option| args.iter().any(|arg| arg == option);
    if has("--list") {
        for case in CASES {
            println!("{}\t{}\t{}", case.id, case.who, case.attack);
        }
        return ExitCode::SUCCESS;
    }
    if has("--help") {
        print!("{HELP}");
        return ExitCode::SUCCESS;
    }
    let options = driver::Options::parse(args, 2.0, Duration::from_secs(60));
    driver::run(CASES, &options)
}
