"""What is found in a damaged file, and what becomes of the file."""

from __future__ import annotations

import os
import shutil
import sqlite3
import time
from pathlib import Path

import pytest

from agent.spool import Spool
from agent.spool.carve import Carving
from agent.spool.offline import Offline
from agent.spool.records import PAGE
from agent.spool.salvage import KEEP, asides, open_store
from agent.spool.store import FILE, Store
from tests.agent.spool.test_spool import letter
from tests.spools import METRICS, Opened, batch, drain, same, series_set, settle

SET = series_set(300)


async def filled(place: Path, count: int = 60, *, killed: bool = True) -> Path:
    """A spool in which two exporters wait, one of them for the second half."""
    async with Opened(place / "made") as opened:
        await opened.spool.attach([("far", METRICS), ("near", METRICS)])
        for number in range(1, count + 1):
            await opened.spool.append([batch(SET, number)], [("tail", "position", b"%d" % number)])
        chunk = await opened.spool.fetch("near", METRICS, 300 * count // 2)
        await settle(opened.spool, "near", chunk)
        if killed:
            shutil.copytree(place / "made", place / "state")
    if not killed:
        shutil.copytree(place / "made", place / "state")
    return place / "state"


def write_at(path: Path, at: int, data: bytes) -> None:
    with path.open("r+b") as file:
        file.seek(at)
        file.write(data)


@pytest.mark.parametrize("killed", [True, False])
async def test_a_sound_file_is_carved_in_full(tmp_path, killed):
    state = await filled(tmp_path, killed=killed)
    with Carving(state / FILE) as carving:
        found = list(carving.batches())
        assert [row.seq for row, _ in found] == list(range(1, 61))
        assert carving.checkpoints() == [("tail", "position", b"60")]
        assert carving.state().account("near", METRICS).seq == 30
        assert carving.rejected() == []


@pytest.mark.parametrize("killed", [True, False])
async def test_a_file_without_its_header_loses_nothing(tmp_path, killed):
    state = await filled(tmp_path, killed=killed)
    write_at(state / FILE, 0, bytes(100))
    async with Opened(state) as opened:
        assert killed or opened.told("spool.salvaged"), "what was killed has its first page in the log too"
        assert opened.entry("near").delivered == 30 * 300
        found = await drain(opened.spool, "far")
        assert [one.time_ms for one in found] == list(range(1, 61))
        assert all(same(one, batch(SET, one.time_ms)) for one in found)
        assert [one.time_ms for one in await drain(opened.spool, "near")] == list(range(31, 61))
        assert await opened.spool.checkpoints("tail") == {"position": b"60"}


async def test_a_file_without_its_first_page_loses_nothing(tmp_path):
    state = await filled(tmp_path, killed=False)
    write_at(state / FILE, 0, bytes(PAGE))
    async with Opened(state) as opened:
        assert len(await drain(opened.spool, "far")) == 60


async def test_a_damaged_page_costs_the_rows_that_lie_in_it(tmp_path):
    state = await filled(tmp_path, killed=False)
    write_at(state / FILE, PAGE * 20, os.urandom(PAGE))
    async with Opened(state) as opened:
        found = await drain(opened.spool, "far")
        assert 56 <= len(found) < 60
        assert opened.entry("far").dropped == {"corrupt": (60 - len(found)) * 300}


async def test_a_log_damaged_at_its_start_costs_one_page_not_all_that_follows(tmp_path):
    """SQLite ignores every frame behind a damaged one, and forgets them when it closes the file."""
    state = await filled(tmp_path)
    log = state / f"{FILE}-wal"
    write_at(log, 32 + 24 + 100, os.urandom(64))
    async with Opened(state) as opened:
        assert opened.told("spool.salvaged")
        assert len(await drain(opened.spool, "far")) == 60
        assert not (state / f"{FILE}-log").exists()


async def test_the_account_survives_the_file(tmp_path):
    state = await filled(tmp_path)
    for file in state.glob(f"{FILE}*"):
        file.unlink()
    async with Opened(state) as opened:
        assert opened.entry("near").accepted == 60 * 300
        assert opened.entry("near").delivered == 30 * 300
        assert await drain(opened.spool, "near") == []
        assert opened.entry("near").dropped == {"corrupt": 30 * 300}


async def test_without_any_account_every_exporter_starts_at_the_oldest_batch(tmp_path):
    state = await filled(tmp_path, killed=False)
    (state / "spool.witness").unlink()
    with Carving(state / FILE) as carving:
        places = [at for _, _, at, _ in carving._cells(3)]
    for at in {*places}:
        write_at(state / FILE, at + 8, bytes(PAGE - 96))
    async with Opened(state) as opened:
        assert opened.told("spool.salvaged")[0].facts["orphaned"]
    async with Opened(state) as opened:  # also when the agent stopped in between
        await opened.spool.attach([("far", METRICS), ("near", METRICS)])
        for name in ("far", "near"):
            assert len(await drain(opened.spool, name)) == 60
            assert opened.entry(name).accepted == 60 * 300


async def test_deleted_rows_are_not_brought_back(tmp_path):
    async with Opened(tmp_path / "state") as opened:
        await opened.spool.attach([("one", METRICS)])
        for number in range(1, 30):
            await opened.spool.append([batch(SET, number)])
        await drain(opened.spool, "one")
        await opened.spool.append([batch(SET, 30)])
    write_at(tmp_path / "state" / FILE, 0, bytes(100))
    async with Opened(tmp_path / "state") as opened:
        assert [one.time_ms for one in await drain(opened.spool, "one")] == [30]
        assert opened.entry("one").delivered == 30 * 300


async def test_an_interrupted_salvage_is_done_again(tmp_path):
    state = await filled(tmp_path)
    write_at(state / FILE, 0, bytes(100))
    shutil.copytree(state, tmp_path / "again")
    place = tmp_path / "again"
    (place / "spool.db.new").write_bytes(os.urandom(50_000))
    (place / "spool.db.new-wal").write_bytes(os.urandom(50_000))
    shutil.copy(place / f"{FILE}-wal", place / f"{FILE}-log")
    (place / f"{FILE}-wal").write_bytes(b"")
    async with Opened(place) as opened:
        assert len(await drain(opened.spool, "far")) == 60


async def test_the_damaged_file_is_kept_and_the_oldest_go(tmp_path):
    state = await filled(tmp_path, 5, killed=False)
    clocks = None
    for _ in range(KEEP + 2):
        write_at(state / FILE, 0, bytes(100))
        async with Opened(state, clocks) as opened:
            clocks = opened.clocks
            clocks.advance(10)
            assert opened.told("spool.salvaged")
    assert len(asides(state)) == KEEP
    async with Opened(state) as opened:
        assert len(await drain(opened.spool, "far")) == 5


async def test_dead_letters_keep_their_number_and_time(tmp_path):
    async with Opened(tmp_path) as opened:
        await opened.spool.attach([("one", METRICS)])
        await opened.spool.append([batch(SET, 1)])
        chunk = await opened.spool.fetch("one", METRICS, 1)
        await settle(opened.spool, "one", chunk, delivered=0, rejected=(letter(1, 30), letter(2, 30)))
        before = await opened.spool.rejected()
        opened.clocks.advance(100)
    write_at(tmp_path / FILE, 0, bytes(100))
    async with Opened(tmp_path) as opened:
        assert await opened.spool.rejected() == before


async def test_a_row_that_sqlite_cannot_see_is_found_before_it_is_counted_as_lost(tmp_path):
    """Two exchanged roots: SQLite opens the file, and finds no batches in the table of batches."""
    state = await filled(tmp_path, killed=False)
    db = sqlite3.connect(state / FILE)
    roots = dict(db.execute("SELECT name, rootpage FROM sqlite_master WHERE type = 'table'").fetchall())
    db.close()
    data = (state / FILE).read_bytes()
    one, other = ((roots[name] - 1) * PAGE for name in ("batches", "rejected"))
    write_at(state / FILE, one, data[other : other + PAGE])
    write_at(state / FILE, other, data[one : one + PAGE])
    async with Opened(state) as opened:
        assert len(await drain(opened.spool, "far")) == 60


async def test_a_salvage_ends_in_time_whatever_the_bytes_say(tmp_path):
    place = tmp_path / "state"
    place.mkdir()
    page = bytearray(os.urandom(PAGE))
    page[:8] = b"\x0d\0\0\x07\xff\0\0\0"
    for at in range(8, PAGE, 2):
        page[at : at + 2] = (4000 - at % 3000).to_bytes(2)
    (place / FILE).write_bytes(bytes(page) * 30)
    started = time.monotonic()
    async with Opened(place) as opened:
        assert opened.told("spool.salvaged")
    assert time.monotonic() - started < 30


async def test_asking_to_stop_ends_the_carving(tmp_path):
    state = await filled(tmp_path)
    with Carving(state / FILE, more=lambda: False) as carving:
        assert list(carving.batches()) == []


async def test_a_sound_file_is_opened_as_it_is(tmp_path):
    state = await filled(tmp_path)
    store, salvaged = open_store(state)
    assert salvaged is None
    assert not (state / f"{FILE}-log").exists()
    store.close()


async def test_a_file_of_an_unknown_schema_is_set_aside(tmp_path):
    db = sqlite3.connect(tmp_path / FILE)
    db.execute("PRAGMA auto_vacuum=INCREMENTAL")
    db.execute("CREATE TABLE batches (other TEXT)")
    db.commit()
    db.close()
    spool = Spool(tmp_path)
    await spool.open()
    assert spool.trouble == ""
    await spool.close()
    assert len(asides(tmp_path)) == 1


def test_a_carving_closes_its_files(tmp_path):
    Store(tmp_path).close()
    before = len(os.listdir("/dev/fd"))
    with Carving(tmp_path / FILE) as carving:
        carving.state()
    assert len(os.listdir("/dev/fd")) == before


LOOKS = {
    "list": lambda spool: spool.list_batches(1000),
    "show": lambda spool: spool.show(3),
    "rejected": lambda spool: spool.rejected(),
    "forget": lambda spool: spool.forget_rejected([1]),
    "verify": lambda spool: spool.verify(),
    "purge": lambda spool: spool.purge(before_ms=1),
    "checkpoints": lambda spool: spool.checkpoints("tail"),
    "stat": lambda spool: spool.stat(),
    "fetch": lambda spool: spool.fetch("far", METRICS, 10),
    "append": lambda spool: spool.append([batch(SET, 99)]),
    "detach": lambda spool: spool.detach("near"),
}


@pytest.mark.parametrize("look", LOOKS)
async def test_nothing_raises_on_a_file_damaged_while_running(tmp_path, look):
    async with Opened(tmp_path) as opened:
        await opened.spool.attach([("far", METRICS), ("near", METRICS)])
        large = series_set(2500)
        for number in range(60):
            await opened.spool.append([batch(large, number)], [("tail", "position", b"1")])
        size = (tmp_path / FILE).stat().st_size
        for at in range(0, size, PAGE):
            write_at(tmp_path / FILE, at, os.urandom(200))
        await LOOKS[look](opened.spool)
        assert opened.spool.trouble == ""
        opened.clocks.advance(4000)
        await opened.spool.append([batch(SET, 100)])
        assert (await drain(opened.spool, "far"))[-1].time_ms == 100
        assert all(entry.balanced for entry in opened.spool.entries())


async def test_a_damaged_log_that_somebody_looked_at_is_still_salvaged_in_full(tmp_path):
    """The command line opens it before the agent does; SQLite would forget what is behind the damage."""
    state = await filled(tmp_path)
    write_at(state / f"{FILE}-wal", 32 + 24 + 100, os.urandom(64))
    with Offline(state) as looked:
        assert looked.fault
        assert looked.stat().batches == 60
    async with Opened(state) as opened:
        assert len(await drain(opened.spool, "far")) == 60
