"""Certificates that are made to cost time or memory, and what stays of a verdict when the server hangs after it."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
import time
import tracemalloc
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collectors.probes.certificates import NoCertificate, parse_certificate
from collectors.probes.hostname import is_for
from collectors.probes.http import Http
from collectors.probes.outcome import SHOWN_NAMES
from collectors.probes.tcp import Tcp
from collectors.probes.tls import Tls
from collectors.probes.trust import EVERY_CIPHER
from tests.collectors.probes.test_hostile import round_of
from tests.collectors.probes.test_http import book, certificates, reason
from tests.collectors.probes.zoo import Certificates, serving

__all__ = ["certificates"]


def value(tag: int, *parts: bytes) -> bytes:
    """A value of DER."""
    inner = b"".join(parts)
    size = len(inner)
    width = (size.bit_length() + 7) // 8
    return bytes((tag, size) if size < 128 else (tag, 0x80 | width, *size.to_bytes(width, "big"))) + inner


def certificate(names: bytes = b"", oid: bytes = b"\x55\x04\x03") -> bytes:
    """One that nobody signed: its alternative names, and the kind of its subject's one part."""
    subject = value(0x30, value(0x31, value(0x30, value(6, oid), value(0x0C, b"x"))))
    algorithm = value(0x30, value(6, bytes.fromhex("2a8648ce3d040302")))
    dates = value(0x30, value(0x17, b"200101000000Z"), value(0x17, b"400101000000Z"))
    key = value(0x30, value(0x30, value(6, bytes.fromhex("2b6570"))), value(3, bytes(33)))
    extension = value(0x30, value(6, b"\x55\x1d\x11"), value(4, value(0x30, names)))
    extensions = [value(0xA3, value(0x30, extension))] if names else []
    version, serial = value(0xA0, value(2, b"\2")), value(2, b"\1")
    signed = value(0x30, version, serial, algorithm, subject, dates, subject, key, *extensions)
    return value(0x30, signed, algorithm, value(3, b"\0signature"))


def test_a_number_of_many_bytes_takes_no_time() -> None:
    started = time.process_time()
    found = parse_certificate(certificate(oid=b"\xff" * 95_000 + b"\x7f"))
    assert time.process_time() - started < 0.5
    assert len(found.subject) < 200


def test_of_very_many_names_the_last_one_fits_as_well() -> None:
    names = [b"n%d.example.com" % number for number in range(3_000)]
    addresses = [value(0x87, bytes((10, 0, *divmod(number, 256)))) for number in range(1_000)]
    more = [b"*.wild.example.org", b"last.example.net"]
    found = parse_certificate(certificate(b"".join([*(value(0x82, one) for one in (*names, *more)), *addresses])))
    assert found.names_left
    assert len(found.alternative_names) < 1_000
    for name, fits in (
        *(
            ("n0.example.com", True),
            ("n2999.example.com", True),
            ("LAST.example.net", True),
            ("a.wild.example.org", True),
        ),
        *(
            ("10.0.3.231", True),
            ("10.0.9.9", False),
            ("example.net", False),
            ("n3000.example.com", False),
            ("x", False),
        ),
    ):
        assert is_for(found, name) is fits, name


def test_what_is_kept_of_certificates_is_little() -> None:
    names = b"".join(value(0x82, b"%05d" % number) for number in range(5_000))
    tracemalloc.start()
    try:
        for number in range(20):
            parse_certificate(certificate(value(0x82, b"%d" % number) + names))
        assert tracemalloc.get_traced_memory()[0] < 1 << 20
    finally:
        tracemalloc.stop()


@given(st.binary(min_size=1, max_size=300))
def test_any_alternative_names_are_read_or_refused(names: bytes) -> None:
    with contextlib.suppress(NoCertificate):
        assert is_for(parse_certificate(certificate(names + value(0x82, b"a") * 300)), "b") in (True, False)


def test_looking_takes_no_group_of_the_servers_own() -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.set_ciphers(EVERY_CIPHER)
    names = {one["name"] for one in context.get_ciphers()}
    assert not {name for name in names if name.startswith(("DHE", "ADH"))}
    assert {"AES128-SHA", "AECDH-AES128-SHA"} <= names, "what is old is looked at all the same"


async def test_a_label_holds_some_names_alone(certificates: Certificates) -> None:
    names = ",".join(f"DNS:n{number}.example.com" for number in range(100))
    certificates._sign("many names", None, f"subjectAltName={names}")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificates.folder / "many names.pem", certificates.folder / "many names.key")
    async with serving(quiet, context) as port:
        samples = await round_of(Tls(Tls.Options(targets=(f"127.0.0.1:{port}",))))
    info = next(one for one in samples if one.family.name == "probe_ssl_last_chain_info")
    assert info.labels[4] == ",".join(f"n{number}.example.com" for number in range(SHOWN_NAMES))


# -- verdicts and ends --------------------------------------------------------------------------------------------


async def quiet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read()


@contextlib.asynccontextmanager
async def speaking_once(context: ssl.SSLContext) -> Any:
    """A server whose first connection speaks TLS; all others hang."""
    met: list[int] = []

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        met.append(1)
        if len(met) == 1:
            await writer.start_tls(context)
        await reader.read()

    async with serving(talk) as port:
        yield port


def options_of(kind: str, port: int) -> Any:
    """A prober of TLS."""
    if kind == "http":
        return Http(Http.Options(url=f"https://localhost:{port}/", family="ip4"))
    if kind == "tcp":
        return Tcp(Tcp.Options(targets=(f"localhost:{port}",), tls=True, family="ip4"))
    return Tls(Tls.Options(targets=(f"localhost:{port}",), family="ip4"))


@pytest.mark.parametrize("kind", ["http", "tcp", "tls"])
async def test_a_verdict_stays_though_the_second_look_hangs(kind: str, certificates: Certificates) -> None:
    async with speaking_once(certificates.leaf("self-signed")) as port:
        found = book(await round_of(options_of(kind, port), 1.5))
    assert reason(found) == "certificate"
    assert found["probe_ssl_verified"] == 0.0
    assert found["probe_ip_protocol"] == 4.0


async def test_a_state_that_does_not_come_decides_nothing(certificates: Certificates) -> None:
    async with speaking_once(certificates.leaf("good")) as port:
        options = {"ca_file": str(certificates.authority), "ocsp": True, "family": "ip4"}
        samples = await round_of(Tls(Tls.Options(targets=(f"localhost:{port}",), **options)), 1.5)
    found = book(samples)
    assert (reason(found), found["probe_success"]) == ("", 1.0)
    assert ("tls_ocsp_response_verified", "handshake") in found
    assert "tls_certificate_must_staple" in found
    assert len([one for one in samples if one.family.name == "probe_success"]) == 1


@pytest.mark.parametrize("kind", ["tcp", "tls"])
async def test_who_is_late_tells_what_was_seen(kind: str) -> None:
    async with serving(quiet) as port:
        found = book(await round_of(options_of(kind, port), 0.8))
    assert (reason(found), found["probe_ip_protocol"]) == ("timeout", 4.0)
    assert "probe_dns_lookup_time_seconds" in found
