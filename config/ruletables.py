"""`[[rules]]`: from their tables to Rules.

A rule's texts are taken as they are written: `$1` and `${1}` belong to PromQL, `{{ $value }}` to templates. So nothing
in a rule is a reference, and what looks like one is a fault, not a text that nobody meant.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Iterator
from itertools import chain
from typing import Any, Final

from config.convert import INVALID, Converter
from config.documents import Node
from config.faults import asking, key_path
from config.references import Template
from config.rules import SEVERITIES, Rule
from config.scalars import Sources
from config.sections import Trial

DefaultRules = Callable[[str], tuple[Rule, ...]]  # those of a collector's kind; raises ImportError, as its Options do

_REFERENCE: Final = re.compile(r"\$\{(env|file|credential):")


class Verbatim(Sources):
    """Texts as they are written, none of them secret: a rule's words are there to be sent around."""

    def template(self, node: Node) -> Template | None:
        """None: no text is one."""
        return None

    def note(self, value: Any, pieces: Iterable[tuple[str, bool]]) -> None:
        """Nothing is kept out of messages, or a word of a runbook's URL would be."""


class DefaultNames:
    """The names of collectors' default rules, those of the configured kinds looked at first: the others may never have
    to be imported.
    """

    def __init__(
        self, kinds: Collection[str], configured: Collection[str], rules: DefaultRules, others: Collection[str] = ()
    ) -> None:
        self._others = others  # of rule files
        self._kinds = kinds
        self._configured = configured
        self._rules = rules

    def __contains__(self, name: object) -> bool:
        return any(name == one for one in self)

    def __iter__(self) -> Iterator[str]:
        yield from self._others
        first = [kind for kind in self._configured if kind in self._kinds]
        for kind in chain(first, (kind for kind in self._kinds if kind not in first)):
            try:
                yield from (rule.alert for rule in self._rules(kind))
            except ImportError:  # its extra is not installed
                continue


class RuleReader:
    """Reads all tables of `[[rules]]`."""

    def __init__(self, converter: Converter, defaults: DefaultNames, trial: Trial) -> None:
        self._converter = converter
        self._defaults = defaults
        self._trial = trial

    def read(self, node: Node) -> list[tuple[Rule, Node]]:
        """Every rule that is sound, with the table it comes from."""
        if not isinstance(node.value, list):
            self._converter.fault(node, "rules", "expected an array of tables: [[rules]]")
            return []
        found = [(self._rule(table, f"rules[{number}]"), table) for number, table in enumerate(node.value)]
        return [(rule, table) for rule, table in found if rule is not None]

    def _rule(self, node: Node, path: str) -> Rule | None:
        if isinstance(node.value, dict) and "record" in node.value:
            message = "recording rules stand in Prometheus' own files: name one in `rule_files`"
            self._converter.key_fault(node.value["record"], key_path(path, "record"), message)
            return None
        before = len(self._converter.faults)
        rule = self._converter.convert(node, Rule, path)
        self._refuse_references(node, path)
        if isinstance(node.value, dict):
            self._check_severity(node, path)
            self._check_expression(node, path)
        if rule is INVALID:
            return None
        self._converter.judged(node, Rule, path, lambda: self._trial(rule))
        return rule if len(self._converter.faults) == before else None

    def _refuse_references(self, node: Node, path: str) -> None:
        if isinstance(node.value, dict):
            for key, inner in node.value.items():
                self._refuse_references(inner, key_path(path, key))
        elif isinstance(node.value, str) and _REFERENCE.search(node.value):
            self._converter.fault(node, path, "a rule is taken as it is written: no references here")

    def _check_severity(self, node: Node, path: str) -> None:
        labels = node.value.get("labels")
        severity = labels.value.get("severity") if labels and isinstance(labels.value, dict) else None
        if severity is None or not isinstance(severity.value, str) or severity.value in SEVERITIES:
            return
        hint = self._converter.hint(severity.value, SEVERITIES)
        message = f"no such severity{hint}; there are: {', '.join(SEVERITIES)}"
        self._converter.fault(severity, f"{path}.labels.severity", message)

    def _check_expression(self, node: Node, path: str) -> None:
        alert = node.value.get("alert")
        if "expr" in node.value or alert is None or not isinstance(alert.value, str) or alert.value in self._defaults:
            return
        near = self._converter.nearest(alert.value, set(self._defaults))
        message = f"is required: no collector's default and no rule file has this name{asking(near)}"
        self._converter.fault(node, key_path(path, "expr"), message)
