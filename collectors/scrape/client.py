"""Getting one page over HTTP, bounded in size, with every way to fail under a name of its own.

Source: prometheus/prometheus scrape/scrape.go (v3.5), targetScraper and acceptHeader. Redirects are followed by hand:
what is secret (headers, credentials) goes to the configured host alone.
"""

from __future__ import annotations

import base64
import errno
import re
import ssl
import zlib
from contextlib import AbstractAsyncContextManager
from typing import Final, Literal, NamedTuple

import aiohttp
from yarl import URL

from agent import __version__
from agent.tls import client_context
from config import ClientOptions, Secret, Size, environment, reveal

Reason = Literal[
    "resolve", "refused", "unreachable", "connect", "timeout", "tls", "certificate", "proxy", "reset", "protocol",
    "redirect", "status", "unauthorized", "too_large", "encoding", "content_type", "parse", "sample_limit",
    "label_limit", "bucket_limit", "config",
]  # fmt: skip
REASONS: Final[dict[Reason, str]] = {
    "resolve": "the name has no address",
    "refused": "nobody listens on the port",
    "unreachable": "no route to the host or network",
    "connect": "the connection failed in another way",
    "timeout": "no end within the collector's time limit",
    "tls": "the TLS handshake failed",
    "certificate": "the certificate does not verify",
    "proxy": "the proxy refused, or is not there",
    "reset": "the connection broke off",
    "protocol": "the answer is not HTTP",
    "redirect": "too many redirects, or one to nowhere",
    "status": "the status is not 200",
    "unauthorized": "the status is 401 or 403",
    "too_large": "the page is larger than `body_limit`",
    "encoding": "the compressed page is damaged",
    "content_type": "the content type is missing or unknown, and `fallback_format` is not set",
    "parse": "the page is not in its format",
    "sample_limit": "the page has more samples than `sample_limit`, or more lines than the agent reads",
    "label_limit": "a series has more or longer labels than the limits allow",
    "bucket_limit": "a native histogram has more buckets than `native_histogram_bucket_limit` in the coarsest schema",
    "config": "a certificate file or a secret cannot be used",
}
ACCEPT: Final = (  # Prometheus' own, to the letter
    "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,"
    "application/openmetrics-text;version=0.0.1;q=0.5,text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,"
    "text/plain;version=0.0.4;q=0.3,*/*;q=0.2"
)
ACCEPT_NATIVE: Final = (  # and with the feature native-histograms: only protobuf can carry them
    "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited;q=0.6,"
    "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.5,"
    "application/openmetrics-text;version=0.0.1;q=0.4,text/plain;version=1.0.0;escaping=allow-utf-8;q=0.3,"
    "text/plain;version=0.0.4;q=0.2,*/*;q=0.1"
)
USER_AGENT: Final = f"nightjar/{__version__}"

_REDIRECTS: Final = (301, 302, 303, 307, 308)
_HOPS: Final = 10
_IDLE_SECONDS: Final = 300.0  # between rounds the connection stays
_MEMBERS: Final = 1_000  # of one gzip stream
_UNREACHABLE: Final = {errno.ENETUNREACH, errno.EHOSTUNREACH, errno.EADDRNOTAVAIL, errno.EACCES, errno.EPERM}
_MEDIA_TYPE: Final = re.compile(
    r"\s*+([\w!#$&^.+-]++/[\w!#$&^.+-]++)\s*+"
    r"(?:;\s*+[\w!#$&^.+*-]++\s*+=\s*+(?:[\w!#$&^.+*-]++|\"(?:[^\"\\]|\\.)*\")\s*+)*(?:;\s*+)?"
)


class Failed(Exception):
    """No page came, or none that can be used."""

    def __init__(self, reason: Reason) -> None:
        super().__init__(reason)
        self.reason: Reason = reason


class Fetched(NamedTuple):
    """A page: its media type in lower case ("" for none), and its bytes."""

    media_type: str
    body: bytes


class Client:
    """Fetches pages over connections that are kept; files and secrets are read when they are first used."""

    def __init__(
        self, options: ClientOptions, body_limit: Size, timeout: float, *, follow: bool, native: bool = False
    ) -> None:
        self._options, self._limit, self._timeout = options, int(body_limit), timeout
        self._hops = _HOPS if follow else 0
        self._accept = ACCEPT_NATIVE if native else ACCEPT
        self._session: aiohttp.ClientSession | None = None
        self._tls: ssl.SSLContext | None = None

    async def get(self, url: URL) -> Fetched:
        """The page of a URL; raises `Failed`."""
        try:
            return await self._get(url)
        except (aiohttp.ClientError, OSError, ValueError) as error:  # ValueError: a header that cannot be sent
            reason = failure(error)
            if reason in ("tls", "certificate"):
                self._tls = None  # the files may have been mended
            raise Failed(reason) from None

    async def close(self) -> None:
        """Close all connections."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def _get(self, url: URL) -> Fetched:
        where = url
        for _ in range(self._hops + 1):
            async with self._request(where, ours=where.origin() == url.origin()) as response:
                header = response.headers.get("Content-Type", "")
                if response.status == 200:
                    return Fetched(media_type(header), await read_body(response, self._limit))
                if response.status not in _REDIRECTS or not self._hops:
                    self._refused(response.status)
                where = _target(response, where)
        raise Failed("redirect")

    def _request(self, url: URL, *, ours: bool) -> AbstractAsyncContextManager[aiohttp.ClientResponse]:
        tls = self._tls_context() if url.scheme == "https" else None
        return self._opened().get(
            url.with_user(None),
            headers=self._headers(url) if ours else self._protocol_headers(),
            ssl=tls if tls is not None else True,
            server_hostname=self._options.server_name if tls is not None and ours else None,
            proxy=self._options.proxy or environment.proxy_for(str(url.with_user(None))),
            allow_redirects=False,
        )

    def _refused(self, status: int) -> None:
        if status not in (401, 403):
            raise Failed("status")
        for secret in (self._options.bearer_token, self._options.password, *self._options.headers.values()):
            if isinstance(secret, Secret):
                secret.reread()  # the next round may have a better one
        raise Failed("unauthorized")

    def _opened(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=_IDLE_SECONDS),
                timeout=aiohttp.ClientTimeout(total=None),  # the runner's deadline is the limit
                cookie_jar=aiohttp.DummyCookieJar(),
                auto_decompress=False,  # a small answer could grow without bound
            )
        return self._session

    def _protocol_headers(self) -> dict[str, str]:
        headers = {"Accept": self._accept, "Accept-Encoding": "gzip", "User-Agent": USER_AGENT}
        if self._timeout:
            headers["X-Prometheus-Scrape-Timeout-Seconds"] = f"{self._timeout:.6f}".rstrip("0").rstrip(".")
        return headers

    def _headers(self, url: URL) -> dict[str, str]:
        given = {name.title(): reveal(value) for name, value in self._options.headers.items()}
        if authorization := self._authorization(url):
            given["Authorization"] = authorization
        headers = {**given, **self._protocol_headers()}
        if not all(value.isprintable() for value in headers.values()):
            raise Failed("config")
        return headers

    def _authorization(self, url: URL) -> str:
        options = self._options
        if options.bearer_token is not None:
            return f"Bearer {options.bearer_token.reveal()}"
        user, password = options.username or url.user, url.password or ""
        if options.password is not None:
            password = options.password.reveal()
        return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode() if user is not None else ""

    def _tls_context(self) -> ssl.SSLContext:
        if self._tls is None:
            try:
                self._tls = client_context(self._options, verify=not self._options.insecure_skip_verify)
            except OSError:  # of which ssl.SSLError is one
                raise Failed("config") from None
        return self._tls


def _target(response: aiohttp.ClientResponse, url: URL) -> URL:
    try:
        target = url.join(URL(response.headers.get("Location", "")))
    except ValueError:
        raise Failed("redirect") from None
    if target.scheme not in ("http", "https") or not target.raw_host or target == url:
        raise Failed("redirect")
    return target


def media_type(header: str) -> str:
    """The media type of a Content-Type; empty where it is missing or misspelt, as in Go's `mime.ParseMediaType`."""
    found = _MEDIA_TYPE.fullmatch(header)
    return found[1].lower() if found else ""


async def read_body(response: aiohttp.ClientResponse, limit: int) -> bytes:
    """The body, uncompressed, of at most `limit` bytes; raises `Failed`."""
    gzipped = response.headers.get("Content-Encoding", "").lower() == "gzip"
    unpacked = Unzipper(limit) if gzipped else None
    body = bytearray()
    async for chunk in response.content.iter_any():
        body += chunk if unpacked is None else unpacked.feed(chunk)
        if len(body) > limit:
            raise Failed("too_large")
    if unpacked is not None and not unpacked.whole:
        raise Failed("encoding")
    return bytes(body)


class Unzipper:
    """gzip, with a bound on what comes out of it."""

    def __init__(self, limit: int) -> None:
        self._left = limit + 1
        self._packed = limit  # bytes that may come in: empty members would be endless
        self._members = _MEMBERS
        self._member = zlib.decompressobj(31)
        self.whole = False  # nothing is missing at the end

    def feed(self, data: bytes) -> bytes:
        """What more data unpacks to; raises `Failed`."""
        pieces = []
        self._packed -= len(data)
        while data:
            if self._member.eof:
                self._member, self._members = zlib.decompressobj(31), self._members - 1
            try:
                pieces.append(self._member.decompress(data, self._left))
            except zlib.error:
                raise Failed("encoding") from None
            self._left -= len(pieces[-1])
            if self._left <= 0 or self._packed < 0 or self._members < 0:
                raise Failed("too_large")
            data = self._member.unused_data
        self.whole = self._member.eof
        return b"".join(pieces)


def failure(error: Exception) -> Reason:
    """The class of a request that failed."""
    if isinstance(error, TimeoutError):
        return "timeout"
    if isinstance(error, aiohttp.ClientConnectorCertificateError | ssl.SSLCertVerificationError):
        return "certificate"
    if isinstance(error, aiohttp.ClientSSLError | ssl.SSLError) or "[SSL" in str(error):
        return "tls"
    if isinstance(error, aiohttp.ClientProxyConnectionError | aiohttp.ClientHttpProxyError):
        return "proxy"
    if isinstance(error, aiohttp.ClientConnectorDNSError):
        return "resolve"
    if isinstance(error, aiohttp.ClientConnectorError):
        return _connecting(error.errno)
    if isinstance(error, aiohttp.ClientResponseError | aiohttp.ClientPayloadError):
        return "protocol"
    return "config" if isinstance(error, ValueError) and not isinstance(error, OSError) else "reset"


def _connecting(number: int | None) -> Reason:
    if number == errno.ECONNREFUSED:
        return "refused"
    return "unreachable" if number in _UNREACHABLE else "connect"
