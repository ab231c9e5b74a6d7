"""The host collector: what node_exporter shows of a machine, under the same names, from /proc and /sys.

A round runs its parts one after the other in the event loop and lets the loop breathe between them. Those that talk to
hardware, which may take its time or never answer, run in a thread. A part that fails fails alone: it is
`node_scrape_collector_success` 0, what it had found until then is kept, and the others go on.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable
from struct import error as StructError
from typing import ClassVar, NamedTuple

from agent.asker import Asker
from agent.model import Family, NoData, Sample, gauge
from config.rules import Rule

from .kernel import STAT
from .machine import Machine
from .options import Options
from .options import Options as _Options
from .parts import BOOT_PART, OFF, SLOW, TABLE, Part, declared, make
from .rules import RULES

__all__ = ["Host", "Options"]

DURATION = gauge(
    "node_scrape_collector_duration_seconds", "node_exporter: Duration of a collector scrape.", "collector"
)
SUCCESS = gauge("node_scrape_collector_success", "node_exporter: Whether a collector succeeded.", "collector")
BOOT_TIME = STAT["btime"]
BREATH = 0.0005  # seconds of work after which the event loop gets its turn, between parts
SLOW_TIMEOUT = 3.0  # seconds for all parts that talk to hardware
FAULTS = (OSError, ValueError, KeyError, IndexError, StructError)  # unreadable, or not what the kernel documents


class Ran(NamedTuple):
    """What came of a part in a round."""

    samples: list[Sample]
    success: bool
    seconds: float


class Host:
    """One machine. `counters_since` is its boot time in Unix seconds; 0 until it is known."""

    Options: ClassVar[type[_Options]] = _Options
    job: ClassVar[str] = "node"
    rules: ClassVar[tuple[Rule, ...]] = RULES

    def __init__(self, options: _Options) -> None:
        self.counters_since = 0.0
        self._machine = Machine(options)
        parts = (make(name, source, self._machine) for name, source in TABLE.items() if _wanted(name, options))
        self._parts = {part.name: part for part in parts}
        self._slow = [name for name in self._parts if name in SLOW]
        self._asker: Asker[Ran] = Asker(lambda name: _run(self._parts[name]))

    async def collect(self) -> Iterable[Sample]:
        """One round of all parts."""
        self._machine.next_round()
        ran: dict[str, Ran] = {}
        since = 0.0
        for name, part in self._parts.items():
            if name not in SLOW:
                ran[name] = await _run_async(part) if part.waits else _run(part)
                since += ran[name].seconds
                if since > BREATH:
                    since = 0.0
                    await asyncio.sleep(0)
        silent = Ran([], False, SLOW_TIMEOUT)
        ran |= dict.fromkeys(self._slow, silent) | await self._asker.ask(self._slow, SLOW_TIMEOUT)
        samples = [sample for each in ran.values() for sample in each.samples]
        self._learn_boot_time(ran)
        return samples + [sample for name, each in ran.items() for sample in _about(name, each)]

    def _learn_boot_time(self, ran: dict[str, Ran]) -> None:
        for sample in ran[BOOT_PART].samples if BOOT_PART in ran else ():
            if sample.family is BOOT_TIME and isinstance(sample.value, float):
                self.counters_since = sample.value

    def families(self) -> tuple[Family, ...]:
        """Every family that is declared for this platform, by name, and those that the kernel named until now."""
        return (*declared(), DURATION, SUCCESS, *self._machine.families)

    def close(self) -> None:
        """Let go of open files, sockets and threads."""
        self._asker.close()
        for part in self._parts.values():
            part.close()
        self._machine.close()


def _run(part: Part) -> Ran:
    samples: list[Sample] = []
    start = time.perf_counter()
    try:
        samples.extend(part.run())
    except (NoData, *FAULTS):
        return Ran(samples, False, time.perf_counter() - start)
    return Ran(samples, True, time.perf_counter() - start)


async def _run_async(part: Part) -> Ran:
    start = time.perf_counter()
    try:
        samples = [*await part.wait()]
    except (NoData, *FAULTS):
        return Ran([], False, time.perf_counter() - start)
    return Ran(samples, True, time.perf_counter() - start)


def _about(name: str, ran: Ran) -> tuple[Sample, Sample]:
    return DURATION(ran.seconds, name), SUCCESS(float(ran.success), name)


def _wanted(name: str, options: _Options) -> bool:
    if name in options.disable:
        return False
    return name not in OFF or name in options.enable
