"""HTTP probes: what is measured, the verdict, and servers that do everything wrong."""

from __future__ import annotations

import asyncio
import gzip
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from agent.fanout import FanOut
from agent.model import Sample
from collectors.probes.http import PHASES, Http
from collectors.probes.link import REASONS
from tests.collectors.probes.zoo import Certificates, Talk, says, serving

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"


def book(samples: list[Sample]) -> dict[str, Any]:
    """Values by name, and by name and last label."""
    found: dict[str, Any] = {}
    for sample in samples:
        found[sample.family.name] = sample.value
        found[sample.family.name, sample.labels[-1]] = sample.value
    return found


async def probed(url: str, timeout: float = 5.0, **options: Any) -> dict[str, Any]:
    """One round of one target, as the agent makes it."""
    prober = Http(Http.Options(url=url, **options))
    try:
        return book(list(await FanOut(prober, timeout).collect()))
    finally:
        await prober.close()


def reason(found: dict[str, Any]) -> str:
    """Why it failed; empty when it did not."""
    return "".join(name for name in REASONS if ("probe_failure_info", name) in found)


async def test_a_good_answer_tells_everything() -> None:
    modified = b"Last-Modified: Wed, 21 Oct 2015 07:28:00 GMT\r\n"
    async with serving(says(b"HTTP/1.1 200 OK\r\n" + modified + b"Content-Length: 5\r\n\r\n", b"hello")) as port:
        found = await probed(f"http://127.0.0.1:{port}/x")
    assert (found["probe_success"], found["probe_state"], reason(found)) == (1.0, 1.0, "")
    assert found["probe_http_status_code"] == 200.0
    assert found["probe_http_content_length"] == found["probe_http_uncompressed_body_length"] == 5.0
    assert found["probe_http_version"] == 1.1
    assert found["probe_http_last_modified_timestamp_seconds"] == 1445412480.0
    assert found["probe_ip_protocol"] == 4.0
    assert found["probe_http_ssl"] == found["probe_http_redirects"] == found["probe_failed_due_to_regex"] == 0.0
    assert {phase for phase in PHASES if ("probe_http_duration_seconds", phase) in found} == set(PHASES)
    assert found["probe_duration_seconds"] >= found["probe_http_duration_seconds", "connect"] > 0.0


async def test_the_request_is_what_was_asked_for() -> None:
    heard: list[bytes] = []

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heard.append(await reader.readuntil(b"\r\n\r\n") + await reader.readexactly(4))
        writer.write(OK)

    async with serving(talk) as port:
        options = {"method": "POST", "body": "ping", "headers": {"X-Test": "1", "user-agent": "me"}}
        found = await probed(f"http://user:word@localhost:{port}/a%20b?q=1", **options)
    assert found["probe_success"] == 1.0
    lines = heard[0].decode().split("\r\n")
    assert lines[0] == "POST /a%20b?q=1 HTTP/1.1"
    assert {f"Host: localhost:{port}", "X-Test: 1", "user-agent: me", "Content-Length: 4"} < set(lines)
    assert "Authorization: Basic dXNlcjp3b3Jk" in lines
    assert lines[-1] == "ping"
    assert len([line for line in lines if line.lower().startswith("user-agent")]) == 1


async def test_credentials_are_in_no_label() -> None:
    prober = Http(Http.Options(url="http://user:word@127.0.0.1:1/x"))
    found = list(await FanOut(prober, 2.0).collect())
    await prober.close()
    assert {sample.labels[0] for sample in found} == {"http://127.0.0.1:1/x"}


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"expect_status": ("2xx", 418)}, ""),
        ({"expect_status": (200,)}, "status"),
        ({"expect_status": (418,), "expect_body": "tea"}, ""),
        ({"expect_status": (418,), "expect_body": "coffee"}, "body"),
        ({"expect_status": (418,), "reject_body": "tea.*pot"}, "body"),
        ({"expect_status": (418,), "expect_headers": {"X-Pot": "^china$"}}, ""),
        ({"expect_status": (418,), "expect_headers": {"X-Pot": "^tin$"}}, "header"),
        ({"expect_status": (418,), "expect_headers": {"X-None": ""}}, "header"),
        ({"expect_status": (418,), "expect_version": ("HTTP/1.0",)}, "version"),
    ],
)
async def test_the_verdict_follows_the_options(options: dict[str, Any], expected: str) -> None:
    async with serving(says(b"HTTP/1.1 418 I\r\nX-Pot: china\r\nContent-Length: 11\r\n\r\ntea in pots")) as port:
        found = await probed(f"http://127.0.0.1:{port}/", **options)
    assert reason(found) == expected
    assert found["probe_success"] == float(not expected)
    assert found["probe_failed_due_to_regex"] == float(expected in ("body", "header"))


async def test_redirects_are_followed_counted_and_take_no_credentials_along() -> None:
    heard: list[bytes] = []

    async def last(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heard.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(OK)

    async with serving(last) as second:
        where = f"Location: http://127.0.0.1:{second}/there\r\n".encode()
        async with serving(says(b"HTTP/1.1 302 Found\r\n" + where + b"Content-Length: 0\r\n\r\n")) as first:
            url = f"http://user:word@127.0.0.1:{first}/"
            found = await probed(url, headers={"X-Token": "secret"})
            stayed = await probed(url, follow_redirects=False)
    assert (found["probe_success"], found["probe_http_redirects"]) == (1.0, 1.0)
    assert b"Authorization" not in heard[0]
    assert b"secret" not in heard[0]
    assert (reason(stayed), stayed["probe_http_status_code"]) == ("status", 302.0)


async def hang(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.readuntil(b"\r\n\r\n")
    await asyncio.Event().wait()


async def hang_after_the_header(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.readuntil(b"\r\n\r\n")
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n")
    await asyncio.Event().wait()


async def drip(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    for byte in OK:
        writer.write(bytes((byte,)))
        await writer.drain()
        await asyncio.sleep(0.2)


async def endless(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
    while True:
        writer.write(bytes(65_536))
        await writer.drain()


async def endless_headers(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\n")
    while True:
        writer.write(b"X-More: " + b"a" * 1000 + b"\r\n")
        await writer.drain()


async def around(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.readuntil(b"\r\n\r\n")
    writer.write(b"HTTP/1.1 302 Found\r\nLocation: /again\r\nContent-Length: 0\r\n\r\n")


BOMB = gzip.compress(bytes(50_000_000))
ZOO: dict[str, tuple[Talk, str]] = {
    "hangs": (hang, "timeout"),
    "hangs after the header": (hang_after_the_header, "timeout"),
    "one byte at a time": (drip, "timeout"),
    "endless body": (endless, "too_large"),
    "endless headers": (endless_headers, "protocol"),
    "endless redirects": (around, "redirect"),
    "redirect to nowhere": (says(b"HTTP/1.1 302 F\r\nLocation: gopher://x/\r\nContent-Length: 0\r\n\r\n"), "redirect"),
    "gzip bomb": (
        says(b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(BOMB) + BOMB),
        "too_large",
    ),
    "no gzip": (says(b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 3\r\n\r\nabc"), "body"),
    "invalid chunks": (says(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n"), "protocol"),
    "another protocol": (says(b"SSH-2.0-OpenSSH_9.2\r\n"), "protocol"),
    "nothing": (says(), "protocol"),
    "cut off": (says(b"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\nabc"), "reset"),
    "cut off in a chunk": (says(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab"), "reset"),
}


@pytest.mark.parametrize("kind", ZOO)
async def test_a_bad_server_has_a_reason_and_costs_no_other(kind: str) -> None:
    talk, expected = ZOO[kind]
    async with serving(talk) as bad, serving(says(OK)) as good:
        urls = (f"http://127.0.0.1:{bad}/", f"http://127.0.0.1:{good}/")
        prober = Http(Http.Options(urls=urls))
        samples = list(await FanOut(prober, 0.7).collect())
        await prober.close()
    found, other = ([one for one in samples if one.labels[0] == url] for url in urls)
    assert reason(book(found)) == expected
    assert book(other)["probe_success"] == 1.0


async def test_a_body_without_a_length_ends_with_the_connection() -> None:
    async with serving(says(b"HTTP/1.0 200 OK\r\n\r\n", b"hello")) as port:
        found = await probed(f"http://127.0.0.1:{port}/", expect_body="^hello$")
    assert (found["probe_success"], found["probe_http_content_length"], found["probe_http_version"]) == (1.0, -1.0, 1.0)


async def test_nobody_there_and_names_without_an_address() -> None:
    assert reason(await probed("http://127.0.0.1:1/")) == "refused"
    assert reason(await probed("http://no.such.name.invalid/")) == "resolve"


async def test_targets_of_one_name_share_its_address() -> None:
    async with serving(says(OK)) as port:
        prober = Http(Http.Options(urls=tuple(f"http://localhost:{port}/{at}" for at in range(9)), family="ip4"))
        found = list(await FanOut(prober, 5.0).collect())
        await prober.close()
    assert sum(one.value for one in found if one.family.name == "probe_success") == 9.0  # type: ignore[misc]  # floats


async def test_the_state_settles_after_so_many_in_a_row() -> None:
    answers = iter([True, False, False, True, False, False, False, True, True])
    seen = []

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(OK if next(answers) else OK.replace(b"200", b"500"))

    async with serving(talk) as port:
        prober = Http(Http.Options(url=f"http://127.0.0.1:{port}/", fail_after=3, recover_after=2))
        for _ in range(9):
            found = book(list(await FanOut(prober, 5.0).collect()))
            seen.append((found["probe_success"], found["probe_state"]))
        await prober.close()
    assert [success for success, _ in seen] == [1, 0, 0, 1, 0, 0, 0, 1, 1]
    assert [state for _, state in seen] == [1, 1, 1, 1, 1, 1, 0, 0, 1]
    assert found["probe_failures_total", "status"] == 5.0


async def test_targets_of_a_file_come_and_go(tmp_path: Path) -> None:
    file = tmp_path / "targets"
    file.write_text("# ours\nhttp://127.0.0.1:1/a\n\nnot a url\nhttp://127.0.0.1:1/b # the second\n")
    prober = Http(Http.Options(urls_file=str(file)))
    assert list(await prober.targets()) == ["http://127.0.0.1:1/a", "http://127.0.0.1:1/b"]
    file.write_text("http://127.0.0.1:1/c\n")
    assert list(await prober.targets()) == ["http://127.0.0.1:1/c"]
    file.unlink()
    assert list(await prober.targets()) == ["http://127.0.0.1:1/c"], "those known stay"
    await prober.close()


# -- certificates -------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return Certificates(tmp_path_factory.mktemp("certificates"))


@pytest.fixture
def old_tls() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of old versions, on purpose
        yield


@pytest.mark.parametrize(
    ("kind", "expected"),
    {
        "good": "",
        "with intermediate": "",
        "expired": "certificate",
        "not yet valid": "certificate",
        "self-signed": "certificate",
        "unknown authority": "certificate",
        "wrong host": "certificate",
        "missing intermediate": "certificate",
        "expired intermediate": "certificate",
        "RSA 1024": "certificate",
        "SHA-1": "certificate",
        "TLS 1.0 only": "tls",
    }.items(),
)
@pytest.mark.usefixtures("old_tls")
async def test_expiry_is_reported_and_the_verdict_is_right(
    certificates: Certificates, kind: str, expected: str
) -> None:
    async with serving(says(OK), certificates.leaf(kind)) as port:
        found = await probed(f"https://localhost:{port}/", ca_file=str(certificates.authority), family="ip4")
    assert reason(found) == expected
    assert found["probe_success"] == float(not expected)
    assert found["probe_ssl_earliest_cert_expiry"] > 1_500_000_000
    assert (found["probe_ssl_last_chain_expiry_timestamp_seconds"] > 0) is (not expected)
    assert found["probe_ssl_verified"] == float(not expected)


async def test_a_demanded_client_certificate_is_shown_or_missed(certificates: Certificates) -> None:
    context = certificates.leaf("client certificate demanded")
    certificates.leaf("client")
    pair = {"cert_file": str(certificates.folder / "client.pem"), "key_file": str(certificates.folder / "client.key")}
    async with serving(says(OK), context) as port:
        url, ca = f"https://localhost:{port}/", str(certificates.authority)
        shown = await probed(url, ca_file=ca, family="ip4", **pair)
        missed = await probed(url, ca_file=ca, family="ip4")
    assert reason(shown) == ""
    assert missed["probe_success"] == 0.0
    assert missed["probe_ssl_earliest_cert_expiry"] > 0


async def test_verification_can_be_left_out(certificates: Certificates) -> None:
    async with serving(says(OK), certificates.leaf("self-signed")) as port:
        found = await probed(f"https://localhost:{port}/", insecure_skip_verify=True, family="ip4")
    assert found["probe_success"] == found["probe_http_ssl"] == 1.0
