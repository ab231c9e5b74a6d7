"""Plans are built before anything is touched, and what did not change is kept, object by object."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from msgspec import Struct

from agent import assembly as assemblies
from agent.assembly import OWN, Assembly, Refused, build
from agent.clock import Clock
from agent.delivery import Delivery
from agent.model import STALE
from agent.pipeline import Pipeline
from agent.plugins import Plugins
from agent.runner import Runner
from agent.scheduler import Scheduler
from agent.spool import Spool
from agent.stamper import join_labels
from config import AgentOptions, CollectorCommon, Config, Duration, ExporterCommon, Section
from tests.plugins import Numbers


class Broken:
    """A plugin whose constructor fails."""

    class Options(Struct, frozen=True):
        error: Any = None

    def __init__(self, options: Broken.Options, timeout: float = 0.0) -> None:
        raise options.error


class Labelled(Numbers):
    """A collector that puts its section's labels on its series itself."""

    own_labels = True

    def __init__(self, options: Numbers.Options, *, labels: dict[str, str], timeout: float) -> None:
        super().__init__(options)
        self.told = labels, timeout


class FakeCore:
    """What an assembly needs of the core."""

    def __init__(self, spool: Spool) -> None:
        self.spool = spool
        self.clock = Clock()
        self.pipeline = Pipeline(spool, wanted=lambda: False)
        self.scheduler = Scheduler("host", self.clock)
        self.started = 0.0
        self.runners: dict[str, Runner] = {}
        self.deliveries: dict[str, Delivery] = {}


@pytest.fixture
async def core(tmp_path: Path) -> AsyncIterator[FakeCore]:
    spool = Spool(tmp_path)
    await spool.open()
    yield FakeCore(spool)
    await spool.close()


@pytest.fixture
async def assembly(core: FakeCore, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Assembly]:
    collectors = Plugins("none.collectors", {"numbers": "tests.plugins:Numbers"})
    exporters = Plugins("none.exporters", {"stuck": "tests.plugins:Stuck"})
    monkeypatch.setattr(assemblies, "COLLECTORS", collectors)
    monkeypatch.setattr(assemblies, "EXPORTERS", exporters)
    one = Assembly(core)  # type: ignore[arg-type]
    async with asyncio.TaskGroup() as group:
        one.group = group
        yield one
        await core.scheduler.stop()
        await one.close(0.0)


def collector(name: str, run: int = 0, **common: Any) -> Section:
    options = assemblies.COLLECTORS.plugin("numbers").Options(run=run)
    return Section(kind="numbers", name=name, common=CollectorCommon(**common), options=options)


def exporter(name: str, timeout: str = "30s") -> Section:
    options = assemblies.EXPORTERS.plugin("stuck").Options()
    return Section(kind="stuck", name=name, common=ExporterCommon(timeout=Duration(timeout)), options=options)


def config(*sections: Section, **agent: Any) -> Config:
    return Config(
        agent=AgentOptions(instance="host", **agent),
        collectors=tuple(one for one in sections if isinstance(one.common, CollectorCommon)),
        exporters=tuple(one for one in sections if isinstance(one.common, ExporterCommon)),
    )


async def changed(assembly: Assembly, wanted: Config) -> dict[str, list[str]]:
    return await assembly.change(assembly.plan(wanted))


async def test_all_is_built_at_first(assembly: Assembly) -> None:
    changes = await changed(assembly, config(collector("a"), collector("b"), exporter("out")))
    assert changes == {"added": [OWN, "a", "b", "out"], "changed": [], "removed": []}
    assert set(assembly.runners) == {OWN, "a", "b"}
    assert set(assembly.deliveries) == {"out"}


async def test_a_collector_with_labels_of_its_own_is_handed_those_of_its_section(
    assembly: Assembly, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(assemblies, "COLLECTORS", Plugins("none", {"numbers": f"{__name__}:Labelled"}))
    await changed(assembly, config(collector("a", labels={"job": "shop"}), labels={"site": "one"}))
    runner = assembly.runners["a"]
    assert isinstance(runner.collector, Labelled)
    assert runner.collector.told == ({"job": "shop"}, runner.timeout)
    assert runner.stamper.context == ({"site": "one"}, {"instance": "host"})


async def test_the_same_configuration_changes_nothing(assembly: Assembly) -> None:
    wanted = config(collector("a"), exporter("out"))
    await changed(assembly, wanted)
    before = {**assembly.runners, **assembly.deliveries}
    assert await changed(assembly, config(collector("a"), exporter("out"))) == {
        "added": [],
        "changed": [],
        "removed": [],
    }
    assert {**assembly.runners, **assembly.deliveries} == before


async def test_only_what_differs_is_replaced(assembly: Assembly) -> None:
    await changed(assembly, config(collector("a"), collector("b"), exporter("out"), exporter("too")))
    a, out = assembly.runners["a"], assembly.deliveries["out"]
    changes = await changed(assembly, config(collector("a"), collector("b", run=2), exporter("out"), collector("c")))
    assert changes == {"added": ["c"], "changed": ["b"], "removed": ["too"]}
    assert assembly.runners["a"] is a
    assert assembly.deliveries["out"] is out


@pytest.mark.parametrize(
    "agent",
    [{"labels": {"env": "prod"}}, {"interval": Duration("30s")}, {"timeout": Duration("3s")}],
    ids=lambda agent: next(iter(agent)),
)
async def test_what_a_collector_inherits_counts_as_its_own(assembly: Assembly, agent: dict[str, Any]) -> None:
    await changed(assembly, config(collector("a")))
    changes = await changed(assembly, config(collector("a"), **agent))
    assert changes["changed"] == [OWN, "a"]


@pytest.mark.parametrize(
    ("own", "expected"),
    [
        ({}, {"instance": "host", "job": "numbers"}),
        ({"job": "mine"}, {"instance": "host", "job": "mine"}),
        ({"job": "mine", "instance": "there"}, {"instance": "there", "job": "mine"}),
    ],
)
async def test_a_collectors_own_labels_take_the_place_of_job_and_instance(
    assembly: Assembly, own: dict[str, str], expected: dict[str, str]
) -> None:
    await changed(assembly, config(collector("a", labels=own)))
    assert dict(join_labels({}, *assembly.runners["a"].stamper.context)) == expected


async def test_a_timeout_is_never_longer_than_the_interval(assembly: Assembly) -> None:
    await changed(assembly, config(collector("a", interval=Duration("2s"), timeout=Duration("10s"))))
    assert (assembly.runners["a"].interval, assembly.runners["a"].timeout) == (2.0, 2.0)


async def test_a_delivery_knows_its_exporters_time_limit(assembly: Assembly) -> None:
    await changed(assembly, config(exporter("out", timeout="90s")))
    assert assembly.deliveries["out"].timeout == 90.0


async def test_a_removed_collector_leaves_staleness_markers(assembly: Assembly, core: FakeCore) -> None:
    submitted: list[Any] = []
    await changed(assembly, config(collector("a")))
    runner = assembly.runners["a"]
    await runner.round(1000)
    core.pipeline.submit = lambda name, batches: submitted.append((name, batches))  # type: ignore[method-assign]
    await changed(assembly, config())
    ((name, (stale,)),) = submitted
    assert (name, set(stale.values)) == ("a", {STALE})
    assert stale.time_ms > 1000


async def test_a_plan_touches_nothing(assembly: Assembly) -> None:
    await changed(assembly, config(collector("a"), exporter("out")))
    before = dict(assembly.runners), dict(assembly.deliveries)
    assembly.plan(config(collector("b"), exporter("too")))
    assert (assembly.runners, assembly.deliveries) == before


async def test_a_removed_exporter_keeps_its_account(assembly: Assembly, core: FakeCore) -> None:
    """It may come back, and what waits for it is then still there."""
    await changed(assembly, config(exporter("out")))
    await changed(assembly, config())
    assert [entry.exporter for entry in core.spool.entries()] == ["out"]


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (ValueError("url: is no URL"), "mine: url: is no URL"),
        (FileNotFoundError(2, "no such file", "/a"), "mine: [Errno 2] no such file: '/a'"),
        (RuntimeError("defect"), "mine: RuntimeError: defect"),
    ],
)
def test_a_plugin_that_cannot_be_built_is_refused_by_name(error: Exception, words: str) -> None:
    plugins = Plugins("none", {"broken": f"{__name__}:Broken"})
    plugins.plugin = lambda kind: Broken  # type: ignore[method-assign]
    section = Section(kind="broken", name="mine", common=ExporterCommon(), options=Broken.Options(error))
    with pytest.raises(Refused) as refused:
        build(plugins, section)
    assert str(refused.value) == words
