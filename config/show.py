"""Every option in force, with where it came from; secrets as `***`, references as they were written."""

from __future__ import annotations

import enum
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final, Protocol

import msgspec
from msgspec import NODEFAULT, Struct

from config.faults import Place, dotted, key_path
from config.options import Config, Section
from config.rules import Recording, Rule
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


class ShownRule(Protocol):
    """A rule as it counts, whoever wrote it; `kind` is that of the collector whose default it is, or replaces."""

    @property
    def rule(self) -> Rule | Recording:
        """The rule, complete."""

    @property
    def origin(self) -> str:
        """`file:line`, or `default of <kind>`."""

    @property
    def kind(self) -> str:
        """A collector's kind, or ""."""

    @property
    def enabled(self) -> bool:
        """Whether it is in force."""


def settings(config: Config) -> Iterator[Setting]:
    """All options of a configuration, in the order of their declaration. The values are the real ones."""
    for name, options in (("agent", config.agent), ("spool", config.spool)):
        yield from _struct_settings(options, (name,), config.places)
    for side, sections in (("collectors", config.collectors), ("exporters", config.exporters)):
        for section in sections:
            yield from _section_settings(section, side, config.places)


def effective(config: Config, rules: Iterable[ShownRule] = ()) -> dict[str, Any]:
    """A tree for JSON: each option is `{"value": ..., "from": "agent.toml:12"}`, each section has its `kind`, and each
    rule its fields with `from`, `collector` and `enabled`.
    """
    tree: dict[str, Any] = {"files": list(config.files), "agent": {}, "spool": {}, "collectors": {}, "exporters": {}}
    for side, sections in (("collectors", config.collectors), ("exporters", config.exporters)):
        for section in sections:
            tree[side][section.name] = {"kind": section.kind}
    for setting in settings(config):
        table = tree
        for key in setting.path[:-1]:
            table = table.setdefault(key, {})
        table[setting.path[-1]] = {"value": plain(setting.value), "from": setting.origin}
    return tree | {"rule_files": list(config.rule_files), "rules": [_rule_tree(shown) for shown in rules]}


def to_toml(config: Config, rules: Iterable[ShownRule] = ()) -> str:
    """TOML that says the same, each line with its origin as a comment.

    Rules stand there with what they have by default; as comments those that are off, and recording rules, which have
    no TOML.
    """
    found = list(settings(config))
    lines = []
    for name in ("agent", "spool"):
        lines += ["", f"[{name}]", *_lines(found, (name,))]
    for side, sections in (("collectors", config.collectors), ("exporters", config.exporters)):
        for section in sections:
            head = [f"[[{key_path(side, section.kind)}]]", f"name = {toml_text(section.name)}"]
            lines += ["", *head, *_lines(found, (side, section.name))]
    for shown in rules:
        lines += ["", *_rule_lines(shown)]
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


_RULE_FIELDS: Final = ("expr", "hold", "keep_firing_for", "labels", "annotations")


def _rule_values(rule: Rule | Recording) -> Iterator[tuple[str, Any]]:
    """What a rule sets, by the key it is written with, and as it is written: nothing in a rule is secret."""
    for key, field in fields(type(rule)).items():
        if field.name in _RULE_FIELDS and (value := getattr(rule, field.name)) not in (None, {}):
            yield key, str(value) if isinstance(value, Duration) else value


def _name_of(rule: Rule | Recording) -> tuple[str, str]:
    return ("record", rule.record) if isinstance(rule, Recording) else ("alert", rule.alert)


def _rule_tree(shown: ShownRule) -> dict[str, Any]:
    key, name = _name_of(shown.rule)
    origin = {"from": shown.origin, "collector": shown.kind or None, "enabled": shown.enabled}
    return {key: name} | dict(_rule_values(shown.rule)) | origin


def _rule_lines(shown: ShownRule) -> list[str]:
    key, name = _name_of(shown.rule)
    if not shown.enabled:
        return [f"# {toml_text(name)} is switched off  # {shown.origin}"]
    if isinstance(shown.rule, Recording):
        return [f"# {toml_text(name)} records {toml_text(shown.rule.expr)}  # {shown.origin}"]
    over = f", over the default of {shown.kind}" if shown.kind and not shown.origin.startswith("default") else ""
    values = [f"{key} = {_rule_text(value)}" for key, value in _rule_values(shown.rule)]
    return [f"[[rules]]  # {shown.origin}{over}", f"{key} = {toml_text(name)}", *values]


def _rule_text(value: Any) -> str:
    """A value; a text with quotation marks or of several lines as it is, where TOML has a way to write it."""
    if not isinstance(value, str) or not value.replace("\n", "").isprintable():
        return _toml(value)
    if "\n" in value and "'''" not in value:
        return f"'''\n{value}'''"
    return f"'{value}'" if '"' in value and not {"'", "\n"} & set(value) else _toml(value)
