"""What a PostgreSQL server may say: the gate before asyncpg, and rows as text."""

from __future__ import annotations

import asyncio
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collectors.pgbouncer import parse_value
from collectors.postgres.errors import Failed
from collectors.postgres.frames import MOST_FRAME, parse_columns, parse_row
from collectors.postgres.tap import BREATH, MOST_CELLS, Answer, Tap


def message(kind: bytes, body: bytes = b"") -> bytes:
    return kind + struct.pack("!i", len(body) + 4) + body


def columns(*names: str) -> bytes:
    return message(b"T", struct.pack("!H", len(names)) + b"".join(name.encode() + b"\0" + b"\0" * 18 for name in names))


def row(*values: str | None) -> bytes:
    fields = (
        struct.pack("!i", -1) if value is None else struct.pack("!i", len(value)) + value.encode() for value in values
    )
    return message(b"D", struct.pack("!H", len(values)) + b"".join(fields))


WELCOME = message(b"R", struct.pack("!i", 0)) + message(b"S", b"server_version\x0015.1\0") + message(b"Z", b"I")


class Heard(asyncio.Protocol):
    """What is handed on."""

    def __init__(self) -> None:
        self.data = bytearray()

    def data_received(self, data: bytes) -> None:
        self.data += data


def tapped(heard: asyncio.Protocol | None = None) -> Tap:
    """A tap that is in, and has asked."""
    tap = Tap(heard or Heard())
    tap.data_received(WELCOME)
    tap.ask()
    return tap


async def rows_of(tap: Tap) -> list[list[str | None]]:
    return [row async for row in tap.take().rows()]


@given(st.lists(st.integers(1, 30), max_size=20))
def test_rows_are_read_however_they_come_in_pieces(pieces: list[int]) -> None:
    stream = columns("database", "cl_active") + row("a", "1") + row(None, "2") + message(b"C", b"SHOW\0")
    heard = Heard()
    tap = tapped(heard)
    heard.data.clear()
    for piece in pieces:
        tap.data_received(stream[:piece])
        stream = stream[piece:]
    tap.data_received(stream)
    assert asyncio.run(rows_of(tap)) == [["a", "1"], [None, "2"]]
    assert heard.data == message(b"C", b"SHOW\0")


@given(st.binary())
def test_no_bytes_break_the_parsers(body: bytes) -> None:
    for parse in (parse_columns, parse_row):
        try:
            parse(body)
        except (ValueError, struct.error):
            continue
    for tap in (tapped(), Tap(Heard())):
        tap.data_received(body)
        tap.data_received(body)


@pytest.mark.parametrize("kind", [bytes([kind]) for kind in b"RSDZNEKCT1AtdGHW"])
@pytest.mark.parametrize("length", [3, 0, -1, -(2**31), MOST_FRAME + 1, 2**31 - 1])
def test_lengths_that_lie_never_reach_the_decoders(kind: bytes, length: int) -> None:
    for tap in (tapped(), Tap(Heard())):
        heard = tap.inner
        assert isinstance(heard, Heard)
        heard.data.clear()
        tap.data_received(kind + struct.pack("!i", length) + bytes(64))
        assert tap.trouble == "protocol"
        assert heard.data == b""
        tap.data_received(message(b"Z", b"I"))
        assert heard.data == b""


@pytest.mark.parametrize(
    "said",
    [
        *(message(b"S", b"no end"), message(b"S", b"a\0b\0c\0"), message(b"E", b"SERROR\0C57P0"), message(b"E")),
        *(message(b"C", b"no end"), message(b"Z", b""), message(b"Z", b"X"), message(b"I", b"x"), message(b"d", b"x")),
        *(message(b"G", b"\0\0\0"), message(b"T", b"\xff\xff"), message(b"R", bytes(4)), message(b"K", bytes(8))),
        message(b"C", b"S\0") + message(b"Z", b"I") + message(b"Z", b"I"),
    ],
)
def test_messages_without_an_end_or_out_of_turn_are_refused(said: bytes) -> None:
    tap = tapped()
    tap.data_received(said)
    assert tap.trouble == "protocol"


def demand(kind: int, more: bytes = b"") -> bytes:
    return message(b"R", struct.pack("!i", kind) + more)


SASL = demand(10, b"SCRAM-SHA-256\0\0")


@pytest.mark.parametrize(
    ("said", "trouble"),
    [
        (demand(0), None),
        (demand(5, b"salt"), None),
        (SASL + demand(11, b"r=x,s=AAAA,i=4096") + demand(12, b"v=x") + demand(0), None),
        (demand(3), "plugin"),  # the password as it is
        (demand(7), "plugin"),
        (demand(99), "plugin"),
        (demand(5, b"sal"), "protocol"),
        (demand(10, b"SCRAM-SHA-256"), "protocol"),
        (demand(11, b"r=x,s=AAAA,i=4096"), "protocol"),
        (SASL + demand(0), "protocol"),  # who does not prove to know the password either
        (SASL + demand(11, b"r=x,s=AAAA,i=4096") + demand(0), "protocol"),
        (SASL + demand(11, b"r=x,s=AAAA,i=99999999999"), "protocol"),  # which would take days
        (message(b"Z", b"I"), "protocol"),
        (demand(0) + demand(3), "protocol"),
    ],
)
def test_a_server_gets_the_proofs_that_it_may_have_in_their_order(said: bytes, trouble: str | None) -> None:
    tap = Tap(Heard())
    tap.data_received(said)
    assert tap.trouble == trouble
    private = Tap(Heard(), private=True)
    private.data_received(demand(3) + demand(0))
    assert private.trouble is None


async def test_an_answer_is_bounded_and_leaves_turns_for_others() -> None:
    tap = tapped()
    tap.data_received(columns("a") + row("x") * (MOST_CELLS - 1))
    answer = tap.take()
    turns, task = 0, asyncio.create_task(count(answer))
    while not task.done():
        await asyncio.sleep(0)
        turns += 1
    assert task.result() == MOST_CELLS - 1
    assert turns > MOST_CELLS / BREATH
    for many in (row("x") * (MOST_CELLS + 1), row("x" * (1 << 20)) * 9):
        tap.ask()
        tap.data_received(columns("a") + many)
        with pytest.raises(Failed):
            await count(tap.take())
        assert tap.trouble is None


async def count(answer: Answer) -> int:
    return len([row async for row in answer.rows()])


@pytest.mark.parametrize("text", ["nan", "inf", "1_0", "٣", "1e5", "", "9" * 50])
def test_no_odd_number_of_the_console_is_told(text: str) -> None:
    assert parse_value(text) is None
