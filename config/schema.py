"""JSON Schema (draft 2020-12) of the whole configuration, from the same annotations that conversion reads.

Not msgspec.json.schema: it refuses unions with types of our own, and it does not know that any string may hold a
reference.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from msgspec import NODEFAULT, Meta, Struct

from config.options import NAME_PATTERN, AgentOptions, CollectorCommon, ExporterCommon, SpoolOptions
from config.rules import SEVERITIES, Rule
from config.secret import Secret
from config.sections import OptionsTable
from config.show import plain
from config.types import (
    ARRAYS,
    alternatives,
    choices,
    container,
    default_of,
    element,
    entries,
    fields,
    is_anything,
    is_struct,
    is_written,
    unannotated,
)

Schema = dict[str, Any]

_SCALARS: Final = {str: "string", int: "integer", float: "number", bool: "boolean"}
_REFERENCE: Final = r"\$\{(env|file|credential):"
_BOUNDS: Final = {
    "gt": "exclusiveMinimum",
    "ge": "minimum",
    "lt": "exclusiveMaximum",
    "le": "maximum",
    "multiple_of": "multipleOf",
}
_SEVERITY: Final[Schema] = {"properties": {"labels": {"properties": {"severity": {"enum": list(SEVERITIES)}}}}}
_HERE: Final = ("instance", "state_dir")  # their defaults depend on the machine


def json_schema(collectors: OptionsTable, exporters: OptionsTable) -> Schema:
    """The schema of agent.toml with these plugins, all of which are loaded."""
    definitions = _Definitions()
    properties = {
        "agent": definitions.struct(AgentOptions),
        "spool": definitions.struct(SpoolOptions),
        "collectors": definitions.side("collector", CollectorCommon, collectors),
        "exporters": definitions.side("exporter", ExporterCommon, exporters),
        "rules": {"type": "array", "items": {"allOf": [definitions.struct(Rule), _SEVERITY]}},
        "rule_files": {"type": "array", "items": {"type": "string"}},
    }
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Nightjar agent configuration",
        "type": "object",
        "properties": properties,
        "additionalProperties": False,
        "$defs": definitions.found,
    }


class _Definitions:
    """The schemas of all named types met so far."""

    def __init__(self) -> None:
        self.found: dict[str, Schema] = {
            "reference": {"type": "string", "pattern": _REFERENCE, "description": "a value that comes from elsewhere"}
        }

    def side(self, side: str, common: type[Struct], table: OptionsTable) -> Schema:
        properties = {}
        for kind, options in table.items():
            self.found[f"{side}.{kind}"] = self._section(options(), common)
            one = {"$ref": f"#/$defs/{side}.{kind}"}
            properties[kind] = {"anyOf": [one, {"type": "array", "items": one}]}
        return {"type": "object", "properties": properties, "additionalProperties": False}

    def _section(self, options: type[Struct], common: type[Struct]) -> Schema:
        shared, own = self._table(common), self._table(options)
        name = {"name": {"type": "string", "pattern": f"^{NAME_PATTERN}$"}}
        return own | {"properties": name | shared["properties"] | own["properties"]}

    def struct(self, options: type[Struct]) -> Schema:
        name = f"{options.__module__}.{options.__qualname__}"
        if name not in self.found:
            self.found[name] = {}  # a type may hold itself
            self.found[name] = self._table(options)
        return {"$ref": f"#/$defs/{name}"}

    def _table(self, options: type[Struct]) -> Schema:
        properties = {}
        required = []
        for key, field in fields(options).items():
            properties[key] = self._of(field.type)
            default = default_of(field)
            if default is NODEFAULT:
                required.append(key)
            elif default is not None and key not in _HERE:
                properties[key] = properties[key] | {"default": plain(default)}
        table: Schema = {"type": "object", "properties": properties, "additionalProperties": False}
        return table | ({"required": required} if required else {})

    def _of(self, kind: Any) -> Schema:
        kind, metas = unannotated(kind)
        members = alternatives(kind)
        if len(members) > 1:
            schema: Schema = {"anyOf": [self._of(member) for member in members]}
        else:
            inner, more = unannotated(members[0])
            schema = self._one(inner, (*metas, *more))
        described = next((meta.description for meta in metas if meta.description), None)
        return schema | ({"description": described} if described else {})

    def _one(self, kind: Any, metas: tuple[Meta, ...]) -> Schema:
        if is_struct(kind):
            return self.struct(kind)
        if is_written(kind):
            return self._written(kind)
        if kind is Secret:
            return {"type": "string", "writeOnly": True}
        if is_anything(kind):
            return {}
        if (values := choices(kind)) is not None:
            return _or_reference({"enum": list(values)})
        return self._container(kind, metas) if container(kind) else _scalar(kind, metas)

    def _written(self, kind: Any) -> Schema:
        pattern = f"^(?:{kind.pattern})$|{_REFERENCE}"
        self.found[kind.__name__] = {"type": "string", "pattern": pattern, "description": kind.expected}
        return {"$ref": f"#/$defs/{kind.__name__}"}

    def _container(self, kind: Any, metas: tuple[Meta, ...]) -> Schema:
        if container(kind) in ARRAYS:
            return {"type": "array", "items": self._of(element(kind))} | _lengths(metas, "Items")
        key, value = entries(kind)
        table: Schema = {"type": "object", "additionalProperties": self._of(value)} | _lengths(metas, "Properties")
        _, rules = unannotated(key)
        if pattern := next((meta.pattern for meta in rules if meta.pattern), None):
            table["propertyNames"] = {"pattern": pattern}
        return table


def _scalar(kind: Any, metas: tuple[Meta, ...]) -> Schema:
    schema: Schema = {"type": _SCALARS[kind]} if kind in _SCALARS else {}
    for meta in metas:
        schema |= {name: getattr(meta, of) for of, name in _BOUNDS.items() if getattr(meta, of) is not None}
        if meta.pattern is not None:
            schema["pattern"] = f"{meta.pattern}|{_REFERENCE}"
    if kind is str:
        return schema | _lengths(metas, "Length")
    return _or_reference(schema) if schema else {}


def _or_reference(schema: Mapping[str, Any]) -> Schema:
    return {"anyOf": [dict(schema), {"$ref": "#/$defs/reference"}]}


def _lengths(metas: tuple[Meta, ...], of: str) -> Schema:
    schema: Schema = {}
    for meta in metas:
        if meta.min_length is not None:
            schema[f"min{of}"] = meta.min_length
        if meta.max_length is not None:
            schema[f"max{of}"] = meta.max_length
    return schema
