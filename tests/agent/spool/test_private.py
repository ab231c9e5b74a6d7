"""Who may read the spool's files."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from agent.spool.salvage import asides
from tests.spools import METRICS, Opened, batch, series_set

SET = series_set(30)


@pytest.fixture(autouse=True)
def open_umask() -> Iterator[None]:
    old = os.umask(0)
    yield
    os.umask(old)


def modes(place: Path) -> dict[str, str]:
    return {file.name: oct(file.stat().st_mode & 0o777) for file in place.iterdir()}


async def test_every_file_is_ours_alone_whatever_the_umask(tmp_path):
    state = tmp_path / "state"
    state.mkdir(mode=0o755)
    async with Opened(state) as opened:
        await opened.spool.attach([("one", METRICS)])
        await opened.spool.append([batch(SET, 1)])
        found = modes(state)
        assert {"spool.db", "spool.db-wal", "spool.db-shm", "spool.witness"} <= set(found)
        assert set(found.values()) == {"0o600"}
        shutil.copytree(state, tmp_path / "killed")
    assert state.stat().st_mode & 0o777 == 0o755, "a directory that others made is theirs"
    with (tmp_path / "killed/spool.db-wal").open("r+b") as file:
        file.write(b"damaged header")
    async with Opened(tmp_path / "killed") as again:
        assert again.told("spool.salvaged")
        assert asides(tmp_path / "killed")
        assert set(modes(tmp_path / "killed").values()) == {"0o600"}


async def test_a_file_that_moves_stays_ours_alone(tmp_path):
    async with Opened(tmp_path) as opened:
        await opened.spool.attach([("one", METRICS)])
        (tmp_path / "spool.db").unlink()
        await opened.spool.append([batch(SET, 1)])
        assert opened.told("spool.file_vanished")
        assert set(modes(tmp_path).values()) == {"0o600"}


async def test_files_that_others_may_read_are_closed_to_them(tmp_path):
    async with Opened(tmp_path):
        pass
    (tmp_path / "spool.db").chmod(0o644)
    async with Opened(tmp_path):
        assert set(modes(tmp_path).values()) == {"0o600"}
