"""Flags of a command from a plugin's Options: what a section of the configuration takes, a command line takes too.

`ca_file` is `--ca-file FILE`; booleans come as `--tls/--no-tls`; arrays are repeated; tables are repeated as KEY=VALUE;
tables with a shape of their own are JSON. Conversion, references and the words of faults are the configuration's.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

import click
import msgspec
from msgspec import NODEFAULT, Struct

from config import Place, Secret, environment
from config.convert import Converter
from config.documents import Node
from config.scalars import Sources
from config.types import (
    ARRAYS,
    TABLES,
    alternatives,
    choices,
    container,
    default_of,
    description,
    element,
    entries,
    fields,
    is_struct,
    unannotated,
)

PREFIX: Final = "option_"  # of the parameters' names, so that no option meets one of the command's own
LONGEST: Final = 100  # characters of what help says an option may be; `nightjar plugins KIND` has all
_WHOLE: Final = re.compile(r"-?[0-9]{1,24}")
_NUMBER: Final = re.compile(r"-?[0-9]{1,24}(?:\.[0-9]{1,24})?")
_NOWHERE: Final = Place()


class Shape(Struct, frozen=True):
    """How a type is written on a command line: `form` is how one value is, `kinds` what it may be; `repeated`, many."""

    form: str  # "text", "pair" (of flags), "table" or "json"
    kinds: tuple[Any, ...] = ()
    repeated: bool = False


def flags_of(options: type[Struct]) -> list[click.Option]:
    """The flags of all options, in their order."""
    return [_flag(key, field.type, default_of(field)) for key, field in fields(options).items()]


def flag(key: str) -> str:
    """An option's flag."""
    return f"--{key.replace('_', '-')}"


def given(values: Mapping[str, Any]) -> dict[str, Any]:
    """Of a command's parameters those that are options and were written, by the options' keys."""
    ours = {name.removeprefix(PREFIX): value for name, value in values.items() if name.startswith(PREFIX)}
    return {key: value for key, value in ours.items() if value not in (None, ())}


def build_options(options: type[Struct], written: Mapping[str, Any], named: Mapping[str, str] = {}) -> Any:
    """The Options from what was written for them. `named` says what an option is called on the command line where that
    is not its flag. Raises ValueError with every fault, each with its place.
    """
    nodes, faults = {}, []
    for key, value in written.items():
        try:
            nodes[key] = _node(value, shape_of(fields(options)[key].type))
        except ValueError as error:
            faults.append(f"{named.get(key) or flag(key)}: {error}")
    converter = Converter(Sources(environment.process_environ()), whole=not faults)
    built = converter.convert_struct(Node(nodes, _NOWHERE), options, "")
    faults += [_fault(fault.path, fault.message, named) for fault in converter.told()]
    if faults:
        raise ValueError(*faults)
    return built


def shape_of(kind: Any) -> Shape:
    """How a type is written; of alternatives the array, for it stands for one of them as well."""
    members = [unannotated(one)[0] for one in alternatives(unannotated(kind)[0])]
    for one in members:
        if container(one) in ARRAYS:
            inner = shape_of(element(one))
            return Shape("json" if inner.form != "text" or inner.repeated else "text", inner.kinds, repeated=True)
    first = members[0]
    if container(first) in TABLES:
        inner = shape_of(entries(first)[1])
        return Shape("json") if inner.form != "text" or inner.repeated else Shape("table", inner.kinds, repeated=True)
    if is_struct(first):
        return Shape("json")
    return Shape("pair" if members == [bool] else "text", tuple(members))


# -- flags ----------------------------------------------------------------------------------------------------------


def _flag(key: str, kind: Any, default: Any) -> click.Option:
    shape = shape_of(kind)
    name = f"{flag(key)}/--no-{flag(key)[2:]}" if shape.form == "pair" else flag(key)
    about = "; ".join(_about(kind, shape, default))
    return click.Option(
        [name, f"{PREFIX}{key}"],
        default=None,
        type=bool if shape.form == "pair" else str,
        multiple=shape.repeated,
        metavar=None if shape.form == "pair" else _metavar(key, shape),
        help=f"{about[:1].upper()}{about[1:]}." if about else None,
    )


def _metavar(key: str, shape: Shape) -> str:
    if shape.form != "text":
        return {"table": "KEY=VALUE", "json": "JSON"}[shape.form]
    return "FILE" if key.endswith("_file") else "TEXT"


def _about(kind: Any, shape: Shape, default: Any) -> Iterator[str]:
    """What a flag expects, how often, and what it is without it."""
    what = " or ".join(description(one) for one in shape.kinds) if shape.kinds else description(kind)
    if shape.form == "json":
        yield f"{'a table' if shape.repeated else what} as JSON"
    elif shape.form != "pair" and len(what) > len("a string") and len(what) < LONGEST:
        yield what
    if Secret in shape.kinds:
        yield "may be ${env:NAME} or ${file:PATH}"
    if shape.repeated:
        yield "may be repeated"
    if default is NODEFAULT:
        yield "required"
    elif default not in (None, "", (), {}) and not isinstance(default, Struct) and len(str(default)) < LONGEST:
        yield f"default {_shown(default)}"


def _shown(default: Any) -> str:
    if isinstance(default, bool):
        return "on" if default else "off"
    return ", ".join(map(str, default)) if isinstance(default, tuple) else str(default)


# -- what was written -----------------------------------------------------------------------------------------------


def _fault(path: str, message: str, named: Mapping[str, str]) -> str:
    """A fault with its place: the flag, and where in its value."""
    found = re.match(r"[A-Za-z0-9_]+", path)
    if found is None:
        return message
    return f"{named.get(found[0]) or flag(found[0])}{path[found.end() :]}: {message}"


def _node(value: Any, shape: Shape) -> Node:
    """The tree of one option's value, as a file's would be; raises ValueError."""
    if shape.form == "pair":
        return Node(value, _NOWHERE)
    if shape.form == "table":
        return Node({key: _text(text, shape) for key, text in map(_pair, value)}, _NOWHERE)
    if shape.form == "json":
        return Node([_json(one) for one in value], _NOWHERE) if shape.repeated else _json(value)
    return Node([_text(one, shape) for one in value], _NOWHERE) if shape.repeated else _text(value, shape)


def _pair(text: str) -> tuple[str, str]:
    key, equals, value = text.partition("=")
    if not equals or not key:
        raise ValueError("expected KEY=VALUE")
    return key, value


def _text(text: str, shape: Shape) -> Node:
    """A text, or the number that it is where one is wanted."""
    allowed = [choice for kind in shape.kinds for choice in choices(kind) or ()]
    if _WHOLE.fullmatch(text) and (int in shape.kinds or (allowed and text not in allowed)):
        return Node(int(text), _NOWHERE)
    if float in shape.kinds and _NUMBER.fullmatch(text):
        return Node(float(text), _NOWHERE)
    return Node(text, _NOWHERE)


def _json(text: str) -> Node:
    try:
        return _tree(msgspec.json.decode(text))
    except (msgspec.DecodeError, RecursionError) as error:
        raise ValueError("expected JSON" if isinstance(error, RecursionError) else f"is no JSON: {error}") from None


def _tree(value: Any) -> Node:
    if isinstance(value, dict):
        return Node({key: _tree(one) for key, one in value.items()}, _NOWHERE)
    if isinstance(value, list):
        return Node([_tree(one) for one in value], _NOWHERE)
    return Node(value, _NOWHERE)
