"""Samples in portions, with turns for everybody else between them, and no more than are wanted."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from itertools import islice
from typing import Final

from agent.model import Sample

BREATH: Final = 500  # samples after which the event loop gets its turn


async def keep(samples: Iterable[Sample], found: list[Sample], most: int) -> None:
    """Add samples to what was found; raises ValueError once that is more than so many."""
    left = iter(samples)
    while portion := list(islice(left, BREATH)):
        found += portion
        if len(found) > most:
            raise ValueError(f"more than {most} samples")
        await asyncio.sleep(0)
