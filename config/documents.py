"""One TOML file as a tree in which every value knows its place."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Mapping
from typing import Any, Final

import tomli

from config.faults import Fault, Place, dotted
from config.files import Unreadable, read_regular
from config.positions import DEEPEST, Offsets, Path, TooDeep, last_key, scan

LARGEST: Final = 1 << 20  # bytes of one configuration file
PLURAL: Final = ("collectors", "exporters")  # their kinds may be a table or an array of tables, file by file

# What tomli says of a key that cannot stand where it stands, after the key and its value.
_MISPLACED: Final = {
    "Cannot declare": "this table is complete as written and cannot be declared again",
    "Cannot mutate immutable namespace": "an inline table or array is complete as written and cannot be added to",
    "Cannot redefine namespace": "this table is complete as written and cannot be added to by a dotted key",
    "Cannot overwrite a value": "its name, or part of it, is already taken by a value",
    "Duplicate inline table key": "its name, or part of it, is already taken by a value",
}
# tomli's words quote the file, and a slipped quotation mark can bring a password into them.
_PLAIN: Final = {
    "Found invalid character": "a control character; only tabs may stand in a string or a comment",
    "Illegal character": "a string ends on the line it begins, and holds no control characters",
    "Invalid value": "not a value; strings need quotation marks",
    "Expected \"'": "the string does not end",
    "Unterminated string": "the string does not end",
    "Expected '=' after a key": "expected `=` after a key",
    "Expected newline or end of document": "expected the end of the line",
    "Unescaped '\\'": "a backslash in a string is written `\\\\`, or the string goes in single quotes",
}
_NOTHING: Final = re.compile(r"[ \t]*(#|\n|\Z)")
_HUGE_NUMBER: Final = re.compile(r"[0-9][0-9_]{4000,}")


class Node:
    """A value of the tree: a dict or list of Nodes, or a plain TOML value. Its repr keeps the value to itself.

    `place` is that of its key or header; `value_place` that of the value, for a table with a header the same.
    """

    __slots__ = ("place", "value", "value_place")

    def __init__(self, value: Any, place: Place, value_place: Place | None = None) -> None:
        self.value = value
        self.place = place
        self.value_place = value_place or place

    def __repr__(self) -> str:
        return f"Node({self.place})"


class Malformed(Exception):
    """A file that is no TOML, or no YAML; `fault` says where and why."""

    def __init__(self, fault: Fault) -> None:
        super().__init__(str(fault))
        self.fault = fault


def read_document(path: str) -> Node:
    """The tree of a file; raises Malformed."""
    try:
        data = read_regular(path, LARGEST)
    except Unreadable as reason:
        raise Malformed(Fault(path, 0, 0, "", str(reason))) from None
    return parse_document(decoded(data, path), path)


def parse_document(text: str, file: str) -> Node:
    r"""The tree of a TOML text with `\n` line ends; raises Malformed."""
    places = _Places(text, file)
    try:
        offsets = scan(text)
    except TooDeep as deep:
        raise places.malformed(deep.offset, f"nested more than {DEEPEST} levels deep") from None
    return _tree(_parsed(text, places), (), offsets, places)


def decoded(data: bytes, path: str) -> str:
    r"""The text of a file's bytes, with `\n` line ends and no byte order mark; raises Malformed."""
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        before = data[: error.start].decode("utf-8").removeprefix("\ufeff").replace("\r\n", "\n")
        raise _Places(before, path).malformed(len(before), "not UTF-8 from here on: save the file as UTF-8") from None
    return text.removeprefix("\ufeff").replace("\r\n", "\n")


def _parsed(text: str, places: _Places) -> dict[str, Any]:
    try:
        return tomli.loads(text)
    except tomli.TOMLDecodeError as error:
        if message := _found(_MISPLACED, error.msg):
            raise _misplaced(text[: error.pos], message, places) from None
        raise places.malformed(min(error.pos, len(text.rstrip(" \t\n"))), _plain(text, error)) from None
    except ValueError:  # int() refuses more than 4300 digits
        found = _HUGE_NUMBER.search(text)
        raise places.malformed(found.start() if found else 0, "a number with too many digits") from None
    except RecursionError:
        raise places.malformed(0, "nested too deep") from None


def _plain(text: str, error: tomli.TOMLDecodeError) -> str:
    if error.msg.startswith("Invalid value") and _NOTHING.match(text, error.pos):
        return "a value is missing" if text[: error.pos].rstrip().endswith("=") else "the array does not end"
    return _found(_PLAIN, error.msg) or f"{error.msg[:1].lower()}{error.msg[1:]}"


def _found(plain: Mapping[str, str], message: str) -> str:
    return next((words for beginning, words in plain.items() if message.startswith(beginning)), "")


def _misplaced(text: str, message: str, places: _Places) -> Malformed:
    """The fault of the last key of a text: where it was set before, or why it cannot stand there."""
    path, offset = last_key(text)
    before = scan(text)[0].get(path, offset)
    if before < offset:
        message = f"is written already at {places.at(before)}: it can stand only once"
        if (len(path) == 2 and path[0] in PLURAL) or path == ("rules",):
            message += f"; for several, write [[{dotted(map(str, path))}]] at the head of each"
    return places.malformed(offset, message, dotted(part for part in path if isinstance(part, str)))


def _tree(value: Any, path: Path, offsets: tuple[Offsets, Offsets], places: _Places) -> Node:
    keys, values = offsets
    place = places.at(keys.get(path, 0))
    at_value = places.at(values[path]) if path in values else None
    if isinstance(value, dict):
        inside: Any = {key: _tree(inner, (*path, key), offsets, places) for key, inner in value.items()}
    elif isinstance(value, list):
        inside = [_tree(inner, (*path, at), offsets, places) for at, inner in enumerate(value)]
    else:
        inside = value
    return Node(inside, place, at_value)


class _Places:
    """Offsets of a text as places."""

    __slots__ = ("_file", "_starts")

    def __init__(self, text: str, file: str) -> None:
        self._file = file
        self._starts = [0, *(found.end() for found in re.finditer("\n", text))]

    def at(self, offset: int) -> Place:
        line = bisect_right(self._starts, offset)
        return Place(self._file, line, offset - self._starts[line - 1] + 1)

    def malformed(self, offset: int, message: str, path: str = "") -> Malformed:
        return Malformed(Fault.at(self.at(offset), path, message))
