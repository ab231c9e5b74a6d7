"""`nightjar check`: every configured collector once, judged by the rules in force; for cron, Nagios and people."""

from __future__ import annotations

import asyncio
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import click
import msgspec
import orjson
from msgspec import Struct

from agent.cli import ending, options
from agent.cli.ending import STDERR, STDOUT
from agent.scheduler import offset
from config import Config, Duration, Section, environment
from config.faults import did_you_mean

if TYPE_CHECKING:
    from agent.cli.lastrun import LastRun
    from agent.cli.report import Report
    from agent.model import MetricBatch
    from agent.rules.inforce import InForce

SPARE = 2.0  # seconds after which what does not end by itself is ended
TEMPFAIL = 75  # EX_TEMPFAIL of sysexits.h: another run is at it


class Spans(click.ParamType[float]):
    """A time with its unit, or seconds."""

    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Seconds."""
        if isinstance(value, float):
            return value
        try:
            return float(Duration(f"{value}s" if str(value).replace(".", "", 1).isdigit() else value))
        except ValueError:
            self.fail('expected seconds, or a duration such as "30s" or "1m30s"', param, ctx)


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


class Judging(click.Command):
    """A command whose usage errors are UNKNOWN."""

    def make_context(self, info_name: str | None, args: list[str], parent: Any = None, **extra: Any) -> click.Context:
        """The context; a usage error ends with 3 and is told where a monitoring server reads it."""
        try:
            return super().make_context(info_name, args, parent, **extra)
        except click.UsageError as error:
            refuse(error.format_message())


@click.command(cls=Judging, epilog="Example: nightjar check host --format nagios")
@click.argument("names", nargs=-1, metavar="[NAME]...")
@options.config_option
@click.option("--format", "style", type=click.Choice(["text", "nagios", "json"]), default="text", help="Default text.")
@click.option("--json", "style", flag_value="json", help="The same as --format json.")
@click.option("-t", "--timeout", type=Spans(), default="10s", help="For all collectors together; default 10s.")
@click.option("-q", "--quiet", is_flag=True, help="Nothing when all is well; else all of it on standard error.")
@click.option("--on-change", is_flag=True, help="Tell only what is different from the last run.")
@click.option("--splay", type=Spans(), default="0s", help="Wait first, each host another part of this time.")
@click.option("--push", is_flag=True, help="Deliver what is seen to the exporters, too.")
@click.option("--push-timeout", type=Spans(), default="10s", help="For the delivery; what is left waits in the spool.")
@click.option("-v", "--verbose", is_flag=True, help="Tell also which rules a single look cannot judge.")
def check(names: Sequence[str], file: str | None, **wishes: Any) -> None:
    """Run every configured collector once, or those with these names, and judge what they see.

    Exit 0 OK, 1 WARNING, 2 CRITICAL, 3 UNKNOWN; 78 for a configuration that cannot be used.
    """
    ending.open_standard()
    wish = Wishes(**wishes)
    config = options.read(file, options.load_tried)
    sections = _chosen(config, names)
    if wish.push and not config.exporters:
        refuse("--push needs an exporter, and none is configured")
    if wish.splay:
        time.sleep(offset(config.agent.instance, wish.splay))
    last = _last_run(config, names, wish)
    end = _end(wish)
    report, batches = _look(config, sections, wish, partial=bool(names))
    if last is not None:
        report = _remember(report, last, only_changes=wish.on_change)
    text = _told(report, wish)
    if wish.push:
        end.keep(text, report.exit_code)
        report = msgspec.structs.replace(report, pushed=asyncio.run(_push(config, batches, wish.push_timeout)))
        text = _told(report, wish)
    end.end(text, report.exit_code)


def refuse(message: str) -> NoReturn:
    """A usage error: told on standard output, exit 3."""
    ending.write(f"UNKNOWN: {message}\nTry `nightjar check --help`.")
    sys.exit(ending.UNKNOWN)


def _chosen(config: Config, names: Sequence[str]) -> list[Section]:
    known = {section.name: section for section in config.collectors}
    for name in names:
        if name not in known:
            there = did_you_mean(name, known) or f"; there are {', '.join(known) or 'none'}"
            refuse(f"no collector is called {name!r}{there}")
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
        if wish.on_change:
            click.echo(f"nightjar: the last run is not known, all is told: {error}", err=True)
        return None
    return last


def _end(wish: Wishes) -> ending.Ending:
    """The way out, which nothing holds up."""
    seconds = wish.timeout + (wish.push_timeout if wish.push else 0.0) + SPARE
    found = ending.Ending(seconds, lambda message: f"UNKNOWN: {message}", STDERR if wish.quiet else STDOUT)
    found.watch()
    return found


# -- the look ---------------------------------------------------------------------------------------------------------


def _look(
    config: Config, sections: Sequence[Section], wish: Wishes, *, partial: bool
) -> tuple[Report, list[MetricBatch]]:
    """What is found, and what was seen."""
    from agent import logs

    logs.configure("error", "console", color=False)
    return asyncio.run(_looked(config, sections, wish, partial=partial))


async def _looked(
    config: Config, sections: Sequence[Section], wish: Wishes, *, partial: bool
) -> tuple[Report, list[MetricBatch]]:
    from agent.assembly import build_runner, rules_of
    from agent.cli.report import Report
    from agent.oneshot import OneShot
    from agent.rules.findings import findings
    from agent.rules.judge import Judge

    began = time.monotonic()
    rules, unjudged = _meant(rules_of(config), sections, partial=partial)
    judge = Judge(rules, brief=True)
    shot = OneShot(judge, wish.timeout)
    await shot.run([build_runner(one, config, shot.submit, within=shot.left) for one in sections])
    known = {**config.agent.labels, "instance": config.agent.instance}
    found = [*findings(judge.alerting, known), *shot.outcomes()]
    unjudged += [(name, "looks back further than one check does") for name in judge.unjudged]
    await shot.close()
    return Report(config.agent.instance, found, unjudged, time.monotonic() - began), shot.batches


def _meant(
    rules: Sequence[InForce], sections: Sequence[Section], *, partial: bool
) -> tuple[list[InForce], list[tuple[str, str]]]:
    """The rules that these collectors' series can be judged by, and those that a part of the collectors cannot tell."""
    kinds = {section.kind for section in sections}
    meant = [one for one in rules if one.enabled and (not one.kind or kinds & {one.kind, *one.also})]
    if not partial:
        return meant, []
    blind = [one for one in meant if "absent" in (one.rule.expr or "")]
    told = [(getattr(one.rule, "alert", ""), "asks what is absent, and only some collectors were run") for one in blind]
    return [one for one in meant if one not in blind], told


async def _push(config: Config, batches: Sequence[MetricBatch], seconds: float) -> str:
    """Deliver, or hand over to the agent that runs here; what became of it, for the summary."""
    from agent.assembly import Refused
    from agent.cli import admin
    from agent.push import push
    from agent.spool.lock import AlreadyRunning
    from agent.spoolapi import pack

    try:
        return str(await push(config, batches, seconds))
    except AlreadyRunning:
        state = Path(config.agent.state_dir)
        try:
            answer = await asyncio.to_thread(admin.ask, state, "/api/spool/append", "POST", pack(batches))
            return f"{answer['items']} items handed over to the agent that runs here"
        except (admin.NotRunning, KeyError, TypeError) as error:
            return f"NOT delivered: {error}"
    except (Refused, OSError) as error:
        return f"NOT delivered: {error}"


# -- what is told -----------------------------------------------------------------------------------------------------


def _remember(report: Report, last: LastRun, *, only_changes: bool) -> Report:
    """Keep what is found for the next run; where only changes are asked for, the report of these."""
    from agent.cli.lastrun import changes

    before = last.read()
    try:
        last.write(report.findings)
    except OSError as error:
        click.echo(f"nightjar: what was found cannot be kept for the next run: {error}", err=True)
    return msgspec.structs.replace(report, changes=changes(before, report.findings)) if only_changes else report


def _told(report: Report, wish: Wishes) -> str:
    """The output; empty where there is nothing to say."""
    from agent.cli import report as told

    if (wish.on_change and not report.shown) or (wish.quiet and not report.exit_code and not report.changes):
        return ""
    if wish.style == "json":
        return orjson.dumps(told.document(report), option=orjson.OPT_INDENT_2).decode()
    if wish.style == "nagios":
        return told.nagios(report)
    color = not environment.no_color() and os.isatty(STDERR if wish.quiet else STDOUT)
    return told.text(report, color=color, verbose=wish.verbose)
