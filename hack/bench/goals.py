# SPDX-License-Identifier: Apache-2.0
"""Each goal beside what was measured: met, missed, or why there is no answer."""

import statistics

CPU_OF_CRUN, CPU_OF_RUNC = 0.40, 0.08
WALL_OF_CRUN, WALL_OF_FLOOR = 0.30, 1.4
LIGHT_OF_CRUN = 0.40
MEMORY_OF_CRUN, PRIVATE_KB, BINARY_MB = 0.65, 400, 3
STARTS_OF_CRUN, P99_OF_CRUN = 1.5, 0.6


def at_most(what, goal, value, unit=""):
    if value is None:
        return [what, f"≤ {goal}{unit}", "-", "not measured"]
    return [what, f"≤ {goal}{unit}", f"{value:.2f}{unit}", "met" if value <= goal else "missed"]


def at_least(what, goal, value):
    if value is None:
        return [what, f"≥ {goal}", "-", "not measured"]
    return [what, f"≥ {goal}", f"{value:.2f}", "met" if value >= goal else "missed"]


def ratio(samples, key, base):
    ours, theirs = samples.get("creel"), samples.get(base)
    if not ours or not theirs:
        return None
    return statistics.median(s[key] for s in ours) / statistics.median(s[key] for s in theirs)


def of_commands(result):
    rows = []
    for workload, regimes in result["samples"].items():
        for regime, samples in regimes.items():
            if workload in ("run", "create+start+delete", "exec", "state"):
                for base, goal in (("crun", CPU_OF_CRUN), ("runc", CPU_OF_RUNC)):
                    rows.append(at_most(f"{workload}, {regime}: CPU of {base}'s", goal, ratio(samples, "cpu", base)))
            if workload in ("run", "create+start+delete"):
                rows.append(at_most(f"{workload}, {regime}: wall of crun's", WALL_OF_CRUN, ratio(samples, "wall", "crun")))
            else:
                rows.append(at_most(f"{workload}, {regime}: wall of crun's", LIGHT_OF_CRUN, ratio(samples, "wall", "crun")))
            if workload == "run":
                rows.append(at_most(f"{workload}, {regime}: wall of the floor's", WALL_OF_FLOOR, ratio(samples, "wall", "floor")))
            if workload == "exec" and regime == "back to back":
                rows.append(at_most("exec: peak memory of crun's", MEMORY_OF_CRUN, ratio(samples, "rss", "crun")))
            if workload == "create+start+delete" and regime == "back to back":
                creates = {n: [s["calls"]["create"] for s in many] for n, many in samples.items()}
                rows.append(at_most("create: peak memory of crun's", MEMORY_OF_CRUN, ratio(creates, "rss", "crun")))
    return rows


def of_memory(result):
    init, limits = result["init memory"], result.get("smallest limit", {})
    ours, theirs = init.get("creel"), init.get("crun")
    peak = ours["peak"] / theirs["peak"] if ours and theirs else None
    limit = limits["creel"] / limits["crun"] if {"creel", "crun"} <= set(limits) else None
    return [
        at_most("waiting init: peak memory of crun's", MEMORY_OF_CRUN, peak),
        at_most("waiting init: private memory", PRIVATE_KB, ours and ours["private"], " KB"),
        at_most("smallest memory limit, of crun's", 1, limit),
        at_most("binary with all it loads", BINARY_MB, result["sizes"]["creel"][1] / 1e6, " MB"),
    ]


def of_series(result):
    rows = []
    for at_once, by_name in result.get("starts", {}).items():
        if {"creel", "crun"} <= set(by_name):
            ours, theirs = by_name["creel"], by_name["crun"]
            rows.append(at_least(f"200 starts, {at_once} at a time: throughput of crun's", STARTS_OF_CRUN, theirs["wall"] / ours["wall"]))
            rows.append(at_most(f"200 starts, {at_once} at a time: p99 of crun's", P99_OF_CRUN, ours["p99"] / theirs["p99"]))
    for title, points in result.get("series", {}).items():
        for point, by_name in points.items():
            if {"creel", "crun"} <= set(by_name):
                rows.append(at_most(f"{title}: {point}: CPU of crun's", 1, by_name["creel"]["cpu"] / by_name["crun"]["cpu"]))
    return rows


def table(result):
    rows = [*of_commands(result), *of_memory(result), *of_series(result)]
    return [["goal", "", "here", ""], *rows]


def summary(result):
    verdicts = [row[3] for row in table(result)[1:]]
    return ", ".join(f"{verdicts.count(word)} {word}" for word in ("met", "missed", "not measured") if word in verdicts)
