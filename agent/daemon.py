"""The daemon: its parts put together, its life on one screen, its end in order.

`run` reads as that life: open, start, be ready, wait, stop. Reloading by difference lives in `agent.assembly`.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

from agent import health, logs
from agent.assembly import Assembly, Refused
from agent.clock import Clock
from agent.delivery import Delivery
from agent.endpoints import Endpoints
from agent.histogram import Observations
from agent.notify import Notifier
from agent.pipeline import Pipeline
from agent.runner import Runner
from agent.scheduler import Scheduler
from agent.spool import Spool
from agent.spool.writer import Event, Limits
from config import Config, ConfigError, SpoolOptions, environment

SOCKET = "nightjar.sock"
DRAIN = 5.0  # seconds that what is pending gets at the end; a request begun meanwhile gets as long
LAST = 16.0  # seconds after which an end that does not come is forced
BEAT = 5.0  # seconds between looks at loop lag and progress
LAG_BOUNDS = (0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)

log = logs.get_logger("agent")


class Daemon:
    """One running agent. `load` reads the configuration anew; the first one is given."""

    def __init__(self, config: Config, load: Callable[[], Config]) -> None:
        self.config, self._load = config, load
        self.started = time.time()
        self.clock = Clock()
        self.spool = Spool(Path(config.agent.state_dir), limits(config.spool), tell=_told)
        self.pipeline = Pipeline(self.spool, wanted=lambda: bool(self.deliveries))
        self.scheduler = Scheduler(config.agent.instance, self.clock)
        self.assembly = Assembly(self)
        self.endpoints = Endpoints(self)
        self.notifier = Notifier(environment.notify_socket())
        self.lag = Observations(LAG_BOUNDS)
        self.reloads = {"ok": 0, "refused": 0}
        self.reload_ok, self.reload_time = True, self.started
        self.progress = health.Progress()
        self._stop = asyncio.Event()
        self._reload = asyncio.Event()
        self._reloading = asyncio.Lock()
        self.ready = asyncio.Event()

    @property
    def runners(self) -> dict[str, Runner]:
        """The collectors at work, by name."""
        return self.assembly.runners

    @property
    def deliveries(self) -> dict[str, Delivery]:
        """The exporters at work, by name."""
        return self.assembly.deliveries

    @property
    def clock_steps(self) -> int:
        """Jumps of the clock back that were followed."""
        return self.clock.steps

    async def run(self) -> None:
        """From start to the end that a signal asks for. Raises `AlreadyRunning`, `Refused`, OSError at the start."""
        self._listen_to_signals()
        await self.spool.open()
        try:
            async with asyncio.TaskGroup() as group:
                self.assembly.group = group
                background = [
                    group.create_task(self.pipeline.run(), name="pipeline"),
                    group.create_task(self.scheduler.run(), name="scheduler"),
                    group.create_task(self._beat(), name="heartbeat"),
                ]
                try:
                    plan = self.assembly.plan(self.config)
                    await self.endpoints.start(self.config.agent, Path(self.config.agent.state_dir) / SOCKET)
                    await self.assembly.change(plan)
                    gc.freeze()
                    self.notifier.ready(self.status())
                    self.ready.set()
                    await self._until_stopped()
                finally:
                    await self._shut_down()
                    for task in background:
                        task.cancel()
        finally:
            await self.spool.close()
            self.notifier.close()

    # -- signals --------------------------------------------------------------------------------------------------

    def _listen_to_signals(self) -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self.stop)
        loop.add_signal_handler(signal.SIGHUP, self._reload.set)

    def stop(self) -> None:
        """End in order; asked a second time, at once."""
        if self._stop.is_set():
            self._leave("asked twice to stop")
        self._stop.set()
        asyncio.get_running_loop().call_later(LAST, self._leave, "the end takes too long")

    def _leave(self, reason: str) -> None:
        log.warning("stopping at once; what was accepted is in the spool", reason=reason)
        os._exit(1)

    async def _until_stopped(self) -> None:
        while not self._stop.is_set():
            waits = [asyncio.create_task(event.wait()) for event in (self._stop, self._reload)]
            try:
                await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for task in waits:
                    task.cancel()
            if self._reload.is_set() and not self._stop.is_set():
                self._reload.clear()
                await self.reload()

    # -- reload ---------------------------------------------------------------------------------------------------

    async def reload(self) -> str:
        """Read the configuration and apply what differs; an invalid one changes nothing. Answers the faults."""
        async with self._reloading:
            if self._stop.is_set():
                return "the agent is stopping"
            self.notifier.reloading()
            try:
                return await self._renew()
            finally:
                self.notifier.ready(self.status())

    async def _renew(self) -> str:
        try:
            config = self._load()
            plan = self.assembly.plan(config)
            await self.endpoints.start(config.agent, Path(self.config.agent.state_dir) / SOCKET)
        except (ConfigError, Refused, OSError) as error:
            return self._refuse(str(error))
        changes = await self.assembly.change(plan)
        self._adopt(config)
        log.info("configuration reloaded", **changes)
        return ""

    def _refuse(self, faults: str) -> str:
        self.reload_ok = False
        self.reloads["refused"] += 1
        for line in faults.splitlines():
            log.error("the new configuration is refused; the old one stays in force", fault=line)
        return faults

    def _adopt(self, config: Config) -> None:
        if config.agent.state_dir != self.config.agent.state_dir:
            log.warning("state_dir takes effect after a restart", state_dir=config.agent.state_dir)
        logs.configure(config.agent.log_level, config.agent.log_format, color=not environment.no_color())
        self.spool.limit(limits(config.spool))
        self.config = config
        self.reload_ok, self.reload_time = True, time.time()
        self.reloads["ok"] += 1

    # -- while it runs --------------------------------------------------------------------------------------------

    async def _beat(self) -> None:
        """Measure the loop's lag, feed the watchdog while there is progress, keep the status line."""
        patience = environment.watchdog_seconds()
        pause = min(BEAT, patience / 3) if patience else BEAT
        while True:
            due = time.monotonic() + pause
            await asyncio.sleep(pause)
            self.lag.observe(time.monotonic() - due)
            stuck = self.progress.stuck(
                self.spool, self.deliveries.values(), self.runners.values(), min(patience or health.STUCK, health.STUCK)
            )
            for reason in stuck:
                log.error("no progress; the watchdog is not fed", reason=reason)
            if not stuck and patience and self.ready.is_set():
                self.notifier.watchdog()
            if not self._stop.is_set():
                self.notifier.status(self.status())

    def status(self) -> str:
        """One line about everything."""
        series = sum(runner.stamper.series for runner in self.runners.values())
        pending = sum(entry.pending for entry in self.spool.entries())
        text = f"{len(self.runners)} collectors, {series} series, {len(self.deliveries)} exporters, {pending} pending"
        troubles = health.unready(self.spool, self.deliveries.values(), self.runners.values())
        return f"{text}; {troubles[0]}" if troubles and self.ready.is_set() else text

    # -- the end --------------------------------------------------------------------------------------------------

    async def _shut_down(self) -> None:
        """Stop collecting, commit what is pending, give requests under way their time, close."""
        since = time.monotonic()
        self.notifier.stopping("Stopping: delivering what is pending")
        self.notifier.extend(LAST + 5)
        await self.scheduler.stop()
        await self.pipeline.flush()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(DRAIN):
                await asyncio.gather(*(one.drain() for one in self.deliveries.values() if not one.failures))
        await self.assembly.close(since)
        await self.endpoints.close()
        pending = {f"{entry.exporter}/{entry.signal}": entry.pending for entry in self.spool.entries()}
        log.info("stopped; what is pending waits in the spool", pending=pending)


def limits(options: SpoolOptions) -> Limits:
    """The spool's limits of a configuration."""
    return Limits(max_size=options.max_size, max_age=float(options.max_age), min_free=options.min_free.of)


def _told(event: Event) -> None:
    """Log what happened in the spool's thread."""
    lines = {
        "spool.salvaged": "a damaged spool was set aside; what could be read was carried over",
        "spool.disk_trouble": "the disk cannot be written; data is kept in memory and the disk tried again",
        "spool.disk_back": "the disk is written again",
        "spool.file_vanished": "the spool's file was removed; its content moves into a new one",
        "spool.damaged": "items were damaged on disk and are counted as dropped",
        "spool.evicted": "the spool is at its limit; the oldest data was given up",
    }
    (log.info if event.name == "spool.disk_back" else log.warning)(lines.get(event.name, event.name), **event.facts)
