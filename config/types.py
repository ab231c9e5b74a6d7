"""What the annotations of options mean, read once for all who walk them: conversion, schema, display."""

from __future__ import annotations

import enum
import types
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Annotated, Any, Final, Literal, Protocol, TypeGuard, Union, get_args, get_origin, runtime_checkable

import msgspec
from msgspec import NODEFAULT, Meta, Struct
from msgspec.structs import FieldInfo

from config.secret import Secret


@runtime_checkable
class Written(Protocol):
    """A type that is built from text, such as Duration: raises ValueError when the text is none of it.

    `expected` completes "expected ..."; `pattern` is the regular expression of the whole text, for the schema.
    """

    expected: str
    pattern: str

    def __call__(self, text: str) -> Any:
        """The value that the text stands for."""
        ...


ARRAYS: Final = (list, tuple, set, frozenset, Sequence)
TABLES: Final = (dict, Mapping)
_ANYTHING: Final = (Any, object)
_SCALARS: Final = {str: "a string", int: "a whole number", float: "a number", bool: "true or false"}


@cache
def fields(options: type[Struct]) -> Mapping[str, FieldInfo]:
    """The fields of options by the key they are written with."""
    return {field.encode_name: field for field in msgspec.structs.fields(options)}


def default_of(field: FieldInfo) -> Any:
    """A field's default, or NODEFAULT when it must be set."""
    return field.default if field.default_factory is NODEFAULT else field.default_factory()


def stand_in(field: FieldInfo) -> Any:
    """A value for a field that has none: its default, or any text; NODEFAULT for what has neither."""
    default = default_of(field)
    return "-" if default is NODEFAULT and unannotated(field.type)[0] is str else default


def is_anything(kind: Any) -> bool:
    """Whether any value will do."""
    return kind in _ANYTHING


def is_struct(kind: Any) -> TypeGuard[type[Struct]]:
    """Whether options of their own stand behind a type."""
    return isinstance(kind, type) and issubclass(kind, Struct)


def is_written(kind: Any) -> TypeGuard[Written]:
    """Whether a type is built from text with a form of its own."""
    return isinstance(kind, type) and hasattr(kind, "expected") and hasattr(kind, "pattern")


def is_enum(kind: Any) -> TypeGuard[type[enum.Enum]]:
    """Whether a type is an enumeration, written by its members' values."""
    return isinstance(kind, type) and issubclass(kind, enum.Enum)


def unannotated(kind: Any) -> tuple[Any, tuple[Meta, ...]]:
    """A type and its constraints."""
    if get_origin(kind) is not Annotated:
        return kind, ()
    inner, *metas = get_args(kind)
    return inner, tuple(meta for meta in metas if isinstance(meta, Meta))


def alternatives(kind: Any) -> tuple[Any, ...]:
    """The members of a union without None, or the type alone; `str | Secret` is a Secret."""
    if get_origin(kind) not in (Union, types.UnionType):
        return (kind,)
    members = tuple(member for member in get_args(kind) if member is not type(None))
    return tuple(member for member in members if member is not str) if Secret in members else members


def choices(kind: Any) -> tuple[Any, ...] | None:
    """The values of a Literal or an enumeration."""
    if get_origin(kind) is Literal:
        return get_args(kind)
    return tuple(member.value for member in kind) if is_enum(kind) else None


def container(kind: Any) -> type | None:
    """`list`, `tuple`, `dict` …, for `list[int]` as for `list`."""
    origin = get_origin(kind) or kind
    return origin if origin in (*ARRAYS, *TABLES) else None


def element(kind: Any) -> Any:
    """The type of an array's elements."""
    arguments = [argument for argument in get_args(kind) if argument is not ...]
    return arguments[0] if arguments else Any


def entries(kind: Any) -> tuple[Any, Any]:
    """The types of a table's keys and values."""
    key, value = get_args(kind) or (str, Any)
    return key, value


def description(kind: Any) -> str:
    """What a type expects, to complete "expected ..."."""
    kind, metas = unannotated(kind)
    if told := next((meta.description for meta in metas if meta.description), None):
        return told
    if len(members := alternatives(kind)) > 1:
        return " or ".join(map(description, members))
    return description(members[0]) if members[0] is not kind else _described(kind)


def _described(kind: Any) -> str:
    if (values := choices(kind)) is not None:
        return ("one of " if len(values) > 1 else "") + ", ".join(map(toml_text, values))
    if is_written(kind):
        return kind.expected
    if kind is Secret:
        return "a string"
    if is_struct(kind) or container(kind) in TABLES:
        return "a table"
    return "an array" if container(kind) in ARRAYS else _SCALARS.get(kind, "a value")


def toml_text(value: Any) -> str:
    """A plain value as TOML writes it."""
    import json

    if isinstance(value, bool):
        return str(value).lower()
    return (
        json.dumps(str(value), ensure_ascii=False).replace("\x7f", "\\u007f") if isinstance(value, str) else str(value)
    )
