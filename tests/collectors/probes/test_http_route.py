"""The ways of an HTTP probe: proxies, Unix sockets, redirects with cookies, and what is told of a way cut short."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
import subprocess
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any

import pytest
import uvloop
from yarl import URL

from agent.fanout import FanOut
from collectors.probes.http import Http
from collectors.probes.http_route import authority
from collectors.probes.link import Failed, Resolver
from tests.collectors.probes.http_proxy import proxying
from tests.collectors.probes.test_http import OK, book, certificates, probed, reason
from tests.collectors.probes.zoo import Certificates, Talk, says, serving
from tests.conftest import free_port

__all__ = ["certificates"]  # a fixture
LOOPS = [pytest.param(asyncio.new_event_loop, id="asyncio"), pytest.param(uvloop.new_event_loop, id="uvloop")]


# -- through a proxy ----------------------------------------------------------------------------------------------


async def test_a_proxy_gets_the_whole_url_and_its_login() -> None:
    async with serving(says(OK)) as port, proxying("us er:pa:ss") as proxy:
        url = f"http://me:mine@127.0.0.1:{port}/a?b=1"
        found = await probed(url, proxy=f"http://us%20er:pa%3Ass@127.0.0.1:{proxy.port}")
    assert (reason(found), found["probe_http_status_code"]) == ("", 200.0)
    assert ("probe_success", f"http://127.0.0.1:{port}/a?b=1") in found
    lines = proxy.heads[0].split("\r\n")
    assert lines[0] == f"GET http://127.0.0.1:{port}/a?b=1 HTTP/1.1"
    assert f"Host: 127.0.0.1:{port}" in lines
    assert "Proxy-Authorization: Basic dXMgZXI6cGE6c3M=" in lines


async def test_https_goes_through_a_tunnel_and_keeps_credentials_apart(certificates: Certificates) -> None:
    heard: list[bytes] = []

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heard.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(OK)

    async with serving(talk, certificates.leaf("good")) as port, proxying("user:word") as proxy:
        found = await probed(
            f"https://me:mine@localhost:{port}/secret",
            proxy=f"http://user:word@127.0.0.1:{proxy.port}",
            ca_file=str(certificates.authority),
            headers={"X-Token": "hidden"},
        )
    assert (reason(found), found["probe_http_ssl"], found["probe_ssl_verified"]) == ("", 1.0, 1.0)
    assert found["probe_http_duration_seconds", "tls"] > 0
    (head,) = proxy.heads
    assert head.startswith(f"CONNECT localhost:{port} HTTP/1.1\r\nHost: localhost:{port}\r\n")
    assert not any(word in head for word in ("secret", "hidden", "\r\nAuthorization"))
    assert b"Proxy-" not in heard[0]
    assert b"Authorization: Basic bWU6bWluZQ==" in heard[0]


async def _twice_secured(certificates: Certificates, scheme: str) -> dict[str, Any]:
    target, front = certificates.leaf("good"), certificates.leaf("with intermediate")
    async with serving(says(OK), target if scheme == "https" else None) as port, proxying("", front) as proxy:
        return await probed(
            f"{scheme}://localhost:{port}/",
            proxy=f"https://localhost:{proxy.port}",
            ca_file=str(certificates.authority),
            family="ip4",
        )


@pytest.mark.parametrize("loop", LOOPS)
@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_proxy_may_be_spoken_to_in_tls(
    certificates: Certificates, scheme: str, loop: Callable[[], asyncio.AbstractEventLoop]
) -> None:
    with asyncio.Runner(loop_factory=loop) as runner:
        found = runner.run(_twice_secured(certificates, scheme))
    assert reason(found) == ""
    assert found["probe_http_ssl"] == float(scheme == "https"), "the proxy's TLS is not the target's"
    assert ("probe_ssl_earliest_cert_expiry" in found) is (scheme == "https")
    assert (found["probe_http_duration_seconds", "tls"] > 0) is (scheme == "https")


async def test_the_certificate_of_a_proxy_must_verify_whatever_the_target_s(certificates: Certificates) -> None:
    async with serving(says(OK)) as port, proxying("u:p", certificates.leaf("self-signed")) as proxy:
        proxied = f"https://u:p@localhost:{proxy.port}"
        found = await probed(f"http://127.0.0.1:{port}/", proxy=proxied, insecure_skip_verify=True, family="ip4")
    assert (reason(found), proxy.heads) == ("proxy", [])


async def test_a_certificate_behind_a_proxy_is_seen_though_it_does_not_verify(certificates: Certificates) -> None:
    async with serving(says(OK), certificates.leaf("expired")) as port, proxying() as proxy:
        found = await probed(
            f"https://localhost:{port}/", proxy=f"http://127.0.0.1:{proxy.port}", ca_file=str(certificates.authority)
        )
    assert (reason(found), found["probe_ssl_verified"]) == ("certificate", 0.0)
    assert found["probe_ssl_earliest_cert_expiry"] == 1609459200.0


async def flood(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\n")
    while True:
        writer.write(b"X-More: " + b"a" * 1000 + b"\r\n")
        await writer.drain()


async def hang(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await asyncio.Event().wait()


PROXIES: dict[str, tuple[Talk, str]] = {
    "wants a login": (says(b"HTTP/1.1 407 No\r\nContent-Length: 0\r\n\r\n"), "proxy"),
    "forbids": (says(b"HTTP/1.1 403 No\r\nContent-Length: 2\r\n\r\nno"), "proxy"),
    "redirects": (says(b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\n\r\n"), "proxy"),
    "speaks another protocol": (says(b"SSH-2.0-OpenSSH_9.2\r\n\r\n"), "proxy"),
    "says nothing": (says(), "proxy"),
    "answers in the target's place": (says(b"HTTP/1.1 200 OK\r\n\r\n" + OK), "proxy"),
    "has no end of headers": (flood, "proxy"),
    "hangs": (hang, "timeout"),
}


@pytest.mark.parametrize("kind", PROXIES)
async def test_a_bad_proxy_has_a_reason(kind: str) -> None:
    talk, expected = PROXIES[kind]
    async with serving(talk) as port:
        found = await probed("https://localhost:1/", 0.7, proxy=f"http://127.0.0.1:{port}")
    assert (reason(found), found["probe_http_status_code"], found["probe_http_ssl"]) == (expected, 0.0, 0.0)


@pytest.mark.parametrize(
    ("proxy", "expected"), [("http://127.0.0.1:1", "proxy"), ("http://no.such.name.invalid:3128", "proxy")]
)
async def test_a_proxy_that_is_not_there_is_the_reason(proxy: str, expected: str) -> None:
    assert reason(await probed("http://127.0.0.1:1/", proxy=proxy)) == expected


async def test_a_login_that_is_missing_in_plain_http_is_the_proxy_s_refusal() -> None:
    async with proxying("user:word") as proxy:
        found = await probed("http://127.0.0.1:1/", proxy=f"http://127.0.0.1:{proxy.port}", expect_status=(407,))
    assert (reason(found), found["probe_http_status_code"]) == ("proxy", 407.0)


async def test_the_environment_names_no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    async with serving(says(OK)) as port:
        assert reason(await probed(f"http://127.0.0.1:{port}/")) == ""


async def test_redirects_go_through_the_proxy_too() -> None:
    async with serving(says(OK)) as last:
        where = f"HTTP/1.1 302 F\r\nLocation: http://127.0.0.1:{last}/x\r\nContent-Length: 0\r\n\r\n".encode()
        async with serving(says(where)) as first, proxying("u:p") as proxy:
            found = await probed(f"http://me:mine@127.0.0.1:{first}/", proxy=f"http://u:p@127.0.0.1:{proxy.port}")
    assert (reason(found), found["probe_http_redirects"]) == ("", 1.0)
    assert proxy.heads[1].startswith(f"GET http://127.0.0.1:{last}/x HTTP/1.1\r\n")
    assert "\r\nAuthorization" not in proxy.heads[1]


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("http://[::1]:8080/", "[::1]:8080"),
        ("https://[::1]/", "[::1]"),
        ("http://bücher.example/", "xn--bcher-kva.example"),
        ("https://a.example:80/", "a.example:80"),
    ],
)
def test_the_authority_of_a_url(url: str, expected: str) -> None:
    assert authority(URL(url)) == expected


# -- through a Unix socket ----------------------------------------------------------------------------------------


@contextlib.asynccontextmanager
async def at_socket(path: Path, talk: Talk, context: ssl.SSLContext | None = None) -> AsyncIterator[None]:
    server = await asyncio.start_unix_server(_ended(talk), path, ssl=context)
    try:
        yield
    finally:
        server.close()


def _ended(talk: Talk) -> Callable[[asyncio.StreamReader, asyncio.StreamWriter], Coroutine[Any, Any, None]]:
    async def met(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            await talk(reader, writer)
        writer.transport.abort()

    return met


async def test_a_socket_is_asked_for_host_and_path_of_the_url(tmp_path: Path) -> None:
    heard: list[bytes] = []

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heard.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(OK)
        await writer.drain()
        await reader.read()

    async with at_socket(tmp_path / "app.sock", talk):
        found = await probed("http://app.example/health", socket=str(tmp_path / "app.sock"))
    assert reason(found) == ""
    assert ("probe_success", "http://app.example/health") in found
    assert (found["probe_ip_protocol"], found["probe_dns_lookup_time_seconds"]) == (0.0, 0.0)
    assert heard[0].startswith(b"GET /health HTTP/1.1\r\nHost: app.example\r\n")


async def test_tls_works_over_a_socket(tmp_path: Path, certificates: Certificates) -> None:
    async with at_socket(tmp_path / "app.sock", says(OK), certificates.leaf("good")):
        options = {"socket": str(tmp_path / "app.sock"), "ca_file": str(certificates.authority)}
        good = await probed("https://localhost/", **options)
        wrong = await probed("https://elsewhere.example/", **options)
    assert (reason(good), good["probe_http_ssl"]) == ("", 1.0)
    assert reason(wrong) == "certificate"


async def test_a_socket_that_is_not_there_or_that_nobody_listens_on_refuses(tmp_path: Path) -> None:
    assert reason(await probed("http://app/", socket=str(tmp_path / "none.sock"))) == "refused"
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(tmp_path / "left.sock"))
    assert reason(await probed("http://app/", socket=str(tmp_path / "left.sock"))) == "refused"


async def test_a_redirect_to_another_host_leaves_the_socket(tmp_path: Path) -> None:
    async with serving(says(OK)) as port:
        where = f"HTTP/1.1 302 F\r\nLocation: http://127.0.0.1:{port}/\r\nContent-Length: 0\r\n\r\n".encode()
        async with at_socket(tmp_path / "app.sock", says(where)):
            found = await probed("http://app/", socket=str(tmp_path / "app.sock"))
    assert (reason(found), found["probe_ip_protocol"]) == ("", 4.0)


# -- redirects, names, families -----------------------------------------------------------------------------------


async def test_a_cookie_is_told_again_to_its_host_alone() -> None:
    heard: list[bytes] = []
    elsewhere = free_port()

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        heard.append(head)
        asked = head.split(b" ")[1]
        where = {b"/": b"/in", b"/in": f"http://localhost:{elsewhere}/away".encode()}[asked]
        writer.write(b"HTTP/1.1 302 F\r\nSet-Cookie: sid=1; Path=/; HttpOnly\r\nSet-Cookie: safe=2; Secure\r\n")
        writer.write(b"Set-Cookie: nonsense\r\nContent-Length: 0\r\nLocation: " + where + b"\r\n\r\n")

    async with serving(talk) as port:
        found = await probed(f"http://127.0.0.1:{port}/", headers={"cookie": "own=0"}, family="ip4")
    assert reason(found) == "refused", "there is nobody elsewhere"
    assert b"\r\ncookie: own=0\r\n" in heard[0]
    assert b"\r\ncookie: own=0; sid=1\r\n" in heard[1]


async def test_the_host_header_is_the_name_in_tls_and_stays_behind_on_redirects(certificates: Certificates) -> None:
    names: list[str | None] = []

    def note(secured: ssl.SSLObject, name: str | None, context: ssl.SSLContext) -> None:
        names.append(name)

    context = certificates.leaf("good")
    context.sni_callback = note  # type: ignore[assignment]  # it answers nothing
    async with serving(says(OK), context) as last:
        where = f"HTTP/1.1 302 F\r\nLocation: https://localhost:{last}/\r\nContent-Length: 0\r\n\r\n".encode()
        async with serving(says(where), context) as first:
            options: dict[str, Any] = {"ca_file": str(certificates.authority), "family": "ip4"}
            found = await probed(f"https://127.0.0.1:{first}/", headers={"Host": "localhost:9"}, **options)
            named = await probed(f"https://127.0.0.1:{first}/", server_name="localhost", **options)
    assert (reason(found), reason(named)) == ("", "")
    assert names == ["localhost"] * 4


async def test_a_family_may_be_preferred_or_demanded(monkeypatch: pytest.MonkeyPatch) -> None:
    both = [(socket.AF_INET6, "::1"), (socket.AF_INET, "127.0.0.1")]
    monkeypatch.setattr(
        socket, "getaddrinfo", lambda *_, **__: [(family, 0, 0, "", (text, 0)) for family, text in both]
    )
    resolver = Resolver()
    assert await resolver.resolve("name", "any", 5.0) == both
    assert await resolver.resolve("name", "prefer_ip4", 5.0) == both[::-1]
    assert await resolver.resolve("name", "prefer_ip6", 5.0) == both
    assert await resolver.resolve("name", "ip4", 5.0) == both[1:]
    both = both[:1]
    assert await resolver.resolve("name", "prefer_ip4", 5.0) == both
    with pytest.raises(Failed, match="no address of ip4"):
        await resolver.resolve("name", "ip4", 5.0)
    resolver.close()


async def test_a_probe_that_is_cut_off_tells_what_it_had_seen(certificates: Certificates) -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        await asyncio.Event().wait()

    async with serving(talk, certificates.leaf("good")) as port:
        found = await probed(f"https://localhost:{port}/", 0.7, ca_file=str(certificates.authority), family="ip4")
    assert (reason(found), found["probe_http_status_code"]) == ("timeout", 0.0)
    assert found["probe_ssl_earliest_cert_expiry"] > 0
    assert found["probe_http_duration_seconds", "tls"] > 0


async def test_a_probe_that_never_had_its_turn_is_told_as_well() -> None:
    prober = Http(Http.Options(url="http://127.0.0.1:1/"))
    (target,) = await prober.targets()
    found = book(list(prober.late(target, 1.0)))
    assert (reason(found), found["probe_http_status_code"], found["probe_ip_protocol"]) == ("timeout", 0.0, 0.0)


# -- TLS 1.3, where a missing certificate is told after the handshake ---------------------------------------------


@pytest.fixture
def demanding(certificates: Certificates) -> Iterator[int]:
    """OpenSSL's own server, which sends the alert that servers of the event loops forget."""
    certificates.leaf("good")
    port, place = free_port(), certificates.folder / "good"
    command = ["openssl", "s_server", "-accept", f"127.0.0.1:{port}", "-www", "-tls1_3", "-Verify", "1"]
    command += ["-verify_return_error", "-CAfile", str(certificates.authority)]
    command += ["-cert", f"{place}.pem", "-key", f"{place}.key"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as server:
        assert server.stdout is not None
        while b"ACCEPT" not in server.stdout.readline():
            pass
        yield port
        server.kill()


@pytest.mark.parametrize("loop", LOOPS)
def test_a_client_certificate_missed_after_the_handshake_is_tls(
    certificates: Certificates, demanding: int, loop: Callable[[], asyncio.AbstractEventLoop]
) -> None:
    prober = Http(Http.Options(url=f"https://localhost:{demanding}/", ca_file=str(certificates.authority)))
    with asyncio.Runner(loop_factory=loop) as runner:
        found = book(list(runner.run(FanOut(prober, 5.0).collect())))
        runner.run(prober.close())
    assert reason(found) == "tls"
    assert found["probe_ssl_earliest_cert_expiry"] > 0
    assert found["probe_ssl_verified"] == 1.0
