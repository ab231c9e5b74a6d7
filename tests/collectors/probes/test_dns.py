"""DNS probes: good answers, and servers that lie, hang, refuse, or never stop."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
import time
from collections.abc import AsyncIterator, Callable, Iterable
from typing import Any

import dns.flags
import dns.message
import dns.rcode
import dns.rrset
import pytest
import uvloop
from hypothesis import given
from hypothesis import strategies as st

from agent.fanout import FanOut
from collectors.probes.dns import Dns, Records, parse_target, target_fault
from collectors.probes.dns_message import NoAnswer, is_truncated, parse_answer, parse_question
from tests.collectors.probes.test_http import book, certificates, reason
from tests.collectors.probes.zoo import Certificates, serving

__all__ = ["certificates"]

Answers = Callable[[bytes], Iterable[bytes]]
A = "www.nightjar.test."


async def probed(*targets: str, timeout: float = 3.0, **options: Any) -> dict[str, Any]:
    """One round, as the agent makes it."""
    prober = Dns(Dns.Options(**{"targets": targets, "query_name": "www.nightjar.test", "family": "ip4", **options}))
    try:
        return book(list(await FanOut(prober, timeout).collect()))
    finally:
        await prober.close()


@contextlib.asynccontextmanager
async def answering(answers: Answers, port: int = 0, elsewhere: Answers | None = None) -> AsyncIterator[int]:
    """A server on a free UDP port that says these datagrams to each query, others before from another port."""

    class Server(asyncio.DatagramProtocol):
        def connection_made(self, transport: Any) -> None:
            self.transport = transport

        def datagram_received(self, data: bytes, addr: Any) -> None:
            for answer in elsewhere(data) if elsewhere else ():
                other.sendto(answer, addr)
            for answer in answers(data):
                self.transport.sendto(answer, addr)

    loop = asyncio.get_running_loop()
    transport, _ = await loop.create_datagram_endpoint(Server, local_addr=("127.0.0.1", port))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
        try:
            yield transport.get_extra_info("sockname")[1]
        finally:
            transport.close()


def response(query: bytes, *records: str, code: str = "NOERROR", **changes: Any) -> bytes:
    """The answer to a query with these records in the answer section."""
    made = dns.message.make_response(dns.message.from_wire(query))
    made.answer = [dns.rrset.from_text(*one.split(" ", 4)) for one in records]
    made.set_rcode(dns.rcode.from_text(code))
    made.flags |= changes.pop("flags", 0)
    for name, value in changes.items():
        setattr(made, name, value)
    return made.to_wire()


def good(query: bytes) -> list[bytes]:
    return [response(query, f"{A} 60 IN A 192.0.2.1", f"{A} 60 IN A 192.0.2.2")]


async def stream(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """A good server, over a stream."""
    size = int.from_bytes(await reader.readexactly(2), "big")
    (answer,) = good(await reader.readexactly(size))
    writer.write(struct.pack("!H", len(answer)) + answer)
    await reader.read()


async def test_long_records_are_put_into_words_in_a_thread() -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        size = int.from_bytes(await reader.readexactly(2), "big")
        query = await reader.readexactly(size)
        head = query[:2] + struct.pack("!5H", 0x8180, 1, 1, 0, 0) + query[12:]
        answer = head + b"\xc0\x0c" + struct.pack("!HHIH", 16, 1, 60, 60_000) + bytes(60_000)
        writer.write(struct.pack("!H", len(answer)) + answer)
        await reader.read()

    async with serving(talk) as port:
        found = await probed(f"127.0.0.1:{port}", transport="tcp", expect_answer=Records(all=("TXT",)))
    assert reason(found) == ""
    assert asyncio.get_running_loop()._default_executor is not None  # type: ignore[attr-defined]  # made for it


async def test_a_good_answer_tells_everything() -> None:
    async with answering(good) as port:
        found = await probed(f"127.0.0.1:{port}")
    assert (found["probe_success"], found["probe_state"], reason(found)) == (1.0, 1.0, "")
    assert (found["probe_dns_answer_rrs"], found["probe_dns_authority_rrs"]) == (2.0, 0.0)
    assert (found["probe_dns_query_succeeded"], found["probe_ip_protocol"]) == (1.0, 4.0)
    assert found["probe_duration_seconds"] >= found["probe_dns_duration_seconds", "request"] > 0.0
    assert "probe_dns_serial" not in found


async def test_the_serial_of_a_zone_is_told() -> None:
    soa = f"{A} 60 IN SOA ns.nightjar.test. root.nightjar.test. 4294967295 1 2 3 4"
    async with answering(lambda query: [response(query, soa)]) as port:
        found = await probed(f"127.0.0.1:{port}", query_type="SOA")
        none = await probed(f"127.0.0.1:{port}", query_type="SOA", expect_answer=Records(none=("SOA",)))
    assert found["probe_dns_serial"] == none["probe_dns_serial"] == 4294967295.0
    assert (reason(found), reason(none)) == ("", "body")


async def test_a_query_says_what_was_asked_for() -> None:
    heard: list[dns.message.Message] = []
    async with answering(lambda query: heard.append(dns.message.from_wire(query)) or []) as port:  # type: ignore[func-returns-value]  # to answer nothing
        options = {"query_name": "version.bind", "query_type": "TXT", "query_class": "CH", "recursion_desired": False}
        await probed(f"127.0.0.1:{port}", timeout=0.2, **options)
    assert str(heard[0].question[0]) == "version.bind. CH TXT"
    assert heard[0].flags == 0


async def test_answers_to_something_else_are_not_heard() -> None:
    def lies(query: bytes) -> list[bytes]:
        other = response(query, question=dns.message.make_query("other.test", "A").question)
        number = (int.from_bytes(query[:2], "big") + 1) & 0xFFFF
        return [b"", query, b"\0" * 5, number.to_bytes(2, "big") + good(query)[0][2:], other, *good(query)]

    async with answering(lies) as port:
        found = await probed(f"127.0.0.1:{port}")
    assert (reason(found), found["probe_dns_answer_rrs"]) == ("", 2.0)


async def test_an_answer_from_elsewhere_is_not_heard() -> None:
    async with answering(good, elsewhere=lambda query: [response(query, code="REFUSED")]) as port:
        assert reason(await probed(f"127.0.0.1:{port}")) == ""
    async with answering(lambda query: [], elsewhere=good) as port:
        assert reason(await probed(f"127.0.0.1:{port}", timeout=0.3)) == "timeout"


async def test_many_lies_end_a_probe() -> None:
    async with answering(lambda query: [b"\0" * 12] * 250) as port:
        assert reason(await probed(f"127.0.0.1:{port}")) == "protocol"


async def test_a_silent_server_holds_up_no_other() -> None:
    async with answering(lambda query: []) as silent, answering(good) as port:
        prober = Dns(Dns.Options(targets=(f"127.0.0.1:{silent}", f"127.0.0.1:{port}"), query_name="www.nightjar.test"))
        samples = list(await FanOut(prober, 0.5).collect())
        await prober.close()
    down = book([one for one in samples if one.labels[0].endswith(str(silent))])
    up = book([one for one in samples if one.labels[0].endswith(str(port))])
    assert (reason(down), reason(up)) == ("timeout", "")
    assert (down["probe_dns_query_succeeded"], down["probe_ip_protocol"]) == (0.0, 4.0)
    assert up["probe_duration_seconds"] < 0.4


@pytest.mark.parametrize("factory", [asyncio.new_event_loop, uvloop.new_event_loop])
def test_a_closed_port_is_refused_on_every_loop(factory: Callable[[], asyncio.AbstractEventLoop]) -> None:
    with asyncio.Runner(loop_factory=factory) as runner:
        for transport in ("udp", "tcp", "tls"):
            found = runner.run(probed("127.0.0.1:1", transport=transport))
            assert (reason(found), found["probe_ip_protocol"]) == ("refused", 4.0)


@pytest.mark.parametrize(
    ("codes", "code", "expected"),
    [
        (("NOERROR",), "NOERROR", ""),
        (("NOERROR",), "NXDOMAIN", "status"),
        (("NOERROR",), "REFUSED", "status"),
        (("NXDOMAIN", "REFUSED"), "REFUSED", ""),
        (("NXDOMAIN",), "NOERROR", "status"),
        (("2",), "SERVFAIL", ""),
    ],
)
async def test_the_response_code_is_an_expected_one_or_not(codes: tuple[str, ...], code: str, expected: str) -> None:
    async with answering(lambda query: [response(query, code=code)]) as port:
        found = await probed(f"127.0.0.1:{port}", expect_rcode=codes)
    assert (reason(found), found["probe_dns_query_succeeded"]) == (expected, 1.0)


async def test_a_refusal_may_come_without_the_question() -> None:
    async with answering(lambda query: [response(query, code="REFUSED", question=[])]) as port:
        assert reason(await probed(f"127.0.0.1:{port}")) == "status"


@pytest.mark.parametrize(
    ("records", "expected"),
    [
        (Records(all=("192\\.0\\.2\\.",)), ""),
        (Records(all=("^www\\.nightjar\\.test\\.\t60\tIN\tA\t192\\.0\\.2\\.[12]$",)), ""),
        (Records(all=("192\\.0\\.2\\.", "\\.1$")), "body"),
        (Records(any=("\\.7$", "\\.2$")), ""),
        (Records(any=("\\.7$", "\\.8$")), "body"),
        (Records(none=("\\.7$",)), ""),
        (Records(none=("\\.7$", "\\.2$")), "body"),
        (Records(all=("IN",), any=("\\.1$",), none=("\\.2$",)), "body"),
    ],
)
async def test_records_are_as_expected_or_not(records: Records, expected: str) -> None:
    async with answering(good) as port:
        found = await probed(f"127.0.0.1:{port}", expect_answer=records)
        empty = await probed(f"127.0.0.1:{port}", expect_authority=records)
    assert reason(found) == expected
    assert reason(empty) == ("body" if records.all or records.any else "")


@pytest.mark.parametrize("cut", [13, 40, -1, -4])
async def test_half_an_answer_is_none(cut: int) -> None:
    async with answering(lambda query: [good(query)[0][:cut]]) as port:
        found = await probed(f"127.0.0.1:{port}", timeout=0.5)
    assert (reason(found), found["probe_dns_query_succeeded"]) == ("timeout" if cut == 13 else "protocol", 0.0)


async def test_a_truncated_answer_is_asked_for_again_over_tcp() -> None:
    async with serving(stream) as port, answering(lambda query: [response(query, flags=dns.flags.TC)], port):
        found = await probed(f"127.0.0.1:{port}")
    assert (reason(found), found["probe_dns_answer_rrs"]) == ("", 2.0)
    assert found["probe_dns_duration_seconds", "connect"] > 0.0
    async with answering(lambda query: [response(query, flags=dns.flags.TC)]) as deaf:
        assert reason(await probed(f"127.0.0.1:{deaf}")) == "refused"


async def _hangs(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"\0")
    await reader.read()
    await asyncio.Event().wait()


async def _breaks_off(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.readexactly(2)
    writer.write(b"\1\0half")
    await writer.drain()


async def _lies(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.readexactly(2)
    while True:  # and never stops
        writer.write(b"\xff\xff" + bytes(65_535))
        await writer.drain()


@pytest.mark.parametrize(("talk", "expected"), [(_hangs, "timeout"), (_breaks_off, "reset"), (_lies, "protocol")])
async def test_a_bad_server_on_tcp_has_its_reason(talk: Any, expected: str) -> None:
    async with serving(talk) as port:
        found = await probed(f"127.0.0.1:{port}", timeout=0.5, transport="tcp")
    assert (reason(found), found["probe_success"]) == (expected, 0.0)


async def test_tls_is_spoken_and_judged(certificates: Certificates) -> None:
    async with serving(stream, certificates.leaf("good")) as port:
        options = {"transport": "tls", "query_type": "A"}
        up = await probed(f"localhost:{port}", ca_file=str(certificates.authority), **options)
        down = await probed(f"localhost:{port}", **options)
    assert (reason(up), reason(down)) == ("", "certificate")
    assert up["probe_ssl_earliest_cert_expiry"] == down["probe_ssl_earliest_cert_expiry"] > 0
    assert up["probe_dns_answer_rrs"] == 2.0


async def test_records_that_cost_much_end_with_the_deadline() -> None:
    """As many names of 127 labels as 64 KiB hold: seconds of work, and others still have their turn."""

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        size = int.from_bytes(await reader.readexactly(2), "big")
        query = await reader.readexactly(size)
        pointer = struct.pack("!H", 0xC000 | len(query))
        first = b"\1a" * 126 + b"\0" + struct.pack("!HHIH", 1, 1, 60, 4) + bytes(4)
        more = pointer + struct.pack("!HHIH", 5, 1, 60, 2) + pointer
        count = (65_000 - len(query) - len(first)) // len(more)
        head = query[:2] + struct.pack("!5H", 0x8000, 1, count + 1, 0, 0)
        answer = head + query[12:] + first + more * count
        writer.write(struct.pack("!H", len(answer)) + answer)
        await reader.read()

    async with serving(talk) as port:
        started = time.perf_counter()
        found = await probed(f"127.0.0.1:{port}", timeout=0.3, transport="tcp", expect_answer=Records(none=("never",)))
        took = time.perf_counter() - started
        counted = await probed(f"127.0.0.1:{port}", transport="tcp")
    assert (reason(found), took < 2.0) == ("timeout", True)
    assert counted["probe_dns_answer_rrs"] > 4_000


QUESTION = parse_question("www.nightjar.test", "A", "IN")
QUERY = QUESTION.query(7, recursion=True)
WHOLE = response(
    QUERY,
    f"{A} 60 IN A 192.0.2.1",
    f'{A} 60 IN TXT "x" "y"',
    f"{A} 60 IN MX 1 mail.nightjar.test.",
    f"{A} 60 IN SOA ns.nightjar.test. root.nightjar.test. 1 1 2 3 4",
    f"{A} 60 IN NSEC other.nightjar.test. A MX",
    f'{A} 60 IN CAA 0 issue "x"',
)


def _read(message: bytes) -> None:
    """All that a probe does with an answer."""
    with contextlib.suppress(NoAnswer):
        answer = parse_answer(message)
        assert answer.serial >= 0
        for record in (one for section in answer.sections.values() for one in section):
            with contextlib.suppress(NoAnswer):
                assert answer.text(record).count("\t") >= 4


@given(st.binary(max_size=400))
def test_bytes_of_any_kind_are_an_answer_or_none(data: bytes) -> None:
    QUESTION.answered_by(7, data)
    _read(data)
    _read(WHOLE[:12] + data)


@given(st.lists(st.tuples(st.integers(0, len(WHOLE) - 1), st.integers(0, 255)), max_size=8), st.integers(0, len(WHOLE)))
def test_a_damaged_answer_is_one_or_none(changes: list[tuple[int, int]], cut: int) -> None:
    message = bytearray(WHOLE)
    for at, value in changes:
        message[at] = value
    _read(bytes(message))
    _read(bytes(message[:cut]))


@given(st.integers(0, 65_535), st.integers(0, 65_535), st.binary(max_size=80))
def test_records_of_every_type_have_a_text(kind: int, group: int, data: bytes) -> None:
    for one in (group, 1):
        fixed = b"\xc0\x0c" + struct.pack("!HHIH", kind % 300 if one == 1 else kind, one, 60, len(data))
        _read(struct.pack("!6H", 7, 0x8000, 1, 1, 0, 0) + QUERY[12:] + fixed + data)


def test_the_text_of_records_is_that_of_a_zone_file() -> None:
    answer = parse_answer(WHOLE)
    assert [answer.text(one) for one in answer.sections["answer"][:3]] == [
        "www.nightjar.test.\t60\tIN\tA\t192.0.2.1",
        'www.nightjar.test.\t60\tIN\tTXT\t"x" "y"',
        "www.nightjar.test.\t60\tIN\tMX\t1 mail.nightjar.test.",
    ]
    assert not is_truncated(WHOLE)


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        ("ns.example.com", ("ns.example.com", 53)),
        ("ns.example.com:5353", ("ns.example.com", 5353)),
        ("192.0.2.1", ("192.0.2.1", 53)),
        ("::1", ("::1", 53)),
        ("[::1]", ("::1", 53)),
        ("[::1]:5353", ("::1", 5353)),
        ("fe80::1%eth0", ("fe80::1%eth0", 53)),
    ],
)
def test_a_target_is_a_host_with_a_port_or_without(target: str, expected: tuple[str, int]) -> None:
    assert parse_target(target, 53) == expected


@pytest.mark.parametrize("target", ["", ":53", "x:", "x:0", "x:65536", "udp://x", "a b", "x:٣"])
def test_a_target_that_is_none_is_told(target: str) -> None:
    assert "is no target" in target_fault(target)


@pytest.mark.parametrize(
    ("options", "fault"),
    [
        ({"query_name": "x"}, "is needed"),
        ({"targets": ("x",), "query_name": ""}, "query_name: is empty"),
        ({"targets": ("x:y",), "query_name": "x"}, "no target"),
        ({"targets": ("x",), "query_name": "a..b"}, "query_name"),
        ({"targets": ("x",), "query_name": "x" * 64}, "query_name"),
        ({"targets": ("x",), "query_name": "x", "query_type": "NIX"}, "query_type"),
        ({"targets": ("x",), "query_name": "x", "query_type": "65536"}, "query_type"),
        ({"targets": ("x",), "query_name": "x", "query_class": "NIX"}, "query_class"),
        ({"targets": ("x",), "query_name": "x", "expect_rcode": ("NIX",)}, "expect_rcode"),
        ({"targets": ("x",), "query_name": "x", "expect_rcode": ()}, "expect_rcode"),
        ({"targets": ("x",), "query_name": "x", "expect_answer": Records(all=("(",))}, "no regular expression"),
    ],
)
def test_options_that_make_no_sense_are_refused(options: dict[str, Any], fault: str) -> None:
    with pytest.raises(ValueError, match=fault):
        Dns.Options(**options)


@pytest.mark.parametrize(("kind", "number"), [("MX", 15), ("TYPE65280", 65280), ("28", 28), ("ANY", 255), ("caa", 257)])
def test_types_are_names_or_numbers(kind: str, number: int) -> None:
    assert parse_question("x", kind, "IN").kind == number
