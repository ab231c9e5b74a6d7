"""HTTP: status, phases, body, headers and certificates of URLs, as blackbox_exporter names them.

A probe makes a connection of its own, so that every phase is seen every time; redirects add to the phases. Credentials
go to the host that the option names and to no other.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from email.utils import parsedate_to_datetime
from typing import Final

from msgspec.structs import replace
from yarl import URL

from agent.model import Sample, gauge
from collectors.probes.exchange import Answer, decompressed, exchange, readable
from collectors.probes.http_options import HttpOptions, numbered, shown, url_fault
from collectors.probes.http_request import Cookies, Requests
from collectors.probes.http_route import Route
from collectors.probes.http_verdict import JSON, Unlike, Verdict
from collectors.probes.http_verdict import REGEX as BY_REGEX
from collectors.probes.link import Address, Failed, Link, Reason, Resolver, version_of
from collectors.probes.outcome import FAMILIES as COMMON
from collectors.probes.outcome import LOOKUP, PROTOCOL, REGEX, Settled, late_reason, link_samples
from collectors.probes.rules import HTTP
from collectors.probes.targets import Targets
from collectors.probes.trust import Trust
from config import reveal

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
CEL = gauge("probe_failed_due_to_cel", "Indicates if probe failed due to CEL not matching", "instance")
METRICS = (
    *(PHASE, STATUS, LENGTH, SIZE, REDIRECTS, SSL, VERSION, MODIFIED, REGEX, CEL),
    *COMMON,
)
MOST_REDIRECTS = 10
REDIRECTING: Final = (301, 302, 303, 307, 308)


class Seen:
    """What a probe has seen so far; whatever ends it, this is told."""

    def __init__(self) -> None:
        self.phases = dict.fromkeys(PHASES, 0.0)
        self.redirects = 0
        self.answer: Answer | None = None
        self.link: Link | None = None
        self.address: Address | None = None  # that could not be connected to
        self.unlike = ""  # by which kind of check
        self.body_size = 0

    @property
    def secured(self) -> bool:
        """Whether the last answer came over TLS."""
        return bool(self.answer and self.answer.status and self.link and self.link.peer)


class Http:
    """The prober."""

    Options = HttpOptions
    job = "blackbox"
    remote = True
    module = True
    rules = HTTP

    def __init__(self, options: HttpOptions) -> None:
        self._options, self._request_body = options, reveal(options.body).encode()
        self._targets = Targets(options.targets, options.urls_file, url_fault)
        self._settled = Settled(options.fail_after, options.recover_after)
        self._resolver = Resolver()
        self._route = Route(options, self._resolver)
        self._requests = Requests(options, self._route)
        self._trust = self._elsewhere = Trust(options)
        if options.server_name is not None:  # the name of the configuration's own host
            self._elsewhere = Trust(replace(options, server_name=None))
        self._verdict = Verdict(options)
        self._urls: dict[str, tuple[URL, str]] = {}  # of each target what it is and how it may be shown
        self._names: dict[str, str] = {}  # of each target its label
        self._running: dict[str, Seen] = {}

    async def targets(self) -> Sequence[str]:
        """The URLs of this round."""
        found = await self._targets.now()
        self._urls = {one: self._urls.get(one) or (URL(one), shown(one)) for one in found}
        self._names = numbered({one: name for one, (_, name) in self._urls.items()})
        self._settled.keep(set(self._names.values()))
        self._running.clear()
        return found

    async def probe(self, target: str) -> Iterable[Sample]:
        """One request, and those it is redirected to."""
        started, reason = time.perf_counter(), None
        seen = self._running[target] = Seen()
        try:
            answer = await self._follow(self._urls[target][0], seen)
            await self._judge(answer, seen)
        except Failed as failed:
            reason, seen.address = failed.reason, failed.address
        finally:
            if seen.link is not None:
                seen.link.close()
        del self._running[target]
        return self._samples(target, time.perf_counter() - started, reason, seen)

    def late(self, target: str, seconds: float) -> Iterable[Sample]:
        """A probe without an end: what it had seen until it was cut off."""
        seen = self._running.pop(target, Seen())
        return self._samples(target, seconds, late_reason(seen.link), seen)

    async def close(self) -> None:
        """Let the resolver's threads go."""
        self._targets.close()
        self._resolver.close()

    # -- the way there --------------------------------------------------------------------------------------------

    async def _follow(self, url: URL, seen: Seen) -> Answer:
        first, cookies = url, Cookies()
        method, body = self._options.method, self._request_body
        while True:
            own = url is first or url.origin() == first.origin()
            link = await self._linked(url, seen, own=own)
            request = self._requests.made(method, url, body, cookies, own=own)
            answer = await self._exchange(link, request, seen, bodyless=method == "HEAD")
            location = answer.first("location")
            if answer.status not in REDIRECTING or not location:
                return answer
            seen.redirects += 1
            if not self._options.follow_redirects:
                return answer
            if seen.redirects > MOST_REDIRECTS:
                raise Failed("redirect", f"more than {MOST_REDIRECTS} redirects")
            cookies.keep(url, answer)
            url = _joined(url, location)
            if answer.status in (301, 302, 303) and method != "HEAD":
                method, body = "GET", b""
            if body and url.origin() != first.origin():
                raise Failed("redirect", "the request's body, which may log in, goes to no other host")

    async def _linked(self, url: URL, seen: Seen, *, own: bool) -> Link:
        """A connection that a request can be written to."""
        if seen.link is not None:
            seen.link.close()
        seen.answer = seen.link = None
        link = seen.link = await self._route.open(url, own=own)
        try:
            if url.scheme == "https":
                name = self._requests.server(url, own=own)
                trust = self._trust if own else self._elsewhere
                await trust.secure(link, name, lambda: self._route.open(url, own=own))
        finally:
            phases = seen.phases
            phases["resolve"] += link.resolve
            phases["connect"] += link.connect
            phases["tls"] += link.tls
        return link

    async def _exchange(self, link: Link, request: bytes, seen: Seen, *, bodyless: bool) -> Answer:
        answer = seen.answer = Answer()
        try:
            await exchange(link, request, self._options.body_limit, answer, bodyless=bodyless)
        finally:
            seen.phases["processing"] += answer.processing
            seen.phases["transfer"] += answer.transfer
        if answer.status == 407 and self._options.proxy is not None:
            raise Failed("proxy", "the proxy answered 407")
        return answer

    async def _judge(self, answer: Answer, seen: Seen) -> None:
        body = await decompressed(answer, self._options.body_limit)
        seen.body_size = len(body)
        try:
            await self._verdict.judge(answer, body, secured=seen.secured)
        except Unlike as unlike:
            seen.unlike = unlike.by
            raise

    # -- what is told ---------------------------------------------------------------------------------------------

    def _samples(self, target: str, seconds: float, reason: Reason | None, seen: Seen) -> list[Sample]:
        name = self._names[target]
        samples = [*self._settled.samples(name, seconds, reason), *_seen_samples(name, seen)]
        if self._verdict.json is not None:
            samples.append(CEL(float(seen.unlike == JSON), name))
        return samples


def _seen_samples(target: str, seen: Seen) -> Iterator[Sample]:
    for phase, seconds in seen.phases.items():
        yield PHASE(seconds, target, phase)
    yield REDIRECTS(float(seen.redirects), target)
    yield REGEX(float(seen.unlike == BY_REGEX), target)
    if seen.link is None:
        yield LOOKUP(seen.phases["resolve"], target)
        yield PROTOCOL(version_of(seen.address), target)
    else:
        yield from link_samples(target, seen.link)
    answer = seen.answer or Answer()
    yield STATUS(float(answer.status), target)
    yield LENGTH(float(answer.length if answer.status else 0), target)
    yield SIZE(float(seen.body_size or answer.size), target)
    yield VERSION(float(answer.version or 0), target)
    yield SSL(float(seen.secured), target)
    if modified := _unix(answer.first("last-modified")):
        yield MODIFIED(modified, target)


def _joined(url: URL, location: str) -> URL:
    try:
        found = url.join(URL(readable(location))).with_fragment(None)
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
