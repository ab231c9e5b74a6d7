"""`nightjar probe`: what it finds, and how it is judged; every line it prints is read strictly."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import dns.message
import dns.rrset
import pytest

from agent.cli.kinds import KINDS
from tests.collectors.probes.zoo import Certificates, says, serving
from tests.conftest import free_port, need_ping
from tests.probing import FINE, KEYS, probe, silent, web

__all__ = ["silent", "web"]


async def test_a_port_that_takes_connections_is_fine(silent: int) -> None:
    said = (await probe("tcp", f"127.0.0.1:{silent}")).output
    assert (said.word, said.status) == ("TCP", "OK")
    assert said.text.startswith(f"127.0.0.1:{silent} is up")
    time_taken = said.value("time")
    assert 0 < time_taken.value < 10
    assert (time_taken.unit, time_taken.minimum, time_taken.maximum) == ("s", 0, 10)


async def test_host_and_port_may_come_as_monitoring_servers_give_them(silent: int) -> None:
    said = (await probe("tcp", "-H", "127.0.0.1", "-p", str(silent), "-w", "5", "-c", "8", "-t", "9")).output
    assert said.status == "OK"
    assert [(one.label, one.warn, one.crit, one.maximum) for one in said.values] == [("time", "5", "8", 9)]


@pytest.mark.parametrize(
    ("flags", "status"),
    [
        (("-w", "~:0"), "WARNING"),
        (("-c", "~:0"), "CRITICAL"),
        (("-w", "~:0", "-c", "~:0"), "CRITICAL"),
        (("-w", "@0:10", "-c", "10"), "WARNING"),
        (("--warning", "10", "--critical", "20"), "OK"),
    ],
)
async def test_ranges_judge_the_seconds_it_took(silent: int, flags: tuple[str, ...], status: str) -> None:
    assert (await probe("tcp", f"127.0.0.1:{silent}", *flags)).output.status == status


@pytest.mark.parametrize("kind", [kind for kind, about in KINDS.items() if about.option and kind != "icmp"])
async def test_a_target_that_is_down_is_critical_whatever_the_ranges_say(kind: str) -> None:
    more = ("--query-name", "example.com") if kind == "dns" else ()
    target = f"127.0.0.1:{free_port()}"
    said = (await probe(kind, target, *more, "-w", "~:", "-c", "~:")).output
    assert said.status == "CRITICAL"
    assert "is down: refused" in said.text
    assert target in said.text


@pytest.mark.parametrize("kind", [kind for kind, about in KINDS.items() if about.option and kind != "icmp"])
async def test_a_target_that_is_down_is_critical_by_the_default_rules_too(kind: str) -> None:
    more = ("--query-name", "example.com") if kind == "dns" else ()
    said = (await probe(kind, f"127.0.0.1:{free_port()}", *more, "-v")).output
    assert said.status == "CRITICAL"


async def test_of_several_targets_the_worst_counts(silent: int, tmp_path: Path) -> None:
    closed = free_port()
    (tmp_path / "targets").write_text(f"127.0.0.1:{silent}\n127.0.0.1:{closed}\n")
    said = (await probe("tcp", "--targets-file", str(tmp_path / "targets"))).output
    assert (said.status, said.text) == ("CRITICAL", f"127.0.0.1:{closed} is down: refused")
    said = (
        await probe("tcp", "--targets", f"127.0.0.1:{silent}", "--targets", f"localhost:{silent}", "-c", "9")
    ).output
    assert (said.status, said.text.split(",")[0]) == ("OK", "2 targets are up")
    (tmp_path / "targets").write_text("")
    assert (await probe("tcp", "--targets-file", str(tmp_path / "targets"))).output.status == "UNKNOWN"


async def test_a_page_is_fine_and_a_bad_status_is_not(web: str) -> None:
    assert (await probe("http", f"http://{web}/health")).output.status == "OK"
    assert (await probe("http", "--url", f"http://{web}/health")).output.status == "OK"
    said = (await probe("http", web, "--expect-status", "404", "--expect-status", "5xx")).output
    assert (said.status, said.text) == ("CRITICAL", f"http://{web} is down: status")


async def test_options_of_the_collector_are_flags(tmp_path: Path) -> None:
    heard = asyncio.get_running_loop().create_future()

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heard.set_result(await reader.readuntil(b"\r\n\r\n"))
        writer.write(FINE)
        await writer.drain()

    (tmp_path / "token").write_text("s3cret-of-a-file\n")
    async with serving(talk) as port:
        done = await probe(
            *("http", f"127.0.0.1:{port}", "--method", "PUT", "--headers", "X-One=1", "--headers", "X-Two=a=b"),
            *("--bearer-token", f"${{file:{tmp_path}/token}}", "--no-follow-redirects", "--body-limit", "5B", "-vv"),
        )
    assert done.output.status == "OK"
    request = await heard
    assert request.startswith(b"PUT ")
    for line in (b"X-One: 1", b"X-Two: a=b", b"Authorization: Bearer s3cret-of-a-file"):
        assert line.lower() in request.lower()
    assert "s3cret" not in done.stdout


async def test_a_conversation_is_given_as_json() -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 hello\r\n")
        if await reader.readline() == b"EHLO nightjar\r\n":
            writer.write(b"250 fine\r\n")
        await writer.drain()
        await reader.read()

    steps = ({"expect": "^220 "}, {"send": "EHLO nightjar\r\n", "expect": "^250 "})
    async with serving(talk) as port:
        flags = [part for step in steps for part in ("--steps", json.dumps(step))]
        assert (await probe("tcp", f"127.0.0.1:{port}", *flags)).output.status == "OK"


async def test_the_days_of_a_certificate_are_judged(tmp_path: Path) -> None:
    certificates = Certificates(tmp_path)

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()

    async with serving(talk, certificates.leaf("good")) as port:
        flags = ("tls", f"localhost:{port}", "--ca-file", str(certificates.authority), "--family", "ip4")
        said = (await probe(*flags, "-w", "14:", "-c", "3:")).output
        assert said.status == "OK"
        assert 29 < said.value("days").value <= 30
        assert (said.value("days").warn, said.value("days").crit) == ("14:", "3:")
        assert (await probe(*flags, "-w", "60:", "-c", "3:")).output.status == "WARNING"
        assert (await probe(*flags, "-c", "60:")).output.status == "CRITICAL"
        said = (await probe("tls", f"localhost:{port}", "-w", "14:")).output
        assert (said.status, said.text) == ("CRITICAL", f"localhost:{port} is down: certificate")
        assert 29 < said.value("days").value <= 30


async def test_a_name_server_answers() -> None:
    class Server(asyncio.DatagramProtocol):
        def connection_made(self, transport: asyncio.DatagramTransport) -> None:  # type: ignore[override]
            self.transport = transport

        def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
            made = dns.message.make_response(dns.message.from_wire(data))
            made.answer = [dns.rrset.from_text("example.com.", 60, "IN", "A", "192.0.2.1")]
            self.transport.sendto(made.to_wire(), addr)

    loop = asyncio.get_running_loop()
    transport, _ = await loop.create_datagram_endpoint(Server, local_addr=("127.0.0.1", 0))
    port = transport.get_extra_info("sockname")[1]
    try:
        flags = ("dns", f"127.0.0.1:{port}", "--query-name", "example.com")
        assert (await probe(*flags)).output.status == "OK"
        assert (await probe(*flags, "--expect-answer", '{"any": ["192.0.2.9"]}')).output.status == "CRITICAL"
    finally:
        transport.close()


async def test_the_loopback_answers_a_ping() -> None:
    need_ping()
    assert (await probe("icmp", "127.0.0.1", "-w", "5", "-c", "9")).output.status == "OK"


async def test_a_page_of_metrics_is_judged_by_an_expression() -> None:
    page = b'# TYPE queue gauge\nqueue{name="a"} 3\nqueue{name="b"} 7\n'
    head = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain; version=0.0.4\r\nContent-Length: %d\r\n\r\n" % len(page)
    async with serving(says(head + page)) as port:
        target = f"127.0.0.1:{port}"
        said = (await probe("scrape", target, "--expr", "queue", "-w", "5", "-c", "10")).output
        assert (said.status, said.text) == ("WARNING", "b is 7, outside 5")
        assert {one.label: one.value for one in said.values} == {"a": 3, "b": 7}
        said = (await probe("scrape", target, "--expr", "queue > 5")).output
        assert (said.status, said.text) == ("CRITICAL", "b is 7")
        assert {one.label: (one.value, one.crit) for one in said.values} == {"a": (3, "~:5"), "b": (7, "~:5")}
        assert (await probe("scrape", target, "--expr", "queue > 8")).output.status == "OK"
        assert (
            await probe("scrape", target, "--expr", "sum(queue)", "-c", "9")
        ).output.text == "value is 10, outside 9"
        assert (await probe("scrape", target, "--expr", "nothing", "-c", "9")).output.status == "UNKNOWN"
        assert (await probe("scrape", target, "--expr", "queue / 0 * 0", "-c", "9")).output.status == "UNKNOWN"


async def test_this_host_is_judged_by_expressions_even_of_rates() -> None:
    assert (await probe("host", "--expr", "node_load1", "-w", "~:100000")).output.status == "OK"
    busy = 'rate(node_cpu_seconds_total{cpu="0",mode="idle"}[5m])'
    said = (await probe("host", "--expr", busy, "-c", "0:2")).output
    assert said.status == "OK"
    assert 0 <= said.values[0].value <= 2


async def test_a_rate_for_which_there_is_no_time_is_unknown() -> None:
    said = (await probe("host", "--expr", "rate(node_context_switches_total[5m]) > 1e18", "-t", "1.5")).output
    assert (said.status, said.text.rpartition(": ")[2]) == ("UNKNOWN", "there was no time for a second look")


async def test_this_host_is_judged_by_its_default_rules() -> None:
    done = await probe("host", "-v")
    assert done.code in (0, 1, 2)
    assert done.output.values


async def test_more_is_told_to_who_asks(web: str) -> None:
    plain, single, every = [(await probe("http", web, *flags)).output for flags in ((), ("-v",), ("-vv",))]
    assert plain.long == ()
    assert "probe_success 1" in single.long
    assert any(line.startswith("probe_http_duration_seconds{") for line in every.long)


async def test_json_has_stable_keys_whatever_happens(web: str) -> None:
    good, down, wrong = [
        json.loads((await probe("http", target, "--json")).stdout)
        for target in (web, f"127.0.0.1:{free_port()}", "ftp://127.0.0.1")
    ]
    assert [list(one) for one in (good, down, wrong)] == [KEYS] * 3
    assert [one["status"] for one in (good, down, wrong)] == ["OK", "CRITICAL", "UNKNOWN"]
    assert [one["exit_code"] for one in (good, down, wrong)] == [0, 2, 3]
    assert good["target"] == f"http://{web}"
    assert 0 < good["value"] < 10
    success = next(one for one in good["samples"] if one["name"] == "probe_success")
    assert success["value"] == 1
    assert success["labels"].items() >= {"instance": f"http://{web}", "job": "blackbox", "module": "http"}.items()
    assert wrong["samples"] == []
