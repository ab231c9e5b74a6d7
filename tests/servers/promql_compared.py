"""Asking a real Prometheus and our own engine the same, and telling whether they agree."""

from __future__ import annotations

import http.client
import json
import math
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any, Final, NamedTuple
from urllib.parse import urlencode, urlsplit

from agent.model import MetricBatch
from agent.promql import Moment, Query, QueryError, parse_query, window_of

CLOSE: Final = 1e-9
TOGETHER: Final = 40  # expressions that share a window: a window holds a million samples
UNSUPPORTED: Final = {  # what we refuse and Prometheus answers: by what we say of it
    "the @ modifier": r"^the @ modifier is not supported",
    "subqueries": r"^subqueries such as",
    "a negative offset": r"^a negative offset is not supported",
    "a range is no answer": r"^is an expression of a range",
    "native histograms": r"^the function histogram_(avg|count|sum|stddev|stdvar|fraction) is not supported",
    "offset 0s": r"^duration must be greater than 0",  # this and what follows promql-parser does not know
    "numbers with underscores": r"^bad number or duration syntax: [0-9.x]+_",
    "a pattern with \\Q": r"^illegal regex for .*\\Q",
}
_ORDERED: Final = re.compile(r"(sort|sort_desc|topk|bottomk)\(")


class Answer(NamedTuple):
    """What an engine said: `kind` is scalar, string, vector, matrix, `error` or `refused` (with words)."""

    kind: str
    value: Any = None
    words: str = ""


Elements = list[tuple[tuple[tuple[str, str], ...], float]]


class Theirs:
    """A Prometheus, asked over one connection."""

    def __init__(self, base: str) -> None:
        self._connection = http.client.HTTPConnection(urlsplit(base).netloc, timeout=30)

    def __call__(self, expression: str, time: float) -> Answer:
        body = urlencode({"query": expression, "time": f"{time:.3f}"})
        self._connection.request("POST", "/api/v1/query", body, {"Content-Type": "application/x-www-form-urlencoded"})
        said = json.loads(self._connection.getresponse().read())
        if said["status"] != "success":
            return Answer("refused" if said["errorType"] == "bad_data" else "error", words=said["error"])
        kind, result = said["data"]["resultType"], said["data"]["result"]
        if kind == "vector":
            return Answer(kind, [(tuple(sorted(one["metric"].items())), _number(one)) for one in result])
        return Answer(kind, float(result[1]) if kind == "scalar" else result[1] if kind == "string" else result)

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()


def _number(one: dict[str, Any]) -> float:
    return float(one["value"][1]) if "value" in one else math.inf


class Ours:
    """Our engine over the same rounds; expressions are read first, since a window keeps what is asked for alone."""

    def __init__(self, rows: Sequence[Sequence[MetricBatch]], latest: Sequence[MetricBatch]) -> None:
        self._rows, self._latest = rows, latest

    def __call__(self, expressions: Iterable[str], times: Sequence[float]) -> dict[tuple[str, float], Answer]:
        """The answers by expression and time."""
        found: dict[tuple[str, float], Answer] = {}
        queries: list[Query] = []
        for text in dict.fromkeys(expressions):
            try:
                queries.append(parse_query(text))
            except ValueError as error:
                found.update({(text, time): Answer("refused", words=str(error)) for time in times})
        for at in range(0, len(queries), TOGETHER):
            found.update(self._evaluated(queries[at : at + TOGETHER], times))
        return found

    def _evaluated(self, queries: Sequence[Query], times: Sequence[float]) -> dict[tuple[str, float], Answer]:
        window = window_of(queries)
        for row in self._rows:
            window.take(row)
        return {
            (query.text, time): _answer(query, Moment(time, self._latest, window))
            for query in queries
            for time in times
        }


def _answer(query: Query, at: Moment) -> Answer:
    try:
        value = query.evaluate(at)
    except QueryError as error:
        return Answer("error", words=str(error))
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
        return Answer("crash", words=repr(error))
    if isinstance(value, list):
        named = [(dict(point.labels) | ({"__name__": point.name} if point.name else {}), point) for point in value]
        return Answer("vector", [(tuple(sorted(labels.items())), point.value) for labels, point in named])
    return Answer("string" if isinstance(value, str) else "scalar", value)


def verdict(expression: str, theirs: Answer, ours: Answer) -> str:
    """`values`, `empty`, `errors`, `refused: <reason>`, or what is different."""
    if ours.kind == "crash":
        return f"ours crashes: {ours.words}"
    if theirs.kind in ("error", "refused"):
        return "errors" if ours.kind in ("error", "refused") else f"theirs fails: {theirs.words}; ours: {ours.value}"
    if ours.kind == "refused":
        return _refusal(ours.words)
    if ours.kind != theirs.kind:
        return f"theirs is a {theirs.kind}, ours {ours.kind}: {ours.words}"
    if theirs.kind != "vector":
        same = theirs.value == ours.value if theirs.kind == "string" else _close(theirs.value, ours.value)
        return "values" if same else f"theirs {theirs.value!r}, ours {ours.value!r}"
    return _compared(theirs.value, ours.value, ordered=_ORDERED.match(expression) is not None)


def _refusal(words: str) -> str:
    for reason, pattern in UNSUPPORTED.items():
        if re.search(pattern, words):
            return f"refused: {reason}"
    return f"ours refuses: {words}"


def _compared(theirs: Elements, ours: Elements, *, ordered: bool) -> str:
    if len(dict(ours)) < len(ours):
        return f"ours has a label set twice: {ours}"
    known, unknown = dict(theirs), dict(ours)
    if missing := [labels for labels in known if labels not in unknown]:
        return f"ours lacks {missing[:3]}, has {[labels for labels in unknown if labels not in known][:3]}"
    if more := [labels for labels in unknown if labels not in known]:
        return f"ours has {more[:3]} besides"
    for labels, value in known.items():
        if not _close(value, unknown[labels]):
            return f"{dict(labels)}: theirs {value!r}, ours {unknown[labels]!r}"
    if ordered and not all(_close(one[1], other[1]) for one, other in zip(theirs, ours, strict=True)):
        return f"another order: theirs {[value for _, value in theirs]}, ours {[value for _, value in ours]}"
    return "values" if theirs else "empty"


def _close(one: float, other: float) -> bool:
    if math.isnan(one) or math.isnan(other):
        return math.isnan(one) and math.isnan(other)
    return math.isclose(one, other, rel_tol=CLOSE, abs_tol=0.0)


class Tally(Counter[str]):
    """How many were compared, and with which verdict; everything that is different, with its expression."""

    def __init__(self) -> None:
        super().__init__()
        self.different: dict[str, str] = {}

    def add(self, expression: str, time: float, said: str) -> bool:
        """Count a verdict; whether it is fine."""
        fine = said in ("values", "empty", "errors") or said.startswith("refused: ")
        self[said if fine else "different"] += 1
        if not fine:
            self.different.setdefault(expression, f"{expression}\n    at {time}: {said}")
        return fine

    def __str__(self) -> str:
        refused = ", ".join(f"{kind.removeprefix('refused: ')} {count}" for kind, count in self.items() if ":" in kind)
        return (
            f"{self.total()} compared: {self['values']} equal with values, {self['empty']} both empty, "
            f"{self['errors']} both errors, {self['different']} different; refused: {refused or 'none'}"
        )
