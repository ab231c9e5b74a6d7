"""What rules remember: the samples of the series that their ranges and offsets ask for, as long as they ask for them.

Two arrays a series, 16 bytes a sample. The number of samples is bounded; what would go beyond is not kept, and the
expressions that need it say so instead of judging from a part.
"""

from __future__ import annotations

from array import array
from bisect import bisect_right
from collections.abc import Iterable
from typing import TYPE_CHECKING, Final
from weakref import WeakKeyDictionary

from agent.model import STALE, MetricBatch, SeriesSet
from agent.promql.points import Labels, QueryError, Run

if TYPE_CHECKING:
    from agent.promql.selectors import Selector

COMPOUND: Final = ("histogram", "gaugehistogram", "summary")
MOST: Final = 1_000_000  # samples of a window: 16 MB
SERIES: Final = 20_000  # of a selector: 700 bytes each, beside their samples
STEPPED: Final = 300_000  # ms; a clock that is set back by less is slowed down instead (agent/clock.py)


class _Track:
    """The samples of one series, and the times at which it ended; there may be samples again after those."""

    __slots__ = ("ends", "times", "values")

    def __init__(self) -> None:
        self.times: array[int] = array("q")
        self.values: array[float] = array("d")
        self.ends: array[int] = array("q")  # when it ended, each time

    def drop_before(self, time_ms: int) -> int:
        """Forget what is that old or older; how many samples that were."""
        count = bisect_right(self.times, time_ms)
        if count:
            del self.times[:count]
            del self.values[:count]
            del self.ends[: bisect_right(self.ends, time_ms)]
        return count

    def drop_after(self, time_ms: int) -> int:
        """Forget what is later; how many samples that were."""
        first = bisect_right(self.times, time_ms)
        count = len(self.times) - first
        del self.times[first:]
        del self.values[first:]
        del self.ends[bisect_right(self.ends, time_ms) :]
        return count

    def end(self, time_ms: int) -> None:
        """It ended; only the first time after a sample is ever asked for."""
        if self.times and (not self.ends or self.ends[-1] <= self.times[-1]):
            self.ends.append(time_ms)

    def has_ended(self, after_ms: int, until_ms: int) -> bool:
        """Whether it ended in between."""
        at = bisect_right(self.ends, after_ms)
        return at < len(self.ends) and self.ends[at] <= until_ms


class Window:
    """The past that some selectors need: `wanted` maps each to how far it looks back, in ms."""

    def __init__(self, wanted: dict[Selector, int], most: int = MOST) -> None:
        self._kept = {selector: (keep_ms, dict[tuple[str, Labels], _Track]()) for selector, keep_ms in wanted.items()}
        self._most = most
        self._wanting_of: WeakKeyDictionary[SeriesSet, list[Selector]] = WeakKeyDictionary()
        self._samples = 0
        self._first_ms = self._last_ms = 0
        self._parts: dict[tuple[Selector, str], set[tuple[str, Labels]]] = {}  # of histograms, in the latest round
        self._short: dict[Selector, int] = {}  # when one could not keep all it asks for, the last time (ms)

    def __len__(self) -> int:
        return self._samples

    def adopt(self, other: Window) -> None:
        """Take over what another window knows of the selectors that both have; for a change of rules."""
        for selector, (_, tracks) in other._kept.items():
            if selector in self._kept:
                self._kept[selector][1].update(tracks)
                self._samples += sum(len(one.times) for one in tracks.values())
        self._first_ms, self._last_ms = other._first_ms, other._last_ms
        self._parts.update({whose: seen for whose, seen in other._parts.items() if whose[0] in self._kept})
        self._short.update({one: time_ms for one, time_ms in other._short.items() if one in self._kept})

    def wants(self, series: SeriesSet) -> bool:
        """Whether any of these series is kept."""
        return bool(self._wanting(series))

    def _wanting(self, series: SeriesSet) -> list[Selector]:
        """The selectors that any of these series is kept for; found once for a set."""
        if (found := self._wanting_of.get(series)) is None:
            found = self._wanting_of[series] = [one for one in self._kept if any(one.places(series))]
        return found

    def take(self, batches: Iterable[MetricBatch]) -> None:
        """The batches of a round: samples, and ends of series."""
        for batch in batches:
            if not len(batch):
                continue
            if batch.time_ms < self._last_ms - STEPPED:
                self._forget_after(batch.time_ms)
            if batch.values[0] is STALE:
                for _, tracks in self._kept.values():
                    self._end(batch, tracks)
            else:
                for selector in self._wanting(batch.series):
                    self._add(selector, batch, *self._kept[selector])
            self._first_ms = self._first_ms or batch.time_ms
            self._last_ms = max(self._last_ms, batch.time_ms)

    def _forget_after(self, time_ms: int) -> None:
        """The clock was set back: what it called later is no past of what comes now."""
        for _, tracks in self._kept.values():
            for track in tracks.values():
                self._samples -= track.drop_after(time_ms)
        self._last_ms = time_ms

    def _add(
        self, selector: Selector, batch: MetricBatch, keep_ms: int, tracks: dict[tuple[str, Labels], _Track]
    ) -> None:
        oldest, seen = batch.time_ms - keep_ms, set[tuple[str, Labels]]()
        for (name, labels, value), at in selector.points(batch):
            seen.add((name, labels))
            extra = batch.extras.get(at)
            time_ms = (extra.time_ms if extra is not None else 0) or batch.time_ms
            track = tracks.get((name, labels))
            if track is None and len(tracks) < SERIES:
                track = tracks[name, labels] = _Track()
            if track is not None and track.times and time_ms <= track.times[-1]:
                continue
            self._samples -= track.drop_before(oldest) if track is not None else 0
            if track is None or self._samples >= self._most:
                self._short[selector] = max(self._short.get(selector, 0), time_ms)
                continue
            track.times.append(time_ms)
            track.values.append(value)
            self._samples += 1
        if selector.places(batch.series).compound:
            self._end_parts((selector, batch.collector), seen, batch.time_ms, tracks)

    def _end_parts(
        self,
        whose: tuple[Selector, str],
        seen: set[tuple[str, Labels]],
        time_ms: int,
        tracks: dict[tuple[str, Labels], _Track],
    ) -> None:
        """A histogram whose bounds changed: its former buckets have ended."""
        for key in self._parts.get(whose, set()) - seen:
            if key in tracks:
                tracks[key].end(time_ms)
        self._parts[whose] = seen

    @staticmethod
    def _end(batch: MetricBatch, tracks: dict[tuple[str, Labels], _Track]) -> None:
        if not tracks:
            return
        gone = {(series.name, series.labels) for series in batch.series.series if series.kind not in COMPOUND}
        wholes = {(series.name, series.labels) for series in batch.series.series if series.kind in COMPOUND}
        for key, track in tracks.items():
            if key in gone or _whole(*key) in wholes:
                track.end(batch.time_ms)

    def tidy(self, now_ms: int) -> None:
        """Forget what nobody asks for any more."""
        for keep_ms, tracks in self._kept.values():
            for key, track in list(tracks.items()):
                self._samples -= track.drop_before(now_ms - keep_ms)
                if not track.times:
                    del tracks[key]

    def bounds(self) -> tuple[int, int]:
        """The times of the first and of the latest round (Unix ms)."""
        return self._first_ms, self._last_ms

    def cut(self, selector: Selector, start_ms: int, end_ms: int, *, ends: bool = False) -> list[Run]:
        """The samples after a start, up to an end (Unix ms), by series; with `ends`, without series that have ended."""
        kept = self._kept.get(selector)
        if kept is None or start_ms < self._short.get(selector, start_ms):
            raise QueryError("needs more history than is kept")
        runs = []
        for (name, labels), track in kept[1].items():
            first, last = bisect_right(track.times, start_ms), bisect_right(track.times, end_ms)
            if first == last or (ends and track.has_ended(track.times[last - 1], end_ms)):
                continue
            runs.append(Run(name, labels, track.times[first:last], track.values[first:last]))
        return runs


def _whole(name: str, labels: Labels) -> tuple[str, Labels]:
    """The histogram or summary that a series would be a part of."""
    base = name.removesuffix("_bucket").removesuffix("_count").removesuffix("_sum")
    return base, tuple([pair for pair in labels if pair[0] not in ("le", "quantile")])
