"""Expressions that hypothesis composes of the data's names: most of them have an answer, and some must not have one.

What makes two right engines differ is left out: `topk` looks at values without ties, dates at times, and
`count_values`, `%` and `sin` at numbers that no calculation made.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from random import Random
from typing import Any, Final, NamedTuple

from hypothesis import strategies as st

from agent.exposition import openmetrics_bound
from agent.model import Histogram, Summary
from tests.servers.promql_data import INF, Line, rooms, shop, visits, waits
from tests.servers.promql_expressions import DATES, MAPS, OVER_TIME

DISTINCT: Final = ("temperature_celsius", "queue_length", "memory_used_bytes", "visitors")
BUCKETS: Final = ("wait_seconds_bucket", "balance_bucket")
ARITHMETIC: Final = ("+", "-", "*", "/", "^", "atan2")
COMPARISONS: Final = ("==", "!=", ">", "<", ">=", "<=")
FOLDS: Final = ("sum", "avg", "min", "max", "count", "group", "stddev", "stdvar")
SPANS: Final = ("15s", "31s", "1m", "90s", "2m30s", "5m", "11m", "20m")
OFFSETS: Final = ("1ms", "15s", "20s", "1m", "2m30s", "6m", "12m")
WAVES: Final = ("sin", "cos", "tan")
CALM: Final = tuple(name for name in MAPS if name not in WAVES)
ROUND: Final = ("0", "1", "-1", "2", "0.5", "3", "20", "50", "-7.5", "1e3", "6e8", "1e-3")
NUMBERS: Final = (*ROUND, "NaN", "Inf", "-Inf", "1m", "0x1F")


class Made(NamedTuple):
    """An expression, the labels that its elements may have, and the expressions it is made of."""

    text: str
    labels: tuple[str, ...] = ()
    parts: tuple[Made, ...] = ()

    def within(self) -> Iterator[Made]:
        """Itself and all its parts."""
        yield self
        for part in self.parts:
            yield from part.within()


def _named(one: Line) -> Iterator[tuple[str, dict[str, str]]]:
    """Names and labels of what a series is to Prometheus."""
    name, labels = one.series.name, dict(one.series.labels)
    value = next(value for value in one.values if value is not None)
    if isinstance(value, Histogram):
        yield from ((f"{name}_bucket", {**labels, "le": openmetrics_bound(bound)}) for bound in (*value.bounds, INF))
    elif isinstance(value, Summary):
        yield from ((name, {**labels, "quantile": openmetrics_bound(share)}) for share, _ in value.quantiles)
    else:
        yield name, labels
        return
    yield from ((f"{name}_{total}", labels) for total in ("sum", "count"))


def _pool() -> dict[str, dict[str, list[str]]]:
    """The values of each label by the name of the metric."""
    found: dict[str, dict[str, list[str]]] = {}
    for one in (*shop(), *rooms(), *visits(), *waits()):
        for name, labels in _named(one):
            known = found.setdefault(name, {})
            for label, value in labels.items():
                known.setdefault(label, []).append(value)
    del found["disk.free"]
    return {name: {label: sorted(set(some)) for label, some in labels.items()} for name, labels in found.items()}


POOL: Final = _pool()


def _pick(chance: Random, *some: Any) -> Any:
    return chance.choice(some)


def _happens(chance: Random, percent: int) -> bool:
    return chance.random() * 100 < percent


def _some(chance: Random, labels: tuple[str, ...], most: int = 2) -> tuple[str, ...]:
    return tuple(chance.sample(labels, chance.randint(0, min(most, len(labels)))))


# -- selectors ------------------------------------------------------------------------------------------------------


def _quoted(value: str) -> str:
    return re.sub(r"([\\.+*?()|\[\]^$])", r"\\\1", value)


def _pattern(chance: Random, values: list[str]) -> str:
    one, other = _pick(chance, *values), _quoted(_pick(chance, *values))
    parts = (f"{_quoted(one[0])}.*", f".*{_quoted(one[-1])}", f"(?i:{_quoted(one).upper()})")
    return str(_pick(chance, f"{_quoted(one)}|{other}", *parts, _quoted(one), ".+", ".*", "", "[a-m].*"))


def _matcher(chance: Random, labels: dict[str, list[str]]) -> str:
    label = _pick(chance, *labels) if labels and _happens(chance, 96) else "missing"
    values, op = labels.get(label, ["none"]), _pick(chance, "=", "!=", "=~", "!~", "=~")
    value = _pattern(chance, values) if "~" in op else _pick(chance, *values * 6, "none", "")
    return f"{label}{op}{json.dumps(value, ensure_ascii=False)}"


def selector(chance: Random, *names: str) -> Made:
    """A selector without an offset."""
    name = _pick(chance, *(names or POOL))
    labels = POOL[name]
    matchers = [_matcher(chance, labels) for _ in range(_pick(chance, 0, 0, 0, 0, 1, 1, 2))]
    if not names and _happens(chance, 6):
        matchers.insert(0, f'__name__=~"{name[:5]}.*"' if _happens(chance, 50) else f'__name__="{name}"')
        name = ""
    inside = "{" + ",".join(matchers) + "}" if matchers or not name else ""
    return Made(name + inside, tuple(labels))


def _moved(chance: Random, one: Made) -> Made:
    """Some of them at another time; a few in ways that we refuse."""
    if _happens(chance, 1):
        return Made(f"{one.text} {_pick(chance, '@ end()', 'offset -1m', 'offset 0s')}", one.labels, (one,))
    return Made(f"{one.text} offset {_pick(chance, *OFFSETS)}", one.labels, (one,)) if _happens(chance, 15) else one


def over_time(chance: Random, *names: str) -> Made:
    """A function of a range."""
    inner = selector(chance, *names)
    ranged = f"{inner.text}[{_pick(chance, *SPANS)}]"
    if _happens(chance, 1):
        ranged = f"{inner.text}[10m:1m]"
    elif _happens(chance, 20):
        ranged += f" offset {_pick(chance, *OFFSETS)}"
    function = _pick(chance, *OVER_TIME, "quantile_over_time", "predict_linear", "absent_over_time")
    if function == "quantile_over_time":
        ranged = f"{_pick(chance, '0', '0.3', '0.9', '1', '2', 'NaN')}, {ranged}"
    elif function == "predict_linear":
        ranged = f"{ranged}, {_pick(chance, '0', '600', '-30', '3600 * 4')}"
    return Made(f"{function}({ranged})", inner.labels)


# -- numbers --------------------------------------------------------------------------------------------------------


def number(chance: Random, depth: int) -> Made:
    """A scalar."""
    choice = chance.randrange(10) if depth > 0 else 0
    if choice == 9:
        one, other = number(chance, depth - 1), number(chance, depth - 1)
        op = _pick(chance, *ARITHMETIC, *(f"{op} bool" for op in COMPARISONS))
        return Made(f"({one.text} {op} {other.text})", (), (one, other))
    if choice == 8:
        inner = vector(chance, depth - 1)
        return Made(f"scalar({_pick(chance, 'sum', 'avg', 'max')}({inner.text}))", (), (inner,))
    if choice == 7:
        return Made(_pick(chance, "time()", "pi()", "-(2)", "(3 - 1)", "scalar(up)"))
    return Made(_pick(chance, *NUMBERS))


# -- vectors --------------------------------------------------------------------------------------------------------


def _mapped(chance: Random, depth: int) -> Made:
    inner = vector(chance, depth - 1)
    if _happens(chance, 8):
        inner = selector(chance)
        return Made(f"{_pick(chance, *WAVES)}({inner.text})", inner.labels, (inner,))
    function = _pick(chance, *CALM, "-", "()", "timestamp", "absent", "round", "clamp", "clamp_min", "clamp_max")
    arguments = {"round": 1, "clamp": 2, "clamp_min": 1, "clamp_max": 1}.get(function, 0)
    numbers = tuple(number(chance, depth - 1) for _ in range(arguments))
    if function == "absent":
        return Made(f"absent({inner.text})", (), (inner,))
    text = ", ".join(one.text for one in (inner, *numbers))
    name = "" if function == "()" else function
    return Made(f"{name}({text})", inner.labels, (inner, *numbers))


def _with_number(chance: Random, depth: int) -> Made:
    inner, scalar = vector(chance, depth - 1), number(chance, depth - 1)
    op = _pick(chance, *ARITHMETIC, *COMPARISONS, *(f"{op} bool" for op in COMPARISONS))
    sides = (inner, scalar) if _happens(chance, 65) else (scalar, inner)
    return Made(f"({sides[0].text} {op} {sides[1].text})", inner.labels, (inner, scalar))


def _operator(chance: Random) -> str:
    return str(_pick(chance, *ARITHMETIC, *COMPARISONS, *(f"{op} bool" for op in COMPARISONS[2:])))


def _folded(chance: Random, inner: Made, by: tuple[str, ...]) -> Made:
    return Made(f"{_pick(chance, *FOLDS)} by ({', '.join(by)}) ({inner.text})", by, (inner,))


def _grouped(chance: Random, depth: int) -> Made:
    """Many to one: a vector and what an aggregation made of another, by labels of the first."""
    many, other = vector(chance, depth - 1), vector(chance, depth - 1)
    by = _some(chance, tuple(label for label in many.labels if label in other.labels))
    more = _some(chance, tuple(label for label in other.labels if label not in by), 1)
    one = _folded(chance, other, (*by, *more) if _happens(chance, 25) else by)
    extra = f"({', '.join(more)})" if _happens(chance, 60) else ""
    sides = (many.text, "group_left", one.text) if _happens(chance, 50) else (one.text, "group_right", many.text)
    text = f"({sides[0]} {_operator(chance)} on({', '.join(by)}) {sides[1]}{extra} {sides[2]})"
    return Made(text, tuple(dict.fromkeys((*many.labels, *more))), (many, one))


def _alike(chance: Random, depth: int) -> Made:
    """One to one: two aggregations by the same labels, or a vector and a function of it."""
    one = vector(chance, depth - 1)
    if _happens(chance, 40):
        function = _pick(chance, *CALM)
        other = Made(f"{function}({one.text})", one.labels, (one,))
        return Made(f"({one.text} {_operator(chance)} {other.text})", one.labels, (one, other))
    second = vector(chance, depth - 1)
    by = _some(chance, tuple(label for label in one.labels if label in second.labels))
    one, second = _folded(chance, one, by), _folded(chance, second, by)
    how = _pick(chance, "", f"on({', '.join(by)})", "ignoring(missing)")
    return Made(f"({one.text} {_operator(chance)} {how} {second.text})", by, (one, second))


def _anyhow(chance: Random, depth: int) -> Made:
    """Any two vectors, matched by any labels; what must not be is an error in both engines."""
    one, other = vector(chance, depth - 1), vector(chance, depth - 1)
    labels = _some(chance, tuple(dict.fromkeys((*one.labels, *other.labels, "__name__"))), 3)
    how = _pick(chance, "", f"on({', '.join(labels)})", f"ignoring({', '.join(labels)})")
    group = _pick(chance, "", "group_left", "group_right") if how else ""
    kept = labels if how.startswith("on") and not group else one.labels
    return Made(f"({one.text} {_operator(chance)} {how} {group} {other.text})", tuple(kept), (one, other))


def _set(chance: Random, depth: int) -> Made:
    one, other = vector(chance, depth - 1), vector(chance, depth - 1)
    common = tuple(label for label in one.labels if label in other.labels)
    labels = ", ".join(_some(chance, common or one.labels))
    op, how = _pick(chance, "and", "or", "unless"), _pick(chance, "", f"on({labels})", f"ignoring({labels})")
    kept = tuple(dict.fromkeys((*one.labels, *other.labels)))
    return Made(f"({one.text} {op} {how} {other.text})", kept, (one, other))


def _aggregated(chance: Random, depth: int) -> Made:
    inner = vector(chance, depth - 1)
    labels = _some(chance, (*inner.labels, "__name__"), 3)
    without = _happens(chance, 35)
    clause = f"{'without' if without else 'by'} ({', '.join(labels)})" if labels or without else ""
    kept = tuple(label for label in inner.labels if (label in labels) != without)
    before = f"{_pick(chance, '0', '0.4', '0.95', '1', '-1', '1.1', 'NaN')}, " if _happens(chance, 15) else ""
    function = "quantile" if before else _pick(chance, *FOLDS)
    return Made(f"{function} {clause} ({before}{inner.text})", kept, (inner,))


def _top(chance: Random, depth: int) -> Made:
    """`topk` of values that are all different."""
    inner = _moved(chance, selector(chance, *DISTINCT))
    labels = ", ".join(_some(chance, inner.labels))
    clause = _pick(chance, "", f"by ({labels})", f"without ({labels})")
    count = _pick(chance, "1", "2", "3", "-1", "0", "1.7", "99", "scalar(sum(up))")
    return Made(f"{_pick(chance, 'topk', 'bottomk')} {clause} ({count}, {inner.text})", inner.labels, (inner,))


def _counted(chance: Random, depth: int) -> Made:
    """`count_values` of numbers that no calculation made."""
    inner = selector(chance)
    label = _pick(chance, "value", "job", "kind")
    by = _some(chance, inner.labels)
    return Made(f'count_values by ({", ".join(by)}) ("{label}", {inner.text})', (*by, label), (inner,))


def _relabelled(chance: Random, depth: int) -> Made:
    inner = vector(chance, depth - 1)
    target, source = _pick(chance, "new", *inner.labels), _pick(chance, "missing", "__name__", *inner.labels)
    if _happens(chance, 40):
        separator = _pick(chance, "", "-", ", ", "☃")
        text = f'label_join({inner.text}, "{target}", "{separator}", "{source}", "job")'
    else:
        pattern = _pick(chance, "(.*)", "(.)(.*)", "([a-z]+):?.*", "x", "")
        value = _pick(chance, "$1", "$2.$1", "${1}!", "", "same")
        text = f'label_replace({inner.text}, "{target}", "{value}", "{source}", "{pattern}")'
    return Made(text, tuple(dict.fromkeys((*inner.labels, target))), (inner,))


def _histogram(chance: Random, depth: int) -> Made:
    inner = selector(chance, *BUCKETS)
    if _happens(chance, 60):
        function = _pick(chance, "rate", "increase", "last_over_time", "delta")
        inner = Made(f"{function}({inner.text}[{_pick(chance, *SPANS[2:])}])", inner.labels, (inner,))
    if _happens(chance, 50):
        by = _some(chance, tuple(label for label in inner.labels if label != "le"))
        inner = Made(f"sum by ({', '.join(('le', *by))}) ({inner.text})", ("le", *by), (inner,))
    share = _pick(chance, "0", "0.1", "0.5", "0.9", "0.99", "1", "-2", "1.01", "NaN")
    kept = tuple(label for label in inner.labels if label != "le")
    return Made(f"histogram_quantile({share}, {inner.text})", kept, (inner,))


def _other(chance: Random, depth: int) -> Made:
    if _happens(chance, 30):
        inner = selector(chance)
        return Made(f"({inner.text} % {_pick(chance, *NUMBERS)})", inner.labels, (inner,))
    if _happens(chance, 50):
        inner = number(chance, depth - 1)
        return Made(f"vector({inner.text})", (), (inner,))
    shift = _pick(chance, "", " + 86400 * 366", " / 3", " - 1e9", " % 1e8")
    return Made(f"{_pick(chance, *DATES)}(event_time_seconds{shift})", ("kind",))


_KINDS: Final = {  # how often
    _mapped: 2,
    _with_number: 3,
    _grouped: 2,
    _alike: 2,
    _anyhow: 1,
    _set: 2,
    _aggregated: 3,
    _top: 1,
    _counted: 1,
    _relabelled: 1,
    _histogram: 2,
    _other: 1,
}


def vector(chance: Random, depth: int) -> Made:
    """An instant vector, of so many levels at most."""
    if depth <= 0 or _happens(chance, 12):
        return over_time(chance) if _happens(chance, 45) else _moved(chance, selector(chance))
    (kind,) = chance.choices(list(_KINDS), list(_KINDS.values()))
    return kind(chance, depth)


def _expression(chance: Random) -> Made:
    depth = _pick(chance, 1, 1, 2, 2, 3, 4)
    return number(chance, depth) if _happens(chance, 8) else vector(chance, depth)


# A generator seeded by hypothesis, not its own choices one by one: it repeats itself less.
expressions: Final = st.randoms(use_true_random=True).map(_expression)
