"""Disks that are full, read-only, failing, gone, or hold something else: the spool starts, goes on and comes back."""

from __future__ import annotations

import contextlib
import os
import resource
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from agent import spool as spools
from agent.spool import AlreadyRunning, RejectedBatch, Spool
from agent.spool.house import free_space
from agent.spool.records import PAGE
from tests.spools import METRICS, Opened, balanced, batch, drain, series_set, settle

SET = series_set(200)
RETRY = 11.0


async def write(opened: Opened, *numbers: int) -> None:
    for number in numbers:
        await opened.spool.append([batch(SET, number)])


async def start(opened: Opened, *exporters: str) -> None:
    await opened.spool.attach([(name, METRICS) for name in exporters or ("one",)])


async def numbers(opened: Opened, exporter: str = "one") -> list[int]:
    found = await drain(opened.spool, exporter)
    assert balanced(opened.spool.entries())
    return [one.time_ms for one in found]


async def comes_back(opened: Opened, *, number: int = 99) -> None:
    """After the retry time the disk is written again without help."""
    opened.clocks.advance(RETRY)
    await write(opened, number)
    assert opened.spool.trouble == ""
    assert balanced(opened.spool.entries())


@pytest.fixture
def small_disk(tmp_path) -> Iterator[Path]:
    """A file system of 4 MiB."""
    place = tmp_path / "disk"
    place.mkdir()
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(place)], capture_output=True, check=False
    )
    if done.returncode:
        pytest.skip("needs the right to mount a file system")
    yield place
    subprocess.run(["umount", "-l", str(place)], check=True)


def fill(place: Path, leave: int = 0) -> Path:
    ballast = place / "ballast"
    with contextlib.suppress(OSError), ballast.open("wb") as file:
        while True:
            file.write(b"\0" * 4096)
            file.flush()
    if leave:
        os.truncate(ballast, ballast.stat().st_size - leave)
    return ballast


# -- full ---------------------------------------------------------------------------------------------------------


async def test_a_full_disk_is_told_once_and_nothing_is_lost(small_disk):
    async with Opened(small_disk / "state") as opened:
        await start(opened)
        await write(opened, *range(1, 6))
        ballast = fill(small_disk)
        await write(opened, *range(6, 100))
        assert opened.spool.trouble
        assert len(opened.told("spool.disk_trouble")) == 1
        ballast.unlink()
        await comes_back(opened)
        assert len(opened.told("spool.disk_back")) == 1
        assert await numbers(opened) == [*range(1, 100), 99]


async def test_what_is_on_a_full_disk_is_delivered_meanwhile(small_disk):
    async with Opened(small_disk / "state") as opened:
        await start(opened)
        await write(opened, *range(1, 6))
        fill(small_disk)
        await write(opened, *range(6, 100))
        opened.clocks.advance(RETRY)
        await write(opened, 100)
        assert opened.spool.trouble
        assert await numbers(opened) == list(range(1, 101))


async def test_verdicts_and_checkpoints_given_while_the_disk_is_full_are_kept(small_disk):
    async with Opened(small_disk / "state") as opened:
        await start(opened)
        ballast = fill(small_disk)
        for number in range(1, 60):
            await opened.spool.append([batch(SET, number)], [("tail", "position", b"%d" % number)])
        assert opened.spool.trouble
        assert await opened.spool.checkpoints("tail") == {"position": b"59"}
        await numbers(opened)
        ballast.unlink()
        await comes_back(opened)
    async with Opened(small_disk / "state") as again:
        assert await again.spool.checkpoints("tail") == {"position": b"59"}
        assert again.entry("one").delivered == 59 * 200
        assert await numbers(again) == [99]


async def test_a_disk_that_is_full_at_start_is_waited_for(small_disk):
    ballast = fill(small_disk)
    async with Opened(small_disk / "state") as opened:
        assert opened.spool.trouble
        await start(opened)
        await write(opened, 1, 2)
        assert await numbers(opened) == [1, 2]
        ballast.unlink()
        await comes_back(opened)
        assert await numbers(opened) == [99]
        assert opened.entry("one").accepted == 600


async def test_a_salvage_for_which_there_is_no_room_is_done_when_there_is(small_disk):
    state = small_disk / "state"
    async with Opened(state) as opened:
        opened.free = free_space
        await start(opened)
        await write(opened, *range(1, 100))
    with (state / "spool.db").open("r+b") as file:
        file.write(b"damaged header")
    ballast = fill(small_disk, leave=100_000)
    async with Opened(state) as opened:
        assert opened.spool.trouble
        await start(opened)
        await write(opened, 100)
        assert not list(state.glob("*corrupt*"))
        ballast.unlink()
        await comes_back(opened, number=101)
        assert opened.told("spool.salvaged")
        assert await numbers(opened) == list(range(1, 102))


async def test_memory_is_bounded_while_the_disk_is_full_and_the_oldest_of_it_is_counted(small_disk):
    async with Opened(small_disk / "state", max_size=4 << 20) as opened:
        await start(opened, "one", "two")
        await write(opened, 1, 2, 3)
        ballast = fill(small_disk)
        await write(opened, *range(4, 1200))
        assert opened.spool.trouble
        got = await numbers(opened)
        assert got[:3] == [1, 2, 3], "what lies on the disk is not given up for what does not fit into memory"
        assert got[-1] == 1199
        assert len(got) < 1190
        lost = (1199 - len(got)) * 200
        assert opened.entry("one").dropped == {"memory": lost}
        assert opened.entry("two").pending == 1199 * 200 - lost
        assert opened.entry("two").dropped == {"memory": lost}
        ballast.unlink()
        opened.clocks.advance(RETRY)
        await write(opened, 2000)
        later = await numbers(opened, "two")
        assert later[:3] == [1, 2, 3]
        assert later[-1] == 2000
        assert opened.entry("two").dropped == {"memory": (1200 - len(later)) * 200}


# -- read-only ----------------------------------------------------------------------------------------------------


def remount(place: Path, mode: str) -> None:
    subprocess.run(["mount", "-o", f"remount,{mode}", str(place)], check=True, capture_output=True)


async def test_a_disk_that_is_read_only_at_start_is_waited_for(small_disk):
    state = small_disk / "state"
    async with Opened(state) as opened:
        await start(opened)
        await write(opened, 1, 2, 3)
    remount(small_disk, "ro")
    async with Opened(state) as opened:
        assert opened.spool.trouble
        await start(opened)
        await write(opened, 4, 5)
        assert opened.entry("one").accepted == 400
        remount(small_disk, "rw")
        await comes_back(opened, number=6)
        assert opened.entry("one").accepted == 1200
        assert await numbers(opened) == [1, 2, 3, 4, 5, 6]


async def test_what_was_delivered_before_the_disk_came_is_not_delivered_again(small_disk):
    state = small_disk / "state"
    async with Opened(state) as opened:
        await start(opened, "one", "two")
        await write(opened, 1)
        await numbers(opened)
        await numbers(opened, "two")
    remount(small_disk, "ro")
    async with Opened(state) as opened:
        await start(opened, "one", "two", "new")
        await write(opened, 2, 3, 4)
        assert await numbers(opened) == [2, 3, 4]
        under_way = await opened.spool.fetch("two", METRICS, 1)
        assert under_way is not None
        remount(small_disk, "rw")
        await comes_back(opened, number=5)
        await settle(opened.spool, "two", under_way)
        assert await numbers(opened) == [5]
        assert await numbers(opened, "two") == [3, 4, 5]
        assert await numbers(opened, "new") == [2, 3, 4, 5]
        assert opened.entry("one").accepted == 5 * 200
        assert opened.entry("new").accepted == 4 * 200


async def test_an_exporter_dropped_before_the_disk_came_is_forgotten(small_disk):
    state = small_disk / "state"
    async with Opened(state) as opened:
        await start(opened, "one", "old")
        await write(opened, 1)
    remount(small_disk, "ro")
    async with Opened(state) as opened:
        await start(opened, "one")
        await opened.spool.detach("old")
        remount(small_disk, "rw")
        await comes_back(opened, number=2)
        assert [entry.exporter for entry in opened.spool.entries()] == ["one"]


# -- failing ------------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def files_limited_to(size: int) -> Iterator[None]:
    """Writes beyond `size` fail as on a failing disk: an error that is neither "full" nor "read-only"."""
    old = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, old)


async def test_a_disk_that_fails_to_write_is_tried_again(tmp_path):
    async with Opened(tmp_path) as opened:
        await start(opened)
        await write(opened, *range(1, 50))
        with files_limited_to(4096):
            await write(opened, *range(50, 60))
            assert opened.spool.trouble
            opened.clocks.advance(RETRY)
            await write(opened, 60)
            assert opened.spool.trouble
            assert await numbers(opened) == list(range(1, 61))
        await comes_back(opened)
        assert await numbers(opened) == [99]


def cut_off(directory: Path) -> None:
    """Make every read and write of the open files fail, as when a disk was unplugged and came back."""
    for number in os.listdir("/proc/self/fd"):
        with contextlib.suppress(OSError):
            if os.readlink(f"/proc/self/fd/{number}") in (f"{directory}/spool.db", f"{directory}/spool.db-wal"):
                nothing = os.open("/proc/self/mem", os.O_RDWR)
                os.dup2(nothing, int(number))
                os.close(nothing)


@pytest.mark.skipif(not Path("/proc/self/mem").exists(), reason="needs Linux' /proc")
async def test_a_disk_that_was_unplugged_and_came_back_is_opened_anew(tmp_path):
    async with Opened(tmp_path) as opened:
        await start(opened)
        await write(opened, *range(1, 50))
        cut_off(tmp_path)
        await write(opened, 50)
        assert opened.spool.trouble
        opened.clocks.advance(RETRY)
        await write(opened, 51)
        assert opened.spool.trouble == ""
        assert await numbers(opened) == list(range(1, 52))


# -- gone ---------------------------------------------------------------------------------------------------------


async def test_a_directory_removed_while_running_is_made_again_with_all_that_was_in_it(tmp_path):
    state = tmp_path / "state"
    async with Opened(state) as opened:
        await start(opened)
        await write(opened, *range(1, 20))
        shutil.rmtree(state)
        await write(opened, 20)
        assert opened.told("spool.file_vanished")
    async with Opened(state) as again:
        assert await numbers(again) == list(range(1, 21))


@pytest.mark.parametrize("name", ["spool.db", "spool.db-wal", "spool.db-shm", "spool.witness", "spool.lock"])
async def test_a_file_removed_while_running_costs_nothing(tmp_path, name):
    async with Opened(tmp_path) as opened:
        await start(opened)
        await write(opened, *range(1, 20))
        (tmp_path / name).unlink()
        await write(opened, *range(20, 30))
        shutil.copytree(tmp_path, tmp_path / "killed")
    async with Opened(tmp_path / "killed") as again:
        assert await numbers(again) == list(range(1, 30))
        assert not again.told("spool.salvaged")


async def test_the_log_of_the_new_file_outlives_the_closing_of_the_old_one(tmp_path):
    """Closing the old connection removes the log by its name, which the new file has by then."""
    async with Opened(tmp_path) as opened:
        await start(opened)
        await write(opened, 1)
        (tmp_path / "spool.db").unlink()
        await write(opened, 2, 3)
        assert (tmp_path / "spool.db-wal").stat().st_size > 0


async def test_rejected_data_and_checkpoints_move_with_a_file_that_lost_its_name(tmp_path):
    async with Opened(tmp_path) as opened:
        await start(opened)
        await opened.spool.append([batch(SET, 1)], [("tail", "position", b"7")])
        chunk = await opened.spool.fetch("one", METRICS, 1)
        stored = spools.encode(batch(SET, 1))
        letter = RejectedBatch("one", METRICS, 1, 200, "bad", "no", stored.series, stored.payload)
        await settle(opened.spool, "one", chunk, delivered=0, rejected=(letter,))
        (tmp_path / "spool.db").unlink()
        await write(opened, 2)
        assert len(await opened.spool.rejected()) == 1
        assert await opened.spool.checkpoints("tail") == {"position": b"7"}


async def test_a_directory_that_cannot_be_made_again_is_tried_again(tmp_path):
    state = tmp_path / "state"
    async with Opened(state) as opened:
        await start(opened)
        await write(opened, 1)
        shutil.rmtree(state)
        state.write_text("in the way")
        await write(opened, 2)
        assert opened.spool.trouble
        assert await numbers(opened) == [1, 2]
        state.unlink()
        await comes_back(opened, number=3)
        assert await numbers(opened) == [3]


# -- something else stands there ----------------------------------------------------------------------------------


def directory(path: Path) -> None:
    path.mkdir()
    (path / "content").write_text("x")


def pipe(path: Path) -> None:
    os.mkfifo(path)


def empty(path: Path) -> None:
    path.touch()


def garbage(path: Path) -> None:
    path.write_bytes(os.urandom(100_000))


def a_socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as one:
        one.bind(str(path))


NAMES = ["spool.db", "spool.db-wal", "spool.db-shm", "spool.db-log", "spool.db.new", "spool.witness", "spool.lock"]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("make", [directory, pipe, empty, garbage, a_socket])
async def test_the_spool_opens_whatever_stands_in_the_place_of_its_files(tmp_path, monkeypatch, name, make):
    monkeypatch.chdir(tmp_path)  # a socket's path is short
    async with Opened(tmp_path) as opened:
        await start(opened)
        await write(opened, 1, 2)
    path = tmp_path / name
    with contextlib.suppress(FileNotFoundError):
        path.unlink()
    make(Path(name))
    async with Opened(tmp_path) as opened:
        await start(opened)
        assert opened.spool.trouble == ""
        await write(opened, 3)
        assert (await numbers(opened))[-1] == 3
        assert opened.entry("one").accepted == 600
        lost = opened.entry("one").dropped.get("corrupt", 0)
        assert lost == (400 if name == "spool.db" else 0)


@pytest.mark.parametrize("make", [directory, pipe, garbage, a_socket])
@pytest.mark.parametrize("name", ["spool.db", "spool.db-wal", "spool.lock"])
async def test_what_takes_the_place_of_a_file_while_running_is_put_aside(tmp_path, monkeypatch, name, make):
    monkeypatch.chdir(tmp_path)
    async with Opened(tmp_path) as opened:
        await start(opened)
        await write(opened, 1, 2)
        (tmp_path / name).unlink()
        make(Path(name))
        await write(opened, 3)
        assert opened.spool.trouble == ""
        assert await numbers(opened) == [1, 2, 3]


async def test_a_spool_file_put_in_place_of_ours_while_running_does_not_mix_with_it(tmp_path):
    async with Opened(tmp_path / "other") as other:
        await start(other)
        await write(other, *range(500, 520))
    async with Opened(tmp_path / "state") as opened:
        await start(opened)
        await write(opened, 1, 2)
        os.replace(tmp_path / "other/spool.db", tmp_path / "state/spool.db")
        await write(opened, 3)
        assert await numbers(opened) == [1, 2, 3]


@pytest.mark.parametrize("size", [0, 1, 50, 100, 4096, PAGE - 1, PAGE, 9000, 20_000])
async def test_a_file_cut_short_costs_what_was_cut_off(tmp_path, size):
    async with Opened(tmp_path) as opened:
        await start(opened)
        await write(opened, *range(1, 30))
    os.truncate(tmp_path / "spool.db", size)
    async with Opened(tmp_path) as opened:
        await write(opened, 30)
        got = await numbers(opened)
        assert got[-1] == 30
        assert opened.entry("one").dropped == {"corrupt": (30 - len(got)) * 200}


@pytest.mark.parametrize("name", ["spool.db", "spool.db-wal"])
async def test_a_file_cut_short_while_running_is_salvaged_when_it_is_noticed(tmp_path, name):
    async with Opened(tmp_path) as opened:
        await start(opened)
        await write(opened, *range(1, 30))
        os.truncate(tmp_path / name, 5000)
        for number in range(30, 60):
            opened.clocks.advance(RETRY)
            await write(opened, number)
        assert opened.spool.trouble == ""
        got = await numbers(opened)
        assert got[-1] == 59
        assert opened.entry("one").accepted == 59 * 200


# -- permission and other processes -------------------------------------------------------------------------------


@contextlib.contextmanager
def as_nobody() -> Iterator[None]:
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


async def test_a_directory_without_permission_is_waited_for(tmp_path):
    state = tmp_path / "state"
    state.mkdir(mode=0o500)
    for parent in (tmp_path, *tmp_path.parents):
        if parent.stat().st_uid == os.geteuid() and parent != Path("/"):
            parent.chmod(parent.stat().st_mode | 0o011)
    with as_nobody():
        async with Opened(state) as opened:
            assert opened.spool.trouble
            await start(opened)
            await write(opened, 1, 2)
            assert await numbers(opened) == [1, 2]
    state.chmod(0o777)
    with as_nobody():
        async with Opened(state) as opened:
            assert opened.spool.trouble == ""


HOLD = """
import sys
from pathlib import Path
from agent.spool.lock import Lock
lock = Lock(Path(sys.argv[1]))
print("held", flush=True)
sys.stdin.read()
"""


async def test_a_second_process_is_told_who_holds_the_directory(tmp_path):
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as holder:
        assert holder.stdout is not None
        holder.stdout.readline()
        spool = Spool(tmp_path)
        with pytest.raises(AlreadyRunning, match=f"in use by process {holder.pid}.*state_dir"):
            await spool.open()
        holder.communicate()
    async with Opened(tmp_path) as opened:
        assert opened.spool.trouble == ""
