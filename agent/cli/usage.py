"""Usage errors as monitoring servers take them: on standard output, exit 3."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any

import click

from agent.cli import ending
from config.urls import masked


class Judging(click.Command):
    """A command or a group whose usage errors are UNKNOWN. Each says in `refusal` how it tells them."""

    def refusal(self, error: click.UsageError, faults: Sequence[str], args: Sequence[str]) -> str:
        """The output for what is wrong with a call with these arguments; there is at least one fault."""
        raise NotImplementedError

    def make_context(self, info_name: str | None, args: list[str], parent: Any = None, **extra: Any) -> click.Context:
        """The context, or the end."""
        written = (*args,)
        with self._refusing(written):
            found = super().make_context(info_name, args, parent, **extra)
        found.meta[__name__] = written
        return found

    def invoke(self, ctx: click.Context) -> Any:
        """What the command does, or the end."""
        with self._refusing(ctx.meta[__name__]):
            return super().invoke(ctx)

    @contextlib.contextmanager
    def _refusing(self, args: Sequence[str]) -> Iterator[None]:
        try:
            yield
        except click.UsageError as error:
            ending.write(self.refusal(error, faults_of(error, args), args))
            raise click.exceptions.Exit(ending.UNKNOWN) from None


def faults_of(error: click.UsageError, args: Sequence[str]) -> list[str]:
    """What is wrong with a call, a line a fault, without the logins and queries of the URLs that it was made with."""
    text = error.format_message().strip(". ") or "wrong usage"
    for one in args:
        text = text.replace(one, _seen(one))
    return [_seen(line) for line in f"{text[:1].lower()}{text[1:]}".splitlines()]


def _seen(text: str) -> str:
    return masked(text).replace("$${", "${")  # which nobody is going to expand
