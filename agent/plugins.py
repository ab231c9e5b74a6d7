"""The composition root's view of collectors and exporters: by kind, resolved when first used.

Kinds come from the literal tables in `collectors/__init__.py` and `exporters/__init__.py`, then from the entry-point
groups `nightjar.collectors` and `nightjar.exporters`; a built-in kind is never replaced.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import cached_property
from importlib import import_module
from typing import Any

from msgspec import Struct

import collectors
import exporters
from config.rules import Rule


class Plugins(Mapping[str, Callable[[], type[Struct]]]):
    """The plugins of one group, as a mapping from kind to a function that gives the options' type."""

    def __init__(self, group: str, builtin: Mapping[str, str]) -> None:
        self.group = group
        self.builtin = dict(builtin)

    @cached_property
    def targets(self) -> dict[str, str]:
        """`module:Class` by kind; third-party ones are looked up only when needed."""
        from importlib.metadata import entry_points  # costs 10 ms, and most agents have none

        found = {point.name: point.value for point in entry_points(group=self.group)}
        return {**found, **self.builtin}

    def plugin(self, kind: str) -> Any:
        """The class of a kind; raises KeyError for an unknown kind, ImportError when its extra is not installed."""
        target = self.builtin.get(kind) or self.targets[kind]
        module, _, name = target.partition(":")
        return getattr(import_module(module), name)

    def rules(self, kind: str) -> tuple[Rule, ...]:
        """The rules that a collector brings along; raises as `plugin` does."""
        found: tuple[Rule, ...] = getattr(self.plugin(kind), "rules", ())
        return found

    def __getitem__(self, kind: str) -> Callable[[], type[Struct]]:
        if kind not in self.builtin and kind not in self.targets:
            raise KeyError(kind)
        return lambda: self.plugin(kind).Options

    def __iter__(self) -> Iterator[str]:
        return iter(self.targets)

    def __len__(self) -> int:
        return len(self.targets)


COLLECTORS = Plugins("nightjar.collectors", collectors.BUILTIN)
EXPORTERS = Plugins("nightjar.exporters", exporters.BUILTIN)
