"""NSD on free ports with a zone of ours: UDP, TCP and TLS."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.collectors.probes.zoo import Certificates
from tests.conftest import free_port, has_ip6, need_peer
from tests.daemon import Process, within

SERIAL = 2026010203
LONG = 40  # TXT records that do not fit into a datagram of 512 bytes
ZONE = f"""\
$ORIGIN nightjar.test.
$TTL 300
@       IN SOA  ns hostmaster {SERIAL} 3600 600 86400 60
@       IN NS   ns
@       IN MX   10 mail
@       IN CAA  0 issue "ca.example.net"
ns      IN A    127.0.0.1
ns      IN AAAA ::1
www     IN A    192.0.2.1
www     IN A    192.0.2.2
www     IN AAAA 2001:db8::1
alias   IN CNAME www
mail    IN A    192.0.2.3
text    IN TXT  "first" "second; \\"quoted\\""
_sip._tcp IN SRV 1 2 5060 www
sub     IN NS   ns.sub
ns.sub  IN A    192.0.2.4
{"".join(f'long IN TXT "{number:02} {"x" * 40}"' + chr(10) for number in range(LONG))}"""
CONFIG = """\
server:
    ip-address: 127.0.0.1@{port}
{ip6}    ip-address: 127.0.0.1@{tls}
    tls-service-key: {certificate}.key
    tls-service-pem: {certificate}.pem
    tls-port: {tls}
    username: ""
    zonesdir: {folder}
    database: ""
    pidfile: {folder}/nsd.pid
    xfrdfile: {folder}/xfrd.state
    xfrdir: {folder}
    zonelistfile: {folder}/zone.list
    server-count: 1
    rrl-ratelimit: 0
    rrl-whitelist-ratelimit: 0
remote-control:
    control-enable: no
zone:
    name: nightjar.test
    zonefile: nightjar.test.zone
"""


class Nsd(NamedTuple):
    """Where it listens, and what its certificate is signed with."""

    port: int
    tls: int
    authority: Path


@pytest.fixture
def nsd(tmp_path: Path) -> Iterator[Nsd]:
    """A running one."""
    folder = tmp_path / "nsd"
    folder.mkdir()
    certificates = Certificates(folder)
    certificates.leaf("good")
    port, tls = free_port(), free_port()
    config = folder / "nsd.conf"
    (folder / "nightjar.test.zone").write_text(ZONE)
    ip6 = f"    ip-address: ::1@{port}\n" if has_ip6() else ""
    config.write_text(CONFIG.format(port=port, ip6=ip6, tls=tls, folder=folder, certificate=folder / "good"))
    command = [need_peer("/usr/sbin/nsd"), "-d", "-c", str(config)]
    with Process(command, folder / "server.log") as process:
        for one in (port, tls):
            within(20, lambda one=one: _listens(one), f"nsd listens; it printed {process.output[-500:]}")
        yield Nsd(port, tls, certificates.authority)
        process.stop()


def _listens(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), 1.0).close()
    except OSError:
        return False
    return True
