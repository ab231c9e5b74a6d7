"""What systemd is told, datagram by datagram."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from agent.notify import Notifier


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as bound:
        bound.bind(str(tmp_path / "notify"))
        bound.settimeout(5)
        yield bound


@pytest.fixture
def notifier(manager: socket.socket) -> Iterator[Notifier]:
    one = Notifier(manager.getsockname())
    yield one
    one.close()


def test_ready_comes_with_a_status(manager: socket.socket, notifier: Notifier) -> None:
    notifier.ready("all is well")
    assert manager.recv(4096) == b"READY=1\nSTATUS=all is well"


def test_reloading_tells_the_monotonic_time_in_the_same_message(manager: socket.socket, notifier: Notifier) -> None:
    notifier.reloading()
    message = dict(line.split("=", 1) for line in manager.recv(4096).decode().splitlines())
    assert message["RELOADING"] == "1"
    assert 0 <= time.clock_gettime(time.CLOCK_MONOTONIC) - int(message["MONOTONIC_USEC"]) / 1e6 < 5


def test_stopping_and_more_time_are_asked_for_in_microseconds(manager: socket.socket, notifier: Notifier) -> None:
    notifier.stopping("bye")
    notifier.extend(2.5)
    assert manager.recv(4096) == b"STOPPING=1\nSTATUS=bye"
    assert manager.recv(4096) == b"EXTEND_TIMEOUT_USEC=2500000"


async def test_a_long_start_asks_for_more_time_until_it_is_done(
    manager: socket.socket, notifier: Notifier, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("agent.notify.PATIENCE", 0.1)
    await notifier.patiently(asyncio.sleep(0.12), "salvaging")
    assert [manager.recv(4096) for _ in range(4)] == [b"EXTEND_TIMEOUT_USEC=100000", b"STATUS=salvaging"] * 2
    await notifier.patiently(asyncio.sleep(0), "at once")
    notifier.watchdog()
    assert manager.recv(4096) == b"WATCHDOG=1"


async def test_a_start_that_fails_fails(notifier: Notifier) -> None:
    async def refuse() -> None:
        raise OSError("no")

    with pytest.raises(OSError, match="no"):
        await notifier.patiently(refuse(), "trying")


def test_the_watchdog_is_one_word(manager: socket.socket, notifier: Notifier) -> None:
    notifier.watchdog()
    assert manager.recv(4096) == b"WATCHDOG=1"


def test_the_words_of_others_cannot_smuggle_in_a_message(manager: socket.socket, notifier: Notifier) -> None:
    notifier.status("refused:\nWATCHDOG=1\r\nMAINPID=1 \udcff")
    assert manager.recv(4096) == b"STATUS=refused: WATCHDOG=1  MAINPID=1  "


def test_an_abstract_address_begins_with_an_at_sign() -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as bound:
        bound.bind("\0nightjar-test-notify")
        bound.settimeout(5)
        notifier = Notifier("@nightjar-test-notify")
        notifier.watchdog()
        assert bound.recv(64) == b"WATCHDOG=1"
        notifier.close()


def test_without_an_address_nothing_happens() -> None:
    notifier = Notifier(None)
    notifier.ready("nobody listens")
    notifier.close()


def test_a_manager_that_is_gone_or_does_not_read_stops_nothing(manager: socket.socket, notifier: Notifier) -> None:
    for _ in range(5_000):
        notifier.watchdog()
    manager.close()
    notifier.ready("nobody listens")
    notifier.close()
    notifier.close()
