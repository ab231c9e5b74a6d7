"""Alerts over rounds: when they wait, fire, end; recording rules; a change of rules."""

from __future__ import annotations

from collections.abc import Iterable

import pytest

from agent.model import MetricBatch
from agent.rules.findings import Finding, findings, sort, subjects_of, worst
from agent.rules.inforce import InForce
from agent.rules.judge import Judge
from config import Duration
from config.rules import Recording, Rule, rule
from tests.agent.promql.made import START_MS, Rounds

START = START_MS / 1000


def in_force(*rules: Rule | Recording) -> list[InForce]:
    return [InForce(rule=one, origin="agent.toml:1") for one in rules]


def alert(expr: str, hold: str = "0s", keep: str = "0s", **labels: str) -> Rule:
    return Rule(
        alert="Test",
        expr=expr,
        hold=Duration(hold),
        keep_firing_for=Duration(keep),
        labels=labels or {"severity": "warning"},
        annotations={"summary": "{{ $labels.a }} has {{ $value }}"},
    )


class Watched:
    """A judge over rounds 15 s apart."""

    def __init__(self, *rules: Rule | Recording, brief: bool = False) -> None:
        self.judge = Judge(in_force(*rules), brief=brief)
        self.rounds = Rounds('x{a="1"}', 'x{a="2"}')

    def see(self, *values: float) -> list[Finding]:
        """What another round is found to be."""
        self.rounds.add(*values)
        return self.look([self.rounds.batches[-1]])

    def look(self, latest: Iterable[MetricBatch]) -> list[Finding]:
        self.judge.take(latest)
        self.judge.look((self.rounds.time_ms - 15_000) / 1000, latest)
        return findings(self.judge)


def states(found: list[Finding]) -> dict[str, str]:
    return {one.subject: "pending" if one.pending else one.status for one in found}


def test_an_alert_without_a_time_fires_at_once_and_ends_at_once() -> None:
    watched = Watched(alert("x > 5"))
    assert states(watched.see(9.0, 1.0)) == {"a=1": "warning", "a=2": "ok"}
    assert states(watched.see(1.0, 1.0)) == {"a=1": "ok", "a=2": "ok"}


def test_an_alert_waits_for_its_time_by_series() -> None:
    watched = Watched(alert("x > 5", "30s"))
    assert states(watched.see(9.0, 1.0)) == {"a=1": "pending", "a=2": "ok"}
    assert states(watched.see(9.0, 9.0)) == {"a=1": "pending", "a=2": "pending"}
    assert states(watched.see(9.0, 9.0)) == {"a=1": "warning", "a=2": "pending"}
    assert states(watched.see(1.0, 9.0)) == {"a=1": "ok", "a=2": "warning"}
    assert states(watched.see(9.0, 9.0)) == {"a=1": "pending", "a=2": "warning"}


def test_an_alert_goes_on_for_as_long_as_it_is_to_be_kept() -> None:
    watched = Watched(alert("x > 5", keep="30s"))
    watched.see(9.0, 1.0)
    assert states(watched.see(1.0, 1.0))["a=1"] == "warning"
    assert states(watched.see(1.0, 1.0))["a=1"] == "warning"
    assert states(watched.see(1.0, 1.0))["a=1"] == "ok"


def test_one_that_is_only_waiting_is_not_kept() -> None:
    watched = Watched(alert("x > 5", "1m", "1m"))
    watched.see(9.0, 1.0)
    assert states(watched.see(1.0, 1.0))["a=1"] == "ok"


def test_a_single_look_waits_for_nothing() -> None:
    watched = Watched(alert("x > 5", "1h"), brief=True)
    assert states(watched.see(9.0, 1.0)) == {"a=1": "warning", "a=2": "ok"}


def test_a_single_look_leaves_out_what_looks_further_back_and_says_so() -> None:
    watched = Watched(alert("increase(x[5m]) > 1"), brief=True)
    assert watched.see(9.0, 1.0) == []
    assert watched.judge.unjudged == [("Test", "looks back further than one check does")]


def test_labels_and_annotations_are_rendered_for_each_alert() -> None:
    found = Watched(alert("x > 5", severity="critical", team="{{ $labels.a }}-{{ $value }}")).see(9.0, 1.0)
    assert found[0].labels == {"alertname": "Test", "a": "1", "severity": "critical", "team": "1-9"}
    assert (found[0].message, found[0].value, found[0].threshold, found[0].comparison) == ("1 has 9", 9.0, 5.0, ">")


def test_alerts_that_would_be_one_are_an_error_and_none_fires() -> None:
    (found,) = Watched(alert("x > 5", a="same")).see(9.0, 9.0)
    assert found.status == "unknown"
    assert "same labels" in found.message


def test_what_has_no_answer_is_unknown_and_mends() -> None:
    watched = Watched(alert("x + on () x > 1"))
    (found,) = watched.see(1.0, 2.0)
    assert (found.status, found.check) == ("unknown", "Test")
    assert states(watched.look([])) == {"": "ok"}


def test_an_alert_outlives_a_round_without_an_answer() -> None:
    watched = Watched(alert("x > 5 and on () (x + on () x{a='1'})", "15s"))
    one = Rounds('x{a="1"}').add(9.0)
    for _ in range(2):
        watched.look([one.batches[0]])
        watched.rounds.time_ms += 15_000
    watched.rounds.time_ms += 15_000
    assert [one.status for one in watched.look([one.batches[0]])] == ["warning"]
    assert sorted(one.status for one in watched.see(9.0, 9.0)) == ["unknown", "warning"]


def test_an_unknown_severity_is_a_warning() -> None:
    assert states(Watched(alert("x > 5", severity="page")).see(9.0, 1.0))["a=1"] == "warning"
    assert states(Watched(alert("x > 5", severity="Critical")).see(9.0, 1.0))["a=1"] == "critical"
    assert states(Watched(alert("x > 5", other="label")).see(9.0, 1.0))["a=1"] == "warning"


def test_a_severity_may_come_from_the_template() -> None:
    words = "{{ if gt $value 50.0 }}critical{{ else }}warning{{ end }}"
    found = states(Watched(alert("x > 5", severity=words)).see(9.0, 99.0))
    assert found == {"a=1": "warning", "a=2": "critical"}


def test_a_number_is_an_alert_without_labels() -> None:
    (found,) = Watched(alert("vector(1)")).see(1.0, 1.0)
    assert (found.status, found.value) == ("warning", 1.0)
    (found,) = Watched(alert("1 + 1")).see(1.0, 1.0)
    assert (found.status, found.value) == ("warning", 2.0)


def test_a_text_is_no_alert() -> None:
    with pytest.raises(ValueError, match=r"agent.toml:1: Test: .*text"):
        Judge(in_force(alert('"words"')))


def test_recorded_series_are_there_for_the_rules_after_them() -> None:
    watched = Watched(Recording(record="a:x:sum", expr="sum(x)", labels={"who": "me"}), alert('a:x:sum{who="me"} > 5'))
    assert states(watched.see(1.0, 1.0)) == {"who=me": "ok"}
    assert states(watched.see(9.0, 1.0)) == {"who=me": "warning"}


def test_recorded_series_have_a_past() -> None:
    watched = Watched(Recording(record="s", expr="sum(x)"), alert("max_over_time(s[1m]) > 5"))
    watched.see(9.0, 1.0)
    assert [one.status for one in watched.see(0.0, 0.0)] == ["warning"]


def test_recording_rules_follow_those_that_they_name() -> None:
    watched = Watched(Recording(record="t", expr="s * 2"), Recording(record="s", expr="sum(x)"), alert("t > 15"))
    assert [one.status for one in watched.see(9.0, 1.0)] == ["warning"]


def test_recording_rules_that_name_each_other_end() -> None:
    watched = Watched(Recording(record="t", expr="s"), Recording(record="s", expr="t"), alert("s > 15"))
    assert [one.status for one in watched.see(9.0, 1.0)] == ["ok"]


def test_what_may_look_at_what_was_not_recorded_is_not_judged() -> None:
    judge = Judge(in_force(Recording(record="s", expr="increase(x[5m])"), alert('absent({__name__=~"s"})')), brief=True)
    assert [name for name, _ in judge.unjudged] == ["s", "Test"]


def test_recording_rules_come_first_wherever_they_stand() -> None:
    watched = Watched(alert("s > 5"), Recording(record="s", expr="sum(x)"))
    assert [one.status for one in watched.see(9.0, 1.0)] == ["warning"]


def test_a_recording_rule_that_fails_is_told() -> None:
    watched = Watched(Recording(record="s", expr="x + on () x"), alert("s > 5"))
    assert [one.check for one in watched.see(9.0, 1.0) if one.status == "unknown"] == ["s"]


def test_what_a_single_look_cannot_record_hides_no_alert() -> None:
    watched = Watched(
        Recording(record="s", expr="increase(x[5m])"), Recording(record="t", expr="sum(s)"), alert("t > 5"), brief=True
    )
    assert watched.see(9.0, 1.0) == []
    assert [name for name, _ in watched.judge.unjudged] == ["s", "t", "Test"]


def test_of_some_collectors_nothing_is_said_that_asks_what_is_absent() -> None:
    judge = Judge(in_force(alert("absent(y)"), alert('x{a!="absent"} > 5')), brief=True, partial=True)
    assert [reason for _, reason in judge.unjudged] == ["asks what is absent, of some collectors only"]
    assert len(judge.alerting) == 1


def test_recorded_series_that_are_no_more_end() -> None:
    watched = Watched(Recording(record="s", expr="x > 5"), alert("count_over_time(s[1m] offset 15s) > 0"))
    for values in ((9.0, 9.0), (9.0, 1.0), (9.0, 1.0)):
        watched.see(*values)
    runs = watched.judge.window.cut(next(iter(watched.judge.alerting[0].query.past)), 0, 1 << 60, ends=True)
    assert [dict(run.labels)["a"] for run in runs] == ["1"]


def test_rules_that_are_off_are_not_judged() -> None:
    judge = Judge([InForce(rule=alert("x > 5"), origin="", enabled=False)])
    assert judge.alerting == []


def test_what_was_measured_is_that_of_the_last_look_whatever_comes_in_since() -> None:
    watched = Watched(alert("max_over_time(x[1m]) > 5"))
    watched.see(3.0, 9.0)
    later = Rounds('x{a="1"}', 'x{a="2"}')
    later.time_ms = watched.rounds.time_ms
    watched.judge.take(later.add(100.0, 100.0).batches)
    assert [(one.labels, one.value, one.beyond) for one in watched.judge.alerting[0].measured] == [
        ((("a", "1"),), 3.0, False),
        ((("a", "2"),), 9.0, True),
    ]


def test_after_a_change_of_rules_those_that_stay_go_on() -> None:
    stays, goes = alert("x > 5", "30s"), alert("x > 6", "30s")
    watched = Watched(stays, goes)
    watched.see(9.0, 1.0)
    watched.see(9.0, 1.0)
    other = Rule(alert="Other", expr="x > 7", hold=Duration("30s"))
    new = Judge([*in_force(other), InForce(rule=stays, origin="agent.toml:99")])
    new.succeed(watched.judge)
    assert new.looked == watched.judge.looked > 0
    watched.judge = new
    found = watched.see(9.0, 1.0)
    assert [one.pending for one in found if one.subject == "a=1"] == [True, False]


def test_a_rule_whose_words_change_keeps_its_alerts_and_tells_them_anew() -> None:
    watched = Watched(alert("x > 5", "30s"))
    for _ in range(3):
        watched.see(9.0, 1.0)
    changed = Rule(alert="Test", expr="x > 6", hold=Duration("1h"), labels={"severity": "warning"},
                   annotations={"summary": "new words"})  # fmt: skip
    new = Judge(in_force(changed))
    new.succeed(watched.judge)
    watched.judge = new
    found = watched.see(9.0, 1.0)[0]
    assert (found.status, found.message) == ("warning", "new words")


def test_series_that_differ_in_any_label_have_keys_of_their_own() -> None:
    watched = Watched(alert("x > 5"))
    watched.rounds = Rounds('x{job="a"}', 'x{job="b"}')
    assert len({one.key for one in watched.see(9.0, 1.0)}) == 2


def test_a_default_rule_that_finds_its_series_missing_is_well_and_empty() -> None:
    watched = Watched(rule("Gone", "y > 5", severity="critical", summary="gone"))
    (found,) = watched.see(1.0, 1.0)
    assert (found.status, found.empty) == ("ok", True)


def test_findings_are_sorted_worst_first() -> None:
    found = [Finding("a", "ok"), Finding("b", "unknown"), Finding("c", "emergency"), Finding("d", "warning")]
    assert [one.check for one in sort(found)] == ["c", "b", "d", "a"]
    assert worst(found) == "emergency"
    assert worst([]) == "ok"


@pytest.mark.parametrize(
    ("labels", "subject"),
    [
        ({"instance": "here", "job": "node", "mountpoint": "/var", "device": "sda", "fstype": "ext4"}, "/var"),
        ({"instance": "db:5432", "job": "postgres", "datname": "shop"}, "db:5432 shop"),
        ({"instance": "here", "cpu": "3"}, "cpu=3"),
        ({"instance": "here", "env": "prod"}, ""),
    ],
)
def test_a_subject_is_what_tells_a_series_from_others(labels: dict[str, str], subject: str) -> None:
    series = tuple(labels.items())
    assert subjects_of([series], {"instance": "here", "env": "prod"}) == {series: subject}


def test_series_that_people_know_by_one_name_are_told_apart_by_what_differs() -> None:
    one = (("application", "a"), ("instance", "db:1"), ("state", "x"))
    other = (("application", "b"), ("instance", "db:1"), ("state", "x"))
    third = (("application", "a"), ("instance", "db:2"), ("state", "x"))
    assert subjects_of([one, other, third], {}) == {
        one: "db:1 application=a",
        other: "db:1 application=b",
        third: "db:2",
    }


def test_no_rule_has_more_alerts_than_a_host_can_bear(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("agent.rules.alerting.MOST", 1)
    (found,) = Watched(alert("x > 5")).see(9.0, 9.0)
    assert (found.status, "more than 1 alerts" in found.message) == ("unknown", True)


def test_annotations_have_an_end() -> None:
    long = Rule(alert="Long", expr="x > 5", annotations={"summary": '{{ printf "%9000s" "x" }}'})
    assert len(Watched(long).see(9.0, 1.0)[0].message) == 4096


def test_labels_that_an_expression_makes_have_an_end() -> None:
    expr = 'label_replace(x, "b", "' + "y" * 1000 + '", "", "")'
    for _ in range(8):
        expr = f'label_join({expr}, "b", "", "b", "b")'
    (found,) = Watched(alert(f"{expr} > 5")).see(9.0, 1.0)
    assert (found.status, "longer than" in found.message) == ("unknown", True)


def test_a_clock_that_jumps_neither_hurries_nor_delays_an_alert() -> None:
    judge = Judge(in_force(alert("x > 5", "1h")))
    batch = Rounds('x{a="1"}').add(9.0).batches
    for now, steady in ((START, 10.0), (START + 7200, 20.0), (START - 7200, 3620.0)):
        judge.look(now, batch, steady)
        assert [one.firing for one in judge.alerting[0].alerts] == [steady > 3600]
