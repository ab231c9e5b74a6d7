"""`nightjar run`: the daemon."""

from __future__ import annotations

import os
import resource
import signal
import sys
import threading

import click

from agent.cli import options
from config import Config, environment

DESCRIPTORS = 16_384
LEFT_BEHIND = 2.0  # seconds that what does not end with the daemon may hold up the process


@click.command(epilog="Example: nightjar run -c agent.toml")
@options.config_option
@click.option("--summary/--no-summary", default=None, help="The live summary; default: on a terminal, without a file.")
def run(file: str | None, summary: bool | None) -> None:
    """Run until SIGTERM or SIGINT. SIGHUP reads the configuration again.

    Without a file: host metrics every 15 seconds, served on http://127.0.0.1:9464/metrics.
    """
    signal.signal(signal.SIGHUP, signal.SIG_IGN)  # until the daemon listens: a reload asked for early must not end us
    config = options.read(file, options.load_tried)
    from agent import logs

    if summary is None:
        summary = sys.stdout.isatty() and not config.files
    level = "warning" if summary and config.agent.log_level == "info" else config.agent.log_level
    logs.configure(level, config.agent.log_format, color=not environment.no_color())
    _raise_descriptor_limit()
    sys.exit(_run(config, file, summary))


def _raise_descriptor_limit() -> None:
    """A thousand probes at once are a thousand descriptors. The usual soft limit of 1,024 is for programs that use
    select(), and we use none.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = DESCRIPTORS if hard == resource.RLIM_INFINITY else min(DESCRIPTORS, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def _run(config: Config, file: str | None, summary: bool) -> int:
    import asyncio

    import uvloop

    from agent.assembly import Refused
    from agent.spool.lock import AlreadyRunning

    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(_serve(config, file, summary))
    except (ExceptionGroup, Refused, AlreadyRunning, OSError) as error:
        for cause in (causes := _leaves(error)):
            if isinstance(cause, Refused | AlreadyRunning):
                options.refuse(cause)
        if not all(isinstance(cause, OSError) for cause in causes):
            raise  # a defect of ours ends loudly
        click.echo(f"nightjar: {causes[0]}", err=True)
        return 1
    return 0


def _leaves(error: Exception) -> list[Exception]:
    if isinstance(error, ExceptionGroup):
        return [leaf for one in error.exceptions for leaf in _leaves(one)]
    return [error]


async def _serve(config: Config, file: str | None, summary: bool) -> None:
    import asyncio

    from agent.daemon import Daemon

    daemon = Daemon(config, lambda: options.load_tried(file))
    if not summary:
        await daemon.run()
        _end_soon()
        return
    from agent.cli.summary import show

    shown = asyncio.create_task(show(daemon))
    try:
        await daemon.run()
    finally:
        shown.cancel()
        await asyncio.wait({shown})
    _end_soon()


def _end_soon() -> None:
    """End the process whatever is left behind: a collector that ignores its cancellation, a thread in a dead mount.

    The daemon has ended in order here; only the interpreter would go on waiting.
    """
    timer = threading.Timer(LEFT_BEHIND, os._exit, (0,))
    timer.daemon = True
    timer.start()
