"""What works without /proc: here psutil tells this machine, elsewhere it tells a Mac."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from agent.model import Sample
from collectors.host import portable
from collectors.host.machine import Machine
from collectors.host.parts import make
from collectors.host.portable import PARTS


async def run(name: str, machine: Machine) -> list[Sample]:
    part = make(name, PARTS[name], machine)
    samples = [*(await part.wait() if part.waits else part.run())]
    part.close()
    return samples


@pytest.mark.parametrize("name", sorted(PARTS))
async def test_each_portable_part_tells_something_of_this_machine(name: str, machine: Callable[..., Machine]) -> None:
    samples = await run(name, machine(disks_exclude=""))
    assert samples or name == "diskstats", "a container may see no disks"
    assert all(type(sample.value) is float for sample in samples)


async def test_the_names_are_those_of_node_exporter_on_macos(machine: Callable[..., Machine]) -> None:
    names = {sample.family.name for name in PARTS for sample in await run(name, machine())}
    assert {
        *("node_cpu_seconds_total", "node_load1", "node_memory_total_bytes", "node_memory_swap_total_bytes"),
        *("node_memory_free_bytes", "node_boot_time_seconds", "node_time_seconds", "node_uname_info"),
        *("node_network_receive_bytes_total", "node_filesystem_size_bytes"),
    } <= names


async def test_the_default_mounts_are_those_of_macos_and_an_own_choice_stays(machine: Callable[..., Machine]) -> None:
    default, chosen = portable.Filesystem(machine()), portable.Filesystem(machine(mounts_exclude="^/Volumes"))
    assert default._mounts_chosen("/mnt")
    assert not default._mounts_chosen("/dev")
    assert not chosen._mounts_chosen("/Volumes/x")
    for part in (default, chosen):
        part.close()
