"""The default rules of scraped targets. What each means and what to do about it: docs/runbooks/scrape.md."""

from __future__ import annotations

from typing import Final

from config.rules import Rule, rules_with

rule = rules_with("docs/runbooks/scrape.md")

_TARGET: Final = "{{ $labels.job }} {{ $labels.instance }}"

RULES: Final[tuple[Rule, ...]] = (
    rule(
        "TargetDown",
        "up == 0",
        severity="critical",
        hold="2m",
        summary=f"{_TARGET} cannot be scraped",
    ),
    rule(
        "ScrapeLimitHit",
        'scrape_failure_info{reason=~"too_large|sample_limit|label_limit|bucket_limit"} == 1',
        severity="warning",
        hold="5m",
        summary=f"{_TARGET} shows more than its limits allow ({{{{ $labels.reason }}}}): none of it is kept",
    ),
    rule(
        "ScrapeSlow",
        "scrape_duration_seconds > 5 and up == 1",
        severity="warning",
        hold="5m",
        summary=f"A scrape of {_TARGET} takes {{{{ $value | humanizeDuration }}}}",
    ),
    rule(
        "ScrapeEmpty",
        "scrape_samples_scraped == 0 and up == 1",
        severity="info",
        hold="10m",
        summary=f"{_TARGET} answers, and shows no metrics",
    ),
)
