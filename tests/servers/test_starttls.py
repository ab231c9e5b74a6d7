"""TLS probes of real servers: PostgreSQL, MariaDB, dovecot, nginx; openssl and blackbox_exporter are asked as well."""

from __future__ import annotations

import ssl
import subprocess
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from agent.fanout import FanOut
from agent.model import Sample
from collectors.probes.certificates import parse_certificate
from collectors.probes.http import Http
from collectors.probes.tls import Tls, parse_target
from tests.collectors.probes.test_http import book, reason
from tests.collectors.probes.test_tls_ocsp import listening, verdict
from tests.collectors.probes.zoo import openssl
from tests.conftest import free_port, need_peer
from tests.daemon import Process, get, within
from tests.servers.starttls_servers import KIND, Identity
from tests.servers.test_probes import Blackbox, differences, ours

pytestmark = pytest.mark.servers

PROTOCOLS = ("postgres", "mysql", "imap", "pop3")
MODULES = """\
modules:
  imap:
    prober: tcp
    tcp:
      preferred_ip_protocol: ip4
      tls_config: {{ca_file: {ca}}}
      query_response:
        - {{expect: OK.*STARTTLS}}
        - {{send: ". STARTTLS"}}
        - {{expect: OK}}
        - {{starttls: true}}
  pop3:
    prober: tcp
    tcp:
      preferred_ip_protocol: ip4
      tls_config: {{ca_file: {ca}}}
      query_response:
        - {{expect: "^.OK"}}
        - {{send: STLS}}
        - {{expect: "^.OK"}}
        - {{starttls: true}}
  http:
    prober: http
    http:
      preferred_ip_protocol: ip4
      tls_config: {{ca_file: {ca}}}
  tls:
    prober: tcp
    tcp:
      preferred_ip_protocol: ip4
      tls: true
      tls_config: {{ca_file: {ca}}}
"""


async def probed(*targets: str, **options: Any) -> list[Sample]:
    """One round, as the agent makes it."""
    prober = Tls(Tls.Options(targets=targets, family="ip4", **options))
    try:
        return list(await FanOut(prober, 10.0).collect())
    finally:
        await prober.close()


@pytest.fixture
async def blackbox(tmp_path: Path, identity: Identity) -> AsyncIterator[Blackbox]:
    port, file = free_port(), tmp_path / "blackbox.yml"
    file.write_text(MODULES.format(ca=identity.certificates.authority))
    command = [need_peer("prometheus-blackbox-exporter"), f"--config.file={file}"]
    with Process([*command, f"--web.listen-address=127.0.0.1:{port}"], tmp_path / "blackbox.log"):
        within(20, lambda: get(f"http://127.0.0.1:{port}/-/healthy")[0] == 200, "blackbox_exporter is up")
        yield Blackbox(port)


@pytest.mark.parametrize("protocol", PROTOCOLS)
async def test_the_certificate_of_a_real_server_is_read(
    starttls: dict[str, str], identity: Identity, protocol: str
) -> None:
    good = await probed(starttls[protocol], ca_file=str(identity.certificates.authority))
    values = book(good)
    assert (reason(values), values["probe_success"], values["probe_ssl_verified"]) == ("", 1.0, 1.0)
    subjects = [one.labels[2] for one in good if one.family.name == "tls_certificate_info"]
    assert subjects == [f"CN={KIND}", "CN=between"]
    other = book(await probed(starttls[protocol]))
    assert (reason(other), other["probe_ssl_verified"]) == ("certificate", 0.0)
    assert other["probe_ssl_earliest_cert_expiry"] == values["probe_ssl_earliest_cert_expiry"]


@pytest.mark.parametrize("protocol", PROTOCOLS)
async def test_openssl_sees_the_same(starttls: dict[str, str], identity: Identity, protocol: str) -> None:
    _, host, port = parse_target(starttls[protocol])
    command = ["openssl", "s_client", "-connect", f"{host}:{port}", "-starttls", protocol, "-4"]
    command += ["-CAfile", str(identity.certificates.authority), "-verify_hostname", host, "-verify_return_error"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=20, stdin=subprocess.DEVNULL)
    assert "Verification: OK" in done.stdout, done.stderr
    found = await probed(starttls[protocol], ca_file=str(identity.certificates.authority))
    version = next(one.labels[1] for one in found if one.family.name == "probe_tls_version_info")
    assert f"New, {version.replace(' ', 'v')}, Cipher is" in done.stdout


async def test_one_protocol_is_not_taken_for_another(starttls: dict[str, str]) -> None:
    """Where the server says nothing at all, or waits for more, time decides."""
    port = parse_target(starttls["imap"])[2]
    for protocol in ("mysql", "pop3", "smtp", "ftp"):
        assert reason(book(await probed(f"{protocol}://localhost:{port}"))) == "protocol"
    assert reason(book(await probed(f"localhost:{port}"))) == "tls"


@pytest.mark.parametrize("protocol", ["imap", "pop3"])
async def test_everything_that_blackbox_exporter_shows_is_shown(
    starttls: dict[str, str], identity: Identity, blackbox: Blackbox, protocol: str
) -> None:
    await compare(blackbox, protocol, starttls[protocol], identity)


async def compare(blackbox: Blackbox, module: str, target: str, identity: Identity) -> None:
    theirs = await blackbox.series(module, target.rpartition("/")[2])
    theirs.pop("probe_failed_due_to_regex", None)  # there is nothing to match but the protocol itself
    mine = ours(await probed(target, ca_file=str(identity.certificates.authority)))
    faults = differences(theirs, mine)
    print(f"{target}: {len(theirs)} families of blackbox_exporter, {len(faults)} faults")
    assert theirs["probe_success"] == {(): 1.0}
    assert not faults, "\n".join(faults)


# -- certificates of every kind -----------------------------------------------------------------------------------


@pytest.mark.parametrize("version", ["-tls1_2", "-tls1_3"])
@pytest.mark.parametrize("key", ["ec", "rsa:2048"])
async def test_suites_serials_and_names_are_those_of_blackbox_exporter(
    identity: Identity, blackbox: Blackbox, tmp_path: Path, version: str, key: str
) -> None:
    """Serial numbers that begin with a zero byte, addresses and mail among the names, and TLS before 1.3."""
    folder, port = identity.folder, free_port()
    made = ["-newkey", key] + (["-pkeyopt", "ec_paramgen_curve:P-256"] if key == "ec" else [])
    openssl(
        *("req", "-x509", "-nodes", *made, "-subj", "/C=DE/O=Nightjar, Inc./CN=x", "-set_serial", "0x00FB12"),
        *("-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1,email:a@example.com,DNS:*.example.com"),
        *("-CA", f"{folder}/authority.pem", "-CAkey", f"{folder}/authority.key"),
        *("-keyout", f"{tmp_path}/x.key", "-out", f"{tmp_path}/x.pem"),
    )
    command = ["openssl", "s_server", "-accept", f"127.0.0.1:{port}", "-quiet", version]
    suites = "ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256"
    command += ["-cipher", suites, "-ciphersuites", "TLS_AES_128_GCM_SHA256"]
    command += ["-cert", f"{tmp_path}/x.pem", "-key", f"{tmp_path}/x.key"]
    with Process(command, tmp_path / "server.log"):
        target = f"localhost:{port}"
        within(10, lambda: listening(port), "s_server listens")
        await compare(blackbox, "tls", target, identity)
    with Process([*command, "-www"], tmp_path / "server.log"):
        within(10, lambda: listening(port), "s_server listens")
        url = f"https://{target}/"
        theirs = await blackbox.series("http", url)
        prober = Http(Http.Options(url=url, family="ip4", ca_file=str(identity.certificates.authority)))
        try:
            mine = ours(await FanOut(prober, 10.0).collect())
        finally:
            await prober.close()
    names = [name for name in theirs if name.startswith(("probe_ssl", "probe_tls", "probe_success"))]
    assert len(names) == 6
    faults = differences({name: theirs[name] for name in names}, mine)
    assert not faults, "\n".join(faults)


# -- OCSP ---------------------------------------------------------------------------------------------------------


async def test_what_nginx_staples_is_told(identity: Identity, stapling_nginx: Callable[[bytes], int]) -> None:
    """From a file that `openssl ocsp` has made; the issuer, in between, has signed it."""
    folder = identity.folder
    index = folder / "ocsp-index.txt"
    serial = parse_certificate(ssl.PEM_cert_to_DER_cert((folder / f"{KIND}.pem").read_text())).serial.upper()
    index.write_text(f"V\t350101000000Z\t\t{serial}\tunknown\t/CN={KIND}\n")
    between = f"{folder}/between.pem"
    openssl(
        *("ocsp", "-index", str(index), "-CA", between, "-rsigner", between, "-rkey", f"{folder}/between.key"),
        *("-issuer", between, "-cert", f"{folder}/{KIND}.pem", "-ndays", "3", "-respout", f"{folder}/response"),
    )
    port = stapling_nginx((folder / "response").read_bytes())
    target = f"localhost:{port}"
    found = book(await probed(target, ocsp=True, ca_file=str(identity.certificates.authority)))
    assert (found["ssl_ocsp_response_stapled"], found["ssl_ocsp_response_status"], verdict(found)) == (1.0, 0.0, "")
    assert found["ssl_ocsp_response_next_update"] - found["ssl_ocsp_response_this_update"] == 3 * 86_400


async def test_postgres_and_the_others_staple_nothing(starttls: dict[str, str], identity: Identity) -> None:
    for protocol in PROTOCOLS:
        found = book(await probed(starttls[protocol], ocsp=True, ca_file=str(identity.certificates.authority)))
        assert (found["ssl_ocsp_response_stapled"], verdict(found), found["probe_success"]) == (0.0, None, 1.0)
