"""Made-up rounds for expressions: series by their text, values by round."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from agent.model import STALE, MetricBatch, Series, SeriesSet
from agent.promql import Moment, Point, Query, parse_query, window_of

STEP_MS = 15_000
START_MS = 1_700_000_000_000


def series(text: str, kind: Any = "gauge") -> Series:
    """`up{job="a"}` as a series."""
    name, _, rest = text.partition("{")
    labels = sorted(re.findall(r'(\w+)="([^"]*)"', rest))
    return Series(name, kind, "", "", tuple(labels))


class Rounds:
    """The rounds of one collector, 15 s apart, as `Query`s see them."""

    def __init__(self, *texts: str, kinds: Sequence[Any] = ()) -> None:
        kinds = kinds or ["gauge"] * len(texts)
        self.set = SeriesSet([series(text, kind) for text, kind in zip(texts, kinds, strict=True)])
        self.batches: list[MetricBatch] = []
        self.time_ms = START_MS

    def add(self, *values: Any) -> Rounds:
        """Another round."""
        self.batches.append(MetricBatch("made", self.time_ms, self.set, list(values)))
        self.time_ms += STEP_MS
        return self

    def end(self) -> Rounds:
        """The end of all series."""
        self.batches.append(MetricBatch("made", self.time_ms, self.set, [STALE] * len(self.set)))
        self.time_ms += STEP_MS
        return self

    def ask(self, text: str | Query) -> Any:
        """The answer at the time of the last round."""
        query = parse_query(text) if isinstance(text, str) else text
        window = window_of([query])
        window.take(self.batches)
        last = self.batches[-1]
        latest = [] if last.values[0] is STALE else [last]
        return query.evaluate(Moment(last.time_ms / 1000, latest, window))


def shown(points: list[Point]) -> dict[str, float]:
    """An answer to compare: values by the text of their series."""
    return {
        point.name + "{" + ",".join(f'{name}="{value}"' for name, value in point.labels) + "}": point.value
        for point in points
    }
