// SPDX-License-Identifier: Apache-2.0
//! A profile as one program: per architecture a balanced tree over ranges of system call numbers
//! with equal outcome; argument tests and returns are its leaves, each written once. Pure.
//!
//! The kernel runs the filter once per system call number when it is loaded, to cache which are
//! always allowed, so a short path costs less there too.

use libc::sock_filter;

use crate::bail;
use crate::error::Result;

use super::arch::{Arch, X32_BIT};
use super::args;
use super::bpf::{Assembler, Label, Test};
use super::profile::Profile;
use super::rules::{Named, Outcome, Section};

/// Offsets in `seccomp_data`.
const NR: u32 = 0;
const ARCH: u32 = 4;

/// `BPF_MAXINSNS`.
const MAX: usize = 4096;

const ENOSYS: u32 = libc::SECCOMP_RET_ERRNO | libc::ENOSYS as u32;

/// Single numbers that one leaf of the tree may tell from the range around them.
const HOLES: usize = 2;

pub(super) fn compile(profile: &Profile, archs: &[Arch]) -> Result<Vec<sock_filter>> {
    let mut compiler = Compiler {
        asm: Assembler::default(),
        default: profile.default,
        hides_newer: hides_newer(profile.default),
        leaves: Vec::new(),
    };
    let named = Named::new(profile);
    let mut trees = Vec::new();
    // Written from the end: the native architecture comes last and so stands first.
    for &arch in archs.iter().rev().filter(|arch| **arch != Arch::X32) {
        let mut spans = Spans::default();
        compiler.spans(&mut spans, &Section::plan(&named, arch)?, arch);
        if arch == Arch::X86_64 {
            compiler.x32(&mut spans, &named, archs)?;
        }
        let tree = compiler.tree(&spans);
        trees.push((arch, compiler.asm.load(NR, tree)));
    }
    let mut asm = compiler.asm;
    // A call through an architecture that the profile does not list.
    let mut next = asm.ret(libc::SECCOMP_RET_KILL_THREAD);
    for (arch, tree) in trees {
        next = asm.branch(Test::Eq, arch.audit(), tree, next);
    }
    asm.load(ARCH, next);
    if asm.len() > MAX {
        bail!("linux.seccomp: the filter needs {} instructions, Linux takes {MAX}", asm.len());
    }
    Ok(asm.finish())
}

/// A system call newer than the profile gets ENOSYS, for the C library to try an older one, unless
/// the default lets it pass, or lets a tracer decide (as runc 1.0 does).
fn hides_newer(default: u32) -> bool {
    let action = default & libc::SECCOMP_RET_ACTION_FULL;
    !matches!(action, libc::SECCOMP_RET_ALLOW | libc::SECCOMP_RET_LOG | libc::SECCOMP_RET_TRACE)
}

struct Compiler {
    asm: Assembler,
    default: u32,
    hides_newer: bool,
    leaves: Vec<Leaf>,
}

/// An outcome that occurs; its place in `Compiler::leaves` stands for it.
struct Leaf {
    outcome: Outcome,
    /// For `Outcome::Branches`: the width that it was written for, and where it is.
    written: Option<(bool, Label)>,
}

/// Ranges of numbers, each from `start` to the next one's; neighbours differ.
#[derive(Default)]
struct Spans(Vec<(u32, usize)>);

impl Spans {
    fn push(&mut self, start: u32, leaf: usize) {
        if self.0.last().is_some_and(|last| last.0 == start) {
            self.0.pop();
        }
        if self.0.last().is_none_or(|last| last.1 != leaf) {
            self.0.push((start, leaf));
        }
    }

    fn is_single(&self, at: usize) -> bool {
        let (start, _) = self.0[at];
        let end = self.0.get(at + 1).map_or(1 << 32, |next| u64::from(next.0));
        end - u64::from(start) == 1
    }
}

impl Compiler {
    /// The numbers of one architecture, from `number_bits` up.
    fn spans(&mut self, spans: &mut Spans, section: &Section, arch: Arch) {
        let default = self.leaf(&Outcome::Action(self.default), arch);
        spans.push(arch.number_bits(), default);
        for (range, outcome) in &section.outcomes {
            let leaf = self.leaf(outcome, arch);
            spans.push(range.start, leaf);
            spans.push(range.end, default);
        }
        let Some(newest) = section.newest.filter(|_| self.hides_newer) else { return };
        let missing = self.leaf(&Outcome::Action(ENOSYS), arch);
        if arch == Arch::S390x {
            // svc 0 with a number that the kernel does not know arrives as number 0.
            let one = spans.0.iter().take_while(|span| span.0 <= 1).last().map(|span| span.1);
            let rest = spans.0.iter().position(|span| span.0 > 1).unwrap_or(spans.0.len());
            spans.0.splice(..rest, [(0, missing), (1, one.unwrap_or(default))]);
        }
        spans.push(newest + 1, missing);
    }

    /// x32 is the upper half of x86_64's numbers. Where the profile does not list it, its calls are
    /// of a foreign architecture, except -1: that is how a tracer skips a call.
    fn x32(&mut self, spans: &mut Spans, named: &Named<'_>, archs: &[Arch]) -> Result<()> {
        if archs.contains(&Arch::X32) {
            self.spans(spans, &Section::plan(named, Arch::X32)?, Arch::X32);
            return Ok(());
        }
        let kill = Outcome::Action(libc::SECCOMP_RET_KILL_THREAD);
        let (kill, default) = (
            self.leaf(&kill, Arch::X86_64),
            self.leaf(&Outcome::Action(self.default), Arch::X86_64),
        );
        spans.push(X32_BIT, kill);
        spans.push(u32::MAX, default);
        Ok(())
    }

    fn leaf(&mut self, outcome: &Outcome, arch: Arch) -> usize {
        let is_same = |leaf: &Leaf| {
            leaf.outcome == *outcome && leaf.written.is_none_or(|(wide, _)| wide == arch.is_wide())
        };
        if let Some(at) = self.leaves.iter().position(is_same) {
            return at;
        }
        let written = match outcome {
            Outcome::Action(_) => None,
            Outcome::Branches(list) => {
                let label = args::branches(&mut self.asm, list, self.default, arch);
                Some((arch.is_wide(), label))
            }
        };
        self.leaves.push(Leaf { outcome: outcome.clone(), written });
        self.leaves.len() - 1
    }

    fn label(&mut self, leaf: usize) -> Label {
        match &self.leaves[leaf] {
            Leaf { written: Some((_, label)), .. } => *label,
            Leaf { outcome: Outcome::Action(action), .. } => self.asm.ret(*action),
            Leaf { outcome: Outcome::Branches(_), written: None } => {
                unreachable!("leaf() writes branches")
            }
        }
    }

    fn tree(&mut self, spans: &Spans) -> Label {
        let clusters = clusters(spans);
        self.subtree(spans, &clusters)
    }

    fn subtree(&mut self, spans: &Spans, clusters: &[Cluster]) -> Label {
        if let [cluster] = clusters {
            return self.cluster(spans, cluster);
        }
        let (left, right) = clusters.split_at(middle(spans, clusters));
        let (start, _) = spans.0[right[0].from];
        let yes = self.subtree(spans, right);
        let no = self.subtree(spans, left);
        self.asm.branch(Test::Ge, start, yes, no)
    }

    fn cluster(&mut self, spans: &Spans, cluster: &Cluster) -> Label {
        let mut next = self.label(cluster.rest);
        for &(number, leaf) in spans.0[cluster.from..cluster.to].iter().rev() {
            if leaf != cluster.rest {
                let yes = self.label(leaf);
                next = self.asm.branch(Test::Eq, number, yes, next);
            }
        }
        next
    }
}

/// Where the tree forks: half of the clusters on either side; x32's hardly count, as hardly anybody
/// makes its calls, and they would add a test to every call of x86_64.
fn middle(spans: &Spans, clusters: &[Cluster]) -> usize {
    let weight = |cluster: &Cluster| if spans.0[cluster.from].0 < X32_BIT { 16 } else { 1 };
    let total: usize = clusters.iter().map(weight).sum();
    let mut left = 0;
    let fits = |cluster: &&Cluster| {
        left += weight(cluster);
        left <= total / 2
    };
    clusters.iter().take_while(fits).count().clamp(1, clusters.len() - 1)
}

/// A leaf of the tree: spans that are `rest`, but for up to `HOLES` single numbers.
struct Cluster {
    from: usize,
    to: usize,
    rest: usize,
}

fn clusters(spans: &Spans) -> Vec<Cluster> {
    let count = spans.0.len();
    let mut clusters = Vec::with_capacity(count);
    let mut from = 0;
    while from < count {
        let window = from..count.min(from + HOLES + 1);
        let broad = window.clone().find(|at| !spans.is_single(*at)).unwrap_or(from);
        let rest = spans.0[broad].1;
        let mut holes = spans.0[from..broad].iter().filter(|span| span.1 != rest).count();
        let mut to = broad + 1;
        while to < count {
            let is_rest = spans.0[to].1 == rest;
            if !is_rest && (holes == HOLES || !spans.is_single(to)) {
                break;
            }
            holes += usize::from(!is_rest);
            to += 1;
        }
        clusters.push(Cluster { from, to, rest });
        from = to;
    }
    clusters
}
