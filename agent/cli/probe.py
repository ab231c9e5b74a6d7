"""`nightjar probe KIND TARGET`: one look at one target without any file, judged; for Nagios, cron and people.

Standard output has one line, or JSON; the exit code is 0 OK, 1 WARNING, 2 CRITICAL, 3 UNKNOWN, and 3 for a usage error.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any, NoReturn

import click
import msgspec
from msgspec import Struct

from agent import __version__
from agent.cli import ending
from agent.cli.flags import build_options, flag, flags_of, given
from agent.cli.kinds import KINDS, WHERE, Kind, place
from agent.nagios import Range, Status, parse_range, plugin_output
from agent.plugins import COLLECTORS
from config import Duration
from config.faults import did_you_mean


class Wish(Struct, frozen=True):
    """What to judge, and how to tell it."""

    kind: str
    value: str
    timeout: float
    warning: Range | None = None
    critical: Range | None = None
    query: Any = None
    verbose: int = 0
    as_json: bool = False

    @property
    def ranged(self) -> bool:
        """Whether there is a range."""
        return self.warning is not None or self.critical is not None

    @property
    def judges(self) -> bool:
        """Whether the command line says what is wrong; else the default rules do."""
        return self.ranged or self.query is not None

    def told(self, message: str) -> str:
        """The output of what could not be looked at."""
        if not self.as_json:
            return plugin_output(self.kind.upper(), Status.UNKNOWN, message)
        return document(self.kind, Status.UNKNOWN, message)


def document(
    kind: str,
    status: Status,
    message: str,
    target: str | None = None,
    value: float | None = None,
    samples: Sequence[Any] = (),
) -> str:
    """The output as JSON; its keys stay. What is no number is null."""
    told = {
        "status": status.name,
        "exit_code": int(status),
        "kind": kind,
        "target": target,
        "message": message.encode("utf-8", "replace").decode(),
        "value": value,
        "samples": samples,
    }
    return msgspec.json.format(msgspec.json.encode(told), indent=2).decode()


class Probe(click.Group):
    """The kinds as commands, each made when it is called; what is wrong with a call is told on standard output, 3."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The kinds, in the order of the manual."""
        return list(KINDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command of a kind."""
        return _command(cmd_name) if cmd_name in KINDS else None

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """The command, or the kind that was probably meant."""
        if args[0] not in KINDS:
            known = did_you_mean(args[0], KINDS) or f"; there are {', '.join(KINDS)}"
            ctx.fail(f"no such kind {args[0]!r}{known}")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The list, without importing anything."""
        with formatter.section("Kinds"):
            formatter.write_dl([(name, kind.about) for name, kind in KINDS.items()])

    def make_context(self, info_name: str | None, args: list[str], parent: Any = None, **extra: Any) -> click.Context:
        """The context, or the end."""
        as_json = "--json" in args  # by the time that something is wrong it may not have been read
        try:
            found = super().make_context(info_name, args, parent, **extra)
        except click.UsageError as error:
            _refuse(error, as_json=as_json)
        found.obj = as_json
        return found

    def invoke(self, ctx: click.Context) -> Any:
        """The look, or the end."""
        try:
            return super().invoke(ctx)
        except click.UsageError as error:
            _refuse(error, as_json=bool(ctx.obj))


probe = Probe(
    "probe",
    help="Look at one target, without any file, and judge it: exit 0 OK, 1 WARNING, 2 CRITICAL, 3 UNKNOWN.",
    params=[],
    no_args_is_help=False,
    subcommand_metavar="KIND [TARGET] [OPTIONS]",
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Example: nightjar probe tcp 127.0.0.1:22 -w 0.5 -c 2. Flags of a kind: nightjar probe KIND --help",
)
click.version_option(__version__, "-V", "--version", prog_name="nightjar")(probe)


def _refuse(error: click.UsageError, *, as_json: bool) -> NoReturn:
    """Say what is wrong with the call where a monitoring server reads it; exit 3."""
    kind = error.ctx.info_name if error.ctx is not None else None
    path, word = (f"nightjar probe {kind}", str(kind)) if kind in KINDS else ("nightjar probe", "probe")
    told = error.format_message().strip(". ") or "wrong usage"
    lines = f"{told[:1].lower()}{told[1:]}".splitlines()
    headline = lines[0] if len(lines) == 1 else f"{len(lines)} faults: {'; '.join(lines)}"
    if as_json:
        ending.write(document(word, Status.UNKNOWN, headline))
    else:
        more = lines[1:] and lines
        ending.write(plugin_output(word.upper(), Status.UNKNOWN, headline, [*more, f"Try `{path} --help`."]))
    raise click.exceptions.Exit(Status.UNKNOWN)


def _command(name: str) -> click.Command:
    """The command of a kind, with a flag for every option; a kind that cannot be loaded takes anything and says so."""
    kind = KINDS[name]

    def look(**values: Any) -> None:
        _probe(name, plugin, values)

    try:
        plugin = COLLECTORS.plugin(name)
    except ImportError as error:
        raise click.UsageError(f"this kind cannot be loaded: {error}") from None
    return click.Command(
        name,
        callback=look,
        params=[*_own_flags(kind), *flags_of(plugin.Options)],
        help=f"{kind.about} Options are those of `[collectors.{name}]`; `nightjar plugins {name}` describes them.",
        epilog=f"Example: nightjar probe {name} {kind.example}",
    )


def _own_flags(kind: Kind) -> Sequence[click.Parameter]:
    main = {"seconds": "the seconds it took", "days": "the days the certificate lasts"}.get(kind.value, "")
    judged = " or ".join([*([main] if main else []), "the value of --expr"])
    target: list[click.Parameter] = [
        click.Argument(["target"], required=False),
        click.Option(["-H", "--hostname"], metavar="HOST", help="In place of TARGET."),
        click.Option(["-p", "--port"], type=click.IntRange(1, 65535), metavar="PORT", help="With -H."),
    ]
    if not kind.ports:
        target.pop()
    return [
        *(target if kind.option else []),
        click.Option(["-w", "--warning"], metavar="RANGE", help=f"WARNING when {judged} is out of this Nagios range."),
        click.Option(["-c", "--critical"], metavar="RANGE", help="CRITICAL likewise."),
        click.Option(["--expr"], metavar="PROMQL", help="Judge this; without a range any answer is CRITICAL."),
        click.Option(["-t", "--timeout"], default="10s", metavar="SECONDS", help="For all of it; default 10s."),
        click.Option(["-v", "--verbose"], count=True, help="Single values; -vv: every sample; -vvv: the log."),
        click.Option(["--json", "as_json"], is_flag=True, help="As JSON, with a stable shape."),
        _version(),
        click.Option(
            ["-h", "--help"], is_flag=True, is_eager=True, expose_value=False, callback=_help, help="Show this."
        ),
    ]


def _version() -> click.Option:
    def show(ctx: click.Context, option: click.Parameter, wanted: bool) -> None:
        if wanted and not ctx.resilient_parsing:
            ending.write(f"nightjar, version {__version__}")
            ctx.exit()

    return click.Option(
        ["-V", "--version"], is_flag=True, is_eager=True, expose_value=False, callback=show, help="Show the version."
    )


def _help(ctx: click.Context, option: click.Parameter, wanted: bool) -> None:
    if wanted and not ctx.resilient_parsing:
        ending.write(ctx.get_help())
        ctx.exit()


# -- one call ---------------------------------------------------------------------------------------------------------


def _probe(name: str, plugin: Any, values: Mapping[str, Any]) -> NoReturn:
    """Look, judge, print, and end the process."""
    ending.open_standard()
    wish = _wish(name, values)
    end = ending.Ending(wish.timeout, wish.told)
    end.watch()
    _quieten(wish.verbose)
    try:
        collector = _collector(plugin, KINDS[name], values)
    except ValueError as faults:
        first, *more = [*map(str, faults.args)] or ["cannot be used"]
        end.give_up(f"{1 + len(more)} faults: {'; '.join([first, *more])}" if more else first)
    except (ImportError, OSError) as error:
        end.give_up(f"{name} cannot be used here: {error}")
    from agent.cli import probed

    try:
        outcome = asyncio.new_event_loop().run_until_complete(probed.look(collector, plugin, wish, end.left))
    except OSError as error:  # such as no more threads or files
        end.give_up(f"{name} cannot be looked at: {error}")
    end.end(probed.told(outcome, wish), outcome.status)


def _quieten(verbose: int) -> None:
    """A plugin says one thing, on standard output; the agent's log is for who asks for more."""
    import logging

    from agent import logs

    if verbose > 2:
        logs.configure("warning", "console", color=False)
    else:
        logging.disable()


def _wish(name: str, values: Mapping[str, Any]) -> Wish:
    """What the command's own flags ask for; raises UsageError with all that is wrong with them."""
    found: dict[str, Any] = {}
    faults = []
    for key, text, read in (
        ("timeout", values["timeout"], _seconds),
        ("warning", values["warning"], parse_range),
        ("critical", values["critical"], parse_range),
        ("query", values["expr"], _query),
    ):
        try:
            found[key] = None if text is None else read(text)
        except ValueError as error:
            faults.append(f"--{'expr' if key == 'query' else key}: {error}")
    kind = KINDS[name]
    if not kind.value and not values["expr"] and (values["warning"] or values["critical"]):
        faults.append("--warning, --critical: are about --expr here, which is missing")
    if getattr(found.get("query"), "kind", "") == "scalar" and not (values["warning"] or values["critical"]):
        faults.append("--expr: answers a number: --warning or --critical say which numbers are wrong")
    if faults:
        raise click.UsageError("\n".join(faults))
    return Wish(name, kind.value, verbose=values["verbose"], as_json=values["as_json"], **found)


def _seconds(text: str) -> float:
    try:
        seconds = float(Duration(f"{text}s" if text[-1:].isdigit() else text))
    except ValueError:
        raise ValueError("expected seconds, or a duration such as 1m30s") from None
    if not 0 < seconds <= 86_400:
        raise ValueError("expected more than nothing, and at most a day")
    return seconds


def _query(text: str) -> Any:
    from agent.promql import parse_query

    query = parse_query(text)
    if query.kind == "string":
        raise ValueError("answers a text, which nothing can judge")
    if query.needs_history:
        raise ValueError("looks further back than one call can; put it into a rule of the daemon's")
    return query


def _collector(plugin: Any, kind: Kind, values: Mapping[str, Any]) -> Any:
    """The collector; raises ValueError with every fault of its options, and what its constructor raises."""
    options = given(values)
    named: dict[str, str] = {}
    if kind.option and (target := place(kind, values)) is not None:
        if kind.option in options:
            raise ValueError(f"{flag(kind.option)}: TARGET says that already")
        options[kind.option] = (target,) if kind.option == "targets" else target
        named[kind.option] = "TARGET" if values["target"] is not None else "--hostname"
    elif kind.option and not options.keys() & set(WHERE):
        raise ValueError("missing TARGET (or -H HOST)")
    built = build_options(plugin.Options, options, named)
    if any(getattr(built, name, None) for name in ("ca_file", "cert_file")):
        from agent.tls import try_client_files

        try_client_files(built)
    more = {"labels": {}, "timeout": _seconds(values["timeout"])} if getattr(plugin, "own_labels", False) else {}
    return plugin(built, **more)
