"""What several commands share: the options `-c`, `--state-dir` and `--json`, loading with every fault shown, and how to
print.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NoReturn, TypeVar

import click

from agent.cli import BAD_CONFIG
from agent.plugins import COLLECTORS, EXPORTERS
from config import (
    AgentOptions,
    ClientOptions,
    Config,
    ConfigError,
    Duration,
    ExporterCommon,
    Section,
    environment,
    find_file,
    load,
)
from config.rules import Recording, Rule

if TYPE_CHECKING:
    from config.sections import Part

F = TypeVar("F", bound=Callable[..., Any])

DAY: Final = 86_400.0  # seconds

WITHOUT = (
    "nightjar: --state-dir DIR does without the configuration; "
    f"DIR is where the agent keeps its state, such as {environment.VAR_STATE}"
)


def config_option(command: F) -> F:
    """`-c FILE`."""
    return click.option(
        "-c",
        "--config",
        "file",
        metavar="FILE",
        help="Configuration; default $NIGHTJAR_CONFIG, ./agent.toml, /etc/nightjar/agent.toml.",
    )(command)


def state_option(command: Callable[..., None]) -> Callable[..., None]:
    """`--state-dir DIR`, or else the one of `-c FILE`; the command gets it as `state`."""

    @click.option("--state-dir", metavar="DIR", help="The agent's state directory; the configuration is not read then.")
    @config_option
    @functools.wraps(command)
    def located(*, file: str | None, state_dir: str | None, **others: Any) -> None:
        command(state=Path(state_dir or read(file, way_round=WITHOUT).agent.state_dir), **others)

    return located


def json_option(command: F) -> F:
    """`--json`."""
    return click.option("--json", "as_json", is_flag=True, help="As JSON, with a stable shape.")(command)


def seconds(ctx: click.Context, option: click.Parameter, text: str) -> float:
    """The seconds of an option that takes a duration, or a number of seconds; at most a day. A callback of click's."""
    try:
        found = float(Duration(f"{text}s" if text[-1:].isdigit() else text))
    except ValueError:
        raise click.BadParameter("expected seconds, or a duration such as 1m30s", ctx, option) from None
    if found > DAY:
        raise click.BadParameter("expected at most a day", ctx, option)
    return found


def load_plain(file: str | None) -> Config:
    """The configuration; raises ConfigError with all its faults."""
    return load(find_file(file), collectors=COLLECTORS, exporters=EXPORTERS, defaults=COLLECTORS.rules)


def load_tried(file: str | None) -> Config:
    """The same for an agent that is to run: every part was tried out."""
    return load(find_file(file), collectors=COLLECTORS, exporters=EXPORTERS, defaults=COLLECTORS.rules, trial=_try_out)


def read(file: str | None, loaded: Callable[[str | None], Config] = load_plain, way_round: str = "") -> Config:
    """The configuration, or exit 78 with all its faults on standard error, and what can be done without it."""
    try:
        return loaded(file)
    except ConfigError as error:
        refuse(error, way_round)


def _try_out(part: Part) -> None:
    """Build a part as the daemon would; constructors do no I/O but read certificates. Raises ValueError."""
    if isinstance(part, (Rule, Recording)):
        _compile(part)
        return
    from agent.assembly import Refused, build
    from agent.tls import tls_context, try_client_files

    if isinstance(part, AgentOptions):
        tls_context(part)
    if not isinstance(part, Section):
        return
    if isinstance(part.options, ClientOptions):
        try_client_files(part.options)
    try:
        if isinstance(part.common, ExporterCommon):
            build(EXPORTERS, part, timeout=float(part.common.timeout))
        else:
            build(COLLECTORS, part)
    except Refused as refused:
        raise ValueError(str(refused).removeprefix(f"{part.name}: ")) from refused


def _compile(rule: Rule | Recording) -> None:
    """Compile a rule's expression, and an alert's templates; raises ValueError with every one that cannot be used."""
    from agent.rules.alerting import parse_rule
    from agent.templates import compile_template

    tables = {"labels": rule.labels, "annotations": rule.annotations} if isinstance(rule, Rule) else {}
    texts = [(f"{table}.{name}", text) for table, values in tables.items() for name, text in values.items()]
    faults = [] if rule.expr is None else list(_refusals("expr", rule.expr, parse_rule))
    for name, text in texts:
        faults += _refusals(name, text, compile_template)
    if faults:
        raise ValueError(*faults)


def _refusals(name: str, text: str, compiled: Callable[[str], object]) -> Iterator[str]:
    try:
        compiled(text)
    except ValueError as error:
        yield f"{name}: {str(error).removeprefix(f'{name}: ')}"


def refuse(error: Exception, way_round: str = "") -> NoReturn:
    """Show faults, and a way round them; exit 78."""
    color = sys.stderr.isatty() and not environment.no_color()
    for line in str(error).splitlines():
        place, _, text = line.partition(": ")
        click.echo(f"{click.style(place, bold=True)}: {text}" if color and text else line, err=True)
    if way_round:
        click.echo(way_round, err=True)
    sys.exit(BAD_CONFIG)


def fail(error: object) -> NoReturn:
    """Say what went wrong; exit 1."""
    click.echo(f"nightjar: {error}", err=True)
    sys.exit(1)


def emit(document: Any) -> None:
    """JSON on standard output."""
    import orjson

    click.echo(orjson.dumps(document, option=orjson.OPT_INDENT_2).decode())


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


def targets(found: dict[str, Any] | None) -> str:
    """How many targets of a collector are up; nothing for one that has none."""
    if found is None:
        return ""
    total = found["up"] + found["down"]
    return f"{found['up']} of {total} up" if found["down"] else f"{total} up"
