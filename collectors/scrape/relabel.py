"""Prometheus' metric_relabel_configs.

Source: https://prometheus.io/docs/prometheus/latest/configuration/configuration/#relabel_config and
prometheus/prometheus model/relabel (v3.5). Expressions are anchored at both ends.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from typing import Any, Final, Literal

from msgspec import Struct

from agent.patterns import compile_pattern

Labels = dict[str, str]
Action = Literal[
    "replace", "keep", "drop", "keepequal", "dropequal", "hashmod", "labelmap", "labeldrop", "labelkeep", "lowercase",
    "uppercase",
]  # fmt: skip

_ANYTHING: Final = "(.*)"
_FIRST: Final = "$1"
_VARIABLE: Final = re.compile(r"\$(?:(\$)|\{(\w+)\}|(\w+))")
_NEED_TARGET: Final = {"replace", "hashmod", "lowercase", "uppercase", "keepequal", "dropequal"}


class Rule(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One rule, by the names of Prometheus' relabel_config."""

    source_labels: tuple[str, ...] = ()
    separator: str = ";"
    regex: str = _ANYTHING
    target_label: str = ""
    replacement: str = _FIRST
    modulus: int = 0
    action: Action = "replace"


def rule_faults(rules: Sequence[Rule]) -> list[str]:
    """What is wrong with rules, as options' own checks say it."""
    faults = [f"relabel: rule {number}: {fault}" for number, rule in enumerate(rules, 1) for fault in _faults(rule)]
    if rules and not faults:
        try:
            for rule in rules:
                _compile(rule.regex)
        except ValueError as error:
            faults.append(f"relabel: {error}")
    return faults


def _faults(rule: Rule) -> list[str]:
    faults = []
    if rule.action in _NEED_TARGET and not rule.target_label:
        faults.append(f"{rule.action} needs target_label")
    if rule.action == "hashmod" and rule.modulus <= 0:
        faults.append("hashmod needs a modulus above 0")
    if rule.action == "labelmap" and not rule.replacement:
        faults.append("labelmap needs a replacement")
    if rule.action in ("labeldrop", "labelkeep") and (rule.source_labels or rule.target_label):
        faults.append(f"{rule.action} takes a regex alone")
    return faults


def _compile(regex: str) -> Any:
    """The anchored expression; raises ValueError."""
    try:
        return compile_pattern(f"(?s:{regex})")
    except ValueError as error:
        raise ValueError(f"the regex {regex!r} is none of RE2: {error}") from None


class Relabeller:
    """Applies rules, in their order, to one label set at a time."""

    def __init__(self, rules: Sequence[Rule]) -> None:
        self._steps = [_Step(rule) for rule in rules]

    def __bool__(self) -> bool:
        return bool(self._steps)

    def __call__(self, labels: Labels) -> Labels | None:
        """The labels (with `__name__`) after all rules; None when a rule drops the series. Changes `labels`."""
        for step in self._steps:
            if not step(labels):
                return None
        return labels


class _Step:
    """One rule with its expression compiled."""

    def __init__(self, rule: Rule) -> None:
        self._rule = rule
        self._regex = _compile(rule.regex)
        self._apply = getattr(self, f"_{rule.action}")

    def __call__(self, labels: Labels) -> bool:
        """Whether the series is kept."""
        value = self._rule.separator.join([labels.get(name, "") for name in self._rule.source_labels])
        return bool(self._apply(labels, value))

    def _keep(self, labels: Labels, value: str) -> bool:
        return self._regex.fullmatch(value) is not None

    def _drop(self, labels: Labels, value: str) -> bool:
        return self._regex.fullmatch(value) is None

    def _keepequal(self, labels: Labels, value: str) -> bool:
        return labels.get(self._rule.target_label, "") == value

    def _dropequal(self, labels: Labels, value: str) -> bool:
        return labels.get(self._rule.target_label, "") != value

    def _replace(self, labels: Labels, value: str) -> bool:
        if (found := self._regex.fullmatch(value)) is not None:
            target = _expand(self._rule.target_label, found)
            if target:
                _set(labels, target, _expand(self._rule.replacement, found))
        return True

    def _lowercase(self, labels: Labels, value: str) -> bool:
        _set(labels, self._rule.target_label, value.lower())
        return True

    def _uppercase(self, labels: Labels, value: str) -> bool:
        _set(labels, self._rule.target_label, value.upper())
        return True

    def _hashmod(self, labels: Labels, value: str) -> bool:
        digest = hashlib.md5(value.encode(), usedforsecurity=False).digest()
        _set(labels, self._rule.target_label, str(int.from_bytes(digest[8:], "big") % self._rule.modulus))
        return True

    def _labelmap(self, labels: Labels, value: str) -> bool:
        for name, text in list(labels.items()):
            if (found := self._regex.fullmatch(name)) is not None:
                _set(labels, _expand(self._rule.replacement, found), text)
        return True

    def _labeldrop(self, labels: Labels, value: str) -> bool:
        for name in [name for name in labels if self._regex.fullmatch(name)]:
            del labels[name]
        return True

    def _labelkeep(self, labels: Labels, value: str) -> bool:
        for name in [name for name in labels if not self._regex.fullmatch(name)]:
            del labels[name]
        return True


def _set(labels: Labels, name: str, value: str) -> None:
    """Set a label; an empty value is no label."""
    if value:
        labels[name] = value
    else:
        labels.pop(name, None)


def _expand(template: str, found: Any) -> str:
    """A template of Go's `Regexp.Expand`: `$1`, `${name}`, `$$`; a group that is not there is empty."""
    if "$" not in template:
        return template
    return _VARIABLE.sub(lambda variable: "$" if variable[1] else _group(found, variable[2] or variable[3]), template)


def _group(found: Any, name: str) -> str:
    if name.isdecimal() and (name == "0" or name[0] != "0"):
        index = int(name) if len(name) < 9 else 1 << 30
        return found.group(index) or "" if index <= found.re.groups else ""
    return found.groupdict().get(name) or ""
