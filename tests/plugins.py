"""Collectors and exporters for tests of the real daemon, found through the entry-point groups like anybody's."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from msgspec import Struct

from agent.model import Batch, Delivered, Family, Request, Sample, Signal, gauge

COLLECTORS = ("numbers", "wedge", "stubborn", "slow_disk")
EXPORTERS = ("stuck", "deaf")


def install(folder: Path) -> Path:
    """Make a folder that, on PYTHONPATH, offers the plugins of this module."""
    info = folder / "nightjar_test_plugins-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: nightjar-test-plugins\nVersion: 1.0\n")
    lines = []
    for group, kinds in (("collectors", COLLECTORS), ("exporters", EXPORTERS)):
        lines.append(f"[nightjar.{group}]")
        lines += [f"{kind} = tests.plugins:{kind.title().replace('_', '')}" for kind in kinds]
    (info / "entry_points.txt").write_text("\n".join(lines) + "\n")
    return folder


NUMBER = gauge("number", "Known from run, round and position.", "at")
POISON = gauge("poison", "Refused by those who refuse poison.")


def number(run: int, round: int, at: int) -> float:
    """The value of a series; the one at 0 tells run and round, the others follow from it, to the last bit."""
    plain = run * 1_000_000 + round
    return float(plain) if at == 0 else (plain * 1_000 + at) * 0.1


class Numbers:
    """Series whose values are known to whoever knows the run: see `number`."""

    class Options(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
        """`run` is the number of this process's life, `log` a file that gets a line a round."""

        run: int = 0
        series: int = 20
        poison: bool = False

    def __init__(self, options: Numbers.Options) -> None:
        self._options = options
        self._round = 0

    async def collect(self) -> list[Sample]:
        self._round += 1
        run, round = self._options.run, self._round
        samples = [NUMBER(number(run, round, at), str(at)) for at in range(self._options.series)]
        middle = len(samples) // 2
        return [*samples[:middle], POISON(float(round)), *samples[middle:]] if self._options.poison else samples


class Told(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Misbehave while this file exists."""

    while_exists: str


class Wedge:
    """Blocks the event loop."""

    Options = Told

    def __init__(self, options: Told) -> None:
        self._file = Path(options.while_exists)

    async def collect(self) -> list[Sample]:
        while self._file.exists():
            time.sleep(0.05)
        return [NUMBER(1.0, "0")]


class Stubborn:
    """Swallows every cancellation."""

    Options = Told

    def __init__(self, options: Told) -> None:
        self._file = Path(options.while_exists)

    async def collect(self) -> list[Sample]:
        while self._file.exists():
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.sleep(0.05)
        return [NUMBER(1.0, "0")]


class _Slow(str):
    """Text that takes its time to be hashed, which the spool's thread does when it writes a new series set."""

    __slots__ = ("file",)
    file: Path

    def __hash__(self) -> int:
        while self.file.exists():
            time.sleep(0.05)
        return super().__hash__()


class SlowDisk:
    """Blocks the spool's thread, as a disk that does not answer would."""

    Options = Told

    def __init__(self, options: Told) -> None:
        self._help = _Slow("Helps.")
        self._help.file = Path(options.while_exists)

    async def collect(self) -> Iterable[Sample]:
        return [Family("slow", "gauge", self._help)(1.0)]  # a family of its own each round: a new set each round


class Stuck:
    """An exporter that never gets an answer and knows no time limit."""

    signals = frozenset({Signal.METRICS})
    max_items = 1_000

    class Options(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
        """Nothing to choose."""

    def __init__(self, options: Any, timeout: float = 30.0) -> None: ...

    def encode(self, batches: Sequence[Batch]) -> Request:
        return Request(b"")

    async def send(self, request: Request) -> Delivered:
        await asyncio.Event().wait()
        raise AssertionError

    async def close(self) -> None: ...


class Deaf(Stuck):
    """One that does not even let itself be cancelled."""

    async def send(self, request: Request) -> Delivered:
        while True:
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.Event().wait()
