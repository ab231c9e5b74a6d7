"""`nightjar spool replay`."""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import click

from agent.assembly import Refused, build
from agent.cli import inspection, options
from agent.codec import Corrupt
from agent.model import Batch
from agent.plugins import EXPORTERS
from agent.replay import Replay
from agent.spool.lock import AlreadyRunning
from agent.spool.offline import DamagedSpool, Offline, decoded_rejected
from agent.spool.offline import replay as stored
from config import Config, Section


def replay(config: Config, target: str, path: Path | None, *, rejected: bool) -> None:
    """Send the batches of a file, or of this agent's own spool, to one exporter; exit 1 when some were refused."""
    section = next((one for one in config.exporters if one.name == target), None)
    if section is None:
        names = ", ".join(one.name for one in config.exporters) or "none"
        raise click.BadParameter(f"no exporter is called {target!r}; there are: {names}", param_hint="--to")
    try:
        if path is not None:
            done = asyncio.run(_send(stored(path, rejected=rejected), section))
            fault = inspection.fault(path)
        else:
            done, fault = _send_own(Path(config.agent.state_dir), section, rejected=rejected)
    except (AlreadyRunning, Refused) as error:
        options.refuse(error)
    except (DamagedSpool, OSError) as error:
        options.fail(error)
    _report(done, f"{path or config.agent.state_dir} {fault}" if fault else "")


def _send_own(state: Path, section: Section, *, rejected: bool) -> tuple[Replay, str]:
    """Send from the spool that no agent holds; dead letters that are taken are forgotten."""
    with Offline(state) as own:
        if not rejected:
            done = asyncio.run(_send(stored(state / "spool.db"), section))
        else:
            letters = dict(_letters(own))
            done = asyncio.run(_send(letters.values(), section, alone=True))
            ids = list(letters)
            if done.taken and not own.fault:
                own.forget_rejected([ids[number] for number in done.taken])
        return done, f"is damaged: {own.fault}" if own.fault else ""


def _letters(own: Offline) -> Iterator[tuple[int, Batch]]:
    """The dead letters that can be read, by their ids."""
    for one in own.rejected():
        with contextlib.suppress(Corrupt):
            yield one.id, decoded_rejected(one)


async def _send(batches: Iterable[Batch], section: Section, *, alone: bool = False) -> Replay:
    timeout = float(section.common.timeout or 30.0)
    exporter = build(EXPORTERS, section, timeout=timeout)
    with _bar() as told:
        done = Replay(batches, told, timeout=timeout, alone=alone)
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


def _report(done: Replay, fault: str) -> None:
    nothing = not done.delivered and not done.refused
    if not (fault and nothing):
        click.echo(f"{done.delivered} items delivered, {sum(done.refused.values())} refused")
    for words in dict.fromkeys(done.words):
        click.echo(f"refused: {words}", err=True)
    if fault:
        click.echo(f"nightjar: {fault}", err=True)
    if done.refused or (fault and nothing):
        sys.exit(1)
