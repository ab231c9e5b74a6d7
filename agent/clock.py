"""The time that samples carry: the wall clock, kept from running backwards.

A small step back (up to `SLEWED`) is worked off: time goes on at nine tenths of its pace until the wall clock has
caught up, so that a series' timestamps always rise. A larger one is followed at once and told: stamping hours ahead
of the receiver's clock would have every sample refused, which is the greater loss.
"""

from __future__ import annotations

import time
from collections.abc import Callable

SLEWED = 300_000  # ms; Prometheus takes samples up to ten minutes ahead of its own clock
PACE = 0.9


class Clock:
    """Unix time in ms; `steps` counts the jumps back that were followed."""

    def __init__(self, wall: Callable[[], float] = time.time, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._wall, self._monotonic = wall, monotonic
        self._last = 0
        self._last_monotonic = monotonic()
        self.steps = 0

    def now(self) -> int:
        """The time of a tick; later than every time it gave before, unless the clock stepped back far."""
        wall, steady = int(self._wall() * 1000), self._monotonic()
        passed = (steady - self._last_monotonic) * 1000
        if wall <= self._last - SLEWED:
            self.steps += 1
        elif wall <= self._last + passed * PACE:
            wall = max(wall, self._last + max(1, int(passed * PACE)))
        self._last, self._last_monotonic = wall, steady
        return wall
