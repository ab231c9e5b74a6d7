"""From what a collector saw to what leaves the host: stamp, limit, and notice what vanished.

While a collector reports the same series in the same order, which is nearly always, a round costs one transposition
and two tuple comparisons in C; only a change of shape walks the samples one by one.

Labels: a series' own labels win over those of its collector's section, these over `[agent.labels]`, and these over
`instance` and `job`. The loser of a clash is kept as `exported_<name>`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence

from agent.model import STALE, Extra, Family, MetricBatch, Sample, Series, SeriesSet, Value
from agent.spool import Spool

CAP = 50_000  # series a collector may have
LINGER = 0.25  # seconds in which the rounds of one tick join one transaction

Key = tuple[Family, tuple[str, ...]]
OVERFLOW = (("overflow", "true"),)


class Stamper:
    """Turns the rounds of one collector into batches; remembers the shape of the last round and no more.

    `context` are the label layers below the series' own, strongest first. `since_ms` is when the collector's
    counters began (0: unknown).
    """

    def __init__(self, collector: str, context: Sequence[dict[str, str]], *, cap: int = CAP) -> None:
        self.collector = collector
        self.context = tuple(context)
        self.cap = cap
        self.duplicates = self.overflowed = 0
        self._families: tuple[Family, ...] = ()
        self._labels: tuple[tuple[str, ...], ...] = ()
        self._known: dict[Key, Series] = {}
        self._set = SeriesSet(())
        self._counters: list[int] = []
        self._previous: list[Value] = []
        self._previous_ms = 0

    @property
    def series(self) -> int:
        """Series in the last round."""
        return len(self._set)

    def stamp(self, time_ms: int, samples: Iterable[Sample], since_ms: int = 0) -> list[MetricBatch]:
        """The batches of a round: its samples, and staleness markers for the series that are gone."""
        rows = list(samples)
        if not rows:
            return self.vanish(time_ms)
        families, labels, values, extras = zip(*rows, strict=True)
        gone: list[MetricBatch] = []
        if families != self._families or labels != self._labels:
            unique = self._unique(rows)
            if len(unique) != len(rows):
                families, labels, values, extras = zip(*unique, strict=True)
            if families != self._families or labels != self._labels:
                gone = self._reshape(time_ms, families, labels, since_ms)
        numbers = _floats(values)
        self._restart(numbers)
        self._previous, self._previous_ms = numbers, time_ms
        more: dict[int, Extra] = {at: extra for at, extra in enumerate(extras) if extra} if any(extras) else {}
        return [MetricBatch(self.collector, time_ms, self._set, list(numbers), more), *gone]

    def vanish(self, time_ms: int) -> list[MetricBatch]:
        """Staleness markers for everything seen in the last round."""
        gone, self._set = self._set, SeriesSet(())
        self._families, self._labels, self._known = (), (), {}
        self._counters, self._previous = [], []
        return [_stale(self.collector, time_ms, gone.series)] if gone.series else []

    def _unique(self, rows: list[Sample]) -> list[Sample]:
        """The samples without repeated series, and with those above the cap folded, a sum per family."""
        seen: dict[Key, Sample] = {}
        folded: dict[Family, float] = {}
        duplicates = 0
        room = self.cap - sum((row.family, row.labels) in self._known for row in rows) if len(rows) > self.cap else 1
        for row in rows:
            key = (row.family, row.labels)
            if key in seen:
                duplicates += 1
            elif key in self._known or room > 0:
                seen[key] = row
                room -= len(rows) > self.cap and key not in self._known
            elif isinstance(row.value, int | float):
                folded[row.family] = folded.get(row.family, 0.0) + row.value
        self.duplicates += duplicates
        self.overflowed = len(rows) - duplicates - len(seen)
        return [*seen.values(), *(Sample(_overflow(family), (), value) for family, value in folded.items())]

    def _reshape(
        self, time_ms: int, families: tuple[Family, ...], labels: tuple[tuple[str, ...], ...], since_ms: int
    ) -> list[MetricBatch]:
        known: dict[Key, Series] = {}
        for key in zip(families, labels, strict=True):
            known[key] = self._known.get(key) or self._series(key, since_ms)
        gone = [series for key, series in self._known.items() if key not in known]
        last = dict(zip(self._known, self._previous, strict=True))
        self._families, self._labels, self._known = families, labels, known
        self._set = SeriesSet(tuple(known.values()))
        self._counters = [at for at, family in enumerate(families) if family.kind == "counter"]
        self._previous = [last.get(key, 0.0) for key in known]
        return [_stale(self.collector, time_ms, gone)] if gone else []

    def _series(self, key: Key, since_ms: int) -> Series:
        family, values = key
        own = (
            dict(OVERFLOW)
            if family.labels == ("overflow",) and not values
            else dict(zip(family.labels, values, strict=True))
        )
        start = since_ms if family.kind in ("counter", "histogram", "summary") else 0
        return Series(family.name, family.kind, family.help, family.unit, join_labels(own, *self.context), start)

    def _restart(self, numbers: list[Value]) -> None:
        """Give counters that fell a new start: the time of the last round, when the old one was still counting."""
        before = self._previous
        try:
            fallen = [at for at in self._counters if numbers[at] < before[at]]  # type: ignore[operator]  # see below
        except TypeError:  # a counter that changed from number to histogram: a family that lies about its kind
            return
        if not fallen:
            return
        series = list(self._set.series)
        keys = list(self._known)
        for at in fallen:
            old = series[at]
            series[at] = Series(old.name, old.kind, old.help, old.unit, old.labels, self._previous_ms)
            self._known[keys[at]] = series[at]
        self._set = SeriesSet(series)


def join_labels(own: dict[str, str], *layers: dict[str, str]) -> tuple[tuple[str, str], ...]:
    """All labels, sorted by bytes; a lower layer's label that clashes with another value becomes `exported_<name>`.

    Empty values are no labels.
    """
    joined = {name: value for name, value in own.items() if value}
    for layer in layers:
        for name, value in layer.items():
            target = name
            while target in joined and joined[target] != value:
                target = f"exported_{target}"
            if value:
                joined[target] = value
    return tuple(sorted(joined.items(), key=lambda pair: pair[0].encode()))


def _overflow(family: Family) -> Family:
    found = _OVERFLOW.get(family)
    if found is None:
        found = _OVERFLOW[family] = Family(family.name, family.kind, family.help, ("overflow",), family.unit)
    return found


_OVERFLOW: dict[Family, Family] = {}


def _floats(values: tuple[Value, ...]) -> list[Value]:
    """The values with every plain number as a float."""
    if set(map(type, values)) == {float}:
        return list(values)
    return [float(value) if isinstance(value, int) else value for value in values]


def _stale(collector: str, time_ms: int, series: Iterable[Series]) -> MetricBatch:
    gone = SeriesSet(tuple(series))
    return MetricBatch(collector, time_ms, gone, [STALE] * len(gone))


class Pipeline:
    """Takes the batches of all collectors, keeps the latest for whoever looks, and hands them to the spool together.

    `wanted` says whether anybody will read the spool; without exporters nothing is written.
    """

    def __init__(self, spool: Spool, *, wanted: Callable[[], bool]) -> None:
        self._spool = spool
        self._wanted = wanted
        self._waiting: list[MetricBatch] = []
        self._news = asyncio.Event()
        self._writing = asyncio.Lock()
        self.latest: dict[str, MetricBatch] = {}

    def submit(self, collector: str, batches: list[MetricBatch]) -> None:
        """Take a round's batches; they are durable a quarter of a second later."""
        if batches and batches[0].values[0] is not STALE:
            self.latest[collector] = batches[0]
        else:
            self.latest.pop(collector, None)
        if self._wanted():
            self._waiting.extend(batches)
            self._news.set()

    async def run(self) -> None:
        """Write what comes in; does not end."""
        while True:
            await self._news.wait()
            await asyncio.sleep(LINGER)
            await self.flush()

    async def flush(self) -> None:
        """Write what waits, now."""
        async with self._writing:
            self._news.clear()
            batches, self._waiting = self._waiting, []
            if batches:
                await self._spool.append(batches)
