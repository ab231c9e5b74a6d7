"""One HTTP/1.1 exchange over a link: the request written, the answer read up to a limit, both timed.

httptools (llhttp, the parser of Node.js) reads the answer; what it refuses is `protocol`, an endless body `too_large`.
Not chosen: aiohttp's client, which tells neither the phases nor a certificate that does not verify.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
import time
import zlib
from collections.abc import Mapping
from typing import Final

import cramjam
import httptools
from msgspec import Struct, field

from collectors.probes.link import Failed, Link, words

HEADERS_LIMIT = 256 << 10  # bytes of the status line and all headers, and of what stands between pieces of a body
MOST_HEADERS = 500
SWITCHED = 101  # the one answer below 200 that is the last
PIECE = 64 << 10
INLINE: Final = 64 << 10  # bytes that are decompressed without a thread
MOST_MEMBERS: Final = 1_000  # of a gzip body
_WINDOWS: Final = {"gzip": 31, "x-gzip": 31, "deflate": zlib.MAX_WBITS}  # as zlib counts them
_GZIP: Final = 31
SLICE: Final = 16 << 10
_LONGEST_NUMBER: Final = 19  # digits of a length


class Answer(Struct):
    """A response. `length` is what the Content-Length header says, -1 without one; `size` counts the body's bytes as
    they came; `body` holds them, decompressed if `compressed`.
    """

    status: int = 0
    version: str = ""
    headers: list[tuple[str, str]] = field(default_factory=list)
    body: bytes = b""
    size: int = 0
    length: int = -1
    processing: float = 0.0  # seconds from the request's end to the answer's first byte
    transfer: float = 0.0  # seconds from there to its end

    def all(self, name: str) -> list[str]:
        """The values of a header."""
        name = name.lower()
        return [value for key, value in self.headers if key == name]

    def first(self, name: str) -> str:
        """The first value of a header; empty without one."""
        return next(iter(self.all(name)), "")


def readable(value: str) -> str:
    """A header's value as text, which is UTF-8 where it can be."""
    try:
        return value.encode("latin-1").decode()
    except UnicodeDecodeError:
        return value


class _Reading:
    """What the parser calls back."""

    def __init__(self, answer: Answer, limit: int, *, bodyless: bool) -> None:
        self.answer = answer
        self.limit, self.bodyless = limit, bodyless
        self.done = False
        self._body = bytearray()
        self._idle = 0  # bytes since a piece of the body
        self._headers = 0
        self.parser = httptools.HttpResponseParser(self)

    def on_header(self, name: bytes, value: bytes) -> None:
        self._headers += 1
        if self._headers > MOST_HEADERS:
            raise Failed("protocol", f"there are more than {MOST_HEADERS} headers")
        self.answer.headers.append((name.decode("latin-1").lower(), value.decode("latin-1")))

    def on_headers_complete(self) -> None:
        status = self.parser.get_status_code()
        if 100 <= status < 200 and status != SWITCHED:  # an interim answer
            self.answer.headers.clear()
            return
        self.answer.status, self.answer.version = status, self.parser.get_http_version()
        self.answer.length = _length(self.answer.first("content-length"))
        self.done = self.bodyless or status in (SWITCHED, 204, 304)

    def on_body(self, piece: bytes) -> None:
        self.answer.size += len(piece)
        self._idle = 0
        if self.answer.size > self.limit:
            raise Failed("too_large", f"the body is larger than {self.limit} bytes")
        self._body += piece

    def on_message_complete(self) -> None:
        self.done = self.done or self.answer.status > 0

    def feed(self, piece: bytes) -> None:
        """Let the parser call back, and bound what it adds up or passes over until it does."""
        self._idle += len(piece)
        self.parser.feed_data(piece)
        if self._idle > HEADERS_LIMIT and not self.done:
            raise Failed("protocol", "the headers are larger than 256 KiB")

    def finish(self) -> None:
        self.answer.body = bytes(self._body)


async def exchange(link: Link, request: bytes, limit: int, answer: Answer, *, bodyless: bool = False) -> None:
    """Send a request and read its answer; `bodyless` for HEAD. Raises `Failed`; `answer` holds what came until then."""
    reading = _Reading(answer, limit, bodyless=bodyless)
    try:
        link.writer.write(request)
        await link.writer.drain()
        sent = time.perf_counter()
        piece = await link.reader.read(PIECE)
        first = time.perf_counter()
        answer.processing = first - sent
        while piece and not reading.done:
            _feed(reading, piece)
            if not reading.done:
                piece = await link.reader.read(PIECE)
    except ssl.SSLError as error:  # of TLS 1.3, where a client's certificate is judged after the handshake
        raise Failed("tls", words(error)) from None
    except OSError as error:
        raise Failed("reset", words(error)) from None
    reading.finish()
    if not answer.status:
        raise Failed("protocol", "the connection ended before an answer")
    if not reading.done and (answer.length >= 0 or "chunked" in answer.first("transfer-encoding").lower()):
        raise Failed("reset", "the connection ended within the body")
    answer.transfer = time.perf_counter() - first


def _length(text: str) -> int:
    digits = text.lstrip("0") or text[:1]
    return int(digits) if digits.isascii() and digits.isdigit() and len(digits) <= _LONGEST_NUMBER else -1


def _feed(reading: _Reading, piece: bytes) -> None:
    try:
        reading.feed(piece)
    except httptools.HttpParserUpgrade:
        reading.done = True
    except httptools.HttpParserCallbackError as error:
        raise error.__context__ if isinstance(error.__context__, Failed) else Failed("protocol", "no HTTP") from None
    except httptools.HttpParserError as error:
        if not reading.done:
            raise Failed("protocol", str(error).lower() or "no HTTP") from None


async def decompressed(answer: Answer, limit: int) -> bytes:
    """The body without its compression, at most `limit` bytes of it, in a thread if there is much; raises `Failed`."""
    kind = answer.first("content-encoding").strip().lower()
    if kind in ("", "identity") or not answer.body:
        return answer.body
    if kind not in _WINDOWS and kind != "br":
        raise Failed("body", f"the body is compressed in a way that is not known: {kind[:20]!r}")
    try:
        plain = _plain(answer.body, kind, min(limit, INLINE))
        if len(plain) > INLINE:
            plain = await asyncio.to_thread(_plain, answer.body, kind, limit)
    except (zlib.error, EOFError):
        raise Failed("body", f"the body is no {kind}") from None
    if len(plain) > limit:
        raise Failed("too_large", f"the body is larger than {limit} bytes when it is decompressed")
    return plain


def _plain(body: bytes, kind: str, limit: int) -> bytes:
    """What was compressed; of more than the limit one byte too many."""
    return _brotli(body, limit) if kind == "br" else _inflated(body, limit, _WINDOWS[kind])


def _inflated(body: bytes, limit: int, window: int) -> bytes:
    if window == zlib.MAX_WBITS and (body[0] & 0x0F != 8 or int.from_bytes(body[:2], "big") % 31):
        window = -zlib.MAX_WBITS  # some send "deflate" without the header that RFC 9110 wants
    plain, at = bytearray(), 0
    for _ in range(MOST_MEMBERS):  # of gzip there may be several, one behind the other
        at = _member(body, at, limit, window, plain)
        if len(plain) > limit or window != _GZIP or body[at : at + 2] != b"\x1f\x8b":
            return bytes(plain)
    raise EOFError


def _member(body: bytes, at: int, limit: int, window: int, plain: bytearray) -> int:
    """Decompress what begins at a place, up to the limit; says where it ends."""
    reading = zlib.decompressobj(window)
    while not reading.eof and len(plain) <= limit:
        piece = reading.unconsumed_tail or body[at : at + SLICE]
        if not piece:
            raise EOFError
        at += 0 if reading.unconsumed_tail else len(piece)
        plain += reading.decompress(piece, limit + 1 - len(plain))
    return at - len(reading.unused_data)


def _brotli(body: bytes, limit: int) -> bytes:
    plain = bytearray(limit + 1)
    try:
        return bytes(plain[: cramjam.brotli.decompress_into(body, plain)])
    except cramjam.DecompressionError as error:
        if "whole buffer" in str(error):
            return bytes(plain)
        raise EOFError from None


def request_bytes(method: str, target: str, headers: Mapping[str, str], body: bytes) -> bytes:
    """The request as it goes over the wire."""
    lines = [f"{method} {target} HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items())]
    if body or method in ("POST", "PUT", "PATCH"):
        lines.append(f"Content-Length: {len(body)}")
    with contextlib.suppress(UnicodeEncodeError):
        return "\r\n".join([*lines, "", ""]).encode("latin-1") + body
    return "\r\n".join([*lines, "", ""]).encode() + body
