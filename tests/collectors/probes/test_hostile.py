"""Servers that mean harm: what they send early, without an end, or to be read for something else."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import ssl
import time
import tracemalloc
from collections.abc import Callable
from typing import Any

import pytest
import uvloop
from hypothesis import given
from hypothesis import strategies as st
from yarl import URL

from agent.fanout import FanOut
from collectors.probes.exchange import INLINE, MOST_HEADERS, MOST_MEMBERS, Answer, decompressed, exchange, readable
from collectors.probes.http import Http, _joined
from collectors.probes.link import Failed, Link
from collectors.probes.tcp import Step, Tcp
from collectors.probes.tls import Tls
from config import Secret
from tests.collectors.probes.test_http import book, certificates, probed, reason
from tests.collectors.probes.zoo import Certificates, Talk, says, serving

__all__ = ["certificates"]

OK = b"HTTP/1.1 200 OK\r\n"
FORGED = OK + b"Content-Length: 6\r\n\r\nforged"
LOOPS: list[Callable[[], asyncio.AbstractEventLoop]] = [asyncio.new_event_loop, uvloop.new_event_loop]
each_loop = pytest.mark.parametrize("loop", LOOPS, ids=["asyncio", "uvloop"])


async def round_of(prober: Any, timeout: float = 3.0) -> list[Any]:
    """One round, as the agent makes it."""
    try:
        return list(await FanOut(prober, timeout).collect())
    finally:
        await prober.close()


def early(context: ssl.SSLContext, *before: bytes) -> Talk:
    """Says these in plain text, each but the last after a line was heard, then begins with TLS at once."""

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for number, words in enumerate(before):
            if number:
                await reader.readline()
            writer.write(words)
            await writer.drain()
        await writer.start_tls(context)
        await reader.read()

    return talk


# -- what comes before the handshake ------------------------------------------------------------------------------


@each_loop
def test_plain_bytes_before_the_handshake_end_it(
    loop: Callable[[], asyncio.AbstractEventLoop], certificates: Certificates
) -> None:
    async def main() -> None:
        async with serving(early(certificates.leaf("good"), b"x" + FORGED)) as port:
            link = Link(*await asyncio.open_connection("127.0.0.1", port), (2, "127.0.0.1"))
            await link.reader.readexactly(1)  # so the rest is there
            with pytest.raises(Failed) as caught:
                await link.secure(ssl.create_default_context(cafile=certificates.authority), "localhost")
            assert caught.value.reason == "protocol"
            link.close()

    with asyncio.Runner(loop_factory=loop) as runner:
        runner.run(main())


@each_loop
def test_no_forged_answer_passes_for_one_over_tls(
    loop: Callable[[], asyncio.AbstractEventLoop], certificates: Certificates
) -> None:
    authority = str(certificates.authority)

    async def main() -> None:
        async with serving(early(certificates.leaf("good"), FORGED)) as port:
            for _ in range(5):
                found = await probed(f"https://localhost:{port}/", 3.0, ca_file=authority, family="ip4")
                assert reason(found) in ("protocol", "tls")
                options = {"tls": True, "ca_file": authority, "steps": (Step(expect="forged"),), "family": "ip4"}
                prober = Tcp(Tcp.Options(targets=(f"localhost:{port}",), **options))
                assert reason(book(await round_of(prober))) in ("protocol", "tls")

    with asyncio.Runner(loop_factory=loop) as runner:
        runner.run(main())


@each_loop
def test_no_word_behind_the_offer_of_tls_is_heard_within_it(
    loop: Callable[[], asyncio.AbstractEventLoop], certificates: Certificates
) -> None:
    async def main() -> None:
        answers = b"220 mail\r\n", b"250 STARTTLS\r\n", b"220 go\r\n250 injected\r\n"
        async with serving(early(certificates.leaf("good"), *answers)) as port:
            options = {"ca_file": str(certificates.authority), "family": "ip4"}
            prober = Tls(Tls.Options(targets=(f"smtp://localhost:{port}",), **options))
            assert reason(book(await round_of(prober))) == "protocol"

    with asyncio.Runner(loop_factory=loop) as runner:
        runner.run(main())


# -- answers ------------------------------------------------------------------------------------------------------


class Silent:
    """A writer to nobody."""

    transport = None

    def write(self, data: bytes) -> None: ...

    async def drain(self) -> None: ...


async def read(data: bytes, limit: int = 1 << 20) -> Answer:
    """What a server's bytes are read as."""
    reader = asyncio.StreamReader()
    reader.feed_data(data)
    reader.feed_eof()
    answer = Answer()
    await exchange(Link(reader, Silent(), (2, "")), b"", limit, answer)  # type: ignore[arg-type]  # a fake
    answer.body = await decompressed(answer, limit)
    return answer


PIECES = (
    *(b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 302 F\r\n", b"HTTP/1.1 101 S\r\n", b"HTTP/1.1 100 C\r\n\r\n", b"\r\n", b"\n"),
    *(
        b"Content-Length: " + b"0" * 5_000 + b"5\r\n",
        b"Content-Length: 5\r\n",
        b"Content-Length: 99999999999999999999\r\n",
    ),
    *(
        b"Transfer-Encoding: chunked\r\n",
        b"5\r\nhello\r\n",
        b"0\r\n\r\n",
        b"Content-Encoding: gzip\r\n",
        b"Upgrade: x\r\n",
    ),
    *(
        b"Location: http://xn--/\r\n",
        b"Location: http://xn--a/\r\n",
        b"Location: http://\xff\xc3\xa9/\xe9\r\n",
        b"hello",
    ),
    *(
        b"Content-Encoding: br\r\n",
        gzip.compress(b"hello"),
        b"Connection: Upgrade\r\n",
        b"X: \xc3\xa9\r\n",
        b"X: \xe9\r\n",
    ),
)


@given(st.lists(st.sampled_from(PIECES), max_size=12), st.integers(0, 10_000), st.integers(0, 255))
def test_whatever_a_server_sends_the_worst_is_that_the_probe_failed(pieces: list[bytes], at: int, byte: int) -> None:
    data = bytearray(b"HTTP/1.1 200 OK\r\n" + b"".join(pieces))
    data[at % len(data)] = byte
    with contextlib.suppress(Failed):
        answer = asyncio.run(read(bytes(data)))
        for location in answer.all("location"):
            assert _joined(URL("http://127.0.0.1/"), location).raw_host


@pytest.mark.parametrize("place", ["http://xn--/", "http://xn--a/"])
async def test_a_redirect_to_a_name_that_cannot_be_decoded_fails(place: str) -> None:
    async with serving(
        says(b"HTTP/1.1 302 F\r\nLocation: " + place.encode() + b"\r\nContent-Length: 0\r\n\r\n")
    ) as port:
        assert reason(await probed(f"http://127.0.0.1:{port}/")) == "resolve"


async def test_a_name_is_asked_for_as_it_is_written(monkeypatch: pytest.MonkeyPatch) -> None:
    """Decoded and encoded again, by the older rules of Python and C, this one is fass.example."""
    prober, asked = Http(Http.Options(url="https://xn--fa-hia.example/")), []

    async def open_none(resolver: object, host: str, *others: object) -> Link:
        asked.append(host)
        raise Failed("resolve")

    monkeypatch.setattr("collectors.probes.http_route.open_link", open_none)
    assert prober._requests.server(URL("https://xn--fa-hia.example/"), own=True) == "xn--fa-hia.example"
    await round_of(prober)
    assert asked == ["xn--fa-hia.example"]


ENDLESS = {
    "header": OK + b"X: " + b"a" * (1 << 20),
    "status": b"HTTP/1.1 200 " + b"a" * (1 << 20),
    "headers": OK + b"a:\r\n" * (MOST_HEADERS + 1) + b"\r\n",
    "interim answers": b"HTTP/1.1 100 C\r\n\r\n" * 50_000,
    "chunk extension": OK + b"Transfer-Encoding: chunked\r\n\r\n5;" + b"a" * (1 << 20),
    "trailer": OK + b"Transfer-Encoding: chunked\r\n\r\n0\r\nX: " + b"a" * (1 << 20),
}


@pytest.mark.parametrize("kind", ENDLESS)
async def test_what_never_ends_is_cut_off_early(kind: str) -> None:
    started = time.process_time()
    with pytest.raises(Failed) as caught:
        await read(ENDLESS[kind])
    assert caught.value.reason == "protocol"
    assert time.process_time() - started < 1.0


async def test_a_body_in_tiny_chunks_costs_no_more_than_itself() -> None:
    data = OK + b"Transfer-Encoding: chunked\r\n\r\n" + b"2\r\nab\r\n" * (1 << 17) + b"0\r\n\r\n"
    tracemalloc.start()
    try:
        assert len((await read(data)).body) == 1 << 18
        assert tracemalloc.get_traced_memory()[1] < len(data) + (3 << 20)
    finally:
        tracemalloc.stop()


async def test_gzip_may_come_in_several_members() -> None:
    one, many = gzip.compress(b"hello "), gzip.compress(b"")
    for body, plain in ((one * 3, b"hello " * 3), (one + b"\0\0", b"hello "), (gzip.compress(b"a" * 20) * 9_000, None)):
        answer = Answer(headers=[("content-encoding", "gzip")], body=body)
        if plain is not None:
            assert await decompressed(answer, 1 << 20) == plain
    for body in (one + one[:-3], many * (MOST_MEMBERS + 1)):
        with pytest.raises(Failed):
            await decompressed(Answer(headers=[("content-encoding", "gzip")], body=body), 1 << 20)


@pytest.mark.parametrize("size", [INLINE - 1, INLINE, INLINE + 1, 1 << 20])
async def test_much_is_decompressed_as_little_is(size: int) -> None:
    answer = Answer(headers=[("content-encoding", "gzip")], body=gzip.compress(b"a" * size))
    assert len(await decompressed(answer, 1 << 20)) == size


async def test_headers_are_utf_8_where_they_can_be() -> None:
    assert readable("caf\xc3\xa9") == readable("caf\xe9") == "café"

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        followed = head.startswith(b"GET /caf%C3%A9 ")
        redirect = "HTTP/1.1 302 F\r\nLocation: /café\r\nContent-Length: 0\r\n\r\n"
        writer.write(("HTTP/1.1 200 OK\r\nX: café\r\nContent-Length: 0\r\n\r\n" if followed else redirect).encode())

    async with serving(talk) as port:
        found = await probed(f"http://127.0.0.1:{port}/", expect_headers={"X": "^café$"})
    assert (reason(found), found["probe_http_redirects"]) == ("", 1.0)


async def test_101_is_an_answer() -> None:
    async with serving(says(b"HTTP/1.1 101 S\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n")) as port:
        assert reason(await probed(f"http://127.0.0.1:{port}/", expect_status=(101,))) == ""


@pytest.mark.parametrize(("status", "expected"), [(307, "redirect"), (308, "redirect"), (302, "")])
async def test_the_body_of_a_request_goes_to_no_other_origin(status: int, expected: str) -> None:
    heard: list[bytes] = []

    async def other(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heard.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(OK + b"Content-Length: 0\r\n\r\n")

    async with serving(other) as there:
        location = f"Location: http://127.0.0.1:{there}/\r\nContent-Length: 0\r\n\r\n"
        async with serving(says(f"HTTP/1.1 {status} F\r\n{location}".encode())) as port:
            found = await probed(f"http://127.0.0.1:{port}/", method="POST", body=Secret("a login"))
    assert reason(found) == expected
    assert [one[:4] for one in heard] == ([] if expected else [b"GET "])
