"""Netlink, as far as dumps of links, neighbours and TCP sockets need it (RFC 3549; linux/netlink.h).

A dump is answered by the kernel within the system calls: it never waits for anybody.
"""

from __future__ import annotations

import os
import socket
import struct
from collections.abc import Iterator

HEADER = struct.Struct("=IHHII")  # length, type, flags, sequence, port
ATTRIBUTE = struct.Struct("=HH")  # length, type
ERROR, DONE = 2, 3  # message types
REQUEST_DUMP = 0x1 | 0x300  # NLM_F_REQUEST | NLM_F_DUMP
ROUTE, SOCK_DIAG = 0, 4  # protocols
BUFFER = 64 * 1024
NESTED = 0x3FFF  # attribute types without the two flag bits


def parse_messages(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Type and payload of each message of a datagram; raises OSError for an error message."""
    at = 0
    while at + HEADER.size <= len(data):
        length, kind, _flags, _sequence, _port = HEADER.unpack_from(data, at)
        if length < HEADER.size:
            raise ValueError("netlink message shorter than its header")
        payload = data[at + HEADER.size : at + length]
        if kind == ERROR:
            code = -struct.unpack_from("=i", payload)[0]
            raise OSError(code, os.strerror(code))
        yield kind, payload
        at += (length + 3) & ~3


def parse_attributes(data: bytes, at: int) -> dict[int, bytes]:
    """The attributes that follow the fixed part of a message, by type."""
    found: dict[int, bytes] = {}
    while at + ATTRIBUTE.size <= len(data):
        length, kind = ATTRIBUTE.unpack_from(data, at)
        if length < ATTRIBUTE.size:
            break
        found[kind & NESTED] = data[at + ATTRIBUTE.size : at + length]
        at += (length + 3) & ~3
    return found


class Netlink:
    """A netlink socket that stays open between rounds; opened when first used, and again after an error."""

    def __init__(self, protocol: int = ROUTE) -> None:
        self._protocol = protocol
        self._socket: socket.socket | None = None
        self._sequence = 0

    def dump(self, kind: int, payload: bytes) -> list[bytes]:
        """The payloads of all messages that answer a dump request; raises OSError."""
        try:
            return list(self._exchange(kind, payload))
        except OSError:
            self.close()
            raise

    def _exchange(self, kind: int, payload: bytes) -> Iterator[bytes]:
        if self._socket is None:
            self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, self._protocol)
            self._socket.bind((0, 0))
        self._sequence = (self._sequence + 1) & 0xFFFFFFFF
        length = HEADER.size + len(payload)
        self._socket.send(HEADER.pack(length, kind, REQUEST_DUMP, self._sequence, 0) + payload)
        while True:
            for answer, body in parse_messages(self._socket.recv(BUFFER)):
                if answer == DONE:
                    return
                yield body

    def close(self) -> None:
        """Close the socket; the next dump opens another."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None
