"""One YAML text as a tree in which every value knows its place.

Built from the parser's events, one after the other, not by PyYAML's composer: so depth, the number of values and what
aliases repeat are bounded before anything grows, and nothing recurses. Scalars stay texts as they are written, as Go's
parser gives them to who wants a string (`severity: 1`, `on: yes`); what is null is as good as not written.
"""

from __future__ import annotations

import re
from typing import Any, Final

import yaml

from config.documents import Malformed, Node
from config.faults import Fault, Place
from config.positions import DEEPEST

MOST: Final = 100_000  # values of one text, those that aliases repeat counted each time

_LOADER: Final = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_NULLS: Final = ("", "~", "null", "Null", "NULL")
_TAGS: Final = (None, "!", *(f"tag:yaml.org,2002:{name}" for name in ("str", "int", "float", "bool", "map", "seq")))
_UNPRINTABLE: Final = re.compile("[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")  # YAML 1.1, 5.1
_DIRECTIVE: Final = re.compile("^%", re.MULTILINE)
_SURROGATE: Final = re.compile("[\ud800-\udfff]")


def parse_yaml(text: str, file: str) -> Node:
    r"""The tree of a YAML text with `\n` line ends, an empty table for an empty one; raises Malformed."""
    _refuse_hostile(text, file)
    builder = _Builder(file)
    try:
        for event in yaml.parse(text, Loader=_LOADER):
            builder.take(event)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        raise _malformed(_place(file, mark) if mark else Place(file), f"not YAML: {_plain(error)}") from None
    except (yaml.YAMLError, ValueError):  # an escape that stands for no character
        raise _malformed(Place(file), "not YAML: a character that cannot stand there") from None
    return builder.root


def _refuse_hostile(text: str, file: str) -> None:
    """What the parser would refuse without a place, or takes the square of its length to read."""
    if found := _UNPRINTABLE.search(text):
        line = text.count("\n", 0, found.start()) + 1
        column = found.start() - text.rfind("\n", 0, found.start())
        raise _malformed(Place(file, line, column), "a control character")
    if sum(1 for _ in _DIRECTIVE.finditer(text)) > 8:
        raise _malformed(Place(file), "more than 8 lines that begin with `%`")


class _Open:
    """A mapping or sequence whose end is still to come; `key` is that of a value to come, with its place."""

    __slots__ = ("anchor", "before", "key", "keys", "place", "value")

    def __init__(self, value: Any, place: Place, anchor: str | None, before: int) -> None:
        self.value = value
        self.place = place
        self.anchor = anchor
        self.before = before
        self.key: tuple[str, Place] | None = None
        self.keys: dict[str, Place] = {}


class _Builder:
    """The tree of the events so far."""

    def __init__(self, file: str) -> None:
        self.root = Node({}, Place(file, 1, 1))
        self._file = file
        self._open: list[_Open] = []
        self._anchors: dict[str, tuple[Any, int]] = {}  # values, and how many others each holds
        self._count = 0
        self._documents = 0

    def take(self, event: Any) -> None:
        """The next event; raises Malformed."""
        place = _place(self._file, event.start_mark)
        if isinstance(event, yaml.ScalarEvent):
            self._scalar(event, place)
        elif isinstance(event, yaml.CollectionStartEvent):
            self._begin(event, place)
        elif isinstance(event, yaml.CollectionEndEvent):
            self._end()
        elif isinstance(event, yaml.AliasEvent):
            self._alias(event, place)
        elif isinstance(event, yaml.DocumentStartEvent):
            self._documents += 1
            if self._documents > 1:
                raise _malformed(place, "a second document begins here: a file holds one")

    def _scalar(self, event: Any, place: Place) -> None:
        self._refuse_tag(event, place)
        if _SURROGATE.search(event.value):
            raise _malformed(place, "half of a surrogate pair is no character")
        plain = event.implicit[0]
        top = self._open[-1] if self._open else None
        if top is not None and isinstance(top.value, dict) and top.key is None:
            self._key(top, event.value, place, plain)
            return
        value = None if plain and event.value in _NULLS else event.value
        if event.anchor is not None:
            self._anchors[event.anchor] = value, 1
        self._add(value, place, 1)

    def _key(self, top: _Open, key: str, place: Place, plain: bool) -> None:
        if plain and key == "<<":
            raise _malformed(place, "merge keys (`<<`) are not read: write out what they stand for")
        if (other := top.keys.setdefault(key, place)) is not place:
            raise _malformed(place, f"this key is written already at {other}: it can stand only once")
        top.key = key, place

    def _begin(self, event: Any, place: Place) -> None:
        self._refuse_tag(event, place)
        self._refuse_as_key(place)
        if len(self._open) >= DEEPEST:
            raise _malformed(place, f"nested more than {DEEPEST} levels deep")
        value: Any = {} if isinstance(event, yaml.MappingStartEvent) else []
        self._open.append(_Open(value, place, event.anchor, self._count))

    def _end(self) -> None:
        ended = self._open.pop()
        if ended.anchor is not None:
            self._anchors[ended.anchor] = ended.value, self._count - ended.before + 1
        self._add(ended.value, ended.place, 1)

    def _alias(self, event: Any, place: Place) -> None:
        self._refuse_as_key(place)
        if event.anchor not in self._anchors:
            raise _malformed(place, "no such anchor before this alias")
        self._add(self._anchors[event.anchor][0], place, self._anchors[event.anchor][1])

    def _add(self, value: Any, place: Place, size: int) -> None:
        """A value where it belongs; null is left out."""
        self._count += size
        if self._count > MOST:
            raise _malformed(place, f"more than {MOST} values, those that aliases repeat counted")
        if not self._open:
            self.root = Node({} if value is None else value, place)
            return
        top = self._open[-1]
        if isinstance(top.value, list):
            top.value += [] if value is None else [Node(value, place)]
        elif top.key is not None:
            if value is not None:
                top.value[top.key[0]] = Node(value, top.key[1], place)
            top.key = None

    def _refuse_as_key(self, place: Place) -> None:
        if self._open and isinstance(self._open[-1].value, dict) and self._open[-1].key is None:
            raise _malformed(place, "a key is a text")

    def _refuse_tag(self, event: Any, place: Place) -> None:
        if event.tag not in _TAGS:
            raise _malformed(place, "tags (`!…`) are not read")


def _place(file: str, mark: Any) -> Place:
    return Place(file, mark.line + 1, mark.column + 1)


def _plain(error: yaml.MarkedYAMLError) -> str:
    problem = " ".join(str(error.problem or error.context or "cannot be read").split())
    return problem[:200] if problem.isprintable() else ascii(problem[:200])


def _malformed(place: Place, message: str) -> Malformed:
    return Malformed(Fault.at(place, "", message))
