"""Two sets of processes at the same work at the same time, and what each takes."""

from __future__ import annotations

import time
from typing import NamedTuple

from tests.bench.processes import Child, median

SETTLE = 15.0  # seconds


class Look(NamedTuple):
    """What one side takes at a moment: seconds since the beginning, KiB, CPU seconds."""

    at: float
    pss: float
    rss: float
    anonymous: float
    cpu: float


def watch(
    ours: tuple[Child, ...], theirs: tuple[Child, ...], period: float, pause: float = 5.0
) -> tuple[list[Look], list[Look]]:
    """Looks at both sides for some seconds."""
    began = time.monotonic()
    looks: tuple[list[Look], list[Look]] = ([], [])
    while not looks[0] or looks[0][-1].at < period:
        for side, found in zip((ours, theirs), looks, strict=True):
            found.append(_look(began, side))
        time.sleep(min(pause, max(0.0, began + period - time.monotonic())))
    return looks


def settle() -> None:
    """Wait until both sides stand and have had a round."""
    time.sleep(SETTLE)


def typical(ours: list[Look], theirs: list[Look], field: str) -> tuple[float, float]:
    """MiB of a field on both sides: medians of the last third."""
    one, other = (median([getattr(look, field) for look in side[-len(side) // 3 :]]) / 1024 for side in (ours, theirs))
    return one, other


def spent(ours: list[Look], theirs: list[Look]) -> tuple[float, float]:
    """CPU seconds of both sides, from the first look to the last."""
    return ours[-1].cpu - ours[0].cpu, theirs[-1].cpu - theirs[0].cpu


def _look(began: float, side: tuple[Child, ...]) -> Look:
    return Look(
        time.monotonic() - began,
        sum(one.memory("Pss") for one in side),
        sum(one.memory("Rss") for one in side),
        sum(one.memory("Anonymous") for one in side),
        sum(one.cpu for one in side),
    )
