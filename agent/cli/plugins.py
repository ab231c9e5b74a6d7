"""`nightjar plugins`: what there is to collect with and to deliver to."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from difflib import get_close_matches
from typing import Any

import click
import msgspec
from msgspec import NODEFAULT, Struct

from agent.cli import options
from agent.plugins import COLLECTORS, EXPORTERS, Plugins

TABLES = {"collectors": COLLECTORS, "exporters": EXPORTERS}


@click.command(epilog="Example: nightjar plugins host")
@click.argument("kind", required=False)
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
def plugins(kind: str | None, as_json: bool) -> None:
    """List every collector and exporter, or describe one KIND: options, metrics, an example."""
    if kind is None:
        _list(as_json)
        return
    found = [(side, table) for side, table in TABLES.items() if kind in table]
    if not found:
        near = get_close_matches(kind, [name for table in TABLES.values() for name in table], 1)
        cure = f"; did you mean {near[0]}?" if near else "; `nightjar plugins` lists them"
        click.echo(f"nightjar: there is no collector or exporter {kind!r}{cure}", err=True)
        sys.exit(1)
    for side, table in found:
        _describe(side, kind, table.plugin(kind), as_json)


def _list(as_json: bool) -> None:
    rows = [(side, kind, *_first_line(table, kind)) for side, table in TABLES.items() for kind in table]
    if as_json:
        import orjson

        found = [{"group": side, "kind": kind, "about": about, "usable": usable} for side, kind, about, usable in rows]
        click.echo(orjson.dumps(found, option=orjson.OPT_INDENT_2).decode())
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
    if as_json:
        import orjson

        document = {
            "group": side,
            "kind": kind,
            "options": [dict(zip(("name", "type", "default"), row, strict=True)) for row in _options(plugin.Options)],
            "metrics": [msgspec.structs.asdict(family) for family in families],
        }
        click.echo(orjson.dumps(document, option=orjson.OPT_INDENT_2).decode())
        return
    console = options.console()
    console.print(f"[bold]{kind}[/]  {(sys.modules[plugin.__module__].__doc__ or '').strip()}\n")
    console.print(_option_table(plugin.Options))
    if families:
        console.print(_family_table(families))
    console.print("example:\n", markup=False)
    console.print(_example(side, kind, plugin.Options), markup=False)


def _families(plugin: Any) -> Iterable[Any]:
    """The families a collector makes with its defaults; none where it does not say, or has no defaults."""
    try:
        return plugin(plugin.Options()).families() if hasattr(plugin, "families") else ()
    except TypeError:  # a required option
        return ()


def _options(struct: type[Struct]) -> Iterator[tuple[str, str, str]]:
    """(name, type, default) of every option."""
    from config.show import plain
    from config.types import default_of, toml_text

    for field in msgspec.structs.fields(struct):
        default = default_of(field)
        shown = "required" if default is NODEFAULT else "not set" if default is None else toml_text(plain(default))
        yield field.encode_name, _type_name(field.type), shown


def _type_name(kind: Any) -> str:
    from typing import get_args, get_origin

    inner = get_args(kind)
    if get_origin(kind) is not None and str(get_origin(kind)).startswith("typing.Annotated"):
        return _type_name(inner[0])
    if inner and hasattr(kind, "__metadata__"):
        return _type_name(inner[0])
    if isinstance(kind, type) and not inner:
        return kind.__name__.lower()
    return str(kind).replace("typing.", "").replace("config.values.", "").replace("config.secret.", "")


def _option_table(struct: type[Struct]) -> Any:
    from rich.table import Table
    from rich.text import Text

    table = Table("option", "type", "default", box=None, pad_edge=False)
    for name, kind, default in _options(struct):
        table.add_row(name, Text(kind), Text(default))
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
        required = [f"{name} = ..." for name, _, default in _options(struct) if default == "required"]
        return "\n".join([f"[{side}.{kind}]", *required])
    end = next((at for at in range(starts[0] + 1, len(lines)) if lines[at].lstrip("# ").startswith("[")), len(lines))
    while end > starts[0] and (not lines[end - 1].strip() or lines[end - 1].startswith("##")):
        end -= 1
    return "\n".join(lines[starts[0] : end])
