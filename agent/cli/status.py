"""`nightjar status`: what the running agent says of itself."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

import click

from agent.cli import options
from agent.cli.admin import NotRunning, ask


@click.command(epilog="Example: nightjar status --json")
@options.state_option
@options.json_option
def status(state: Path, as_json: bool) -> None:
    """Show what the running agent holds. Exit 0 when it is ready, 1 when it is not or does not run."""
    try:
        found = ask(state, "/api/status")
    except NotRunning as error:
        options.fail(error)
    (options.emit if as_json else _print)(found)
    sys.exit(0 if found["ready"] else 1)


def _print(found: dict[str, Any]) -> None:
    console = options.console()
    state = "[green]ready[/]" if found["ready"] else "[red]not ready[/]"
    console.print(
        f"[bold]Nightjar {found['version']}[/] on {found['instance']}, up "
        f"{options.ago(found['uptime_seconds'])}: {state}"
    )
    for reason in found["reasons"]:
        console.print(f"  {reason}", markup=False)
    console.print(_collectors(found))
    for one in found["collectors"]:
        for target in (one.get("targets") or {}).get("failing", ()):
            console.print(f"{one['name']}: {target['target']} is down: {target['reason']}", markup=False, style="red")
    for one in found["rules"]["alerts"]:
        console.print(_alert(one), soft_wrap=True)
    for one in found["exporters"]:
        if one["error"]:
            last = f"{options.ago(time.time() - one['last_success'])} ago" if one["last_success"] else "never"
            text = f"{one['name']}: {one['error']} ({one['failures_in_a_row']} attempts, last success {last})"
            console.print(text, markup=False, style="red", soft_wrap=True)
    if found["ledger"]:
        console.print(ledger_table(found["ledger"]))
    spool = found["spool"]
    console.print(
        f"spool {spool['path']}: {options.size(spool['bytes'])} of {options.size(spool['max_bytes'])}, "
        f"{spool['batches']} batches",
        markup=False,
    )


def _alert(one: dict[str, Any]) -> Any:
    from rich.text import Text

    word = "pending" if one["state"] == "pending" else one["status"]
    since = f" (for {options.ago(time.time() - one['since'])})" if one["since"] else ""
    style = {"pending": "dim", "info": "cyan", "warning": "yellow", "unknown": "magenta"}.get(word, "red")
    return Text.assemble((word, style), f" {one['check']}: {one['message']}{since}")


def _collectors(found: dict[str, Any]) -> Any:
    from rich.table import Table

    table = Table("collector", "kind", "outcome", "targets", "series", "took", "last success", box=None, pad_edge=False)
    for one in found["collectors"]:
        last = f"{options.ago(time.time() - one['last_success'])} ago" if one["last_success"] else "never"
        took = f"{one['duration_seconds'] * 1000:.1f} ms"
        outcome, targets = one["outcome"] or "waiting", options.targets(one.get("targets"))
        table.add_row(one["name"], one["kind"], outcome, targets, str(one["series"]), took, last)
    return table


def ledger_table(entries: list[dict[str, Any]]) -> Any:
    """The ledger, for people."""
    from rich.table import Table

    table = Table(
        "exporter", "signal", "accepted", "delivered", "pending", "dropped", "rejected", box=None, pad_edge=False
    )
    for one in entries:
        name = one["exporter"] if one.get("configured", True) else f"{one['exporter']} (not configured)"
        numbers = [str(one[key]) for key in ("accepted", "delivered", "pending")]
        table.add_row(name, one["signal"], *numbers, _book(one["dropped"]), _book(one["rejected"]))
    return table


def _book(reasons: dict[str, int]) -> str:
    return ", ".join(f"{count} {reason}" for reason, count in reasons.items()) or "0"
