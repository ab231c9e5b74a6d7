"""What flows through the agent: families, samples, series, batches, and the verdicts of an exporter.

A collector yields `Sample`s of the families it declares. The pipeline turns one round of them into `MetricBatch`es:
a `SeriesSet` (who) that stays the same object from round to round while nothing appears or vanishes, and a list of
values (what). That split is the idea the speed rests on: names and labels are stamped, encoded and written once,
and a tick costs its values alone.

Not chosen: an object per sample holding its labels (ten times the memory, and every encoder walks strings);
a global table of interned series (it grows with label churn and never shrinks).
"""

from __future__ import annotations

import enum
import struct
from collections.abc import Iterable, Sequence
from typing import Any, Final, Literal, NamedTuple, Protocol, runtime_checkable

from msgspec import Struct

Kind = Literal["counter", "gauge", "histogram", "gaugehistogram", "summary", "info", "stateset", "unknown"]


class Signal(enum.StrEnum):
    """What kind of item a batch carries; all travel the same road."""

    METRICS = "metrics"
    LOGS = "logs"
    ALERTS = "alerts"


class Stale(enum.Enum):
    """The value of a series that ended; written on the wire as `STALE_BYTES`, never as a float.

    Arithmetic quiets a signalling NaN, and a quieted one is no staleness marker any more.
    """

    STALE = "stale"


STALE: Final = Stale.STALE
STALE_BYTES: Final = struct.pack("<Q", 0x7FF0000000000002)  # prometheus/model/value: StaleNaN


class Histogram(Struct, frozen=True):
    """A classic histogram: cumulative counts per upper bound.

    `counts` is one longer than `bounds`: the last is the `+Inf` bucket, which is also the count of observations.
    """

    bounds: tuple[float, ...]
    counts: tuple[float, ...]
    sum: float


class NativeHistogram(Struct, frozen=True):
    """A native histogram (Prometheus), with absolute bucket counts.

    `positive` and `negative` hold (spans, counts): spans are (offset, length) pairs, counts one number per bucket.
    Schema -53 means custom bounds, in `custom_values`. Integer counts are encoded as such.
    """

    schema: int
    count: float
    sum: float
    zero_threshold: float = 0.0
    zero_count: float = 0.0
    positive: tuple[tuple[tuple[int, int], ...], tuple[float, ...]] = ((), ())
    negative: tuple[tuple[tuple[int, int], ...], tuple[float, ...]] = ((), ())
    custom_values: tuple[float, ...] = ()


class Summary(Struct, frozen=True):
    """A summary: count, sum and (quantile, value) pairs."""

    count: float
    sum: float
    quantiles: tuple[tuple[float, float], ...] = ()


Value = float | Histogram | NativeHistogram | Summary


class Exemplar(Struct, frozen=True):
    """One observation behind a sample: labels such as `trace_id`, value, Unix time in ms (0: unknown)."""

    labels: tuple[tuple[str, str], ...]
    value: float
    time_ms: int = 0


class Extra(Struct, frozen=True):
    """What few samples carry: a time of their own, the time their counter began (Unix ms, 0: none), exemplars."""

    time_ms: int = 0
    start_ms: int = 0
    exemplars: tuple[Exemplar, ...] = ()


class Family(Struct, frozen=True, eq=False):
    """A metric family as a collector declares it: full name (with `_total`), type, help, unit, label names.

    Families compare by identity: declare them once, at module level. Two families may share a name when their
    label names differ.
    """

    name: str
    kind: Kind
    help: str
    labels: tuple[str, ...] = ()
    unit: str = ""

    def __call__(self, value: Value, *labels: str) -> Sample:
        """A sample of this family; `labels` are the values for the declared label names, in their order."""
        return Sample(self, labels, value)


class Sample(NamedTuple):
    """One value of one series, as a collector sees it; the pipeline adds time, instance, job and more labels."""

    family: Family
    labels: tuple[str, ...]
    value: Value
    extra: Extra | None = None


def counter(name: str, help: str, *labels: str, unit: str = "") -> Family:
    """Declare a counter; `name` is written out, with or without `_total`, as dashboards expect it."""
    return Family(name, "counter", help, labels, unit)


def gauge(name: str, help: str, *labels: str, unit: str = "") -> Family:
    """Declare a gauge."""
    return Family(name, "gauge", help, labels, unit)


def unknown(name: str, help: str, *labels: str, unit: str = "") -> Family:
    """Declare a family without a type (`untyped` in Prometheus' text format)."""
    return Family(name, "unknown", help, labels, unit)


def histogram(name: str, help: str, *labels: str, unit: str = "") -> Family:
    """Declare a histogram, classic or native."""
    return Family(name, "histogram", help, labels, unit)


class Series(Struct, frozen=True, eq=False, gc=False):
    """A series as it leaves the host: family facts and its whole, sorted label set without `__name__`.

    `start_ms` is when its counter began (Unix ms; 0: unknown or no counter).
    """

    name: str
    kind: Kind
    help: str
    unit: str
    labels: tuple[tuple[str, str], ...]
    start_ms: int = 0


class SeriesSet:
    """An ordered, immutable list of series shared by all batches of the same shape; compared by identity.

    `cache` belongs to whoever encodes the set: derived bytes live exactly as long as the set does.
    """

    __slots__ = ("__weakref__", "_slices", "cache", "series")

    def __init__(self, series: Sequence[Series]) -> None:
        self.series: tuple[Series, ...] = tuple(series)
        self.cache: dict[object, Any] = {}
        self._slices: dict[tuple[int, int], SeriesSet] = {}

    def __len__(self) -> int:
        return len(self.series)

    def slice(self, start: int, stop: int) -> SeriesSet:
        """The set of `series[start:stop]`; the same bounds give the same object while it is remembered."""
        if start <= 0 and stop >= len(self.series):
            return self
        if (found := self._slices.get((start, stop))) is None:
            if len(self._slices) >= 64:
                self._slices.clear()
            found = self._slices[start, stop] = SeriesSet(self.series[start:stop])
        return found


class MetricBatch:
    """One round of one collector: a time (Unix ms), a series set, and a value per series.

    `extras` holds what few samples carry, by position. `collector` names the origin.
    """

    __slots__ = ("collector", "extras", "series", "time_ms", "values")
    signal: Final = Signal.METRICS

    def __init__(
        self,
        collector: str,
        time_ms: int,
        series: SeriesSet,
        values: Sequence[Value | Stale],
        extras: dict[int, Extra] | None = None,
    ) -> None:
        self.collector = collector
        self.time_ms = time_ms
        self.series = series
        self.values = values
        self.extras = extras or {}

    def __len__(self) -> int:
        return len(self.values)

    def slice(self, start: int, stop: int) -> MetricBatch:
        """The batch of the items `start` to `stop`, for splitting and bisecting."""
        if start <= 0 and stop >= len(self.values):
            return self
        extras = {at - start: extra for at, extra in self.extras.items() if start <= at < stop}
        return MetricBatch(
            self.collector, self.time_ms, self.series.slice(start, stop), self.values[start:stop], extras
        )


Batch = MetricBatch  # joined by LogBatch when logs are collected


class NoData(Exception):
    """A collector's subject is not on this machine: no failure, nothing to report."""


class Retry(Exception):
    """The destination did not take the request now; the same request may be taken later.

    `after` is the server's own wish in seconds. `kind` is the class counted in self-metrics (`timeout`, `refused`,
    `5xx` …). `auth` marks refused credentials: retried slowly, after reading the secret again.
    """

    def __init__(self, message: str, *, kind: str, after: float | None = None, auth: bool = False) -> None:
        super().__init__(message)
        self.kind = kind
        self.after = after
        self.auth = auth


class Rejected(Exception):
    """The destination will never take this request; `reason` is counted, the text keeps the server's words.

    `whole` says that every item of the request was refused, so that looking for the bad one is pointless.
    """

    def __init__(self, message: str, *, reason: str, whole: bool = False) -> None:
        super().__init__(message)
        self.reason = reason
        self.whole = whole


class TooLarge(Exception):
    """The destination takes smaller requests only: halve and send again."""


class Reencode(Exception):
    """The destination does not know this encoding; the exporter has switched to another: encode and send again."""


class Delivered(Struct, frozen=True):
    """A request was taken; `rejected` counts items that the server says it left out, by reason, `message` are its
    words about them.
    """

    rejected: dict[str, int] = {}
    message: str = ""


class Request(Struct, frozen=True):
    """An encoded request: the body, and what the exporter needs to send it and judge the answer."""

    body: bytes
    headers: dict[str, str] = {}
    samples: int = 0
    histograms: int = 0
    exemplars: int = 0
    note: object = None  # the exporter's own


@runtime_checkable
class Collector(Protocol):
    """One kind of observation. `collect` does the I/O of one round and nothing else; the runner owns time,
    deadline, retry and logging. Raise `NoData` where there is nothing to see.

    Optional: `counters_since` (Unix seconds when this collector's counters began; 0: unknown), `close()`. Of the class:
    `job` (the label; the kind if not given), `remote` (true where the series are of something else than this host: they
    bring an `instance` of their own, and the host's goes to the label `agent`), `module` (true where several sections
    may look at one target: the label `module` is the section's name), `own_labels` (true where it puts the
    section's `labels` on its series itself: its constructor then takes `labels` and `timeout`, the round's seconds),
    `rules` (the alerting rules, `config.rules.Rule`, that hold of its series unless the configuration says otherwise).
    """

    async def collect(self) -> Iterable[Sample]:
        """One round."""
        ...


@runtime_checkable
class Prober(Protocol):
    """A collector of many targets, one probe each a round; `agent.fanout` owns their time and deadline."""

    async def targets(self) -> Sequence[str]:
        """What is to be probed in this round."""
        ...

    async def probe(self, target: str) -> Iterable[Sample]:
        """The I/O of one probe; what is wrong with the target is a sample, not an exception."""
        ...

    def late(self, target: str, seconds: float) -> Iterable[Sample]:
        """What a probe that was cut off after so long amounts to."""
        ...

    async def close(self) -> None:
        """Let go of connections."""
        ...


class Exporter(Protocol):
    """One destination. `encode` is pure; `send` tries once and answers `Delivered` or raises a verdict.

    Optional: `probe()`, a request without any item, which a destination that is the right one takes.
    """

    signals: frozenset[Signal]
    max_items: int  # most items one request should carry

    def encode(self, batches: Sequence[Batch]) -> Request:
        """The wire form of some batches, oldest first; order within a series is kept."""
        ...

    async def send(self, request: Request) -> Delivered:
        """Try once; raise `Retry`, `Rejected`, `TooLarge` or `Reencode`."""
        ...

    async def close(self) -> None:
        """Let go of connections and files."""
        ...
