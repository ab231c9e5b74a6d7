"""From samples to batches: stamp, limit, and notice what vanished.

While a collector reports the same series in the same order, which is nearly always, a round costs one transposition
and two tuple comparisons in C; only a change of shape walks the samples one by one.

Labels: a series' own labels win over those of its collector's section, these over `[agent.labels]`, and these over
`instance` and `job`. The loser of a clash is kept as `exported_<name>`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from agent.model import (
    STALE,
    Extra,
    Family,
    Histogram,
    MetricBatch,
    NativeHistogram,
    Sample,
    Series,
    SeriesSet,
    Summary,
    Value,
)

CAP = 50_000  # series a collector may have

Key = tuple[Family, tuple[str, ...]]
Pair = tuple[str, str]
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
        self._set = SeriesSet(())
        self._counters: list[int] = []
        self._previous: list[Value] = []
        self._previous_ms = 0
        self._overflow: dict[str, Family] = {}

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
        numbers = _floats(values)
        gone: list[MetricBatch] = []
        if families != self._families or labels != self._labels:
            unique = self._unique(rows)
            if self.overflowed or len(unique) != len(rows):
                families, labels, values, extras = zip(*unique, strict=True)
                numbers = _floats(values)
            if families != self._families or labels != self._labels:
                gone = self._reshape(time_ms, families, labels, since_ms)
        starts = self._fallen(numbers)
        more = _extras(extras, starts) if any(extras) else {}
        self._begin(starts)
        self._previous, self._previous_ms = numbers, time_ms
        return [MetricBatch(self.collector, time_ms, self._set, list(numbers), more), *gone]

    def vanish(self, time_ms: int) -> list[MetricBatch]:
        """Staleness markers for everything seen in the last round."""
        gone, self._set = self._set, SeriesSet(())
        self._families, self._labels = (), ()
        self._counters, self._previous = [], []
        self.overflowed = 0
        return [_stale(self.collector, time_ms, gone.series)] if gone.series else []

    def _known(self) -> dict[Key, Series]:
        """The series of the last round. Made anew when wanted, which is seldom: kept, it would be a third of all that
        is kept.
        """
        return dict(zip(zip(self._families, self._labels, strict=True), self._set.series, strict=True))

    def _unique(self, rows: list[Sample]) -> list[Sample]:
        """The samples without repeated series, and with those above the cap folded, a sum per name."""
        seen: dict[Key, Sample] = {}
        folded: dict[Family, float] = {}
        duplicates = 0
        known = self._known() if len(rows) > self.cap else {}
        room = self.cap - sum((row.family, row.labels) in known for row in rows) if len(rows) > self.cap else 1
        for row in rows:
            key = (row.family, row.labels)
            if key in seen:
                duplicates += 1
            elif key in known or room > 0:
                seen[key] = row
                room -= len(rows) > self.cap and key not in known
            elif isinstance(row.value, int | float):
                family = self._folding(row.family)
                folded[family] = folded.get(family, 0.0) + row.value
        self.duplicates += duplicates
        self.overflowed = len(rows) - duplicates - len(seen)
        self._overflow = {family.name: family for family in folded}
        return [*seen.values(), *(Sample(family, (), value) for family, value in folded.items())]

    def _folding(self, family: Family) -> Family:
        """The family of the one series that stands for all above the cap; families of one name share it."""
        if (found := self._overflow.get(family.name)) is None:
            found = Family(family.name, family.kind, family.help, ("overflow",), family.unit)
            self._overflow[family.name] = found
        return found

    def _reshape(
        self, time_ms: int, families: tuple[Family, ...], labels: tuple[tuple[str, ...], ...], since_ms: int
    ) -> list[MetricBatch]:
        before, known = self._known(), dict[Key, Series]()
        pairs: dict[Pair, Pair] = {}
        texts: dict[str, str] = {}
        for family, values in zip(families, labels, strict=True):
            key = family, tuple([texts.setdefault(text, text) for text in values])
            known[key] = before.get(key) or self._series(key, since_ms, pairs)
        gone = [series for key, series in before.items() if key not in known]
        last = dict(zip(before, self._previous, strict=True))
        self._families, self._labels = families, tuple([values for _, values in known])
        self._set = SeriesSet(tuple(known.values()))
        self._counters = [at for at, family in enumerate(families) if family.kind == "counter"]
        self._previous = [last.get(key, 0.0) for key in known]
        return [_stale(self.collector, time_ms, gone)] if gone else []

    def _series(self, key: Key, since_ms: int, pairs: dict[Pair, Pair]) -> Series:
        family, values = key
        own = (
            dict(OVERFLOW)
            if family.labels == ("overflow",) and not values
            else dict(zip(family.labels, map(_text, values), strict=True))
        )
        start = since_ms if family.kind in ("counter", "histogram", "summary") else 0
        joined = join_labels(own, *self.context, pairs=pairs)
        return Series(family.name, family.kind, family.help, family.unit, joined, start)

    def _fallen(self, numbers: list[Value]) -> dict[int, int]:
        """Counters that fell, with their new start: the time of the last round, when the old one was still counting."""
        before, since = self._previous, self._previous_ms
        try:
            return {at: since for at in self._counters if numbers[at] < before[at]}  # type: ignore[operator]  # caught
        except TypeError:  # a counter that changed from number to histogram: a family that lies about its kind
            return {}

    def _begin(self, starts: dict[int, int]) -> None:
        """Give series their start (Unix ms), by position."""
        series = list(self._set.series)
        changed = [at for at, start in starts.items() if series[at].start_ms != start]
        for at in changed:
            old = series[at]
            series[at] = Series(old.name, old.kind, old.help, old.unit, old.labels, starts[at])
        if changed:
            self._set = SeriesSet(series)


def _extras(extras: Sequence[Extra | None], starts: dict[int, int]) -> dict[int, Extra]:
    """What stays with its sample, by position. Starts go to `starts`: of a series they cost nothing while they last, of
    each sample they would cost encoders their fast path.
    """
    found: dict[int, Extra] = {}
    for at, extra in enumerate(extras):
        if extra is None:
            continue
        if extra.start_ms:
            starts[at] = extra.start_ms
        if extra.time_ms or extra.exemplars:
            found[at] = Extra(extra.time_ms, 0, extra.exemplars) if extra.start_ms else extra
    return found


def join_labels(
    own: dict[str, str], *layers: dict[str, str], pairs: dict[Pair, Pair] | None = None
) -> tuple[Pair, ...]:
    """All labels, sorted by bytes; a lower layer's label that clashes with another value becomes `exported_<name>`.

    Empty values are no labels. Equal labels of several series become one object by way of `pairs`.
    """
    joined = {name: value for name, value in own.items() if value}
    for layer in layers:
        for name, value in layer.items():
            target = name
            while target in joined and joined[target] != value:
                target = f"exported_{target}"
            if value:
                joined[target] = value
    shared = {} if pairs is None else pairs
    return tuple(shared.setdefault(pair, pair) for pair in sorted(joined.items(), key=lambda pair: pair[0].encode()))


def _text(value: str) -> str:
    """A label value that can be written: what is no Unicode (names of files may be none) becomes question marks."""
    return value if value.isascii() else value.encode("utf-8", "replace").decode()


def _floats(values: tuple[Value, ...]) -> list[Value]:
    """The values with every plain number as a float; raises TypeError for what is no value."""
    if set(map(type, values)) == {float}:
        return list(values)
    return [value if isinstance(value, Histogram | NativeHistogram | Summary) else _float(value) for value in values]


def _float(value: float) -> float:
    if not isinstance(value, int | float):
        raise TypeError(f"{value!r} is no value of a sample")
    return float(value)


def _stale(collector: str, time_ms: int, series: Iterable[Series]) -> MetricBatch:
    gone = SeriesSet(tuple(series))
    return MetricBatch(collector, time_ms, gone, [STALE] * len(gone))


def standing_labels(plugin: Any, kind: str, name: str, instance: str) -> dict[str, str]:
    """The labels that series have for being of a collector (`plugin`, its class), of a section `name`, on a host."""
    found = {
        "agent" if getattr(plugin, "remote", False) else "instance": instance,
        "job": getattr(plugin, "job", kind),
    }
    return found | {"module": name} if getattr(plugin, "module", False) else found
