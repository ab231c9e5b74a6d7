"""What a look at a target is asked for, what came of it, and how that is told: as plugins do, or as JSON."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

import msgspec
from msgspec import Struct

from agent.cli.nagios import Perf, Range, Status, decimal, plugin_output
from agent.model import MetricBatch, Series


class Wish(Struct, frozen=True):
    """What to judge, and how to tell it."""

    kind: str
    value: str
    timeout: float
    warning: Range | None = None
    critical: Range | None = None
    query: Any = None
    verbose: int = 0
    as_json: bool = False

    @property
    def ranged(self) -> bool:
        """Whether there is a range."""
        return self.warning is not None or self.critical is not None

    @property
    def judges(self) -> bool:
        """Whether the command line says what is wrong; else the default rules do."""
        return self.ranged or self.query is not None


class Outcome(Struct):
    """A look that came to its end. `value` is the main one; NaN is unknown."""

    status: Status
    message: str
    target: str = ""
    value: float | None = None
    perfs: Sequence[Perf] = ()
    details: Sequence[str] = ()
    batch: MetricBatch | None = None


def told(outcome: Outcome, kind: str, *, verbose: int = 0, as_json: bool = False) -> str:
    """The output of a look."""
    if as_json:
        return _document(outcome, kind)
    lines = [*outcome.details, *(_lines(outcome.batch, verbose) if outcome.batch is not None else ())]
    return plugin_output(kind.upper(), outcome.status, outcome.message, lines, outcome.perfs)


def _document(outcome: Outcome, kind: str) -> str:
    """The output as JSON; its keys stay. What is no number is null."""
    found = {
        "status": outcome.status.name,
        "exit_code": int(outcome.status),
        "kind": kind,
        "target": outcome.target or None,
        "message": outcome.message.encode("utf-8", "replace").decode(),
        "value": None if outcome.value is None or math.isnan(outcome.value) else outcome.value,
        "samples": [] if outcome.batch is None else list(_samples(outcome.batch)),
    }
    return msgspec.json.format(msgspec.json.encode(found), indent=2).decode()


def _samples(batch: MetricBatch) -> Iterator[dict[str, Any]]:
    for one, value in zip(batch.series.series, batch.values, strict=True):
        yield {"name": one.name, "labels": dict(one.labels), "value": value}


def _lines(batch: MetricBatch, verbose: int) -> Iterator[str]:
    """-v: the values that stand alone; -vv: all of them."""
    pairs = list(zip(batch.series.series, batch.values, strict=True))
    if verbose > 1:
        yield from (f"{_written(one)} {_text(value)}" for one, value in pairs)
    elif verbose:
        times = Counter(one.name for one, _ in pairs)
        yield from (f"{one.name} {_text(value)}" for one, value in pairs if times[one.name] == 1)


def _written(series: Series) -> str:
    labels = ",".join(f"{name}={msgspec.json.encode(value).decode()}" for name, value in series.labels)
    return f"{series.name}{{{labels}}}"


def _text(value: Any) -> str:
    if isinstance(value, int | float):
        return decimal(value) if math.isfinite(value) else str(value)
    return msgspec.json.encode(value).decode()
