// SPDX-License-Identifier: Apache-2.0
//! libseccomp as a second opinion: hack/libseccomp-oracle.c builds the same profiles with it, as
//! runc would. Needs a C compiler and libseccomp's headers; prints SKIP without.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use super::super::profile::Profile;
use super::*;

/// libseccomp's tokens.
pub(super) const TOKENS: [(Arch, &str, u32); 8] = [
    (Arch::X86_64, "SCMP_ARCH_X86_64", 0xc000_003e),
    (Arch::X86, "SCMP_ARCH_X86", 0x4000_0003),
    (Arch::X32, "SCMP_ARCH_X32", 0x4000_003e),
    (Arch::Aarch64, "SCMP_ARCH_AARCH64", 0xc000_00b7),
    (Arch::Arm, "SCMP_ARCH_ARM", 0x4000_0028),
    (Arch::Riscv64, "SCMP_ARCH_RISCV64", 0xc000_00f3),
    (Arch::Ppc64le, "SCMP_ARCH_PPC64LE", 0xc000_0015),
    (Arch::S390x, "SCMP_ARCH_S390X", 0x8000_0016),
];

pub(super) struct Oracle {
    program: PathBuf,
}

/// What libseccomp made of one profile.
#[derive(Debug, Default)]
pub(super) struct Answer {
    pub(super) program: Vec<sock_filter>,
    /// The highest number that the rules name, by token.
    pub(super) newest: BTreeMap<u32, u32>,
    pub(super) nanoseconds: u64,
    pub(super) error: Option<u32>,
    pub(super) gave_up: bool,
}

impl Oracle {
    /// Built once per call in a directory of its own, which is removed on drop.
    pub(super) fn build() -> Option<Self> {
        if Arch::NATIVE != Arch::X86_64 {
            println!("SKIP: the comparison with libseccomp is written for x86_64");
            return None;
        }
        static COUNT: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
        let count = COUNT.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let program =
            std::env::temp_dir().join(format!("creel-oracle-{}-{count}", std::process::id()));
        let source = concat!(env!("CARGO_MANIFEST_DIR"), "/hack/libseccomp-oracle.c");
        let mut cc = Command::new("cc");
        cc.args(["-O2", "-o"]).arg(&program).arg(source);
        // Another libseccomp than the system's, as `make install` with that prefix leaves it.
        if let Some(prefix) = std::env::var_os("LIBSECCOMP_PREFIX").map(PathBuf::from) {
            cc.arg("-I").arg(prefix.join("include")).arg("-L").arg(prefix.join("lib"));
            cc.arg("-Wl,-rpath").arg(prefix.join("lib"));
        }
        match cc.arg("-lseccomp").output() {
            Ok(output) if output.status.success() => Some(Self { program }),
            Ok(output) => {
                let text = String::from_utf8_lossy(&output.stderr);
                println!(
                    "SKIP: no libseccomp to compare with: {}",
                    text.lines().next().unwrap_or("")
                );
                None
            }
            Err(error) => {
                println!("SKIP: no C compiler to build the libseccomp oracle: {error}");
                None
            }
        }
    }

    pub(super) fn ask(&self, questions: &str) -> Vec<Answer> {
        self.lines(questions).split_terminator("end\n").map(answer).collect()
    }

    pub(super) fn lines(&self, questions: &str) -> String {
        let mut child = Command::new(&self.program)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the oracle was just built");
        let mut stdin = child.stdin.take().expect("piped");
        let output = std::thread::scope(|scope| {
            scope.spawn(move || stdin.write_all(questions.as_bytes()).expect("the oracle reads"));
            child.wait_with_output().expect("the oracle's output")
        });
        assert!(output.status.success(), "{:?}", output.status);
        String::from_utf8(output.stdout).expect("ASCII")
    }
}

impl Drop for Oracle {
    fn drop(&mut self) {
        std::fs::remove_file(&self.program).expect("the oracle was there");
    }
}

fn answer(text: &str) -> Answer {
    let mut answer = Answer::default();
    for line in text.lines() {
        let mut words = line.split(' ');
        let kind = words.next();
        let n: Vec<_> = words.map(|word| u64::from_str_radix(word, 16).expect(line)).collect();
        match kind {
            Some("time") => answer.nanoseconds = n[0],
            Some("gave-up") => answer.gave_up = true,
            Some("error") => answer.error = Some(n[0] as u32),
            Some("newest") => _ = answer.newest.insert(n[0] as u32, n[1] as u32),
            Some("insn") => answer.program.push(sock_filter {
                code: n[0] as u16,
                jt: n[1] as u8,
                jf: n[2] as u8,
                k: n[3] as u32,
            }),
            _ => panic!("the oracle says {line:?}"),
        }
    }
    answer
}

/// The profile as the oracle reads it.
pub(super) fn question(profile: &oci::Seccomp<'_>) -> String {
    let planned = Profile::plan(profile).expect("a valid profile");
    let mut text = format!("default {:x}\n", planned.default);
    // libseccomp puts no two byte orders into one filter.
    if profile.architectures.iter().any(|name| *name == "SCMP_ARCH_S390X") {
        text += "without-native\n";
    }
    for name in &profile.architectures {
        let token = TOKENS.iter().find(|row| *name == row.1).expect("a token").2;
        writeln!(text, "arch {token:x}").expect("a String takes all");
    }
    for (syscall, rule) in profile.syscalls.iter().zip(&planned.rules) {
        let mut args = String::new();
        for arg in &syscall.args {
            let (index, op, value) = (arg.index, operator(&arg.op), arg.value);
            write!(args, " {index:x} {op:x} {value:x} {:x}", arg.value_two).expect("a String");
        }
        for name in &syscall.names {
            writeln!(text, "rule {:x} {}{args}", rule.action, name.as_str()).expect("a String");
        }
    }
    text + "end\n"
}

/// `enum scmp_compare`.
fn operator(word: &str) -> u32 {
    let order = ["NE", "LT", "LE", "EQ", "GE", "GT", "MASKED_EQ"];
    let at = order.iter().position(|op| word.strip_prefix("SCMP_CMP_") == Some(op));
    at.expect("a known operator") as u32 + 1
}
