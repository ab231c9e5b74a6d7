"""What an answer is held against: JSON, headers, TLS, compression; and options that make no sense together."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import json
import re
import subprocess
import sys
import threading
import time
import zlib
from typing import Any

import cramjam
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.plugins import COLLECTORS, EXPORTERS
from collectors.probes.exchange import Answer, decompressed
from collectors.probes.http import Http
from collectors.probes.http_json import INLINE, Expressions, parse_expression
from collectors.probes.link import REASONS, Failed
from config import ConfigError, loads
from tests.collectors.probes.test_http import OK, certificates, probed, reason
from tests.collectors.probes.zoo import Certificates, says, serving
from tests.conftest import ROOT

__all__ = ["certificates"]  # a fixture
HEALTH = b'{"status": "ok", "nodes": [{"up": true, "load": 0.5}, {"up": false, "load": 2}], "errors": 0, "note": "no"}'


def answering(body: bytes, head: bytes = b"") -> Any:
    """A server with this body."""
    return serving(says(b"HTTP/1.1 200 OK\r\n" + head + b"Content-Length: %d\r\n\r\n" % len(body) + body))


# -- JSON ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("expressions", "holds"),
    [
        (("status == 'ok'",), True),
        (("status == 'ok'", "length(nodes) > `1`", "errors == `0`"), True),
        (("status == 'ok'", "status == 'bad'"), False),
        (("nodes[?up] | length(@) == `2`",), False),
        (("max_by(nodes, &load).load < `10`",), True),
        (("nodes[0].up",), True),
        (("nodes[1].up",), False),
        (("note",), False),  # any text, of a field that was meant to be true or false
        (("errors",), False),
        (("missing",), False),
        (("missing == `null`",), True),
        (("length(errors) == `0`",), False),  # cannot be told of a number
        (("contains(keys(@), 'status')",), True),
    ],
)
async def test_an_expression_holds_when_it_gives_true(expressions: tuple[str, ...], holds: bool) -> None:
    async with answering(HEALTH) as port:
        found = await probed(f"http://127.0.0.1:{port}/", expect_json=expressions)
    assert reason(found) == ("" if holds else "body")
    assert (found["probe_failed_due_to_cel"], found["probe_failed_due_to_regex"]) == (float(not holds), 0.0)


async def test_without_expressions_nothing_is_said_of_them() -> None:
    async with answering(b"no json") as port:
        assert "probe_failed_due_to_cel" not in await probed(f"http://127.0.0.1:{port}/")


DEEP = 900
DEEPLY = "contains(@, @[0]) && @[0] == `7`"
BODIES = {
    "no JSON": b"<html>",
    "nothing": b"",
    "cut off": HEALTH[:-1],
    "no UTF-8": b'{"status": "\xff"}',
    "not a number": b'{"status": NaN}',
    "a number without end": b'{"status": 1' + b"0" * 100_000 + b"}",
    "a number beyond doubles": b'{"status": 1e999}',
    "a depth bomb": b"[" * 400_000,
    "a closed depth bomb": b"[" * 300_000 + b"]" * 300_000,
    "deep": b"[" * DEEP + b"]" * DEEP,
    "many values": b"[" + b",".join([b"{}"] * 100_000) + b"]",
    "another type": b"17",
}


@pytest.mark.parametrize("body", BODIES.values(), ids=list(BODIES))
@pytest.mark.parametrize("expression", ["status == 'ok'", "to_string(@) == 'x'", "ceil(status) > `1`", DEEPLY])
async def test_no_body_gets_past_an_expression_or_breaks_it(body: bytes, expression: str) -> None:
    assert await Expressions([expression]).fault(body) != ""


async def test_a_large_body_is_judged_beside_the_event_loop() -> None:
    seen: list[str] = []
    expressions = Expressions(["@ != `null`"])
    judge = expressions.judged
    expressions.judged = lambda body: (seen.append(threading.current_thread().name), judge(body))[1]  # type: ignore[method-assign]  # to see where
    for size in (INLINE - 2, INLINE):
        assert await expressions.fault(b'"' + b"x" * size + b'"') == ""
    assert seen[0] == threading.main_thread().name != seen[1]


LEAVES = st.none() | st.booleans() | st.floats() | st.text()


@given(st.recursive(LEAVES, lambda some: st.lists(some) | st.dictionaries(st.text(), some)))
def test_whatever_a_document_holds_an_expression_has_an_end(document: Any) -> None:
    body = json.dumps(document).encode()
    for text in ("sort(@)", "length(@) > `1`", "max(@)", "join(',', @)", "*.a | [0]", "sum(@) > avg(@)", "@ > `1`"):
        assert isinstance(Expressions([text]).judged(body), str)


@pytest.mark.parametrize(
    ("expression", "said"),
    [
        ("status ==", "no JMESPath expression"),
        ("", "no JMESPath expression"),
        ("a b", "no JMESPath expression"),
        ("a ? b", "no JMESPath expression"),
        ("a[", "no JMESPath expression"),
        ("nodes[?size(@) > `1`]", "there is no function size()"),
        ("(" * 5000, "no JMESPath expression"),
    ],
)
def test_what_is_no_expression_is_refused(expression: str, said: str) -> None:
    with pytest.raises(ValueError, match=r"no JMESPath expression") as caught:
        parse_expression(expression)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 250


def test_a_bad_expression_is_refused_with_its_place() -> None:
    text = '[[collectors.http]]\nurl = "http://a/"\nexpect_json = [\n  "status == \'ok\'",\n  "status = \'ok\'",\n]\n'
    with pytest.raises(ConfigError) as caught:
        loads(text, collectors=COLLECTORS, exporters=EXPORTERS)
    (fault,) = caught.value.faults
    assert (fault.line, fault.path.rsplit(".", 1)[-1]) == (3, "expect_json")
    assert "\"status = 'ok'\"" in fault.message or "status = 'ok'" in fault.message


def test_without_the_library_it_says_which_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "jmespath", None)
    Http.Options(url="http://a/")
    with pytest.raises(ValueError, match=r"expect_json: needs the extra `http`: pip install 'nightjar-agent\[http\]'"):
        Http.Options(url="http://a/", expect_json=("a",))


def test_the_library_is_imported_for_its_option_alone() -> None:
    make = "import sys, collectors.probes.http as h; h.Http(h.Http.Options(url='http://a/'))"
    code = f"{make}; print('jmespath' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


# -- headers, bodies, TLS -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"reject_headers": {"X-Powered-By": "."}}, ""),
        ({"reject_headers": {"Set-Cookie": "."}}, "header"),
        ({"reject_headers": {"set-cookie": "^b="}}, "header"),
        ({"reject_headers": {"set-cookie": "^c="}}, ""),
        ({"expect_headers": {"set-cookie": "^b="}}, ""),
        ({"expect_body": ("one", "two")}, ""),
        ({"expect_body": ("one", "six")}, "body"),
        ({"reject_body": ("six", "two")}, "body"),
        ({"reject_body": ("six", "ten")}, ""),
        ({"expect_body": "one", "reject_body": "six"}, ""),
        ({"expect_tls": False}, ""),
        ({"expect_tls": True}, "tls"),
    ],
)
async def test_the_verdict_follows_these_options_too(options: dict[str, Any], expected: str) -> None:
    async with answering(b"one two", b"Set-Cookie: a=1\r\nSet-Cookie: b=2\r\n") as port:
        found = await probed(f"http://127.0.0.1:{port}/", **options)
    assert reason(found) == expected
    assert found["probe_failed_due_to_regex"] == float(expected in ("body", "header"))


async def test_tls_may_be_what_is_not_wanted(certificates: Certificates) -> None:
    async with serving(says(OK), certificates.leaf("good")) as port:
        options: dict[str, Any] = {"ca_file": str(certificates.authority), "family": "ip4"}
        unwanted = await probed(f"https://localhost:{port}/", expect_tls=False, **options)
        wanted = await probed(f"https://localhost:{port}/", expect_tls=True, **options)
    assert (reason(unwanted), unwanted["probe_http_ssl"], reason(wanted)) == ("tls", 1.0, "")


# -- compression --------------------------------------------------------------------------------------------------

PLAIN = b"hello " * 1000
RAW = zlib.compressobj(wbits=-15)
COMPRESSED = {
    "gzip": gzip.compress(PLAIN),
    "x-gzip": gzip.compress(PLAIN),
    "GZIP ": gzip.compress(PLAIN),
    "deflate": zlib.compress(PLAIN),
    "deflate, raw": RAW.compress(PLAIN) + RAW.flush(),
    "br": bytes(cramjam.brotli.compress(PLAIN)),
    "identity": PLAIN,
    "": PLAIN,
}


def encoded(kind: str, body: bytes) -> Answer:
    """An answer with a compressed body."""
    return Answer(headers=[("content-encoding", kind.partition(",")[0])] if kind else [], body=body)


@pytest.mark.parametrize("kind", COMPRESSED)
async def test_a_body_is_read_without_its_compression(kind: str) -> None:
    assert await decompressed(encoded(kind, COMPRESSED[kind]), len(PLAIN)) == PLAIN


@pytest.mark.parametrize("kind", [one for one in COMPRESSED if one not in ("identity", "")])
async def test_a_compressed_body_has_a_limit_and_an_end(kind: str) -> None:
    for body, limit, expected in (
        (COMPRESSED[kind], len(PLAIN) - 1, "too_large"),
        (COMPRESSED[kind][:-3], len(PLAIN), "body"),
        (b"no such thing", 1000, "body"),
    ):
        with pytest.raises(Failed) as caught:
            await decompressed(encoded(kind, body), limit)
        assert caught.value.reason == expected
    assert await decompressed(encoded(kind, b""), 10) == b"", "an answer to HEAD has none"


async def test_a_compression_that_nobody_asked_for_is_a_fault_of_the_body() -> None:
    with pytest.raises(Failed, match="not known: 'zstd'") as caught:
        await decompressed(encoded("zstd", b"abc"), 10)
    assert caught.value.reason == "body"


@given(st.sampled_from(["gzip", "deflate", "br"]), st.binary(min_size=1, max_size=200))
def test_no_compressed_body_breaks_anything(kind: str, body: bytes) -> None:
    with contextlib.suppress(Failed):
        assert len(asyncio.run(decompressed(encoded(kind, body), 1000))) <= 1000


async def test_compression_is_for_who_asks_for_it() -> None:
    heard: list[bytes] = []

    async def talk(reader: Any, writer: Any) -> None:
        heard.append(await reader.readuntil(b"\r\n\r\n"))
        body = gzip.compress(b"hello")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(body) + body)

    async with serving(talk) as port:
        url = f"http://127.0.0.1:{port}/"
        await probed(url)
        options = {"headers": {"Accept-Encoding": "gzip"}, "expect_headers": {"Content-Encoding": "^gzip$"}}
        found = await probed(url, expect_body="^hello$", **options)
    assert b"Accept-Encoding" not in heard[0]
    assert b"Accept-Encoding: gzip" in heard[1]
    assert (reason(found), found["probe_http_uncompressed_body_length"]) == ("", 5.0)
    assert found["probe_http_content_length"] > 20


# -- options ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"socket": "app.sock"}, 'socket: expected the path of a Unix socket such as "/run/app.sock"'),
        ({"socket": "/" + "a" * 107}, "at most 107 bytes"),
        ({"socket": "/run/\0"}, "socket: expected"),
        ({"socket": "/run/a", "proxy": "http://p:1"}, "socket: is one way to the target and `proxy` another"),
        ({"proxy": "http://p:1", "headers": {"proxy-authorization": "x"}}, "headers: a proxy takes user and password"),
        ({"proxy": "socks5://p:1"}, "proxy: expected a URL"),
        ({"expect_body": ("a", "(")}, "expect_body: is no regular expression"),
        ({"reject_headers": {"X": "("}}, "reject_headers: is no regular expression"),
        ({"expect_json": ("a", "(")}, "expect_json: '(' is no JMESPath expression"),
    ],
)
def test_options_that_make_no_sense_are_refused(options: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError) as caught:  # noqa: PT011  # its text is what is looked at
        Http.Options(url="http://a/", **options)
    assert said in str(caught.value)


def test_every_fault_is_told_at_once() -> None:
    with pytest.raises(ValueError) as caught:  # noqa: PT011  # its arguments are looked at
        Http.Options(socket="x", expect_body="(", key_file="k", expect_status=("xx",))
    assert [text.partition(":")[0] for text in caught.value.args] == [
        "key_file", "url", "socket", "expect_body", "expect_status",
    ]  # fmt: skip


async def test_a_large_hostile_document_is_over_in_time() -> None:
    started = time.perf_counter()
    await Expressions(["[?status != 'up'] | length(@) == `0`"]).fault(BODIES["many values"])
    assert time.perf_counter() - started < 10.0


# -- docs/probes.md -----------------------------------------------------------------------------------------------

DOCUMENT = (ROOT / "docs/probes.md").read_text()


def rows(heading: str) -> list[list[str]]:
    """The cells of a table."""
    table = DOCUMENT.split(f"| {heading} |", 1)[1].split("\n\n", 1)[0]
    return [line.strip("| ").split(" | ") for line in table.splitlines()[2:]]


def test_the_document_lists_every_reason() -> None:
    assert [first.strip("`") for first, _ in rows("reason")] == list(REASONS)


def test_the_options_that_the_document_names_are_there() -> None:
    named = {name for _, ours in rows("option of `http`") for name in re.findall(r"`(\w+)(?: =[^`]*)?`", ours)}
    known = set(Http.Options.__struct_fields__)
    assert named - known == {"Host"}
    assert {name for name in known if name.startswith(("expect", "reject"))} <= named


def test_the_expressions_of_the_document_are_some() -> None:
    shown = [ours.strip("` ") if "``" not in ours else ours[3:-3] for _, ours in rows("in CEL")]
    (block,) = re.findall(r"```toml\n(.*?)```", DOCUMENT, re.DOTALL)
    shown += loads(block, collectors=COLLECTORS, exporters=EXPORTERS).collectors[0].options.expect_json  # type: ignore[attr-defined]  # of http
    assert len(shown) == 9
    for text in shown:
        parse_expression(text)
    body = b'{"status": "ok", "errors": 0, "nodes": [{"up": true}, {"up": true}, {"up": true}], "name": "abc"}'
    assert Expressions(shown).judged(body) == ""
