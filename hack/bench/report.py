# SPDX-License-Identifier: Apache-2.0
"""Samples -> tables, for the terminal and for docs/benchmarks.md."""

import statistics
from pathlib import Path

import goals

BEGIN, END = "<!-- made by bench.py: begin -->", "<!-- made by bench.py: end -->"
BASES = ["crun", "runc", "floor"]


def values(samples, key):
    return [sample[key] for sample in samples]


def figure(samples, key, unit=1e6):
    """(median, minimum) in the unit."""
    found = values(samples, key)
    return statistics.median(found) / unit, min(found) / unit


def ratio_cells(by_name, name, key):
    cells = []
    for base in BASES:
        if base == name or not by_name.get(base):
            cells.append("")
            continue
        cells.append(f"{figure(by_name[name], key)[0] / figure(by_name[base], key)[0]:.2f}")
    return cells


def table(rows):
    widths = [max(len(row[at]) for row in rows) for at in range(len(rows[0]))]
    lines = [
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths)) + " |"
        for row in rows
    ]
    lines.insert(1, "|" + "|".join("-" * (width + 2) for width in widths) + "|")
    return "\n".join(lines)


def workload_table(by_name):
    rows = [
        [
            "",
            "wall ms: median (min)",
            *(f"/{base}" for base in BASES),
            "CPU ms: median (min)",
            *(f"/{base}" for base in BASES),
            "peak MB",
            "faults",
            "switches",
        ]
    ]
    for name, samples in by_name.items():
        if not samples:
            continue
        wall, cpu = figure(samples, "wall"), figure(samples, "cpu")
        rows.append(
            [
                name,
                f"{wall[0]:.2f} ({wall[1]:.2f})",
                *ratio_cells(by_name, name, "wall"),
                f"{cpu[0]:.2f} ({cpu[1]:.2f})",
                *ratio_cells(by_name, name, "cpu"),
                f"{figure(samples, 'rss', 1024)[0]:.1f}",
                f"{figure(samples, 'faults', 1)[0]:.0f}",
                f"{figure(samples, 'voluntary', 1)[0]:.0f}",
            ]
        )
    return table(rows)


def calls_table(by_name):
    """create, start and delete one by one."""
    rows = [
        [
            "",
            *(
                f"{call} {what}"
                for call in ("create", "start", "delete")
                for what in ("wall ms", "CPU ms")
            ),
            "create peak MB",
        ]
    ]
    for name, samples in by_name.items():
        if not samples:
            continue
        calls = [sample["calls"] for sample in samples]
        rows.append(
            [name]
            + [
                f"{statistics.median(one[call][key] for one in calls) / 1e6:.2f}"
                for call in ("create", "start", "delete")
                for key in ("wall", "cpu")
            ]
            + [f"{statistics.median(one['create']['rss'] for one in calls) / 1024:.1f}"]
        )
    return table(rows)


def memory_table(result):
    rows = [
        [
            "",
            "init peak KB",
            "resident KB",
            "private KB",
            "binary MB",
            "with libraries MB",
            "libraries",
        ]
    ]
    for name, (own, loaded, count) in result["sizes"].items():
        init = result["init memory"].get(name)
        rows.append(
            [
                name,
                *(f"{init[key]:.0f}" if init else "-" for key in ("peak", "resident", "private")),
                f"{own / 1e6:.2f}",
                f"{loaded / 1e6:.2f}",
                str(count) if count else "static",
            ]
        )
    return table(rows)


def starts_table(starts):
    rows = [["", "at a time", "containers a second", "median ms", "p99 ms"]]
    for at_once, by_name in starts.items():
        for name, one in by_name.items():
            per_second = 200 / (one["wall"] / 1e9)
            rows.append([name, str(at_once), f"{per_second:.0f}", f"{one['median'] / 1e6:.1f}", f"{one['p99'] / 1e6:.1f}"])
    return table(rows)


def series_table(points):
    names = list(dict.fromkeys(name for by_name in points.values() for name in by_name))
    rows = [["", *map(str, points)]]
    for name in names:
        cells = [by.get(name) for by in points.values()]
        rows.append([name, *(f"{c['wall']:.2f} / {c['cpu']:.2f}" if c else "-" for c in cells)])
    return table(rows)


def error_lines(result):
    return [
        f"- {name}: {what}: {message}"
        for name, found in result["errors"].items()
        for what, message in found.items()
    ]


def view_title(view):
    return {"host": "cgroups as they are", "v1": "cgroup v1 alone", "v2": "bare cgroup v2"}[view]


def sections(result):
    """[(heading, text)] of one view."""
    found = []
    for workload, regimes in result["samples"].items():
        for regime, by_name in regimes.items():
            if not any(by_name.values()):
                continue
            rounds = max(len(samples) for samples in by_name.values())
            body = workload_table(by_name)
            if workload == "create+start+delete":
                body += "\n\n" + calls_table(by_name)
            found.append((f"{workload}, {regime} ({rounds} rounds)", body))
    found.append(("Memory of a created, waiting init; size on disk", memory_table(result)))
    if result.get("smallest limit"):
        rows = [["", "KB"], *([name, str(value)] for name, value in result["smallest limit"].items())]
        found.append(("Smallest memory limit under which busybox starts", table(rows)))
    if result.get("starts"):
        found.append(("200 containers, so many at a time", starts_table(result["starts"])))
    for title, points in result.get("series", {}).items():
        found.append((f"{title.capitalize()}: run, wall / CPU ms", series_table(points)))
    found.append((f"Goals: {goals.summary(result)}", table(goals.table(result))))
    if result["errors"]:
        found.append(("Not measured, and why", "\n".join(error_lines(result))))
    return found


def machine_lines(result):
    facts = ", ".join(f"{key} {value}" for key, value in result["facts"].items())
    lines = [facts, f"cgroups: {result['cgroups']}"]
    if result["left out"]:
        lines.append(f"limits left out, for want of a controller: {', '.join(result['left out'])}")
    return lines + [f"{name}: {version}" for name, version in result["versions"].items()]


def text(results):
    parts = []
    for result in results:
        parts.append(f"== {view_title(result['view'])}")
        parts.append("\n".join(machine_lines(result)))
        parts += [f"{heading}\n{body}" for heading, body in sections(result)]
    return "\n\n".join(parts)


def put_into(path, made):
    """What was made in the place of the last time's, between the two marks; else a text of its own."""
    old = Path(path).read_text() if Path(path).exists() else ""
    before, begin, rest = old.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        return f"{BEGIN}\n\n{made}\n{END}\n"
    return f"{before}{BEGIN}\n\n{made}\n{END}{after}"


def shares(results):
    """README's table: the last view, back to back."""
    result = results[-1]
    rows = [
        [
            "creel's share of",
            *(f"{base}'s {what}" for base in ("crun", "runc") for what in ("wall time", "CPU time")),
            "the kernel's own work",
        ]
    ]
    for workload, regimes in result["samples"].items():
        by_name = regimes["back to back"]
        if by_name.get("creel"):
            wall, cpu = (ratio_cells(by_name, "creel", key) for key in ("wall", "cpu"))
            rows.append([f"`{workload}`", wall[0], cpu[0], wall[1], cpu[1], wall[2]])
    peaks = [
        f"{name} {figure(samples, 'rss', 1024)[0]:.1f} MB"
        for name, samples in result["samples"]["run"]["back to back"].items()
        if samples
    ]
    size = result["sizes"]["creel"][1] / 1e6
    return (
        f"{view_title(result['view']).capitalize()}, back to back; medians:\n\n{table(rows)}\n\n"
        f"Peak memory of `run`: {', '.join(peaks)}. The binary is {size:.1f} MB and loads nothing.\n"
    )


def markdown(results, command):
    parts = [
        f"Made by `{command}`. Medians, with the minimum in brackets; each ratio is of medians "
        "of the same table. Compare ratios, not milliseconds: the machine was not idle all the time."
    ]
    for result in results:
        parts.append(f"## {view_title(result['view']).capitalize()}")
        parts.append("\n".join(f"- {line}" for line in machine_lines(result)))
        parts += [f"### {heading}\n\n{body}" for heading, body in sections(result)]
    return "\n\n".join(parts) + "\n"


def command_line(argv, options):
    """What to type to get this again, without this machine's folders."""
    words = ["hack/bench/bench.py"]
    for word in argv[1:]:
        name, equals, path = word.partition("=")
        if "/" in path and Path(path).is_absolute():
            word = f"{name}={Path(path).name}"
        elif Path(word).is_absolute():
            word = Path(word).name
        words.append(word)
    return " ".join(words)
