"""Echo requests over one socket of a family, and any number of pings that wait on it side by side.

A datagram socket needs no capability where the group may ping (ping_group_range); the kernel sets its identifier, and
shows only the replies to it. A raw socket is shown the replies to everybody's; those to others count for nothing.

The event loop does not watch the socket but an epoll of its own that does: libuv takes a socket for broken when the
queue of errors has something to tell.
"""

from __future__ import annotations

import asyncio
import errno
import os
import select
import socket
import struct
import time
from typing import Any, Final, NamedTuple

from msgspec import Struct

from collectors.probes.icmp_packets import (
    HEADER,
    IP_HEADER,
    IP_RECVERR,
    IP_RECVTTL,
    IPV6_RECVERR,
    SO_TIMESTAMPNS,
    Packet,
    encode_request,
    parse_arrival,
    parse_fault,
    parse_reply,
    parse_returned,
)
from collectors.probes.link import Failed, reason_of, words

DENIED: Final = (
    'no permission to send ICMP: let the agent\'s group do so (sysctl net.ipv4.ping_group_range="0 2147483647"), or '
    "give the systemd unit the lines AmbientCapabilities=CAP_NET_RAW and CapabilityBoundingSet=CAP_NET_RAW"
)
TOKEN: Final = 16  # random bytes at the head of a payload
TURN: Final = 256  # packets that are read before others have their turn
BUFFER: Final = 1 << 20  # bytes wanted; the kernel gives as many as net.core.rmem_max and wmem_max allow
_ANCILLARY: Final = 512

# Of Linux, and not in Python's socket module.
_SOL_RAW, _ICMP_FILTER, _ICMP6_FILTER = 255, 1, 1
_IP_MTU_DISCOVER, _IPV6_MTU_DISCOVER, _IPV6_DONTFRAG, _PMTUDISC_DO = 10, 23, 62, 2


class Reply(NamedTuple):
    """An echo: the seconds that it took, the hops that were left to it (-1: not told), and when its request went out
    (`time.perf_counter`).
    """

    seconds: float
    hop_limit: int
    sent: float


class _Ping(Struct, eq=False):
    """A request on its way."""

    place: Any  # what the socket module takes as an address
    source: bytes
    packet: Packet
    reply: asyncio.Future[Reply]
    sent_ns: int = 0  # Unix time
    sent: float = 0.0  # monotonic


class Echo:
    """Pings of one family with payloads of one size. Opening raises OSError, where it is not allowed a
    `PermissionError` that says how to allow it.
    """

    def __init__(self, family: int, size: int, *, ttl: int | None = None, dont_fragment: bool = False) -> None:
        self.family, self._size = family, max(size, TOKEN)
        self._socket, self.raw = _open(family)
        try:
            _set_up(self._socket, family, ttl, dont_fragment=dont_fragment)
            if self.raw:
                _only_replies(self._socket, family)
            self._socket.bind(("", 0))
        except BaseException:
            self._socket.close()
            raise
        self._identifier = int.from_bytes(os.urandom(2), "big") if self.raw else self._socket.getsockname()[1]
        self._sequence = int.from_bytes(os.urandom(2), "big")
        self._pings: dict[int, _Ping] = {}
        self._blocked: list[asyncio.Future[None]] = []
        self._loop = asyncio.get_running_loop()
        self._epoll = select.epoll()
        self._epoll.register(self._socket, select.EPOLLIN)
        self._loop.add_reader(self._epoll.fileno(), self._ready)

    def close(self) -> None:
        """Let go of the socket."""
        self._loop.remove_reader(self._epoll.fileno())
        self._epoll.close()
        self._socket.close()

    async def ping(self, address: str) -> Reply:
        """One request and its reply; waits for ever if none comes. Raises `Failed`."""
        ping = self._prepare(address)
        self._pings[ping.packet.sequence] = ping
        try:
            while not self._send(ping):
                await self._room()
            self._listen()  # replies to others: a burst of requests must not make them overflow
            return await ping.reply
        finally:
            del self._pings[ping.packet.sequence]

    def _prepare(self, address: str) -> _Ping:
        self._sequence = (self._sequence + 1) & 0xFFFF
        while self._sequence in self._pings:
            self._sequence = (self._sequence + 1) & 0xFFFF
        try:
            place = socket.getaddrinfo(address, None, family=self.family, flags=socket.AI_NUMERICHOST)[0][4]
        except OSError as error:  # an interface behind the % that is not there
            raise Failed("unreachable", words(error)) from None
        source = socket.inet_pton(self.family, address.partition("%")[0])
        packet = Packet(self._identifier, self._sequence, os.urandom(TOKEN) + bytes(self._size - TOKEN))
        return _Ping(place, source, packet, self._loop.create_future())

    # -- sending --------------------------------------------------------------------------------------------------

    def _send(self, ping: _Ping) -> bool:
        """Whether it went out; False when there is no room. Raises `Failed`."""
        request = encode_request(self.family, ping.packet)
        for last in (False, True):
            ping.sent_ns, ping.sent = time.time_ns(), time.perf_counter()
            try:
                self._socket.sendto(request, ping.place)
            except BlockingIOError:
                return False
            except OSError as error:
                if error.errno == errno.ENOBUFS and not self._has_room():
                    return False
                if last:
                    raise _failed(error) from None
                self._listen()  # it may be the error of an earlier request, told here for want of a better place
            else:
                return True
        return False

    def _has_room(self) -> bool:
        """Whether it is the device that has none, and not the socket."""
        asked = select.poll()
        asked.register(self._socket, select.POLLOUT)
        return any(events & select.POLLOUT for _, events in asked.poll(0))

    async def _room(self) -> None:
        room: asyncio.Future[None] = self._loop.create_future()
        self._blocked.append(room)
        self._epoll.modify(self._socket, select.EPOLLIN | select.EPOLLOUT)
        await room

    # -- receiving ------------------------------------------------------------------------------------------------

    def _ready(self) -> None:
        if self._blocked and any(events & select.EPOLLOUT for _, events in self._epoll.poll(0)):
            self._epoll.modify(self._socket, select.EPOLLIN)
            blocked, self._blocked = self._blocked, []
            for room in blocked:
                if not room.done():
                    room.set_result(None)
        self._listen()

    def _listen(self) -> None:
        """Take in what came: replies, then errors; never more than a turn of each."""
        limit = HEADER.size + self._size + (IP_HEADER if self.raw else 0) + 1
        for _ in range(TURN):
            try:
                data, ancillary, _, sender = self._socket.recvmsg(limit, _ANCILLARY)
            except BlockingIOError:
                break
            except OSError:
                continue  # an error that the queue of errors explains
            self._replied(data, ancillary, sender)
        for _ in range(TURN):
            try:
                data, ancillary, _, wanted = self._socket.recvmsg(limit, _ANCILLARY, socket.MSG_ERRQUEUE)
            except OSError:
                break
            self._returned(data, ancillary, wanted)

    def _replied(self, data: bytes, ancillary: list[tuple[int, int, bytes]], sender: Any) -> None:
        packet = parse_reply(self.family, data, raw=self.raw)
        ping = self._found(packet, sender)
        if ping is not None and packet == ping.packet:
            elapsed = time.perf_counter() - ping.sent
            arrived, hops = parse_arrival(ancillary)
            kernel = (arrived - ping.sent_ns) / 1e9
            # The kernel's time does not hold the loop's delays, but the clock may have been set meanwhile.
            ping.reply.set_result(Reply(kernel if 0 < kernel < elapsed else elapsed, hops, ping.sent))

    def _returned(self, data: bytes, ancillary: list[tuple[int, int, bytes]], wanted: Any) -> None:
        ping = self._found(parse_returned(self.family, data), wanted)
        if ping is not None and (number := parse_fault(ancillary)):
            ping.reply.set_exception(_failed(OSError(number, "")))
            ping.reply.exception()  # looked at, even where the ping is over

    def _found(self, packet: Packet | None, address: Any) -> _Ping | None:
        """The ping that a packet is about and that still waits; `address` is where that one went."""
        ping = self._pings.get(packet.sequence) if packet is not None else None
        if packet is None or ping is None or ping.reply.done() or packet.identifier != self._identifier:
            return None
        return ping if socket.inet_pton(self.family, address[0].partition("%")[0]) == ping.source else None


def _failed(error: OSError) -> Failed:
    if error.errno == errno.EMSGSIZE:
        return Failed("too_large", words(error))
    reason = reason_of(error)
    return Failed("unreachable" if reason == "refused" else reason, words(error))


def _open(family: int) -> tuple[socket.socket, bool]:
    """A socket, and whether it is a raw one."""
    protocol = socket.IPPROTO_ICMP if family == socket.AF_INET else socket.IPPROTO_ICMPV6
    for kind in (socket.SOCK_DGRAM, socket.SOCK_RAW):
        try:
            return socket.socket(family, kind | socket.SOCK_NONBLOCK, protocol), kind == socket.SOCK_RAW
        except PermissionError:
            continue
    raise PermissionError(DENIED)


def _set_up(connection: socket.socket, family: int, ttl: int | None, *, dont_fragment: bool) -> None:
    four = family == socket.AF_INET
    level = socket.IPPROTO_IP if four else socket.IPPROTO_IPV6
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, BUFFER)
    connection.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
    connection.setsockopt(level, IP_RECVERR if four else IPV6_RECVERR, 1)
    connection.setsockopt(level, IP_RECVTTL if four else socket.IPV6_RECVHOPLIMIT, 1)
    if ttl is not None:
        connection.setsockopt(level, socket.IP_TTL if four else socket.IPV6_UNICAST_HOPS, ttl)
    if dont_fragment:
        connection.setsockopt(level, _IP_MTU_DISCOVER if four else _IPV6_MTU_DISCOVER, _PMTUDISC_DO)
        if not four:
            connection.setsockopt(level, _IPV6_DONTFRAG, 1)


def _only_replies(connection: socket.socket, family: int) -> None:
    """Let the kernel drop what is no echo reply: a raw socket is shown every ICMP packet of the host."""
    if family == socket.AF_INET:
        connection.setsockopt(_SOL_RAW, _ICMP_FILTER, struct.pack("@I", ~(1 << 0) & 0xFFFFFFFF))
        return
    wanted = [0xFFFFFFFF] * 8
    wanted[129 >> 5] &= ~(1 << (129 & 31)) & 0xFFFFFFFF
    connection.setsockopt(socket.IPPROTO_ICMPV6, _ICMP6_FILTER, struct.pack("@8I", *wanted))
