"""A parser of Prometheus' text format 0.0.4, for files: a line with a timestamp is refused, as node_exporter does.

Source: prometheus.io/docs/instrumenting/exposition_formats. Metric and label names are the classic ones.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from typing import Final, NamedTuple

from agent.model import Histogram, Kind, Summary, Value

NAME: Final = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*")
LABEL: Final = re.compile(r"\s*([a-zA-Z_][a-zA-Z0-9_]*)\s*=\s*\"((?:[^\"\\\n]|\\.)*)\"\s*(,|(?=\}))")
ESCAPE: Final = re.compile(r"\\(.)")
ESCAPES: Final = {"n": "\n", "\\": "\\", '"': '"'}
KINDS: Final[dict[str, Kind]] = {
    "counter": "counter",
    "gauge": "gauge",
    "histogram": "histogram",
    "summary": "summary",
    "untyped": "unknown",
}
SUFFIXES: Final = {"histogram": ("_bucket", "_count", "_sum"), "summary": ("_count", "_sum")}
BOUNDS: Final = {"histogram": "le", "summary": "quantile"}

Labels = dict[str, str]


class Exposed(NamedTuple):
    """A value and its labels."""

    labels: Labels
    value: Value


class Line(NamedTuple):
    """A sample line."""

    name: str
    labels: Labels
    value: float


class Group(NamedTuple):
    """A metric family of a file; `help` is None where the file has none."""

    name: str
    kind: Kind
    help: str | None
    exposed: list[Exposed]


class _Draft:
    """A family while its lines are read."""

    def __init__(self) -> None:
        self.kind: Kind | None = None
        self.help: str | None = None
        self.lines: list[Line] = []


def unescape(text: str) -> str:
    """Text with its escapes undone; an unknown escape stays as it is written."""
    return ESCAPE.sub(lambda match: ESCAPES.get(match[1], match[0]), text) if "\\" in text else text


def parse_line(line: str) -> Line:
    """A sample line; raises ValueError."""
    match = NAME.match(line)
    if not match:
        raise ValueError(f"no metric name: {line!r}")
    rest = line[match.end() :].lstrip()
    labels: Labels = {}
    if rest.startswith("{"):
        labels, rest = parse_labels(rest[1:])
    words = rest.split()
    if len(words) == 2:
        raise ValueError(f"timestamps are not supported: {line!r}")
    if len(words) != 1 or "_" in words[0]:
        raise ValueError(f"no value: {line!r}")
    return Line(match[0], labels, float(words[0]))


def parse_labels(text: str) -> tuple[Labels, str]:
    """The labels up to the closing brace, and what follows it; raises ValueError."""
    labels: Labels = {}
    while not text.lstrip().startswith("}"):
        match = LABEL.match(text)
        if not match or match[1] in labels:
            raise ValueError(f"bad labels: {text!r}")
        labels[match[1]] = unescape(match[2])
        text = text[match.end() :]
    return labels, text.lstrip()[1:]


def parse_exposition(text: str) -> list[Group]:
    """The metric families of a file; raises ValueError where a line is wrong."""
    drafts: dict[str, _Draft] = {}
    for line in text.split("\n"):
        stripped = line.strip(" \t\r")
        if stripped.startswith("#"):
            _comment(stripped, drafts)
        elif stripped:
            sample = parse_line(stripped)
            drafts.setdefault(_family(sample.name, drafts), _Draft()).lines.append(sample)
    return [
        Group(name, draft.kind or "unknown", draft.help, list(_exposed(name, draft)))
        for name, draft in drafts.items()
        if draft.lines
    ]


def _comment(line: str, drafts: dict[str, _Draft]) -> None:
    words = line[1:].split(None, 2)
    if len(words) < 2 or words[0] not in ("HELP", "TYPE"):
        return
    if not NAME.fullmatch(words[1]):
        raise ValueError(f"no metric name: {line!r}")
    draft = drafts.setdefault(words[1], _Draft())
    text = words[2] if len(words) > 2 else ""
    if words[0] == "HELP":
        if draft.help is not None:
            raise ValueError(f"second HELP for {words[1]}")
        draft.help = unescape(text)
    elif draft.kind or draft.lines or text.strip() not in KINDS:
        raise ValueError(f"bad or late TYPE: {line!r}")
    else:
        draft.kind = KINDS[text.strip()]


def _family(name: str, drafts: dict[str, _Draft]) -> str:
    """The family of a sample: the name itself, or without the suffix of a histogram or summary that was declared."""
    if name not in drafts:
        for kind, suffixes in SUFFIXES.items():
            for suffix in suffixes:
                base = name.removesuffix(suffix)
                if base != name and base in drafts and drafts[base].kind == kind:
                    return base
    return name


def _exposed(name: str, draft: _Draft) -> Iterator[Exposed]:
    if draft.kind not in BOUNDS:
        seen: set[tuple[tuple[str, str], ...]] = set()
        for line in draft.lines:
            key = tuple(sorted(line.labels.items()))
            if key in seen:
                raise ValueError(f"{name} has the same labels twice")
            seen.add(key)
            yield Exposed(line.labels, line.value)
        return
    bound = BOUNDS[draft.kind]
    series: dict[tuple[tuple[str, str], ...], list[Line]] = {}
    for line in draft.lines:
        key = tuple(sorted((label, value) for label, value in line.labels.items() if label != bound))
        series.setdefault(key, []).append(line)
    for key, lines in series.items():
        parts = _Parts(name, bound, lines)
        yield Exposed(dict(key), parts.histogram() if draft.kind == "histogram" else parts.summary())


class _Parts:
    """The lines of one histogram or summary."""

    def __init__(self, name: str, bound: str, lines: list[Line]) -> None:
        plain = {line.name: line.value for line in lines if bound not in line.labels}
        self.count = plain.get(f"{name}_count", 0.0)
        self.sum = plain.get(f"{name}_sum", 0.0)
        self.bounded = sorted((float(line.labels[bound]), line.value) for line in lines if bound in line.labels)

    def histogram(self) -> Histogram:
        """Cumulative counts; the last is the count of all."""
        finite = [pair for pair in self.bounded if pair[0] != math.inf]
        total = self.bounded[-1][1] if len(finite) < len(self.bounded) else self.count
        counts = (*(count for _, count in finite), total)
        return Histogram(tuple(bound for bound, _ in finite), counts, self.sum)

    def summary(self) -> Summary:
        """Count, sum and quantiles."""
        return Summary(self.count, self.sum, tuple(self.bounded))
