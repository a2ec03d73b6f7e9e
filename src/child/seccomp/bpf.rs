// SPDX-License-Identifier: Apache-2.0
//! A program of classic BPF, written from its end to its beginning: whoever jumps comes after what
//! it jumps to, so every distance is known when it is written. Pure.
//!
//! A conditional jump reaches 255 instructions. When its target is further away, a copy of the
//! `ret`, or a `ja` (which reaches everything), is put in between: a jump is valid at any size.

use libc::sock_filter;

/// linux/bpf_common.h; all words, all against the constant `k`.
const LD_ABS: u16 = 0x20;
const AND: u16 = 0x54;
const JA: u16 = 0x05;
const JEQ: u16 = 0x15;
const JGT: u16 = 0x25;
const JGE: u16 = 0x35;
const RET: u16 = 0x06;

const REACH: usize = u8::MAX as usize;

/// An instruction that was written already, counted from the program's end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Label(usize);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Test {
    Eq,
    Gt,
    Ge,
}

#[derive(Debug, Default)]
pub(crate) struct Assembler {
    /// Last instruction first.
    reversed: Vec<sock_filter>,
    /// The `ret` of each value that was written last, and so is nearest.
    returns: Vec<(u32, Label)>,
    /// Stand-ins for far targets: (target, stand-in).
    relays: Vec<(Label, Label)>,
}

impl Assembler {
    pub(crate) fn len(&self) -> usize {
        self.reversed.len()
    }

    pub(crate) fn finish(mut self) -> Vec<sock_filter> {
        self.reversed.reverse();
        self.reversed
    }

    /// Ends the program with `value`.
    pub(crate) fn ret(&mut self, value: u32) -> Label {
        let nearest = self.returns.iter_mut().find(|(v, _)| *v == value);
        match nearest {
            Some((_, label)) if self.reversed.len() - label.0 < REACH / 2 => *label,
            Some((_, label)) => {
                self.reversed.push(instruction(RET, value));
                *label = Label(self.reversed.len() - 1);
                *label
            }
            None => {
                let label = self.push(instruction(RET, value));
                self.returns.push((value, label));
                label
            }
        }
    }

    /// Goes to `yes` or `no` by a test of the accumulator.
    pub(crate) fn branch(&mut self, test: Test, k: u32, yes: Label, no: Label) -> Label {
        if yes == no {
            return yes;
        }
        let yes = self.near(yes);
        let no = self.near(no);
        let code = match test {
            Test::Eq => JEQ,
            Test::Gt => JGT,
            Test::Ge => JGE,
        };
        let (jt, jf) = (self.distance(yes), self.distance(no));
        self.push(sock_filter { code, jt, jf, k })
    }

    /// Loads the word of `seccomp_data` at `offset`, then goes on at `next`.
    pub(crate) fn load(&mut self, offset: u32, next: Label) -> Label {
        self.before(instruction(LD_ABS, offset), next)
    }

    /// Masks the accumulator, then goes on at `next`.
    pub(crate) fn and(&mut self, mask: u32, next: Label) -> Label {
        self.before(instruction(AND, mask), next)
    }

    /// An instruction that falls into `next`, by a `ja` if that is not the very next one.
    fn before(&mut self, instruction: sock_filter, next: Label) -> Label {
        if next.0 + 1 != self.reversed.len() {
            self.relay(next);
        }
        self.push(instruction)
    }

    /// `target`, or a stand-in that the next two instructions can reach.
    fn near(&mut self, target: Label) -> Label {
        let reach = REACH - 2;
        let within = |label: Label, len: usize| len - label.0 <= reach;
        if within(target, self.reversed.len()) {
            return target;
        }
        let known = self.relays.iter().rev().find(|(to, _)| *to == target);
        match known {
            Some(&(_, relay)) if within(relay, self.reversed.len()) => relay,
            _ => self.relay(target),
        }
    }

    fn relay(&mut self, target: Label) -> Label {
        let to = self.reversed[target.0];
        let relay = if to.code == RET {
            self.push(to)
        } else {
            let distance = self.reversed.len() - target.0 - 1;
            self.push(instruction(JA, distance as u32))
        };
        self.relays.push((target, relay));
        relay
    }

    fn distance(&self, to: Label) -> u8 {
        u8::try_from(self.reversed.len() - to.0 - 1).expect("near() keeps targets within reach")
    }

    fn push(&mut self, instruction: sock_filter) -> Label {
        self.reversed.push(instruction);
        Label(self.reversed.len() - 1)
    }
}

fn instruction(code: u16, k: u32) -> sock_filter {
    sock_filter { code, jt: 0, jf: 0, k }
}

/// What the kernel's interpreter does with a filter, for tests; `seccomp_data` as words.
#[cfg(any(test, fuzzing))]
pub(crate) mod interpreter {
    use super::*;

    /// creel writes none, but other compilers' programs have it.
    const JSET: u16 = 0x45;

    /// `(value returned, instructions executed)`.
    pub(crate) fn run(program: &[sock_filter], data: &[u32; 16]) -> (u32, usize) {
        let (mut at, mut a, mut steps) = (0, 0_u32, 0);
        loop {
            let sock_filter { code, jt, jf, k } = program[at];
            at += 1;
            steps += 1;
            let pass = match code {
                LD_ABS => {
                    assert!(k % 4 == 0, "unaligned load");
                    a = data[k as usize / 4];
                    continue;
                }
                AND => {
                    a &= k;
                    continue;
                }
                JA => {
                    at += k as usize;
                    continue;
                }
                RET => return (k, steps),
                JEQ => a == k,
                JGT => a > k,
                JGE => a >= k,
                JSET => a & k != 0,
                _ => panic!("instruction {code:#x} at {}", at - 1),
            };
            at += usize::from(if pass { jt } else { jf });
        }
    }

    /// What `bpf_check_classic` and `seccomp_check_filter` demand: known codes, aligned loads within
    /// `seccomp_data`, jumps that stay inside, a `ret` at the end, at most 4096 instructions.
    pub(crate) fn check(program: &[sock_filter]) {
        assert!((1..=4096).contains(&program.len()), "{} instructions", program.len());
        for (at, one) in program.iter().enumerate() {
            let left = program.len() - at - 1;
            match one.code {
                LD_ABS => assert!(one.k < 64 && one.k % 4 == 0, "load {} at {at}", one.k),
                JEQ | JGT | JGE => assert!(usize::from(one.jt.max(one.jf)) < left, "jump at {at}"),
                JA => assert!((one.k as usize) < left, "jump at {at}"),
                AND | RET => {}
                code => panic!("instruction {code:#x} at {at}"),
            }
        }
        assert_eq!(program.last().map(|one| one.code), Some(RET));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nr(nr: u32) -> [u32; 16] {
        let mut data = [0; 16];
        data[0] = nr;
        data
    }

    #[test]
    fn jumps_reach_any_distance() {
        let mut asm = Assembler::default();
        let last = asm.ret(0);
        let leaf = asm.load(4, last);
        // 3000 leaves of their own, and far ones that all of them share.
        let mut next = asm.ret(1);
        for n in (0..3000).rev() {
            let yes = if n % 3 == 0 { leaf } else { last };
            next = asm.branch(Test::Eq, n, yes, next);
        }
        asm.load(0, next);
        let program = asm.finish();
        interpreter::check(&program);
        assert!(program.len() < 3100, "{}", program.len());
        for n in [0, 1, 2, 1500, 2998, 2999] {
            assert_eq!(interpreter::run(&program, &nr(n)).0, 0, "{n}");
        }
        assert_eq!(interpreter::run(&program, &nr(3000)).0, 1);
    }

    #[test]
    fn an_instruction_falls_into_a_label_that_is_not_next_to_it() {
        let mut asm = Assembler::default();
        let kill = asm.ret(0);
        let allow = asm.ret(7);
        let test = asm.branch(Test::Gt, 3, kill, allow);
        asm.ret(9);
        asm.load(0, test);
        let program = asm.finish();
        interpreter::check(&program);
        assert_eq!(interpreter::run(&program, &nr(3)).0, 7);
        assert_eq!(interpreter::run(&program, &nr(4)).0, 0);
    }
}
