"""The MySQL collector and servers that hang, lie, ask for too much and never stop."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager

import pytest

from agent.fanout import FanOut
from agent.model import Sample
from collectors.mysql import Mysql, Options
from collectors.mysql.errors import TROUBLES
from collectors.mysql.wire import MOST
from config import Secret

Handler = Callable[["Peer"], Awaitable[None]]

NONCE = b"0123456789abcdefghij"
SECRET = "s3cret-pass"
SSL = 1 << 11
PLAIN = 0x81FFF7FF & ~SSL
OK = b"\0\0\0\x02\0\0\0"
END = b"\xfe\0\0\x02\0"


class Peer:
    """The server's end of a connection, a packet at a time; `heard` is all that it was told."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, heard: bytearray) -> None:
        self.reader, self.writer, self.heard = reader, writer, heard

    def say(self, sequence: int, *payloads: bytes) -> None:
        for at, payload in enumerate(payloads, sequence):
            self.writer.write(len(payload).to_bytes(3, "little") + bytes((at & 0xFF,)) + payload)

    async def hear(self) -> bytes:
        header = await self.reader.readexactly(4)
        payload = await self.reader.readexactly(int.from_bytes(header[:3], "little"))
        self.heard += payload
        return payload

    async def hold(self) -> None:
        """Until the other end is gone."""
        self.heard += await self.reader.read()

    async def welcome(self) -> None:
        self.say(0, greeting())
        await self.hear()
        self.say(2, OK)

    async def answer(self) -> bytes:
        """Let everything that is set be set; the first question that comes then."""
        while True:
            question = await self.hear()
            if b"@@version" in question:
                self.say(1, b"\x01", column("v"), END, b"\x068.0.36", END)
            elif b"SET SESSION" in question:
                self.say(1, OK)
            else:
                return question


def greeting(capabilities: int = PLAIN, plugin: bytes = b"mysql_native_password", version: int = 10) -> bytes:
    low, high = capabilities & 0xFFFF, capabilities >> 16
    head = bytes((version,)) + b"8.0.36\0" + struct.pack("<I", 7) + NONCE[:8] + b"\0"
    return head + struct.pack("<HBHHB", low, 45, 2, high, 21) + b"\0" * 10 + NONCE[8:] + b"\0" + plugin + b"\0"


def column(name: str) -> bytes:
    texts = b"".join(bytes((len(text),)) + text for text in (b"def", b"", b"", b"", name.encode(), b""))
    return texts + struct.pack("<BHIBHBxx", 12, 45, 99, 253, 0, 0)


def error(code: int, words: str = "no") -> bytes:
    return b"\xff" + struct.pack("<H", code) + f"#28000{words}".encode()


@asynccontextmanager
async def fake(handler: Handler) -> AsyncIterator[tuple[int, list[int], bytearray]]:
    """A server that does what the handler does: its port, how many came so far, and what they said."""
    came, heard, tasks = [0], bytearray(), set[asyncio.Task[None]]()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        came[0] += 1
        try:
            await handler(Peer(reader, writer, heard))
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        tasks.add(asyncio.get_running_loop().create_task(serve(reader, writer)))

    server = await asyncio.start_server(accept, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1], came, heard
    finally:
        server.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await server.wait_closed()


def collector(port: int, more: str = "") -> Mysql:
    return Mysql(Options(url=f"mysql://me@127.0.0.1:{port}{more}", password=Secret(SECRET)))


def trouble(samples: Iterable[Sample]) -> str:
    """The class of what keeps us from the server."""
    values = {(one.family.name, *one.labels[1:]): one.value for one in samples}
    found = [name[1] for name in values if name[0] == "mysql_error"]
    assert values["mysql_up",] == float(not found)
    assert SECRET not in repr(values)
    return found[0] if found else ""


def opening(*payloads: bytes) -> Handler:
    """Says this at first, and then nothing."""

    async def handler(peer: Peer) -> None:
        peer.say(0, *payloads)
        await peer.hold()

    return handler


def after_login(*payloads: bytes, sequence: int = 2) -> Handler:
    """Answers the login with this."""

    async def handler(peer: Peer) -> None:
        peer.say(0, greeting())
        await peer.hear()
        peer.say(sequence, *payloads)
        await peer.hold()

    return handler


def to_a_query(*payloads: bytes) -> Handler:
    """Lets us in, and answers the first query with this."""

    async def handler(peer: Peer) -> None:
        await peer.welcome()
        await peer.answer()
        peer.say(1, *payloads)
        await peer.hold()

    return handler


async def silent(peer: Peer) -> None:
    await peer.hold()


async def gone(peer: Peer) -> None:
    """Hangs up at once."""


async def gone_after_login(peer: Peer) -> None:
    peer.say(0, greeting())
    await peer.hear()


async def not_mysql(peer: Peer) -> None:
    peer.writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
    await peer.hold()


async def a_byte_at_a_time(peer: Peer) -> None:
    for byte in (0x7FFF).to_bytes(3, "little") + b"\0" * 0x7FFF:
        peer.writer.write(bytes((byte,)))
        await peer.writer.drain()
        await asyncio.sleep(0.01)


async def endless_bytes(peer: Peer) -> None:
    while True:
        peer.writer.write(b"\xff" * 65536)
        await peer.writer.drain()


async def endless_rows(peer: Peer) -> None:
    await peer.welcome()
    await peer.answer()
    peer.say(1, b"\x02", column("a"), column("b"), END)
    rows = b"".join(b"\x04\0\0" + bytes((at & 0xFF,)) + b"\x01a\x011" for at in range(5, 5 + 256))
    while True:
        peer.writer.write(rows)
        await peer.writer.drain()


async def endless_packet(peer: Peer) -> None:
    await peer.welcome()
    await peer.answer()
    while True:
        peer.say(1, b"x" * (MOST - 1))
        await peer.writer.drain()


@pytest.mark.parametrize(
    ("handler", "expected"),
    [
        (silent, "timeout"),
        (a_byte_at_a_time, "timeout"),
        (after_login(), "timeout"),
        (to_a_query(), "timeout"),
        (gone, "reset"),
        (gone_after_login, "reset"),
        (not_mysql, "protocol"),
        (endless_bytes, "protocol"),
        (endless_rows, "protocol"),
        (endless_packet, "protocol"),
        (opening(b""), "protocol"),
        (opening(greeting(version=9)), "protocol"),
        (opening(greeting(0)), "protocol"),
        (opening(greeting()[:20]), "protocol"),
        (opening(error(1040)), "too_many_connections"),
        (opening(error(1130)), "auth"),
        (after_login(error(1045)), "auth"),
        (after_login(error(1053)), "starting"),
        (after_login(error(3159)), "tls"),
        (after_login(b"\x00" + b"x" * 9, sequence=7), "protocol"),
        (after_login(b"\x77"), "protocol"),
        (after_login(b"\xfe"), "plugin"),  # of MySQL before 4.1
        (after_login(b"\xfeunheard_of\0" + NONCE), "plugin"),
        (after_login(b"\xfemysql_clear_password\0"), "plugin"),
        (after_login(b"\xfedialog\0Password: "), "plugin"),
        (after_login(b"\x01\x04"), "plugin"),
        (after_login(*[b"\x01\x03"] * 20), "plugin"),
        (to_a_query(b"\xfb/etc/passwd"), "protocol"),
        (to_a_query(b"\xfc\xff\xff"), "protocol"),  # 65535 columns
        (to_a_query(b"\x01", b"\xfe" + struct.pack("<Q", 1 << 28)), "protocol"),  # a name of 256 MiB
        (to_a_query(b"\x01", column("a"), column("b")), "protocol"),
        (to_a_query(b"\x02", column("a"), column("b"), END, b"\x01a"), "protocol"),
        (to_a_query(b"\x01", column("a"), END, b"\xfe" + struct.pack("<q", -1) + b"x"), "protocol"),
        (to_a_query(error(1927)), "reset"),
    ],
)
async def test_a_bad_server_is_a_class_within_the_deadline(handler: Handler, expected: str) -> None:
    async with fake(handler) as (port, _came, heard):
        rounds = FanOut(collector(port), 0.8)
        told = trouble(await asyncio.wait_for(rounds.collect(), 1.5))
        await rounds.close()
    assert told == expected
    assert told in TROUBLES
    assert SECRET.encode() not in heard


async def test_an_error_of_a_query_is_that_querys_alone() -> None:
    async def handler(peer: Peer) -> None:
        await peer.welcome()
        while await peer.answer():
            peer.say(1, error(1227))

    async with fake(handler) as (port, came, _heard):
        ours = collector(port)
        for _ in range(2):
            samples = list(await ours.probe(""))
            assert trouble(samples) == ""
            parts = [one.labels[1:] for one in samples if one.family.name == "mysql_exporter_collector_error"]
            assert ("collect.global_status", "permission") in parts
        assert came[0] == 1
        await ours.close()


@pytest.mark.parametrize("mode", ["require", "verify-ca", "verify-full"])
async def test_a_server_that_has_suddenly_no_tls_learns_nothing(mode: str) -> None:
    async with fake(opening(greeting())) as (port, _came, heard):
        ours = collector(port, f"?sslmode={mode}")
        assert trouble(await ours.probe("")) == "tls"
        await ours.close()
    assert heard == b""


@pytest.mark.parametrize("more", [b"", OK, b"\xfemysql_clear_password\0"])
async def test_nothing_said_before_tls_is_listened_to(more: bytes) -> None:
    async def handler(peer: Peer) -> None:
        peer.say(0, greeting(PLAIN | SSL))
        if more:
            peer.say(2, more)
        await peer.hear()
        await peer.hear()

    async with fake(handler) as (port, _came, heard):
        rounds = FanOut(collector(port), 1)
        assert trouble(await rounds.collect()) in ("tls", "protocol", "timeout")
        await rounds.close()
    assert b"me\0" not in heard


@pytest.mark.parametrize("mode", ["", "?sslmode=disable"])
async def test_an_unencrypted_link_proves_the_password_and_asks_for_no_key_to_tell_it_with(mode: str) -> None:
    async def handler(peer: Peer) -> None:
        peer.say(0, greeting(plugin=b"caching_sha2_password"))
        await peer.hear()
        peer.heard.clear()
        peer.say(2, b"\x01\x04")  # the whole password, please
        await peer.hold()

    async with fake(handler) as (port, _came, heard):
        ours = collector(port, mode)
        assert trouble(await ours.probe("")) == "plugin"
        await ours.close()
    assert heard == b""


async def test_rounds_that_hang_leave_no_connection_behind() -> None:
    open_now = [0, 0]

    async def hang(peer: Peer) -> None:
        open_now[0] += 1
        open_now[1] = max(open_now)
        try:
            await to_a_query()(peer)
        finally:
            open_now[0] -= 1

    async with fake(hang) as (port, came, _heard):
        rounds = FanOut(collector(port), 0.2)
        for _ in range(5):
            await rounds.collect()
        assert came[0] == 5
        assert open_now[1] <= 2
        await rounds.close()


async def test_what_was_found_before_the_deadline_is_kept() -> None:
    async def handler(peer: Peer) -> None:
        await peer.welcome()
        await peer.answer()
        peer.say(1, b"\x02", column("a"), column("b"), END, b"\x07Threads\x013", END)
        await peer.hold()

    async with fake(handler) as (port, _came, _heard):
        rounds = FanOut(collector(port), 0.4)
        samples = list(await rounds.collect())
        await rounds.close()
    assert trouble(samples) == ""
    values = {(one.family.name, *one.labels[1:]): one.value for one in samples}
    assert values["mysql_global_status_threads",] == 3
    assert values["mysql_exporter_collector_error", "collect.global_variables", "timeout"] == 1


async def test_words_that_a_server_does_not_know_are_tried_in_turn() -> None:
    asked: list[bytes] = []

    async def handler(peer: Peer) -> None:
        await peer.welcome()
        while question := await peer.answer():
            if b"SLAVE" in question or b"REPLICA" in question:
                asked.append(question)
            known = b"REPLICA" in question
            peer.say(1, *((b"\x01", column("Source_Port"), END, b"\x013", END) if known else (error(1064),)))

    async with fake(handler) as (port, _came, _heard):
        ours = collector(port)
        for _ in range(2):
            names = [one.family.name for one in await ours.probe("")]
            assert "mysql_slave_status_source_port" in names
        await ours.close()
    assert asked == [b"\x03SHOW SLAVE STATUS", b"\x03SHOW REPLICA STATUS", b"\x03SHOW REPLICA STATUS"]
