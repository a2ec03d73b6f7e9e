# SPDX-License-Identifier: Apache-2.0
"""Samples -> one SVG: per view and workload a panel with wall and CPU time, bars to scale."""

import math
import statistics
from html import escape

from report import view_title

COLOURS = {
    "floor": "#8a8f98",
    "creel": "#d1495b",
    "crun": "#2e86ab",
    "youki": "#6a994e",
    "runc": "#c8963e",
}
OTHER = "#7b5ea7"
PANEL, LABELS, GAP, BAR, ROW = 330, 64, 46, 9, 28


def nice_step(top):
    """A step of 1, 2 or 5 times a power of ten that gives three to six ticks."""
    rough = top / 4
    power = 10 ** math.floor(math.log10(rough))
    return next(step * power for step in (1, 2, 5, 10) if step * power >= rough)


def label(text, x, y, anchor="start", size=11, fill="#333", weight="normal"):
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" font-size="{size}" fill="{fill}" '
        f'font-weight="{weight}">{escape(text)}</text>'
    )


def panel(regimes, key, title, x, y):
    """One set of axes. Returns its SVG and its height."""
    names = [
        name for name in next(iter(regimes.values())) if any(by[name] for by in regimes.values())
    ]
    medians = {
        (name, regime): statistics.median(s[key] for s in by[name]) / 1e6
        for regime, by in regimes.items()
        for name in names
        if by[name]
    }
    top = max(medians.values()) * 1.14  # room for the longest bar's figure
    step, width, height = nice_step(top), PANEL - LABELS, ROW * len(names) + 6

    def scale(value):
        return x + LABELS + value / top * width

    out = [label(title, x + LABELS, y - 8, weight="bold")]
    for tick in range(int(top / step) + 1):
        at = scale(tick * step)
        out.append(
            f'<line x1="{at:.1f}" y1="{y}" x2="{at:.1f}" y2="{y + height}" stroke="#e3e5e8"/>'
        )
        out.append(label(f"{tick * step:g}", at, y + height + 14, "middle", 10, "#666"))
    for row, name in enumerate(names):
        line = y + 4 + row * ROW
        out.append(
            label(
                name,
                x + LABELS - 6,
                line + 14,
                "end",
                weight="bold" if name == "creel" else "normal",
            )
        )
        for number, regime in enumerate(regimes):
            value = medians.get((name, regime))
            if value is None:
                continue
            bar_y = line + number * (BAR + 1)
            out.append(
                f'<rect x="{x + LABELS}" y="{bar_y}" height="{BAR}" '
                f'width="{scale(value) - x - LABELS:.1f}" '
                f'fill="{COLOURS.get(name, OTHER)}" fill-opacity="{(1, 0.55)[number % 2]}"/>'
            )
            out.append(label(f"{value:.1f}", scale(value) + 3, bar_y + 8, size=9, fill="#555"))
    out.append(
        f'<line x1="{x + LABELS}" y1="{y}" x2="{x + LABELS}" y2="{y + height}" stroke="#888"/>'
    )
    return "\n".join(out), height


def draw(results):
    parts, y = [], 66
    for result in results:
        parts.append(
            label(
                view_title(result["view"]).capitalize() + f" (kernel {result['facts']['kernel']})",
                20,
                y,
                size=14,
                weight="bold",
            )
        )
        y += 36
        for workload, regimes in result["samples"].items():
            if not any(any(by.values()) for by in regimes.values()):
                continue
            height = 0
            for column, (key, what) in enumerate((("wall", "wall, ms"), ("cpu", "CPU, ms"))):
                svg, height = panel(
                    regimes, key, f"{workload}: {what}", 20 + column * (PANEL + GAP), y
                )
                parts.append(svg)
            y += height + 52
    width = 20 + 2 * (PANEL + GAP)
    head = [
        label(
            "creel beside other runtimes: median of each, less is better",
            20,
            26,
            size=16,
            weight="bold",
        ),
        label(
            "full colour: back to back; pale: 40 ms of rest before each. "
            "floor: the kernel's own work for the same config",
            20,
            44,
            fill="#555",
        ),
    ]
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {y}" '
        f'width="{width}" height="{y}" '
        f'font-family="system-ui, sans-serif">\n<rect width="{width}" height="{y}" fill="#fff"/>\n'
        + "\n".join(head + parts)
        + "\n</svg>\n"
    )
