"""Where a delivery takes batches from, and books its verdicts."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

from agent.spool import Chunk, Settlement


class Source(Protocol):
    """The spool, or a replay."""

    def pending(self, exporter: str, signal: str) -> int:
        """Items that the exporter has not been through."""
        ...

    async def wait(self, exporter: str, signals: Iterable[str]) -> str:
        """Wait until something is pending; answers the signal."""
        ...

    async def fetch(self, exporter: str, signal: str, max_items: int, *, after: Chunk | None = None) -> Chunk | None:
        """The next batches; None when nothing can be had now."""
        ...

    def passed(self, exporter: str, signal: str, chunk: Chunk) -> bool:
        """Whether the cursor no longer stands at a chunk's start."""
        ...

    async def settle(self, settlement: Settlement) -> None:
        """Book a verdict."""
        ...
