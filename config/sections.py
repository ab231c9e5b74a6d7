"""`[collectors.KIND]` and `[[exporters.KIND]]`: from their tables to named Sections."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, Final

import msgspec
from msgspec import Struct

from config.convert import INVALID, Converter
from config.documents import Node
from config.faults import Place, key_path
from config.merge import is_array_of_tables
from config.options import NAME_PATTERN, AgentOptions, CollectorCommon, ExporterCommon, Section, SpoolOptions
from config.references import has_references
from config.rules import Recording, Rule

OptionsTable = Mapping[str, Callable[[], type[Struct]]]
Part = AgentOptions | SpoolOptions | Section | Rule | Recording
Trial = Callable[[Part], None]  # raises ValueError, as options' own checks do

_NAME: Final = re.compile(NAME_PATTERN)


class SectionReader:
    """Reads all sections of one side; `side` is "collector" or "exporter"."""

    def __init__(
        self,
        side: str,
        common: type[CollectorCommon] | type[ExporterCommon],
        table: OptionsTable,
        converter: Converter,
        trial: Trial,
    ) -> None:
        self._side = side
        self._common = common
        self._table = table
        self._converter = converter
        self._trial = trial
        self._names: dict[str, Place] = {}

    def read(self, node: Node) -> list[tuple[Section, Node]]:
        """Every section that is sound, with the table it comes from."""
        found = []
        for kind, tables in node.value.items():
            path = key_path(f"{self._side}s", kind)
            options = self._options(kind, tables, path)
            for number, table in enumerate(self._instances(tables, path), start=1):
                if options is not None:
                    found.append((self._section(kind, number, table, options), table))
        return [(section, table) for section, table in found if section is not None]

    def _options(self, kind: str, node: Node, path: str) -> type[Struct] | None:
        if kind not in self._table:
            known = ", ".join(sorted(self._table)) or "none"
            hint = self._converter.hint(kind, self._table)
            self._converter.key_fault(node, path, f"no such {self._side}{hint}; there are: {known}")
            return None
        try:
            return self._table[kind]()
        except ImportError as error:
            reason = self._converter.sources.scrubbed(str(error))
            self._converter.key_fault(node, path, f"this {self._side} cannot be loaded: {reason}")
            return None

    def _instances(self, node: Node, path: str) -> list[Node]:
        if isinstance(node.value, dict):
            return [node]
        if is_array_of_tables(node) or node.value == []:
            return list(node.value)
        self._converter.fault(node, path, f"expected a table [{path}], or several: [[{path}]]")
        return []

    def _section(self, kind: str, number: int, node: Node, options: type[Struct]) -> Section | None:
        path = key_path(f"{self._side}s", kind)
        own = set(options.__struct_encode_fields__)
        common = set(self._common.__struct_encode_fields__)
        meant = self._converter.refuse_unknown(node, sorted(own | common | {"name"}), path)
        name = self._name(kind, number, node, path, None if "name" in own else node.value.get("name"))
        shared = self._converter.convert_struct(_part(node, common - own), self._common, path)
        values = self._converter.convert_struct(_part(node, own), options, path, meant=meant)
        if name is None or shared is INVALID or values is INVALID:
            return None
        section = Section(kind=kind, name=name, common=_completed(shared, values, own & common), options=values)
        self._converter.judged(node, options, path, lambda: self._trial(section))
        return section

    def _name(self, kind: str, number: int, node: Node, path: str, written: Node | None) -> str | None:
        """The section's name: what is written, else its kind, with a number from the second on."""
        name = (kind if number == 1 else f"{kind}-{number}") if written is None else written.value
        at = written or node
        if wrong := _name_fault(name):
            self._converter.fault(at, key_path(path, "name"), wrong)
            return None
        if (other := self._names.setdefault(name, at.place)) is not at.place:
            message = f"the {self._side} at {other} has this name already: names must differ"
            self._converter.fault(at, key_path(path, "name"), message)
        return str(name)


def _name_fault(name: Any) -> str:
    if not isinstance(name, str):
        return "expected a name in quotation marks"
    if has_references(name):
        return "a name shows everywhere, so it is written out: no references here"
    return "" if _NAME.fullmatch(name) else "expected 1 to 64 letters, digits, `_`, `.` or `-`"


def _part(node: Node, keys: set[str]) -> Node:
    return Node({key: inner for key, inner in node.value.items() if key in keys}, node.place, node.value_place)


def _completed(shared: Any, options: Struct, keys: set[str]) -> Any:
    """What a plugin declares among the common options counts for both."""
    return msgspec.structs.replace(shared, **{key: getattr(options, key) for key in keys}) if keys else shared
