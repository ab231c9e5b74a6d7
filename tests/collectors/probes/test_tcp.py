"""TCP probes: a port, a conversation, TLS."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest

from agent.fanout import FanOut
from collectors.probes.tcp import Step, Tcp
from tests.collectors.probes.test_http import book, certificates, reason
from tests.collectors.probes.zoo import Certificates, Talk, serving

__all__ = ["certificates"]


async def probed(target: str, timeout: float = 3.0, **options: Any) -> dict[str, Any]:
    """One round of one target, as the agent makes it."""
    prober = Tcp(Tcp.Options(targets=(target,), family="ip4", **options))
    try:
        return book(list(await FanOut(prober, timeout).collect()))
    finally:
        await prober.close()


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"hello\r\n")
    while line := await reader.readline():
        writer.write(b"you said " + line)


async def endless(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while True:
        writer.write(bytes(65_536))
        await writer.drain()


async def test_a_port_that_takes_connections_is_up() -> None:
    async with serving(echo) as port:
        found = await probed(f"127.0.0.1:{port}")
    assert (found["probe_success"], found["probe_ip_protocol"]) == (1.0, 4.0)
    assert found["probe_tcp_connect_seconds"] > 0
    assert reason(await probed("127.0.0.1:1")) == "refused"


@pytest.mark.parametrize(
    ("steps", "expected"),
    [
        ((Step(expect="^hello"), Step(send="x\r\n", expect="you said x")), ""),
        ((Step(send="x\r\n", expect="said x"), Step(send="y\r\n", expect="said y")), ""),
        ((Step(expect="goodbye"),), "timeout"),
    ],
)
async def test_a_conversation_goes_as_expected_or_not(steps: tuple[Step, ...], expected: str) -> None:
    async with serving(echo) as port:
        found = await probed(f"127.0.0.1:{port}", 0.5, steps=steps)
    assert reason(found) == expected


async def test_an_endless_answer_ends() -> None:
    async with serving(endless) as port:
        found = await probed(f"127.0.0.1:{port}", steps=(Step(expect="never"),))
    assert (reason(found), found["probe_failed_due_to_regex"]) == ("body", 1.0)


def telling(*pieces: bytes) -> Talk:
    """Says these without being asked."""

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for piece in pieces:
            writer.write(piece)
            await writer.drain()
            await asyncio.sleep(0)
        await reader.read()

    return talk


@pytest.mark.parametrize(
    ("pieces", "expected", "ends"),
    [
        ((b"220 hi\r\n250 ready\r\n",), ("^220", "^250"), ""),
        ((b"220 h", b"i\r\n250 re", b"ady\r\n"), ("^220", "^250 ready"), ""),
        ((b"one two\n", b"three"), ("one", "three"), ""),
        ((b"onetwo",), ("one", "^two"), ""),
        ((b"220 mail 2.0\r\n",), ("220", "2"), "timeout"),  # what is left of a line is none of the next step's
        ((b"220\r\n",), ("", "220"), ""),
    ],
)
async def test_a_step_goes_on_behind_what_the_last_one_found(
    pieces: tuple[bytes, ...], expected: tuple[str, ...], ends: str
) -> None:
    async with serving(telling(*pieces)) as port:
        steps = tuple(Step(expect=one) for one in expected)
        found = await probed(f"127.0.0.1:{port}", 0.5 if ends else 3.0, steps=steps)
    assert reason(found) == ends


async def test_drops_cost_no_search_each() -> None:
    """60 KB in 6,000 pieces: with a search from the start for each it takes seconds."""

    async def drip(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for _ in range(6_000):
            writer.write(b"0123456789")
            await asyncio.sleep(0)
        writer.write(b"end")
        await reader.read()

    async with serving(drip) as port:
        started = time.process_time()
        found = await probed(f"127.0.0.1:{port}", 10.0, steps=(Step(expect="([a-z0-9]+x)|9end"),))
    assert reason(found) == ""
    assert time.process_time() - started < 3.0


async def test_tls_is_spoken_and_judged(certificates: Certificates) -> None:
    async with serving(echo, certificates.leaf("good")) as port:
        options = {"tls": True, "steps": (Step(expect="hello"),)}
        good = await probed(f"localhost:{port}", ca_file=str(certificates.authority), **options)
        bad = await probed(f"localhost:{port}", **options)
    assert (reason(good), reason(bad)) == ("", "certificate")
    assert good["probe_ssl_earliest_cert_expiry"] == bad["probe_ssl_earliest_cert_expiry"] > 0


@pytest.mark.parametrize(
    ("options", "fault"),
    [
        ({}, "is needed"),
        ({"targets": ("x",)}, "no target"),
        ({"targets": ("smtp://x",)}, "no target"),
        ({"targets": ("x:1",), "steps": (Step(expect="("),)}, "no regular expression"),
    ],
)
def test_options_that_make_no_sense_are_refused(options: dict[str, Any], fault: str) -> None:
    with pytest.raises(ValueError, match=fault):
        Tcp.Options(**options)
