"""What several commands share: the `-c` option, loading with every fault shown, and how to print."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any, NoReturn, TypeVar

import click

from agent.cli import BAD_CONFIG
from agent.plugins import COLLECTORS, EXPORTERS
from config import Config, ConfigError, environment, find_file, load

__all__ = ["Config", "ago", "config_option", "console", "read", "refuse", "size"]

F = TypeVar("F", bound=Callable[..., Any])


def config_option(command: F) -> F:
    """`-c FILE`."""
    return click.option(
        "-c",
        "--config",
        "file",
        metavar="FILE",
        help="Configuration; default $NIGHTJAR_CONFIG, ./agent.toml, /etc/nightjar/agent.toml.",
    )(command)


def read(file: str | None) -> Config:
    """The configuration, or exit 78 with all its faults on standard error."""
    try:
        return load(find_file(file), collectors=COLLECTORS, exporters=EXPORTERS)
    except ConfigError as error:
        refuse(error)


def refuse(error: Exception) -> NoReturn:
    """Show faults and exit 78."""
    color = sys.stderr.isatty() and not environment.no_color()
    lines = str(error).splitlines()
    for line in lines:
        place, _, text = line.partition(": ")
        click.echo(f"{click.style(place, bold=True)}: {text}" if color and text else line, err=True)
    sys.exit(BAD_CONFIG)


def console(*, stderr: bool = False) -> Any:
    """A rich console: colour and width on a terminal, plain and unwrapped when piped."""
    from rich.console import Console

    stream = sys.stderr if stderr else sys.stdout
    piped = not stream.isatty()
    return Console(
        file=stream,
        no_color=environment.no_color() or None,
        width=200 if piped else None,
        highlight=False,
        soft_wrap=piped,
    )


def size(count: float) -> str:
    """Bytes for people."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if count < 1024 or unit == "GiB":
            return f"{count:.0f} {unit}" if unit == "B" or count >= 100 else f"{count:.1f} {unit}"
        count /= 1024
    raise AssertionError


def ago(seconds: float) -> str:
    """An age for people."""
    for unit, length in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:.0f} {unit}"
    return f"{seconds:.0f} s"
