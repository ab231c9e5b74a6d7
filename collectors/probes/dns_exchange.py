"""A question to a DNS server and its answer: one datagram each way, or over a stream with lengths (RFC 1035, 4.2)."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Callable
from typing import Final

from collectors.probes.link import Address, Failed, Link, reason_of, words

LIES: Final = 200  # datagrams that answer something else, after which nobody listens any longer


class _Hearing(asyncio.DatagramProtocol):
    """Waits for the datagram that is the answer; others are somebody's mistake or attack, and count for nothing."""

    def __init__(self, ours: Callable[[bytes], bool]) -> None:
        self.answer: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self._ours, self._lies = ours, 0

    def datagram_received(self, data: bytes, addr: object) -> None:
        if self.answer.done():
            return
        if self._ours(data):
            self.answer.set_result(data)
            return
        self._lies += 1
        if self._lies > LIES:
            self._fail(Failed("protocol", "many answers, none to what was asked"))

    def error_received(self, exc: Exception) -> None:
        if isinstance(exc, OSError):
            self._fail(Failed(reason_of(exc), words(exc)))

    def connection_lost(self, exc: Exception | None) -> None:
        self._fail(Failed("reset", "" if exc is None else words(exc)))

    def _fail(self, failed: Failed) -> None:
        if not self.answer.done():
            self.answer.set_exception(failed)
            self.answer.exception()  # looked at, even where the probe is over


async def ask_datagram(address: Address, port: int, query: bytes, ours: Callable[[bytes], bool]) -> bytes:
    """One datagram to a server, and the one from there that is `ours`; raises `Failed`.

    The socket is connected, so the kernel lets nothing from elsewhere in, and tells a port that is closed.
    """
    try:
        transport, hearing = await _open(address, port, ours)
    except OSError as error:
        raise Failed(reason_of(error), words(error), address) from None
    try:
        transport.sendto(query)
        return await hearing.answer
    except Failed as failed:
        raise Failed(failed.reason, str(failed), address) from None
    finally:
        transport.abort()


async def _open(
    address: Address, port: int, ours: Callable[[bytes], bool]
) -> tuple[asyncio.DatagramTransport, _Hearing]:
    connection = socket.socket(address[0], socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
    try:
        connection.connect((address[1], port))
        return await asyncio.get_running_loop().create_datagram_endpoint(lambda: _Hearing(ours), sock=connection)
    except BaseException:
        connection.close()
        raise


async def ask_stream(link: Link, query: bytes, ours: Callable[[bytes], bool]) -> bytes:
    """The same over a connection: one message each way, 64 KiB at most; raises `Failed`."""
    try:
        link.writer.write(struct.pack("!H", len(query)) + query)
        await link.writer.drain()
        size = int.from_bytes(await link.reader.readexactly(2), "big")
        answer = await link.reader.readexactly(size)
    except (OSError, asyncio.IncompleteReadError) as error:
        raise Failed("reset", words(error)) from None
    if not ours(answer):
        raise Failed("protocol", "an answer to something else")
    return answer
