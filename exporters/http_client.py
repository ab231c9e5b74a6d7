"""One HTTP destination of an exporter: TLS, proxy, authentication, and answers of bounded size.

Whatever stands between us and an answer is a `Retry` with its kind; what an answer means is the exporter's to say.
Redirects are not followed: they could carry credentials to another host. Messages name host and path, never user
information, queries, headers or secrets; those that a server echoes are masked.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import errno
import html
import ssl
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Final, NoReturn
from urllib.parse import quote

import aiohttp
import orjson
from msgspec import Struct
from multidict import CIMultiDict
from yarl import URL

from agent import __version__
from agent.model import Retry
from agent.tls import client_context
from config import ClientOptions, Referenced, Secret, environment, reveal

USER_AGENT: Final = f"nightjar/{__version__}"
RETRY_AFTER_MOST: Final = 300.0

_BODY_BYTES: Final = 64 << 10
_BODY_SECONDS: Final = 5.0  # an endless answer must not hold up the next request
_WORDS_CHARACTERS: Final = 300
_IDLE_SECONDS: Final = 55.0  # servers and balancers commonly close idle connections after 60 s
_OURS: Final = frozenset({"connection", "content-length", "transfer-encoding", "user-agent", "accept-encoding"})


class Answer(Struct, frozen=True):
    """What came back: status, headers (looked up without regard to case), and the first 64 KiB of the body."""

    status: int
    headers: Mapping[str, str]
    body: bytes = b""


def url_faults(url: str) -> list[str]:
    """What is wrong with a destination's URL."""
    try:
        parsed = URL(url)
    except ValueError as error:
        return ["url: the port is beyond 65535" if "range" in str(error) else "url: is no URL"]
    if parsed.scheme not in ("http", "https") or not parsed.host:
        return ['url: expected a URL such as "https://metrics.example.com/api/v1/write"']
    return []


def header_faults(headers: Iterable[str], reserved: frozenset[str]) -> list[str]:
    """Headers of the user's that the protocol sets itself (`reserved`, in lower case)."""
    refused = [name for name in headers if name.lower() in reserved | _OURS]
    return [f"headers: {name!r} is set by the protocol and cannot be changed" for name in refused]


def retry_after(headers: Mapping[str, str], now: datetime) -> float | None:
    """Seconds that a Retry-After header asks for, at most 300; a number or a date (RFC 9110 section 10.2.3)."""
    text = headers.get("Retry-After", "").strip()
    if text.isascii() and text.isdigit():
        return min(float(text[:9]), RETRY_AFTER_MOST)
    try:
        when = parsedate_to_datetime(text)
    except (ValueError, OverflowError):
        return None
    if when.tzinfo is None:  # "-0000": UTC, without a claim about the sender's zone
        when = when.replace(tzinfo=UTC)
    try:
        seconds = (when - now).total_seconds()
    except OverflowError:  # the year 9999 in a zone west of ours
        return RETRY_AFTER_MOST
    return min(max(seconds, 0.0), RETRY_AFTER_MOST)


def words(body: bytes) -> str:
    """The beginning of a server's text in one printable line, led by a colon; empty when it said nothing."""
    text = " ".join(body[: 4 * _WORDS_CHARACTERS].decode("utf-8", "replace").split())
    printable = "".join([character if character.isprintable() else "?" for character in text])
    return f": {printable[:_WORDS_CHARACTERS]}" if printable else ""


class HttpClient:
    """Posts to one URL over connections that are kept open; files and secrets are read when they are first used."""

    def __init__(self, url: str, options: ClientOptions, timeout: float) -> None:
        parsed = URL(url)
        referenced = isinstance(url, Referenced)  # then any part of it may be a secret, such as a token in the path
        self.where = f"{parsed.host}:{parsed.port}{'' if referenced else parsed.path}"
        self._hidden = [parsed.raw_query_string, parsed.query_string, *parsed.query.values(), parsed.user]
        self._hidden += [parsed.raw_path, parsed.path] if referenced and parsed.path != "/" else []
        self._url = parsed.with_user(None)
        self._user, self._password = parsed.user, parsed.password
        self._options = options
        self._proxy = options.proxy or _environment_proxy(self._url)
        self._timeout = timeout
        self._session: aiohttp.ClientSession | None = None
        self._tls: ssl.SSLContext | None = None

    async def post(self, body: bytes, headers: Mapping[str, str]) -> Answer:
        """One request; raises `Retry` when no answer came."""
        if self._proxy and url_faults(self._proxy):  # of the environment; nothing of it is quoted
            raise Retry(f"{self.where}: the proxy of the environment is no URL of a proxy", kind="proxy")
        everything = CIMultiDict(self._user_headers())
        everything.update(headers)  # replaces, whatever the case: the protocol's headers win
        everything.update({"User-Agent": USER_AGENT, "Accept-Encoding": "identity"})
        self._check_headers(everything)
        tls = self._tls_context()
        try:
            async with self._opened().post(
                self._url,
                data=body,
                headers=everything,
                ssl=tls if tls is not None else True,
                server_hostname=self._options.server_name if tls is not None else None,
                proxy=self._proxy,
                allow_redirects=False,
            ) as response:
                return Answer(response.status, response.headers, self._masked(await _read_body(response)))
        except (aiohttp.ClientError, OSError) as error:  # OSError covers TimeoutError and ssl.SSLError
            self._raise_retry(error)

    def renew(self) -> bool:
        """Read secrets and certificates again before the next request; True when a secret changed."""
        self._tls = None
        changed = [secret.reread() for secret in self._secrets()]
        return any(changed)

    async def close(self) -> None:
        """Close all connections."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    def _opened(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=2, keepalive_timeout=_IDLE_SECONDS),
                timeout=aiohttp.ClientTimeout(total=self._timeout),
                cookie_jar=aiohttp.DummyCookieJar(),
                auto_decompress=False,  # a small answer could grow without bound
            )
        return self._session

    def _user_headers(self) -> dict[str, str]:
        given = {name: reveal(value) for name, value in self._options.headers.items()}
        if authorization := self._authorization():
            given["Authorization"] = authorization
        return given

    def _authorization(self) -> str:
        options = self._options
        if options.bearer_token is not None:
            return f"Bearer {options.bearer_token.reveal()}"
        user, password = options.username or self._user, self._password or ""
        if options.password is not None:
            password = options.password.reveal()
        return f"Basic {_basic(user, password)}" if user is not None else ""

    def _check_headers(self, headers: Mapping[str, str]) -> None:
        for name, value in headers.items():
            if not value.isprintable():
                message = f"the header {name} for {self.where} holds a control character"
                raise Retry(message, kind="config", auth=True)

    def _tls_context(self) -> ssl.SSLContext | None:
        if self._url.scheme != "https":
            return None
        if self._tls is None:
            try:
                self._tls = client_context(self._options, verify=not self._options.insecure_skip_verify)
            except OSError as error:  # covers ssl.SSLError
                message = f"the certificates for {self.where} cannot be loaded: {_reason(error)}"
                raise Retry(message, kind="tls", auth=True) from error
        return self._tls

    def _secrets(self) -> list[Secret]:
        options = self._options
        candidates = [options.bearer_token, options.password, *options.headers.values()]
        return [secret for secret in candidates if isinstance(secret, Secret)]

    def _masked(self, body: bytes) -> bytes:
        """The body without our secrets, should the server have echoed them."""
        texts = [secret.reveal() for secret in self._secrets()]
        texts += [self._password or "", self._authorization().partition(" ")[2], *(text or "" for text in self._hidden)]
        forms = {form for text in texts if text for form in _forms(text)}
        for form in sorted(forms, key=len, reverse=True):  # one secret may hold another
            body = body.replace(form, b"***")
        return body

    def _raise_retry(self, error: aiohttp.ClientError | OSError) -> NoReturn:
        kind = error_kind(error)
        if kind == "tls":
            self._tls = None
        if kind == "timeout":
            raise Retry(f"{self.where} gave no answer within {self._timeout:g} s", kind=kind) from error
        # An alert is what a server sends that does not take our certificate.
        raise Retry(f"{self.where}: {_reason(error)}", kind=kind, auth="ALERT" in _reason(error)) from error


def error_kind(error: aiohttp.ClientError | OSError) -> str:
    """The class of a failed request, as self-metrics count it."""
    if isinstance(error, TimeoutError):
        return "timeout"
    if isinstance(error, aiohttp.ClientSSLError | ssl.SSLError) or "[SSL" in str(error):
        return "tls"
    if isinstance(error, aiohttp.ClientProxyConnectionError | aiohttp.ClientHttpProxyError | aiohttp.InvalidURL):
        return "proxy"
    if isinstance(error, aiohttp.ClientConnectorDNSError):
        return "dns"
    if isinstance(error, aiohttp.ClientConnectorError):
        return "refused" if error.errno == errno.ECONNREFUSED else "connect"
    if isinstance(error, aiohttp.ClientResponseError | aiohttp.ClientPayloadError):
        return "malformed"
    return "reset"


def _reason(error: aiohttp.ClientError | OSError) -> str:
    """What happened, in words that hold no URL and no header."""
    if isinstance(error, aiohttp.ClientResponseError):
        return " ".join(f"{type(error).__name__} {error.message}".split())[:_WORDS_CHARACTERS]
    if isinstance(error, aiohttp.InvalidURL):  # its text is the URL: that of a proxy, with its password
        return "the URL of the proxy cannot be used"
    if isinstance(error, aiohttp.ClientConnectorError):
        return str(error.os_error) or type(error.os_error).__name__
    return " ".join(str(error).split())[:_WORDS_CHARACTERS] or type(error).__name__


async def _read_body(response: aiohttp.ClientResponse) -> bytes:
    """The first 64 KiB; the status is known, so a body that breaks off or never ends is no failure."""
    body = bytearray()
    with contextlib.suppress(aiohttp.ClientError, OSError):
        async with asyncio.timeout(_BODY_SECONDS):
            while len(body) < _BODY_BYTES and (chunk := await response.content.read(_BODY_BYTES - len(body))):
                body += chunk
    if not response.content.at_eof():
        response.close()
    return bytes(body)


def _forms(text: str) -> Iterable[bytes]:
    """A secret as a server may echo it: as it is, in JSON, in a URL, in HTML."""
    plain = text.encode()
    escaped = quote(text, safe="").encode()
    return (plain, orjson.dumps(text)[1:-1], escaped, escaped.lower(), html.escape(text).encode())


def _environment_proxy(url: URL) -> str | None:
    """What `$HTTP_PROXY` and its like say; a host without a scheme is meant as HTTP, as curl takes it."""
    proxy = environment.proxy_for(str(url))
    return f"http://{proxy}" if proxy and "://" not in proxy else proxy


def _basic(user: str, password: str) -> str:
    return base64.b64encode(f"{user}:{password}".encode()).decode()
