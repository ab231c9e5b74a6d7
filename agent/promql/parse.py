"""From the text of an expression to what evaluates it, or to the reason why not.

promql-parser judges syntax and types; here its tree becomes ours, and what we do not evaluate is refused: an expression
that is read is one that is judged.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from datetime import timedelta
from math import isinf, pi
from typing import Any, Final

from agent.patterns import compile_pattern, expander
from agent.promql import functions as of
from agent.promql.aggregations import SIMPLE, Aggregation, CountValues, Grouping, Quantile, Top
from agent.promql.arithmetic import go_max, go_min
from agent.promql.operators import (
    SETS,
    BetweenNumbers,
    BetweenVectors,
    Matching,
    Negative,
    NegativeNumber,
    Sets,
    WithNumber,
)
from agent.promql.points import Constant, Labels, Node
from agent.promql.ranges import ESTIMATES, PATIENT, OverTime, Predicted, QuantileOverTime
from agent.promql.selectors import Instant, Matcher, Ranged, Selector

LONGEST: Final = 32_768  # characters
DEEPEST: Final = 250  # operators and parentheses: the parser's depth is theirs, and its stack is the process's
_STRINGS: Final = re.compile(r'"(?:[^"\\\n]|\\.)*"|' r"'(?:[^'\\\n]|\\.)*'|`[^`]*`|#[^\n]*|\{[^{}\"'`]*\}")
_DEEPER: Final = re.compile(r"[(\[{+\-*/%^<>=!]|\b(?:and|or|unless|atan2|offset)\b", re.IGNORECASE)
_OPS: Final = {"MatchOp.Equal": "=", "MatchOp.NotEqual": "!=", "MatchOp.Re": "=~", "MatchOp.NotRe": "!~"}
_MANY: Final = {"ManyToOne": "left", "OneToMany": "right"}
_DECIMAL: Final = re.compile(r"(?<![\w:.])(?:\d++(?:\.\d*+)?|\.\d++)(?:e[+-]?\d++)?(?!\w)", re.ASCII | re.IGNORECASE)
_LONGEST_MS: Final = 2**63 // 10**6  # what Go's durations hold: 292 years


class Unsupported(ValueError):
    """PromQL that is right, and that we do not evaluate."""


def parse(text: str) -> tuple[Node[Any], str, list[Ranged | Instant], set[str]]:
    """An expression's evaluable form, its type (scalar, vector, string), its selectors, and the functions in it.

    Raises ValueError with words for people; `Unsupported` where another engine would evaluate it.
    """
    if len(text) > LONGEST:
        raise ValueError(f"is longer than {LONGEST} characters")
    bare = _STRINGS.sub('""', text)
    if len(_DEEPER.findall(bare)) > DEEPEST:
        raise ValueError(f"has more than {DEEPEST} operators and parentheses")
    if any(isinf(float(number)) for number in _DECIMAL.findall(bare)):
        raise ValueError("has a number that is too large")
    tree, builder = _tree(_STRINGS.sub(_quoted, text)), _Builder()
    if (kind := builder.kind(tree)) == "matrix":
        raise ValueError("is an expression of a range, which is no answer: a function such as rate() makes one of it")
    return builder.build(tree), kind, builder.selectors, builder.functions


def _tree(text: str) -> Any:
    import promql_parser  # 2.5 MB and 4 ms that only rules cost

    try:
        return promql_parser.parse(text)
    except (ValueError, OverflowError) as error:
        raise ValueError(" ".join(str(error).split())) from None
    except BaseException as error:  # a panic of the parser, such as for `offset Inf`, is no Exception and has no name
        if type(error).__name__ != "PanicException":
            raise
        raise ValueError(f"is beyond the parser: {error}") from None


def _quoted(found: re.Match[str]) -> str:
    """A raw string in quotation marks, since the parser takes its backslashes for escapes; anything else as it is."""
    text = found[0]
    return json.dumps(text[1:-1], ensure_ascii=False) if text[0] == "`" else text


class _Builder:
    """Builds one expression, by a method for each class of the parser's tree; remembers what it looks at."""

    def __init__(self) -> None:
        self.selectors: list[Ranged | Instant] = []
        self.functions: set[str] = set()

    def build(self, tree: Any) -> Node[Any]:
        """The evaluable form of a part."""
        method: Callable[[Any], Node[Any]] | None = getattr(self, f"_{type(tree).__name__}", None)
        if method is None:
            raise Unsupported(f"{type(tree).__name__} is not supported")
        return method(tree)

    def kind(self, tree: Any) -> str:
        """The type of a part: scalar, vector, matrix or string."""
        match type(tree).__name__:
            case "ParenExpr" | "UnaryExpr":
                return self.kind(tree.expr)
            case "NumberLiteral":
                return "scalar"
            case "StringLiteral":
                return "string"
            case "Call":
                return str(tree.func.return_type).rpartition(".")[2].lower()
            case "BinaryExpr":
                sides = {self.kind(tree.lhs), self.kind(tree.rhs)}
                return "scalar" if sides == {"scalar"} else "vector"
            case "MatrixSelector" | "SubqueryExpr":
                return "matrix"
        return "vector"

    # -- leaves ---------------------------------------------------------------------------------------------------

    def _NumberLiteral(self, tree: Any) -> Node[float]:
        return Constant(float(tree.val))

    def _StringLiteral(self, tree: Any) -> Node[str]:
        return Constant(str(tree.val))

    def _ParenExpr(self, tree: Any) -> Node[Any]:
        return self.build(tree.expr)

    def _VectorSelector(self, tree: Any) -> Node[Any]:
        found = Instant(self._selector(tree), _offset(tree))
        self.selectors.append(found)
        return found

    def _MatrixSelector(self, tree: Any) -> Node[Any]:
        inner = tree.vector_selector
        found = Ranged(self._selector(inner), _milliseconds(lambda: tree.range), _offset(inner))
        self.selectors.append(found)
        return found

    def _SubqueryExpr(self, tree: Any) -> Node[Any]:
        raise Unsupported(
            "subqueries such as `rate(x[5m])[1h:1m]` are not supported; write a recording rule for the inner part"
        )

    @staticmethod
    def _selector(tree: Any) -> Selector:
        if tree.at is not None:
            raise Unsupported("the @ modifier is not supported: rules are judged now")
        if tree.matchers.or_matchers:
            raise ValueError('`or` between matchers is no PromQL; use a pattern: =~"a|b"')
        name, matchers = tree.name or "", []
        for one in tree.matchers.matchers:
            op = _OPS[str(one.op)]
            if one.name == "__name__" and op == "=" and not name:
                name = one.value
            else:
                matchers.append(Matcher(one.name, op, one.value))
        return Selector(name, matchers)

    # -- operators ------------------------------------------------------------------------------------------------

    def _UnaryExpr(self, tree: Any) -> Node[Any]:
        inner = self.build(tree.expr)
        return NegativeNumber(inner) if self.kind(tree.expr) == "scalar" else Negative(inner)

    def _BinaryExpr(self, tree: Any) -> Node[Any]:
        op, modifier = str(tree.op), tree.modifier
        left, right = self.build(tree.lhs), self.build(tree.rhs)
        kinds = self.kind(tree.lhs), self.kind(tree.rhs)
        as_bool = modifier is not None and bool(modifier.return_bool)
        if kinds == ("scalar", "scalar"):
            return BetweenNumbers(op, left, right)
        if "scalar" in kinds:
            swapped = kinds[0] == "scalar"
            return WithNumber(op, right if swapped else left, left if swapped else right, swapped, as_bool)
        matching = _matching(modifier)
        return Sets(op, left, right, matching) if op in SETS else BetweenVectors(op, left, right, matching, as_bool)

    def _AggregateExpr(self, tree: Any) -> Node[Any]:
        op = str(tree.op)
        vector, grouping = self.build(tree.expr), _grouping(tree.modifier)
        if op in SIMPLE:
            return Aggregation(op, vector, grouping)
        match op:
            case "quantile":
                return Quantile(self.build(tree.param), vector, grouping)
            case "topk" | "bottomk":
                return Top(op, self.build(tree.param), vector, grouping)
            case "count_values":
                label = _text(tree.param)
                _check_label(label)
                return CountValues(label, vector, grouping)
        raise Unsupported(f"the aggregation {op} is not supported")

    # -- functions ------------------------------------------------------------------------------------------------

    def _Call(self, tree: Any) -> Node[Any]:
        name, given = tree.func.name, list(tree.args)
        self.functions.add(name)
        if name in of.MATHS:
            return of.Mapped(of.MATHS[name], self.build(given[0]))
        if name in of.DATES:
            moment = self.build(given[0]) if given else of.ToVector(of.Time())
            return of.Mapped(of.dated(of.DATES[name]), moment)
        if name in ESTIMATES or name in PATIENT:
            return self._over_time(name, given)
        method: Callable[[list[Any]], Node[Any]] | None = getattr(self, f"_call_{name}", None)
        if method is None:
            raise Unsupported(f"the function {name} is not supported")
        return method(given)

    def _over_time(self, name: str, given: list[Any]) -> Node[Any]:
        built = [self.build(one) for one in given]
        match name:
            case "quantile_over_time":
                return QuantileOverTime(*built)
            case "predict_linear":
                return Predicted(*built)
            case "absent_over_time":
                return of.Absent(built[0], _fixed_labels(given[0]))
        return OverTime(name, built[0])

    def _call_time(self, given: list[Any]) -> Node[float]:
        return of.Time()

    def _call_pi(self, given: list[Any]) -> Node[float]:
        return Constant(pi)

    def _call_vector(self, given: list[Any]) -> Node[Any]:
        return of.ToVector(self.build(given[0]))

    def _call_scalar(self, given: list[Any]) -> Node[float]:
        return of.ToScalar(self.build(given[0]))

    def _call_round(self, given: list[Any]) -> Node[Any]:
        return of.Mapped(of.rounded, self.build(given[0]), tuple(map(self.build, given[1:])))

    def _call_clamp(self, given: list[Any]) -> Node[Any]:
        return of.Clamp(*map(self.build, given))

    def _call_clamp_min(self, given: list[Any]) -> Node[Any]:
        return of.Mapped(go_max, self.build(given[0]), (self.build(given[1]),))

    def _call_clamp_max(self, given: list[Any]) -> Node[Any]:
        return of.Mapped(go_min, self.build(given[0]), (self.build(given[1]),))

    def _call_sort(self, given: list[Any]) -> Node[Any]:
        return of.Sorted(self.build(given[0]), descending=False)

    def _call_sort_desc(self, given: list[Any]) -> Node[Any]:
        return of.Sorted(self.build(given[0]), descending=True)

    def _call_absent(self, given: list[Any]) -> Node[Any]:
        return of.Absent(self.build(given[0]), _fixed_labels(given[0]))

    def _call_timestamp(self, given: list[Any]) -> Node[Any]:
        inner = self.build(given[0])
        if isinstance(inner, Instant):
            return of.Timestamps(inner.times)
        return of.Timestamps(lambda at: [point._replace(value=at.time_ms / 1000) for point in inner.evaluate(at)])

    def _call_histogram_quantile(self, given: list[Any]) -> Node[Any]:
        return of.HistogramQuantile(*map(self.build, given))

    def _call_label_replace(self, given: list[Any]) -> Node[Any]:
        target, replacement, source, pattern = map(_text, given[1:])
        _check_label(target)
        return of.LabelReplace(self.build(given[0]), target, source, _expander(pattern, replacement))

    def _call_label_join(self, given: list[Any]) -> Node[Any]:
        target, separator, *sources = map(_text, given[1:])
        _check_label(target)
        return of.LabelJoin(self.build(given[0]), target, separator, tuple(sources))


def _matching(modifier: Any) -> Matching:
    if modifier is None:
        return Matching()
    fill = modifier.fill_values
    if fill is not None and (fill.lhs is not None or fill.rhs is not None):
        raise Unsupported("fill is not supported")
    by = modifier.matching
    many = _MANY.get(str(modifier.card).rpartition(".")[2], "")
    on = by is not None and str(by.type).endswith("Include")
    labels = frozenset(by.labels) if by is not None else frozenset[str]()
    return Matching(on, labels, many, tuple(modifier.group_labels or ()))


def _grouping(modifier: Any) -> Grouping:
    if modifier is None:
        return Grouping()
    return Grouping(frozenset(modifier.labels), str(modifier.type).endswith("Without"))


def _offset(tree: Any) -> int:
    if tree.offset is None:
        return 0
    if (found := _milliseconds(lambda: tree.offset)) < 0:
        raise Unsupported("a negative offset is not supported: rules are judged now")
    return found


def _milliseconds(read: Callable[[], timedelta]) -> int:
    try:
        found = round(read() / timedelta(milliseconds=1))
    except OverflowError:  # beyond a timedelta
        found = _LONGEST_MS
    if found >= _LONGEST_MS:
        raise ValueError("a duration is longer than 292 years")
    return found


def _bare(tree: Any) -> Any:
    """The part inside all parentheses."""
    while type(tree).__name__ == "ParenExpr":
        tree = tree.expr
    return tree


def _text(tree: Any) -> str:
    return str(_bare(tree).val)


def _fixed_labels(tree: Any) -> Labels:
    """The labels of what `absent` makes: those that the selector fixes to one value.

    As Prometheus' storage sorts its conditions first, those come last that only take away from what others select.
    """
    tree = _bare(tree)
    selector = tree.vector_selector if type(tree).__name__ == "MatrixSelector" else tree
    if type(selector).__name__ != "VectorSelector":
        return ()
    found: dict[str, str] = {}
    seen: set[str] = set()
    matchers = [Matcher(one.name, _OPS[str(one.op)], one.value) for one in selector.matchers.matchers]
    for one in sorted(matchers, key=lambda one: one.op in ("!=", "!~") and one.compiled()("")):
        if one.name == "__name__":
            continue
        if one.op == "=" and one.name not in seen:
            seen.add(one.name)
            found[one.name] = one.value
        else:
            found.pop(one.name, None)
    return tuple(sorted((name, value) for name, value in found.items() if value))


def _check_label(name: str) -> None:
    if not name:
        raise ValueError("a label needs a name")


def _expander(pattern: str, replacement: str) -> Callable[[str], str | None]:
    """The new value of a label by its old one: `$1` and `${name}` stand for groups of the pattern, as Go has them."""
    compiled, filled = compile_pattern(f"(?s:{pattern})"), expander(replacement)

    def expand(text: str) -> str | None:
        match = compiled.fullmatch(text)
        return None if match is None else filled(match)

    return expand
