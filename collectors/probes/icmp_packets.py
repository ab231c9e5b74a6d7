"""ICMP echo packets, and what the kernel says beside them: RFC 792, RFC 4443; Linux: ip(7), raw(7), cmsg(3)."""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterable
from typing import Final, NamedTuple

HEADER: Final = struct.Struct("!BBHHH")  # type, code, checksum, identifier, sequence
IP_HEADER: Final = 60  # bytes at most

# Of Linux, and not in Python's socket module.
IP_RECVERR, IP_RECVTTL, IPV6_RECVERR, SO_TIMESTAMPNS = 11, 12, 25, 35

_REQUEST: Final = {socket.AF_INET: 8, socket.AF_INET6: 128}
_REPLY: Final = {socket.AF_INET: 0, socket.AF_INET6: 129}
_LOST: Final = {(2, 3), (2, 11), (2, 12), (3, 1), (3, 2), (3, 3), (3, 4)}  # origin (2: ICMP, 3: ICMPv6) and type
_TIME: Final = (socket.SOL_SOCKET, SO_TIMESTAMPNS)
_HOPS: Final = {(socket.IPPROTO_IP, socket.IP_TTL), (socket.IPPROTO_IPV6, socket.IPV6_HOPLIMIT)}
_FAULTS: Final = {(socket.IPPROTO_IP, IP_RECVERR), (socket.IPPROTO_IPV6, IPV6_RECVERR)}

Ancillary = Iterable[tuple[int, int, bytes]]


class Packet(NamedTuple):
    """An echo request or reply."""

    identifier: int
    sequence: int
    payload: bytes


def encode_request(family: int, packet: Packet) -> bytes:
    """The bytes of a request, with the checksum where the kernel does not see to it (IPv4)."""
    kind = _REQUEST[socket.AddressFamily(family)]
    plain = HEADER.pack(kind, 0, 0, packet.identifier, packet.sequence) + packet.payload
    if family == socket.AF_INET6:
        return plain
    return plain[:2] + struct.pack("!H", checksum(plain)) + plain[4:]


def checksum(data: bytes) -> int:
    """RFC 1071: the complement of the sum of 16-bit words, with carries added in."""
    total = int(sum(struct.unpack(f"!{(len(data) + 1) // 2}H", data + b"\0" * (len(data) % 2))))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def parse_reply(family: int, data: bytes, *, raw: bool) -> Packet | None:
    """An echo reply, or None for anything else. A raw socket of IPv4 shows the IP header, too."""
    return _parse(_REPLY[socket.AddressFamily(family)], _unwrapped(data) if raw and family == socket.AF_INET else data)


def parse_returned(family: int, data: bytes) -> Packet | None:
    """The request that an error is about, or None; of its payload only what the error quotes."""
    return _parse(_REQUEST[socket.AddressFamily(family)], data)


def _unwrapped(data: bytes) -> bytes:
    return data[(data[0] & 0x0F) * 4 :] if data else data


def _parse(kind: int, data: bytes) -> Packet | None:
    if len(data) < HEADER.size:
        return None
    found, code, _, identifier, sequence = HEADER.unpack_from(data)
    return Packet(identifier, sequence, data[HEADER.size :]) if found == kind and code == 0 else None


def parse_arrival(ancillary: Ancillary) -> tuple[int, int]:
    """When the kernel took a packet in (Unix time in ns; 0: not told), and its hop limit (-1: not told)."""
    arrived, hops = 0, -1
    for level, kind, data in ancillary:
        if (level, kind) == _TIME and len(data) == 16:
            seconds, rest = struct.unpack("@qq", data)
            arrived = seconds * 1_000_000_000 + rest
        elif (level, kind) in _HOPS and len(data) >= 4:
            hops = struct.unpack_from("@i", data)[0]
    return arrived, hops


def parse_fault(ancillary: Ancillary) -> int:
    """The error number of what became of a packet; 0 where it is not lost (redirects, errors of our own sending)."""
    for level, kind, data in ancillary:
        if (level, kind) in _FAULTS and len(data) >= 8:
            number, origin, what = struct.unpack_from("@IBB", data)
            return int(number) if (origin, what) in _LOST else 0
    return 0
