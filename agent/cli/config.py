"""`nightjar config`: check, show, init, schema."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path

import click

from agent.cli import options
from agent.plugins import COLLECTORS, EXPORTERS
from config import Config
from config.rules import SEVERITIES, Rule


@click.group(epilog="Example: nightjar config check -c agent.toml")
def config() -> None:
    """Check, show, start or describe a configuration."""


@config.command(epilog="Example: nightjar config check -c agent.toml")
@options.config_option
def check(file: str | None) -> None:
    """Say whether the configuration can be used, with every fault and its place. Exit 0, or 78."""
    found = options.read(file, options.load_tried)
    console = options.console()
    files = ", ".join(found.files) or "no file: the defaults"
    console.print(f"[green]ok[/] {files}")
    for word, sections in (("collectors", found.collectors), ("exporters", found.exporters)):
        console.print(f"{word}: {', '.join(section.name for section in sections) or 'none'}", markup=False)
    console.print(_rules_line(found), markup=False)
    for note in _rule_notes(found):
        click.echo(f"note: {note}", err=True)
    spool = found.spool
    console.print(
        f"spool: {found.agent.state_dir}, at most {spool.max_size}, {spool.max_age}, {spool.min_free} of the disk left "
        "free",
        markup=False,
    )
    _spool_line(found.agent.state_dir)


def _rules_line(found: Config) -> str:
    """How many rules count, how many are switched off, and how many stand in rule files."""
    from agent.assembly import rules_of

    rules = rules_of(found)
    on = sum(rule.enabled for rule in rules)
    places = (found.places["rules", str(number)].file for number in range(len(found.rules)))
    from_files = sum(file in found.rule_files for file in places)
    line = f"rules: {on} in force, {len(rules) - on} switched off"
    count = len(found.rule_files)
    return f"{line}; {from_files} of them from {count} {'file' if count == 1 else 'files'}" if count else line


def _rule_notes(found: Config) -> Iterator[str]:
    """What becomes of a rule in another way than its author may think."""
    from agent.assembly import rules_of
    from agent.templates import compile_template

    for one in rules_of(found):
        if not isinstance(one.rule, Rule) or not one.enabled:
            continue
        severity = one.rule.labels.get("severity", "")
        if "{{" not in severity and severity.lower() not in SEVERITIES:
            yield f"{one.origin}: {one.rule.alert}: the severity {severity!r} counts as warning"
        for name, text in one.rule.annotations.items():
            if reason := compile_template(text).unsupported:
                yield f"{one.origin}: {one.rule.alert}: {name} is shown as it is written: {reason}"


def _spool_line(state_dir: str) -> None:
    """What already waits there, and whether it can be read; nothing is written or locked."""
    from agent.cli import inspection

    file = Path(state_dir) / "spool.db"
    if not file.exists() or not os.access(file, os.R_OK):
        return
    try:
        found = inspection.stat(file.parent)
    except OSError as error:
        click.echo(f"trouble: {file} cannot be read: {error.strerror}", err=True)
        return
    pending = [f"{one['pending']} items for {one['exporter']}" for one in found["ledger"] if one["pending"]]
    age = f", the oldest stored {options.ago(time.time() - found['oldest'])} ago" if pending and found["oldest"] else ""
    click.echo(f"waiting there: {', '.join(pending) or 'nothing'}{age}; {options.size(found['bytes'])} on disk")
    if found["trouble"]:
        click.echo(f"trouble: {found['trouble']}", err=True)


@config.command(epilog="Example: nightjar config show --json")
@options.config_option
@options.json_option
def show(file: str | None, as_json: bool) -> None:
    """Every option and rule in force, with where it came from; secrets as ***."""
    from agent.assembly import rules_of
    from config import effective, to_toml

    found = options.read(file)
    rules = rules_of(found)
    if as_json:
        options.emit(effective(found, rules))
    else:
        click.echo(to_toml(found, rules), nl=False)


@config.command(epilog="Example: nightjar config init agent.toml")
@click.argument("path", default="agent.toml")
@click.option("--force", is_flag=True, help="Overwrite the file.")
def init(path: str, force: bool) -> None:
    """Write the annotated example to PATH (default agent.toml; - for standard output)."""
    text = example()
    if path == "-":
        click.echo(text, nl=False)
        return
    flags = os.O_WRONLY | os.O_CREAT | (os.O_TRUNC if force else os.O_EXCL)
    try:
        with os.fdopen(os.open(path, flags, 0o600), "w", encoding="utf-8") as out:
            out.write(text)
    except FileExistsError:
        options.fail(f"{path} exists; --force overwrites it")
    except OSError as error:
        options.fail(f"cannot write {path}: {error.strerror}")
    click.echo(f"wrote {path}; look it through, then: nightjar config check -c {path}")


def example() -> str:
    """The example configuration: beside the packages in a checkout, inside `config` when installed."""
    import config as package

    home = Path(package.__file__).parent
    for place in (home / "agent.toml.example", home.parent / "agent.toml.example"):
        if place.exists():
            return place.read_text(encoding="utf-8")
    raise click.ClickException("the example configuration is not part of this installation")


@config.command(epilog="Example: nightjar config schema > agent.schema.json")
def schema() -> None:
    """The JSON Schema of the configuration, for editors."""
    from config import json_schema

    options.emit(json_schema(COLLECTORS, EXPORTERS))
