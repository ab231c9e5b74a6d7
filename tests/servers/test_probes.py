"""Our probes beside the real blackbox_exporter, on the same targets: names, types, labels, verdicts, values at rest."""

from __future__ import annotations

import math
import re
from collections.abc import AsyncIterator, Iterable
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest

from agent.asker import Asker
from agent.fanout import FanOut
from agent.model import Sample
from collectors.host.exposition import parse_exposition
from collectors.probes.http import Http
from collectors.probes.tcp import Tcp
from tests.collectors.probes.zoo import Certificates, says, serving
from tests.conftest import free_port, need_peer
from tests.daemon import Process, get, within

pytestmark = pytest.mark.servers

MODULES = """\
modules:
  http: {{prober: http, timeout: 5s, http: {{preferred_ip_protocol: ip4, tls_config: {{ca_file: {ca}}}}}}}
  regex: {{prober: http, timeout: 5s, http: {{preferred_ip_protocol: ip4, fail_if_body_not_matches_regexp: [never]}}}}
  tcp: {{prober: tcp, timeout: 5s, tcp: {{preferred_ip_protocol: ip4}}}}
  tls: {{prober: tcp, timeout: 5s, tcp: {{preferred_ip_protocol: ip4, tls: true, tls_config: {{ca_file: {ca}}}}}}}
"""
LEFT_OUT = {
    "probe_ip_addr_hash": "a hash of the address that is an exporter's own; ours has the address's family",
    "probe_failed_due_to_bytes": "exact bytes to expect; ours compares by regular expressions alone",
    "probe_failed_due_to_cel": "shown only where expressions on JSON are asked for",
}
MOVING = re.compile("duration|seconds$")
GOOD = b"HTTP/1.1 200 OK\r\nLast-Modified: Wed, 21 Oct 2015 07:28:00 GMT\r\nContent-Length: 5\r\n\r\nhello"


class Blackbox:
    """A running blackbox_exporter, asked in a thread."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._asker: Asker[str] = Asker(lambda url: get(url)[1])

    async def series(self, module: str, target: str) -> dict[str, dict[tuple[tuple[str, str], ...], Any]]:
        """Values by family and labels."""
        url = f"http://127.0.0.1:{self._port}/probe?{urlencode({'module': module, 'target': target})}"
        text = (await self._asker.ask([url], 20.0))[url]
        return {
            group.name: {tuple(sorted(one.labels.items())): one.value for one in group.exposed}
            for group in parse_exposition(text)
        }


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return Certificates(tmp_path_factory.mktemp("certificates"))


@pytest.fixture
async def blackbox(tmp_path: Path, certificates: Certificates) -> AsyncIterator[Blackbox]:
    port, file = free_port(), tmp_path / "blackbox.yml"
    file.write_text(MODULES.format(ca=certificates.authority))
    program = need_peer("prometheus-blackbox-exporter")
    command = [program, f"--config.file={file}", f"--web.listen-address=127.0.0.1:{port}"]
    with Process(command, tmp_path / "blackbox.log"):
        within(20, lambda: get(f"http://127.0.0.1:{port}/-/healthy")[0] == 200, "blackbox_exporter is up")
        yield Blackbox(port)


def ours(samples: Iterable[Sample]) -> dict[str, dict[tuple[tuple[str, str], ...], Any]]:
    found: dict[str, dict[tuple[tuple[str, str], ...], Any]] = {}
    for family, labels, value, _ in samples:
        pairs = [pair for pair in zip(family.labels, labels, strict=True) if pair[0] != "instance"]
        found.setdefault(family.name, {})[tuple(sorted(pairs))] = value
    return found


def differences(theirs: dict[str, Any], mine: dict[str, Any]) -> list[str]:
    """What blackbox_exporter shows and ours does not, or not so."""
    found = []
    for name, series in theirs.items():
        if name in LEFT_OUT:
            continue
        for labels, value in series.items():
            if labels not in mine.get(name, {}):
                found.append(f"{name}{dict(labels)}: missing; there are {[dict(one) for one in mine.get(name, {})]}")
            elif not MOVING.search(name) and not _equal(value, mine[name][labels]):
                found.append(f"{name}{dict(labels)}: {mine[name][labels]} instead of {value}")
    return found


def _equal(one: float, other: float) -> bool:
    return one == other or (math.isnan(one) and math.isnan(other))


async def _http(port: int, scheme: str = "http", **options: Any) -> tuple[str, Http]:
    url = f"{scheme}://localhost:{port}/"
    return url, Http(Http.Options(url=url, family="ip4", **options))


async def check(module: str, target: str, prober: Http | Tcp, blackbox: Blackbox) -> None:
    theirs = await blackbox.series(module, target)
    try:
        mine = ours(await FanOut(prober, 5.0).collect())
    finally:
        await prober.close()
    faults = differences(theirs, mine)
    print(f"{module} {target}: {len(theirs)} families of blackbox_exporter, {len(faults)} faults")
    assert not faults, "\n".join(faults)


async def test_a_good_answer(blackbox: Blackbox) -> None:
    async with serving(says(GOOD)) as port:
        target, prober = await _http(port)
        await check("http", target, prober, blackbox)


async def test_a_bad_status(blackbox: Blackbox) -> None:
    async with serving(says(GOOD.replace(b"200 OK", b"503 No"))) as port:
        target, prober = await _http(port)
        await check("http", target, prober, blackbox)


async def test_a_body_that_does_not_match(blackbox: Blackbox) -> None:
    async with serving(says(GOOD)) as port:
        target, prober = await _http(port, expect_body="never")
        await check("regex", target, prober, blackbox)


async def test_nobody_there(blackbox: Blackbox) -> None:
    target, prober = await _http(1)
    await check("http", target, prober, blackbox)


async def test_a_redirect(blackbox: Blackbox) -> None:
    async with serving(says(GOOD)) as last:
        head = f"HTTP/1.1 302 Found\r\nLocation: http://localhost:{last}/\r\nContent-Length: 0\r\n\r\n".encode()
        async with serving(says(head)) as first:
            target, prober = await _http(first)
            await check("http", target, prober, blackbox)


async def test_https(blackbox: Blackbox, certificates: Certificates) -> None:
    async with serving(says(GOOD), certificates.leaf("good")) as port:
        target, prober = await _http(port, "https", ca_file=str(certificates.authority))
        await check("http", target, prober, blackbox)


async def test_https_that_does_not_verify(blackbox: Blackbox, certificates: Certificates) -> None:
    async with serving(says(GOOD), certificates.leaf("unknown authority")) as port:
        target, prober = await _http(port, "https", ca_file=str(certificates.authority))
        await check("http", target, prober, blackbox)


async def test_a_port(blackbox: Blackbox) -> None:
    async with serving(says(GOOD)) as port:
        await check("tcp", f"127.0.0.1:{port}", Tcp(Tcp.Options(targets=(f"127.0.0.1:{port}",))), blackbox)


async def test_a_port_with_tls(blackbox: Blackbox, certificates: Certificates) -> None:
    async with serving(says(GOOD), certificates.leaf("good")) as port:
        target, ca = f"localhost:{port}", str(certificates.authority)
        await check("tls", target, Tcp(Tcp.Options(targets=(target,), family="ip4", tls=True, ca_file=ca)), blackbox)
