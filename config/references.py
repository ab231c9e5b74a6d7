"""`${env:NAME}`, `${file:PATH}` and `${credential:NAME}` in texts; `$${` stands for a plain `${`."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from typing import Final

from config import environment
from config.files import Unreadable, read_regular

LARGEST: Final = 64 << 10  # bytes of a referenced file: room for a bundle of keys

_REFERENCE: Final = re.compile(r"(\$\$\{)|\$\{(?:(env|file|credential):([^{}\n]{1,1024})\})?")
_VARIABLE: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_FILE: Final = re.compile(r".+")
_CREDENTIAL: Final = re.compile(r"(?!\.{1,2}\Z)[^/\0]{1,255}")

HOW: Final = (
    'expected "${env:NAME}", "${file:PATH}" or "${credential:NAME}"; '
    'where the text itself is meant, "${" is written "$${"'
)


class Unresolved(ValueError):
    """A reference that leads nowhere; the text says what to set."""


class Template:
    """A text with references in it. Nothing of it shows in its repr."""

    __slots__ = ("_base", "_environ", "_parts", "references", "text")

    def __init__(self, text: str, environ: Mapping[str, str], base: str) -> None:
        """`base` is the directory that relative `${file:}` paths start from. Raises Unresolved for bad syntax."""
        self.text = text
        self._environ = environ
        self._base = base
        self._parts = parse_parts(text)
        self.references = tuple(f"${{{kind}:{name}}}" for kind, name in self._parts if kind)

    def __repr__(self) -> str:
        return "Template(***)"

    def resolve(self) -> str:
        """The text with all references replaced; raises Unresolved."""
        return "".join(text for text, _ in self.pieces())

    def pieces(self) -> list[tuple[str, bool]]:
        """The text in pieces, each with whether a reference gave it; raises Unresolved."""
        return [(self._look_up(kind, name) if kind else name, bool(kind)) for kind, name in self._parts]

    def _look_up(self, kind: str, name: str) -> str:
        if kind == "env":
            return self._variable(name)
        if kind == "file":
            return _content(os.path.join(self._base, name), f"${{file:{name}}}")
        return self._credential(name)

    def _variable(self, name: str) -> str:
        if (value := self._environ.get(name)) is None:
            raise Unresolved(
                f"the environment variable {name} is not set: set it for the agent, or remove ${{env:{name}}}"
            )
        return value

    def _credential(self, name: str) -> str:
        directory = environment.credentials_directory(self._environ)
        if directory is None:
            raise Unresolved(
                f"${{credential:{name}}}: $CREDENTIALS_DIRECTORY is not set: add LoadCredential={name}:/path/of/it "
                "to the systemd unit"
            )
        return _content(os.path.join(directory, name), f"${{credential:{name}}}")


def has_references(text: str) -> bool:
    """Whether a text needs a Template at all; true for an escape, too."""
    return "${" in text


def parse_parts(text: str) -> list[tuple[str, str]]:
    """Pairs of a reference's kind and name, or of "" and plain text; raises Unresolved."""
    parts = []
    end = 0
    for found in _REFERENCE.finditer(text):
        escape, kind, name = found.groups()
        if not escape:
            _check(kind, name)
        parts += [("", text[end : found.start()]), ("", "${") if escape else (kind, name)]
        end = found.end()
    return [*parts, ("", text[end:])]


def _check(kind: str | None, name: str | None) -> None:
    """Refuse what is no reference, without quoting it: it may be a password with `${` in it."""
    form = {"env": _VARIABLE, "credential": _CREDENTIAL, "file": _FILE}
    if kind is None or name is None or not form[kind].fullmatch(name) or not name.isprintable():
        raise Unresolved(f"not a reference: {HOW}")


def _content(path: str, reference: str) -> str:
    try:
        text = read_regular(path, LARGEST).decode("utf-8")
    except Unreadable as reason:
        raise Unresolved(f"{reference}: {path} {_fitting(str(reason))}") from None
    except UnicodeDecodeError:
        raise Unresolved(f"{reference}: {path} is not UTF-8") from None
    return text.rstrip("\r\n")


def _fitting(reason: str) -> str:
    return "does not exist" if reason.startswith("there is no") else reason
