"""Every metric that the collector makes of the machine with everything, kept in a file.

`NIGHTJAR_GOLDEN=write` writes it anew; the difference is then for a person to read.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable
from typing import get_args

from agent.model import Family, Sample
from collectors.host import Host, Options
from collectors.host.options import PartName
from collectors.host.parts import LINUX, OFF
from collectors.host.portable import PARTS
from tests.collectors.host.tree import DATA

GOLDEN = DATA / "machine.golden"
OF_THE_MOMENT = re.compile(  # what is this machine's, or the clock's
    r"node_(time|timex|uname|filesystem_(avail|free|size|files)|textfile_mtime|scrape_collector_duration)|process_res"
)


def line(sample: Sample, root: str) -> str:
    family, labels, value, _extra = sample
    pairs = ",".join(f'{name}="{label}"' for name, label in zip(family.labels, labels, strict=True))
    shown = "…" if OF_THE_MOMENT.match(family.name) else value
    return f"{family.name}{{{pairs}}} {shown}".replace(root, "/ROOT").replace("\n", r"\n")


def heads(families: Iterable[Family]) -> list[str]:
    return sorted({f"# {family.kind} {family.name} | {family.help}" for family in families})


async def test_the_machine_with_everything_gives_the_metrics_of_the_golden_file(host: Callable[..., Host]) -> None:
    collector = host(enable=("interrupts",), disable=("uname", "timex", "time", "tcpstat"), textfile_dir="/nowhere")
    samples = list(await collector.collect())
    root = collector._machine.options.rootfs
    text = "\n".join([*heads({sample.family for sample in samples}), *(line(sample, root) for sample in samples), ""])
    if os.environ.get("NIGHTJAR_GOLDEN") == "write":
        GOLDEN.write_text(text)
    assert text.splitlines() == GOLDEN.read_text().splitlines()


async def test_a_round_gives_the_same_series_in_the_same_order_by_the_same_families(host: Callable[..., Host]) -> None:
    collector = host(enable=("interrupts",))
    first, second = [[sample[:2] for sample in await collector.collect()] for _ in range(2)]
    assert first == second
    assert all(one[0] is other[0] for one, other in zip(first, second, strict=True))


async def test_no_series_comes_twice(host: Callable[..., Host]) -> None:
    samples = await host(enable=("interrupts",)).collect()
    keys = [
        (sample.family.name, tuple(sorted(zip(sample.family.labels, sample.labels, strict=True)))) for sample in samples
    ]
    assert len(keys) == len(set(keys))


async def test_labels_are_strings_and_values_floats(host: Callable[..., Host]) -> None:
    for sample in await host(enable=("interrupts",)).collect():
        assert type(sample.value) is float, sample
        assert all(type(label) is str for label in sample.labels), sample
        assert len(sample.labels) == len(sample.family.labels)


async def test_the_documented_families_hold_what_is_collected(host: Callable[..., Host]) -> None:
    collector = host(enable=("interrupts",))
    samples = await collector.collect()
    documented = {(family.name, family.kind) for family in collector.families()}
    assert {(sample.family.name, sample.family.kind) for sample in samples} <= documented


def test_the_parts_that_options_know_are_the_parts_there_are() -> None:
    assert set(get_args(PartName)) == LINUX.keys() | PARTS.keys()
    assert LINUX.keys() >= OFF


def test_the_job_is_the_one_that_dashboards_select() -> None:
    assert Host.job == "node"
    assert Host.Options is Options
