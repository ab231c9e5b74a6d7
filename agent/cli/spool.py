"""`nightjar spool`: what waits on disk and what was refused, with or without a running agent."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from agent.cli import options

if TYPE_CHECKING:
    from agent.spool.offline import Offline


@click.group(epilog="Example: nightjar spool stat")
def spool() -> None:
    """Look into the spool; verify, replay or purge it.

    A running agent is asked; without one the files are opened. Nothing but purge, replay --rejected and a start of the
    agent changes them.
    """


def ask(state: Path, path: str, offline: Callable[[Offline], Any], method: str = "GET") -> Any:
    """The running agent's answer, or that of the files when none runs; ends the command when there is neither."""
    from agent.cli import admin
    from agent.spool.lock import AlreadyRunning
    from agent.spool.offline import DamagedSpool, Offline

    try:
        with Offline(state) as found:
            return offline(found)
    except AlreadyRunning:
        pass
    except (OSError, DamagedSpool) as error:
        options.fail(error)
    try:
        return admin.ask(state, path, method)
    except admin.NotRunning as error:
        options.fail(error)


@spool.command(epilog="Example: nightjar spool stat --json")
@options.state_option
@options.json_option
def stat(state: Path, as_json: bool) -> None:
    """Sizes, ages, and the ledger."""
    from agent import spoolapi

    found = ask(state, "/api/spool/stat", lambda one: spoolapi.stat(one.stat(), one.entries()))
    if as_json:
        options.emit(found)
        return
    from agent.cli.status import ledger_table

    console = options.console()
    age = f", the oldest stored {options.ago(time.time() - found['oldest'])} ago" if found["oldest"] else ""
    console.print(
        f"{found['path']}: {options.size(found['bytes'])}, {found['batches']} batches{age}",
        markup=False,
        soft_wrap=True,
    )
    if found["trouble"]:
        console.print(f"trouble: {found['trouble']}", markup=False)
    console.print(ledger_table(found["ledger"]))


@spool.command("list", epilog="Example: nightjar spool list --rejected")
@options.state_option
@options.json_option
@click.option("--rejected", is_flag=True, help="What destinations refused for good, with their words.")
@click.option("--limit", default=50, show_default=True, type=click.IntRange(1), help="The oldest so many.")
def list_(state: Path, as_json: bool, rejected: bool, limit: int) -> None:
    """List the batches that wait, oldest first."""
    from agent import spoolapi

    if rejected:
        found = ask(state, f"/api/spool/rejected?limit={limit}", lambda one: spoolapi.rejected(one.rejected(), limit))
    else:
        found = ask(state, f"/api/spool/batches?limit={limit}", lambda one: spoolapi.batches(one.list_batches(limit)))
    if as_json:
        options.emit(found)
        return
    _print_rejected(found) if rejected else _print_batches(found)


def _print_batches(found: list[dict[str, Any]]) -> None:
    from rich.table import Table

    table = Table("batch", "signal", "time", "items", "bytes", "waits for", box=None, pad_edge=False)
    for one in found:
        waiting = ", ".join(one["waiting"])
        table.add_row(
            str(one["seq"]), one["signal"], _time(one["time_ms"]), str(one["items"]), str(one["bytes"]), waiting
        )
    options.console().print(table)


def _print_rejected(found: list[dict[str, Any]]) -> None:
    from rich.table import Table
    from rich.text import Text

    table = Table("id", "exporter", "time", "items", "reason", "the server's words", box=None, pad_edge=False)
    for one in found:
        words = Text(one["message"])
        table.add_row(str(one["id"]), one["exporter"], _time(one["time_ms"]), str(one["items"]), one["reason"], words)
    options.console().print(table)


def _time(ms: int) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(ms / 1000))


@spool.command(epilog="Example: nightjar spool show 17")
@options.state_option
@click.argument("number", type=int)
@click.option("--rejected", is_flag=True, help="NUMBER is that of a dead letter.")
def show(state: Path, number: int, rejected: bool) -> None:
    """Show a batch as JSON: time, names, labels, values."""
    from agent import spoolapi

    kind = "rejected" if rejected else "batches"
    found = ask(state, f"/api/spool/{kind}/{number}", lambda one: spoolapi.show(one, number, rejected=rejected))
    if found is None:
        options.fail(f"there is no {'dead letter' if rejected else 'batch'} {number}")
    options.emit(found)


@spool.command(epilog="Example: nightjar spool verify")
@options.state_option
def verify(state: Path) -> None:
    """Check every page and checksum. Exit 0 when all is sound, 1 with the faults."""
    faults = ask(state, "/api/spool/verify", lambda one: one.verify())
    for fault in faults:
        click.echo(fault)
    if faults:
        sys.exit(1)
    click.echo("sound")


@spool.command(epilog="Example: nightjar spool purge --exporter remote_write --yes")
@options.state_option
@click.option("--exporter", default="", help="What waits for this exporter alone; also one no longer configured.")
@click.option("--older-than", default="", metavar="AGE", help='What was stored longer ago, such as "24h".')
@click.option("--rejected", is_flag=True, help="The dead letters.")
@click.option("--yes", is_flag=True, help="Do not ask.")
def purge(state: Path, exporter: str, older_than: str, rejected: bool, yes: bool) -> None:
    """Give up what waits; it is counted as dropped with the reason `purged`."""
    from agent import spoolapi
    from config import Duration

    if not (exporter or older_than or rejected):
        raise click.UsageError("say what: --exporter NAME, --older-than AGE or --rejected")
    try:
        before = int((time.time() - Duration(older_than)) * 1000) if older_than else 0
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="--older-than") from error
    known = [
        one["exporter"]
        for one in ask(state, "/api/spool/stat", lambda one: spoolapi.stat(one.stat(), one.entries()))["ledger"]
    ]
    if exporter and exporter not in known:
        options.fail(f"nothing in this spool is for an exporter {exporter!r}; there are: {', '.join(known) or 'none'}")
    if not yes:
        click.confirm("This cannot be undone. Go on?", abort=True)
    from urllib.parse import urlencode

    wish = urlencode({"exporter": exporter, "before_ms": before, "rejected": int(rejected)})
    gone = ask(
        state,
        f"/api/spool/purge?{wish}",
        lambda one: spoolapi.purge(one, exporter, before, rejected=rejected),
        method="POST",
    )
    click.echo(f"gave up {gone['items']} items and {gone['rejected']} dead letters")


@spool.command(epilog="Example: nightjar spool replay --to remote_write spool.db.corrupt-20260101T000000Z")
@options.config_option
@click.option("--to", "target", required=True, metavar="EXPORTER", help="The configured exporter to send to.")
@click.option("--rejected", is_flag=True, help="The dead letters; those that are taken now are forgotten.")
@click.argument("path", required=False, type=click.Path(exists=True, dir_okay=False, path_type=Path))
def replay(file: str | None, target: str, rejected: bool, path: Path | None) -> None:
    """Send stored batches once more: a spool FILE set aside, or this agent's own spool (which must not run then)."""
    from agent.cli.replay import replay as send

    send(options.read(file), target, path, rejected=rejected)
