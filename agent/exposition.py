"""The text a scrape gets: Prometheus' text format 0.0.4 and OpenMetrics 1.0.

Sources: https://prometheus.io/docs/instrumenting/exposition_formats/ and
https://prometheus.io/docs/specs/om/open_metrics_spec/.

A page is a plan (which lines, in which order, under which headers) and values. Plans change only when a series set
does, so a scrape formats values and joins. Numbers are written in Python's shortest form, which every parser takes;
only bucket bounds and quantiles, being labels, follow Go's format to the letter.
"""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from itertools import chain
from math import inf, isnan
from typing import Final, Literal

from msgspec import Struct

from agent.model import (
    Exemplar,
    Extra,
    Histogram,
    MetricBatch,
    NativeHistogram,
    Series,
    SeriesSet,
    Stale,
    Summary,
    Value,
)

Format = Literal["text", "openmetrics"]
Labels = tuple[tuple[str, str], ...]

CONTENT_TYPES: Final[Mapping[Format, str]] = {
    "text": "text/plain; version=0.0.4; charset=utf-8",
    "openmetrics": "application/openmetrics-text; version=1.0.0; charset=utf-8",
}

_TEXT_TYPES: Final = {"unknown": "untyped", "info": "gauge", "stateset": "gauge", "gaugehistogram": "untyped"}
_OPENMETRICS_SUFFIX: Final = {"counter": "_total", "info": "_info"}
_NOT_IN_METRIC: Final = re.compile(r"[^a-zA-Z0-9_:]|^(?=[0-9])")
_NOT_IN_LABEL: Final = re.compile(r"[^a-zA-Z0-9_]|^(?=[0-9])")
_EXEMPLAR_CHARACTERS: Final = 128  # OpenMetrics: of all label names and values together
_PLANS_KEPT: Final = 4
_NONE: Final = Extra()


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


def text_bound(value: float) -> str:
    """A bucket bound or quantile as Go's shortest format writes it, which text 0.0.4 uses: `1`, `0.005`, `1e+06`."""
    if isnan(value) or value in (inf, -inf):
        return _write_number(value)
    written = repr(float(value)).removesuffix(".0")
    whole, _, rest = written.lstrip("-").partition(".")
    if "e" in written or len(whole) < 7:  # Python turns to exponents at 1e16, Go at 1e6; below 1e-4 both do
        return written
    digits = (whole + rest).rstrip("0")
    fraction = f".{digits[1:]}" if digits[1:] else ""
    return f"{'-' if value < 0 else ''}{digits[0]}{fraction}e+{len(whole) - 1:02d}"


def openmetrics_bound(value: float) -> str:
    """A bucket bound or quantile as OpenMetrics writes it and Prometheus 3 stores it: `1.0`, `0.005`, `1e+06`."""
    written = text_bound(value)
    return written if any(mark in written for mark in ".eIN") else f"{written}.0"


class _Plan(Struct, frozen=True):
    """The page of some series sets: for each line its place among all values, its series and what precedes its value.

    A head holds the family's header (also in `headers`) where a family begins. `sets` keeps the sets alive, so that
    the identities in the plan's key cannot be used again.
    """

    sets: list[SeriesSet]
    order: list[int]
    series: list[Series]
    heads: list[str]
    headers: dict[int, str]


class Exposition:
    """Renders pages, and remembers the plans of the last few."""

    def __init__(self) -> None:
        self._plans: OrderedDict[tuple[Format, tuple[int, ...]], _Plan] = OrderedDict()

    def render(self, batches: Sequence[MetricBatch], style: Format = "text") -> bytes:
        """The page of the latest batch of each collector; series that ended are not on it."""
        plan = self._plan([batch.series for batch in batches], style)
        values = list(chain.from_iterable([batch.values for batch in batches]))
        picked = [values[at] for at in plan.order]
        texts = _write_values(picked)
        heads, tails = plan.heads.copy(), ["\n"] * len(texts)
        extras = _extras_by_place(batches, plan.order)
        odd = [place for place, text in enumerate(texts) if not text[-1].isdigit()]
        twins = _twins(plan.series, picked, odd)
        for place in chain(odd, extras):
            heads[place], tails[place] = plan.headers.get(place, ""), ""
            if place in twins:
                texts[place] = ""
                continue
            texts[place] = _Writer(plan.series[place], extras.get(place, _NONE), style).write(picked[place])
        end = "# EOF\n" if style == "openmetrics" else ""
        page = "".join(chain.from_iterable(zip(heads, texts, tails, strict=True))) + end
        return page.encode("utf-8", "replace")

    def _plan(self, sets: list[SeriesSet], style: Format) -> _Plan:
        key = (style, tuple(map(id, sets)))
        if (found := self._plans.get(key)) is not None:
            self._plans.move_to_end(key)
            return found
        plan = self._plans[key] = _build_plan(sets, style)
        if len(self._plans) > _PLANS_KEPT:
            self._plans.popitem(last=False)
        return plan


def _write_values(values: Sequence[Value | Stale]) -> list[str]:
    """Every value's text in one go, whole numbers without a fraction; what is no finite number ends in no digit."""
    if not values:
        return []
    return f"{chr(10).join(map(repr, values))}\n".replace(".0\n", "\n")[:-1].split("\n")


def _twins(series: Sequence[Series], values: Sequence[Value | Stale], places: Sequence[int]) -> set[int]:
    """Native histograms that are there as classic ones, too, which say the same and more in these formats."""
    native = {place for place in places if isinstance(values[place], NativeHistogram)}
    if not native:
        return native
    shown = {(series[at].name, series[at].labels) for at in places if isinstance(values[at], Histogram)}
    return {place for place in native if (series[place].name, series[place].labels) in shown}


def _extras_by_place(batches: Sequence[MetricBatch], order: Sequence[int]) -> dict[int, Extra]:
    """The extras of all batches by their line on the page."""
    by_value: dict[int, Extra] = {}
    before = 0
    for batch in batches:
        by_value.update({before + at: extra for at, extra in batch.extras.items()})
        before += len(batch)
    return {place: by_value[at] for place, at in enumerate(order) if at in by_value} if by_value else {}


def _build_plan(sets: list[SeriesSet], style: Format) -> _Plan:
    series = list(chain.from_iterable([one.series for one in sets]))
    lines = list(chain.from_iterable([_line_heads(one) for one in sets]))
    families: dict[str, list[int]] = {}
    for at, one in enumerate(series):
        families.setdefault(_metric_name(one.name), []).append(at)
    order: list[int] = []
    headers: dict[int, str] = {}
    for name, members in families.items():
        headers[len(order)] = _header(name, series[members[0]], style, families)
        order += members
    heads = [headers.get(place, "") + lines[at] for place, at in enumerate(order)]
    return _Plan(sets, order, [series[at] for at in order], heads, headers)


def _line_heads(series: SeriesSet) -> list[str]:
    """Name and labels of each series' line, cached with the set and the same in both formats."""
    if (found := series.cache.get("exposition")) is None:
        found = series.cache["exposition"] = [_line_head(one.name, one.labels) for one in series.series]
    return found


def _line_head(name: str, labels: Labels) -> str:
    return f"{_metric_name(name)}{_write_labels(labels)} "


def _header(name: str, first: Series, style: Format, names: Iterable[str]) -> str:
    if style == "text":
        help_text = first.help.replace("\\", "\\\\").replace("\n", "\\n")
        return f"# HELP {name} {help_text}\n# TYPE {name} {_TEXT_TYPES.get(first.kind, first.kind)}\n"
    family, kind = _openmetrics_family(name, first, names)
    unit = _metric_name(first.unit)
    unit_line = f"# UNIT {family} {unit}\n" if unit and family.endswith(f"_{unit}") else ""
    return f"# TYPE {family} {kind}\n{unit_line}# HELP {family} {_escape(first.help)}\n"


def _openmetrics_family(name: str, first: Series, names: Iterable[str]) -> tuple[str, str]:
    """A family's name and type. OpenMetrics cuts the suffix of counters and infos, and knows neither without it;
    nor may two families have one name when it is cut.
    """
    if first.kind == "stateset":
        return name, "gauge"  # a stateset needs a label of its own name, which nobody here vouches for
    suffix = _OPENMETRICS_SUFFIX.get(first.kind, "")
    family = name.removesuffix(suffix)
    if suffix and (family == name or family in names):
        return name, "unknown"
    return family, first.kind


class _Writer:
    """Writes the lines of one series that is more than a number: compound, with extras, ended, or not finite."""

    def __init__(self, series: Series, extra: Extra, style: Format) -> None:
        self._series = series
        self._extra = extra
        self._style = style
        self._bound = openmetrics_bound if style == "openmetrics" else text_bound

    def write(self, value: Value | Stale) -> str:
        """All lines of the series; none when it ended."""
        name = self._series.name
        if isinstance(value, Histogram):
            return self._write_histogram(value)
        if isinstance(value, NativeHistogram):  # no text format carries its buckets
            bucket = self._line(f"{name}_bucket", value.count, ("le", "+Inf"))
            return bucket + self._write_totals(value.count, value.sum)
        if isinstance(value, Summary):
            rows = [self._line(name, at, ("quantile", self._bound(q))) for q, at in value.quantiles]
            return "".join(rows) + self._write_totals(value.count, value.sum)
        if isinstance(value, Stale):
            return ""
        with_exemplars = self._series.kind == "counter" and name.endswith("_total")
        return self._line(name, value, exemplars=self._extra.exemplars if with_exemplars else ())

    def _write_histogram(self, value: Histogram) -> str:
        rows: list[str] = []
        below = -inf
        for bound, count in zip((*value.bounds, inf), value.counts, strict=True):
            inside = [exemplar for exemplar in self._extra.exemplars if below < exemplar.value <= bound]
            rows.append(self._line(f"{self._series.name}_bucket", count, ("le", self._bound(bound)), exemplars=inside))
            below = bound
        return "".join(rows) + self._write_totals(value.counts[-1], value.sum)

    def _write_totals(self, count: float, total: float) -> str:
        gauge = "g" if self._series.kind == "gaugehistogram" else ""
        name = self._series.name
        return self._line(f"{name}_{gauge}count", count) + self._line(f"{name}_{gauge}sum", total)

    def _line(self, name: str, value: float, *more: tuple[str, str], exemplars: Sequence[Exemplar] = ()) -> str:
        time_ms = self._extra.time_ms
        time = f" {self._write_time(time_ms)}" if time_ms else ""
        exemplar = self._write_exemplar(exemplars[-1]) if exemplars and self._style == "openmetrics" else ""
        return f"{_line_head(name, self._series.labels + more)}{_write_number(value)}{time}{exemplar}\n"

    def _write_time(self, time_ms: int) -> str:
        return f"{time_ms / 1000:.3f}" if self._style == "openmetrics" else str(time_ms)

    def _write_exemplar(self, exemplar: Exemplar) -> str:
        if sum(len(name) + len(value) for name, value in exemplar.labels) > _EXEMPLAR_CHARACTERS:
            return ""
        labels = _write_labels(exemplar.labels) or "{}"
        time = f" {self._write_time(exemplar.time_ms)}" if exemplar.time_ms else ""
        return f" # {labels} {_write_number(exemplar.value)}{time}"


def _write_number(value: float) -> str:
    if isnan(value):
        return "NaN"
    if value in (inf, -inf):
        return "+Inf" if value > 0 else "-Inf"
    return repr(float(value)).removesuffix(".0")


def _write_labels(labels: Labels) -> str:
    if not labels:
        return ""
    return "{" + ",".join([f'{_label_name(name)}="{_escape(value)}"' for name, value in labels]) + "}"


def _escape(value: str) -> str:
    return value.replace("\\", "\\\\").replace("\n", "\\n").replace('"', '\\"')


def _metric_name(name: str) -> str:
    """A name that both formats take: what they do not allow becomes an underscore."""
    return _NOT_IN_METRIC.sub("_", name)


def _label_name(name: str) -> str:
    return _NOT_IN_LABEL.sub("_", name)
