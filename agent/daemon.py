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

from agent import __version__, health, logs
from agent.assembly import Assembly, Refused
from agent.core import Core, limits
from agent.endpoints import Endpoints
from agent.notify import Notifier
from agent.pipeline import LINGER
from agent.told import Told
from config import Config, ConfigError, environment

SOCKET = "nightjar.sock"
DRAIN = 5.0  # seconds that what is pending gets at the end; a request begun meanwhile gets as long
LAST = 16.0  # seconds after which an end that does not come is forced
JUDGING = 10.0  # seconds from one judgement by the rules to the next, at least
BEAT = 5.0  # seconds between looks at loop lag and progress

log = logs.get_logger("agent")


class Daemon:
    """One running agent. `load` reads the configuration anew; the first one is given."""

    def __init__(self, config: Config, load: Callable[[], Config]) -> None:
        self._load = load
        self._told = Told()
        self.core = Core(config, self._told)
        self.assembly = Assembly(self.core)
        self.endpoints = Endpoints(self.core, self.reload)
        self.notifier = Notifier(environment.notify_socket())
        self.progress = health.Progress()
        self._stop = asyncio.Event()
        self._reload = asyncio.Event()
        self._reloading = asyncio.Lock()
        self.ready = asyncio.Event()

    async def run(self) -> None:
        """From start to the end that a signal asks for. Raises `AlreadyRunning`, `Refused`, OSError at the start."""
        self._listen_to_signals()
        await self.notifier.patiently(self.core.spool.open(), "Starting: opening the spool")
        try:
            async with asyncio.TaskGroup() as group:
                self.assembly.group = group
                background = [
                    group.create_task(self.core.pipeline.run(), name="pipeline"),
                    group.create_task(self.core.scheduler.run(), name="scheduler"),
                    group.create_task(self._beat(), name="heartbeat"),
                    group.create_task(self._judge(), name="rules"),
                ]
                try:
                    plan = self.assembly.plan(self.core.config)
                    await self.endpoints.start(self.core.config.agent, self.core.state_dir / SOCKET)
                    await self.assembly.change(plan)
                    gc.freeze()
                    self.notifier.ready(self.status())
                    self.ready.set()
                    self._say_hello()
                    await self._until_stopped()
                finally:
                    await self._shut_down()
                    for task in background:
                        task.cancel()
        finally:
            await self.core.spool.close()
            if self.ready.is_set():
                self._say_goodbye()
            self.notifier.close()

    def _say_hello(self) -> None:
        core, config = self.core, self.core.config
        log.info(
            "started",
            version=__version__,
            files=list(config.files) or "none: the defaults",
            listen=config.agent.listen or "off",
            state_dir=str(core.state_dir),
            collectors=list(core.runners),
            exporters=list(core.deliveries),
            pending=self._pending(),
        )

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

    def _leave(self, reason: str) -> None:
        log.warning("stopping at once; what the disk took is in the spool", reason=reason)
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
            await self.endpoints.start(config.agent, self.core.state_dir / SOCKET)
        except (ConfigError, Refused, OSError) as error:
            return self._refuse(str(error))
        changes = await self.assembly.change(plan)
        changes["changed"] += _changed(self.core.config, config)
        self._adopt(config)
        log.info("configuration reloaded", **changes)
        return ""

    def _refuse(self, faults: str) -> str:
        self.core.reload_ok = False
        self.core.reloads["refused"] += 1
        for line in faults.splitlines():
            log.error("the new configuration is refused; the old one stays in force", fault=line)
        return faults

    def _adopt(self, config: Config) -> None:
        if Path(config.agent.state_dir) != self.core.state_dir:
            log.warning("state_dir takes effect after a restart", state_dir=config.agent.state_dir)
        logs.configure(config.agent.log_level, config.agent.log_format, color=not environment.no_color())
        self.core.spool.limit(limits(config.spool))
        self.core.config = config
        self.core.reload_ok, self.core.reload_time = True, time.time()
        self.core.reloads["ok"] += 1

    # -- while it runs --------------------------------------------------------------------------------------------

    async def _beat(self) -> None:
        """Measure the loop's lag, feed the watchdog while there is progress, keep the status line."""
        patience = environment.watchdog_seconds()
        pause = min(BEAT, patience / 3) if patience else BEAT
        while True:
            due = time.monotonic() + pause
            await asyncio.sleep(pause)
            self.core.lag.observe(time.monotonic() - due)
            core = self.core
            stuck = self.progress.stuck(
                core.spool, core.deliveries.values(), core.runners.values(), min(patience or health.STUCK, health.STUCK)
            )
            for reason in stuck:
                log.error("no progress; the watchdog is not fed", reason=reason)
            if not stuck and patience and self.ready.is_set():
                self.notifier.watchdog()
            if not self._stop.is_set():
                self.notifier.status(self.status())
                await self.endpoints.keep_socket(core.state_dir / SOCKET)

    async def _judge(self) -> None:
        """Judge what the collectors saw, a moment after their ticks."""
        core = self.core
        while True:
            await core.pipeline.seen.wait()
            since = max(0.0, time.time() - core.judge.looked)  # of a clock that was set back, nothing
            await asyncio.sleep(max(LINGER, JUDGING - since))
            core.pipeline.seen.clear()
            for _ in core.judge.looking(time.time(), core.pipeline.latest.values(), time.monotonic()):
                await asyncio.sleep(0)

    def status(self) -> str:
        """One line about everything, and the first trouble."""
        text, troubles = self.core.status(), self.core.troubles()
        return f"{text}; {troubles[0]}" if troubles and self.ready.is_set() else text

    # -- the end --------------------------------------------------------------------------------------------------

    async def _shut_down(self) -> None:
        """Stop collecting, commit what is pending, give requests under way their time, close."""
        since = time.monotonic()
        asyncio.get_running_loop().call_later(LAST, self._leave, "the end takes too long")
        self.notifier.stopping("Stopping: delivering what is pending")
        self.notifier.extend(LAST + 5)
        await self.core.scheduler.stop()
        await self.core.pipeline.flush()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(DRAIN):
                await asyncio.gather(*(one.drain(hopefully=True) for one in self.core.deliveries.values()))
        await self.assembly.close(since)
        await self.endpoints.close()

    def _say_goodbye(self) -> None:
        self._told.flush()
        log.info("stopped; what is pending waits in the spool", pending=self._pending())

    def _pending(self) -> dict[str, int]:
        return {f"{one.exporter}/{one.signal}": one.pending for one in self.core.spool.entries()}


def _changed(old: Config, new: Config) -> list[str]:
    """The options of `[agent]` and `[spool]` that differ, by their paths."""
    pairs = (("agent", old.agent, new.agent), ("spool", old.spool, new.spool))
    return [
        f"{section}.{option}"
        for section, one, other in pairs
        for option in one.__struct_fields__
        if getattr(one, option) != getattr(other, option)
    ]
