"""Targets from a file, and what may be a target."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from collectors.probes import dns, tcp, tls
from collectors.probes.targets import MOST, Targets, is_host, shown
from collectors.probes.tcp import Tcp
from collectors.probes.tls import Tls
from tests.collectors.probes.test_http import certificates
from tests.collectors.probes.zoo import Certificates
from tests.logged import capture_logs

__all__ = ["certificates"]

Watching = Callable[[Path], Targets]


@pytest.fixture
def watching() -> Iterator[Watching]:
    """Targets of a file; their threads go at the end."""
    made: list[Targets] = []

    def watch(file: Path) -> Targets:
        made.append(Targets((), str(file), tcp.target_fault))
        return made[-1]

    yield watch
    for one in made:
        one.close()


async def test_lines_that_are_no_targets_are_told_once_a_reading(tmp_path: Path, watching: Watching) -> None:
    file = tmp_path / "targets"
    file.write_text("a:1\nb\n\n# c\nd e\n127.0.0.1:17012:3\n")
    targets = watching(file)
    with capture_logs() as logs:
        assert [*await targets.now(), *await targets.now()] == ["a:1", "a:1"]
    (entry,) = logs
    assert entry["event"] == "lines that are no targets are left out"
    assert (entry["lines"], entry["first"]) == (3, f"{file}:2")
    assert entry["fault"] == tcp.target_fault("b")


async def test_a_file_that_became_empty_is_told_once(tmp_path: Path, watching: Watching) -> None:
    file = tmp_path / "targets"
    file.write_text("a:1\n")
    targets = watching(file)
    assert list(await targets.now()) == ["a:1"]
    with capture_logs() as logs:
        for text in ("", "", "# none\n"):
            file.write_text(text)
            assert list(await targets.now()) == []
    assert [one["event"] for one in logs] == ["the file of targets holds no targets; those it had end"]


async def test_a_file_that_is_empty_from_the_start_is_told_so(tmp_path: Path, watching: Watching) -> None:
    file = tmp_path / "targets"
    file.write_text("\n")
    targets = watching(file)
    with capture_logs() as logs:
        assert [*await targets.now(), *await targets.now()] == []
    assert [one["event"] for one in logs] == ["the file of targets holds no targets"]


async def test_a_missing_file_keeps_what_is_known_and_says_so_only_then(tmp_path: Path, watching: Watching) -> None:
    file = tmp_path / "targets"
    targets = watching(file)
    with capture_logs() as logs:
        assert [*await targets.now(), *await targets.now()] == []
        file.write_text("a:1\n")
        assert list(await targets.now()) == ["a:1"]
        file.rename(tmp_path / "away")
        assert [*await targets.now(), *await targets.now()] == ["a:1", "a:1"]
        (tmp_path / "away").rename(file)
        assert list(await targets.now()) == ["a:1"]
        file.unlink()
        assert list(await targets.now()) == ["a:1"]
    assert [one["event"] for one in logs] == [
        "the file of targets cannot be read",
        "the file of targets cannot be read; those known stay",
        "the file of targets cannot be read; those known stay",
    ]


async def test_a_file_of_too_many_is_read_as_far_as_it_may_be(tmp_path: Path, watching: Watching) -> None:
    file = tmp_path / "targets"
    file.write_text("".join(f"a{number}:1\n" for number in range(MOST + 5)))
    with capture_logs() as logs:
        assert len(await watching(file).now()) == MOST
    assert (logs[0]["lines"], logs[0]["first"]) == (5, f"{file}:{MOST + 1}")


async def test_a_file_that_does_not_answer_keeps_what_is_known_and_holds_nobody_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Reading in a thread stands for a dead mount: it goes on only when the test lets it."""
    file, gate = tmp_path / "targets", threading.Event()
    file.write_text("a:1\n")
    slow = False

    def fault(text: str) -> str:
        return "" if not slow or gate.wait(20) else "late"

    targets = Targets((), str(file), fault)
    monkeypatch.setattr("collectors.probes.targets.PATIENCE", 0.05)
    assert list(await targets.now()) == ["a:1"]
    slow = True
    file.write_text("a:1\nb:1\n")
    with capture_logs() as logs:
        assert [*await targets.now(), *await targets.now()] == ["a:1", "a:1"]
    gate.set()
    slow = False
    while "b:1" not in await targets.now():
        await asyncio.sleep(0)
    targets.close()
    assert [(one["event"], one["error"]) for one in logs] == [
        ("the file of targets cannot be read; those known stay", "it does not answer in time")
    ]


NONE = ["127.0.0.1:17012:3", "[127.0.0.1:1]:3", "a:b:1", "[a]b:1", "a b:1", ":1", "[]:1", "http://a:1"]


@pytest.mark.parametrize("text", NONE)
def test_colons_are_those_of_an_ipv6_address_or_of_a_port(text: str) -> None:
    assert dns.target_fault(text)
    assert tcp.target_fault(text)
    assert tls.target_fault(text)


@pytest.mark.parametrize("text", ["smtp://127.0.0.1:17012:3", "smtp://[127.0.0.1:1]", "smtp://a:b:c"])
def test_so_it_is_after_a_protocol(text: str) -> None:
    assert tls.target_fault(text)


def test_addresses_are_read_whole() -> None:
    assert dns.parse_target("::1", 53) == ("::1", 53)
    assert dns.parse_target("fe80::1%eth0", 53) == ("fe80::1%eth0", 53)
    assert dns.parse_target("[::1]:54", 53) == ("::1", 54)
    assert dns.parse_target("ns.example.com:54", 53) == ("ns.example.com", 54)
    assert tls.parse_target("[::1]:443") == ("", "::1", 443)
    assert tls.parse_target("smtp://::1") == ("smtp", "::1", 25)
    assert tls.parse_target("smtp://[::1]") == ("smtp", "::1", 25)
    assert tls.parse_target("smtp://mx.example.com:587") == ("smtp", "mx.example.com", 587)


LEAKING = ("https://user:hidden@host:443", "user:hidden@host:443", "hidden@host:443", "x://h/?t=hidden", "x://h/hidden")


@pytest.mark.parametrize("prober", [Tls, Tcp])
@pytest.mark.parametrize("target", LEAKING)
def test_no_secret_is_in_the_fault_of_a_target(prober: Any, target: str) -> None:
    with pytest.raises(ValueError, match="no target") as caught:
        prober.Options(targets=(target,))
    assert "hidden" not in str(caught.value)


def test_what_is_no_target_is_shown_as_far_as_it_may_be() -> None:
    assert [shown(one) for one in ("host", "smtp://host", "https://a:b@host:443/x", "::x")] == [
        *("host", "smtp://host", "https://***@host:443/***", "::x")
    ]
    assert not is_host("user@host")


async def test_patterns_that_overlap_name_a_file_once(certificates: Certificates) -> None:
    folder = certificates.folder
    prober = Tls(Tls.Options(targets=(f"{folder}/auth*.pem", f"{folder}/authority.pem", f"{folder}/a*y.pem")))
    found = await prober.targets()
    await prober.close()
    assert found == [f"{folder}/authority.pem"]
