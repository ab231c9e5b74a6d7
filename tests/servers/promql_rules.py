"""The expressions of rules, our defaults and the published mixins, and made-up series for what they name."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from importlib import import_module
from pathlib import Path
from typing import Any, Final

import promql_parser
import yaml

from collectors import BUILTIN
from tests.conftest import PEERS
from tests.servers.promql_data import Line, Source, drift, line, rising, steady

MIXINS: Final = PEERS / "mixins"
_PARTS: Final = ("lhs", "rhs", "expr")
_VECTORS: Final = ("BinaryExpr", "AggregateExpr", "Call", "UnaryExpr", "VectorSelector")
_COUNTERS: Final = ("_total", "_count", "_sum", "_bucket")

Labels = tuple[tuple[str, str], ...]


def default_rules() -> list[str]:
    """The expressions of all collectors' default rules."""
    found = []
    for where in BUILTIN.values():
        module, _, name = where.partition(":")
        found += [rule.expr for rule in getattr(getattr(import_module(module), name), "rules", ())]
    return found


def mixin_rules(folder: Path = MIXINS) -> list[str]:
    """The expressions of the rule files there; none where there are none."""
    files = [yaml.safe_load(path.read_text()) for path in sorted(folder.glob("*.y*ml"))]
    return [str(rule["expr"]) for file in files for group in file["groups"] or () for rule in group["rules"] or ()]


def _parsed(text: str) -> Any:
    """The parser's tree; None where it does not understand what another one might."""
    try:
        return promql_parser.parse(text)
    except ValueError:
        return None


def _within(tree: Any) -> Iterator[Any]:
    yield tree
    for name in _PARTS:
        if (part := getattr(tree, name, None)) is not None:
            yield from _within(part)
    for part in getattr(tree, "args", ()):
        yield from _within(part)


def with_parts(expressions: Iterable[str]) -> list[str]:
    """The expressions and the vectors that they are made of: those have values where the whole does not fire."""
    found: dict[str, None] = {}
    for text in expressions:
        found[text] = None
        parts = [part for part in _within(_parsed(text)) if type(part).__name__ in _VECTORS]
        found.update({part.prettify(): None for part in parts})
    return list(found)


def _selectors(expressions: Iterable[str]) -> Iterator[Any]:
    for text in expressions:
        for part in _within(_parsed(text)):
            selector = getattr(part, "vector_selector", part)
            if type(selector).__name__ == "VectorSelector":
                yield selector


def _asked(selector: Any) -> tuple[str, Labels]:
    """The name that a selector asks for, and labels that it would take."""
    name, labels = selector.name or "", {}
    for one in selector.matchers.matchers:
        if one.name == "__name__":
            name = name or one.value
        elif str(one.op) == "MatchOp.Equal" and one.value:
            labels[one.name] = one.value
        elif str(one.op) == "MatchOp.Re" and (found := re.match(r"\(?([\w/. -]+)", one.value)):
            labels[one.name] = found[1]
    return name, tuple(sorted(labels.items()))


def _lines(name: str, labels: dict[str, str]) -> Iterator[Line]:
    bounds = ("0.1", "1.0", "+Inf") if name.endswith("_bucket") and "le" not in labels else (labels.get("le", ""),)
    for at, instance in enumerate(("a:1", "b:1")):
        for bound in bounds:
            it = {"job": "made", "instance": instance, **labels, **({"le": bound} if bound else {})}
            if name.endswith(_COUNTERS):
                yield line(name, "counter", rising(40), **it)
            else:
                yield line(name, "gauge", steady(1.0, 0.0, 0.0, *[1.0] * 20) if at else drift(1, 0.1), **it)


def filler(expressions: Iterable[str], known: Iterable[Source]) -> Source:
    """Series for what the expressions name and the other sources do not have."""
    names = {one.series.name for source in known for one in source.lines}
    names |= {name + more for name in names for more in _COUNTERS}
    found: dict[tuple[str, Labels], Line] = {}
    for name, labels in dict.fromkeys(map(_asked, _selectors(expressions))):
        if name and name not in names:
            for one in _lines(name, dict(labels)):
                found.setdefault((name, one.series.labels), one)
    return Source("filler", 1.0, list(found.values()))
