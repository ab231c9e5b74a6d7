"""Every option in force, with where it came from; secrets as `***`, references as they were written."""

from __future__ import annotations

import enum
from collections.abc import Iterator, Mapping
from typing import Any

import msgspec
from msgspec import NODEFAULT, Struct

from config.faults import Place, dotted, key_path
from config.options import Config, Section
from config.secret import MASK, Referenced, Secret
from config.types import default_of, fields, toml_text
from config.urls import masked, masked_template
from config.values import Duration, Share, Size


class Setting(Struct, frozen=True):
    """One option in force: its path as in `Config.places`, value, default (NODEFAULT: none), and place if written."""

    path: tuple[str, ...]
    value: Any
    default: Any
    place: Place | None

    @property
    def origin(self) -> str:
        """`file:line`, or `default`."""
        return f"{self.place.file}:{self.place.line}" if self.place else "default"


def settings(config: Config) -> Iterator[Setting]:
    """All options of a configuration, in the order of their declaration. The values are the real ones."""
    for name, options in (("agent", config.agent), ("spool", config.spool)):
        yield from _struct_settings(options, (name,), config.places)
    for side, sections in (("collectors", config.collectors), ("exporters", config.exporters)):
        for section in sections:
            yield from _section_settings(section, side, config.places)


def effective(config: Config) -> dict[str, Any]:
    """A tree for JSON: each option is `{"value": ..., "from": "agent.toml:12"}`, each section has its `kind`."""
    tree: dict[str, Any] = {"files": list(config.files), "agent": {}, "spool": {}, "collectors": {}, "exporters": {}}
    for side, sections in (("collectors", config.collectors), ("exporters", config.exporters)):
        for section in sections:
            tree[side][section.name] = {"kind": section.kind}
    for setting in settings(config):
        table = tree
        for key in setting.path[:-1]:
            table = table.setdefault(key, {})
        table[setting.path[-1]] = {"value": plain(setting.value), "from": setting.origin}
    return tree


def to_toml(config: Config) -> str:
    """TOML that says the same, each line with its origin as a comment."""
    found = list(settings(config))
    lines = []
    for name in ("agent", "spool"):
        lines += ["", f"[{name}]", *_lines(found, (name,))]
    for side, sections in (("collectors", config.collectors), ("exporters", config.exporters)):
        for section in sections:
            head = [f"[[{key_path(side, section.kind)}]]", f"name = {toml_text(section.name)}"]
            lines += ["", *head, *_lines(found, (side, section.name))]
    return "\n".join(lines[1:]) + "\n"


def plain(value: Any) -> Any:
    """A value as JSON and TOML hold it, with nothing secret in it."""
    if isinstance(value, Secret):
        return MASK if value else ""
    if isinstance(value, Referenced):
        return masked_template(value.template)
    if isinstance(value, (Duration, Size, Share)):
        return str(value)
    if isinstance(value, enum.Enum):
        return plain(value.value)
    if isinstance(value, str):
        return masked(value)
    return _plain_container(value)


def _plain_container(value: Any) -> Any:
    if isinstance(value, Struct):
        return {key: plain(inner) for key, inner in msgspec.structs.asdict(value).items()}
    if isinstance(value, Mapping):
        return {str(key): plain(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(inner) for inner in value]
    if isinstance(value, (set, frozenset)):
        return sorted(map(plain, value), key=str)
    return value if value is None or isinstance(value, (bool, int, float)) else str(value)


def _section_settings(section: Section, side: str, places: Mapping[tuple[str, ...], Place]) -> Iterator[Setting]:
    path = (side, section.name)
    own = section.options.__struct_fields__
    for setting in _struct_settings(section.common, path, places):
        if setting.path[2] not in own:
            yield setting
    yield from _struct_settings(section.options, path, places)


def _struct_settings(
    options: Struct, path: tuple[str, ...], places: Mapping[tuple[str, ...], Place]
) -> Iterator[Setting]:
    for key, field in fields(type(options)).items():
        here = (*path, key)
        value = getattr(options, field.name)
        if isinstance(value, Struct):
            yield from _struct_settings(value, here, places)
        elif isinstance(value, Mapping) and value:
            for entry, inner in value.items():
                yield Setting((*here, str(entry)), inner, NODEFAULT, places.get((*here, str(entry))))
        else:
            yield Setting(here, value, default_of(field), places.get(here))


def _lines(found: list[Setting], path: tuple[str, ...]) -> Iterator[str]:
    for setting in found:
        if setting.path[: len(path)] != path:
            continue
        key = dotted(setting.path[len(path) :])
        if setting.value is None:
            yield f"# {key} is not set"
        else:
            yield f"{key} = {_toml(plain(setting.value))}  # {setting.origin}"


def _toml(value: Any) -> str:
    if isinstance(value, dict):
        pairs = (f"{key_path('', key)} = {_toml(inner)}" for key, inner in value.items() if inner is not None)
        return "{ " + ", ".join(pairs) + " }" if value else "{}"
    return "[" + ", ".join(map(_toml, value)) + "]" if isinstance(value, list) else toml_text(value)
