# SPDX-License-Identifier: Apache-2.0
"""linux.seccomp of a bundle -> a C header with one BPF program, for floor.c.

Per architecture a balanced search over ranges of system call numbers, argument checks as leaves.
Numbers come from the kernel's own headers, so a name that they lack is left out (and counted).
x86_64 with its two sub-architectures only: it's a yardstick for one machine, not creel's compiler.
"""

import re
import sys

ALLOW, ERRNO = 0x7FFF0000, 0x00050000
LD, JEQ, JGE, JA, AND, RET = 0x20, 0x15, 0x35, 0x05, 0x54, 0x06
NR, ARCH, ARG0 = 0, 4, 16
X32_BIT = 0x40000000
ARCHES = [(0xC000003E, "64"), (0x40000003, "32")]
EPERM = 1
BLOCK = 180


def numbers(kind):
    """{name: number}; for 64 bit with x32's own ones under (name, 'x32')."""
    table = {}
    path = f"/usr/include/x86_64-linux-gnu/asm/unistd_{kind}.h"
    try:
        text = open(path).read()
    except FileNotFoundError:
        text = open(path.replace("x86_64-linux-gnu/", "")).read()
    for name, value in re.findall(r"#define __NR_(\w+) (.+)", text):
        value = value.replace("__X32_SYSCALL_BIT", str(X32_BIT))
        table[name] = sum(int(term) for term in value.strip("()").split("+"))
    return table


def action(rule_action, errno):
    if rule_action == "SCMP_ACT_ALLOW":
        return ALLOW
    if rule_action == "SCMP_ACT_ERRNO":
        return ERRNO | (EPERM if errno is None else errno)
    raise ValueError(f"seccomp action {rule_action}: not in the bench profile's set")


def leaves(profile, table, skipped):
    """{number: [(args, action), ...]}: unconditional rules first, so that they win."""
    found = {}
    for rule in profile["syscalls"]:
        act = action(rule["action"], rule.get("errnoRet"))
        for name in rule["names"]:
            if name not in table:
                skipped.add(name)
                continue
            found.setdefault(table[name], []).append((rule.get("args") or [], act))
    return {nr: sorted(rules, key=lambda rule: len(rule[0])) for nr, rules in found.items()}


def leaf_code(rules, default):
    """Straight code for one system call: each rule's checks fall through to the next rule."""
    code = []
    for args, act in rules:
        if not args:
            return code + [(RET, 0, 0, act)]
        check = []
        for arg in args:
            low = ARG0 + 8 * arg["index"]
            value, mask = arg["value"], None
            if arg["op"] == "SCMP_CMP_MASKED_EQ":
                mask, value = value, arg.get("valueTwo", 0)
            elif arg["op"] != "SCMP_CMP_EQ":
                raise ValueError(f"seccomp operator {arg['op']}: not in the bench profile's set")
            for offset, shift in ((low, 0), (low + 4, 32)):
                part_mask = None if mask is None else mask >> shift & 0xFFFFFFFF
                if part_mask == 0:
                    continue
                check.append((LD, 0, 0, offset))
                if part_mask is not None:
                    check.append((AND, 0, 0, part_mask))
                check.append((JEQ, 0, "miss", value >> shift & 0xFFFFFFFF))
        check.append((RET, 0, 0, act))
        for at, (op, jt, jf, k) in enumerate(check):
            code.append((op, jt, len(check) - at - 1 if jf == "miss" else jf, k))
    return code + [(RET, 0, 0, default)]


def tree(ranges):
    """ranges: [(first number, code)], ascending. The accumulator holds the number.

    Loading costs about a quarter of a microsecond an instruction, so a verdict is not repeated at
    each leaf: subtrees of up to BLOCK instructions share one RET per verdict, behind them.
    """
    if len(ranges) == 1:
        return ranges[0][1]
    half = len(ranges) // 2
    if tree_size(ranges) <= BLOCK:
        return block(ranges)
    left, right = tree(ranges[:half]), tree(ranges[half:])
    if len(left) <= 255:
        return [(JGE, len(left), 0, ranges[half][0]), *left, *right]
    return [(JGE, 0, 1, ranges[half][0]), (JA, 0, 0, len(left)), *left, *right]


def tree_size(ranges):
    return len(ranges) - 1 + sum(len(code) for _, code in ranges if len(code) > 1)


def block(ranges):
    code, jumps, verdicts = [], [], {}

    def place(part):
        """Where this part begins, or the single RET that it is."""
        if len(part) == 1:
            if len(part[0][1]) == 1:
                return part[0][1][0]
            code.extend(part[0][1])
            return len(code) - len(part[0][1])
        at, half = len(code), len(part) // 2
        code.append(None)
        jumps.append((at, part[half][0], place(part[:half]), place(part[half:])))
        return at

    def offset(at, target):
        if isinstance(target, tuple):
            if target not in verdicts:
                verdicts[target] = len(code)
                code.append(target)
            target = verdicts[target]
        return target - at - 1

    place(ranges)
    for at, pivot, below, from_here in jumps:
        code[at] = (JGE, offset(at, from_here), offset(at, below), pivot)
    assert all(max(jt, jf) <= 255 for op, jt, jf, _ in code if op == JGE)
    return code


def program(profile):
    default = action(profile["defaultAction"], profile.get("defaultErrnoRet"))
    skipped, body = set(), []
    for audit, kind in ARCHES:
        table = numbers(kind)
        rules = leaves(profile, table, skipped)
        if kind == "64":
            rules.update(leaves(profile, numbers("x32"), skipped))
        ranges, previous, last = [(0, leaf_code([], default))], leaf_code([], default), -1
        for nr in sorted(rules):
            if nr > last + 1 and previous != (gap := leaf_code([], default)):
                ranges.append((last + 1, gap))
                previous = gap
            code = leaf_code(rules[nr], default)
            if code != previous:
                ranges.append((nr, code))
                previous = code
            last = nr
        ranges.append((last + 1, leaf_code([], default)))
        ranges = [
            pair
            for at, pair in enumerate(ranges)
            if at + 1 == len(ranges) or ranges[at + 1][0] != pair[0]
        ]
        block = [(LD, 0, 0, NR), *tree(ranges)]
        body += [(JEQ, 1, 0, audit), (JA, 0, 0, len(block)), *block]
    return [(LD, 0, 0, ARCH), *body, (RET, 0, 0, default)], skipped


def header(profile):
    code, _ = program(profile)
    rows = "".join(f"\t{{ {op:#x}, {jt}, {jf}, {k:#x} }},\n" for op, jt, jf, k in code)
    return f"static struct sock_filter filter_code[] = {{\n{rows}}};\n"


def interpret(code, nr, audit, arg0=0):
    """For --selftest: what the kernel would answer."""
    at, acc = 0, 0
    data = {NR: nr, ARCH: audit, ARG0: arg0 & 0xFFFFFFFF, ARG0 + 4: arg0 >> 32}
    while True:
        op, jt, jf, k = code[at]
        at += 1
        if op == LD:
            acc = data[k]
        elif op == AND:
            acc &= k
        elif op == JA:
            at += k
        elif op == RET:
            return k
        else:
            at += jt if (acc == k if op == JEQ else acc >= k) else jf


def selftest(profile):
    """Every number of both architectures, against the profile read naively."""
    code, skipped = program(profile)
    assert len(code) <= 4096
    default = action(profile["defaultAction"], None)
    checked = 0
    for audit, kind in ARCHES:
        tables = [numbers(kind)] + ([numbers("x32")] if kind == "64" else [])
        names = {nr: name for table in tables for name, nr in table.items()}
        for nr in [*range(0, 1000), *range(X32_BIT, X32_BIT + 1000), 0xFFFFFFFF]:
            for arg0 in (
                0,
                8,
                0x20000,
                0x20008,
                0xFFFFFFFF,
                0x1FFFFFFFF,
                0x10000000,
                17,
                0x7E020000,
            ):
                want = default
                for rule in profile["syscalls"]:
                    if names.get(nr) not in rule["names"]:
                        continue
                    hit = all(
                        arg0 & arg["value"] == arg.get("valueTwo", 0)
                        if arg["op"] == "SCMP_CMP_MASKED_EQ"
                        else arg0 == arg["value"]
                        for arg in rule.get("args") or []
                    )
                    if hit:
                        want = action(rule["action"], rule.get("errnoRet"))
                        break
                got = interpret(code, nr, audit, arg0)
                assert got == want, (kind, nr, names.get(nr), hex(arg0), hex(got), hex(want))
                checked += 1
    print(f"{len(code)} instructions, {checked} inputs agree, unknown names: {sorted(skipped)}")


if __name__ == "__main__":
    import json

    profile = json.load(open(sys.argv[1]))["linux"]["seccomp"]
    selftest(profile)
