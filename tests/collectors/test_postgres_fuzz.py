"""Servers whose every byte may lie, before the real asyncpg: in a process of its own, so that its death is seen.

By hand: `python -m tests.collectors.test_postgres_fuzz SEED ROUNDS`.
"""

from __future__ import annotations

import asyncio
import logging
import random
import struct
import subprocess
import sys

from agent.fanout import FanOut
from collectors.postgres import Options, Postgres
from collectors.postgres.errors import TROUBLES
from collectors.postgres.options import Query
from config import Secret
from tests.conftest import ROOT

ODD = (b"\0", b"\1", b"\3", b"\4", b"\x7f", b"\x80", b"\xff", b"D", b"T", b"Z", b"S", b"E", b"R")


def message(kind: bytes, body: bytes = b"") -> bytes:
    return kind + struct.pack("!i", len(body) + 4) + body


def field(text: bytes) -> bytes:
    return struct.pack("!i", len(text)) + text


READY = message(b"Z", b"I")
SASL = message(b"R", struct.pack("!i", 10) + b"SCRAM-SHA-256\0\0")
SETTINGS = b"".join(message(b"S", one) for one in (b"server_version\x0015.1\0", b"client_encoding\0UTF8\0"))
WELCOME = message(b"R", bytes(4)) + SETTINGS + message(b"K", bytes(8)) + READY
ERROR = message(b"E", b"SERROR\0VERROR\0C42P01\0Mno\0\0")
NOTICE = message(b"N", b"SWARNING\0C01000\0Mno\0\0")


def answer(question: bytes) -> bytes:
    """What an honest server would say, more or less."""
    rows = 1
    if b"version()" in question:
        row = [b"PostgreSQL 15.1", b"15.1", b"150001"]
    elif b"pg_conf_load_time" in question:
        row = [b"a", b"f"]
    elif question.startswith((b"SET", b"BEGIN", b"ROLLBACK")) and b"SELECT" not in question:
        return message(b"C", b"SET\0") * 9 + READY
    elif b"pg_locks" in question:
        return ERROR + READY
    else:
        row, rows = [b"1", b"2", b"3", b"4"], 2
    names = b"".join(b"c\0" + bytes(18) for _ in row)
    told = message(b"T", struct.pack("!H", len(row)) + names)
    told += message(b"D", struct.pack("!H", len(row)) + b"".join(map(field, row))) * rows
    return told + NOTICE + message(b"C", b"SELECT 2\0") + READY


def mutated(said: bytes, chance: random.Random) -> bytes:
    """The same, with a lie in it."""
    lie = bytearray(said)
    for _ in range(chance.choice((1, 1, 2, 4))):
        at, how = chance.randrange(len(lie) + 1), chance.randrange(6)
        if how < 2:
            lie[at : at + 1] = chance.choice(ODD)
        elif how == 2:
            lie[at : at + 4] = struct.pack("!i", chance.choice((-(2**31), -1, 0, 3, 4, 5, 2**31 - 1, 70_000)))
        elif how == 3:
            del lie[at : at + chance.randrange(1, 20)]
        elif how == 4:
            lie[at:at] = chance.randbytes(chance.randrange(1, 30))
        else:
            lie += lie[at:]
    return bytes(lie)


async def play(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, chance: random.Random) -> None:
    """One session; after its lie the server says no more."""
    lie, told = chance.randrange(50), 0

    async def say(said: bytes) -> None:
        nonlocal told
        told += 1
        writer.write(mutated(said, chance) if told == lie + 1 else said)
        await writer.drain()
        if told == lie + 1:
            raise ConnectionError

    (length,) = struct.unpack("!i", await reader.readexactly(4))
    await reader.readexactly(length - 4)
    if chance.random() < 0.2:
        await say(SASL)
        return
    await say(WELCOME)
    while True:
        _, length = struct.unpack("!ci", await reader.readexactly(5))
        await say(answer(await reader.readexactly(length - 4)))


async def fuzz(seed: int, rounds: int) -> None:
    chance, troubles = random.Random(seed), dict.fromkeys(TROUBLES, 0)  # no secret hangs on it

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await play(reader, writer, chance)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        dsn = f"postgres://u@127.0.0.1:{server.sockets[0].getsockname()[1]}/d?sslmode=disable"
        query = Query(prefix="q", sql="SELECT 1 AS n, 2 AS m", columns={"n": "gauge", "m": "label"})
        collector = Postgres(Options(dsn=dsn, password=Secret("s3cret"), queries=(query,)))
        for _ in range(rounds):
            samples = list(await FanOut(collector, 2).collect())
            assert "s3cret" not in repr(samples)
            for one in samples:
                if one.family.name == "pg_error":
                    troubles[one.labels[1]] += 1  # type: ignore[index]  # it is one of them
        await collector.close()
    sys.stdout.write(f"{ {name: many for name, many in troubles.items() if many} }\n")


def test_no_lie_of_a_server_ends_the_process() -> None:
    command = [sys.executable, "-X", "faulthandler", "-m", "tests.collectors.test_postgres_fuzz", "1", "400"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60, cwd=ROOT)
    assert done.returncode == 0, done.stderr[-2000:]
    assert "protocol" in done.stdout


if __name__ == "__main__":
    logging.disable()
    asyncio.run(fuzz(int(sys.argv[1]), int(sys.argv[2])))
