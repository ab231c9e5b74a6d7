"""What a check found, for people, for Nagios and as JSON."""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, Final

import click
from msgspec import Struct

from agent.cli.nagios import Perf, Range, Status, Unit, plugin_output, range_of
from agent.rules.findings import EXIT_CODES, STATUSES, Finding, sort, worst
from agent.rules.findings import document as finding_document

if TYPE_CHECKING:
    from agent.cli.push import Pushed

COLORS: Final = {
    "ok": "green",
    "info": "cyan",
    "warning": "yellow",
    "unknown": "magenta",
    "critical": "red",
    "emergency": "bright_red",
}
_WIDEST: Final = 32  # columns of a name
_UNITS: Final[tuple[tuple[str, Unit], ...]] = (("_seconds", "s"), ("_bytes", "B"), ("_percent", "%"), ("_total", "c"))


class Report(Struct, frozen=True):
    """All of it. `unjudged` are rules that a single look cannot judge, with why not."""

    instance: str
    findings: Sequence[Finding]
    unjudged: Sequence[tuple[str, str]]
    seconds: float
    changes: Sequence[Finding] | None = None  # where only these are asked for
    pushed: Pushed | None = None

    @property
    def exit_code(self) -> int:
        """0, 1, 2 or 3: the worst of all."""
        return EXIT_CODES[worst(self.findings)]

    @property
    def trouble(self) -> bool:
        """Whether what was to be delivered is not even in the spool."""
        return self.pushed is not None and self.pushed.failed

    @property
    def shown(self) -> Sequence[Finding]:
        """What is told of."""
        return self.findings if self.changes is None else self.changes

    def summary(self) -> str:
        """How many of each, and how long it took."""
        counts = Counter(one.status for one in self.findings)
        words = [f"{counts[status]} {status}" for status in reversed(STATUSES) if counts[status] and status != "ok"]
        empty = sum(one.empty for one in self.findings)
        words.append(f"{counts['ok'] - empty} ok")
        words += [f"{empty} without data"] if empty else []
        rest = f"; {len(self.unjudged)} not judged" if self.unjudged else ""
        pushed = f"; {self.pushed.text}" if self.pushed is not None else ""
        return f"{', '.join(words)} in {self.seconds:.1f} s{rest}{pushed}"


# -- text -------------------------------------------------------------------------------------------------------------


def text(report: Report, *, color: bool, verbose: bool = False, brief: bool = False) -> str:
    """One line a check, worst first, then the summary; `verbose`: also those that found nothing to judge, `brief`: only
    what is wrong.
    """
    if report.changes is None:
        wrong = [one for one in report.findings if one.status != "ok"]
        rows = [*_rows(wrong if brief else [one for one in report.findings if verbose or not one.empty])]
    else:
        rows = [(one.status, one.check, one.message) for one in sort(report.changes)]
    width = min(_WIDEST, max((len(check) for _, check, _ in rows), default=0))
    lines = [f"{_word(status, color)}  {check:<{width}}  {plain(message)}".rstrip() for status, check, message in rows]
    if verbose:
        lines += [f"{'not judged':<10}  {check:<{width}}  {why}" for check, why in report.unjudged]
    return "\n".join([*lines, report.summary()])


def plain(text: str) -> str:
    """Words that others wrote, which must not break out of their line."""
    return text if text.isprintable() else "".join([char if char.isprintable() else " " for char in text])


def _word(status: str, color: bool) -> str:
    word = f"{status.upper():<9} "
    return click.style(word, fg=COLORS[status], bold=status != "ok") if color else word


def _rows(found: Sequence[Finding]) -> Iterator[tuple[str, str, str]]:
    """Status, check and words: a row for each thing that is wrong, one for all that a rule finds well."""
    for one in sort([one for one in found if one.status != "ok"]):
        yield one.status, one.check, one.message
    well: dict[str, list[Finding]] = {}
    for one in found:
        if one.status == "ok":
            well.setdefault(one.check, []).append(one)
    for check, some in well.items():
        yield "ok", check, _well(some)


def _well(some: Sequence[Finding]) -> str:
    """Of values within their limit the nearest to it, and how many there are."""
    waiting = [one for one in some if one.pending]
    if waiting:
        return f"{waiting[0].message} (not for long enough yet)"
    measured = [one for one in some if one.value is not None and not math.isnan(one.value)]
    if not measured:
        return some[0].message
    nearest = min(measured, key=lambda one: abs((one.value or 0.0) - (one.threshold or 0.0)))
    of = f"{nearest.subject}: " if nearest.subject else ""
    more = f", nearest of {len(some)}" if len(some) > 1 else ""
    return f"{of}{number(nearest.value or 0.0)} (limit {nearest.comparison} {number(nearest.threshold or 0.0)}{more})"


def number(value: float) -> str:
    """A number for people: four digits."""
    if not math.isfinite(value):
        return str(value)
    return f"{value:.0f}" if abs(value) >= 10_000 or value == int(value) else f"{value:.4g}"


# -- Nagios -----------------------------------------------------------------------------------------------------------


def nagios(report: Report) -> str:
    """A status line, everything that is wrong in the lines after it, and the values with their ranges."""
    status = Status(report.exit_code)
    wrong = sort([one for one in report.shown if one.status != "ok"])
    first = f": {wrong[0].check}: {wrong[0].message}" if wrong else ""
    lines = [f"{one.status.upper()} {one.check}: {one.message}" for one in wrong]
    return plugin_output("NIGHTJAR", status, f"{report.summary()}{first}", lines, perfs(report.findings))


def perfs(found: Sequence[Finding]) -> list[Perf]:
    """The values that rules measured; where two rules hold one value against two limits, they are its two ranges."""
    same: dict[tuple[str, str], list[Finding]] = {}
    for one in found:
        if one.value is not None and one.threshold is not None and math.isfinite(one.threshold):
            same.setdefault((one.measure, one.subject), []).append(one)
    return [_perf(some) for some in same.values()]


def _perf(some: Sequence[Finding]) -> Perf:
    one = some[0]
    ranges: dict[str, Range] = {}
    for each in sorted(some, key=lambda one: one.severity == "emergency"):  # which is the further one of two
        limit = range_of(each.comparison, each.threshold or 0.0)
        if each.status != "ok" or each.pending or not limit.alerts(each.value or 0.0):  # or there is more to the rule
            ranges.setdefault(_level(each), limit)
    label = f"{one.subject} {one.check}".strip()
    return Perf(label, float(f"{one.value:.10g}"), _unit(one.metric), ranges.get("warning"), ranges.get("critical"))


def _level(found: Finding) -> str:
    return "critical" if found.severity in ("critical", "emergency") else "warning"


def _unit(metric: str) -> Unit:
    return next((unit for suffix, unit in _UNITS if metric.endswith(suffix)), "")


# -- JSON -------------------------------------------------------------------------------------------------------------


def document(report: Report) -> dict[str, Any]:
    """The whole report; its shape is described in docs/check.md, and stays."""
    return {
        "status": worst(report.findings),
        "exit_code": report.exit_code,
        "instance": report.instance,
        "time": round(time.time(), 3),
        "seconds": round(report.seconds, 3),
        "summary": report.summary(),
        "checks": [finding_document(one) for one in sort(report.shown)],
        "not_judged": [{"check": check, "reason": why} for check, why in report.unjudged],
    }
