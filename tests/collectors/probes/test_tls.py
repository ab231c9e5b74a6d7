"""TLS probes: handshakes at once and after StartTLS, files, and places that are none."""

from __future__ import annotations

import asyncio
import socket
import struct
import subprocess
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from agent.fanout import FanOut
from collectors.probes.tls import Tls, parse_target, target_fault
from tests.collectors.probes.test_http import book, certificates, old_tls, reason
from tests.collectors.probes.zoo import Certificates, serving

__all__ = ["certificates", "old_tls"]

Before = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


async def probed(*targets: str, **options: Any) -> list[Any]:
    """One round, as the agent makes it."""
    prober = Tls(Tls.Options(targets=targets, family="ip4", **options))
    try:
        return list(await FanOut(prober, 3.0).collect())
    finally:
        await prober.close()


async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read()


async def test_a_chain_is_told_certificate_by_certificate(certificates: Certificates) -> None:
    async with serving(silent, certificates.leaf("with intermediate")) as port:
        found = await probed(f"localhost:{port}", ca_file=str(certificates.authority))
    values = book(found)
    assert (values["probe_success"], reason(values)) == (1.0, "")
    info = {one.labels[1]: one.labels for one in found if one.family.name == "tls_certificate_info"}
    assert [info[at][2:4] for at in ("0", "1")] == [
        ("CN=with intermediate", "CN=between"),
        ("CN=between", "CN=authority"),
    ]
    assert info["0"][-4:] == ("localhost", "ECDSA", "256", "ECDSA-SHA256")
    expiry = [one.value for one in found if one.family.name == "tls_certificate_not_after_timestamp_seconds"]
    assert values["probe_ssl_earliest_cert_expiry"] == min(expiry)


@pytest.mark.usefixtures("old_tls")
async def test_what_does_not_verify_is_told_all_the_same(certificates: Certificates) -> None:
    async with serving(silent, certificates.leaf("expired")) as port:
        values = book(await probed(f"localhost:{port}", ca_file=str(certificates.authority)))
    assert reason(values) == "certificate"
    assert ("probe_ssl_verified", "certificate has expired") in values
    assert values["probe_ssl_earliest_cert_expiry"] == 1609459200.0


# -- StartTLS -----------------------------------------------------------------------------------------------------


async def smtp(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"220-welcome to SMTP\r\n220 mail\r\n")
    assert (await reader.readline()).startswith(b"EHLO")
    writer.write(b"250-mail\r\n250-SIZE 1000\r\n250 STARTTLS\r\n")
    assert await reader.readline() == b"STARTTLS\r\n"
    writer.write(b"220 go\r\n")


async def imap(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"* OK ready\r\n")
    assert await reader.readline() == b"a STARTTLS\r\n"
    writer.write(b"* noise\r\na OK go\r\n")


async def pop3(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"+OK ready\r\n")
    assert await reader.readline() == b"STLS\r\n"
    writer.write(b"+OK go\r\n")


async def ftp(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"220-hello\r\n there\r\n220 ready\r\n")
    if (line := await reader.readline()) == b"FEAT\r\n":  # openssl asks first
        writer.write(b"211-what there is\r\n AUTH TLS\r\n211 end\r\n")
        line = await reader.readline()
    assert line == b"AUTH TLS\r\n"
    writer.write(b"234 go\r\n")


async def postgres(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    assert await reader.readexactly(8) == struct.pack(">II", 8, 80877103)
    writer.write(b"S")


async def ldap(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    head = await reader.readexactly(2)
    assert b"1.3.6.1.4.1.1466.20037" in await reader.readexactly(head[1])
    writer.write(bytes.fromhex("300c02010178070a010004000400"))


PROTOCOLS: dict[str, Before] = {
    "smtp": smtp,
    "imap": imap,
    "pop3": pop3,
    "ftp": ftp,
    "postgres": postgres,
    "ldap": ldap,
}


@pytest.mark.parametrize("protocol", PROTOCOLS)
async def test_tls_is_asked_for_in_the_protocol_s_own_way(certificates: Certificates, protocol: str) -> None:
    context = certificates.leaf("good")

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await PROTOCOLS[protocol](reader, writer)
        await writer.start_tls(context)
        await reader.read()

    async with serving(talk) as port:
        values = book(await probed(f"{protocol}://localhost:{port}", ca_file=str(certificates.authority)))
    assert (reason(values), values["probe_success"]) == ("", 1.0)
    assert values["probe_ssl_earliest_cert_expiry"] > 0


@pytest.mark.parametrize("protocol", ["smtp", "ftp", "ldap"])
async def test_openssl_takes_these_servers_for_what_they_claim_to_be(certificates: Certificates, protocol: str) -> None:
    """Of the others there are real ones, in tests/servers/test_starttls.py."""
    context = certificates.leaf("good")

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await PROTOCOLS[protocol](reader, writer)
        await writer.start_tls(context)  # and that is all: who stays on the line keeps openssl there

    async with serving(talk) as port:
        command = ["openssl", "s_client", "-connect", f"127.0.0.1:{port}", "-starttls", protocol, "-brief"]
        command += ["-CAfile", str(certificates.authority), "-verify_return_error"]
        done = await asyncio.to_thread(
            subprocess.run, command, capture_output=True, text=True, timeout=20, stdin=subprocess.DEVNULL
        )
    assert "Verification: OK" in done.stderr, done.stderr


async def test_mysql_goes_on_in_tls_without_an_answer(certificates: Certificates) -> None:
    """The handshake follows the request at once, so the server must not read beyond it."""
    context, loop = certificates.leaf("good"), asyncio.get_running_loop()
    greeting = b"\x0a8.0.36\0" + bytes(4) + bytes(8) + b"\0" + struct.pack("<H", 0xFFFF) + bytes(40)
    heard = []

    async def serve(listener: socket.socket) -> None:
        sock, _ = await loop.sock_accept(listener)
        await loop.sock_sendall(sock, struct.pack("<I", len(greeting)) + greeting)
        heard.append(await loop.sock_recv(sock, 36))
        await loop.connect_accepted_socket(asyncio.Protocol, sock, ssl=context)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.setblocking(False)
        server = asyncio.create_task(serve(listener))
        target = f"mysql://localhost:{listener.getsockname()[1]}"
        values = book(await probed(target, ca_file=str(certificates.authority)))
        await server
    assert (reason(values), heard[0][:4], len(heard[0])) == ("", b"\x20\0\0\x01", 36)


REFUSALS = {
    "smtp": b"220 mail\r\n250 mail\r\n454 not now\r\n",
    "imap": b"* OK ready\r\na NO\r\n",
    "pop3": b"+OK ready\r\n-ERR\r\n",
    "ftp": b"220 ready\r\n502 what?\r\n",
    "postgres": b"N",
    "mysql": struct.pack("<I", 30) + b"\xffHost is blocked" + bytes(30),
    "ldap": bytes.fromhex("300c02010178070a010204000400"),
}


@pytest.mark.parametrize("protocol", REFUSALS)
async def test_a_server_without_tls_or_of_another_kind_is_told(protocol: str) -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(REFUSALS[protocol])
        await writer.drain()
        await reader.read()

    async def noise(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(bytes(200_000))
        await reader.read()

    async with serving(talk) as port, serving(noise) as other:
        found = await probed(f"{protocol}://localhost:{port}", f"{protocol}://localhost:{other}")
    for target in {one.labels[0] for one in found}:
        assert reason(book([one for one in found if one.labels[0] == target])) == "protocol"


# -- files --------------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("old_tls")
async def test_files_are_found_by_pattern_and_read_whole(certificates: Certificates, tmp_path: Path) -> None:
    certificates.leaf("good")
    certificates.leaf("expired")
    for name in ("good", "expired"):
        (tmp_path / f"{name}.pem").write_bytes((certificates.folder / f"{name}.chain").read_bytes())
    (tmp_path / "broken.pem").write_text("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")
    found = await probed(f"{tmp_path}/*.pem", f"{tmp_path}/missing.crt")
    by = {target: book([one for one in found if one.labels[0] == target]) for target in {o.labels[0] for o in found}}
    assert {Path(target).name: reason(values) for target, values in by.items()} == {
        "good.pem": "",
        "expired.pem": "certificate",
        "broken.pem": "config",
        "missing.crt": "config",
    }
    assert by[f"{tmp_path}/expired.pem"]["probe_ssl_earliest_cert_expiry"] == 1609459200.0


# -- targets ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("example.com:443", ("", "example.com", 443)),
        ("[::1]:8443", ("", "::1", 8443)),
        ("postgres://db", ("postgres", "db", 5432)),
        ("smtp://mail:587", ("smtp", "mail", 587)),
        ("ldap://[2001:db8::1]", ("ldap", "2001:db8::1", 389)),
    ],
)
def test_targets_say_protocol_host_and_port(text: str, expected: tuple[str, str, int]) -> None:
    assert parse_target(text) == expected


@pytest.mark.parametrize(
    "text", ["", "example.com", "example.com:", "example.com:0", "x:99999", "gopher://x", "::1:80"]
)
def test_what_is_no_target_is_told(text: str) -> None:
    assert target_fault(text)
    with pytest.raises(ValueError, match="targets"):
        Tls.Options(targets=(text,))
