"""ICMP probes: packets, and pings of the loopback addresses."""

from __future__ import annotations

import asyncio
import errno
import os
import socket
import struct
import time
from collections.abc import Callable
from typing import Any

import pytest
import uvloop
from hypothesis import given
from hypothesis import strategies as st

from agent.fanout import FanOut
from collectors.probes.icmp import PHASES, Icmp, target_fault
from collectors.probes.icmp_packets import (
    HEADER,
    SO_TIMESTAMPNS,
    Packet,
    checksum,
    encode_request,
    parse_arrival,
    parse_fault,
    parse_reply,
    parse_returned,
)
from tests.collectors.probes.test_http import book, reason
from tests.conftest import has_ip6, need_ping

LOOPS = pytest.mark.parametrize("factory", [asyncio.new_event_loop, uvloop.new_event_loop])
IP4, IP6 = socket.AF_INET, socket.AF_INET6


async def probed(*targets: str, timeout: float = 3.0, **options: Any) -> dict[str, Any]:
    """One round, as the agent makes it."""
    need_ping()
    prober = Icmp(Icmp.Options(targets=targets, **options))
    try:
        return book(list(await FanOut(prober, timeout).collect()))
    finally:
        await prober.close()


@LOOPS
def test_a_host_that_answers_is_up(factory: Callable[[], asyncio.AbstractEventLoop]) -> None:
    with asyncio.Runner(loop_factory=factory) as runner:
        found = runner.run(probed("127.0.0.1"))
    assert (found["probe_success"], found["probe_state"], reason(found)) == (1.0, 1.0, "")
    assert (found["probe_ip_protocol"], found["probe_icmp_reply_hop_limit"]) == (4.0, 64.0)
    assert {phase for phase in PHASES if ("probe_icmp_duration_seconds", phase) in found} == set(PHASES)
    assert 0.0 < found["probe_icmp_duration_seconds", "rtt"] < found["probe_duration_seconds"]


async def test_a_host_of_ipv6_is_up_where_there_is_ipv6() -> None:
    found = await probed("::1")
    assert reason(found) == ("" if has_ip6() else "unreachable")
    assert found["probe_ip_protocol"] == 6.0


async def test_a_name_is_resolved() -> None:
    found = await probed("localhost", family="ip4")
    assert (reason(found), found["probe_ip_protocol"]) == ("", 4.0)
    assert found["probe_dns_lookup_time_seconds"] == found["probe_icmp_duration_seconds", "resolve"] > 0.0


@pytest.mark.parametrize("size", [16, 17, 1_400, 60_000])
async def test_payloads_of_many_sizes_come_back(size: int) -> None:
    assert reason(await probed("127.0.0.1", payload_size=size)) == ""


async def test_a_socket_serves_many_hosts_at_once_and_round_after_round() -> None:
    """Replies of 1,400 bytes from 256 hosts do not overflow the socket, and sockets do not pile up."""
    need_ping()
    targets = tuple(f"127.0.1.{number}" for number in range(256))
    prober = Icmp(Icmp.Options(targets=targets, payload_size=1_400))
    opened = []
    try:
        for _ in range(3):
            samples = list(await FanOut(prober, 5.0).collect())
            assert sum(one.value for one in samples if one.family.name == "probe_success") == len(targets)
            opened.append(len(os.listdir("/proc/self/fd")))
    finally:
        await prober.close()
    assert opened[0] == opened[1] == opened[2]


async def test_the_time_is_the_kernels_not_the_loops() -> None:
    """A loop that is held up for 50 ms after the request went out does not make the host slow."""
    need_ping()
    prober = Icmp(Icmp.Options(targets=("127.0.0.1",)))
    await prober.targets()

    async def hold_up() -> None:
        until = time.perf_counter() + 0.05
        while time.perf_counter() < until:
            pass

    try:
        probe = asyncio.create_task(_probe(prober, "127.0.0.1"))
        await asyncio.gather(probe, hold_up())
    finally:
        await prober.close()
    assert probe.result()["probe_icmp_duration_seconds", "rtt"] < 0.04


async def _probe(prober: Icmp, target: str) -> dict[str, Any]:
    return book(list(await prober.probe(target)))


def test_a_collector_is_made_without_a_socket() -> None:
    before = len(os.listdir("/proc/self/fd"))
    Icmp(Icmp.Options(targets=("127.0.0.1",)))
    assert len(os.listdir("/proc/self/fd")) == before


# -- packets ------------------------------------------------------------------------------------------------------


def test_the_checksum_is_that_of_the_rfc() -> None:
    data = bytes.fromhex("0001f203f4f5f6f7")  # RFC 1071, 3
    assert checksum(data) == ~0xDDF2 & 0xFFFF
    assert checksum(data + struct.pack("!H", checksum(data))) == 0
    assert checksum(b"\1") == 0xFEFF


def test_a_request_is_that_of_the_rfc() -> None:
    packet = Packet(0x1234, 7, b"payload")
    assert encode_request(IP6, packet) == bytes.fromhex("8000000012340007") + b"payload"
    four = encode_request(IP4, packet)
    assert (four[:2], four[4:], checksum(four)) == (b"\x08\0", bytes.fromhex("12340007") + b"payload", 0)


def test_a_reply_is_found_with_an_ip_header_and_without() -> None:
    data = HEADER.pack(0, 0, 9, 1, 2) + b"x"
    assert parse_reply(IP4, data, raw=False) == Packet(1, 2, b"x")
    assert parse_reply(IP4, b"\x46" + bytes(23) + data, raw=True) == Packet(1, 2, b"x")
    assert parse_reply(IP6, HEADER.pack(129, 0, 9, 1, 2), raw=True) == Packet(1, 2, b"")


@pytest.mark.parametrize("data", [b"", b"\0" * 7, HEADER.pack(8, 0, 0, 1, 2), HEADER.pack(0, 1, 0, 1, 2)])
def test_what_is_no_reply_is_none(data: bytes) -> None:
    assert parse_reply(IP4, data, raw=False) is None
    assert parse_reply(IP6, data, raw=True) is None


def test_the_kernel_says_when_and_from_how_far() -> None:
    arrived = (socket.SOL_SOCKET, SO_TIMESTAMPNS, struct.pack("@qq", 5, 7))
    hops = (socket.IPPROTO_IP, socket.IP_TTL, struct.pack("@i", 63))
    assert parse_arrival([arrived, hops]) == (5_000_000_007, 63)
    assert parse_arrival([(socket.IPPROTO_IPV6, socket.IPV6_HOPLIMIT, struct.pack("@i", 1))]) == (0, 1)
    assert parse_arrival([]) == (0, -1)


@pytest.mark.parametrize(
    ("origin", "kind", "expected"),
    [
        (2, 3, errno.EHOSTUNREACH),  # destination unreachable
        (2, 11, errno.EHOSTUNREACH),  # time exceeded
        (3, 1, errno.EHOSTUNREACH),
        (2, 5, 0),  # a redirect: the request went on
        (1, 3, 0),  # our own kernel, which said so when the request was sent
    ],
)
def test_an_error_is_the_end_of_a_request_or_not(origin: int, kind: int, expected: int) -> None:
    error = struct.pack("@IBBBBII", errno.EHOSTUNREACH, origin, kind, 1, 0, 0, 0)
    assert parse_fault([(socket.IPPROTO_IP, 11, error)]) == expected
    assert parse_fault([(socket.IPPROTO_IPV6, 25, error)]) == expected
    assert parse_fault([(socket.IPPROTO_IP, 2, error)]) == 0


def test_an_error_tells_whose_request_it_is_about() -> None:
    assert parse_returned(IP4, encode_request(IP4, Packet(1, 2, b"x"))) == Packet(1, 2, b"x")
    assert parse_returned(IP6, encode_request(IP6, Packet(1, 2, b""))[:8]) == Packet(1, 2, b"")
    assert parse_returned(IP4, b"\x08") is None


@given(st.binary(max_size=80), st.sampled_from([IP4, IP6]), st.booleans())
def test_packets_of_any_kind_are_replies_or_none(data: bytes, family: int, raw: bool) -> None:
    parse_reply(family, data, raw=raw)
    parse_returned(family, data)
    parse_arrival([(level, kind, data) for level in (0, 1, 41) for kind in (2, 35, 52)])
    parse_fault([(0, 11, data), (41, 25, data)])


# -- options ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("target", ["host", "host.example.com", "192.0.2.1", "::1", "fe80::1%eth0", "10.1"])
def test_a_target_is_a_host(target: str) -> None:
    assert target_fault(target) == ""


@pytest.mark.parametrize("target", ["", "host:80", "https://host", "[::1]", "a b", "x" * 254, "::1::"])
def test_a_target_that_is_none_is_told(target: str) -> None:
    assert "is no target" in target_fault(target)


@pytest.mark.parametrize(("options", "fault"), [({}, "is needed"), ({"targets": ("x:1",)}, "no target")])
def test_options_that_make_no_sense_are_refused(options: dict[str, Any], fault: str) -> None:
    with pytest.raises(ValueError, match=fault):
        Icmp.Options(**options)
