"""What a check found, in its three forms."""

from __future__ import annotations

import math
from typing import Any

import orjson
import pytest

from agent.cli.lastrun import LastRun, Overlap, changes
from agent.cli.report import Report, document, nagios, number, perfs, text
from agent.rules.findings import Finding
from tests.nagios_parser import parse_output


def low(subject: str, value: float, status: Any = "ok", severity: Any = "warning", threshold: float = 0.1) -> Finding:
    name = "DiskLow" if severity == "warning" else "DiskCritical"
    return Finding(
        name,
        status,
        subject,
        f"{subject} is full" if status != "ok" else "",
        severity=severity,
        value=value,
        comparison="<",
        threshold=threshold,
        measure="avail / size",
        since=1.0 if status != "ok" else 0.0,
    )


FOUND = [
    low("/", 0.5),
    low("/var", 0.07, "warning"),
    low("/", 0.5, severity="critical", threshold=0.05),
    low("/var", 0.07, severity="critical", threshold=0.05),
    Finding("Nothing", "ok", empty=True, message="there is nothing of this kind here"),
    Finding("host", "ok", message="536 series in 0.02 s"),
]


def report(findings: list[Finding] = FOUND, **more: Any) -> Report:
    return Report("web-1", findings, more.pop("unjudged", []), 0.51, **more)


def test_text_is_a_line_a_check_worst_first_then_the_summary() -> None:
    assert text(report(), color=False).splitlines() == [
        "WARNING     DiskLow       /var is full",
        "OK          DiskLow       /: 0.5 (limit < 0.1)",
        "OK          DiskCritical  /var: 0.07 (limit < 0.05, nearest of 2)",
        "OK          host          536 series in 0.02 s",
        "1 warning, 5 ok in 0.5 s",
    ]


def test_on_request_text_has_what_was_not_judged_and_what_is_not_here() -> None:
    lines = text(report(unjudged=[("Grows", "looks back")]), color=False, verbose=True).splitlines()
    assert "OK          Nothing       there is nothing of this kind here" in lines
    assert "not judged  Grows         looks back" in lines
    assert lines[-1].endswith("; 1 rules need the daemon")


def test_a_value_that_waits_for_its_time_says_so() -> None:
    waiting = Finding("Hot", "ok", "cpu", "the cpu is hot", severity="warning", pending=True, value=9.0, threshold=5.0)
    assert "the cpu is hot (not for long enough yet)" in text(report([waiting]), color=False)


def test_colours_are_asked_for() -> None:
    assert "\x1b[" in text(report(), color=True)
    assert "\x1b[" not in text(report(), color=False)


@pytest.mark.parametrize(
    ("statuses", "code"),
    [
        ([], 0),
        (["ok", "info"], 0),
        (["warning", "ok"], 1),
        (["warning", "unknown"], 3),
        (["unknown", "critical"], 2),
        (["emergency"], 2),
    ],
)
def test_the_exit_code_is_that_of_the_worst(statuses: list[Any], code: int) -> None:
    assert report([Finding("x", status) for status in statuses]).exit_code == code


def test_nagios_gets_two_ranges_for_a_value_with_two_limits() -> None:
    found = parse_output(nagios(report()) + "\n")
    assert (found.word, found.status, found.code) == ("NIGHTJAR", "WARNING", 1)
    values = {one.label: (one.value, one.warn, one.crit) for one in found.values}
    assert values == {"/ DiskLow": (0.5, "0.1:", "0.05:"), "/var DiskLow": (0.07, "0.1:", "0.05:")}
    assert found.long == ("WARNING DiskLow: /var is full",)


@pytest.mark.parametrize(
    ("metric", "unit"), [("a_seconds", "s"), ("a_bytes", "B"), ("a_total", "c"), ("a", ""), ("", "")]
)
def test_units_are_those_of_the_metric(metric: str, unit: str) -> None:
    (perf,) = perfs([Finding("X", "ok", value=1.0, comparison=">", threshold=2.0, metric=metric, severity="warning")])
    assert (perf.unit, str(perf.warn), perf.crit) == (unit, "~:2", None)


def test_values_that_are_no_numbers_are_unknown_to_nagios_and_null_in_json() -> None:
    odd = Finding("X", "ok", value=math.nan, comparison=">", threshold=2.0, severity="warning")
    assert math.isnan(parse_output(nagios(report([odd])) + "\n").values[0].value)
    assert orjson.loads(orjson.dumps(document(report([odd]))))["checks"][0]["value"] is None


def test_what_others_wrote_breaks_no_format() -> None:
    hostile = Finding("X", "critical", "a'b=c|d\n", "line\nbreak | 'x'=1 \x1b[31m", severity="critical", value=1.0,
                      comparison=">", threshold=0.5)  # fmt: skip
    found = parse_output(nagios(report([hostile])) + "\n")
    assert found.code == 2
    assert len(found.values) == 1
    assert "\x1b" not in text(report([hostile]), color=False)
    assert len(text(report([hostile]), color=False).splitlines()) == 2


def test_json_has_the_documented_keys() -> None:
    found = document(report())
    assert list(found) == ["status", "exit_code", "instance", "time", "seconds", "summary", "checks", "not_judged"]
    assert found["checks"][0]["check"] == "DiskLow"
    assert list(found["checks"][0]) == [
        *("check", "status", "state", "severity", "kind", "subject", "message"),
        *("value", "comparison", "threshold", "labels", "annotations", "since"),
    ]


@pytest.mark.parametrize(("value", "told"), [(0.26652, "0.2665"), (3.0, "3"), (123456.7, "123457"), (math.inf, "inf")])
def test_numbers_for_people(value: float, told: str) -> None:
    assert number(value) == told


# -- the last run -----------------------------------------------------------------------------------------------------


def test_changes_are_what_is_different(tmp_path: Any) -> None:
    last = LastRun(tmp_path, ["a"])
    last.write([low("/", 0.01, "critical"), low("/var", 0.07, "warning"), low("/gone", 0.0, "warning")])
    now = [low("/", 0.01, "critical"), low("/var", 0.5), low("/new", 0.0, "warning")]
    assert [(one.subject, one.status, one.message) for one in changes(LastRun(tmp_path, ["a"]).read(), now)] == [
        ("/var", "ok", "/var: was warning, is no more"),
        ("/new", "warning", "/new is full"),
        ("/gone", "ok", "/gone: was warning, is no more"),
    ]


def test_checks_with_other_names_know_nothing_of_each_other(tmp_path: Any) -> None:
    LastRun(tmp_path, ["a"]).write([low("/", 0.0, "warning")])
    assert LastRun(tmp_path, ["b"]).read() == {}


def test_the_same_check_does_not_run_twice(tmp_path: Any) -> None:
    first = LastRun(tmp_path, ["a"])
    first.lock()
    with pytest.raises(Overlap):
        LastRun(tmp_path, ["a"]).lock()
    LastRun(tmp_path, ["b"]).lock()


def test_only_its_own_user_reads_it(tmp_path: Any) -> None:
    LastRun(tmp_path / "new", ["a"]).write([])
    assert {path.stat().st_mode & 0o077 for path in (tmp_path / "new").iterdir()} == {0}
