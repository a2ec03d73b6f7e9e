#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""creel beside the other runtimes and the floor, interleaved, in one run. See README.md.

    hack/bench/bench.py                     this machine's cgroups as they are
    hack/bench/bench.py --v1 --v2           other views of the same machine
    hack/bench/bench.py --quick             few rounds: does it work at all?

Needs root, a C compiler, busybox (static) and Python's standard library.
"""

import argparse
import json
import os
import shutil
import signal
import statistics
import sys
import tempfile
import time
from pathlib import Path

import chart
import goals
import machine
import report
import series
from subjects import Failed, Runtime, Site

HERE = Path(__file__).resolve().parent
RELEASE = HERE.parents[1] / "build/creel"
REGIMES = {"back to back": 0.0, "rested": 0.04}
WORKLOADS = ["run", "create+start+delete", "exec", "state", "kill", "list"]
LISTED = 100
KNOWN = ["creel", "crun", "youki", "runc"]


def work_of(subject, workload):
    return getattr(subject, {"create+start+delete": "cycle"}.get(workload, workload), None)


def probe(site, workload, subjects, errors):
    """One run each, not counted: warms the caches, and says who cannot do it here."""
    able = []
    for subject in subjects:
        work = work_of(subject, workload)
        if work is None:
            continue
        try:
            if workload in ("exec", "state", "kill") and isinstance(subject, Runtime) and not subject.stays:
                raise Failed("its container did not start, see above")
            work()
            able.append(subject)
        except Failed as error:
            errors.setdefault(subject.name, {})[workload] = str(error)
            subject.forget("run", "cycle")
    return able


def sample_rounds(subjects, workload, rest, rounds, errors):
    samples = {subject.name: [] for subject in subjects}
    for number in range(rounds):
        turn = number % len(subjects) if subjects else 0
        for subject in subjects[turn:] + subjects[:turn]:
            time.sleep(rest)
            try:
                samples[subject.name].append(work_of(subject, workload)())
            except Failed as error:
                lost = errors.setdefault(subject.name, {})
                key = f"{workload}, sample lost"
                lost[key] = str(error)
                subject.forget("run", "cycle")
    return samples


def start_long(site, errors):
    for runtime in site.runtimes:
        try:
            runtime.up()
        except Failed as error:
            runtime.stays = False
            errors.setdefault(runtime.name, {})["a container that stays"] = str(error)
            runtime.forget("long")


def fill(site, errors):
    for runtime in site.runtimes:
        try:
            runtime.fill(3 if site.options.quick else LISTED)
        except Failed as error:
            errors.setdefault(runtime.name, {})["containers to list"] = str(error)


def grow(site, view, options, errors):
    """The series; once, in the last view, those that do not depend on it."""
    rounds = max(options.rounds // 4, 3)

    def say(what):
        print(f"bench: {view}: {what}", file=sys.stderr, flush=True)

    found = {}
    say("smallest memory limit")
    found["smallest limit"] = series.smallest_limit(site, errors)
    if options.limits or view != options.views[-1]:
        return found
    say("many at once")
    found["starts"] = series.starts(site, errors)
    found["series"] = {}
    for title, make in (
        ("masked paths", series.masks),
        ("mounts in the config", series.config_mounts),
        ("mounts on the host", series.host_mounts),
    ):
        say(title)
        found["series"][title] = make(site, rounds, errors)
    return found


def init_memory(site, errors):
    found = {}
    for runtime in site.runtimes:
        try:
            rounds = [runtime.init_memory() for _ in range(5)]
            found[runtime.name] = {
                key: statistics.median(one[key] for one in rounds) for key in rounds[0]
            }
        except Failed as error:
            errors.setdefault(runtime.name, {})["memory of a waiting init"] = str(error)
            runtime.forget("memory")
    return found


def bench_view(view, options):
    with Site(view, options) as site:
        errors, results = {}, {}
        subjects = [site.floor, *site.runtimes]
        start_long(site, errors)
        if "list" in options.workloads:
            fill(site, errors)
        for workload in options.workloads:
            able = probe(site, workload, subjects, errors)
            for regime, rest in REGIMES.items():
                print(
                    f"bench: {view}: {workload}, {regime}: {' '.join(s.name for s in able)}",
                    file=sys.stderr,
                    flush=True,
                )
                samples = sample_rounds(able, workload, rest, options.rounds, errors)
                results.setdefault(workload, {})[regime] = samples
        sizes = {runtime.name: machine.loaded_size(runtime.path) for runtime in site.runtimes}
        for runtime in site.runtimes:
            runtime.empty()
        grown = {} if options.without_series else grow(site, view, options, errors)
        return {
            **grown,
            "view": view,
            "cgroups": machine.describe_cgroups(),
            "facts": machine.facts(),
            "left out": site.left_out,
            "versions": {subject.name: subject.version for subject in subjects},
            "sizes": sizes,
            "init memory": init_memory(site, errors),
            "errors": errors,
            "samples": results,
        }


def bench_in_child(view, options):
    """Each view gets its own process: a mount namespace cannot be left again."""
    with tempfile.TemporaryFile("w+") as file:
        pid = os.fork()
        if pid == 0:
            os.setsid()  # Ctrl-C reaches it once, from the parent
            status = 1
            try:
                json.dump(bench_view(view, options), file)
                file.flush()
                status = 0
            except KeyboardInterrupt:
                print(f"bench: {view}: stopped, cleaned up", file=sys.stderr)
            except Exception as error:
                print(f"bench: {view}: {error}", file=sys.stderr)
                if os.environ.get("BENCH_DEBUG"):
                    raise
            finally:
                os._exit(status)
        while True:
            try:
                _, status = os.waitpid(pid, 0)
                break
            except KeyboardInterrupt:
                os.kill(pid, signal.SIGINT)
        if status != 0:
            raise SystemExit(f"bench: view {view} did not finish")
        file.seek(0)
        return json.load(file)


def find_runtimes(given):
    found = {}
    for item in given:
        name, _, path = item.partition("=")
        if not path or not os.access(path, os.X_OK):
            raise SystemExit(f"bench: --runtime {item}: not NAME=PATH of a program")
        found[name] = os.path.realpath(path)
    for name in KNOWN:
        path = str(RELEASE) if name == "creel" and RELEASE.exists() else shutil.which(name)
        if name not in found and path:
            found[name] = path
        elif name not in found:
            print(f"bench: no {name} here: left out", file=sys.stderr)
    return {
        name: found[name] for name in [*KNOWN, *sorted(set(found) - set(KNOWN))] if name in found
    }


def arguments():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--creel", help="path of creel (default: the release build, then PATH)")
    parser.add_argument("--runtime", action="append", default=[], metavar="NAME=PATH")
    parser.add_argument(
        "--without", action="append", default=[], metavar="NAME", help="leave a runtime out"
    )
    parser.add_argument(
        "--host",
        dest="views",
        action="append_const",
        const="host",
        help="cgroups as they are (default)",
    )
    parser.add_argument(
        "--v1",
        dest="views",
        action="append_const",
        const="v1",
        help="v1 without a v2 mount beside it",
    )
    parser.add_argument(
        "--v2", dest="views", action="append_const", const="v2", help="a bare cgroup2 mount"
    )
    parser.add_argument("--workload", dest="workloads", action="append", choices=WORKLOADS)
    parser.add_argument("--full", action="store_true",
        help="what docs/benchmarks.md shows: both views, 20 rounds, tables, chart; ten minutes")
    parser.add_argument("--without-series", action="store_true", help="no masks, mounts, many at once, limits")
    parser.add_argument("--limits", action="store_true", help="the smallest memory limit alone")
    parser.add_argument("--tools", metavar="DIR", help="floor and measure are there, built: see vm.py")
    parser.add_argument("--rounds", type=int, default=40)
    parser.add_argument("--quick", action="store_true", help="3 rounds, no chart unless asked for")
    parser.add_argument("--json", metavar="FILE", help="all samples")
    parser.add_argument("--markdown", metavar="FILE", help="the tables for docs/benchmarks.md")
    parser.add_argument("--svg", metavar="FILE", help="the chart (default: docs/bench.svg)")
    options = parser.parse_args()
    if options.creel:
        options.runtime.append(f"creel={options.creel}")
    if options.full:
        options.views, options.rounds = ["v1", "v2"], min(options.rounds, 20)
        options.markdown = options.markdown or str(HERE.parents[1] / "docs/benchmarks.md")
    if options.quick:
        options.rounds = 3
    elif not options.limits and not options.svg:
        options.svg = str(HERE.parents[1] / "docs/bench.svg")
    options.views = options.views or ["host"]
    options.workloads = [] if options.limits else options.workloads or WORKLOADS
    options.runtimes = {
        name: path
        for name, path in find_runtimes(options.runtime).items()
        if name not in options.without
    }
    return options


def write(path, text):
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    Path(path).write_text(text)


def main():
    options = arguments()
    if os.geteuid() != 0:
        raise SystemExit("bench: needs root, as the runtimes do")
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    signal.signal(signal.SIGHUP, signal.default_int_handler)
    results = [bench_in_child(view, options) for view in options.views]
    command = report.command_line(sys.argv, options)
    if options.json:
        write(options.json, json.dumps({"command": command, "views": results}, indent=1))
    print(report.text(results))
    if options.markdown:
        write(options.markdown, report.put_into(options.markdown, report.markdown(results, command)))
    if options.full:
        readme = HERE.parents[1] / "README.md"
        write(readme, report.put_into(readme, report.shares(results)))
    if options.svg:
        write(options.svg, chart.draw(results))
    for result in results:
        print(f"\ngoals, {report.view_title(result['view'])}: {goals.summary(result)}")
    lost = [
        name
        for result in results
        for name, what in result["errors"].items()
        if any("sample lost" in key for key in what)
    ]
    if lost:
        raise SystemExit(f"bench: samples lost: {', '.join(sorted(set(lost)))}")


if __name__ == "__main__":
    main()
