"""TCP probes: a port, a conversation, TLS."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from agent.fanout import FanOut
from collectors.probes.tcp import Step, Tcp
from tests.collectors.probes.test_http import book, certificates, reason
from tests.collectors.probes.zoo import Certificates, serving

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
