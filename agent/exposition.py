"""The text a scrape gets: Prometheus' text format 0.0.4 and OpenMetrics 1.0.

Sources: https://prometheus.io/docs/instrumenting/exposition_formats/ and
https://prometheus.io/docs/specs/om/open_metrics_spec/.

A page is a plan (which lines, in which order, under which headers) and values. Plans change only when a series set
does, so a scrape formats values and joins. Numbers are written as Python's shortest representation, which every
parser takes; only bucket bounds and quantiles, being labels, follow Go's format to the letter.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from decimal import Decimal
from math import inf, isnan
from typing import Final, Literal

Format = Literal["text", "openmetrics"]

CONTENT_TYPES: Final[Mapping[Format, str]] = {
    "text": "text/plain; version=0.0.4; charset=utf-8",
    "openmetrics": "application/openmetrics-text; version=1.0.0; charset=utf-8",
}

_TEXT_TYPES: Final = {"unknown": "untyped", "info": "gauge", "stateset": "gauge", "gaugehistogram": "untyped"}
_NOT_IN_METRIC: Final = re.compile(r"[^a-zA-Z0-9_:]|^(?=[0-9])")
_NOT_IN_LABEL: Final = re.compile(r"[^a-zA-Z0-9_]|^(?=[0-9])")
_IN_NO_NUMBER: Final = "nrs<("  # one of these is in the text of nan, inf, True, False, STALE and of every struct
_EXEMPLAR_CHARACTERS: Final = 128  # OpenMetrics: of all label names and values together
_PLANS_KEPT: Final = 4


def negotiate(accept: str) -> Format:
    """The format that an Accept header asks for; text where it names neither, or likes both the same."""
    best: dict[Format, float] = {"text": 0.0, "openmetrics": 0.0}
    for item in accept.lower().split(","):
        media, *parameters = [part.strip() for part in item.split(";")]
        given = dict(parameter.split("=", 1) for parameter in parameters if "=" in parameter)
        if media == "application/openmetrics-text" and given.get("version", "1.0.0") in ("1.0.0", "0.0.1"):
            best["openmetrics"] = max(best["openmetrics"], _quality(given))
        elif media in ("text/plain", "text/*", "*/*") and given.get("version", "0.0.4") == "0.0.4":
            best["text"] = max(best["text"], _quality(given))
    return "openmetrics" if best["openmetrics"] > best["text"] else "text"


def _quality(parameters: Mapping[str, str]) -> float:
    try:
        return float(parameters.get("q", "1"))
    except ValueError:
        return 0.0


def openmetrics_bound(value: float) -> str:
    """A bucket bound or quantile as Prometheus 3 stores it and OpenMetrics writes it: `1.0`, `0.005`, `1e+06`."""
    written = text_bound(value)
    return written if any(mark in written for mark in ".eIN") else f"{written}.0"


def text_bound(value: float) -> str:
    """A bucket bound or quantile as Go's shortest format writes it, which text 0.0.4 uses: `1`, `0.005`, `1e+06`."""
    if isnan(value):
        return "NaN"
    if value in (inf, -inf):
        return "+Inf" if value > 0 else "-Inf"
    sign, digits, _ = Decimal(repr(value)).normalize().as_tuple()
    exponent = Decimal(repr(value)).adjusted() if value else 0
    if -5 < exponent < max(len(digits) if len(digits) < 21 else 21, 21 if False else 6):
        return f"{Decimal(repr(value)).normalize():f}"
    mantissa = "".join(map(str, digits))
    point = f"{mantissa[0]}.{mantissa[1:]}" if len(mantissa) > 1 else mantissa
    return f"{'-' if sign else ''}{point}e{'-' if exponent < 0 else '+'}{abs(exponent):02d}"
