"""The collector against servers over real sockets: good ones, and those that hang, lie or never stop."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import tracemalloc
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest
from yarl import URL

from agent.fanout import FanOut
from agent.model import Histogram, NativeHistogram, Prober, Sample
from agent.stamper import Stamper
from collectors.scrape import Scrape
from collectors.scrape.client import ACCEPT, ACCEPT_NATIVE, REASONS
from collectors.scrape.options import ScrapeOptions
from config import Secret, Size
from tests.collectors.scrape.messages import BOTH, PROTOBUF_TYPE, family, metric, native, page
from tests.conftest import free_port

FAR = native({-900: 1, 900: 2}, schema=0)

Handler = Callable[[bytes, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def server(handler: Handler) -> AsyncIterator[tuple[str, list[bytes]]]:
    """A server that hands each request's head to `handler`; its URL, and the heads so far."""
    heads: list[bytes] = []
    tasks: list[asyncio.Task[None] | None] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        tasks.append(asyncio.current_task())
        try:
            with contextlib.suppress(OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
                while True:
                    heads.append(await reader.readuntil(b"\r\n\r\n"))
                    await handler(heads[-1], writer)
                    await writer.drain()
        finally:
            writer.transport.abort()

    listening = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}", heads
    finally:
        listening.close()
        for task in filter(None, tasks):
            task.cancel()
        await asyncio.gather(*filter(None, tasks), return_exceptions=True)
        await asyncio.sleep(0)  # transports close


def answer(body: bytes, status: str = "200 OK", kind: str = "text/plain", *more: str) -> Handler:
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *([f"Content-Type: {kind}"] if kind else []), *more]
    whole = "\r\n".join(lines).encode() + b"\r\n\r\n" + body

    async def handler(_: bytes, writer: asyncio.StreamWriter) -> None:
        writer.write(whole)

    return handler


def by_name(samples: list[Sample]) -> dict[str, Sample]:
    return {one.family.name: one for one in samples}


async def scraped(url: str, seconds: float = 5.0, **options: object) -> dict[str, Sample]:
    """One round of a collector with one target, by name of the metric."""
    collector = Scrape(ScrapeOptions(url=url, **options))  # type: ignore[arg-type]  # whatever a test wants
    try:
        return by_name(list(await FanOut(collector, seconds).collect()))
    finally:
        await collector.close()


def labels(sample: Sample) -> dict[str, str]:
    return dict(zip(sample.family.labels, sample.labels, strict=True))


async def test_a_page_and_what_the_scrape_says_of_itself() -> None:
    async with server(answer(b"a 1\nb{job='x'} 2\n".replace(b"'", b'"'))) as (url, heads):
        found = await scraped(f"{url}/metrics", job="shop")
    own = {"job": "shop", "instance": url.removeprefix("http://")}
    assert labels(found["b"]) == {**own, "exported_job": "x"}
    assert found["up"].value == 1.0
    assert labels(found["up"]) == own
    names = ("scrape_samples_scraped", "scrape_samples_post_metric_relabeling", "scrape_series_added")
    assert [found[name].value for name in names] == [2.0, 2.0, 2.0]
    assert found["scrape_body_size_bytes"].value == 17.0
    assert "scrape_failure_info" not in found
    assert b"GET /metrics HTTP/1.1" in heads[0]
    assert f"Accept: {ACCEPT}".encode() in heads[0]
    assert b"Accept-Encoding: gzip\r\n" in heads[0]


async def test_it_is_a_prober_whose_series_are_of_something_else() -> None:
    assert issubclass(Scrape, Prober)
    assert Scrape.remote
    async with server(answer(b"a 1\n")) as (url, _):
        found = await scraped(url, job="shop")
        (batch,) = Stamper("scrape", [{"agent": "host", "job": Scrape.job}]).stamp(1, [found["a"]])
    assert dict(batch.series.series[0].labels) == {"agent": "host", "instance": url[7:], "job": "shop"}


async def test_targets_are_told_their_time_and_bear_the_labels_they_are_given() -> None:
    async with server(answer(b'a{env="dev"} 1\n')) as (url, heads):
        collector = Scrape(ScrapeOptions(url=url), labels={"env": "prod", "instance": "shop-1"}, timeout=2.5)
        found = by_name(list(await collector.probe(url.removeprefix("http://"))))
        await collector.close()
    assert labels(found["a"]) == {"job": "scrape", "instance": "shop-1", "env": "prod", "exported_env": "dev"}
    assert b"X-Prometheus-Scrape-Timeout-Seconds: 2.5\r\n" in heads[0]


@pytest.mark.parametrize(
    ("given", "asked"),
    [("", "/metrics"), ("/", "/"), ("/x?a=b", "/x?a=b"), ("?a=b", "/metrics?a=b")],
)
async def test_the_path_is_metrics_unless_there_is_one(given: str, asked: str) -> None:
    async with server(answer(b"")) as (url, heads):
        await scraped(url + given)
    assert heads[0].startswith(f"GET {asked} HTTP/1.1\r\n".encode())


async def test_the_connection_is_kept_between_rounds() -> None:
    opened = 0

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal opened
        opened += 1
        with contextlib.suppress(asyncio.IncompleteReadError):
            while await reader.readuntil(b"\r\n\r\n"):
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 4\r\n\r\na 1\n")
        writer.close()

    listening = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with listening:
        port = listening.sockets[0].getsockname()[1]
        collector = Scrape(ScrapeOptions(url=f"http://127.0.0.1:{port}"))
        for _ in range(5):
            assert by_name(list(await collector.probe(f"127.0.0.1:{port}")))["up"].value == 1.0
        await collector.close()
    assert opened == 1


async def test_protobuf_is_asked_for_when_native_histograms_are_wanted_and_read_whenever_it_comes() -> None:
    body = page(family("h", "histogram", metric(histogram=BOTH)))
    async with server(answer(body, "200 OK", PROTOBUF_TYPE)) as (url, heads):
        wanted = await scraped(url, native_histograms=True)
        classic = await scraped(url)
    assert f"Accept: {ACCEPT_NATIVE}\r\n".encode() in heads[0]
    assert f"Accept: {ACCEPT}\r\n".encode() in heads[1]
    assert (wanted["up"].value, wanted["scrape_samples_scraped"].value) == (1.0, 1.0)
    assert isinstance(wanted["h"].value, NativeHistogram)
    assert isinstance(classic["h"].value, Histogram)
    async with server(answer(body, "200 OK", "application/octet-stream")) as (url, _):
        assert (await scraped(url, fallback_format="protobuf"))["up"].value == 1.0
        assert labels((await scraped(url))["scrape_failure_info"])["reason"] == "content_type"


async def test_credentials_and_headers_are_sent() -> None:
    async with server(answer(b"")) as (url, heads):
        await scraped(url, username="u", password=Secret("p"), headers={"X-Scope": Secret("s"), "accept": "x"})
        await scraped(url, bearer_token=Secret("t"))
        await scraped(url.replace("//", "//me:pw@"))
    assert b"Authorization: Basic dTpw\r\n" in heads[0]
    assert b"X-Scope: s\r\n" in heads[0]
    assert heads[0].count(b"Accept: ") == 1
    assert b"Authorization: Bearer t\r\n" in heads[1]
    assert b"Authorization: Basic bWU6cHc=\r\n" in heads[2]
    assert b"me:pw" not in heads[2]


async def test_a_redirect_is_followed_and_takes_no_secret_to_another_host() -> None:
    async with server(answer(b"a 1\n")) as (end, seen):
        there = answer(b"", "302 Found", "", f"Location: {end}/there")
        async with server(there) as (url, _):
            found = await scraped(url, bearer_token=Secret("hidden"), headers={"X-Key": "hidden"})
            assert found["up"].value == 1.0
            assert labels(found["a"])["instance"] == url.removeprefix("http://")
            refused = await scraped(url, follow_redirects=False)
    assert b"hidden" not in seen[0]
    assert labels(refused["scrape_failure_info"])["reason"] == "status"


async def test_gzip_is_unpacked_also_in_several_members() -> None:
    packed = gzip.compress(b"a 1\n") + gzip.compress(b"b 2\n")
    async with server(answer(packed, "200 OK", "text/plain", "Content-Encoding: gzip")) as (url, _):
        found = await scraped(url)
    assert (found["a"].value, found["b"].value, found["scrape_body_size_bytes"].value) == (1.0, 2.0, 8.0)


async def test_an_empty_page_is_up_whatever_it_claims_to_be() -> None:
    async with server(answer(b"", "200 OK", "image/png")) as (url, _):
        assert (await scraped(url))["up"].value == 1.0


async def hang_before(_: bytes, writer: asyncio.StreamWriter) -> None:
    await asyncio.Event().wait()


async def hang_after(_: bytes, writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 100\r\n\r\na 1\n")
    await writer.drain()
    await asyncio.Event().wait()


async def endless(_: bytes, writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n\r\n")
    while True:
        writer.write(b"a 1\n" * 4096)
        await writer.drain()


async def trickle(_: bytes, writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n\r\n")
    while True:
        writer.write(b"#")
        await writer.drain()
        await asyncio.sleep(0.02)  # the server's slowness is what is tried


async def breaks_off(_: bytes, writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 100\r\n\r\na 1\n")
    await writer.drain()
    writer.transport.abort()


async def not_http(_: bytes, writer: asyncio.StreamWriter) -> None:
    writer.write(b"220 mail.example.com ESMTP\r\n\r\n")


async def bad_chunks(_: bytes, writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\na 1\n\r\n")


async def loops(head: bytes, writer: asyncio.StreamWriter) -> None:
    there = b"/x" + head.split()[1]
    writer.write(b"HTTP/1.1 302 Found\r\nContent-Length: 0\r\nLocation: " + there + b"\r\n\r\n")


async def endless_head(_: bytes, writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\nX: ")
    while True:
        writer.write(b"x" * 65536)
        await writer.drain()


BOMB = zlib.compressobj(9, wbits=31)
BOMB_BODY = b"".join([BOMB.compress(bytes(1 << 20)) for _ in range(256)]) + BOMB.flush()


@pytest.mark.parametrize(
    ("handler", "reason"),
    [
        (hang_before, "timeout"),
        (hang_after, "timeout"),
        (trickle, "timeout"),
        (endless, "too_large"),
        (answer(b"a 1\n" * 300_000), "too_large"),
        (answer(BOMB_BODY, "200 OK", "text/plain", "Content-Encoding: gzip"), "too_large"),
        (answer(gzip.compress(b"") * 5000, "200 OK", "text/plain", "Content-Encoding: gzip"), "too_large"),
        (answer(gzip.compress(b"a 1\n" * 9)[:-9], "200 OK", "text/plain", "Content-Encoding: gzip"), "encoding"),
        (answer(b"a 1\n", "200 OK", "text/plain", "Content-Encoding: gzip"), "encoding"),
        (breaks_off, "protocol"),
        (not_http, "protocol"),
        (bad_chunks, "protocol"),
        (endless_head, "protocol"),
        (loops, "redirect"),
        (answer(b"", "302 Found", "", "Location: ftp://x/"), "redirect"),
        (answer(b"", "302 Found", ""), "redirect"),
        (answer(b"a 1\n", "503 Service Unavailable"), "status"),
        (answer(b"a 1\n", "401 Unauthorized"), "unauthorized"),
        (answer(b"a 1\n", "200 OK", ""), "content_type"),
        (answer(b"<html>", "200 OK", "text/html"), "content_type"),
        (answer(b"<html>"), "parse"),
        (answer(b"a 1\n", "200 OK", "application/openmetrics-text; version=1.0.0"), "parse"),
        (answer(b"a{b='c'} 1\n"), "parse"),
        (answer(b'a{b="c"} 1\n' * 200), "sample_limit"),
        (answer(b'a{b="c",d="e",f="g"} 1\n'), "label_limit"),
        (answer(b"\xff" * 99, "200 OK", PROTOBUF_TYPE), "parse"),
        (answer(page(family("g", "gauge", *[metric(gauge={})] * 101)), "200 OK", PROTOBUF_TYPE), "sample_limit"),
        (answer(page(family("h", "histogram", metric(histogram=FAR))), "200 OK", PROTOBUF_TYPE), "bucket_limit"),
    ],
    ids=lambda one: one if isinstance(one, str) else getattr(one, "__name__", ""),
)
async def test_what_is_wrong_with_a_target_is_a_reason(handler: Handler, reason: str) -> None:
    limits = {"body_limit": Size("1MiB"), "sample_limit": 100, "label_limit": 5}
    limits |= {"native_histograms": True, "native_histogram_bucket_limit": 1}
    async with server(handler) as (url, _):
        tracemalloc.start()
        found = await scraped(url, 3.0 if reason != "timeout" else 0.3, **limits)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert reason in REASONS
    assert labels(found["scrape_failure_info"])["reason"] == reason
    assert found["up"].value == 0.0
    assert found["scrape_body_size_bytes"].value == (-1.0 if reason == "too_large" else pytest.approx(0, abs=2300))
    assert set(found) == {
        *("up", "scrape_duration_seconds", "scrape_samples_scraped", "scrape_samples_post_metric_relabeling"),
        *("scrape_series_added", "scrape_body_size_bytes", "scrape_failure_info"),
    }
    assert peak < 12 << 20


async def test_nobody_there() -> None:
    found = await scraped(f"http://127.0.0.1:{free_port()}")
    assert labels(found["scrape_failure_info"])["reason"] == "refused"
    found = await scraped("http://nobody.invalid")
    assert labels(found["scrape_failure_info"])["reason"] == "resolve"

    async def no_tls(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"no TLS\r\n\r\n")
        await reader.read()
        writer.transport.abort()

    plain = await asyncio.start_server(no_tls, "127.0.0.1", 0)
    found = await scraped(f"https://127.0.0.1:{plain.sockets[0].getsockname()[1]}")
    plain.close()
    await asyncio.sleep(0)
    assert labels(found["scrape_failure_info"])["reason"] == "tls"
    found = await scraped("https://127.0.0.1:1", cert_file="/nowhere")
    assert labels(found["scrape_failure_info"])["reason"] == "config"


async def test_one_that_hangs_costs_the_others_nothing() -> None:
    async with server(hang_before) as (bad, _), server(answer(b"a 1\n")) as (good, _):
        collector = Scrape(ScrapeOptions(urls=(bad, good)))
        samples = list(await FanOut(collector, 0.5).collect())
        await collector.close()
    ups = {labels(one)["instance"]: one.value for one in samples if one.family.name == "up"}
    assert ups == {bad.removeprefix("http://"): 0.0, good.removeprefix("http://"): 1.0}


async def test_a_large_new_page_lets_others_run() -> None:
    body = "".join(f'm{{l="{at}"}} 1\n' for at in range(5_000)).encode()
    async with server(answer(body)) as (url, _):
        collector = Scrape(ScrapeOptions(url=url))
        turns = 0

        async def other() -> None:
            nonlocal turns
            while True:
                turns += 1
                await asyncio.sleep(0)

        task = asyncio.create_task(other())
        reading = await collector.probe(url.removeprefix("http://"))
        task.cancel()
        await collector.close()
    assert len(list(reading)) == 5_006
    assert turns >= 10


async def test_a_fallback_is_for_pages_without_a_type_that_we_know() -> None:
    async with server(answer(b"a 1\n", "200 OK", "")) as (url, _):
        assert (await scraped(url, fallback_format="text"))["up"].value == 1.0
        assert (await scraped(url, fallback_format="openmetrics"))["up"].value == 0.0


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({}, "url: "),
        ({"url": "http://a", "urls": ("http://b",)}, "url: "),
        ({"url": "a:9100"}, "url: expected"),
        ({"urls": ("http://a:1/x", "http://a:1/y")}, "a:1 is there twice"),
    ],
)
def test_options_that_cannot_be(options: dict[str, object], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        ScrapeOptions(**options)  # type: ignore[arg-type]  # wrong on purpose


def test_a_url_with_a_password_shows_nowhere() -> None:
    collector = Scrape(ScrapeOptions(url="http://me:secret@127.0.0.1:1/metrics"))
    (target,) = asyncio.run(collector.targets())
    assert target == "127.0.0.1:1"
    assert all("secret" not in text for one in collector.late(target, 1.0) for text in one.labels)
    assert URL("http://127.0.0.1:1").host == "127.0.0.1"
