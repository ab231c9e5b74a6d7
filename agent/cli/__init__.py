"""The command line. Each command lives in a module of its own and is imported when it is called."""

from __future__ import annotations

import sys
from importlib import import_module

import click

from agent import __version__

BAD_CONFIG = 78  # EX_CONFIG of sysexits.h

COMMANDS = {
    "run": ("agent.cli.run", "Run the agent; without a file: host metrics, /metrics on 127.0.0.1:9464."),
    "probe": ("agent.cli.probe", "Look at one target, without any file, and judge it; for Nagios, cron and people."),
    "check": ("agent.cli.check", "One round of the configured collectors, judged by the rules: exit 0, 1, 2 or 3."),
    "config": ("agent.cli.config", "Check, show, start or describe a configuration."),
    "status": ("agent.cli.status", "What the running agent holds: collectors, exporters, ledger, spool."),
    "spool": ("agent.cli.spool", "Look into the spool; verify, replay or purge it."),
    "plugins": ("agent.cli.plugins", "Every collector and exporter; one with its options, metrics and an example."),
}


class Lazy(click.Group):
    """A group whose commands cost nothing until they are called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The names, in the order of the manual."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command, imported now."""
        if cmd_name not in COMMANDS:
            return None
        command = getattr(import_module(COMMANDS[cmd_name][0]), cmd_name)
        assert isinstance(command, click.Command)  # noqa: S101  # the table above says so
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """The command, or the one that was probably meant."""
        if args[0] not in COMMANDS and not args[0].startswith("-"):
            from config.faults import did_you_mean

            ctx.fail(f"no such command {args[0]!r}{did_you_mean(args[0], COMMANDS)}")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The list, without importing anything."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in COMMANDS.items()])


@click.group(
    cls=Lazy,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Example: nightjar run -c agent.toml",
)
@click.version_option(__version__, "-V", "--version", prog_name="nightjar")
def nightjar() -> None:
    """Nightjar watches a host and the services on it, and never loses what it saw."""


def main() -> None:
    """The entry point. A closed pipe (`nightjar … | head`) is no error worth words."""
    try:
        nightjar()
        sys.stdout.flush()
    except BrokenPipeError:
        sys.stderr.close()
        sys.exit(1)
    except OSError as error:  # such as a full disk behind standard output
        click.echo(f"nightjar: {error}", err=True)
        sys.exit(1)
