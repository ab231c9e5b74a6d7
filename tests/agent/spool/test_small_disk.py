"""A disk so small that the spool itself fills it: it makes room by itself."""

from __future__ import annotations

import random
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from agent.spool import Limits
from agent.spool.house import free_space
from tests.agent.spool.test_disk_trouble import fill
from tests.spools import METRICS, Opened, balanced, batch, drain, in_order, series_set

MIB = 1 << 20
SETS = [series_set(size, str(size)) for size in (8, 40, 300, 1200)]


@pytest.fixture
def disk(tmp_path) -> Iterator[Path]:
    """A file system of 5 MiB."""
    place = tmp_path / "disk"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=5m", "tmpfs", str(place)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("needs the right to mount a file system")
    yield place
    subprocess.run(["umount", "-l", str(place)], check=True)


def opened_on(disk: Path, **limits: object) -> Opened:
    opened = Opened(disk / "state", **limits)
    opened.free = free_space
    return opened


async def write(opened: Opened, rounds: range, draw: random.Random) -> None:
    for number in rounds:
        opened.clocks.advance(0.1)
        await opened.spool.append([batch(one, 10 * number + at, noise=draw) for at, one in enumerate(SETS)])


async def test_a_spool_that_fills_its_disk_gives_up_the_oldest_and_goes_on(disk):
    draw = random.Random(5)
    async with opened_on(disk) as opened:
        await opened.spool.attach([("dead", METRICS)])
        await write(opened, range(800), draw)
        assert not opened.spool.trouble
        assert not opened.told("spool.disk_trouble")
        assert balanced(opened.spool.entries())
        assert set(opened.entry("dead").dropped) <= {"size", "space"}
        assert opened.entry("dead").dropped
        got = await drain(opened.spool, "dead")
        assert in_order(got)
        assert len(got) > 400, "the disk is made use of"
        assert got[-1].time_ms == 7993
    async with opened_on(disk) as again:
        assert not again.spool.trouble
        await write(again, range(800, 900), draw)
        assert not again.told("spool.disk_trouble")


async def test_a_disk_on_which_no_space_is_to_be_left_free_is_not_a_trap_either(disk):
    draw = random.Random(6)
    async with opened_on(disk, min_free=lambda total: 0) as opened:
        await opened.spool.attach([("dead", METRICS)])
        await write(opened, range(800), draw)
        opened.clocks.advance(11)
        await write(opened, range(800, 810), draw)
        assert not opened.spool.trouble
        assert balanced(opened.spool.entries())


@pytest.mark.parametrize("rounds", [150, 350])
@pytest.mark.parametrize("share", [0, 20])
@pytest.mark.parametrize("leave", [0, 16 << 10, 64 << 10])
async def test_space_that_others_take_for_good_is_made_up_for_by_giving_up_the_oldest(disk, leave, share, rounds):
    draw = random.Random(7)
    async with opened_on(disk, min_free=lambda total: total // share if share else 0) as opened:
        await opened.spool.attach([("dead", METRICS)])
        await write(opened, range(rounds), draw)
        fill(disk, leave=leave)
        await write(opened, range(500, 600), draw)
        opened.clocks.advance(11)
        await write(opened, range(600, 700), draw)
        assert not opened.spool.trouble
        assert opened.entry("dead").dropped["space"] > 0
        assert balanced(opened.spool.entries())
        got = await drain(opened.spool, "dead")
        assert in_order(got)
        assert got[-1].time_ms == 6993


@pytest.mark.parametrize(("total", "most"), [(0, 512 * MIB), (1 << 40, 512 * MIB), (5 * MIB, 5 * MIB * 19 // 20)])
def test_no_limit_is_above_what_the_file_system_holds(total, most):
    assert Limits().on_disk_of(total).max_size == most


def test_more_free_space_than_the_disk_has_leaves_the_spool_half_of_it():
    assert Limits(min_free=lambda total: 1 << 30).on_disk_of(8 * MIB).max_size == 4 * MIB
