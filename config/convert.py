"""From the tree of a file to typed values, collecting every fault on the way.

msgspec.convert ends at the first fault, quotes values, and knows no places; so each field is converted on its own
and the Struct is built from the results. What msgspec's Meta constrains is held here, too (`constraints.py`).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any, Final

import msgspec
from msgspec import NODEFAULT, Struct
from msgspec.structs import FieldInfo

from config.constraints import violations
from config.documents import Node
from config.faults import Fault, asking, key_path, nearest
from config.scalars import INVALID, Sources, convert_scalar
from config.secret import Secret
from config.types import (
    ARRAYS,
    TABLES,
    alternatives,
    container,
    default_of,
    description,
    element,
    entries,
    fields,
    is_anything,
    is_struct,
    stand_in,
    unannotated,
)

__all__ = ["INVALID", "Converter"]

_HINTED: Final = 200  # faults; a nearest word costs 0.1 ms, and a file may hold a hundred thousand wrong keys


class Converter:
    """Converts nodes; what is wrong lands in `faults`.

    Not `whole` is a tree of which a part could not be read: then nothing is said of what is missing from it, nor of
    what its options make together.
    """

    def __init__(self, sources: Sources, *, whole: bool = True) -> None:
        self.sources = sources
        self.faults: list[Fault] = []
        self._quoted: list[int] = []  # those of the faults that are in a plugin's own words
        self._whole = whole

    def told(self) -> list[Fault]:
        """Every fault. Plugins may repeat what they were given: only at the end it is known what of it is secret."""
        for at in self._quoted:
            fault = self.faults[at]
            self.faults[at] = msgspec.structs.replace(fault, message=self.sources.scrubbed(fault.message))
        return self.faults

    def fault(self, node: Node, path: str, message: str) -> None:
        """Report a fault about a node's value, where that stands."""
        self.faults.append(Fault.at(node.value_place, path, message))

    def key_fault(self, node: Node, path: str, message: str) -> None:
        """Report a fault about a node's key, where that stands."""
        self.faults.append(Fault.at(node.place, path, message))

    def nearest(self, word: str, known: Iterable[str]) -> str:
        """The known word that was probably meant, unless so much is wrong already that looking costs more than it
        helps.
        """
        return nearest(word, known) if len(self.faults) < _HINTED else ""

    def hint(self, word: str, known: Iterable[str]) -> str:
        """`; did you mean ...`, or nothing."""
        return asking(self.nearest(word, known))

    def convert(self, node: Node, kind: Any, path: str) -> Any:
        """The value that `node` stands for as a `kind`, or INVALID when it was faulted."""
        kind, metas = unannotated(kind)
        value = self._convert_one_of(node, alternatives(kind), path)
        if value is INVALID:
            return INVALID
        wrong = list(violations(value, metas))
        for message in wrong:
            self.fault(node, path, self.sources.blamed(node, message))
        return INVALID if wrong else value

    def _convert_one_of(self, node: Node, kinds: tuple[Any, ...], path: str) -> Any:
        """The first alternative that fits; when none does, the faults of the only one that has the node's shape."""
        alike = [kind for kind in kinds if _has_shape(node, kind)]
        if len(alike) == 1:
            kind, metas = unannotated(alike[0])
            return self.convert(node, alike[0], path) if metas else self._convert_plain(node, kind, path)
        if alike and (unresolved := self.sources.unresolved(node)):
            self.fault(node, path, unresolved)
            return INVALID
        for kind in alike:
            attempt = Converter(self.sources, whole=self._whole)
            value = attempt.convert(node, kind, path)
            if not attempt.faults:
                return value
        expected = " or ".join(map(description, kinds))
        self.fault(node, path, self.sources.unexpected(node, expected, secret=Secret in kinds))
        return INVALID

    def _convert_plain(self, node: Node, kind: Any, path: str) -> Any:
        if is_struct(kind):
            return self.convert_struct(node, kind, path)
        if isinstance(node.value, list):
            return self._convert_array(node, list if is_anything(kind) else kind, path)
        if isinstance(node.value, dict):
            return self._convert_table(node, dict if is_anything(kind) else kind, path)
        value, faults = convert_scalar(node, kind, self.sources)
        for message in faults:
            self.fault(node, path, message)
        return value

    def _convert_array(self, node: Node, kind: Any, path: str) -> Any:
        inner = element(kind)
        values = [self.convert(one, inner, f"{path}[{index}]") for index, one in enumerate(node.value)]
        if any(value is INVALID for value in values):
            return INVALID
        build = container(kind)
        return build(values) if build in (tuple, set, frozenset) else values

    def _convert_table(self, node: Node, kind: Any, path: str) -> Any:
        key_kind, inner = entries(kind)
        _, metas = unannotated(key_kind)
        values = {}
        valid = True
        for key, one in node.value.items():
            for message in violations(key, metas):
                self.key_fault(one, key_path(path, key), message)
                valid = False
            values[key] = self.convert(one, inner, key_path(path, key))
        return values if valid and INVALID not in values.values() else INVALID

    def convert_struct(
        self,
        node: Node,
        kind: type[Struct],
        path: str,
        preset: Mapping[str, Any] = {},
        meant: Collection[str] = (),
    ) -> Any:
        """A Struct from a table; `preset` gives defaults that depend on where we run, and what is `meant` by an
        option that does not exist is not asked for again.
        """
        before = len(self.faults)
        meant = {*meant, *self.refuse_unknown(node, fields(kind), path)}
        values = dict(preset) | self._fields(node, fields(kind), path, meant)
        built = self._built(node, kind, values, path)
        return INVALID if len(self.faults) > before else built

    def refuse_unknown(self, node: Node, known: Collection[str], path: str) -> set[str]:
        """A fault for every key that is not an option; the options that were probably meant."""
        meant = set()
        for key, one in node.value.items():
            if key not in known:
                meant.add(near := self.nearest(key, known))
                self.key_fault(one, key_path(path, key), f"no such option{asking(near)}")
        return meant

    def _fields(self, node: Node, known: Mapping[str, FieldInfo], path: str, meant: Collection[str]) -> dict[str, Any]:
        values = {}
        for key, field in known.items():
            if key in node.value:
                values[field.name] = self.convert(node.value[key], field.type, key_path(path, key))
            elif default_of(field) is NODEFAULT:
                values[field.name] = INVALID
                if self._whole and key not in meant:
                    self.fault(node, key_path(path, key), f"is required: set it to {description(field.type)}")
        return values

    def _built(self, node: Node, kind: type[Struct], values: Mapping[str, Any], path: str) -> Any:
        """The Struct. Where fields are faulty, others stand in for them, so that its own check can judge the rest."""
        faulty = [key for key, field in fields(kind).items() if values.get(field.name) is INVALID]
        stand_ins = {fields(kind)[key].name: stand_in(fields(kind)[key]) for key in faulty}
        if not self._whole or NODEFAULT in stand_ins.values():
            return INVALID
        built = self.judged(node, kind, path, lambda: kind(**{**values, **stand_ins}), but=faulty)
        return INVALID if faulty else built

    def judged(
        self, node: Node, kind: type[Struct], path: str, check: Callable[[], Any], but: Iterable[str] = ()
    ) -> Any:
        """What a check of a table gives, or INVALID; each of its ValueError's messages is a fault.

        Messages that name an option among `but` are left out: those have their fault already.
        """
        try:
            return check()
        except ValueError as error:
            for message in _messages(error):
                if not any(re.search(rf"\b{re.escape(key)}\b", message) for key in but):
                    self._quoted.append(len(self.faults))
                    self._fault_by_message(node, kind, message, path)
            return INVALID

    def _fault_by_message(self, node: Node, kind: type[Struct], message: str, path: str) -> None:
        """Report `field: what is wrong with it` at the field, `field.key: …` at the key, anything else at the table."""
        name, colon, rest = message.partition(": ")
        field, dot, key = name.partition(".")
        written = node.value.get(field, node)
        inside = written.value.get(key) if dot and isinstance(written.value, dict) else None
        if not colon or field not in kind.__struct_encode_fields__ or (dot and inside is None):
            self.fault(node, path, message)
        elif inside is not None:
            self.key_fault(inside, key_path(key_path(path, field), key), rest)
        else:
            self.fault(written, key_path(path, field), rest)


def _has_shape(node: Node, kind: Any) -> bool:
    """Whether a node and a type are both tables, both arrays, or both scalars of some compatible sort."""
    kind, _ = unannotated(kind)
    if isinstance(node.value, dict):
        return is_struct(kind) or container(kind) in TABLES or is_anything(kind)
    if isinstance(node.value, list):
        return container(kind) in ARRAYS or is_anything(kind)
    return not is_struct(kind) and container(kind) is None


def _messages(error: ValueError) -> list[str]:
    """What a plugin's check says: `ValueError("field: message", "other: message")` says several things at once."""
    if error.args and all(isinstance(message, str) for message in error.args):
        return list(error.args)
    return [str(error) or "cannot be used"]
