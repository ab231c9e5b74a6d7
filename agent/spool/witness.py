"""A second, tiny record of the account, for the day the database forgets.

Two slots of 16 KiB are written in turn, each with a checksum, so that a torn write leaves the other. It is written
after the commit and never synced: it survives a killed process, and after a power cut the database, which was
synced, is at least as new.

While the disk refuses, it is the one place where the account is still written: both slots have their blocks from the
start, so a full disk takes them. `Seen.durable` tells this from damage: the database need not know more than that.
"""

from __future__ import annotations

import contextlib
import os
import struct
import zlib
from pathlib import Path

import msgspec
from msgspec import Struct

from agent.ledger import State

SLOT = 16_384  # bytes; the account of some 60 exporters
_HEAD = struct.Struct("<II")  # length, CRC-32


class Seen(Struct, frozen=True, array_like=True):
    """An account, and the commit that the database must know at least; a later one was only kept in memory."""

    state: State
    durable: int

    @property
    def commit(self) -> int:
        """The account's own number."""
        return self.state.commit


def at_rest(state: State) -> Seen:
    """An account as the database has it."""
    return Seen(state, state.commit)


class Witness:
    """The file `spool.witness`."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file: int | None = None
        self._turn = 0

    def read(self) -> Seen | None:
        """The newest account that a slot holds whole; None when there is none."""
        try:
            with self.path.open("rb") as file:
                content = file.read(2 * SLOT)
        except OSError:
            return None
        slots = [(seen.commit, at, seen) for at in (0, 1) if (seen := _decode(content[at * SLOT : (at + 1) * SLOT]))]
        if not slots:
            return None
        _, newest, seen = max(slots, key=lambda slot: slot[:2])
        self._turn = 1 - newest
        return seen

    def write(self, seen: Seen) -> None:
        """Write an account into the older slot. A disk that refuses costs the witness, not the commit."""
        body = msgspec.msgpack.encode(seen)
        if len(body) > SLOT - _HEAD.size:
            return
        with contextlib.suppress(OSError):
            if self._file is None:
                self._file = self._open()
            os.pwrite(self._file, _HEAD.pack(len(body), zlib.crc32(body)) + body, self._turn * SLOT)
            self._turn ^= 1

    def _open(self) -> int:
        """Open the file, with blocks for both slots where there is room for them."""
        file = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NONBLOCK, 0o600)
        with contextlib.suppress(OSError):
            os.posix_fallocate(file, 0, 2 * SLOT)
        return file

    def size(self) -> int:
        """Bytes of the file."""
        try:
            return self.path.stat().st_size
        except OSError:
            return 0

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            os.close(self._file)
            self._file = None


def _decode(slot: bytes) -> Seen | None:
    if len(slot) < _HEAD.size:
        return None
    length, crc = _HEAD.unpack_from(slot)
    body = slot[_HEAD.size : _HEAD.size + length]
    if len(body) != length or not length or zlib.crc32(body) != crc:
        return None
    try:
        return msgspec.msgpack.decode(body, type=Seen)
    except msgspec.MsgspecError:
        return None
