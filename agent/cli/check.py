"""`nightjar check`: every configured collector once, judged by the rules in force; for cron, Nagios and people."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import msgspec
import orjson
from msgspec import Struct

from agent import __version__
from agent.cli import ending, options, usage
from agent.cli.ending import STDERR, STDOUT
from agent.scheduler import offset
from config import Config, ConfigError, Section, environment
from config.faults import did_you_mean

if TYPE_CHECKING:
    from agent.cli.lastrun import Blind, LastRun
    from agent.cli.oneshot import OneShot
    from agent.cli.report import Report
    from agent.rules.inforce import InForce

LEAST = 0.5  # seconds
SPARE = 2.0  # seconds after which what does not end by itself is ended
TEMPFAIL = 75  # EX_TEMPFAIL of sysexits.h: another run is at it


class Wishes(Struct, frozen=True):
    """What the command line asks for; times in seconds."""

    style: str
    timeout: float
    quiet: bool
    on_change: bool
    splay: float
    push: bool
    push_timeout: float
    verbose: bool


class Check(usage.Judging):
    """The command, and how it tells a wrong call: as a document where one is asked for."""

    def refusal(self, error: click.UsageError, faults: Sequence[str], args: Sequence[str]) -> str:
        """The output for what is wrong with a call."""
        if "--json" in args or "json" in args:
            document = {"status": "unknown", "exit_code": ending.UNKNOWN, "summary": "; ".join(faults), "checks": []}
            return orjson.dumps(document, option=orjson.OPT_INDENT_2).decode()
        return f"UNKNOWN: {'; '.join(faults)}\nTry `nightjar check --help`."


@click.command(cls=Check, epilog="Example: nightjar check host --format nagios")
@click.argument("names", nargs=-1, metavar="[NAME]...")
@options.config_option
@click.option("--format", "style", type=click.Choice(["text", "nagios", "json"]), default="text", help="Default text.")
@click.option("--json", "style", flag_value="json", help="The same as --format json.")
@click.option(
    "-t", "--timeout", default="10s", callback=options.seconds, help="For all collectors together; default 10s."
)
@click.option("-q", "--quiet", is_flag=True, help="Nothing when all is well; else what is wrong, on standard error.")
@click.option("--on-change", is_flag=True, help="Tell only what is different from the last run.")
@click.option(
    "--splay", default="0s", callback=options.seconds, help="Wait first, each host another part of this time."
)
@click.option("--push", is_flag=True, help="Deliver what is seen to the exporters, too.")
@click.option(
    "--push-timeout", default="10s", callback=options.seconds, help="For the delivery; what is left waits in the spool."
)
@click.option("-v", "--verbose", is_flag=True, help="Tell also which rules a single look cannot judge.")
@click.version_option(__version__, "-V", "--version", prog_name="nightjar")
def check(names: Sequence[str], file: str | None, **wishes: Any) -> None:
    """Run every configured collector once, or those with these names, and judge what they see.

    Exit 0 OK, 1 WARNING, 2 CRITICAL, 3 UNKNOWN; 78 for a configuration that cannot be used.
    """
    ending.open_standard()
    wish = Wishes(**wishes)
    if wish.timeout < LEAST:
        raise click.UsageError(f"--timeout: at least {LEAST:g} s are needed to look at anything")
    end = _end(wish)
    config = _configuration(file, wish)
    sections = _chosen(config, names)
    if wish.push and not config.exporters:
        raise click.UsageError("--push needs an exporter, and none is configured")
    if wish.splay:
        time.sleep(offset(config.agent.instance, wish.splay))
    last = _last_run(config, names, wish)
    loop = asyncio.new_event_loop()  # whose end waits for no thread, as that of asyncio.run would
    shot, report, blind = loop.run_until_complete(_look(config, sections, wish, partial=bool(names)))
    then = _nothing
    if last is not None and wish.on_change:
        report, then = _compared(report, last, blind)
    end.keep(_told(report, wish), report.exit_code, then)
    if wish.push:
        from agent.cli.push import deliver

        pushed = loop.run_until_complete(deliver(config, shot.batches, wish.push_timeout))
        report = msgspec.structs.replace(report, pushed=pushed)
        end.keep(_told(report, wish), report.exit_code, then)
    with contextlib.suppress(TimeoutError):
        loop.run_until_complete(asyncio.wait_for(shot.close(), SPARE / 2))
    end.end(_told(report, wish), report.exit_code, then)


def _chosen(config: Config, names: Sequence[str]) -> list[Section]:
    known = {section.name: section for section in config.collectors}
    for name in names:
        if name not in known:
            there = did_you_mean(name, known) or f"; there are {', '.join(known) or 'none'}"
            raise click.UsageError(f"no collector is called {name!r}{there}")
    return [known[name] for name in dict.fromkeys(names)] if names else list(config.collectors)


def _last_run(config: Config, names: Sequence[str], wish: Wishes) -> LastRun | None:
    """The lock taken; None where the state directory cannot be written."""
    from agent.cli.lastrun import LastRun, Overlap

    try:
        last = LastRun(Path(config.agent.state_dir), (*map(os.path.abspath, config.files), *names))
        last.lock()
    except Overlap as overlap:
        if wish.quiet:
            sys.exit(TEMPFAIL)
        ending.write(f"UNKNOWN: {overlap}")
        sys.exit(ending.UNKNOWN)
    except OSError as error:
        if wish.on_change and not wish.quiet:
            click.echo(f"nightjar: the last run is not known, all is told: {error.strerror}", err=True)
        return None
    return last


def _end(wish: Wishes) -> ending.Ending:
    """The way out, which nothing holds up."""
    seconds = wish.splay + wish.timeout + (wish.push_timeout if wish.push else 0.0) + SPARE
    found = ending.Ending(seconds, lambda message: f"UNKNOWN: {message}", STDERR if wish.quiet else STDOUT)
    found.watch()
    return found


def _configuration(file: str | None, wish: Wishes) -> Config:
    """The configuration, or the end with its faults; a monitoring server gets them as a plugin tells what it knows."""
    if wish.style != "nagios":
        return options.read(file, options.load_tried)
    try:
        return options.load_tried(file)
    except ConfigError as error:
        from agent.cli.nagios import Status, plugin_output

        first, *more = str(error).splitlines()
        ending.write(plugin_output("NIGHTJAR", Status.UNKNOWN, first, more))
        sys.exit(ending.UNKNOWN)


def _nothing() -> None:
    """There is nothing to do after telling."""


# -- the look ---------------------------------------------------------------------------------------------------------


async def _look(
    config: Config, sections: Sequence[Section], wish: Wishes, *, partial: bool
) -> tuple[OneShot, Report, Blind]:
    """What was seen, what is found in it, and what could not be seen."""
    from agent import logs
    from agent.assembly import build_runner, rules_of
    from agent.cli.oneshot import OneShot
    from agent.cli.report import Report
    from agent.rules.findings import explained, findings, shared_labels
    from agent.rules.judge import Judge

    logs.configure("error", "console", color=False)
    began = time.monotonic()
    judge = Judge(_meant(rules_of(config), sections), brief=True, partial=partial)
    shot = OneShot(judge, wish.timeout)
    await shot.run([build_runner(one, config, shot.submit, within=shot.left) for one in sections])
    found = explained(findings(judge, shared_labels(config.agent)), shot.runners) + shot.outcomes()
    report = Report(config.agent.instance, found, judge.unjudged, time.monotonic() - began)
    return shot, report, shot.blind(judge.alerting)


def _meant(rules: Sequence[InForce], sections: Sequence[Section]) -> list[InForce]:
    """The rules that these collectors' series can be judged by."""
    kinds = {section.kind for section in sections}
    return [one for one in rules if not one.kind or kinds & {one.kind, *one.also}]


# -- what is told -----------------------------------------------------------------------------------------------------


def _compared(report: Report, last: LastRun, blind: Blind) -> tuple[Report, Callable[[], None]]:
    """The report of what is different from the last run, and what is to be done once that is told: keep this one."""
    from agent.cli.lastrun import changes, kept

    before = last.read()

    def keep() -> None:
        try:
            last.write(kept(before, report.findings, blind))
        except OSError as error:
            click.echo(f"nightjar: what was found cannot be kept for the next run: {error}", err=True)

    return msgspec.structs.replace(report, changes=changes(before, report.findings, blind)), keep


def _told(report: Report, wish: Wishes) -> str:
    """The output; empty where there is nothing to say."""
    from agent.cli import report as told

    nothing = report.changes == [] or (wish.quiet and not report.exit_code and not report.changes)
    if nothing and not report.trouble and (wish.quiet or wish.style == "text"):
        return ""
    if wish.style == "json":
        return orjson.dumps(told.document(report), option=orjson.OPT_INDENT_2).decode()
    if wish.style == "nagios":
        return told.nagios(report)
    color = not environment.no_color() and os.isatty(STDERR if wish.quiet else STDOUT)
    return told.text(report, color=color, verbose=wish.verbose, brief=wish.quiet)
