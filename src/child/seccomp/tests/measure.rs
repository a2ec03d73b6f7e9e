// SPDX-License-Identifier: Apache-2.0
//! Figures, not judgements:
//! `cargo test --release -- --ignored --nocapture seccomp::tests::measure`

use std::hint::black_box;
use std::io::{Read, Write};
use std::time::{Duration, Instant};

use nix::sys::wait::{WaitStatus, waitpid};

use super::oracle::{Oracle, question};
use super::*;
use crate::sys::{self, clone};

const ROUNDS: usize = 2000;

/// The median of `ROUNDS` runs.
fn median(mut body: impl FnMut()) -> Duration {
    let mut times: Vec<_> = (0..ROUNDS)
        .map(|_| {
            let start = Instant::now();
            body();
            start.elapsed()
        })
        .collect();
    times.sort();
    times[ROUNDS / 2]
}

/// The mean number of instructions over the calls that the architecture has.
fn path(program: &[sock_filter], arch: Arch) -> f64 {
    let numbers = arch.number_bits()..arch.number_bits() + 450;
    let count = numbers.len();
    let steps: usize =
        numbers.map(|number| interpreter::run(program, &data(arch, number, [0; 6])).1).sum();
    steps as f64 / count as f64
}

#[test]
#[ignore = "prints figures; run it in a release build"]
fn compile_time_and_size() {
    let oracle = Oracle::build();
    for (name, json) in DEFAULTS {
        let profile = parse(json);
        let plan = || Filter::plan_for(black_box(&profile), Arch::NATIVE, |_| true);
        let program = plan().unwrap().expect("not empty").program;
        let time = median(|| _ = black_box(plan()));
        println!(
            "{name}: creel {time:?}, {} instructions, {:.1} run per call of x86_64, {:.1} of x86",
            program.len(),
            path(&program, Arch::X86_64),
            path(&program, Arch::X86)
        );
        let Some(oracle) = &oracle else { continue };
        let asked = question(&profile);
        for (how, asked) in [
            ("with a binary tree, as runc asks for", asked.clone()),
            ("plain, as crun has it", asked.replacen('\n', "\nplain\n", 1)),
        ] {
            let answers = oracle.ask(&asked.repeat(51));
            let mut times: Vec<_> = answers.iter().map(|answer| answer.nanoseconds).collect();
            times.sort_unstable();
            let program = &answers[0].program;
            println!(
                "{name}: libseccomp {how} {:?}, {} instructions, {:.1} run per call of x86_64, {:.1} \
                 of x86",
                Duration::from_nanos(times[25]),
                program.len(),
                path(program, Arch::X86_64),
                path(program, Arch::X86)
            );
        }
    }
}

/// How long seccomp(2) takes in children with no filter before, the median of 200.
fn install_time(program: &[sock_filter]) -> Duration {
    let mut times: Vec<_> = (0..200).map(|_| install_once(program)).collect();
    times.sort();
    times[100]
}

fn install_once(program: &[sock_filter]) -> Duration {
    let (mut reader, mut writer) = std::io::pipe().expect("a pipe");
    match clone::clone3(&clone::CloneRequest::default()).expect("clone3") {
        clone::Fork::Child(_) => {
            let start = Instant::now();
            let loaded = sys::prctl(libc::PR_SET_NO_NEW_PRIVS, 1)
                .and_then(|_| sys::seccomp::load(program, libc::SECCOMP_FILTER_FLAG_SPEC_ALLOW));
            let nanoseconds = start.elapsed().as_nanos() as u64;
            let written = writer.write_all(&nanoseconds.to_ne_bytes());
            sys::exit(i32::from(loaded.is_err() || written.is_err()))
        }
        clone::Fork::Parent { child, .. } => {
            let mut nanoseconds = [0; 8];
            reader.read_exact(&mut nanoseconds).expect("the child's figure");
            let status = waitpid(child, None).expect("waitpid");
            assert!(matches!(status, WaitStatus::Exited(_, 0)), "{status:?}");
            Duration::from_nanos(u64::from_ne_bytes(nanoseconds))
        }
    }
}

#[test]
#[ignore = "prints figures; run it in a release build"]
fn install_in_the_kernel() {
    let oracle = Oracle::build();
    for (name, json) in DEFAULTS {
        let profile = parse(json);
        let filter = Filter::plan(&profile).unwrap().expect("not empty");
        println!("{name}: creel's program {:?}", install_time(&filter.program));
        let Some(oracle) = &oracle else { continue };
        let answer = oracle.ask(&question(&profile)).pop().expect("an answer");
        println!("{name}: libseccomp's program {:?}", install_time(&answer.program));
    }
}

/// What `exec` could save: the profile compiled again, or the program read back from a file.
#[test]
#[ignore = "prints figures; run it in a release build"]
fn exec_compiling_or_reading() {
    let config = include_str!("../../../../tests/data/bundles/docker-default/config.json");
    let parse = || oci::parse::<oci::Spec<'_>>(black_box(config)).expect("a captured config");
    let spec = parse();
    let profile = spec.linux.as_ref().and_then(|linux| linux.seccomp.as_ref()).expect("Docker's");
    let plan = || Filter::plan(black_box(profile)).expect("it compiles");
    let program = plan().expect("not empty").program;
    let bytes: Vec<u8> = program
        .iter()
        .flat_map(|one| {
            let [a, b] = one.code.to_ne_bytes();
            [[a, b, one.jt, one.jf], one.k.to_ne_bytes()].concat()
        })
        .collect();
    let path = std::env::temp_dir().join(format!("creel-measure-{}", std::process::id()));
    let write = median(|| std::fs::write(&path, &bytes).expect("write"));
    let fresh = median(|| {
        std::fs::remove_file(&path).expect("remove");
        std::fs::write(&path, &bytes).expect("write");
    });
    let read = median(|| _ = black_box(std::fs::read(&path).expect("read")));
    std::fs::remove_file(&path).expect("remove");
    println!(
        "config.json parsed {:?}; profile compiled {:?}; {} bytes written {write:?}, as a new file \
         {fresh:?}, read {read:?}",
        median(|| _ = black_box(parse())),
        median(|| _ = black_box(plan())),
        bytes.len(),
    );
}
