"""Poison: which series a destination refused lately, and cutting batches to get around them."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Sequence

from agent.model import Batch, Series

MOST = 1_000  # series remembered; beyond that the search begins anew each time
SUSPECTED = 3600.0  # seconds until a series is trusted again


class Suspects:
    """The series that were poison lately, for one destination."""

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._until: dict[tuple[str, tuple[tuple[str, str], ...]], float] = {}

    def add(self, series: Series) -> None:
        """Suspect a series from now on."""
        if len(self._until) < MOST:
            self._until[series.name, series.labels] = self._monotonic() + SUSPECTED

    def __bool__(self) -> bool:
        return bool(self._until)

    def apart(self, batches: Sequence[Batch]) -> list[Sequence[Batch]]:
        """The batches, with the suspects in a part of their own at the end; order within a series is kept."""
        if not self._until:
            return [batches] if batches else []
        now = self._monotonic()
        self._until = {key: until for key, until in self._until.items() if until > now}
        clean: list[Batch] = []
        apart: list[Batch] = []
        for batch in batches:
            bad = [at for at, one in enumerate(batch.series.series) if (one.name, one.labels) in self._until]
            clean.extend(_without(batch, bad))
            apart.extend(batch.slice(at, at + 1) for at in bad)
        return [part for part in (clean, apart) if part]


def _without(batch: Batch, positions: list[int]) -> list[Batch]:
    """The batch in slices that leave out some positions."""
    edges = [-1, *positions, len(batch)]
    return [batch.slice(left + 1, right) for left, right in itertools.pairwise(edges) if right > left + 1]


def halves(batches: Sequence[Batch]) -> tuple[list[Batch], list[Batch]]:
    """Two halves of some batches, in order; a single batch is cut in two."""
    if len(batches) > 1:
        middle = len(batches) // 2
        return list(batches[:middle]), list(batches[middle:])
    middle = len(batches[0]) // 2
    return [batches[0].slice(0, middle)], [batches[0].slice(middle, len(batches[0]))]
