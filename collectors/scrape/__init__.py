"""Any Prometheus or OpenMetrics endpoint, as Prometheus itself would scrape it.

A target that does not answer, or whose page is refused, is `up 0` and a reason; its other series end with it.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final
from urllib.parse import urlsplit

from yarl import URL

from agent.model import Family, Sample, gauge
from collectors.scrape.client import Client, Failed, Fetched, Reason
from collectors.scrape.families import Registry
from collectors.scrape.grammar import OPENMETRICS, TEXT, Grammar, Malformed
from collectors.scrape.labelling import Exceeded, Labeller, Limits
from collectors.scrape.messages import MEDIA_TYPE, MessagePage
from collectors.scrape.metric import Reader
from collectors.scrape.native import Limits as NativeLimits
from collectors.scrape.native import finest_schema
from collectors.scrape.options import ScrapeOptions, instance_of
from collectors.scrape.page import Page, Reading
from collectors.scrape.relabel import Relabeller
from collectors.scrape.rules import RULES

GRAMMARS: Final[dict[str, Grammar]] = {"application/openmetrics-text": OPENMETRICS, "text/plain": TEXT}
FALLBACKS: Final = {
    "": "",
    "text": "text/plain",
    "openmetrics": "application/openmetrics-text",
    "protobuf": MEDIA_TYPE,
}
AHEAD_MS: Final = 600_000  # a sample's own time may be so far from now; Prometheus drops what is later, too
NOTHING: Final = Reading([], 0, 0, 0)

UP: Final = "up", "Health of the scrape target. 1 means the target is healthy, 0 if the scrape failed."
DURATION: Final = "scrape_duration_seconds", "Duration of the last scrape in seconds."
SCRAPED: Final = "scrape_samples_scraped", "Number of samples last scraped."
KEPT: Final = (
    "scrape_samples_post_metric_relabeling",
    "Number of samples remaining after metric relabeling was applied.",
)
ADDED: Final = "scrape_series_added", "Number of series in the last scrape."
SIZE: Final = (
    "scrape_body_size_bytes",
    "The uncompressed size of the last scrape response, if successful. Scrapes failing because body_size_limit is "
    "exceeded report -1, other scrape failures report 0.",
)
FAILURE: Final = "scrape_failure_info", "Why the last scrape failed, by a fixed set of reasons."
METRICS: Final = (  # beside what the targets show
    *(gauge(*about, "job", "instance") for about in (UP, DURATION, SCRAPED, KEPT, ADDED, SIZE)),
    gauge(*FAILURE, "job", "instance", "reason"),
)


class Target:
    """One URL: its labels, its page, and what it says of itself."""

    def __init__(self, url: str, labels: Mapping[str, str], options: ScrapeOptions, registry: Registry) -> None:
        parsed = URL(url)
        self.url = parsed if urlsplit(url).path else parsed.with_path("/metrics", keep_query=True)
        self.labels = {name: value for name, value in labels.items() if value}
        limits = Limits(options.label_limit, options.label_name_length_limit, options.label_value_length_limit)
        self._labeller = Labeller(self.labels, Relabeller(options.relabel), limits, honor=options.honor_labels)
        self._registry, self._options = registry, options
        self._pages: dict[str, Page | MessagePage] = {}
        self._names = tuple(self.labels)
        self._families: dict[str, Family] = {}

    def page(self, media_type: str) -> Page | MessagePage:
        """The page in a format; raises `Failed` for one that we do not read. Only the last format is remembered."""
        if media_type not in self._pages:
            self._pages = {media_type: self._new_page(media_type)}
        return self._pages[media_type]

    def _new_page(self, media_type: str) -> Page | MessagePage:
        options = self._options
        if media_type == MEDIA_TYPE:
            return MessagePage(new_reader(options), self._labeller, self._registry, options.sample_limit)
        if media_type not in GRAMMARS:
            raise Failed("content_type")
        return Page(GRAMMARS[media_type], self._labeller, self._registry, options.sample_limit)

    @property
    def families(self) -> Iterable[Family]:
        """The families in use."""
        return [family for page in self._pages.values() for family in page.families]

    def report(self, seconds: float, reading: Reading, size: int, reason: Reason | None) -> list[Sample]:
        """What a scrape says of itself."""
        numbers = (
            (UP, float(reason is None)),
            (DURATION, seconds),
            (SCRAPED, float(reading.scraped)),
            (KEPT, float(reading.kept)),
            (ADDED, float(reading.added)),
            (SIZE, float(size)),
        )
        samples = [self._family(*about)(value, *self.labels.values()) for about, value in numbers]
        if reason is not None:
            samples.append(self._family(*FAILURE, "reason")(1.0, *self.labels.values(), reason))
        return samples

    def _family(self, name: str, help: str, *more: str) -> Family:
        if (found := self._families.get(name)) is None:
            found = self._families[name] = Family(name, "gauge", help, (*self._names, *more))
        return found


def new_reader(options: ScrapeOptions) -> Reader:
    """The reader of protobuf that options ask for."""
    schema = finest_schema(options.native_histogram_min_bucket_factor)
    limits = NativeLimits(options.native_histogram_bucket_limit, schema)
    return Reader(limits if options.native_histograms else None, classic_too=options.always_scrape_classic_histograms)


class Scrape:
    """The collector. `labels` are more labels of the targets, `timeout` is what they are told of their time."""

    Options = ScrapeOptions
    job = ""  # the series bring it
    remote = True
    own_labels = True
    rules = RULES

    def __init__(
        self,
        options: ScrapeOptions,
        *,
        labels: Mapping[str, str] | None = None,
        timeout: float = 0.0,
        monotonic: Callable[[], float] = time.perf_counter,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._options, self._monotonic, self._now = options, monotonic, now
        self._client = Client(
            options,
            options.body_limit,
            timeout,
            follow=options.follow_redirects,
            native=options.native_histograms,
        )
        self._registry = Registry()
        self._targets = {
            instance_of(url): Target(
                url, {"job": options.job, "instance": instance_of(url), **(labels or {})}, options, self._registry
            )
            for url in options.targets
        }

    async def targets(self) -> Sequence[str]:
        """Host and port of each URL."""
        return list(self._targets)

    async def probe(self, target: str) -> Iterable[Sample]:
        """One scrape."""
        one, started = self._targets[target], self._monotonic()
        reading, size, reason = NOTHING, 0, None
        try:
            fetched = await self._client.get(one.url)
            size = len(fetched.body)
            reading, reason = await self._read(one, fetched)
        except Failed as failed:
            reason = failed.reason
            size = -1 if reason == "too_large" else size
        return [*reading.samples, *one.report(self._monotonic() - started, reading, size, reason)]

    def late(self, target: str, seconds: float) -> Iterable[Sample]:
        """A scrape that was cut off."""
        return self._targets[target].report(seconds, NOTHING, 0, "timeout")

    async def close(self) -> None:
        """Close all connections."""
        await self._client.close()

    async def _read(self, target: Target, fetched: Fetched) -> tuple[Reading, Reason | None]:
        """What a page says; an empty one says nothing, whatever its type."""
        if not fetched.body:
            return NOTHING, None
        known = fetched.media_type in GRAMMARS or fetched.media_type == MEDIA_TYPE
        page = target.page(fetched.media_type if known else FALLBACKS[self._options.fallback_format])
        latest = int(self._now() * 1000) + AHEAD_MS if self._options.honor_timestamps else None
        try:
            for _ in page.steps(fetched.body, latest):
                await asyncio.sleep(0)  # a page that is new takes its time
        except Malformed:
            return page.reading, "parse"
        except Exceeded as exceeded:
            return page.reading, exceeded.reason
        if page.reading.added:
            self._registry.prune([family for one in self._targets.values() for family in one.families])
        return page.reading, None
