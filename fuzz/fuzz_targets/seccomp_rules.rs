// SPDX-License-Identifier: Apache-2.0
//! Well-formed profiles, so that every mutation gets past the JSON: rules that meet on few calls or
//! are spread over all of them, with values that share one half.
#![no_main]

use arbitrary::Arbitrary;
use libfuzzer_sys::fuzz_target;

#[derive(Debug, Arbitrary)]
struct Profile {
    default: u8,
    archs: u8,
    rules: Vec<Rule>,
}

#[derive(Debug, Arbitrary)]
struct Rule {
    first: u16,
    count: u8,
    action: u8,
    args: Vec<Arg>,
}

#[derive(Debug, Arbitrary)]
struct Arg {
    index: u8,
    op: u8,
    high: Half,
    low: Half,
    two: Half,
}

#[derive(Debug, Arbitrary)]
enum Half {
    Small(u8),
    Ones,
    Any(u32),
}

impl Half {
    fn value(&self) -> u64 {
        match *self {
            Self::Small(value) => u64::from(value % 4),
            Self::Ones => u64::from(u32::MAX),
            Self::Any(value) => u64::from(value),
        }
    }
}

const ACTIONS: [&str; 9] = [
    r#""action":"SCMP_ACT_ERRNO""#,
    r#""action":"SCMP_ACT_ALLOW""#,
    r#""action":"SCMP_ACT_ERRNO","errnoRet":38"#,
    r#""action":"SCMP_ACT_KILL_PROCESS""#,
    r#""action":"SCMP_ACT_TRAP""#,
    r#""action":"SCMP_ACT_LOG""#,
    r#""action":"SCMP_ACT_TRACE","errnoRet":7"#,
    r#""action":"SCMP_ACT_KILL""#,
    r#""action":"SCMP_ACT_NOTIFY""#,
];
const ARCHS: [&str; 6] = ["X86", "X32", "ARM", "AARCH64", "S390X", "MIPS"];
const OPERATORS: [&str; 7] = ["EQ", "NE", "LT", "LE", "GE", "GT", "MASKED_EQ"];

impl Arg {
    fn json(&self) -> String {
        let value = self.high.value() << 32 | self.low.value();
        let two = self.high.value() << 32 | self.two.value();
        let op = OPERATORS[usize::from(self.op) % OPERATORS.len()];
        let index = self.index % 6;
        format!(r#"{{"index":{index},"value":{value},"valueTwo":{two},"op":"SCMP_CMP_{op}"}}"#)
    }
}

impl Rule {
    fn json(&self, names: &[&str]) -> String {
        let first = usize::from(self.first) % names.len();
        let many = first..names.len().min(first + 1 + usize::from(self.count));
        let names: Vec<_> = names[many].iter().map(|name| format!("{name:?}")).collect();
        let args: Vec<_> = self.args.iter().take(8).map(Arg::json).collect();
        let action = ACTIONS[usize::from(self.action) % ACTIONS.len()];
        format!(r#"{{"names":[{}],{action},"args":[{}]}}"#, names.join(","), args.join(","))
    }
}

fuzz_target!(|profile: Profile| {
    let names = creel_fuzz::fuzz::system_calls();
    let default = ACTIONS[usize::from(profile.default) % (ACTIONS.len() - 1)]
        .replace("action", "defaultAction")
        .replace("errnoRet", "defaultErrnoRet");
    let archs: Vec<_> = (0..ARCHS.len())
        .filter(|at| profile.archs >> at & 1 == 1)
        .map(|at| format!(r#""SCMP_ARCH_{}""#, ARCHS[at]))
        .collect();
    let rules: Vec<_> = profile.rules.iter().map(|rule| rule.json(&names)).collect();
    creel_fuzz::fuzz::seccomp_profile(&format!(
        r#"{{{default},"architectures":[{}],"listenerPath":"/agent","syscalls":[{}]}}"#,
        archs.join(","),
        rules.join(",")
    ));
});
