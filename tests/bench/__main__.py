"""The benchmarks in one run: what a push, a rollback and a webhook take, and what an idle Godploy costs.

Prints a table, and with `--write` puts it into docs/benchmarks.md."""

from __future__ import annotations

import argparse
import os
import platform
import re
import statistics
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.instance import instance
from bench.measures import Bench, Pair, fsyncs, percentile

_PAGE = Path(__file__).parents[2] / "docs" / "benchmarks.md"
_BEGIN, _END = "<!-- measured -->", "<!-- end -->"
_MIB = 1 << 20


@dataclass(frozen=True)
class Row:
    """One line of the table. `met` is None where there is no target."""

    what: str
    measured: str
    target: str = ""
    met: bool | None = None

    def line(self) -> str:
        verdict = "" if self.met is None else "yes" if self.met else "**no**"
        return f"| {self.what} | {self.measured} | {self.target} | {verdict} |"


@dataclass(frozen=True)
class Amounts:
    """How much is measured; times in seconds."""

    idle: float = 60.0
    pairs: int = 12
    rollbacks: int = 10
    deliveries: int = 300
    crowd: int = 10_000
    crowd_rate: float = 1000.0
    swaps: int = 20
    rate: float = 200.0


QUICK = Amounts(idle=1.0, pairs=1, rollbacks=1, deliveries=10, crowd=300, crowd_rate=300.0, swaps=1, rate=50.0)


def measured(folder: Path, amounts: Amounts) -> Iterator[Row]:
    """Every row, as it is there."""
    with instance(folder / "godploy") as godploy:
        bench = Bench(godploy)
        bench.push()
        yield from _idle(bench, amounts.idle)
        pairs = list(bench.pairs(amounts.pairs, folder / "byhand"))
        yield from _pairs(pairs)
        yield from _rollbacks(list(bench.rollbacks(amounts.rollbacks)), [pair.start for pair in pairs])
        yield from _deliveries(bench, amounts.deliveries, folder)
        yield from _swaps(bench, amounts.swaps, amounts.rate)
        yield from _crowd(bench, amounts.crowd, amounts.crowd_rate)
        at_end = bench.idle(1)
        yield Row("memory (RSS) at the end of all this", f"{at_end.rss / _MIB:.1f} MiB", "< 80 MB", at_end.rss < 80e6)


def _idle(bench: Bench, seconds: float) -> Iterator[Row]:
    idle = bench.idle(seconds)
    after = f"one app live, {seconds:.0f} s idle"
    yield Row(f"memory (RSS), {after}", f"{idle.rss / _MIB:.1f} MiB", "< 80 MB", idle.rss < 80e6)
    yield Row(f"memory (PSS), {after}", f"{idle.pss / _MIB:.1f} MiB")
    yield Row(f"CPU, {after}", f"{idle.cpu:.2%} of one processor", "< 0.5 %", idle.cpu < 0.005)


def _pairs(pairs: Sequence[Pair]) -> Iterator[Row]:
    hand, godploy = [pair.by_hand for pair in pairs], [pair.godploy for pair in pairs]
    added, ratio = [pair.godploy - pair.by_hand for pair in pairs], [pair.godploy / pair.by_hand for pair in pairs]
    yield Row(f"push → live by hand, {len(pairs)} times", _seconds(hand))
    yield Row(f"push → live by `git push`, {len(pairs)} times", _seconds(godploy))
    met = statistics.median(added) <= 0.5 or statistics.median(ratio) <= 1.1
    yield Row("… added by Godploy, pair by pair", _seconds(added), "≤ 0.5 s, or 1.10×", met)
    yield Row("… ratio, pair by pair", _spread(ratio, "×"))


def _rollbacks(times: Sequence[float], starts: Sequence[float]) -> Iterator[Row]:
    start = statistics.median(starts)
    yield Row("the app's own start: `docker run` to its first answer", _seconds(starts))
    yield Row(f"rollback → live, {len(times)} times", _seconds(times))
    added = [seconds - start for seconds in times]
    yield Row("… added by Godploy to the app's own start", _seconds(added), "< 1 s", statistics.median(added) < 1)


def _deliveries(bench: Bench, count: int, folder: Path) -> Iterator[Row]:
    found = bench.acknowledgements(count)
    times = [each.seconds for each in found]
    met = percentile(times, 99) < 0.010
    yield Row(f"signed webhook → durable 202, {count} times", _milliseconds(times), "p99 < 10 ms", met)
    yield Row("… of which the disk: one fdatasync of 4 KiB", _milliseconds(fsyncs(folder, count)))
    yield Row("… the machine at that time: a sleeper woken late by", _milliseconds([each.late for each in found]))


def _crowd(bench: Bench, count: int, rate: float) -> Iterator[Row]:
    found = bench.crowd(count, rate)
    times, what = found.seconds, f"{count} signed webhooks at {rate:.0f} per second"
    accepted = found.statuses == {202: count}
    text = f"{_milliseconds(times)}; in {found.lasted:.1f} s"
    yield Row(f"{what} → durable 202", text, "p99 < 100 ms", percentile(times, 99) < 0.1 and accepted)
    kept = f"{found.lost} of {count} lost; the newest commit is live"
    yield Row("… of which lost, once the newest is live", kept, "0 lost", found.lost == 0 and accepted)
    yield Row("… memory (RSS) at most until then", f"{found.peak / _MIB:.1f} MiB")


def _swaps(bench: Bench, count: int, rate: float) -> Iterator[Row]:
    tally = bench.swaps(count, rate)
    failed, sent = len(tally.failures), tally.sent.total()
    text = f"{failed} of {sent} failed at {tally.rate:.0f}/s, slowest {tally.slowest * 1000:.0f} ms"
    yield Row(f"{count} swaps under {rate:.0f} requests per second", text, "0 failed", failed == 0)


def _seconds(values: Sequence[float]) -> str:
    return _spread(values, " s")


def _milliseconds(values: Sequence[float]) -> str:
    return f"p50 {percentile(values, 50) * 1000:.1f} ms, p99 {percentile(values, 99) * 1000:.1f} ms"


def _spread(values: Sequence[float], unit: str) -> str:
    return f"{statistics.median(values):.2f}{unit} ({min(values):.2f}–{max(values):.2f})"


def machine() -> str:
    """What it was measured on, as far as it matters to the figures."""
    import docker

    engine = docker.from_env()
    version = engine.version()["Version"]
    engine.close()
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    load = ", ".join(f"{each:.1f}" for each in os.getloadavg())
    return (
        f"{os.cpu_count()} processors, {memory:.0f} GiB of memory, Docker engine {version}, Python"
        f" {platform.python_version()}; load average at the end {load}."
    )


def main() -> int:
    parser = argparse.ArgumentParser(prog="tests/bench/run", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="only show that everything can be measured")
    parser.add_argument("--write", action="store_true", help="put the table into docs/benchmarks.md")
    given = parser.parse_args()
    lines = ["| | measured: median (least–most) | target | met |", "|---|---|---|---|"]
    print("\n".join(lines), flush=True)
    with tempfile.TemporaryDirectory(prefix="godploy-bench-") as folder:
        for row in measured(Path(folder), QUICK if given.quick else Amounts()):
            lines.append(row.line())
            print(lines[-1], flush=True)
    lines += ["", f"Measured on {machine()}"]
    print("\n".join(lines[-2:]))
    if given.write:
        before = _PAGE.read_text()
        between = f"{_BEGIN}\n" + "\n".join(lines) + f"\n{_END}"
        _PAGE.write_text(re.sub(f"{_BEGIN}.*{_END}", lambda _: between, before, flags=re.DOTALL))
    return 0


if __name__ == "__main__":
    sys.exit(main())
