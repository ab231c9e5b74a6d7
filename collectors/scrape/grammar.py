"""What a line of a page says, in the two text formats: exactly what Prometheus' parsers take and refuse.

Source: prometheus/prometheus model/textparse, promlex.l and promparse.go, openmetricslex.l and openmetricsparse.go
(v3.5); https://prometheus.io/docs/instrumenting/exposition_formats and
https://prometheus.io/docs/specs/om/open_metrics_spec. Where they differ from the specification, Prometheus is followed:
`foo+1` is a sample of the text format, and a label's value may hold a raw line feed there.

A line has two halves: the series, whose text seldom changes and is the key of a cache, and the rest (value, time,
exemplar), which always does. All expressions are possessive, so none takes more than linear time.
"""

from __future__ import annotations

import re
from typing import Final, Literal, NamedTuple, Protocol

from agent.model import Exemplar, Kind
from collectors.scrape.numbers import parse_number

_NAME: Final = rb"[a-zA-Z_:][a-zA-Z0-9_:]*+"
_LABEL: Final = rb"[a-zA-Z_][a-zA-Z0-9_]*+"
_QUOTED: Final = rb'"(?:[^"\\]|\\[^\n])*"'
_QUOTED_LINE: Final = rb'"(?:[^"\\\n]|\\[^\n])*"'
_ESCAPE: Final = re.compile(r'\\([\\n"])')
_HELP_ESCAPE: Final = re.compile(r"\\([\\n])")
EXEMPLAR_CHARACTERS: Final = 128  # Prometheus keeps no exemplar whose labels are longer
_LARGEST_MS: Final = 1 << 62
MOST_LINES: Final = 500_000  # of a page; there may be one more in what `split` answers, of the rest

KINDS: Final[dict[str, Kind]] = {
    "counter": "counter",
    "gauge": "gauge",
    "histogram": "histogram",
    "summary": "summary",
    "untyped": "unknown",
}
OPENMETRICS_KINDS: Final[dict[str, Kind]] = {
    "counter": "counter",
    "gauge": "gauge",
    "histogram": "histogram",
    "gaugehistogram": "gaugehistogram",
    "summary": "summary",
    "info": "info",
    "stateset": "stateset",
    "unknown": "unknown",
}


class Malformed(ValueError):
    """A page that Prometheus refuses, too."""


class Series(NamedTuple):
    """Name and labels as a line spells them; `doubled` when a label name is there twice."""

    name: str
    labels: dict[str, str]
    doubled: bool = False


class Rest(NamedTuple):
    """What follows the series: the value's text, a time (Unix ms), exemplars (one at most, in text)."""

    value: bytes
    time_ms: int | None = None
    exemplars: tuple[Exemplar, ...] = ()


class Fact(NamedTuple):
    """What a comment says of a family."""

    family: str
    about: Literal["type", "help", "unit"]
    text: str


class Grammar(Protocol):
    """One text format. All raise `Malformed`."""

    kinds: dict[str, Kind]
    created: bool  # `_created` lines are the start times of counters

    def split(self, body: bytes) -> list[bytes]:
        """The lines of a page."""
        ...

    def joined(self, body: bytes, lines: list[bytes]) -> list[bytes]:
        """The lines, those put together again that belong together."""
        ...

    def comment(self, line: bytes) -> tuple[Fact, ...] | None:
        """What a comment or empty line says; None when the line is a sample."""
        ...

    def series(self, line: bytes) -> tuple[Series, int]:
        """The series of a sample line, and where the rest begins."""
        ...

    def rest(self, rest: bytes, *, apart: bool) -> Rest:
        """The rest of a sample line; `apart` when only a space can divide it from the series."""
        ...


def unescape(text: str) -> str:
    r"""Text with `\\`, `\"` and `\n` undone; any other backslash stays."""
    return _ESCAPE.sub(lambda found: "\n" if found[1] == "n" else found[1], text) if "\\" in text else text


def _unescape_help(text: str) -> str:
    return _HELP_ESCAPE.sub(lambda found: "\n" if found[1] == "n" else found[1], text) if "\\" in text else text


def _decode(text: bytes) -> str:
    try:
        return text.decode()
    except UnicodeDecodeError:
        raise Malformed(f"not UTF-8: {text[:80]!r}") from None


def _shown(line: bytes) -> str:
    return repr(line[:80])


def _type(family: str, text: str, kinds: dict[str, Kind]) -> Fact:
    if text not in kinds:
        raise Malformed(f"no metric type: {text[:40]!r}")
    return Fact(family, "type", text)


def _read_labels(
    inside: bytes, name: bytes | None, pattern: re.Pattern[bytes], blank: bytes
) -> tuple[str, dict[str, str], bool]:
    """Name and labels from what stands between braces; the name may be among them, in quotation marks."""
    labels: dict[str, str] = {}
    doubled, at, end = False, 0, len(inside.rstrip(blank) if blank else inside)
    while at < end:
        if not (found := pattern.match(inside, at)):
            raise Malformed(f"no label: {_shown(inside[at:])}")
        bare, quoted, value = found.group(1, 2, 3)
        if value is None:
            if quoted is None or name is not None:
                raise Malformed(f"no label: {_shown(inside[at:])}")
            name = quoted[1:-1]
        else:
            label = _decode(bare) if bare is not None else unescape(_decode(quoted[1:-1]))
            doubled = doubled or label in labels or label == "__name__"
            labels[label] = unescape(_decode(value[1:-1]))
        at = found.end()
    if name is None:
        raise Malformed("no metric name")
    return unescape(_decode(name)), labels, doubled


class Text:
    """Prometheus' text format 0.0.4, and 1.0.0, which adds names in quotation marks."""

    kinds = KINDS
    created = False
    _quoted_lines = re.compile(rb"(?:[ \t]*+#[^\n]*+|(?:[^\"\n]|" + _QUOTED + rb"|\")*)(?:\n|\Z)")
    _head = re.compile(rb"[ \t]*+(" + _NAME + rb")?[ \t]*+(?:\{((?:[^\"}]|" + _QUOTED + rb")*)\})?")
    _label = re.compile(
        rb"[ \t]*+(?:(" + _LABEL + rb")|(" + _QUOTED + rb"))[ \t]*+(?:=[ \t]*+(" + _QUOTED + rb")[ \t]*+,?+"
        rb"|(?:,|\Z))"
    )
    _rest = re.compile(rb"[ \t]*+([^{ \t\n]++)(?:[ \t]++([0-9]++))?[ \t]*+")
    _fact = re.compile(
        rb"[ \t]*+#[ \t]++(HELP|TYPE)[ \t]++(?:(" + _NAME + rb")|(" + _QUOTED + rb"))([^\n]*+)", re.DOTALL
    )
    _begun = re.compile(rb"[ \t]*+#[ \t]++(?:HELP|TYPE)[ \t]")

    def split(self, body: bytes) -> list[bytes]:
        """The lines. A NUL at the start of one ends the page."""
        if b"\0" in body and (end := re.search(rb"^[ \t]*+\0", body, re.MULTILINE)):
            body = body[: end.start()]
        return body.split(b"\n", MOST_LINES)

    def joined(self, body: bytes, lines: list[bytes]) -> list[bytes]:
        """The lines; a line feed within quotation marks ends none."""
        if any(line.count(b'"') & 1 and not line.lstrip(b" \t").startswith(b"#") for line in lines):
            return [line.removesuffix(b"\n") for line in self._quoted_lines.findall(body)]
        return lines

    def comment(self, line: bytes) -> tuple[Fact, ...] | None:
        """What a comment or empty line says; None when the line is a sample."""
        bare = line.lstrip(b" \t")
        if bare and not bare.startswith(b"#"):
            return None
        if not (found := self._fact.fullmatch(line)):
            if self._begun.match(line):
                raise Malformed(f"no metric name: {_shown(line)}")
            return ()
        about, name, quoted, text = found.groups()
        family, said = _decode(name if name is not None else quoted[1:-1]), text[1:] if text.strip(b" \t") else b""
        if about == b"HELP":
            return (Fact(family, "help", _unescape_help(_decode(said))),)
        return (_type(family, said.decode("utf-8", "replace"), self.kinds),)

    def series(self, line: bytes) -> tuple[Series, int]:
        """The series of a sample line, and where the rest begins."""
        found = self._head.match(line)
        if not found or not found.end():
            raise Malformed(f"no metric name: {_shown(line)}")
        name, inside = found.groups()
        if inside is None:
            if name is None:
                raise Malformed(f"no metric name: {_shown(line)}")
            return Series(_decode(name), {}), found.end(1)
        return Series(*_read_labels(inside, name, self._label, b" \t")), found.end()

    def rest(self, rest: bytes, *, apart: bool) -> Rest:
        """Value and time."""
        found = self._rest.fullmatch(rest)
        if not found or (apart and found.start(1) == 0):
            raise Malformed(f"no value: {_shown(rest)}")
        value, time = found.groups()
        if time is not None and (len(time) > 19 or int(time) >= 1 << 63):
            raise Malformed("a time beyond 64 bits")
        return Rest(value, None if time is None else int(time))


class OpenMetrics:
    """OpenMetrics 1.0, text."""

    kinds = OPENMETRICS_KINDS
    created = True
    _head = re.compile(rb"(" + _NAME + rb")?(?:\{((?:[^\"}]|" + _QUOTED + rb")*)\})?")
    _label = re.compile(rb"(?:(" + _LABEL + rb")|(" + _QUOTED + rb"))(?:=(" + _QUOTED_LINE + rb")(?:,|\Z)|(?:,|\Z))")
    _rest = re.compile(
        rb" ([^ \n]++)(?: (?!#)([^ \n]++))?(?: # \{((?:[^\"}]|" + _QUOTED_LINE + rb")*)\} ([^ \n]++)(?: ([^ \n]++))?)?"
    )
    _fact = re.compile(rb"# (HELP|TYPE|UNIT) (?:(" + _NAME + rb")|(" + _QUOTED + rb")) ([^\n]*+)", re.DOTALL)

    def split(self, body: bytes) -> list[bytes]:
        """The lines, without the `# EOF` that must end them; where it is missing, a line that is refused."""
        whole = body.removesuffix(b"\n").removesuffix(b"# EOF")
        lines = whole.split(b"\n", MOST_LINES + 1)
        if len(body) - len(whole) < 5 or lines[-1]:
            return [*body.split(b"\n", MOST_LINES + 1)[:-1], b"# without EOF"]
        return lines[:-1]

    def joined(self, body: bytes, lines: list[bytes]) -> list[bytes]:
        """The lines as they are: a line feed ends each."""
        return lines

    def comment(self, line: bytes) -> tuple[Fact, ...] | None:
        """What a comment says; None when the line is a sample."""
        if line and not line.startswith(b"#"):
            return None
        if not (found := self._fact.fullmatch(line)):
            raise Malformed(f"no comment of OpenMetrics: {_shown(line)}")
        about, name, quoted, text = found.groups()
        family = _decode(name if name is not None else quoted[1:-1])
        if about == b"TYPE":
            return (_type(family, text.decode("utf-8", "replace"), self.kinds),)
        said = _decode(text)
        if about == b"HELP":
            return (Fact(family, "help", unescape(said)),)
        if said and not family.endswith(f"_{said}"):
            raise Malformed(f"the unit is no suffix of the metric: {_shown(line)}")
        return (Fact(family, "unit", said),)

    def series(self, line: bytes) -> tuple[Series, int]:
        """The series of a sample line, and where the rest begins."""
        found = self._head.match(line)
        if not found or not found.end():
            raise Malformed(f"no metric name: {_shown(line)}")
        name, inside = found.groups()
        if inside is None:
            return Series(_decode(name), {}), found.end()
        return Series(*_read_labels(inside, name, self._label, b"")), found.end()

    def rest(self, rest: bytes, *, apart: bool) -> Rest:
        """Value, time and exemplar; the one space between them is part of the format."""
        if not (found := self._rest.fullmatch(rest)):
            raise Malformed(f"no value: {_shown(rest)}")
        value, time, labels, number, when = found.groups()
        exemplars = () if number is None else _exemplars(labels, number, when, self._label)
        return Rest(value, None if time is None else _milliseconds(time), exemplars)


def _milliseconds(text: bytes) -> int:
    """Seconds as milliseconds, cut as Prometheus cuts them."""
    try:
        seconds = parse_number(text)
    except ValueError as error:
        raise Malformed(f"a time that is {error}") from None
    if not abs(seconds) * 1000 < _LARGEST_MS:  # infinite, or not a number
        raise Malformed(f"no time: {text[:40]!r}")
    return int(seconds * 1000)


def _exemplars(inside: bytes, number: bytes, when: bytes | None, pattern: re.Pattern[bytes]) -> tuple[Exemplar, ...]:
    """An exemplar; none if it is too long to be kept, or names a label twice."""
    _, labels, doubled = _read_labels(inside, b"exemplar", pattern, b"")
    try:
        value = parse_number(number)
    except ValueError as error:
        raise Malformed(f"an exemplar that is {error}") from None
    time_ms = 0 if when is None else _milliseconds(when)
    if doubled or sum(len(name) + len(text) for name, text in labels.items()) > EXEMPLAR_CHARACTERS:
        return ()
    return (Exemplar(tuple(sorted([one for one in labels.items() if one[1]])), value, time_ms),)


TEXT: Final[Grammar] = Text()
OPENMETRICS: Final[Grammar] = OpenMetrics()
