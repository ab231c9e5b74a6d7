"""What a check found, in its three forms."""

from __future__ import annotations

import math
import os
from typing import Any

import orjson
import pytest

from agent.cli.lastrun import Blind, Found, LastRun, Overlap, changes, kept
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
        key=f"{name} {severity} {subject}",
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
        "1 warning, 4 ok, 1 without data in 0.5 s",
    ]


def test_on_request_text_has_what_was_not_judged_and_what_is_not_here() -> None:
    lines = text(report(unjudged=[("Grows", "looks back")]), color=False, verbose=True).splitlines()
    assert "OK          Nothing       there is nothing of this kind here" in lines
    assert "not judged  Grows         looks back" in lines
    assert lines[-1].endswith("; 1 not judged")


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


SEEN = Blind(frozenset(), frozenset())


def found(*some: Finding, before: Found | None = None, blind: Blind = SEEN) -> Found:
    return kept(before or Found(), some, blind)


def told(before: Found, *now: Finding, blind: Blind = SEEN) -> list[tuple[str, str, str]]:
    return [(one.subject, one.status, one.message) for one in changes(before, now, blind)]


def test_changes_are_what_is_different() -> None:
    before = found(low("/", 0.01, "critical"), low("/var", 0.07, "warning"), low("/gone", 0.0, "warning"))
    assert told(before, low("/", 0.01, "critical"), low("/var", 0.5), low("/new", 0.0, "warning")) == [
        ("/new", "warning", "/new is full"),
        ("/var", "ok", "/var: was warning, is no more"),
        ("/gone", "ok", "/gone: was warning, is no more"),
    ]


def test_rules_of_one_name_are_told_apart_by_their_severity() -> None:
    before = found(low("/", 0.07), low("/", 0.07, severity="critical", threshold=0.05))
    now = low("/", 0.07, "warning"), low("/", 0.07, severity="critical", threshold=0.05)
    assert told(before, *now) == [("/", "warning", "/ is full")]
    assert told(found(*now), *now) == []


@pytest.mark.parametrize(
    "blind", [Blind(frozenset({"DiskLow"}), frozenset()), Blind(frozenset(), frozenset({"web-1"}))]
)
def test_what_could_not_be_seen_is_not_called_well(blind: Blind) -> None:
    bad, good = (
        Finding("DiskLow", status, "/", "full", key="DiskLow\0instance=web-1") for status in ("critical", "ok")
    )
    before = found(bad)
    nothing = Finding("DiskLow", "ok", empty=True, key="DiskLow")
    assert told(before, nothing, blind=blind) == []
    unseen = found(nothing, before=before, blind=blind)
    assert unseen == before
    assert told(unseen, bad) == []
    assert told(unseen, good) == [("/", "ok", "/: was critical, is no more")]


def test_what_others_could_not_see_is_called_well() -> None:
    bad = Finding("DiskLow", "critical", "/", "full", key="DiskLow\0instance=web-1")
    blind = Blind(frozenset({"Other"}), frozenset({"web-2"}))
    assert told(found(bad), blind=blind) == [("/", "ok", "/: was critical, is no more")]
    assert found(before=found(bad), blind=blind) == Found()


def test_a_run_that_saw_everything_forgets_what_is_gone() -> None:
    assert found(before=found(low("/", 0.01, "critical"))) == Found()


def test_checks_with_other_names_know_nothing_of_each_other(tmp_path: Any) -> None:
    LastRun(tmp_path, ["a"]).write(found(low("/", 0.0, "warning")))
    assert LastRun(tmp_path, ["a"]).read() == found(low("/", 0.0, "warning"))
    assert LastRun(tmp_path, ["b"]).read() == Found()


def test_what_somebody_put_in_the_place_of_its_files_is_left_alone(tmp_path: Any) -> None:
    last = LastRun(tmp_path, ["a"])
    victim = tmp_path / "victim"
    victim.write_text("precious")
    (lock,) = tmp_path.glob("check-*.lock")
    lock.with_suffix(f".{os.getpid()}").symlink_to(victim)
    last.write(Found())
    assert victim.read_text() == "precious"
    lock.unlink()
    lock.symlink_to(victim)
    with pytest.raises(OSError, match="symbolic"):
        LastRun(tmp_path, ["a"])


def test_a_pipe_in_the_place_of_the_last_run_holds_nobody_up(tmp_path: Any) -> None:
    last = LastRun(tmp_path, ["a"])
    (lock,) = tmp_path.glob("check-*.lock")
    os.mkfifo(lock.with_suffix(".json"))
    assert last.read() == Found()


def test_the_same_check_does_not_run_twice(tmp_path: Any) -> None:
    first = LastRun(tmp_path, ["a"])
    first.lock()
    with pytest.raises(Overlap):
        LastRun(tmp_path, ["a"]).lock()
    LastRun(tmp_path, ["b"]).lock()


def test_only_its_own_user_reads_it(tmp_path: Any) -> None:
    LastRun(tmp_path / "new", ["a"]).write(Found())
    assert {path.stat().st_mode & 0o077 for path in (tmp_path / "new").iterdir()} == {0}
