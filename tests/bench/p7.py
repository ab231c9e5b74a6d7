"""P7: an idle agent, beside node_exporter and vmagent.

Ours: the host collector every 15 s, delivered by remote write to a VictoriaMetrics. The other: node_exporter, scraped
every 15 s by a vmagent that writes to another VictoriaMetrics. Both run at the same time, for an hour (the short form:
two and a half minutes). Memory is the proportional set size (PSS), and the resident size (RSS) beside it, since PSS
flatters a process whose libraries others on the machine use too: medians of the last third. CPU seconds count from the
moment both stand, start-up shown apart. Growth is the slope of a line fitted to the anonymous memory after the first
third; over the short form's minutes it says little.
"""

from __future__ import annotations

from tests.bench.beside import Look, settle, spent, typical, watch
from tests.bench.processes import Bench, job
from tests.bench.table import Row, at_most


def slope(points: list[tuple[float, float]]) -> float:
    """The slope of the line that fits best."""
    middle_x, middle_y = (sum(column) / len(points) for column in zip(*points, strict=True))
    spread = sum((x - middle_x) ** 2 for x, _ in points)
    return sum((x - middle_x) * (y - middle_y) for x, y in points) / spread if spread else 0.0


def run(*, short: bool) -> list[Row]:
    """The rows."""
    period, pause = (140.0, 5.0) if short else (3600.0, 15.0)
    with Bench() as bench:
        ours = (bench.nightjar(bench.victoria().port, bench.folder / "state"),)
        exporter = bench.exporter("node")
        theirs = (exporter, bench.scraper(bench.victoria().port, job("node", exporter)))
        settle()
        sides = watch(ours, theirs, period, pause)
    return _rows(*sides)


def _rows(ours: list[Look], theirs: list[Look]) -> list[Row]:
    seconds = ours[-1].at - ours[0].at
    name = f"P7 idle for {seconds / 60:.2g} min"
    growth = [slope([(one.at / 3600, one.anonymous) for one in side[len(side) // 3 :]]) for side in (ours, theirs)]
    pss, rss = (typical(ours, theirs, field) for field in ("pss", "rss"))
    cpu = spent(ours, theirs)
    return [
        at_most(f"{name}: PSS, MiB", pss[0], pss[1], 1.2),
        at_most(f"{name}: RSS, MiB", rss[0], rss[1], 1.2),
        at_most(f"{name}: CPU s", cpu[0], cpu[1], 1.0),
        Row(f"{name}: CPU s of the start before", ours[0].cpu, theirs[0].cpu),
        Row(f"{name}: growth, KiB an hour", *growth),
    ]
