"""`nightjar spool replay`."""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import click

from agent.assembly import Refused, build
from agent.cli import options
from agent.plugins import EXPORTERS
from agent.replay import Replay
from agent.spool.lock import AlreadyRunning
from agent.spool.offline import Offline
from agent.spool.offline import replay as stored
from config import Config, Section


def replay(config: Config, target: str, path: Path | None, *, rejected: bool) -> None:
    """Send the batches of a file, or of this agent's own spool, to one exporter; exit 1 when some were refused."""
    section = next((one for one in config.exporters if one.name == target), None)
    if section is None:
        names = ", ".join(one.name for one in config.exporters) or "none"
        raise click.BadParameter(f"no exporter is called {target!r}; there are: {names}", param_hint="--to")
    try:
        with contextlib.ExitStack() as stack:
            own = None if path else stack.enter_context(Offline(Path(config.agent.state_dir)))
            source = path or Path(config.agent.state_dir) / "spool.db"
            letters = own.rejected() if own and rejected else []
            done = asyncio.run(_send(source, section, rejected=rejected))
            if own and letters and done.delivered == sum(one.items for one in letters):
                own.forget_rejected([one.id for one in letters])
    except (AlreadyRunning, Refused) as error:
        options.refuse(error)
    except OSError as error:
        options.fail(error)
    _report(done)


async def _send(source: Path, section: Section, *, rejected: bool) -> Replay:
    timeout = float(section.common.timeout or 30.0)
    exporter = build(EXPORTERS, section, timeout=timeout)
    with _bar() as told:
        done = Replay(stored(source, rejected=rejected), told, timeout=timeout)
        await done.run(section.name, exporter)
    return done


@contextlib.contextmanager
def _bar() -> Iterator[Callable[[int], None]]:
    """A progress line on a terminal."""
    from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    columns = (SpinnerColumn(), TextColumn("{task.completed} items sent"), TimeElapsedColumn())
    with Progress(*columns, console=options.console(stderr=True), disable=not sys.stderr.isatty()) as progress:
        task = progress.add_task("replay", total=None)
        yield lambda items: progress.update(task, completed=items)


def _report(done: Replay) -> None:
    click.echo(f"{done.delivered} items delivered, {sum(done.refused.values())} refused")
    for words in dict.fromkeys(done.words):
        click.echo(f"refused: {words}", err=True)
    if done.refused:
        sys.exit(1)
