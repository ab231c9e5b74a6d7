"""Prometheus' own rule files (`rule_files`): from YAML to Rules and Recordings.

What Prometheus refuses is refused here, with its place; so are names beyond letters, digits and `_`, which are new in
Prometheus 3, and merge keys. A group's `interval`, `limit` and `query_offset` are read and left: rules are judged once
a round, on what the round saw.
Source: https://prometheus.io/docs/prometheus/latest/configuration/recording_rules/
"""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Iterator
from typing import Annotated, Any, ClassVar, Final, Self

from msgspec import Meta, Struct

from config.convert import INVALID, Converter
from config.documents import LARGEST, Malformed, Node, decoded
from config.faults import Place
from config.files import Unreadable, read_regular
from config.options import Labels
from config.rules import AnnotationName, Recording, Rule
from config.sections import Trial
from config.values import Duration
from config.yamltree import parse_yaml

_MILLISECONDS: Final = {
    "y": 31_536_000_000,
    "w": 604_800_000,
    "d": 86_400_000,
    "h": 3_600_000,
    "m": 60_000,
    "s": 1_000,
    "ms": 1,
}
_SPAN: Final = re.compile("".join(rf"(?:([0-9]{{1,12}}){unit})?" for unit in _MILLISECONDS))

Found = tuple[Rule | Recording, Node]


class Span(Duration):
    """A duration as Prometheus writes it: `"5m"`, `"1h30m"`, `"1y"`, `"0"`; at most a hundred years."""

    __slots__ = ()
    expected: ClassVar[str] = 'a duration such as "5m" or "1h30m"'
    pattern: ClassVar[str] = f"0|(?=.){_SPAN.pattern}"

    def __new__(cls, text: str) -> Self:  # noqa: D102  the class says it
        found = _SPAN.fullmatch("0s" if text == "0" else text)
        if not text or found is None:
            raise ValueError("not a duration")
        counts = zip(found.groups(default="0"), _MILLISECONDS.values(), strict=True)
        return super().__new__(cls, f"{sum(int(count) * unit for count, unit in counts)}ms")


class Count(int):
    """A whole number that may be negative, for what YAML holds as text."""

    expected: ClassVar[str] = "a whole number"
    pattern: ClassVar[str] = r"-?[0-9]{1,18}"

    def __new__(cls, text: str) -> Self:  # noqa: D102  the class says it
        if re.fullmatch(cls.pattern, text) is None:
            raise ValueError("not a whole number")
        return super().__new__(cls, text)


class Group(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A group of a rule file; its rules are read one by one."""

    name: Annotated[str, Meta(min_length=1)]
    interval: Span | None = None
    limit: Count | None = None
    query_offset: Span | None = None
    labels: Labels = {}
    rules: list[Any] = []


class FileRule(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, rename={"hold": "for"}):
    """A rule of a rule file, of either sort."""

    alert: Annotated[str, Meta(min_length=1, max_length=128)] | None = None
    record: Annotated[str, Meta(pattern=r"^[a-zA-Z_:][a-zA-Z0-9_:]*$", description="a metric name")] | None = None
    expr: Annotated[str, Meta(min_length=1)]
    hold: Span | None = None
    keep_firing_for: Span | None = None
    labels: Labels = {}
    annotations: dict[AnnotationName, str] = {}

    def __post_init__(self) -> None:
        if faults := list(_sort_faults(self)):
            raise ValueError(*faults)


def _sort_faults(rule: FileRule) -> Iterator[str]:
    """What makes a rule neither an alert nor a recording rule, or both."""
    if (rule.alert is None) == (rule.record is None):
        yield "expected one of `alert` and `record`" if rule.alert is None else "record: cannot stand beside `alert`"
    if rule.record is None:
        return
    alerts_own = {"for": rule.hold, "keep_firing_for": rule.keep_firing_for, "annotations": rule.annotations}
    yield from (f"{name}: a recording rule takes none" for name, value in alerts_own.items() if value)


class RuleFiles:
    """Reads the files that patterns name, each once; `paths` are those found so far."""

    def __init__(self, converter: Converter, trial: Trial) -> None:
        self.paths: list[str] = []
        self._converter = converter
        self._trial = trial

    def read(self, pattern: str, node: Node, path: str) -> list[Found]:
        """The rules of the files of a pattern, which stands at `node` and starts from the directory of its file."""
        pattern = os.path.join(os.path.dirname(node.place.file), pattern)
        return [found for file in _matches(pattern) for found in self._file(file, node, path)]

    def _file(self, file: str, node: Node, path: str) -> list[Found]:
        if file in self.paths:
            return []
        self.paths.append(file)
        try:
            root = parse_yaml(decoded(read_regular(file, LARGEST), file), file)
        except Unreadable as reason:
            shown = Place(file)
            self._converter.fault(node, path, f"{shown}: {reason}")
            return []
        except Malformed as malformed:
            self._converter.faults.append(malformed.fault)
            return []
        return _FileReader(self._converter, self._trial).rules(root)


def _matches(pattern: str) -> list[str]:
    """The files of a pattern in the order of their names; one without wildcards is a file that has to be there."""
    if "\0" in pattern or not glob.has_magic(pattern):
        return [pattern]
    return sorted(glob.glob(pattern))


class _FileReader:
    """The conversion of one rule file."""

    def __init__(self, converter: Converter, trial: Trial) -> None:
        self._converter = converter
        self._trial = trial
        self._names: dict[str, Place] = {}

    def rules(self, root: Node) -> list[Found]:
        if not isinstance(root.value, dict):
            self._converter.fault(root, "", "expected `groups:`")
            return []
        self._converter.refuse_unknown(root, ("groups",), "")
        groups = root.value.get("groups")
        if groups is not None and not isinstance(groups.value, list):
            self._converter.fault(groups, "groups", "expected an array of groups")
        return [found for at, group in _elements(groups) for found in self._group(group, f"groups[{at}]")]

    def _group(self, node: Node, path: str) -> list[Found]:
        group = self._converter.convert(node, Group, path)
        if not isinstance(node.value, dict):
            return []
        self._check_name(node.value.get("name"), path)
        labels = {} if group is INVALID else group.labels
        rules = _elements(node.value.get("rules"))
        found = [(self._rule(rule, labels, f"{path}.rules[{at}]"), rule) for at, rule in rules]
        return [(rule, at) for rule, at in found if rule is not None]

    def _check_name(self, name: Node | None, path: str) -> None:
        if name is None or not isinstance(name.value, str):
            return
        if (other := self._names.setdefault(name.value, name.place)) is not name.place:
            message = f"the group at {other} has this name already: names of a file's groups must differ"
            self._converter.fault(name, f"{path}.name", message)

    def _rule(self, node: Node, labels: Labels, path: str) -> Rule | Recording | None:
        written = self._converter.convert(node, FileRule, path)
        if written is INVALID:
            return None
        rule = _rule_of(written, {**labels, **written.labels})
        self._converter.judged(node, FileRule, path, lambda: self._trial(rule))
        return rule


def _elements(node: Node | None) -> list[tuple[int, Node]]:
    return list(enumerate(node.value)) if node is not None and isinstance(node.value, list) else []


def _rule_of(rule: FileRule, labels: Labels) -> Rule | Recording:
    if rule.record is not None:
        return Recording(record=rule.record, expr=rule.expr, labels=labels)
    return Rule(
        alert=rule.alert or "",
        expr=rule.expr,
        hold=Duration(str(rule.hold or "0s")),
        keep_firing_for=None if rule.keep_firing_for is None else Duration(str(rule.keep_firing_for)),
        labels=labels,
        annotations=rule.annotations,
    )
