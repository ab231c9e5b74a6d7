"""What the options of several commands take."""

from __future__ import annotations

import click
import pytest

from agent.cli.options import seconds

OPTION = click.Option(["-t", "--timeout"])
CONTEXT = click.Context(click.Command("it", params=[OPTION]))


@pytest.mark.parametrize(
    ("text", "found"), [("10", 10.0), ("1.5", 1.5), ("1m30s", 90.0), ("500ms", 0.5), ("0", 0.0), ("1d", 86_400.0)]
)
def test_a_time_is_seconds_or_has_its_unit(text: str, found: float) -> None:
    assert seconds(CONTEXT, OPTION, text) == found


@pytest.mark.parametrize(
    ("text", "words"), [("soon", "expected seconds"), ("-1", "expected seconds"), ("", "expected"), ("2d", "a day")]
)
def test_what_is_no_time_is_refused_with_the_option_s_name(text: str, words: str) -> None:
    with pytest.raises(click.BadParameter, match=words) as refused:
        seconds(CONTEXT, OPTION, text)
    assert "'--timeout'" in refused.value.format_message()
