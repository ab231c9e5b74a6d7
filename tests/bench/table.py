"""The benchmarks' results: one table on standard output, and docs/benchmarks.md."""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

DOCUMENT = Path(__file__).parents[2] / "docs" / "benchmarks.md"
HEADINGS = ("what", "ours", "the other", "ratio", "goal", "met?")

HEAD = """# How fast, how small

Measured by `{command}` on {date}: {machine}.

Every line sets ours against something else measured in the same run, on the same machine; the ratio is what counts,
since the absolute numbers are this machine's. "met?" is left open where no goal is set.
"""


class Row(NamedTuple):
    """One comparison. `goal` and `met` are empty where a number is shown for itself."""

    what: str
    ours: float
    other: float | None = None
    goal: str = ""
    met: bool | None = None

    def cells(self) -> tuple[str, ...]:
        """The texts of the table's columns."""
        ratio = f"{self.ours / self.other:.2f}" if self.other else "-"
        met = "-" if self.met is None else "yes" if self.met else "no"
        return (self.what, number(self.ours), number(self.other), ratio, self.goal or "-", met)


def at_most(what: str, ours: float, other: float, limit: float, why: str = "") -> Row:
    """A row whose goal is a ratio."""
    return Row(what, ours, other, f"ratio <= {limit:g}{why}", ours <= limit * other)


def below(what: str, ours: float, limit: float, other: float | None = None) -> Row:
    """A row whose goal is an absolute number."""
    return Row(what, ours, other, f"<= {limit:g}", ours <= limit)


def number(value: float | None) -> str:
    """A number with three digits that count, or a dash."""
    if value is None:
        return "-"
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def write_text(rows: Iterable[Row]) -> str:
    """The table for a terminal."""
    cells = [HEADINGS, *(row.cells() for row in rows)]
    widths = [max(len(line[at]) for line in cells) for at in range(len(HEADINGS))]
    return "\n".join(
        "  ".join(text.ljust(width) if at in (0, 4) else text.rjust(width) for at, (text, width) in columns).rstrip()
        for columns in (list(enumerate(zip(line, widths, strict=True))) for line in cells)
    )


def write_document(command: str, rows: Sequence[Row], modules: Sequence[ModuleType]) -> None:
    """Write docs/benchmarks.md: the table, with the lines that stand there of benchmarks that were not run, and what
    each benchmark does, in its own words.
    """
    new = ["| " + " | ".join(row.cells()) + " |" for row in rows]
    old = DOCUMENT.read_text().splitlines() if DOCUMENT.exists() else []
    ran = {_which(line) for line in new}
    kept = [line for line in old if line.startswith("| P") and _which(line) not in ran]
    lines = [HEAD.format(command=command, date=time.strftime("%Y-%m-%d"), machine=machine())]
    lines += ["| " + " | ".join(HEADINGS) + " |", "|---|--:|--:|--:|---|---|"]
    lines += sorted([*new, *kept], key=_which)
    for module in modules:
        title, _, text = (module.__doc__ or "").strip().partition("\n")
        lines += ["", f"## {title.rstrip('.')}", "", text.strip()]
    DOCUMENT.parent.mkdir(exist_ok=True)
    DOCUMENT.write_text("\n".join(lines).rstrip() + "\n")


def _which(line: str) -> str:
    """P3, of a line of the table."""
    return line.split()[1]


def machine() -> str:
    """This machine in generic words."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / (1 << 30)
    cores = len(os.sched_getaffinity(0))
    kernel = ".".join(platform.release().split("-")[0].split(".")[:2])
    return (
        f"{cores} cores ({platform.machine()}), {memory:.0f} GiB of memory, {platform.system()} {kernel}, "
        f"Python {platform.python_version()}"
    )
