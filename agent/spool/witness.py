"""A second, tiny record of the account, for the day the database forgets.

Two slots of 16 KiB are written in turn, each with a checksum, so that a torn write leaves the other. It is written
after the commit and never synced: it survives a killed process, and after a power cut the database, which was
synced, is at least as new.
"""

from __future__ import annotations

import contextlib
import os
import struct
import zlib
from pathlib import Path

import msgspec

from agent.ledger import State

SLOT = 16_384  # bytes; the account of some 60 exporters
_HEAD = struct.Struct("<II")  # length, CRC-32


class Witness:
    """The file `spool.witness`."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file: int | None = None
        self._turn = 0

    def read(self) -> State | None:
        """The newest state that a slot holds whole; None when there is none."""
        try:
            with self.path.open("rb") as file:
                content = file.read(2 * SLOT)
        except OSError:
            return None
        slots = [(state.commit, at, state) for at in (0, 1) if (state := _decode(content[at * SLOT : (at + 1) * SLOT]))]
        if not slots:
            return None
        _, newest, state = max(slots)
        self._turn = 1 - newest
        return state

    def write(self, state: State) -> None:
        """Write `state` into the older slot. A disk that refuses costs the witness, not the commit."""
        body = msgspec.msgpack.encode(state)
        if len(body) > SLOT - _HEAD.size:
            return
        with contextlib.suppress(OSError):
            if self._file is None:
                self._file = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NONBLOCK, 0o600)
            os.pwrite(self._file, _HEAD.pack(len(body), zlib.crc32(body)) + body, self._turn * SLOT)
            self._turn ^= 1

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


def _decode(slot: bytes) -> State | None:
    if len(slot) < _HEAD.size:
        return None
    length, crc = _HEAD.unpack_from(slot)
    body = slot[_HEAD.size : _HEAD.size + length]
    if len(body) != length or not length or zlib.crc32(body) != crc:
        return None
    try:
        return msgspec.msgpack.decode(body, type=State)
    except msgspec.MsgspecError:
        return None
