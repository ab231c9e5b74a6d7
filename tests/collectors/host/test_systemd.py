"""systemd over D-Bus: the wire format, and a bus that we play ourselves."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.model import NoData
from collectors.host.dbus import (
    ERROR,
    MOST_BYTES,
    RETURN,
    Bus,
    Call,
    DBusError,
    Message,
    Reader,
    encode_call,
    parse_message,
    parse_size,
    split_signature,
)
from collectors.host.machine import Machine
from collectors.host.systemd import Systemd

UNITS = [
    ("ssh.service", "loaded", "active", "/unit/ssh"),
    ("broken.service", "loaded", "failed", "/unit/broken"),
    ("missing.service", "not-found", "inactive", "/unit/missing"),
    ("cups.socket", "loaded", "active", "/unit/cups"),
    ("backup.timer", "loaded", "active", "/unit/backup"),
    ("home.mount", "loaded", "active", "/unit/home"),
    ("odd.target", "loaded", "reloading", "/unit/odd"),
]
PROPERTIES = {
    "Version": ("s", "252.39-1~deb12u1"),
    "Virtualization": ("s", "kvm"),
    "SystemState": ("s", "degraded"),
    "Type": ("s", "notify"),
    "NAccepted": ("u", 12),
    "NConnections": ("u", 3),
    "LastTriggerUSec": ("t", 1700000000500000),
}


def pad(data: bytes, alignment: int) -> bytes:
    return data + bytes(-len(data) % alignment)


def text(value: str) -> bytes:
    return struct.pack("<I", len(value)) + value.encode() + b"\0"


def answer(kind: int, reply_to: int, signature: str, body: bytes) -> bytes:
    fields = bytes([5, 1]) + b"u\0" + struct.pack("<I", reply_to)
    if signature:
        fields = pad(fields, 8) + bytes([8, 1]) + b"g\0" + bytes([len(signature)]) + signature.encode() + b"\0"
    return pad(struct.pack("<BBBBIII", ord("l"), kind, 0, 1, len(body), 7, len(fields)) + fields, 8) + body


def unit_list() -> bytes:
    rows = b""
    for name, load, active, path in UNITS:
        rows = pad(rows, 8)
        for word in (name, "description", load, active, "sub", "", path):
            rows = pad(rows, 4) + text(word)
        rows = pad(pad(rows, 4) + struct.pack("<I", 0) + text(""), 4) + text("/")
    return struct.pack("<II", len(rows), 0) + rows


class FakeBus:
    """Plays the system bus; `asked` holds the members and their arguments."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, tuple[str, ...]]] = []
        self.serving: list[asyncio.Task[None]] = []
        self.refuse = False
        self.silent = False

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.serving.append(asyncio.current_task())  # type: ignore[arg-type]  # there is one
        try:
            assert (await reader.readuntil(b"\r\n")).startswith(b"\0AUTH EXTERNAL 3")
            writer.write(b"REJECTED EXTERNAL\r\n" if self.refuse else b"OK 0123456789abcdef\r\n")
            await reader.readuntil(b"BEGIN\r\n")
            while True:
                head = await reader.readexactly(16)
                self.reply(writer, head + await reader.readexactly(parse_size(head) - 16))
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    def reply(self, writer: asyncio.StreamWriter, data: bytes) -> None:
        reader = Reader(data)
        *_, serial = (reader.read(kind) for kind in "yyyyuu")
        fields = dict(reader.read("a(yv)"))
        arguments = parse_message(data).body
        self.asked.append((fields[3], arguments))
        if not self.silent:
            writer.write(answer(4, 0, "s", text("a signal in between")))
            writer.write(self.result(fields[3], serial, arguments))

    def result(self, member: str, serial: int, arguments: tuple[str, ...]) -> bytes:
        if member == "ListUnits":
            return answer(RETURN, serial, "a(ssssssouso)", unit_list())
        if member == "Get" and arguments[1] in PROPERTIES:
            kind, value = PROPERTIES[arguments[1]]
            head = bytes([1]) + kind.encode() + b"\0"
            raw = text(str(value)) if kind == "s" else struct.pack("<I" if kind == "u" else "<Q", value)
            return answer(RETURN, serial, "v", pad(head, 8 if kind == "t" else 4) + raw)
        return answer(RETURN if member == "Hello" else ERROR, serial, "s", text(":1.5"))


@asynccontextmanager
async def bus_at(tree: Path, name: str = "run/dbus/system_bus_socket") -> AsyncIterator[FakeBus]:
    place = tree / name
    place.parent.mkdir(parents=True, exist_ok=True)
    bus = FakeBus()
    server = await asyncio.start_unix_server(bus.serve, place)
    try:
        yield bus
    finally:
        server.close()
        await asyncio.gather(*bus.serving)


async def collect(part: Systemd) -> dict[tuple[str, ...], float]:
    return {(sample.family.name, *sample.labels): sample.value for sample in await part()}


async def test_units_sockets_timers_and_the_state_of_the_system_are_told(
    tree: Path, machine: Callable[..., Machine]
) -> None:
    async with bus_at(tree):
        part = Systemd(machine())
        found = await collect(part)
        part.close()
    assert found["node_systemd_version", "252.39-1~deb12u1"] == 252.39
    assert found["node_systemd_virtualization_info", "kvm"] == 1
    assert found["node_systemd_system_running",] == 0
    assert found["node_systemd_units", "active"] == 4
    assert found["node_systemd_units", "reloading"] == 1
    assert found["node_systemd_unit_state", "ssh.service", "active", "notify"] == 1
    assert found["node_systemd_unit_state", "broken.service", "failed", "notify"] == 1
    assert found["node_systemd_unit_state", "cups.socket", "active", ""] == 1
    assert found["node_systemd_socket_accepted_connections_total", "cups.socket"] == 12
    assert found["node_systemd_timer_last_trigger_seconds", "backup.timer"] == 1700000000.5
    assert not any("missing.service" in key or "home.mount" in key for key in found)
    assert ("node_systemd_socket_refused_connections_total", "cups.socket") not in found, "systemd before 239"


async def test_the_connection_stays_open_and_types_are_asked_once(tree: Path, machine: Callable[..., Machine]) -> None:
    async with bus_at(tree) as bus:
        part = Systemd(machine())
        await part()
        bus.asked.clear()
        await part()
        part.close()
    assert "Hello" not in [member for member, _ in bus.asked]
    assert "Type" not in [arguments[-1] for _, arguments in bus.asked if arguments]


async def test_systemds_own_socket_is_no_bus_and_gets_no_hello(tree: Path, machine: Callable[..., Machine]) -> None:
    async with bus_at(tree, "run/systemd/private") as bus:
        part = Systemd(machine())
        assert await part()
        part.close()
    assert "Hello" not in [member for member, _ in bus.asked]


async def test_without_systemd_there_is_no_data(machine: Callable[..., Machine]) -> None:
    with pytest.raises(NoData):
        await Systemd(machine())()


async def test_a_bus_that_refuses_us_is_an_error(tree: Path, machine: Callable[..., Machine]) -> None:
    async with bus_at(tree) as bus:
        bus.refuse = True
        with pytest.raises(DBusError, match="not accepted"):
            await Systemd(machine())()


async def test_a_bus_that_does_not_answer_ends_in_a_timeout_and_a_new_connection(
    tree: Path, machine: Callable[..., Machine], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("collectors.host.systemd.TIMEOUT", 0.05)
    async with bus_at(tree) as bus:
        bus.silent = True
        part = Systemd(machine())
        with pytest.raises(TimeoutError):
            await part()
        bus.silent = False
        monkeypatch.setattr("collectors.host.systemd.TIMEOUT", 5)
        assert await part()
        part.close()


async def test_a_bus_that_hangs_up_is_an_error(tree: Path) -> None:
    async def hang_up(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.close()

    async with await asyncio.start_unix_server(hang_up, tree / "socket"):
        with pytest.raises(OSError, match=r"hung up|reset|Broken"):
            await Bus.connect(str(tree / "socket"))


@given(st.lists(st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"])), max_size=5))
def test_a_call_is_read_as_it_was_written(arguments: list[str]) -> None:
    data = encode_call(Call("/a/b", "c.D", "E", arguments), 9)
    assert parse_size(data[:16]) == len(data)
    assert parse_message(data) == Message(1, 0, tuple(arguments))


@given(st.binary(max_size=200))
def test_garbage_is_refused_and_breaks_nothing(data: bytes) -> None:
    for parse in (parse_message, parse_size):
        try:
            parse(data)
        except (DBusError, struct.error):
            continue


@pytest.mark.parametrize(
    ("kind", "data", "value"),
    [
        ("as", struct.pack("<I", 10) + text("a") + bytes(2) + text("b")[:4] + b"", None),
        ("ay", struct.pack("<I", 3) + b"abc", [97, 98, 99]),
        ("a{sv}", struct.pack("<II", 0, 0), []),
        ("(yu)", b"\x05\0\0\0" + struct.pack("<I", 6), (5, 6)),
        ("b", struct.pack("<I", 1), True),
        ("v", b"\x01x\0" + bytes(5) + struct.pack("<q", -7), -7),
        ("d", struct.pack("<d", 1.5), 1.5),
    ],
)
def test_values_are_read_with_their_alignment(kind: str, data: bytes, value: Any) -> None:
    if value is None:
        with pytest.raises(DBusError):
            Reader(data).read(kind)
    else:
        assert Reader(data).read(kind) == value


def test_signatures_are_split_into_complete_types() -> None:
    assert split_signature("sa(ssu)a{sv}v") == ["s", "a(ssu)", "a{sv}", "v"]
    with pytest.raises(DBusError):
        split_signature("a(s")


def test_a_message_that_is_too_large_is_refused() -> None:
    with pytest.raises(DBusError, match="bytes"):
        parse_size(struct.pack("<BBBBIII", ord("l"), 2, 0, 1, MOST_BYTES, 1, 0))
