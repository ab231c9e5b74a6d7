"""The syntax of Go's text/template, as Prometheus' rules use it: from text to a tree of nodes.

The whole grammar is read, so that a fault is found where Prometheus finds it. What cannot be rendered without a
Prometheus beside us (`query`, `range` over its answers, links to its pages) is marked and not refused: a rule file
written for Prometheus has to load.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator, Mapping
from math import isinf
from typing import Any, Final, NamedTuple

from agent.templates.gotext import unquote

DEEPEST: Final = 100  # nested blocks and parentheses
TRIMMED: Final = " \t\r\n"
SPACE: Final = re.compile(r"[ \t\r\n]*")
OPEN: Final = re.compile(r"\{\{(-[ \t\r\n])?")
CLOSE: Final = re.compile(r"[ \t\r\n]*(?:(?<=[ \t\r\n])(-))?\}\}")
COMMENT: Final = re.compile(r"/\*(?:(?!\*/).)*\*/(?:[ \t\r\n](-))?\}\}", re.DOTALL)
END_OF_WORD: Final = r"(?=[\s.,|:)(]|\}\}|$)"
TOKEN: Final = re.compile(
    rf"""(?P<string>"(?:[^"\\\n]|\\[^\n])*"|`[^`]*`)
    |(?P<char>'(?:[^'\\\n]|\\[^\n])+')
    |(?P<number>[+-]?(?:0[xX][0-9a-fA-F_]+|(?:\d[\d_]*(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?)(?!\w))
    |(?P<variable>\$\w*){END_OF_WORD}
    |(?P<field>\.[^\W\d]\w*){END_OF_WORD}
    |(?P<dot>\.)(?!\w)
    |(?P<word>[^\W\d]\w*){END_OF_WORD}
    |(?P<mark>:=|[=|(),])""",
    re.VERBOSE,
)
CONSTANTS: Final[Mapping[str, Any]] = {"true": True, "false": False}
UNSUPPORTED_BLOCKS: Final = frozenset(("range", "define", "block"))
KEYWORDS: Final = UNSUPPORTED_BLOCKS | {"if", "with", "else", "end", "template", "break", "continue"}


class Token(NamedTuple):
    """A word of an action; `spaced` where white space stands before it."""

    kind: str
    text: str
    spaced: bool


class Term(NamedTuple):
    """A value: `kind` is literal, nil, dot, variable, call or pipe; `fields` are read from it, one after the other."""

    kind: str
    value: Any
    fields: tuple[str, ...] = ()


class Pipe(NamedTuple):
    """Commands, each fed with what the one before it made; `targets` are the variables that take the end of it."""

    commands: tuple[tuple[Term, ...], ...]
    targets: tuple[str, ...] = ()
    declares: bool = False


class Branch(NamedTuple):
    """`if`, and `with`, which moves the dot."""

    moves_dot: bool
    pipe: Pipe
    body: tuple[Any, ...]
    otherwise: tuple[Any, ...]


Node = str | Pipe | Branch  # text, an action, a block


def split(text: str) -> Iterator[str | list[Token]]:
    """Text and actions in turn, white space trimmed where the marks say so. Raises ValueError with the fault."""
    at, trim = 0, False
    while (opened := OPEN.search(text, at)) is not None:
        yield _trimmed(text[at : opened.start()], trim, opened.group(1) is not None)
        if (comment := COMMENT.match(text, opened.end())) is not None:
            at, trim = comment.end(), comment.group(1) is not None
            continue
        tokens, closed = _read_action(text, opened.end())
        yield tokens
        at, trim = closed.end(), closed.group(1) is not None
    yield _trimmed(text[at:], trim, False)


def _trimmed(text: str, left: bool, right: bool) -> str:
    text = text.lstrip(TRIMMED) if left else text
    return text.rstrip(TRIMMED) if right else text


def _read_action(text: str, at: int) -> tuple[list[Token], re.Match[str]]:
    tokens: list[Token] = []
    while (closed := CLOSE.match(text, at)) is None:
        start = at
        at = SPACE.match(text, at).end()  # type: ignore[union-attr]  # it matches nothing, too
        if at == len(text):
            raise ValueError("unclosed action: }} is missing")
        if (found := TOKEN.match(text, at)) is None:
            raise ValueError(f"cannot read {text[at : at + 20]!r} in an action")
        tokens.append(Token(found.lastgroup or "", found.group(), at > start))
        at = found.end()
    return tokens, closed


class Parser:
    """One text's way to a tree. `functions` are those that can be called, `unsupported` says why others cannot."""

    def __init__(
        self, text: str, variables: Collection[str], functions: Collection[str], unsupported: Mapping[str, str]
    ) -> None:
        self._pieces = split(text)
        self._variables = list(variables)
        self._functions, self._reasons = functions, unsupported
        self._tokens: list[Token] = []
        self._at = self._depth = 0
        self.unsupported = ""  # the first reason met

    def parse(self) -> tuple[Node, ...]:
        """The tree. Raises ValueError with the fault."""
        nodes, ending = self._list()
        if ending:
            raise ValueError(f"unexpected {{{{{ending}}}}}")
        return nodes

    def _list(self) -> tuple[tuple[Node, ...], str]:
        """The nodes up to `end`, `else` or the end of the text, and which of these it was."""
        nodes: list[Node] = []
        for piece in self._pieces:
            if isinstance(piece, str):
                nodes += [piece] if piece else []
                continue
            self._tokens, self._at = piece, 0
            word = self._peek("word")
            if word in ("end", "else"):
                self._at += 1
                return tuple(nodes), word
            nodes += self._action(word)
        return tuple(nodes), ""

    def _action(self, word: str) -> list[Node]:
        if word not in KEYWORDS:
            return [self._whole_pipe("command")]
        self._at += 1
        if word in ("if", "with"):
            return [self._scoped(self._branch, word)]
        self._refuse(f"{{{{{word}}}}} is not rendered here")
        if word in UNSUPPORTED_BLOCKS:
            self._scoped(self._skipped_block, word)
        return []

    def _scoped(self, read: Callable[[str], Node], word: str) -> Node:
        """Variables declared in a block end with it."""
        known = len(self._variables)
        self._deeper(1)
        node = read(word)
        self._deeper(-1)
        del self._variables[known:]
        return node

    def _deeper(self, by: int) -> None:
        self._depth += by
        if self._depth > DEEPEST:
            raise ValueError(f"nested more than {DEEPEST} deep")

    def _branch(self, word: str) -> Node:
        pipe = self._whole_pipe(word)
        body, ending = self._list()
        otherwise: tuple[Node, ...] = ()
        if ending == "else":
            if self._peek("word") == word:
                self._at += 1
                return Branch(word == "with", pipe, body, (self._scoped(self._branch, word),))
            self._finish("else")
            otherwise, ending = self._list()
        self._expect_end(word, ending)
        return Branch(word == "with", pipe, body, otherwise)

    def _expect_end(self, word: str, ending: str) -> None:
        if ending != "end":
            raise ValueError(f"{{{{{word}}}}} has no {{{{end}}}}")
        self._finish("end")

    def _skipped_block(self, word: str) -> Node:
        """Read a block that is not rendered."""
        if word == "range":
            self._range_variables()
            self._whole_pipe(word)
        _, ending = self._list()
        if ending == "else" and word == "range":
            _, ending = self._list()
        self._expect_end(word, ending)
        return ""

    def _range_variables(self) -> None:
        """`$index, $element :=` before what is gone through."""
        marks = [token.text for token in self._tokens]
        if ":=" not in marks:
            return
        self._at = marks.index(":=") + 1
        self._variables += [name for name in marks[: self._at] if name.startswith("$")]

    def _refuse(self, reason: str) -> None:
        self.unsupported = self.unsupported or reason

    def _peek(self, *kinds: str) -> str:
        """The next token's text where it is of one of these kinds."""
        token = self._tokens[self._at] if self._at < len(self._tokens) else None
        return token.text if token is not None and token.kind in kinds else ""

    def _finish(self, what: str) -> None:
        if self._at < len(self._tokens):
            raise ValueError(f"unexpected {self._tokens[self._at].text!r} in {what}")

    def _whole_pipe(self, what: str) -> Pipe:
        pipe = self._pipe(what)
        self._finish(what)
        return pipe

    def _pipe(self, what: str) -> Pipe:
        """`$x := command | command`. Stops at the end of the action and at a closing parenthesis."""
        name, mark = self._target()
        commands = [self._command(what)]
        while self._peek("mark") == "|":
            self._at += 1
            if self._at == len(self._tokens):
                break  # Go lets a pipe end in nothing
            commands.append(self._command(what))
            if commands[-1][0].kind in ("literal", "nil", "dot") and not commands[-1][0].fields:
                raise ValueError(f"{what}: a value cannot take what a pipe brings")
        self._variables += [name] if mark == ":=" else []
        return Pipe(tuple(commands), (name,) if mark else (), mark == ":=")

    def _target(self) -> tuple[str, str]:
        """The variable that the pipe's end goes to, if any, and the mark after it."""
        name, at = self._peek("variable"), self._at
        self._at += 1
        mark = self._peek("mark") if name else ""
        if mark not in (":=", "="):
            self._at = at
            return "", ""
        self._at += 1
        return name, mark

    def _command(self, what: str) -> tuple[Term, ...]:
        terms: list[Term] = []
        while self._at < len(self._tokens) and self._peek("mark") not in ("|", ")"):
            if terms and not self._tokens[self._at].spaced:
                raise ValueError(f"unexpected {self._tokens[self._at].text!r} in {what}")
            terms.append(self._term(what))
        if not terms:
            raise ValueError(f"missing value for {what}")
        return tuple(terms)

    def _term(self, what: str) -> Term:
        token = self._tokens[self._at]
        self._at += 1
        base = self._base(token, what)
        fields = [token.text[1:]] if token.kind == "field" else []
        while self._peek("field") and not self._tokens[self._at].spaced:
            fields.append(self._tokens[self._at].text[1:])
            self._at += 1
        if fields and (base.kind in ("literal", "nil") or token.kind == "dot"):
            raise ValueError(f"unexpected .{fields[0]} after {token.text}")
        return base._replace(fields=tuple(fields))

    def _base(self, token: Token, what: str) -> Term:
        match token.kind:
            case "dot" | "field":
                return Term("dot", None)
            case "variable":
                return self._variable(token.text)
            case "word":
                return self._word(token.text)
            case "mark" if token.text == "(":
                return self._parenthesis()
            case "mark":
                raise ValueError(f"unexpected {token.text!r} in {what}")
        return Term("literal", read_literal(token))

    def _variable(self, name: str) -> Term:
        if name not in self._variables:
            raise ValueError(f"undefined variable {name}")
        return Term("variable", name)

    def _word(self, word: str) -> Term:
        if word in CONSTANTS:
            return Term("literal", CONSTANTS[word])
        if word == "nil":
            return Term("nil", None)
        if word in self._reasons:
            self._refuse(self._reasons[word])
        elif word not in self._functions:
            raise ValueError(f"no function {word}")
        return Term("call", word)

    def _parenthesis(self) -> Term:
        self._deeper(1)
        pipe = self._pipe("parenthesis")
        self._deeper(-1)
        if self._peek("mark") != ")":
            raise ValueError("unclosed parenthesis")
        self._at += 1
        return Term("pipe", pipe)


def read_literal(token: Token) -> str | int | float:
    """The value of a string, a number or a character. Raises ValueError where Go has none."""
    if token.kind == "string":
        return unquote(token.text)
    if token.kind == "char":
        if len(character := unquote(f'"{token.text[1:-1]}"')) != 1:
            raise ValueError(f"malformed character {token.text}")
        return ord(character)
    return _number(token.text.replace("_", ""))


def _number(digits: str) -> int | float:
    if "x" not in digits.lower() and any(mark in digits for mark in ".eE"):
        if isinf(real := float(digits)):
            raise ValueError(f"{digits[:40]} is out of range")
        return real
    octal = digits.lstrip("+-").startswith("0") and digits.lstrip("+-").isdigit()
    whole = int(digits, 16 if "x" in digits.lower() else 8 if octal else 10)
    if not -(2**63) <= whole < 2**63:
        raise ValueError(f"{digits[:40]} is out of range")
    return whole
