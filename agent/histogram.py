"""Counting observations into the buckets of a classic histogram, for the agent's own measurements."""

from __future__ import annotations

from bisect import bisect_left
from itertools import accumulate

from agent.model import Histogram


class Observations:
    """A histogram under way, with fixed upper bounds."""

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self.bounds = bounds
        self._counts = [0] * (len(bounds) + 1)
        self._sum = 0.0

    def observe(self, value: float, times: int = 1) -> None:
        """Count `value`, `times` times."""
        self._counts[bisect_left(self.bounds, value)] += times
        self._sum += value * times

    def snapshot(self) -> Histogram:
        """The histogram as it stands."""
        return Histogram(self.bounds, tuple(float(n) for n in accumulate(self._counts)), self._sum)
