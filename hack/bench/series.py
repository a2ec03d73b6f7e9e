# SPDX-License-Identifier: Apache-2.0
"""What grows: many containers at once, masked paths, mounts of the config, mounts on the host; and the
smallest memory limit. Each returns {title: {point: {runtime: figures}}}, interleaved as the rest is."""

import statistics
import subprocess

from subjects import Failed

STARTS, AT_ONCE = 200, (1, 8, 64)
MASKS, MOUNTS, HOST = (0, 64, 512), (10, 100, 1000), (0, 10, 100, 1000)
KILOBYTE = 1024


def starts(site, errors):
    """Throughput and the slowest of 200 runs, so many at a time."""
    found = {}
    for at_once in AT_ONCE:
        for runtime in site.runtimes:
            for number in range(STARTS):
                site.numbered(runtime.name, number)
            base = [runtime.path, "--root", site.work / f"starts-{runtime.name}"]
            bundle = site.work / "numbered" / f"{runtime.name}-@"
            try:
                one = site.measure.many(STARTS, at_once, *base, "run", "--bundle", bundle, "s-@")
                found.setdefault(at_once, {})[runtime.name] = one
            except Failed as error:
                errors.setdefault(runtime.name, {})[f"{STARTS} starts, {at_once} at a time"] = str(error)
    return found


def sample(site, points, rounds, errors, what):
    """points: {point: change of the config}. Medians of wall and CPU in ms."""
    found = {}
    for point, change in points.items():
        bundles = {r.name: site.bundle(r.name, "series", change) for r in site.runtimes}
        samples = {r.name: [] for r in site.runtimes}
        for number in range(rounds + 1):
            turn = number % len(site.runtimes)
            for runtime in site.runtimes[turn:] + site.runtimes[:turn]:
                argv = [*runtime.base, "run", "--bundle", bundles[runtime.name], f"series-{runtime.name}"]
                try:
                    one = site.measure.run(*argv)
                    if number:
                        samples[runtime.name].append(one)
                except Failed as error:
                    errors.setdefault(runtime.name, {})[f"{what}: {point}"] = str(error)
                    runtime.forget("series")
        found[point] = {
            name: {key: statistics.median(s[key] for s in many) / 1e6 for key in ("wall", "cpu")}
            for name, many in samples.items()
            if many
        }
    return found


def masks(site, rounds, errors):
    place = site.rootfs / "m"
    place.mkdir(exist_ok=True)
    for number in range(max(MASKS)):
        path = place / str(number)
        path.mkdir() if number % 2 else path.touch()

    def change(count):
        def apply(config):
            config["linux"]["maskedPaths"] = [f"/m/{number}" for number in range(count)]

        return apply

    return sample(site, {n: change(n) for n in MASKS}, rounds, errors, "masked paths")


def config_mounts(site, rounds, errors):
    place = site.rootfs / "t"
    place.mkdir(exist_ok=True)
    for number in range(max(MOUNTS)):
        (place / str(number)).mkdir()

    def change(count):
        def apply(config):
            config["mounts"] += [
                {"destination": f"/t/{number}", "type": "bind", "source": str(site.sources), "options": ["rbind", "ro"]}
                for number in range(count)
            ]

        return apply

    return sample(site, {n: change(n) for n in MOUNTS}, rounds, errors, "mounts in the config")


def host_mounts(site, rounds, errors):
    hill, made, found = site.work / "hill", 0, {}
    hill.mkdir()
    for count in HOST:
        while made < count:
            (hill / str(made)).mkdir()
            subprocess.run(["mount", "-t", "tmpfs", "tmpfs", hill / str(made)], check=True)
            made += 1
        found |= sample(site, {count: None}, rounds, errors, "mounts on the host")
    for number in range(made):
        subprocess.run(["umount", hill / str(number)], check=True)
    return found


def smallest_limit(site, errors):
    """Kilobytes of linux.resources.memory.limit with which busybox's true starts five times of five."""
    if "memory" in site.left_out:
        return {}
    found = {}
    for runtime in site.runtimes:

        def starts_with(kilobytes):
            def change(config):
                config["linux"]["resources"]["memory"] = {"limit": kilobytes * KILOBYTE}

            bundle = site.bundle(runtime.name, "series", change)
            for _ in range(5):
                try:
                    site.measure.run(*runtime.base, "run", "--bundle", bundle, f"series-{runtime.name}")
                except Failed:
                    runtime.forget("series")
                    return False
            return True

        low, high = 64, 32 * 1024
        if not starts_with(high):
            errors.setdefault(runtime.name, {})["smallest memory limit"] = f"fails with {high} KB"
            continue
        while high - low > 32:
            middle = (low + high) // 2 // 4 * 4
            low, high = (low, middle) if starts_with(middle) else (middle, high)
        found[runtime.name] = high
    return found
