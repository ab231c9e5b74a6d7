"""Our DNS probes against a real NSD, and beside the real blackbox_exporter on the same questions."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from agent.fanout import FanOut
from collectors.probes.dns import Dns, Records
from tests.collectors.probes.test_http import book, reason
from tests.conftest import free_port, has_ip6, need_peer
from tests.daemon import Process, get, within
from tests.servers.dns_servers import LONG, SERIAL, Nsd, nsd
from tests.servers.test_probes import Blackbox, differences, ours

__all__ = ["nsd"]

pytestmark = pytest.mark.servers

QUESTIONS: dict[str, dict[str, Any]] = {
    "a": {"query_name": "www.nightjar.test", "query_type": "A"},
    "aaaa": {"query_name": "www.nightjar.test", "query_type": "AAAA"},
    "cname": {"query_name": "alias.nightjar.test", "query_type": "CNAME"},
    "followed": {"query_name": "alias.nightjar.test", "query_type": "A"},
    "mx": {"query_name": "nightjar.test", "query_type": "MX"},
    "ns": {"query_name": "nightjar.test", "query_type": "NS"},
    "soa": {"query_name": "nightjar.test", "query_type": "SOA"},
    "srv": {"query_name": "_sip._tcp.nightjar.test", "query_type": "SRV"},
    "txt": {"query_name": "text.nightjar.test", "query_type": "TXT"},
    "caa": {"query_name": "nightjar.test", "query_type": "CAA"},
    "any": {"query_name": "www.nightjar.test", "query_type": "ANY"},
    "tcp": {"query_name": "long.nightjar.test", "query_type": "TXT", "transport": "tcp"},
    "referral": {"query_name": "x.sub.nightjar.test", "query_type": "A"},
    "nothing": {"query_name": "www.nightjar.test", "query_type": "MX"},
    "no_name": {"query_name": "nix.nightjar.test", "query_type": "A"},
    "no_name_wanted": {"query_name": "nix.nightjar.test", "query_type": "A", "expect_rcode": ("NXDOMAIN",)},
    "no_serial": {"query_name": "nix.nightjar.test", "query_type": "SOA"},
    "refused": {"query_name": "example.com", "query_type": "A"},
}
SECTIONS = ("answer", "authority", "additional")
EXPECTED: dict[str, tuple[str, str, Records]] = {  # question, section, expectation
    "all": ("a", "answer", Records(all=("^www.nightjar.test.\t300\tIN\tA\t192\\.0\\.2\\.[12]$",))),
    "all_but_one": ("a", "answer", Records(all=("\\.1$",))),
    "any": ("a", "answer", Records(any=("\\.2$", "\\.3$"))),
    "any_not": ("a", "answer", Records(any=("\\.3$",))),
    "none": ("a", "answer", Records(none=("\\.3$",))),
    "none_but_one": ("a", "answer", Records(none=("\\.2$",))),
    "authority": ("mx", "authority", Records(all=("^nightjar.test.\t300\tIN\tNS\tns.nightjar.test.$",))),
    "additional": ("mx", "additional", Records(all=("^(ns|mail).nightjar.test.\t300\tIN\tA+\t(::1|[0-9.]+)$",))),
    "empty": ("refused", "answer", Records(any=("x",))),
    "text": ("txt", "answer", Records(all=('^text.nightjar.test.\t300\tIN\tTXT\t"first" "second; ."quoted.""$',))),
    "mail": ("mx", "answer", Records(all=("^nightjar.test.\t300\tIN\tMX\t10 mail.nightjar.test.$",))),
    "service": ("srv", "answer", Records(all=("\tIN\tSRV\t1 2 5060 www.nightjar.test.$",))),
    "authorities": ("caa", "answer", Records(all=('\tIN\tCAA\t0 issue "ca.example.net"$',))),
    "address6": ("aaaa", "answer", Records(all=("\tIN\tAAAA\t2001:db8::1$",))),
    "zone": (
        "soa",
        "answer",
        Records(all=(f"\tSOA\tns.nightjar.test. hostmaster.nightjar.test. {SERIAL} 3600 600 86400 60$",)),
    ),
}


def theirs(options: dict[str, Any]) -> dict[str, Any]:
    """The same question for blackbox_exporter."""
    module = {
        "query_name": options["query_name"],
        "query_type": options["query_type"],
        "transport_protocol": options.get("transport", "udp"),
        "preferred_ip_protocol": "ip4",
        "valid_rcodes": [*options.get("expect_rcode", ("NOERROR",))],
    }
    for section in SECTIONS:
        if wanted := options.get(f"expect_{section}"):
            module[f"validate_{section}_rrs"] = {
                "fail_if_not_matches_regexp": [*wanted.all],
                "fail_if_none_matches_regexp": [*wanted.any],
                "fail_if_matches_regexp": [*wanted.none],
            }
    return {"prober": "dns", "timeout": "2s", "dns": module}


ALL = {
    **QUESTIONS,
    **{
        f"expect_{name}": {**QUESTIONS[question], f"expect_{section}": records}
        for name, (question, section, records) in EXPECTED.items()
    },
}


@pytest.fixture
async def blackbox(tmp_path: Path) -> AsyncIterator[Blackbox]:
    port, file = free_port(), tmp_path / "blackbox.yml"
    file.write_text(yaml.safe_dump({"modules": {name: theirs(options) for name, options in ALL.items()}}))
    program = need_peer("prometheus-blackbox-exporter")
    command = [program, f"--config.file={file}", f"--web.listen-address=127.0.0.1:{port}"]
    with Process(command, tmp_path / "blackbox.log") as process:
        healthy = f"http://127.0.0.1:{port}/-/healthy"
        within(20, lambda: get(healthy)[0] == 200, f"blackbox_exporter is up; it printed {process.output[-500:]}")
        yield Blackbox(port)


async def probed(target: str, **options: Any) -> dict[str, Any]:
    prober = Dns(Dns.Options(targets=(target,), **options))
    try:
        return book(list(await FanOut(prober, 5.0).collect()))
    finally:
        await prober.close()


async def test_every_question_as_blackbox_exporter_sees_it(nsd: Nsd, blackbox: Blackbox) -> None:
    target, faults, families = f"127.0.0.1:{nsd.port}", [], set()
    for name, options in ALL.items():
        seen = await blackbox.series(name, target)
        prober = Dns(Dns.Options(targets=(target,), family="ip4", **options))
        mine = ours(await FanOut(prober, 5.0).collect())
        await prober.close()
        found = differences(seen, mine)
        families |= set(seen)
        print(f"{name}: success {seen['probe_success'][()]:g}, {len(seen)} families, {len(found)} faults")
        faults += [f"{name}: {fault}" for fault in found]
    print(f"{len(ALL)} questions, {len(families)} families of blackbox_exporter, {len(faults)} faults")
    assert not faults, "\n".join(faults)


async def test_nobody_there_as_blackbox_exporter_sees_it(blackbox: Blackbox) -> None:
    prober = Dns(Dns.Options(targets=("127.0.0.1:1",), family="ip4", **QUESTIONS["soa"]))
    mine = ours(await FanOut(prober, 5.0).collect())
    await prober.close()
    assert not differences(await blackbox.series("soa", "127.0.0.1:1"), mine)


async def test_silence_as_blackbox_exporter_sees_it(blackbox: Blackbox) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as silent:
        silent.bind(("127.0.0.1", 0))
        target = f"127.0.0.1:{silent.getsockname()[1]}"
        prober = Dns(Dns.Options(targets=(target,), family="ip4", **QUESTIONS["soa"]))
        mine = ours(await FanOut(prober, 1.0).collect())
        await prober.close()
        assert not differences(await blackbox.series("soa", target), mine)


async def test_a_long_answer_comes_whole_over_udp_and_tcp(nsd: Nsd) -> None:
    options = {"query_name": "long.nightjar.test", "query_type": "TXT", "expect_answer": Records(all=("x{40}",))}
    for transport in ("udp", "tcp"):
        found = await probed(f"127.0.0.1:{nsd.port}", transport=transport, **options)
        assert (reason(found), found["probe_dns_answer_rrs"]) == ("", float(LONG))


async def test_both_families_are_asked(nsd: Nsd) -> None:
    for target in (f"127.0.0.1:{nsd.port}", f"localhost:{nsd.port}"):
        assert reason(await probed(target, **QUESTIONS["soa"])) == ""


async def test_dns_over_tls(nsd: Nsd) -> None:
    options = {**QUESTIONS["soa"], "transport": "tls"}
    up = await probed(f"localhost:{nsd.tls}", ca_file=str(nsd.authority), **options)
    down = await probed(f"localhost:{nsd.tls}", **options)
    assert (reason(up), up["probe_dns_serial"]) == ("", float(SERIAL))
    assert reason(down) == "certificate"
    assert up["probe_ssl_earliest_cert_expiry"] == down["probe_ssl_earliest_cert_expiry"] > 0


async def test_a_zone_served_over_ipv6_where_there_is_ipv6(nsd: Nsd) -> None:
    found = await probed(f"[::1]:{nsd.port}", **QUESTIONS["soa"])
    assert reason(found) in (("",) if has_ip6() else ("unreachable", "refused"))
    assert found["probe_ip_protocol"] == 6.0
