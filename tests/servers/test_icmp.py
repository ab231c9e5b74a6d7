"""Our pings in networks made for it, and beside the real blackbox_exporter on the same hosts."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import uvloop

from agent.fanout import FanOut
from agent.model import Sample
from collectors.probes.icmp import Icmp
from collectors.probes.icmp_packets import HEADER, checksum
from tests.collectors.probes.test_http import book, reason
from tests.conftest import ROOT, free_port, need_peer, need_ping
from tests.daemon import Process, get, within
from tests.servers.icmp_hosts import (
    EVERYBODY,
    FAR,
    GOOD,
    GOOD6,
    LOST,
    LOST6,
    NOBODY,
    PROHIBITED,
    UNREACHABLE,
    UNREACHABLE6,
    in_namespace,
)
from tests.servers.test_probes import Blackbox, differences, ours

pytestmark = pytest.mark.servers

VERDICTS = {
    GOOD: "",
    GOOD6: "",
    UNREACHABLE: "unreachable",
    UNREACHABLE6: "unreachable",
    LOST: "timeout",
    LOST6: "timeout",
    "fe80::1%nix": "unreachable",  # no such interface
    "127.0.0.1": "",
}
KINDS = pytest.mark.parametrize("groups", [EVERYBODY, NOBODY], ids=["datagram", "raw"])


async def rounds(prober: Icmp, count: int = 1, timeout: float = 1.0) -> list[dict[str, dict[str, Any]]]:
    """What each host looks like, round by round."""
    found = []
    try:
        for _ in range(count):
            by_host: dict[str, list[Sample]] = {}
            for sample in await FanOut(prober, timeout).collect():
                by_host.setdefault(sample.labels[0], []).append(sample)
            found.append({host: book(samples) for host, samples in by_host.items()})
    finally:
        await prober.close()
    return found


async def probed(host: str, **options: Any) -> dict[str, Any]:
    return (await rounds(Icmp(Icmp.Options(targets=(host,), **options))))[0][host]


@KINDS
@pytest.mark.parametrize("factory", [asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
def test_hosts_that_answer_and_hosts_that_do_not(
    groups: str, factory: Callable[[], asyncio.AbstractEventLoop], tmp_path: Path
) -> None:
    """Over both kinds of socket, and again in the next round: what failed does not spoil the socket."""

    async def main() -> list[bool]:
        prober = Icmp(Icmp.Options(targets=tuple(VERDICTS)))
        await prober.targets()
        kinds = [echo.raw for echo in prober._echoes.values()]
        for found in await rounds(prober, 2):
            assert {host: reason(one) for host, one in found.items()} == VERDICTS
            assert found[GOOD]["probe_duration_seconds"] < 0.5
        return kinds

    assert in_namespace(main, tmp_path, groups, factory) == [groups == NOBODY] * 2


@KINDS
def test_the_road_there_has_its_limits(groups: str, tmp_path: Path) -> None:
    """A hop limit that is used up, a host that may not be asked, a packet that may not be cut."""

    async def main() -> None:
        assert reason(await probed(FAR, ttl=1)) == "unreachable"
        assert reason(await probed(PROHIBITED)) == "unreachable"
        assert reason(await probed("10.0.0.2", ttl=1)) == ""
        for host in (GOOD, GOOD6):
            assert reason(await probed(host, payload_size=3_000)) == ""
            assert reason(await probed(host, payload_size=3_000, dont_fragment=True)) == "too_large"
            assert reason(await probed(host, payload_size=1_000, dont_fragment=True)) == ""

    in_namespace(main, tmp_path, groups)


@KINDS
def test_a_full_socket_delays_others_and_no_more(groups: str, tmp_path: Path) -> None:
    """Requests to hosts that nobody knows fill a small send buffer, until after 3 s the kernel gives them up."""

    async def main() -> None:
        hosts = (*(f"10.0.0.{number}" for number in range(100, 107)), GOOD)
        prober = Icmp(Icmp.Options(targets=hosts, payload_size=1_400))
        await prober.targets()
        prober._echoes[socket.AF_INET]._socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4_608)
        (found,) = await rounds(prober, timeout=12.0)
        assert [reason(one) for one in found.values()] == ["unreachable"] * 7 + [""]

    in_namespace(main, tmp_path, groups)


@KINDS
def test_no_reply_but_the_one_to_our_request_counts(groups: str, tmp_path: Path) -> None:
    """Forged ones, a flood of them, with one thing wrong each; then one that is right, of the same sender."""

    async def main() -> None:
        Path("/proc/sys/net/ipv4/icmp_echo_ignore_all").write_text("1")
        async with forging(honest=False):
            assert reason(await probed("127.0.0.1")) == "timeout"
        async with forging(honest=True):
            assert reason(await probed("127.0.0.1")) == ""

    in_namespace(main, tmp_path, groups)


@contextlib.asynccontextmanager
async def forging(*, honest: bool) -> Any:
    """Answers every request with forged replies, at last with a right one if `honest`."""
    loop = asyncio.get_running_loop()
    listening = socket.socket(socket.AF_INET, socket.SOCK_RAW | socket.SOCK_NONBLOCK, socket.IPPROTO_ICMP)
    other = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP)
    other.bind(("127.0.0.2", 0))

    def answer() -> None:
        data, (sender, _) = listening.recvfrom(65_535)
        kind, _, _, identifier, sequence = HEADER.unpack_from(data, 20)
        payload = data[20 + HEADER.size :]
        if kind != 8:
            return
        for _ in range(300):
            listening.sendto(_reply(identifier, sequence, bytes(len(payload))), (sender, 0))
            listening.sendto(_reply(identifier, sequence, payload[:-1]), (sender, 0))
            listening.sendto(_reply(identifier, sequence + 1 & 0xFFFF, payload), (sender, 0))
            listening.sendto(_reply(identifier + 1 & 0xFFFF, sequence, payload), (sender, 0))
            other.sendto(_reply(identifier, sequence, payload), (sender, 0))
        if honest:
            loop.call_later(0.1, listening.sendto, _reply(identifier, sequence, payload), (sender, 0))

    loop.add_reader(listening.fileno(), answer)
    try:
        yield
    finally:
        loop.remove_reader(listening.fileno())
        listening.close()
        other.close()


def _reply(identifier: int, sequence: int, payload: bytes) -> bytes:
    plain = HEADER.pack(0, 0, 0, identifier, sequence) + payload
    return HEADER.pack(0, 0, checksum(plain), identifier, sequence) + payload


CHILD = """
import asyncio
from agent.fanout import FanOut
from collectors.probes.icmp import Icmp

async def main():
    prober = Icmp(Icmp.Options(targets=("127.0.0.1", "::1")))
    try:
        await FanOut(prober, 1.0).collect()
    except PermissionError as error:
        print(error)

asyncio.run(main())
"""


def test_who_may_not_ping_is_told_how_to() -> None:
    """In a namespace where no group may, without the capability: no host is called down, the round is an error."""
    command = [need_peer("unshare"), "-n", need_peer("setpriv"), "--bounding-set=-net_raw", sys.executable, "-c", CHILD]
    ended = subprocess.run(command, check=False, capture_output=True, text=True, cwd=ROOT)
    if ended.returncode and "unshare" in ended.stderr:
        pytest.skip(f"needs the right to make networks: {ended.stderr}")
    assert (ended.returncode, ended.stderr) == (0, "")
    assert "ping_group_range" in ended.stdout
    assert "AmbientCapabilities=CAP_NET_RAW" in ended.stdout


async def _beside(hosts: dict[str, str], folder: Path) -> None:
    need_ping()
    port, file = free_port(), folder / "blackbox.yml"
    lines = [f"{{prober: icmp, timeout: 1s, icmp: {{preferred_ip_protocol: ip{family}}}}}" for family in "46"]
    file.write_text(f"modules:\n  ip4: {lines[0]}\n  ip6: {lines[1]}\n")
    program, base = need_peer("prometheus-blackbox-exporter"), f"http://127.0.0.1:{port}"
    with Process([program, f"--config.file={file}", f"--web.listen-address=127.0.0.1:{port}"], folder / "log") as one:
        within(20, lambda: get(f"{base}/-/healthy")[0] == 200, f"blackbox_exporter is up: {one.output[-500:]}")
        for host, family in hosts.items():
            theirs = await Blackbox(port).series(family, host)
            prober = Icmp(Icmp.Options(targets=(host,)))
            mine = ours(await FanOut(prober, 1.0).collect())
            await prober.close()
            faults = differences(theirs, mine)
            print(f"{host}: success {theirs['probe_success'][()]:g}, {len(theirs)} families, {len(faults)} faults")
            assert not faults, "\n".join(faults)


@KINDS
def test_hosts_as_blackbox_exporter_sees_them(groups: str, tmp_path: Path) -> None:
    hosts = {GOOD: "ip4", GOOD6: "ip6", "127.0.0.1": "ip4", "::1": "ip6", UNREACHABLE: "ip4", LOST: "ip4"}
    in_namespace(lambda: _beside(hosts, tmp_path), tmp_path, groups)


async def test_this_host_as_blackbox_exporter_sees_it(tmp_path: Path) -> None:
    await _beside({"127.0.0.1": "ip4"}, tmp_path)
