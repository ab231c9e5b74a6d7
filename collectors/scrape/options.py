"""What a user may set for the scraper; names and defaults are Prometheus' where it has them."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta
from yarl import URL

from collectors.scrape.relabel import Rule, rule_faults
from config import ClientOptions, Size

Count = Annotated[int, Meta(ge=0)]


class ScrapeOptions(ClientOptions, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """See agent.toml.example."""

    url: str | None = None
    urls: tuple[str, ...] = ()
    job: Annotated[str, Meta(min_length=1)] = "scrape"
    honor_labels: bool = False
    honor_timestamps: bool = True
    relabel: tuple[Rule, ...] = ()
    fallback_format: Literal["", "text", "openmetrics", "protobuf"] = ""
    native_histograms: bool = False
    always_scrape_classic_histograms: bool = False
    native_histogram_bucket_limit: Count = 0
    native_histogram_min_bucket_factor: Annotated[float, Meta(ge=0)] = 0.0
    follow_redirects: bool = True
    body_limit: Annotated[Size, Meta(gt=0)] = Size("16MiB")
    sample_limit: Annotated[int, Meta(gt=0)] = 50_000
    label_limit: Count = 0
    label_name_length_limit: Count = 0
    label_value_length_limit: Count = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        if faults := [*_url_faults(self), *rule_faults(self.relabel)]:
            raise ValueError(*faults)

    @property
    def targets(self) -> list[str]:
        """Every URL to scrape."""
        return [*([self.url] if self.url else []), *self.urls]


def instance_of(url: str) -> str:
    """The label `instance` of a URL: host and port."""
    parsed = URL(url)
    host = parsed.raw_host or ""
    return f"[{host}]:{parsed.port}" if ":" in host else f"{host}:{parsed.port}"


def _url_faults(options: ScrapeOptions) -> list[str]:
    if bool(options.url) == bool(options.urls):
        return ["url: set it, or `urls`, to what is to be scraped"]
    field = "url" if options.url else "urls"
    seen: set[str] = set()
    for url in options.targets:
        try:
            parsed = URL(url)
        except ValueError:
            return [f"{field}: is no URL"]
        if parsed.scheme not in ("http", "https") or not parsed.raw_host:
            return [f'{field}: expected URLs such as "http://127.0.0.1:8000/metrics"']
        if instance_of(url) in seen:
            return [f"{field}: {instance_of(url)} is there twice; give the other URL a section with its own `job`"]
        seen.add(instance_of(url))
    return []
