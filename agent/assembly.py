"""Building what a configuration asks for, and changing from one to another by difference.

New parts are built before anything is touched: a configuration whose plugins refuse their options changes nothing.
A part whose section, and what it inherits, did not change keeps running, with its connections and its state.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from math import inf
from typing import Any

import msgspec
from msgspec import Struct

from agent.core import Core
from agent.delivery import Delivery
from agent.fanout import FanOut
from agent.model import Collector, MetricBatch, Prober
from agent.plugins import COLLECTORS, EXPORTERS, Plugins
from agent.rules.inforce import InForce, rules_in_force
from agent.rules.judge import Judge
from agent.runner import Runner
from agent.selfmetrics import SelfMetrics
from agent.spool import Spool
from agent.stamper import Stamper, standing_labels
from config import CollectorCommon, Config, ExporterCommon, Section

OWN = "nightjar"  # the collector of the agent's own state
Submit = Callable[[str, list[MetricBatch]], None]
CLOSING = 5.0  # seconds an exporter that goes gets for the request under way


class Refused(Exception):
    """A plugin does not accept its options, although their types are right."""


class Part(Struct, frozen=True):
    """What a running part was built from; the same wish keeps the part."""

    section: Section | None
    interval: float
    timeout: float
    context: tuple[tuple[tuple[str, str], ...], ...] = ()


class Plan(Struct, frozen=True):
    """The way to another configuration: what is wanted, and those parts of it that had to be built anew."""

    parts: dict[str, Part]
    sections: dict[str, Section]
    runners: dict[str, Runner]
    deliveries: dict[str, Delivery]
    rules: list[InForce]
    judge: Judge | None  # of other rules than before


class Assembly:
    """The runners and deliveries at work. `group` owns the deliveries' tasks."""

    def __init__(self, core: Core) -> None:
        self._core = core
        self.group: asyncio.TaskGroup
        self.runners, self.deliveries = core.runners, core.deliveries
        self._built: dict[str, Part] = {}
        self._sections: dict[str, Section] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._rules: list[InForce] = []

    def plan(self, config: Config) -> Plan:
        """Build what a configuration asks for and is not there yet; touches nothing that runs. Raises `Refused`."""
        wanted = {OWN: _own_part(config)} | {one.name: _part(one, config) for one in config.collectors}
        runners = {name: self._runner(name, part) for name, part in wanted.items() if self._built.get(name) != part}
        sections = {one.name: one for one in config.exporters}
        deliveries = {
            name: build_delivery(one, self._core.spool)
            for name, one in sections.items()
            if self._sections.get(name) != one
        }
        rules = rules_of(config)
        try:
            judge = Judge(rules) if _meaning(rules) != _meaning(self._rules) else None
        except ValueError as error:
            raise Refused(str(error)) from error
        return Plan(wanted, sections, runners, deliveries, rules, judge)

    async def change(self, plan: Plan) -> dict[str, list[str]]:
        """Carry a plan out; answers the names of what was added, changed, removed."""
        runners, deliveries = plan.runners, plan.deliveries
        gone = [name for name in self._built if name not in plan.parts]
        lost = [name for name in self._sections if name not in plan.sections]
        changes = {
            "added": [
                name for name in (*runners, *deliveries) if name not in self._built and name not in self._sections
            ],
            "changed": [name for name in (*runners, *deliveries) if name in self._built or name in self._sections],
            "removed": [*gone, *lost],
        }
        if plan.judge is not None:
            plan.judge.succeed(self._core.judge)
            self._core.judge = plan.judge
            self._core.pipeline.seen.set()  # judge by them now, not after the next tick
            changes["changed"].append("rules")
        self._rules = plan.rules
        await self._replace_deliveries(deliveries, lost)
        self._sections = plan.sections
        if plan.sections:  # an agent without exporters takes nothing in, and leaves what waits for others alone
            await self._core.spool.retire(plan.sections)
        await self._replace_runners(runners, gone)
        self._built = plan.parts
        for name, one in self.deliveries.items():
            if name not in deliveries:
                one.hurry()  # whoever reloads may have mended what it waits for
        return changes

    # -- collectors -----------------------------------------------------------------------------------------------

    def _runner(self, name: str, part: Part) -> Runner:
        own = SelfMetrics(self._core) if part.section is None else None
        return _runner(name, part, own or _collector(part), self._core.pipeline.submit)

    async def _replace_runners(self, new: dict[str, Runner], gone: list[str]) -> None:
        old = [self.runners[name] for name in (*gone, *new) if name in self.runners]
        self._core.scheduler.remove(old)
        await asyncio.gather(*(runner.close() for runner in old))
        for runner in old:
            stale = runner.stamper.vanish(self._core.clock.now())
            self._core.pipeline.submit(runner.name, stale)
            self.runners.pop(runner.name, None)
        self.runners.update(new)
        self._core.scheduler.add(new.values())

    # -- exporters ------------------------------------------------------------------------------------------------

    async def _replace_deliveries(self, new: dict[str, Delivery], gone: list[str]) -> None:
        now = time.monotonic()
        await asyncio.gather(*(self._end(name, now) for name in (*gone, *new) if name in self.deliveries))
        pairs = [(name, signal) for name, one in new.items() for signal in one.signals]
        if pairs:
            await self._core.spool.attach(pairs)
        for name, delivery in new.items():
            self.deliveries[name] = delivery
            self._tasks[name] = self.group.create_task(delivery.run(), name=f"deliver {name}")

    async def _end(self, name: str, since: float) -> None:
        delivery, task = self.deliveries.pop(name), self._tasks.pop(name)
        await delivery.finish_request(CLOSING, since)
        task.cancel()
        await asyncio.wait({task})
        await delivery.close()

    async def close(self, since: float) -> None:
        """Stop everything; requests under way have had some of their time since then (monotonic)."""
        await asyncio.gather(
            *(runner.close() for runner in self.runners.values()),
            *(self._end(name, since) for name in list(self.deliveries)),
        )


def rules_of(config: Config) -> list[InForce]:
    """The rules that count with a configuration, and those that are switched off."""
    return rules_in_force(config, {one.kind: COLLECTORS.rules(one.kind) for one in config.collectors})


def _meaning(rules: list[InForce]) -> list[tuple[object, ...]]:
    """The rules, wherever they stand."""
    return [(one.rule, one.kind, one.enabled) for one in rules]


def build_runner(section: Section, config: Config, submit: Submit, *, within: float = inf) -> Runner:
    """A runner for rounds outside of the daemon, each within so many seconds; raises `Refused`."""
    part = _part(section, config)
    part = msgspec.structs.replace(part, timeout=min(part.timeout, within))
    return _runner(section.name, part, _collector(part), submit)


def _runner(name: str, part: Part, collector: Collector, submit: Submit) -> Runner:
    kind = part.section.kind if part.section else OWN
    stamper = Stamper(name, [dict(layer) for layer in part.context])
    return Runner(name, kind, collector, stamper, interval=part.interval, timeout=part.timeout, submit=submit)


def _collector(part: Part) -> Collector:
    assert part.section is not None  # noqa: S101  # by the callers
    common = part.section.common
    assert isinstance(common, CollectorCommon)  # noqa: S101  # by construction of Config
    own = getattr(COLLECTORS.plugin(part.section.kind), "own_labels", False)
    found = build(COLLECTORS, part.section, **({"labels": common.labels, "timeout": part.timeout} if own else {}))
    return FanOut(found, part.timeout) if isinstance(found, Prober) else found


def build_delivery(section: Section, spool: Spool) -> Delivery:
    """What brings a spool's content to the exporter of a section; raises `Refused`."""
    assert isinstance(section.common, ExporterCommon)  # noqa: S101  # by construction of Config
    timeout = float(section.common.timeout)
    exporter = build(EXPORTERS, section, timeout=timeout)
    return Delivery(section.name, exporter, spool, timeout=timeout)


def build(plugins: Plugins, section: Section, **more: Any) -> Any:
    """The collector or exporter of a section; raises `Refused` when it does not accept its options."""
    try:
        return plugins.plugin(section.kind)(section.options, **more)
    except (ValueError, OSError) as error:
        raise Refused(f"{section.name}: {error}") from error
    except Exception as error:  # a plugin's defect must not end an agent that runs well with what it had
        raise Refused(f"{section.name}: {type(error).__name__}: {error}") from error


def _part(section: Section, config: Config) -> Part:
    assert isinstance(section.common, CollectorCommon)  # noqa: S101  # by construction of Config
    plugin = COLLECTORS.plugin(section.kind)
    own = standing_labels(plugin, section.kind, section.name, config.agent.instance)
    upper = (section.common.labels, config.agent.labels)
    # Left out where they are set above, so that no `exported_…` label remembers a default.
    unsaid = {name: value for name, value in own.items() if not any(name in layer for layer in upper)}
    layers = (config.agent.labels, unsaid) if getattr(plugin, "own_labels", False) else (*upper, unsaid)
    interval = float(section.common.interval or config.agent.interval)
    timeout = float(section.common.timeout or config.agent.timeout)
    return Part(section, interval, min(timeout, interval), _frozen(layers))


def _own_part(config: Config) -> Part:
    layers = (config.agent.labels, {"instance": config.agent.instance, "job": OWN})
    return Part(None, float(config.agent.interval), float(config.agent.timeout), _frozen(layers))


def _frozen(layers: tuple[dict[str, str], ...]) -> tuple[tuple[tuple[str, str], ...], ...]:
    return tuple(tuple(sorted(layer.items())) for layer in layers)
