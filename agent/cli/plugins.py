"""`nightjar plugins`: what there is to collect with and to deliver to."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from typing import Any

import click
import msgspec
from msgspec import NODEFAULT, Struct

from agent.cli import options
from agent.plugins import COLLECTORS, EXPORTERS, Plugins
from config import CollectorCommon, ExporterCommon
from config.faults import did_you_mean
from config.show import plain
from config.types import (
    ARRAYS,
    alternatives,
    choices,
    container,
    default_of,
    description,
    element,
    fields,
    toml_text,
    unannotated,
)

TABLES = {"collectors": COLLECTORS, "exporters": EXPORTERS}


class Option(Struct, frozen=True):
    """An option as it is shown: what it expects, and its default as TOML, "not set" or "required"."""

    name: str
    type: str
    default: str


@click.command(epilog="Example: nightjar plugins host")
@click.argument("kind", required=False)
@options.json_option
def plugins(kind: str | None, as_json: bool) -> None:
    """List every collector and exporter, or describe one KIND: options, metrics, an example."""
    if kind is None:
        _list(as_json)
        return
    found = [(side, table) for side, table in TABLES.items() if kind in table]
    if not found:
        hint = did_you_mean(kind, [name for table in TABLES.values() for name in table])
        options.fail(f"there is no collector or exporter {kind!r}{hint or '; `nightjar plugins` lists them'}")
    for side, table in found:
        _describe(side, kind, table.plugin(kind), as_json)


def _list(as_json: bool) -> None:
    rows = [(side, kind, *_first_line(table, kind)) for side, table in TABLES.items() for kind in table]
    if as_json:
        keys = ("group", "kind", "about", "usable")
        options.emit([dict(zip(keys, row, strict=True)) for row in rows])
        return
    from rich.table import Table

    shown = Table("", "kind", "what it does", box=None, pad_edge=False)
    for side, kind, about, _ in rows:
        shown.add_row(side.removesuffix("s"), kind, about)
    options.console().print(shown)


def _first_line(table: Plugins, kind: str) -> tuple[str, bool]:
    """What a plugin is for, and whether it can be loaded; a broken one is shown as such, not left out."""
    try:
        plugin = table.plugin(kind)
    except (ImportError, AttributeError) as error:
        return f"cannot be loaded: {error}", False
    about = sys.modules[plugin.__module__].__doc__ or plugin.__doc__ or ""
    return about.strip().splitlines()[0] if about.strip() else "", True


def _describe(side: str, kind: str, plugin: Any, as_json: bool) -> None:
    families = list(_families(plugin))
    own, common = list(_options(plugin.Options)), list(_common_options(side, kind, plugin.Options))
    if as_json:
        options.emit(
            {
                "group": side,
                "kind": kind,
                "options": [msgspec.structs.asdict(option) for option in own],
                "common": [msgspec.structs.asdict(option) for option in common],
                "metrics": [msgspec.structs.asdict(family) for family in families],
            }
        )
        return
    console = options.console()
    console.print(kind, style="bold", end="  ")
    console.print(f"{(sys.modules[plugin.__module__].__doc__ or '').strip()}\n", markup=False, soft_wrap=True)
    tables = [_option_table("option", own), _option_table(f"every {side.removesuffix('s')} takes", common)]
    for table in [*tables, _family_table(families)] if families else tables:
        console.print(table, "")
    console.print("example:\n", markup=False)
    console.print(_example(side, kind, plugin.Options), markup=False)


def _families(plugin: Any) -> Iterable[Any]:
    """The families a collector makes: the METRICS of its module, or what it says itself when made with its defaults;
    none where it does not say, or has no defaults.
    """
    if found := getattr(sys.modules[plugin.__module__], "METRICS", ()):
        return tuple(found)
    try:
        return plugin(plugin.Options()).families() if hasattr(plugin, "families") else ()
    except (TypeError, ValueError):  # a required option
        return ()


def _options(struct: type[Struct]) -> Iterator[Option]:
    """Every option of a Struct."""
    for key, field in fields(struct).items():
        default = default_of(field)
        shown = "required" if default is NODEFAULT else "not set" if default is None else toml_text(plain(default))
        yield Option(key, _expected(field.type), shown)


def _common_options(side: str, kind: str, own: type[Struct]) -> Iterator[Option]:
    """What every section of a side takes beside a plugin's own options."""
    everywhere = [Option("name", "a string", f'"{kind}"')]
    everywhere += _options(CollectorCommon if side == "collectors" else ExporterCommon)
    for option in everywhere:
        if option.name not in own.__struct_encode_fields__:
            inherited = option.default == "not set"
            yield msgspec.structs.replace(option, default="that of [agent]") if inherited else option


def _expected(kind: Any) -> str:
    """What an option expects; of an array also what may stand in it."""
    first = alternatives(unannotated(kind)[0])[0]
    names = choices(element(first)) if container(first) in ARRAYS else None
    return description(kind) + (f" of {', '.join(map(toml_text, names))}" if names else "")


def _option_table(heading: str, shown: Iterable[Option]) -> Any:
    from rich.table import Table
    from rich.text import Text

    table = Table(heading, "expects", "default", box=None, pad_edge=False)
    for option in shown:
        table.add_row(option.name, Text(option.type), Text(option.default))
    return table


def _family_table(families: Iterable[Any]) -> Any:
    from rich.table import Table
    from rich.text import Text

    table = Table("metric", "type", "labels", "help", box=None, pad_edge=False)
    for family in families:
        table.add_row(family.name, family.kind, " ".join(family.labels), Text(family.help))
    return table


def _example(side: str, kind: str, struct: type[Struct]) -> str:
    """The section of the example configuration, or one made from the options."""
    from agent.cli.config import example

    lines = example().splitlines()
    starts = [at for at, line in enumerate(lines) if line.lstrip("# [").startswith(f"{side}.{kind}]")]
    if not starts:
        required = [f"{option.name} = ..." for option in _options(struct) if option.default == "required"]
        return "\n".join([f"[{side}.{kind}]", *required])
    end = next((at for at in range(starts[0] + 1, len(lines)) if lines[at].lstrip("# ").startswith("[")), len(lines))
    while end > starts[0] and (not lines[end - 1].strip() or lines[end - 1].startswith("##")):
        end -= 1
    return "\n".join(lines[starts[0] : end])
