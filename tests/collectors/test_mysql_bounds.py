"""The MySQL collector before servers with long answers, and links that end."""

from __future__ import annotations

import asyncio
import socket
import ssl
import subprocess
import tracemalloc
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

import pytest

from agent.fanout import FanOut
from agent.model import Sample, gauge
from collectors.mysql import Mysql, Options
from collectors.mysql.session import BREATH, MOST_CELLS, read_answer
from collectors.mysql.wire import MOST, Wire
from collectors.portions import keep
from tests.collectors.test_mysql_faults import (
    END,
    OK,
    PLAIN,
    SSL,
    Peer,
    collector,
    column,
    endless_bytes,
    endless_packet,
    endless_rows,
    fake,
    greeting,
    trouble,
)


def make_pair(folder: Path) -> tuple[str, ssl.SSLContext]:
    """A certificate for `localhost` that is its own authority, and what a server uses it with."""
    certificate, key = str(folder / "server.pem"), str(folder / "server.key")
    how = ("-nodes", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-days", "3", "-subj", "/CN=localhost")
    name = ("-addext", "subjectAltName=DNS:localhost")
    command = ["openssl", "req", "-x509", *how, *name, "-keyout", key, "-out", certificate]
    subprocess.run(command, check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    return certificate, context


async def turns_during(doing: Coroutine[Any, Any, object]) -> int:
    """How often others have their turn while something is done that waits for nothing."""
    turns, task = 0, asyncio.get_running_loop().create_task(doing)
    while not task.done():
        await asyncio.sleep(0)
        turns += 1
    await task
    return turns


async def test_a_long_answer_leaves_turns_for_others() -> None:
    rows = [row(*[b"1"] * 50)] * 990
    wire = Wire()
    wire.sequence = 1
    for at, payload in enumerate((b"\x32", *[column("c")] * 50, END, *rows, END), 1):
        wire.data_received(len(payload).to_bytes(3, "little") + bytes((at & 0xFF,)) + payload)
    assert await turns_during(read_answer(wire)) > 990 * 50 / BREATH / 2
    samples = [Sample(gauge("a", ""), (), 1.0)] * 10_000
    assert await turns_during(keep(samples, [], 10_000)) > 10
    with pytest.raises(ValueError, match="more than"):
        await keep(samples, [], 9_999)


def row(*texts: bytes) -> bytes:
    def counted(text: bytes) -> bytes:
        return (bytes((len(text),)) if len(text) < 251 else b"\xfd" + len(text).to_bytes(3, "little")) + text

    return b"".join(map(counted, texts))


@pytest.mark.parametrize(
    ("question", "columns", "rows"),
    [
        (b"SLAVE", [f"c{at}" for at in range(250)], [row(*[b"1"] * 250)] * 4000),
        (b"SLAVE", ["Gtid_IO_Pos"], [row(b",".join(b"%d-1-1" % at for at in range(380_000)))]),
        (b"SLAVE", ["Gtid_IO_Pos"], [row(b"1-1-1," * 2000)] * 300),
        (b"GLOBAL STATUS", ["a", "b"], [row(b"n%d" % at, b"1") for at in range(40_000)]),
        (b"GLOBAL STATUS", ["a", "b"], [row(b"Com_" + b"x" * 3_900_000, b"1")]),
        (b"GLOBAL STATUS", ["a", "b"], [row(b"x", b"1" * 3_000_000)]),
    ],
)
async def test_no_answer_stops_everybody_else_or_makes_long_labels(
    question: bytes, columns: list[str], rows: list[bytes]
) -> None:
    async def handler(peer: Peer) -> None:
        await peer.welcome()
        while asked := await peer.answer():
            if question in asked:
                count = bytes((len(columns),))
                peer.say(1, count, *map(column, columns), END, *rows, END)
            else:
                peer.say(1, OK)
            await peer.writer.drain()

    found: list[Sample] = []
    async with fake(handler) as (port, _came, _heard):
        ours = collector(port)
        tracemalloc.start()
        found += await ours.probe("")
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        await ours.close()
    assert peak < 60 << 20
    assert max(len(label) for one in found for label in one.labels) <= 1024


async def test_hanging_up_after_tls_is_no_fault_of_tls(tmp_path: Path) -> None:
    authority, context = make_pair(tmp_path)

    def serve(listener: socket.socket) -> bytes:
        link, _ = listener.accept()
        link.settimeout(10)
        first = greeting(PLAIN | SSL)
        link.sendall(len(first).to_bytes(3, "little") + b"\0" + first)
        link.recv(36, socket.MSG_WAITALL)  # and not a byte of the handshake that follows
        with context.wrap_socket(link, server_side=True) as secured:
            return secured.recv(4096)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        served = asyncio.get_running_loop().run_in_executor(None, serve, listener)
        url = f"mysql://me@127.0.0.1:{listener.getsockname()[1]}"
        ours = Mysql(Options(url=url, server_name="localhost", ca_file=authority))
        assert trouble(await ours.probe("")) == "reset"
        assert b"me\0" in await served
        await ours.close()


async def test_a_server_that_never_stops_costs_no_memory() -> None:
    import pymysql  # type: ignore[import-untyped]  # its import is not what is measured

    assert pymysql
    for handler in (endless_bytes, endless_rows, endless_packet):
        async with fake(handler) as (port, _came, _heard):
            rounds = FanOut(collector(port), 5)
            tracemalloc.start()
            await rounds.collect()
            _, peak = tracemalloc.get_traced_memory()
            tracemalloc.stop()
            await rounds.close()
            assert peak < 4 * MOST + 500 * MOST_CELLS
