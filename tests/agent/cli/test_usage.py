"""Usage errors: UNKNOWN, on standard output, without the secrets of the call."""

from __future__ import annotations

import json
from collections.abc import Sequence

import click
import pytest

from agent.cli.usage import Judging, faults_of


class Command(Judging):
    """Tells what is wrong as JSON."""

    def refusal(self, error: click.UsageError, faults: Sequence[str], args: Sequence[str]) -> str:
        return json.dumps([*faults, *args])


def refuses(value: str) -> None:
    raise click.UsageError(f"No {value}, nor anything else.")


COMMAND = Command("it", params=[click.Option(["--value"], required=True)], callback=refuses)


@pytest.mark.parametrize(
    ("args", "fault"), [(["--nonesuch"], "no such option"), (["--value", "x"], "no x, nor anything else")]
)
def test_a_call_that_is_refused_early_or_late_is_unknown(
    args: list[str], fault: str, capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        COMMAND.main([*args])
    assert ended.value.code == 3
    (first, *written) = json.loads(capfd.readouterr().out)
    assert (first[: len(fault)], written) == (fault, args)


@pytest.mark.parametrize(
    ("written", "seen"),
    [
        ("postgres://u:s3cret@h/d", "postgres://***@h/d"),
        ("http://h/?token=s3cret", "http://h/?***"),
        ("u:s3cret@h", "u:***@h"),
        ("postgres://u:s3(re t@h/d", "postgres://***@h/d"),
        ("${env:PASSWORD}", "${env:PASSWORD}"),
        ("example.com:22", "example.com:22"),
    ],
)
def test_what_was_written_is_told_without_its_secrets(written: str, seen: str) -> None:
    assert faults_of(click.UsageError(f"Got {written} there"), [written]) == [f"got {seen} there"]


def test_a_url_within_an_argument_is_masked_too() -> None:
    error = click.UsageError("'http://u:s3cret@h' is no number")
    assert faults_of(error, ["-phttp://u:s3cret@h"]) == ["'http://***@h' is no number"]


def test_each_fault_is_a_line_whatever_its_urls_look_like() -> None:
    error = click.UsageError("--one: http://\n--two: me@h")
    assert faults_of(error, []) == ["--one: http://", "--two: me@h"]
