"""HTTP: status, phases, body, headers and certificates of URLs, as blackbox_exporter names them.

A probe makes a connection of its own, so that every phase is seen every time; redirects add to the phases. Credentials
go to the host that the option names and to no other.
"""

from __future__ import annotations

import base64
import re
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from email.utils import parsedate_to_datetime
from typing import Annotated, Final

from msgspec import Meta
from yarl import URL

from agent import __version__
from agent.model import Sample, gauge
from collectors.probes.exchange import Answer, decompressed, exchange, request_bytes
from collectors.probes.link import Address, Failed, Family, Link, Resolver, open_link, version_of
from collectors.probes.outcome import FAMILIES as COMMON
from collectors.probes.outcome import LOOKUP, PROTOCOL, REGEX, Settled, link_samples
from collectors.probes.targets import Targets
from collectors.probes.trust import Trust
from config import ClientOptions, Referenced, Secret, Size, reveal

PHASES: Final = ("resolve", "connect", "tls", "processing", "transfer")
PHASE = gauge(
    "probe_http_duration_seconds",
    "Duration of http request by phase, summed over all redirects",
    *("instance", "phase"),
)
STATUS = gauge("probe_http_status_code", "Response HTTP status code", "instance")
LENGTH = gauge("probe_http_content_length", "Length of http content response", "instance")
SIZE = gauge("probe_http_uncompressed_body_length", "Length of uncompressed response body", "instance")
REDIRECTS = gauge("probe_http_redirects", "The number of redirects", "instance")
SSL = gauge("probe_http_ssl", "Indicates if SSL was used for the final redirect", "instance")
VERSION = gauge("probe_http_version", "Returns the version of HTTP of the probe response", "instance")
MODIFIED = gauge(
    "probe_http_last_modified_timestamp_seconds",
    "Returns the Last-Modified HTTP response header in unixtime",
    "instance",
)
METRICS = (
    *(PHASE, STATUS, LENGTH, SIZE, REDIRECTS, SSL, VERSION, MODIFIED, REGEX),
    *COMMON,
)
MOST_REDIRECTS = 10
ALWAYS: Final = {"User-Agent": f"nightjar/{__version__}", "Accept": "*/*", "Accept-Encoding": "gzip"}
_STATUS = re.compile(r"[1-5](?:[0-9]{2}|xx)")


class Seen:
    """What a probe has seen so far; whatever ends it, this is told."""

    def __init__(self) -> None:
        self.phases = dict.fromkeys(PHASES, 0.0)
        self.redirects = 0
        self.answer: Answer | None = None
        self.link: Link | None = None
        self.address: Address | None = None  # that could not be connected to
        self.regex_failed = False
        self.body_size = 0


class Http:
    """The prober."""

    class Options(ClientOptions, frozen=True, kw_only=True, forbid_unknown_fields=True):
        """`[[collectors.http]]`."""

        url: str | None = None
        urls: tuple[str, ...] = ()
        urls_file: str | None = None
        method: Annotated[str, Meta(pattern="^[A-Z]{3,16}$", description="a method such as GET")] = "GET"
        body: str = ""
        family: Family = "any"
        follow_redirects: bool = True
        expect_status: tuple[int | str, ...] = ("2xx",)
        expect_version: tuple[str, ...] = ()
        expect_body: str | None = None
        reject_body: str | None = None
        expect_headers: dict[str, str] = {}  # noqa: RUF012  # msgspec copies it
        body_limit: Size = Size("1MiB")
        fail_after: Annotated[int, Meta(ge=1)] = 1
        recover_after: Annotated[int, Meta(ge=1)] = 1

        def __post_init__(self) -> None:
            super().__post_init__()
            if faults := [*_option_faults(self)]:
                raise ValueError(*faults)

        @property
        def targets(self) -> list[str]:
            """The fixed ones."""
            return [*([self.url] if self.url else []), *self.urls]

    job = "blackbox"
    remote = True

    def __init__(self, options: Http.Options) -> None:
        self._options = options
        self._targets = Targets(options.targets, options.urls_file, url_fault)
        self._settled = Settled(options.fail_after, options.recover_after)
        self._resolver = Resolver()
        self._trust = Trust(options)
        self._expect = {name: re.compile(text) for name, text in options.expect_headers.items()}
        self._body, self._not_body = (
            re.compile(one) if one else None for one in (options.expect_body, options.reject_body)
        )

    async def targets(self) -> Sequence[str]:
        """The URLs of this round."""
        found = self._targets.now()
        self._settled.keep(set(map(shown, found)))
        return found

    async def probe(self, target: str) -> Iterable[Sample]:
        """One request, and those it is redirected to."""
        started, seen, reason = time.perf_counter(), Seen(), None
        try:
            await self._follow(URL(target), seen)
            self._judge(seen)
        except Failed as failed:
            reason, seen.address = failed.reason, failed.address
        finally:
            if seen.link is not None:
                seen.link.close()
        seconds, name = time.perf_counter() - started, shown(target)
        return [*self._settled.samples(name, seconds, reason), *_seen_samples(name, seen)]

    def late(self, target: str, seconds: float) -> Iterable[Sample]:
        """A probe without an end."""
        return self._settled.samples(shown(target), seconds, "timeout")

    async def close(self) -> None:
        """Let the resolver's threads go."""
        self._resolver.close()

    # -- the way there --------------------------------------------------------------------------------------------

    async def _follow(self, url: URL, seen: Seen) -> None:
        origin = url.origin()
        method, body = self._options.method, self._options.body.encode()
        while True:
            answer = await self._request(method, url, body, seen, trusted=url.origin() == origin)
            location = answer.first("location")
            if not self._options.follow_redirects or answer.status not in (301, 302, 303, 307, 308) or not location:
                return
            if seen.redirects >= MOST_REDIRECTS:
                raise Failed("redirect", f"more than {MOST_REDIRECTS} redirects")
            seen.redirects += 1
            url = _joined(url, location)
            if answer.status in (301, 302, 303) and method != "HEAD":
                method, body = "GET", b""

    async def _request(self, method: str, url: URL, body: bytes, seen: Seen, *, trusted: bool) -> Answer:
        if seen.link is not None:
            seen.link.close()
        link = seen.link = await self._connected(url)
        headers = self._headers(url, trusted=trusted)
        seen.answer = None
        try:
            if url.scheme == "https":
                await self._trust.secure(link, url.host or "", lambda: self._connected(url))
        finally:
            for phase, spent in (("resolve", link.resolve), ("connect", link.connect), ("tls", link.tls)):
                seen.phases[phase] += spent
        request = request_bytes(method, url.raw_path_qs, headers, body)
        answer = seen.answer = await exchange(link, request, self._options.body_limit, bodyless=method == "HEAD")
        seen.phases["processing"] += answer.processing
        seen.phases["transfer"] += answer.transfer
        return answer

    async def _connected(self, url: URL) -> Link:
        return await open_link(self._resolver, url.host or "", url.port or 0, self._options.family)

    def _headers(self, url: URL, *, trusted: bool) -> dict[str, str]:
        """What is sent; credentials and headers of the configuration to the target's own host alone."""
        host = url.raw_host or ""
        port = "" if url.is_default_port() else f":{url.port}"
        found = {"Host": (f"[{host}]" if ":" in host else host) + port, **ALWAYS, "Connection": "close"}
        if not trusted:
            return found
        options = self._options
        for name, value in options.headers.items():
            found = {key: one for key, one in found.items() if key.lower() != name.lower()}
            found[name] = reveal(value) if isinstance(value, Secret) else value
        password = url.password if options.password is None else reveal(options.password)
        user = url.user or options.username
        if options.bearer_token is not None:
            found["Authorization"] = f"Bearer {reveal(options.bearer_token)}"
        elif user is not None:
            found["Authorization"] = "Basic " + base64.b64encode(f"{user}:{password or ''}".encode()).decode()
        return found

    # -- the verdict ----------------------------------------------------------------------------------------------

    def _judge(self, seen: Seen) -> None:
        answer = seen.answer
        assert answer is not None  # noqa: S101  # `_follow` returned
        body = decompressed(answer, self._options.body_limit)
        seen.body_size = len(body)
        if not any(_matches(answer.status, one) for one in self._options.expect_status):
            raise Failed("status", f"status {answer.status}")
        if self._options.expect_version and f"HTTP/{answer.version}" not in self._options.expect_version:
            raise Failed("version", f"HTTP/{answer.version}")
        try:
            self._judge_content(answer, body)
        except Failed:
            seen.regex_failed = True
            raise

    def _judge_content(self, answer: Answer, body: bytes) -> None:
        for name, pattern in self._expect.items():
            if not any(pattern.search(value) for value in answer.all(name)):
                raise Failed("header", f"the header {name} does not match")
        if self._body is None and self._not_body is None:
            return
        text = body.decode("utf-8", "replace")
        if self._body is not None and not self._body.search(text):
            raise Failed("body", "the body does not match expect_body")
        if self._not_body is not None and self._not_body.search(text):
            raise Failed("body", "the body matches reject_body")


def _seen_samples(target: str, seen: Seen) -> Iterator[Sample]:
    for phase, seconds in seen.phases.items():
        yield PHASE(seconds, target, phase)
    yield REDIRECTS(float(seen.redirects), target)
    yield REGEX(float(seen.regex_failed), target)
    if seen.link is None:
        yield LOOKUP(seen.phases["resolve"], target)
        yield PROTOCOL(version_of(seen.address), target)
    else:
        yield from link_samples(target, seen.link)
    answer = seen.answer or Answer(length=0)
    yield STATUS(float(answer.status), target)
    yield LENGTH(float(answer.length), target)
    yield SIZE(float(seen.body_size or answer.size), target)
    yield VERSION(float(answer.version or 0), target)
    yield SSL(float(answer.status > 0 and seen.link is not None and seen.link.peer is not None), target)
    if modified := _unix(answer.first("last-modified")):
        yield MODIFIED(modified, target)


def shown(target: str) -> str:
    """The URL as it may be shown: without credentials; of one that came by reference, where any part may be a secret,
    the host alone.
    """
    url = URL(target)
    return str(url.origin() if isinstance(target, Referenced) else url.with_user(None))


def url_fault(text: str) -> str:
    """What is wrong with a URL; empty when it can be probed."""
    try:
        url = URL(text)
    except ValueError:
        return "is no URL"
    return "" if url.scheme in ("http", "https") and url.host else 'expected a URL such as "https://example.com/health"'


def _option_faults(options: Http.Options) -> Iterator[str]:
    if not options.targets and options.urls_file is None:
        yield "url: one of `url`, `urls` and `urls_file` is needed"
    for target in options.targets:
        if fault := url_fault(target):
            yield f"{'url' if target == options.url else 'urls'}: {fault}"
    patterns: Mapping[str, str | None] = {"expect_body": options.expect_body, "reject_body": options.reject_body}
    for name, pattern in (*patterns.items(), *(("expect_headers", one) for one in options.expect_headers.values())):
        try:
            re.compile(pattern or "")
        except re.error as error:
            yield f"{name}: is no regular expression: {error}"
    for status in options.expect_status:
        if not _STATUS.fullmatch(str(status)):
            yield 'expect_status: expected statuses such as 200 or "2xx"'


def _matches(status: int, expected: int | str) -> bool:
    text = str(expected)
    return str(status)[0] == text[0] if text.endswith("xx") else str(status) == text


def _joined(url: URL, location: str) -> URL:
    try:
        found = url.join(URL(location)).with_fragment(None)
    except ValueError:
        raise Failed("redirect", "the redirect leads to no URL") from None
    if url_fault(str(found)):
        raise Failed("redirect", "the redirect leads to no HTTP URL")
    return found


def _unix(text: str) -> float:
    try:
        return parsedate_to_datetime(text).timestamp() if text else 0.0
    except (ValueError, OverflowError):
        return 0.0
