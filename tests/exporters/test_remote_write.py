"""The exporter against a real server on the loopback interface."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import cramjam
import pytest

from agent.model import Delivered, MetricBatch, Reencode, Rejected, Request, Retry, Series, SeriesSet, TooLarge
from config import Secret
from exporters.remote_write import WRITTEN, RemoteWrite

T0 = 1_760_000_000_000
BATCH = MetricBatch("c", T0, SeriesSet([Series("up", "gauge", "Is it up?", "", (("job", "x"),))]), [1.0])
TAKEN = dict(zip(WRITTEN, ("1", "0", "0"), strict=True))


async def test_version_2_is_tried_first_and_spoken_on(receiver: Any, proto_2: Any, exporting: Any) -> None:
    async with exporting(receiver.url) as exporter:
        request = exporter.encode([BATCH])
        assert await exporter.send(request) == Delivered()
        assert request.samples == 1
        assert exporter.protocol == "2.0"
    message = proto_2.Request.FromString(bytes(cramjam.snappy.decompress_raw(receiver.requests[0][1])))
    assert message.timeseries[0].samples[0].timestamp == T0
    assert receiver.headers["Content-Type"] == "application/x-protobuf;proto=io.prometheus.write.v2.Request"
    assert receiver.headers["X-Prometheus-Remote-Write-Version"] == "2.0.0"
    assert receiver.headers["Content-Encoding"] == "snappy"
    assert receiver.headers["User-Agent"].startswith("nightjar/")


@pytest.mark.parametrize("status", [200, 400, 415])
async def test_a_receiver_that_knows_version_1_only_gets_it(
    receiver: Any, status: int, proto_1: Any, exporting: Any
) -> None:
    receiver.answers = [(status, {}, ""), (204, {}, "")]
    async with exporting(receiver.url) as exporter:
        with pytest.raises(Reencode):
            await exporter.send(exporter.encode([BATCH]))
        assert await exporter.send(exporter.encode([BATCH])) == Delivered()
        assert exporter.protocol == "1.0"
    message = proto_1.WriteRequest.FromString(bytes(cramjam.snappy.decompress_raw(receiver.requests[1][1])))
    assert [label.value for label in message.timeseries[0].labels] == ["up", "x"]
    assert message.metadata[0].help == "Is it up?"
    assert receiver.headers["Content-Type"] == "application/x-protobuf"
    assert receiver.headers["X-Prometheus-Remote-Write-Version"] == "0.1.0"


async def test_a_receiver_that_lost_version_1_gets_version_2_again(receiver: Any, exporting: Any) -> None:
    receiver.answers = [(415, {}, ""), (204, {}, ""), (415, {}, ""), (204, TAKEN, "")]
    async with exporting(receiver.url) as exporter:
        for protocol in ("1.0", "2.0"):
            with pytest.raises(Reencode):
                await exporter.send(exporter.encode([BATCH]))
            assert exporter.protocol == protocol
            assert await exporter.send(exporter.encode([BATCH])) == Delivered()


async def test_a_refusal_of_both_versions_is_a_rejection(receiver: Any, exporting: Any) -> None:
    receiver.answers = [(400, {}, "bad data")]
    async with exporting(receiver.url) as exporter:
        with pytest.raises(Reencode):
            await exporter.send(exporter.encode([BATCH]))
        with pytest.raises(Rejected, match="bad data"):
            await exporter.send(exporter.encode([BATCH]))


async def test_a_receiver_that_once_spoke_version_2_is_believed_when_it_refuses(receiver: Any, exporting: Any) -> None:
    receiver.answers = [(204, TAKEN, ""), (400, {}, "out of order")]
    async with exporting(receiver.url) as exporter:
        await exporter.send(exporter.encode([BATCH]))
        with pytest.raises(Rejected):
            await exporter.send(exporter.encode([BATCH]))
        assert exporter.protocol == "2.0"


async def test_metadata_of_version_1_is_told_until_it_arrived_and_again_after_a_minute(
    receiver: Any, proto_1: Any
) -> None:
    now = 1000.0
    exporter = RemoteWrite(RemoteWrite.Options(url=receiver.url, protocol="1.0"), clock=lambda: now)
    receiver.answers = [(503, {}, ""), (204, {}, "")]
    other = MetricBatch("c", T0, SeriesSet([Series("new", "counter", "", "", ())]), [1.0])
    with pytest.raises(Retry):
        await exporter.send(exporter.encode([BATCH]))
    for batches in ([BATCH], [BATCH], [BATCH, other]):
        request = exporter.encode(batches)
        exporter.encode([other])  # the next request may be made before this one arrived
        await exporter.send(request)
    now += 61
    await exporter.send(exporter.encode([BATCH]))
    await exporter.close()
    told = [
        [
            m.metric_family_name
            for m in proto_1.WriteRequest.FromString(bytes(cramjam.snappy.decompress_raw(b))).metadata
        ]
        for _, b in receiver.requests
    ]
    assert told == [["up"], ["up"], [], ["new"], ["up"]]


@pytest.mark.parametrize(
    ("status", "headers", "error"),
    [(413, {}, TooLarge), (429, {"Retry-After": "3"}, Retry), (500, {}, Retry), (404, {}, Retry), (401, {}, Retry)],
)
async def test_answers_become_verdicts(
    receiver: Any, status: int, headers: dict[str, str], error: type[Exception], exporting: Any
) -> None:
    receiver.answers = [(status, headers, "because")]
    async with exporting(receiver.url) as exporter:
        with pytest.raises(error, match=rf"localhost:\d+/api/v1/write answered {status}: because"):
            await exporter.send(exporter.encode([BATCH]))


async def test_redirects_are_not_followed(receiver: Any, exporting: Any) -> None:
    receiver.answers = [(307, {"Location": "http://localhost:1/elsewhere"}, "")]
    async with exporting(receiver.url, bearer_token=Secret("t0ken")) as exporter:
        with pytest.raises(Retry, match="redirects are not followed") as caught:
            await exporter.send(exporter.encode([BATCH]))
    assert caught.value.kind == "3xx"
    assert len(receiver.requests) == 1


async def test_users_headers_are_sent_but_cannot_replace_the_protocols(receiver: Any, exporting: Any) -> None:
    headers: dict[str, str | Secret] = {"X-Extra": "yes", "X-Key": Secret("k3y"), "x-scope-orgid": "other"}
    async with exporting(receiver.url, tenant="team-a", headers=headers) as exporter:
        await exporter.send(exporter.encode([BATCH]))
    assert (receiver.headers["X-Extra"], receiver.headers["X-Key"]) == ("yes", "k3y")
    assert receiver.headers.getall("X-Scope-OrgID") == ["team-a"]


@pytest.mark.parametrize(
    "name", ["content-type", "Content-Encoding", "USER-AGENT", "X-Prometheus-Remote-Write-Version"]
)
def test_reserved_headers_are_refused_in_the_configuration(name: str) -> None:
    with pytest.raises(ValueError, match="set by the protocol"):
        RemoteWrite.Options(url="http://localhost/", headers={name: "x"})


@pytest.mark.parametrize(
    "url", ["", "localhost:9090/write", "ftp://localhost/", "http://", "http://[::1", "http://x:port/"]
)
def test_what_is_no_url_is_refused_in_the_configuration(url: str) -> None:
    with pytest.raises(ValueError, match="url: "):
        RemoteWrite.Options(url=url)


async def test_a_bearer_token_is_sent(receiver: Any, exporting: Any) -> None:
    async with exporting(receiver.url, bearer_token=Secret("t0ken")) as exporter:
        await exporter.send(exporter.encode([BATCH]))
    assert receiver.headers["Authorization"] == "Bearer t0ken"


@pytest.mark.parametrize("in_url", [True, False])
async def test_basic_authentication_is_sent(receiver: Any, in_url: bool, exporting: Any) -> None:
    if in_url:
        url, options = receiver.url.replace("//", "//us%40r:p%C3%A4ss@"), {}
    else:
        url, options = receiver.url, {"username": "us@r", "password": Secret("päss")}
    async with exporting(url, **options) as exporter:
        await exporter.send(exporter.encode([BATCH]))
    assert receiver.headers["Authorization"] == "Basic dXNAcjpww6Rzcw=="


async def test_secrets_that_a_server_echoes_are_masked(receiver: Any, exporting: Any) -> None:
    receiver.answers = [(403, {}, "no access for Bearer t0ken with k3y")]
    async with exporting(receiver.url, bearer_token=Secret("t0ken"), headers={"X-Key": Secret("k3y")}) as exporter:
        with pytest.raises(Retry, match=r"403: no access for Bearer \*\*\* with \*\*\*") as caught:
            await exporter.send(exporter.encode([BATCH]))
    assert caught.value.auth


async def test_a_password_in_the_url_is_in_no_message(receiver: Any, exporting: Any) -> None:
    receiver.answers = [(500, {}, "user:p4ssword dXNlcjpwNHNzd29yZA==")]
    url = receiver.url.replace("//", "//user:p4ssword@") + "?key=k3y"
    async with exporting(url) as exporter:
        with pytest.raises(Retry) as answered:
            await exporter.send(exporter.encode([BATCH]))
    async with exporting("http://user:p4ssword@127.0.0.1:1/x?key=k3y") as exporter:
        with pytest.raises(Retry) as refused:
            await exporter.send(exporter.encode([BATCH]))
    text = f"{answered.value} {refused.value}"
    assert not any(secret in text for secret in ("p4ssword", "k3y", "dXNlcjpwNHNzd29yZA=="))


async def test_a_changed_secret_is_used_soon_after_a_refusal(receiver: Any, exporting: Any) -> None:
    receiver.answers = [(401, {}, ""), (204, TAKEN, "")]
    tokens = iter(["new", "new"])
    async with exporting(receiver.url, bearer_token=Secret("old", lambda: next(tokens))) as exporter:
        with pytest.raises(Retry, match="the secret has changed since") as caught:
            await exporter.send(exporter.encode([BATCH]))
        await exporter.send(exporter.encode([BATCH]))
    assert not caught.value.auth
    assert receiver.headers["Authorization"] == "Bearer new"


async def test_a_secret_with_a_line_break_is_a_clear_message(receiver: Any, exporting: Any) -> None:
    async with exporting(receiver.url, bearer_token=Secret("t0ken\nX: y")) as exporter:
        with pytest.raises(Retry, match=r"the header Authorization for .* holds a control character") as caught:
            await exporter.send(exporter.encode([BATCH]))
    assert caught.value.auth
    assert not receiver.requests


async def test_it_can_be_closed_before_it_was_used() -> None:
    await RemoteWrite(RemoteWrite.Options(url="http://localhost/")).close()


def test_importing_it_does_not_import_a_web_server() -> None:
    code = "import sys, exporters.remote_write; sys.exit('aiohttp.web' in sys.modules)"
    root = Path(__file__).parents[2]
    assert subprocess.run([sys.executable, "-c", code], cwd=root, check=False).returncode == 0


def test_requests_are_capped_by_the_option() -> None:
    assert RemoteWrite(RemoteWrite.Options(url="http://localhost/", max_samples=7)).max_items == 7
    assert isinstance(RemoteWrite(RemoteWrite.Options(url="http://localhost/")).encode([BATCH]), Request)
