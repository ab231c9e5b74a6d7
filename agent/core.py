"""What a running agent consists of, in one place: read by its endpoints, its summary and its own collector, changed by
the daemon and the assembly alone.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from agent import health
from agent.clock import Clock
from agent.delivery import Delivery
from agent.histogram import Observations
from agent.pipeline import Pipeline
from agent.rules.judge import Judge
from agent.runner import Runner
from agent.scheduler import Scheduler
from agent.spool import Spool
from agent.spool.writer import Event, Limits
from config import Config, SpoolOptions

LAG_BOUNDS = (0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)


class Core:
    """The parts at work. `tell` hears what happens in the spool's thread."""

    def __init__(self, config: Config, tell: Callable[[Event], None]) -> None:
        self.config = config
        self.state_dir = Path(config.agent.state_dir)  # as it was at the start; another takes a restart
        self.started = time.time()
        self.clock = Clock()
        self.runners: dict[str, Runner] = {}
        self.deliveries: dict[str, Delivery] = {}
        self.spool = Spool(self.state_dir, limits(config.spool), tell=tell)
        self.pipeline = Pipeline(self.spool, wanted=lambda: bool(self.deliveries))
        self.judge = Judge(())  # of the rules in force, once they are known
        self.pipeline.watch = lambda batches: self.judge.take(batches)
        self.scheduler = Scheduler(config.agent.instance, self.clock)
        self.lag = Observations(LAG_BOUNDS)  # of the event loop, in seconds
        self.reloads = {"ok": 0, "refused": 0}
        self.reload_ok, self.reload_time = True, self.started

    def troubles(self) -> list[str]:
        """Why the agent does not do its duty; empty when it does."""
        return health.unready(self.spool, self.deliveries.values(), self.runners.values())

    def status(self) -> str:
        """One line about everything."""
        series = sum(runner.stamper.series for runner in self.runners.values())
        pending = sum(entry.pending for entry in self.spool.entries())
        return f"{len(self.runners)} collectors, {series} series, {len(self.deliveries)} exporters, {pending} pending"


def limits(options: SpoolOptions) -> Limits:
    """The spool's limits of a configuration."""
    return Limits(max_size=options.max_size, max_age=float(options.max_age), min_free=options.min_free.of)
