"""The agent's own log: what a line says, in JSON and on a terminal."""

from __future__ import annotations

import io
import json
import logging
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from agent import logs

Style = Callable[..., io.StringIO]


@pytest.fixture
def style(monkeypatch: pytest.MonkeyPatch) -> Iterator[Style]:
    """`style("json", level="info")`: configure the log, and give what it writes to."""
    root, ours = logging.getLogger(), logging.getLogger("nightjar")
    before = root.handlers[:], ours.level

    def configured(style: Any, *, level: str = "info") -> io.StringIO:
        stream = io.StringIO()
        monkeypatch.setattr(sys, "stderr", stream)
        logs.configure(level, style)
        return stream

    yield configured
    root.handlers[:], level = before
    ours.setLevel(level)


def lines(stream: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_a_line_is_one_json_object_with_time_level_event_and_facts(style: Style) -> None:
    stream = style("auto")
    logs.get_logger("delivery").info("encoding changed", exporter="rw", tries=2, pending={"a": 1})
    (line,) = lines(stream)
    assert line.pop("timestamp").endswith("Z")
    assert line == {
        "level": "info", "event": "encoding changed", "exporter": "rw", "tries": 2, "pending": {"a": 1},
    }  # fmt: skip


def test_what_lies_below_the_level_is_not_written(style: Style) -> None:
    stream = style("json", level="warning")
    log = logs.get_logger("agent")
    log.debug("no")
    log.info("no")
    log.warning("yes")
    log.error("yes too")
    assert [line["event"] for line in lines(stream)] == ["yes", "yes too"]


def test_a_reload_changes_level_and_form_of_loggers_that_exist(style: Style) -> None:
    log = logs.get_logger("agent")
    style("json", level="error")
    stream = style("console", level="debug")
    log.debug("now", at=1)
    assert "[debug   ] now" in stream.getvalue()
    assert stream.getvalue().endswith(" at=1\n")


def test_facts_cannot_break_out_of_their_line_nor_pose_as_another_field(style: Style) -> None:
    for form in ("json", "console"):
        stream = style(form)
        logs.get_logger("agent").warning("said", answer="a\nb\x1b[31m\udcff", level="fake")
        text = stream.getvalue()
        assert text.count("\n") == 1
        assert "\x1b" not in text
        assert "fake" not in text


def test_percent_signs_are_plain_text(style: Style) -> None:
    stream = style("json")
    logs.get_logger("agent").info("100 %s full")
    assert lines(stream)[0]["event"] == "100 %s full"


def test_a_value_that_json_does_not_know_is_written_as_its_text(style: Style) -> None:
    stream = style("json")
    logs.get_logger("agent").info("odd", value=ValueError("x"))
    assert lines(stream)[0]["value"] == "x"


@pytest.mark.parametrize("form", ["json", "console"])
def test_an_exception_comes_with_its_traceback(style: Style, form: str) -> None:
    stream = style(form)
    try:
        raise ValueError("boom")
    except ValueError:
        logs.get_logger("delivery").exception("failed", exporter="rw")
    text = lines(stream)[0]["exception"] if form == "json" else stream.getvalue()
    assert "Traceback" in text
    assert "ValueError: boom" in text


def test_warnings_of_libraries_take_the_same_form(style: Style) -> None:
    stream = style("json")
    logging.getLogger("asyncio").info("no")
    logging.getLogger("asyncio").warning("took %d s", 3)
    (line,) = lines(stream)
    assert (line["event"], line["logger"], line["level"]) == ("took 3 s", "asyncio", "warning")
