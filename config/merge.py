"""Several files as one tree: tables merge, arrays of tables and `rule_files` append, and a value has one place only."""

from __future__ import annotations

from config.documents import PLURAL, Node
from config.faults import Fault, dotted


def merge(into: Node, other: Node) -> list[Fault]:
    """Add the tree of a later file to an earlier one; both are tables."""
    return _merge_tables(into, other, ())


def is_array_of_tables(node: Node) -> bool:
    """Whether a value is `[[...]]`, or the inline form of the same."""
    return isinstance(node.value, list) and bool(node.value) and all(isinstance(e.value, dict) for e in node.value)


def _merge_tables(into: Node, other: Node, path: tuple[str, ...]) -> list[Fault]:
    faults = []
    for key, node in other.value.items():
        if key in into.value:
            faults += _merge_values(into.value[key], node, (*path, key))
        else:
            into.value[key] = node
    return faults


def _merge_values(into: Node, other: Node, path: tuple[str, ...]) -> list[Fault]:
    if isinstance(into.value, dict) and isinstance(other.value, dict):
        return _merge_tables(into, other, path)
    if _append(into, other, path):
        into.value += other.value
        return []
    if len(path) == 2 and path[0] in PLURAL and _instances(into) and _instances(other):
        into.value = _instances(into) + _instances(other)
        return []
    if same(into, other):
        return []
    return [Fault.at(other.place, dotted(path), f"is set already at {into.place}, to something else: keep one of them")]


def _append(into: Node, other: Node, path: tuple[str, ...]) -> bool:
    if path in (("rules",), ("rule_files",)):
        return isinstance(into.value, list) and isinstance(other.value, list)
    return is_array_of_tables(into) and is_array_of_tables(other)


def _instances(node: Node) -> list[Node]:
    if isinstance(node.value, dict):
        return [Node(node.value, node.place)]
    return list(node.value) if is_array_of_tables(node) else []


def same(one: Node, other: Node) -> bool:
    """Whether two values are the same; 1, 1.0 and true are three."""
    if type(one.value) is not type(other.value):
        return False
    if isinstance(one.value, list):
        return len(one.value) == len(other.value) and all(map(same, one.value, other.value))
    if isinstance(one.value, dict):
        return one.value.keys() == other.value.keys() and all(same(one.value[k], other.value[k]) for k in one.value)
    return bool(one.value == other.value)
