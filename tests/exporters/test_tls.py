"""TLS of the HTTP client: authorities, names, client certificates, files that change."""

from __future__ import annotations

import asyncio
import ssl
import subprocess
from pathlib import Path
from typing import Any

import pytest

from agent.model import Delivered, MetricBatch, Retry, Series, SeriesSet

T0 = 1_760_000_000_000
BATCH = MetricBatch("c", T0, SeriesSet([Series("up", "gauge", "Is it up?", "", (("job", "x"),))]), [1.0])


def openssl(*arguments: str) -> None:
    subprocess.run(["openssl", *arguments], check=True, capture_output=True)


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate authority, a server for localhost and a client, made for this run and thrown away with it."""
    folder = tmp_path_factory.mktemp("tls")
    authority, key = f"{folder}/ca.pem", f"{folder}/ca.key"
    new = ("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2")
    openssl(*new, "-keyout", key, "-out", authority, "-subj", "/CN=test authority")
    for name in ("server", "client"):
        signed = ("-CA", authority, "-CAkey", key, "-addext", "subjectAltName=DNS:localhost")
        files = ("-keyout", f"{folder}/{name}.key", "-out", f"{folder}/{name}.pem")
        leaf = ("-addext", "basicConstraints=critical,CA:FALSE")
        openssl(*new, *files, *signed, *leaf, "-subj", f"/CN={name}")
    return folder


def server_tls(certificates: Path, *, client_needed: bool = False) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificates / "server.pem", certificates / "server.key")
    if client_needed:
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(certificates / "ca.pem")
    return context


async def test_a_server_of_a_known_authority_is_trusted(certificates: Path, serving: Any, exporting: Any) -> None:
    ca = f"{certificates}/ca.pem"
    async with serving(server_tls(certificates)) as receiver, exporting(receiver.url, ca_file=ca) as exporter:
        assert await exporter.send(exporter.encode([BATCH])) == Delivered()


async def test_a_server_of_an_unknown_authority_is_not(certificates: Path, serving: Any, exporting: Any) -> None:
    async with serving(server_tls(certificates)) as receiver, exporting(receiver.url) as exporter:
        with pytest.raises(Retry, match="certificate verify failed") as caught:
            await exporter.send(exporter.encode([BATCH]))
    assert caught.value.kind == "tls"
    assert not receiver.requests


async def test_a_server_of_another_name_needs_the_name(certificates: Path, serving: Any, exporting: Any) -> None:
    async with serving(server_tls(certificates)) as receiver:
        url, ca = receiver.url.replace("localhost", "127.0.0.1"), f"{certificates}/ca.pem"
        async with exporting(url, ca_file=ca) as exporter:
            with pytest.raises(Retry) as caught:
                await exporter.send(exporter.encode([BATCH]))
        assert caught.value.kind == "tls"
        async with exporting(url, ca_file=ca, server_name="localhost") as exporter:
            assert await exporter.send(exporter.encode([BATCH])) == Delivered()


async def test_verification_can_be_turned_off(certificates: Path, serving: Any, exporting: Any) -> None:
    async with (
        serving(server_tls(certificates)) as receiver,
        exporting(receiver.url, insecure_skip_verify=True) as exporter,
    ):
        assert await exporter.send(exporter.encode([BATCH])) == Delivered()


async def test_a_client_certificate_is_shown(certificates: Path, serving: Any, exporting: Any) -> None:
    files = {
        "ca_file": f"{certificates}/ca.pem",
        "cert_file": f"{certificates}/client.pem",
        "key_file": f"{certificates}/client.key",
    }
    async with serving(server_tls(certificates, client_needed=True)) as receiver:
        async with exporting(receiver.url, **files) as exporter:
            assert await exporter.send(exporter.encode([BATCH])) == Delivered()
        async with exporting(receiver.url, ca_file=files["ca_file"]) as exporter:
            with pytest.raises(Retry) as caught:
                await exporter.send(exporter.encode([BATCH]))
    assert caught.value.kind in {"tls", "reset"}


async def test_certificates_are_read_again_after_a_failure(
    certificates: Path, tmp_path: Path, serving: Any, exporting: Any
) -> None:
    ca = tmp_path / "ca.pem"
    async with (
        serving(server_tls(certificates)) as receiver,
        exporting(receiver.url, ca_file=str(ca)) as exporter,
    ):
        with pytest.raises(Retry, match=r"certificates for .* cannot be loaded: .*No such file") as caught:
            await exporter.send(exporter.encode([BATCH]))
        assert caught.value.auth
        ca.write_bytes((certificates / "ca.pem").read_bytes())
        assert await exporter.send(exporter.encode([BATCH])) == Delivered()


async def test_plain_text_on_a_tls_port_is_tls(certificates: Path, exporting: Any) -> None:
    async def greet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 mail ESMTP\r\n")
        writer.close()

    server = await asyncio.start_server(greet, "127.0.0.1", 0)
    async with server:
        url = f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
        async with exporting(url) as exporter:
            with pytest.raises(Retry) as caught:
                await exporter.send(exporter.encode([BATCH]))
    assert caught.value.kind in {"tls", "reset", "connect"}


async def test_a_request_goes_through_the_proxy(exporting: Any, raw_server: Any) -> None:
    first = b""

    async def reply(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n")
        await writer.drain()

    async with raw_server(reply) as url:
        proxy = url.removesuffix("/api/v1/write").replace("//", "//user:pr0xypass@")
        async with exporting("http://metrics.invalid/write", proxy=proxy) as exporter:
            with pytest.raises(Retry, match="407") as plain:
                await exporter.send(exporter.encode([BATCH]))
        async with exporting("https://metrics.invalid/write", proxy=proxy) as exporter:
            with pytest.raises(Retry) as tunnel:
                await exporter.send(exporter.encode([BATCH]))
    assert (plain.value.kind, tunnel.value.kind) == ("4xx", "proxy")
    assert "pr0xypass" not in f"{plain.value}{tunnel.value}"
    assert first == b""


async def test_a_key_that_cannot_be_used_is_named_with_its_file(
    certificates: Path, serving: Any, exporting: Any, tmp_path: Path
) -> None:
    encrypted, foreign = tmp_path / "encrypted.key", certificates / "ca.key"
    openssl("ec", "-in", f"{certificates}/client.key", "-out", f"{encrypted}", "-aes256", "-passout", "pass:secret")
    pair = {"ca_file": f"{certificates}/ca.pem", "cert_file": f"{certificates}/client.pem"}
    for key, fault in ((encrypted, "holds an encrypted key"), (foreign, "does not belong to the certificate")):
        async with (
            serving(server_tls(certificates, client_needed=True)) as receiver,
            exporting(receiver.url, **pair, key_file=str(key)) as exporter,
        ):
            with pytest.raises(Retry, match=f"{key}.*{fault}"):
                await exporter.send(exporter.encode([BATCH]))
