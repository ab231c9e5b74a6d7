"""What was accepted into memory while the disk refused and never came onto it: counted, however the agent ends."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from agent.ledger import State
from agent.spool.offline import Offline
from agent.spool.unwritten import adopted, ahead, give_up
from agent.spool.witness import SLOT, Seen, Witness
from tests.agent.spool.test_disk_trouble import (
    as_nobody,
    comes_back,
    fill,
    numbers,
    remount,
    small_disk,
    start,
    write,
)
from tests.spools import METRICS, Opened, balanced, drain

__all__ = ["small_disk"]

ALL = 99  # batches of 200 items


async def filled(opened: Opened, disk: Path, *exporters: str) -> tuple[Path, int]:
    """Write until the disk refuses and go on; answers what fills the disk, and how many batches are on it."""
    await start(opened, *exporters)
    await write(opened, *range(1, 6))
    ballast = fill(disk)
    on_disk = 5
    for number in range(6, ALL + 1):
        await write(opened, number)
        on_disk = number if not opened.spool.trouble else on_disk
    assert opened.spool.trouble
    assert ALL - on_disk > 30
    return ballast, on_disk


async def test_a_stop_while_the_disk_is_full_counts_what_was_only_in_memory(small_disk):
    async with Opened(small_disk / "state") as opened:
        ballast, on_disk = await filled(opened, small_disk)
    lost = (ALL - on_disk) * 200
    assert opened.told("spool.memory_lost")[0].facts == {"items": lost}
    entry = opened.entry("one")
    assert (entry.accepted, entry.pending, entry.dropped) == (ALL * 200, on_disk * 200, {"memory": lost})
    assert entry.balanced
    ballast.unlink()
    async with Opened(small_disk / "state") as again:
        assert again.entry("one") == entry
        assert not again.told("spool.salvaged")
        assert not again.told("spool.memory_lost"), "it was told before"
        await write(again, 100)
        assert await numbers(again) == [*range(1, on_disk + 1), 100]
        assert again.entry("one").accepted == (ALL + 1) * 200
        assert again.entry("one").dropped == {"memory": lost}


async def test_a_kill_while_the_disk_is_full_is_counted_at_the_next_start(small_disk, tmp_path):
    async with Opened(small_disk / "state") as opened:
        _, on_disk = await filled(opened, small_disk, "one", "two")
        got = await numbers(opened, "two")
        shutil.copytree(small_disk / "state", tmp_path / "killed")
    with Offline(tmp_path / "killed") as offline:
        assert {one.exporter: one.accepted for one in offline.entries()} == {"one": ALL * 200, "two": ALL * 200}
    async with Opened(tmp_path / "killed") as again:
        lost = (ALL - on_disk) * 200
        assert not again.told("spool.salvaged")
        assert again.told("spool.memory_lost")[0].facts == {"items": lost}
        assert again.entry("one").dropped == {"memory": lost}
        assert again.entry("two").delivered == len(got) * 200
        assert again.entry("two").pending == 0, "what was delivered is not delivered again"
        await write(again, 100)
        assert await numbers(again) == [*range(1, on_disk + 1), 100]
        assert await numbers(again, "two") == [100]
        assert {one.accepted for one in again.spool.entries()} == {(ALL + 1) * 200}
    async with Opened(tmp_path / "killed") as third:
        assert third.entry("one").pending == 0
        assert not third.told("spool.memory_lost")


async def test_a_start_and_a_stop_on_a_disk_that_stays_full_count_too(small_disk):
    state = small_disk / "state"
    async with Opened(state) as opened:
        ballast, on_disk = await filled(opened, small_disk)
    fill(small_disk / "state")
    async with Opened(state) as second:
        assert second.spool.trouble
        await start(second)
        await write(second, *range(100, 110))
        assert await numbers(second) == list(range(100, 110)), "new data need not wait for the disk"
        await write(second, *range(110, 115))
    assert second.told("spool.memory_lost")[0].facts == {"items": 5 * 200}
    assert second.entry("one").accepted == 114 * 200
    ballast.unlink()
    (state / "ballast").unlink()
    async with Opened(state) as third:
        assert not third.told("spool.salvaged")
        assert third.entry("one") == second.entry("one")
        assert third.entry("one").delivered == 10 * 200
        assert third.entry("one").dropped == {"memory": (ALL - on_disk + 5) * 200}
        assert await numbers(third) == list(range(1, on_disk + 1))
        assert third.entry("one").pending == 0


async def test_a_disk_that_comes_after_a_full_start_counts_nothing_twice(small_disk):
    state = small_disk / "state"
    async with Opened(state) as opened:
        ballast, on_disk = await filled(opened, small_disk)
    fill(state)
    async with Opened(state) as second:
        await start(second)
        await write(second, *range(100, 110))
        ballast.unlink()
        (state / "ballast").unlink()
        await comes_back(second, number=110)
        assert second.entry("one").accepted == 110 * 200
        assert await numbers(second) == [*range(1, on_disk + 1), *range(100, 111)]
        assert second.entry("one").dropped == {"memory": (ALL - on_disk) * 200}
    async with Opened(state) as third:
        assert third.entry("one") == second.entry("one")


async def test_what_was_taken_from_memory_is_not_counted_twice_where_older_data_waits(small_disk, tmp_path):
    state = small_disk / "state"
    async with Opened(state) as opened:
        await start(opened, "one", "two")
        await write(opened, 1, 2, 3)
    (state / "spool.db-wal").unlink(missing_ok=True)
    ballast = [fill(small_disk), fill(state)]
    async with Opened(state) as second:
        await start(second, "one", "two")
        await write(second, *range(4, 14))
        assert await numbers(second) == list(range(4, 14))
        shutil.copytree(state, tmp_path / "killed", ignore=shutil.ignore_patterns("ballast"))
        for file in ballast:
            file.unlink()
        await comes_back(second, number=14)
        assert {one.accepted for one in second.spool.entries()} == {14 * 200}
        assert balanced(second.spool.entries())
        assert await numbers(second) == list(range(1, 15)), "again, behind what is older"
        assert second.entry("one").delivered == 14 * 200
    async with Opened(tmp_path / "killed") as third:
        assert {one.accepted for one in third.spool.entries()} == {13 * 200}
        assert balanced(third.spool.entries())


def test_what_the_disk_gave_up_before_a_kill_is_in_the_account():
    disk = State()
    disk.attach("one", METRICS)
    for _ in range(3):
        disk.accept(METRICS, 100)
    disk.commit = 5
    memory = disk.copy()
    memory.accept(METRICS, 50)
    memory.commit = 9
    disk.give_up_to(METRICS, 2, 200, "space")
    disk.commit = 6
    found = adopted(disk, Seen(memory, 5))
    entry = found.state.entry("one", METRICS)
    assert (entry.accepted, entry.pending) == (350, 150), "what memory held goes when the cursor comes to it"
    assert entry.dropped == {"space": 200}
    assert found.lost == 50


async def test_a_disk_that_came_back_leaves_nothing_to_be_counted(small_disk, tmp_path):
    async with Opened(small_disk / "state") as opened:
        ballast, _ = await filled(opened, small_disk)
        ballast.unlink()
        await comes_back(opened, number=100)
        shutil.copytree(small_disk / "state", tmp_path / "killed")
    async with Opened(tmp_path / "killed") as again:
        assert await numbers(again) == list(range(1, 101))
        assert again.entry("one").dropped == {}


async def test_damage_beside_what_was_lost_with_memory_is_told_apart(small_disk, tmp_path):
    async with Opened(small_disk / "state") as opened:
        _, on_disk = await filled(opened, small_disk)
        shutil.copytree(small_disk / "state", tmp_path / "killed")
    for name in ("spool.db", "spool.db-wal"):
        with (tmp_path / "killed" / name).open("r+b") as file:
            file.write(b"damaged header")
    async with Opened(tmp_path / "killed") as again:
        assert again.told("spool.salvaged")
        assert await numbers(again) == list(range(1, on_disk + 1))
        assert again.entry("one").dropped == {"memory": (ALL - on_disk) * 200}
        assert again.entry("one").accepted == ALL * 200


async def test_a_stop_on_a_read_only_disk_tells_the_truth_though_it_cannot_be_written(small_disk):
    state = small_disk / "state"
    async with Opened(state) as opened:
        await start(opened)
        await write(opened, 1, 2, 3)
    remount(small_disk, "ro")
    async with Opened(state) as opened:
        await start(opened)
        await write(opened, 4, 5)
    remount(small_disk, "rw")
    assert opened.told("spool.memory_lost")[0].facts == {"items": 400}
    assert opened.entry("one").pending == 0
    assert opened.entry("one").dropped == {"memory": 400}
    async with Opened(state) as again:
        assert await numbers(again) == [1, 2, 3]


async def test_a_stop_with_everything_delivered_loses_nothing(small_disk):
    async with Opened(small_disk / "state") as opened:
        ballast, _ = await filled(opened, small_disk)
        await numbers(opened)
    assert not opened.told("spool.memory_lost")
    ballast.unlink()
    async with Opened(small_disk / "state") as again:
        assert again.entry("one").delivered == ALL * 200
        assert again.entry("one").dropped == {}
        assert await drain(again.spool, "one") == []


def test_the_witness_has_its_blocks_from_the_start(tmp_path):
    witness = Witness(tmp_path / "w")
    witness.write(Seen(State(), 0))
    witness.close()
    assert os.stat(tmp_path / "w").st_size == 2 * SLOT
    assert os.stat(tmp_path / "w").st_blocks * 512 >= 2 * SLOT


def test_what_was_given_up_for_another_reason_stays_so():
    disk = State()
    for name in ("behind", "near"):
        disk.attach(name, METRICS)
    disk.accept(METRICS, 100)
    state = disk.copy()
    state.settle("near", METRICS, 1, 100, delivered=100)
    state.accept(METRICS, 50)
    head = state.accept(METRICS, 20)
    state.give_up_between(METRICS, 150, 170, head.seq, "size")
    state.accept(METRICS, 30)
    found = give_up(state, disk)
    assert found.lost == 80
    assert balanced(found.state.entries())
    assert found.state.account("near", METRICS).dropped == {"memory": 80, "size": 20}
    assert ahead(found.state.account("behind", METRICS), found.state.gaps[METRICS]) == {"memory": 80, "size": 20}
    assert [(gap.start, gap.stop, gap.reason) for gap in found.state.gaps[METRICS]] == [
        (100, 150, "memory"),
        (150, 170, "size"),
        (170, 200, "memory"),
    ]
    assert give_up(found.state, disk).lost == 0


# -- places that cannot be looked at ------------------------------------------------------------------------------


async def test_a_directory_that_may_no_longer_be_looked_at_was_not_removed(tmp_path):
    state = tmp_path / "state"
    state.mkdir(mode=0o777)
    state.chmod(0o777)
    for parent in (tmp_path, *tmp_path.parents):
        if parent.stat().st_uid == os.geteuid() and parent != Path("/"):
            parent.chmod(parent.stat().st_mode | 0o011)
    with as_nobody():
        async with Opened(state) as opened:
            await start(opened)
            await write(opened, 1)
            os.seteuid(0)
            state.chmod(0o000)
            os.seteuid(65534)
            await write(opened, 2)
            assert not opened.told("spool.file_vanished")
            assert await numbers(opened) == [1, 2]
            os.seteuid(0)
            state.chmod(0o777)
            os.seteuid(65534)
