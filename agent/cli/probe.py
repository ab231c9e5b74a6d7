"""`nightjar probe KIND TARGET`: one look at one target without any file, judged; for Nagios, cron and people.

Standard output has one line, or JSON; the exit code is 0 OK, 1 WARNING, 2 CRITICAL, 3 UNKNOWN, and 3 for a usage error.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any, Final, NoReturn

import click

from agent import __version__
from agent.cli import ending, options
from agent.cli.flags import build_options, flag, flags_of, given
from agent.cli.kinds import KINDS, WHERE, Kind, place
from agent.cli.nagios import Status, parse_range
from agent.cli.outcome import Outcome, Wish, told
from agent.cli.usage import Judging
from agent.plugins import COLLECTORS
from config.faults import did_you_mean

TIMEOUT: Final = 10  # seconds, where the call does not say
JSON: Final = "--json"


class Probe(Judging, click.Group):
    """The kinds as commands, each made when it is called."""

    def refusal(self, error: click.UsageError, faults: Sequence[str], args: Sequence[str]) -> str:
        """What is wrong with a call, in the words of the kind."""
        kind = error.ctx.info_name if error.ctx is not None else None
        path, word = (f"nightjar probe {kind}", str(kind)) if kind in KINDS else ("nightjar probe", "probe")
        more = faults if len(faults) > 1 else ()
        outcome = Outcome(Status.UNKNOWN, _headline(faults), details=[*more, f"Try `{path} --help`."])
        return told(outcome, word, as_json=JSON in args)

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The kinds, in the order of the manual."""
        return list(KINDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command of a kind."""
        return _command(cmd_name) if cmd_name in KINDS else None

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """The command, or the kind that was probably meant. From here on the time runs: what is imported may hang."""
        if args[0] not in KINDS:
            known = did_you_mean(args[0], KINDS) or f"; there are {', '.join(KINDS)}"
            ctx.fail(f"no such kind {args[0]!r}{known}")
        if not ctx.resilient_parsing:  # as completion does it
            ctx.obj = _watched(*args)
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The list, without importing anything."""
        with formatter.section("Kinds"):
            formatter.write_dl([(name, kind.about) for name, kind in KINDS.items()])


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


def _headline(faults: Sequence[str]) -> str:
    return faults[0] if len(faults) == 1 else f"{len(faults)} faults: {'; '.join(faults)}"


def _watched(name: str, *args: str) -> ending.Ending:
    """The way out. The collector's flags are not known yet, and left alone: its module may be what hangs."""
    lenient = {"ignore_unknown_options": True, "allow_extra_args": True}
    own = click.Command(name, params=[*_own_flags(KINDS[name])], context_settings=lenient)
    seconds = own.make_context(name, [*args], resilient_parsing=True).params["timeout"]
    ending.open_standard()
    end = ending.Ending(
        seconds or TIMEOUT, lambda message: told(Outcome(Status.UNKNOWN, message), name, as_json=JSON in args)
    )
    end.watch()
    return end


def _command(name: str) -> click.Command:
    """The command of a kind, with a flag for every option; a kind that cannot be loaded takes anything and says so."""
    kind = KINDS[name]

    @click.pass_obj
    def look(end: ending.Ending, /, **values: Any) -> None:
        _probe(name, plugin, values, end)

    try:
        plugin = COLLECTORS.plugin(name)
    except (ImportError, OSError) as error:
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
        click.Option(
            ["-t", "--timeout"],
            default=f"{TIMEOUT}s",
            callback=options.seconds,
            metavar="SECONDS",
            help=f"For all of it; default {TIMEOUT}s.",
        ),
        click.Option(["-v", "--verbose"], count=True, help="Single values; -vv: every sample; -vvv: the log."),
        click.Option([JSON, "as_json"], is_flag=True, help="As JSON, with a stable shape."),
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


def _probe(name: str, plugin: Any, values: Mapping[str, Any], end: ending.Ending) -> NoReturn:
    """Look, judge, print, and end the process."""
    wish = _wish(name, values)
    _quieten(wish.verbose)
    try:
        collector = _collector(plugin, KINDS[name], values)
    except ValueError as faults:
        end.give_up(_headline([*map(str, faults.args)] or ["cannot be used"]))
    except (ImportError, OSError) as error:
        end.give_up(f"{name} cannot be used here: {error}")
    from agent.cli import probed

    try:
        outcome = asyncio.new_event_loop().run_until_complete(probed.look(collector, plugin, wish, end.left))
    except OSError as error:  # such as no more threads or files
        end.give_up(f"{name} cannot be looked at: {error}")
    end.end(told(outcome, name, verbose=wish.verbose, as_json=wish.as_json), outcome.status)


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
        ("warning", values["warning"], parse_range),
        ("critical", values["critical"], parse_range),
        ("query", values["expr"], _query),
    ):
        try:
            found[key] = None if text is None else read(text)
        except ValueError as error:
            faults.append(f"--{'expr' if key == 'query' else key}: {error}")
    if not values["timeout"]:
        faults.append("--timeout: expected more than nothing")
    kind = KINDS[name]
    if not kind.value and not values["expr"] and (values["warning"] or values["critical"]):
        faults.append("--warning, --critical: are about --expr here, which is missing")
    query = found.get("query")
    if query is not None and not query.is_condition and not (values["warning"] or values["critical"]):
        faults.append("--expr: is no comparison: --warning or --critical say which of its values are wrong")
    if faults:
        raise click.UsageError("\n".join(faults))
    told_as = {"verbose": values["verbose"], "as_json": values["as_json"]}
    return Wish(name, kind.value, values["timeout"], **told_as, **found)


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
    written = given(values)
    named: dict[str, str] = {}
    if kind.option and (target := place(kind, values)) is not None:
        if kind.option in written:
            raise ValueError(f"{flag(kind.option)}: TARGET says that already")
        written[kind.option] = (target,) if kind.option == "targets" else target
        named[kind.option] = "TARGET" if values["target"] is not None else "--hostname"
    elif kind.option and not written.keys() & set(WHERE):
        raise ValueError("missing TARGET (or -H HOST)")
    built = build_options(plugin.Options, written, named)
    if any(getattr(built, name, None) for name in ("ca_file", "cert_file")):
        from agent.tls import try_client_files

        try_client_files(built)
    more = {"labels": {}, "timeout": values["timeout"]} if getattr(plugin, "own_labels", False) else {}
    return plugin(built, **more)
