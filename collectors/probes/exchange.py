"""One HTTP/1.1 exchange over a link: the request written, the answer read up to a limit, both timed.

httptools (llhttp, the parser of Node.js) reads the answer; what it refuses is `protocol`, an endless body `too_large`.
Not chosen: aiohttp's client, which tells neither the phases nor a certificate that does not verify.
"""

from __future__ import annotations

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

HEADERS_LIMIT = 256 << 10  # bytes of the status line and all headers
PIECE = 64 << 10
_WINDOWS: Final = {"gzip": 31, "x-gzip": 31, "deflate": zlib.MAX_WBITS}  # as zlib counts them


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


class _Reading:
    """What the parser calls back."""

    def __init__(self, answer: Answer, limit: int, *, bodyless: bool) -> None:
        self.answer = answer
        self.limit, self.bodyless = limit, bodyless
        self.done = False
        self._body: list[bytes] = []
        self._headers = 0
        self.parser = httptools.HttpResponseParser(self)

    def on_header(self, name: bytes, value: bytes) -> None:
        self._headers += len(name) + len(value)
        if self._headers > HEADERS_LIMIT:
            raise Failed("protocol", "the headers are larger than 256 KiB")
        self.answer.headers.append((name.decode("latin-1").lower(), value.decode("latin-1")))

    def on_headers_complete(self) -> None:
        status = self.parser.get_status_code()
        if 100 <= status < 200:  # an interim answer
            self.answer.headers.clear()
            return
        self.answer.status, self.answer.version = status, self.parser.get_http_version()
        length = self.answer.first("content-length")
        self.answer.length = int(length) if length.isascii() and length.isdigit() else -1
        self.done = self.bodyless or status in (204, 304)

    def on_body(self, piece: bytes) -> None:
        self.answer.size += len(piece)
        if self.answer.size > self.limit:
            raise Failed("too_large", f"the body is larger than {self.limit} bytes")
        self._body.append(piece)

    def on_message_complete(self) -> None:
        self.done = self.done or self.answer.status > 0

    def finish(self) -> None:
        self.answer.body = b"".join(self._body)


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


def _feed(reading: _Reading, piece: bytes) -> None:
    try:
        reading.parser.feed_data(piece)
    except httptools.HttpParserUpgrade:
        reading.done = True
    except httptools.HttpParserCallbackError as error:
        if isinstance(error.__context__, Failed):
            raise error.__context__ from None
        raise
    except httptools.HttpParserError as error:
        if not reading.done:
            raise Failed("protocol", str(error).lower() or "no HTTP") from None


def decompressed(answer: Answer, limit: int) -> bytes:
    """The body without its compression, at most `limit` bytes of it; raises `Failed`."""
    kind = answer.first("content-encoding").strip().lower()
    if kind in ("", "identity") or not answer.body:
        return answer.body
    if kind not in _WINDOWS and kind != "br":
        raise Failed("body", f"the body is compressed in a way that is not known: {kind[:20]!r}")
    try:
        plain = _brotli(answer.body, limit) if kind == "br" else _inflated(answer.body, limit, _WINDOWS[kind])
    except (zlib.error, EOFError):
        raise Failed("body", f"the body is no {kind}") from None
    if len(plain) > limit:
        raise Failed("too_large", f"the body is larger than {limit} bytes when it is decompressed")
    return plain


def _inflated(body: bytes, limit: int, window: int) -> bytes:
    if window == zlib.MAX_WBITS and (body[0] & 0x0F != 8 or int.from_bytes(body[:2], "big") % 31):
        window = -zlib.MAX_WBITS  # some send "deflate" without the header that RFC 9110 wants
    reading = zlib.decompressobj(window)
    plain = reading.decompress(body, limit + 1)
    if not reading.eof and len(plain) <= limit:
        raise EOFError
    return plain


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
