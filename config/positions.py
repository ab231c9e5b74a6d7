"""Where each key of a TOML text stands, and each value.

tomli gives values and no positions. This scanner walks the same text and finds the positions, and no values: it
knows brackets, strings, comments, keys and commas. The text need not be valid; where it makes no sense the scan just
ends, because tomli is the one to judge it. For every text that tomli accepts, each path of its result has a position
(property-tested). Not chosen: a parser with positions of its own (tomlkit: 20 times slower, and one more idea of
what TOML is).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import suppress
from typing import Final, NamedTuple

Path = tuple[str | int, ...]
Key = tuple[Path, int]  # a key's path, and the offset of its last part
Offsets = dict[Path, int]

DEEPEST: Final = 64  # levels of nesting; deeper is hostile, and costs the square of its depth to look at

# Loops are unrolled rather than possessive: before 3.11.4 those matched wrongly around groups (Debian 12 has 3.11.2).
_TOKEN: Final = re.compile(
    r"""
    [ \t]* (?: \#[^\n]* )?
    (?: (?P<newline> \n )
    | (?P<string> \"{3} [^"\\]* (?: (?: \\. | "(?!"") ) [^"\\]* )* \"{3,5}
                | '{3} [^']* (?: '(?!'') [^']* )* '{3,5}
                | " [^"\\\n]* (?: \\. [^"\\\n]* )* "
                | ' [^'\n]* ' )
    | (?P<mark> [][{}=,.] )
    | (?P<word> [^ \t\n#"'\[\]{}=,.]+ )
    | (?P<end> \Z )
    | (?P<nonsense> . ) )
    """,
    re.VERBOSE | re.DOTALL,
)


class TooDeep(Exception):
    """Nesting beyond `DEEPEST`; `offset` is where."""

    def __init__(self, offset: int) -> None:
        super().__init__(offset)
        self.offset = offset


class _Token(NamedTuple):
    kind: str
    text: str
    offset: int


class _Nonsense(Exception):
    """No TOML from here on."""


class _Level(NamedTuple):
    """An open array or inline table: its bracket, its path, the key whose value it is, and for an array the position
    of the next element.
    """

    bracket: str
    path: Path
    key: Key
    position: int = 0


def scan(text: str) -> tuple[Offsets, Offsets]:
    r"""Offset of every key, and of every value that follows one, by its path; `text` has `\n` line ends.

    An array's element counts as a key. A table's position is that of the last part of its header, or of the first key
    that implies it. Raises TooDeep.
    """
    scanner = _scanned(text)
    return scanner.positions, scanner.values


def last_key(text: str) -> Key:
    """The key that a text says last, be it a header, or with its value: what a parser that stops there objects to."""
    return _scanned(text).key


def _scanned(text: str) -> _Scanner:
    scanner = _Scanner(text)
    with suppress(_Nonsense):
        scanner.document()
    return scanner


class _Scanner:
    def __init__(self, text: str) -> None:
        self.positions: Offsets = {}
        self.values: Offsets = {}
        self.key: Key = ((), 0)  # the last one that is said whole
        self._tokens = _tokens(text)
        self._token = _END
        self._table: Path = ()
        self._lengths: dict[Path, int] = {}  # arrays of tables, and how many elements they have so far
        self._next()

    def _next(self) -> _Token:
        """Step over the present token."""
        passed, self._token = self._token, next(self._tokens, _END)
        return passed

    def _is(self, text: str) -> bool:
        return self._token.kind == "mark" and self._token.text == text

    def _skip_newlines(self) -> None:
        while self._token.kind == "newline":
            self._next()

    def _take(self, text: str) -> None:
        if not self._is(text):
            raise _Nonsense
        self._next()

    def document(self) -> None:
        while self._token.kind != "end":
            self._skip_newlines()
            if self._is("["):
                self._header()
            elif self._token.kind != "end":
                self._pair(self._table, self._parts())
            if self._token.kind not in ("newline", "end"):
                raise _Nonsense

    def _header(self) -> None:
        self._next()
        double = self._is("[")
        if double:
            self._next()
        parts = self._parts()
        self.key = self._table_key(parts), parts[-1].offset
        self._take("]")
        if double:
            self._take("]")
            self._table = self._appended(parts)
        else:
            self._table = self._resolved((), parts)
            self.positions[self._table_key(parts)] = parts[-1].offset

    def _table_key(self, parts: list[_Token]) -> Path:
        return (*self._resolved((), parts[:-1]), parts[-1].text)

    def _appended(self, parts: list[_Token]) -> Path:
        """A new element of the array of tables that the header names."""
        array = self._table_key(parts)
        index = self._lengths.get(array, 0)
        self._lengths[array] = index + 1
        self._note(array, parts[-1].offset)
        self._note((*array, index), parts[-1].offset)
        return (*array, index)

    def _resolved(self, path: Path, parts: list[_Token]) -> Path:
        """The path that dotted parts lead to: through an array of tables, to its last element."""
        for part in parts:
            path = (*path, part.text)
            self._note(path, part.offset)
            if (length := self._lengths.get(path)) is not None:
                path = (*path, length - 1)
        return path

    def _note(self, path: Path, offset: int) -> None:
        if len(path) > DEEPEST:
            raise TooDeep(offset)
        self.positions.setdefault(path, offset)

    def _parts(self) -> list[_Token]:
        """The parts of a key, up to whatever follows it."""
        parts: list[_Token] = []
        while True:
            if self._token.kind not in ("word", "string"):
                raise _Nonsense
            parts.append(_unquoted(self._next()))
            if len(parts) > DEEPEST:
                raise TooDeep(parts[-1].offset)
            if not self._is("."):
                return parts
            self._next()

    def _pair(self, table: Path, parts: list[_Token]) -> None:
        """`key = value`, with all that is nested in the value, without recursion."""
        levels = self._opened([], table, parts)
        while levels:
            self._skip_newlines()
            level = levels[-1]
            if self._is("]" if level.bracket == "[" else "}"):
                self._next()
                self.key = levels.pop().key
                self._end_of_element(levels)
            elif level.bracket == "[":
                self._note((*level.path, level.position), self._token.offset)
                self._value(levels, (*level.path, level.position))
            else:
                levels = self._opened(levels, level.path, self._parts())

    def _opened(self, levels: list[_Level], table: Path, parts: list[_Token]) -> list[_Level]:
        """After a key: note it, then take the value or step into it."""
        path = (*self._resolved(table, parts[:-1]), parts[-1].text)
        self._note(path, parts[-1].offset)
        self.key = path, parts[-1].offset
        self._take("=")
        self.values.setdefault(path, self._token.offset)
        self._value(levels, path)
        return levels

    def _value(self, levels: list[_Level], path: Path) -> None:
        if self._is("[") or self._is("{"):
            levels.append(_Level(self._next().text, path, self.key))
            return
        if self._token.kind not in ("word", "string"):
            raise _Nonsense
        while self._token.kind in ("word", "string") or self._is("."):
            self._next()
        self._end_of_element(levels)

    def _end_of_element(self, levels: list[_Level]) -> None:
        """After a value: a comma leads to the next element of the level it stands in."""
        if not levels:
            return
        self._skip_newlines()
        if self._is(","):
            self._next()
            level = levels.pop()
            levels.append(level._replace(position=level.position + 1))
        elif not (self._is("]") or self._is("}")):
            raise _Nonsense


_END: Final = _Token("end", "", 0)


def _tokens(text: str) -> Iterator[_Token]:
    """All but blanks and comments."""
    for found in _TOKEN.finditer(text):  # each position matches something, so nothing is passed over
        kind = found.lastgroup or ""
        yield _Token(kind, found[kind], found.start(kind))


def _unquoted(token: _Token) -> _Token:
    """A key's part as it counts; tomli itself reads the escapes."""
    text = token.text
    if token.kind == "word":
        return token
    if text.startswith(('"""', "'''")):
        raise _Nonsense
    if "\\" not in text:
        return token._replace(text=text[1:-1])
    import tomli

    try:
        return token._replace(text=tomli.loads(f"key = {text}")["key"])
    except tomli.TOMLDecodeError:
        raise _Nonsense from None
