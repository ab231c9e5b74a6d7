"""What the agent says about itself, as `nightjar_*` and `process_*`, on the same road as everything it collects."""

from __future__ import annotations

import os
import resource
import sys
import time
from collections.abc import Iterable, Iterator

from agent import __version__, ledger
from agent.core import Core
from agent.delivery import Delivery
from agent.model import Sample, counter, gauge, histogram
from agent.runner import Runner
from agent.spool import Spool

INFO = gauge("nightjar_build_info", "The agent's version, always 1.", "version", "python")
DURATION = gauge("nightjar_collector_duration_seconds", "Duration of the last round.", "collector")
ROUNDS = counter("nightjar_collector_rounds_total", "Rounds by outcome.", "collector", "outcome")
LAST_OK = gauge("nightjar_collector_last_success_timestamp_seconds", "Time of the last good round.", "collector")
MISSED = counter("nightjar_collector_missed_ticks_total", "Ticks missed because a round was under way.", "collector")
SERIES = gauge("nightjar_collector_series", "Series in the last round.", "collector")
DUPLICATES = counter(
    "nightjar_collector_duplicate_samples_total", "Samples left out because their series came twice.", "collector"
)
OVERFLOW = gauge("nightjar_collector_overflowed_series", "Series folded because of the cap.", "collector")
ACCEPTED = counter("nightjar_exporter_accepted_items_total", "Items taken into the spool.", "exporter", "signal")
DELIVERED = counter("nightjar_exporter_delivered_items_total", "Items that were taken.", "exporter", "signal")
DROPPED = counter("nightjar_exporter_dropped_items_total", "Items given up, by reason.", "exporter", "signal", "reason")
REJECTED = counter(
    "nightjar_exporter_rejected_items_total", "Items refused for good, by reason.", "exporter", "signal", "reason"
)
ZEROS = dict.fromkeys(ledger.DROPPED, 0)  # a counter that begins at its first loss hides it from `increase`
PENDING = gauge("nightjar_exporter_pending_items", "Items that wait.", "exporter", "signal")
REQUESTS = counter("nightjar_exporter_requests_total", "Requests by class of answer.", "exporter", "class")
RETRIES = counter("nightjar_exporter_retries_total", "Attempts that will be repeated.", "exporter")
OLDEST = gauge("nightjar_exporter_oldest_pending_seconds", "Age of the oldest item that waits.", "exporter")
LATENCY = histogram("nightjar_exporter_latency_seconds", "From the tick to the receiver's yes, by item.", "exporter")
LOST = counter("nightjar_pipeline_lost_samples_total", "Samples given up before the spool had them.", "reason")
SPOOL_BYTES = gauge("nightjar_spool_bytes", "Bytes of the spool's files.")
SPOOL_BATCHES = gauge("nightjar_spool_batches", "Batches in the spool.")
SPOOL_OLDEST = gauge("nightjar_spool_oldest_timestamp_seconds", "When the oldest batch was stored; 0: none.")
SPOOL_OK = gauge("nightjar_spool_writable", "Whether the disk takes what is written.")
SALVAGED = counter("nightjar_spool_salvages_total", "Damaged spool files set aside and salvaged since start.")
CLOCK_STEPS = counter("nightjar_clock_steps_total", "Jumps of the clock back beyond five minutes.")
LAG = histogram("nightjar_event_loop_lag_seconds", "How late the event loop ran a timer.")
RELOAD_OK = gauge("nightjar_config_last_reload_successful", "Whether the last reload was taken.")
RELOAD_TIME = gauge("nightjar_config_last_reload_success_timestamp_seconds", "Time of the last good (re)load.")
RELOADS = counter("nightjar_config_reloads_total", "Reloads by outcome.", "outcome")
CPU = counter("process_cpu_seconds_total", "Total user and system CPU time spent in seconds.")
RSS = gauge("process_resident_memory_bytes", "Resident memory size in bytes.")
VIRTUAL = gauge("process_virtual_memory_bytes", "Virtual memory size in bytes.")
FDS = gauge("process_open_fds", "Number of open file descriptors.")
MAX_FDS = gauge("process_max_fds", "Maximum number of open file descriptors.")
STARTED = gauge("process_start_time_seconds", "Start time of the process since unix epoch in seconds.")


class SelfMetrics:
    """The collector of the agent's own state."""

    def __init__(self, core: Core) -> None:
        self._core = core
        self.counters_since = core.started

    async def collect(self) -> Iterable[Sample]:
        """One round."""
        core = self._core
        stat = await core.spool.stat()
        return [
            INFO(1.0, __version__, sys.version.split()[0]),
            *(sample for runner in core.runners.values() for sample in _runner(runner)),
            *_ledger(core.spool),
            *[sample for one in list(core.deliveries.values()) for sample in _delivery(one, await _oldest(one, core))],
            *(LOST(float(count), reason) for reason, count in core.pipeline.lost.items()),
            SPOOL_BYTES(float(stat.bytes)),
            SPOOL_BATCHES(float(stat.batches)),
            SPOOL_OLDEST(stat.oldest_ms / 1000),
            SPOOL_OK(0.0 if stat.trouble else 1.0),
            SALVAGED(float(stat.salvages)),
            CLOCK_STEPS(float(core.clock.steps)),
            LAG(core.lag.snapshot()),
            RELOAD_OK(1.0 if core.reload_ok else 0.0),
            RELOAD_TIME(core.reload_time),
            *(RELOADS(float(count), outcome) for outcome, count in core.reloads.items()),
            *_process(core.started),
        ]


def _runner(runner: Runner) -> Iterator[Sample]:
    name, stamper = runner.name, runner.stamper
    yield DURATION(runner.duration, name)
    for outcome, count in runner.rounds.items():
        yield ROUNDS(float(count), name, outcome)
    yield LAST_OK(runner.last_ok_ms / 1000, name)
    yield MISSED(float(runner.missed), name)
    yield SERIES(float(stamper.series), name)
    yield DUPLICATES(float(stamper.duplicates), name)
    yield OVERFLOW(float(stamper.overflowed), name)


def _ledger(spool: Spool) -> Iterator[Sample]:
    for entry in spool.entries():
        at = (entry.exporter, entry.signal)
        yield ACCEPTED(float(entry.accepted), *at)
        yield DELIVERED(float(entry.delivered), *at)
        yield PENDING(float(entry.pending), *at)
        for family, book in ((DROPPED, ZEROS | entry.dropped), (REJECTED, entry.rejected)):
            for reason, count in book.items():
                yield family(float(count), *at, reason)


async def _oldest(delivery: Delivery, core: Core) -> int:
    """When the oldest item that waits for an exporter was stored, Unix ms; 0: none."""
    stored = [await core.spool.oldest_ms(delivery.name, signal) for signal in delivery.signals]
    return min((one for one in stored if one), default=0)


def _delivery(delivery: Delivery, oldest_ms: int) -> Iterator[Sample]:
    name = delivery.name
    for kind, count in delivery.requests.items():
        yield REQUESTS(float(count), name, kind)
    yield RETRIES(float(delivery.retries), name)
    yield OLDEST(max(0.0, time.time() - oldest_ms / 1000) if oldest_ms else 0.0, name)
    yield LATENCY(delivery.latency.snapshot(), name)


def _process(started: float) -> Iterator[Sample]:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    yield CPU(usage.ru_utime + usage.ru_stime)
    resident, virtual = memory()
    yield RSS(float(resident))
    if virtual:
        yield VIRTUAL(float(virtual))
    if os.path.isdir("/proc/self/fd"):
        yield FDS(float(len(os.listdir("/proc/self/fd"))))
    yield MAX_FDS(float(resource.getrlimit(resource.RLIMIT_NOFILE)[0]))
    yield STARTED(started)


def memory() -> tuple[int, int]:
    """(resident, virtual) bytes of this process; virtual is 0 where /proc is missing."""
    try:
        with open("/proc/self/statm", "rb") as file:
            virtual, resident = file.read().split()[:2]
    except OSError:
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return (peak if sys.platform == "darwin" else peak * 1024), 0
    page = resource.getpagesize()
    return int(resident) * page, int(virtual) * page
