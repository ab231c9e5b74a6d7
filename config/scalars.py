"""From a single TOML value, with its references resolved, to a number, a text, a choice, a Secret."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Iterable, Mapping
from typing import Any, Final

from config.documents import Node
from config.faults import did_you_mean
from config.references import Template, Unresolved, has_references
from config.secret import MASK, Referenced, Secret
from config.types import choices, description, is_anything, is_enum, is_written, toml_text
from config.urls import secrets_of

INVALID: Final = object()

_NUMBERS: Final = {
    bool: ({"true": True, "false": False}).__getitem__,
    int: lambda text: int(text) if len(text) < 25 else _refuse(),
    float: lambda text: float(text) if len(text) < 64 else _refuse(),
}
_SORTS: Final = {
    bool: "true or false",
    int: "a number",
    float: "a number",
    str: "a string",
    dict: "a table",
    list: "an array",
}
_SHOWN: Final = re.compile(r"[0-9.+-][0-9A-Za-z.%+ -]{0,15}")
_PIECE: Final = re.compile(r"[\w-]{8,}")


def _refuse() -> Any:
    raise ValueError


class Sources:
    """Where references lead, and every value found there, so that no message repeats it."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self.environ = environ
        self._seen: set[str] = set()

    def template(self, node: Node) -> Template | None:
        """The template of a text with references; raises Unresolved when it is malformed."""
        if not isinstance(node.value, str) or not has_references(node.value):
            return None
        return Template(node.value, self.environ, os.path.dirname(node.place.file))

    def unresolved(self, node: Node) -> str:
        """Why the references of a value lead nowhere, or ""."""
        try:
            template = self.template(node)
            if template is not None:
                template.resolve()
        except Unresolved as reason:
            return str(reason)
        return ""

    def remember(self, value: str) -> None:
        """Keep a value out of every message from here on."""
        if value:
            self._seen.update({value, repr(value)[1:-1], value.lower(), *_PIECE.findall(value)})

    def note(self, value: Any, pieces: Iterable[tuple[str, bool]]) -> None:
        """Remember what of an option's value is secret: all where a part came by reference, and secrets of URLs."""
        for text, referenced in pieces:
            if referenced:
                self.remember(text)
                self.remember(value)
        if isinstance(value, str):
            for secret in secrets_of(value):
                self.remember(secret)

    def scrubbed(self, message: str) -> str:
        """A plugin's message, in one line, without the values that came from references and secrets."""
        for value in sorted(self._seen, key=len, reverse=True):
            if len(value) >= 4:
                message = message.replace(value, MASK)
            else:
                message = re.sub(rf"(?<!\w){re.escape(value)}(?!\w)", MASK, message)
        return " ".join(message.split())

    def blamed(self, node: Node, message: str) -> str:
        """A message about a value: when it came from a reference, it names that."""
        names = _reference_names(node)
        return f"the value of {names}: {message}" if names else message

    def unexpected(self, node: Node, expected: str, *, secret: bool = False) -> str:
        """`expected this, got that`, where that is shown only if it cannot be a secret."""
        if names := _reference_names(node):
            return f"the value of {names} is not {expected}"
        got = _sort(node.value) if secret else _shown(node.value)
        another = got == "a string" and ('"' in expected or "string" in expected)
        return f"expected {expected}, got {'another string' if another else got}"


def convert_scalar(node: Node, kind: Any, sources: Sources) -> tuple[Any, list[str]]:
    """The value, or INVALID and what is wrong with it."""
    try:
        template = sources.template(node)
        pieces = [] if template is None else template.pieces()
    except Unresolved as reason:
        return INVALID, [str(reason)]
    text = None if template is None else "".join(piece for piece, _ in pieces)
    sources.note(node.value if text is None else text, pieces)
    if kind is Secret:
        return _secret(node, template, text, sources)
    value = node.value if text is None else text
    converted = _converted(value, kind, lax=text is not None)
    if converted is INVALID:
        return INVALID, [_refusal(node, kind, sources)]
    if isinstance(converted, str) and not is_enum(kind) and template is not None and template.references:
        return Referenced(converted, template.text, _spans(pieces) if converted == text else None), []
    return converted, []


def _spans(pieces: Iterable[tuple[str, bool]]) -> tuple[tuple[int, int], ...]:
    """Where in their whole the pieces lie that references gave."""
    spans, at = [], 0
    for text, referenced in pieces:
        if referenced:
            spans.append((at, at + len(text)))
        at += len(text)
    return tuple(spans)


def _secret(node: Node, template: Template | None, text: str | None, sources: Sources) -> tuple[Any, list[str]]:
    value = node.value if text is None else text
    if not isinstance(value, str):
        return INVALID, [sources.unexpected(node, "a string in quotation marks", secret=True)]
    sources.remember(value)
    if template is None or not template.references:
        return Secret(value), []
    if not value:
        return INVALID, [f"the value of {_reference_names(node)} is empty"]
    return Secret(value, template.resolve), []


def _converted(value: Any, kind: Any, *, lax: bool) -> Any:
    """`lax` reads numbers from text, for references."""
    if (values := choices(kind)) is not None:
        return _chosen(value, kind, values)
    if is_written(kind):
        return _from_text(kind, value)
    if lax and kind in _NUMBERS:
        value = _from_text(_NUMBERS[kind], value)
    if kind is float and type(value) is int and abs(value) < 1 << 63:
        value = float(value)
    if is_anything(kind):
        return value
    return value if type(value) is kind and _is_sane(value) else INVALID


def _is_sane(value: Any) -> bool:
    """TOML's own bounds: 64 bits; and no option means infinity."""
    if type(value) is int:
        return -(1 << 63) <= value < 1 << 63
    return not isinstance(value, float) or math.isfinite(value)


def _chosen(value: Any, kind: Any, values: tuple[Any, ...]) -> Any:
    for one in values:
        if type(one) is type(value) and one == value:
            return kind(one) if is_enum(kind) else one
    return INVALID


def _from_text(build: Any, value: Any) -> Any:
    if not isinstance(value, str):
        return INVALID
    try:
        return build(value)
    except (ValueError, KeyError):
        return INVALID


def _refusal(node: Node, kind: Any, sources: Sources) -> str:
    """What is wrong with a value; of many choices only the one that was probably meant."""
    names = [one for one in choices(kind) or () if isinstance(one, str)]
    if isinstance(node.value, str) and not has_references(node.value) and (meant := did_you_mean(node.value, names)):
        return f"no such choice{meant}"
    return sources.unexpected(node, description(kind))


def _reference_names(node: Node) -> str:
    if not isinstance(node.value, str) or not has_references(node.value):
        return ""
    try:
        return " and ".join(Template(node.value, {}, "").references)
    except Unresolved:
        return ""


def _shown(value: Any) -> str:
    """A value as far as it is a mere number, else its sort."""
    if isinstance(value, (bool, float)) or (isinstance(value, int) and abs(value) < 1 << 63):
        return toml_text(value)
    if isinstance(value, str) and _SHOWN.fullmatch(value):
        return toml_text(value)
    return _sort(value)


def _sort(value: Any) -> str:
    for kind, name in _SORTS.items():
        if isinstance(value, kind):
            return name
    return "a date or time"
