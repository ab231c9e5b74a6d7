"""Relabelling: the rules of Prometheus, one by one."""

from __future__ import annotations

import pytest

from collectors.scrape.relabel import Relabeller, Rule, rule_faults

LABELS = {"__name__": "m", "a": "foo", "b": "bar", "c": "baz"}


def after(*rules: Rule) -> dict[str, str] | None:
    return Relabeller(rules)(dict(LABELS))


@pytest.mark.parametrize(
    ("rule", "change"),
    [
        (Rule(source_labels=("a",), regex="f(.*)", target_label="d", replacement="ch${1}-ch${1}"), {"d": "choo-choo"}),
        (Rule(source_labels=("a", "b"), regex="(.*);(.*)", target_label="d", replacement="$2$1"), {"d": "barfoo"}),
        (Rule(source_labels=("a",), regex="(?P<x>f)oo", target_label="d", replacement="${x}$x$$"), {"d": "ff$"}),
        (Rule(source_labels=("a",), regex="f(.*)", target_label="d", replacement="$1x"), {"d": None}),
        (Rule(source_labels=("a",), regex="oo", target_label="d", replacement="x"), {}),
        (Rule(source_labels=("a",), regex="f(o)o", target_label="$1", replacement="x"), {"o": "x"}),
        (Rule(source_labels=("a",), target_label="b", replacement=""), {"b": None}),
        (Rule(target_label="d", replacement="static"), {"d": "static"}),
        (Rule(source_labels=("a",), target_label="d", replacement="$9${10}z"), {"d": "z"}),
        (Rule(source_labels=("a",), target_label="d", action="uppercase"), {"d": "FOO"}),
        (Rule(source_labels=("a",), target_label="d", action="hashmod", modulus=1000), {"d": "696"}),
        (Rule(regex="(b|c)", replacement="x_$1", action="labelmap"), {"x_b": "bar", "x_c": "baz"}),
        (Rule(regex="b|c", action="labeldrop"), {"b": None, "c": None}),
        (Rule(regex="__name__|a", action="labelkeep"), {"b": None, "c": None}),
        (Rule(source_labels=("a",), regex="foo|x", action="keep"), {}),
        (Rule(source_labels=("a",), regex="fo", action="drop"), {}),
        (Rule(source_labels=("a",), target_label="a", action="keepequal"), {}),
    ],
    ids=repr,
)
def test_a_rule_changes_labels(rule: Rule, change: dict[str, str | None]) -> None:
    assert rule_faults([rule]) == []
    expected = {name: value for name, value in {**LABELS, **change}.items() if value is not None}
    assert after(rule) == expected


@pytest.mark.parametrize(
    "rule",
    [
        Rule(source_labels=("a",), regex="f.*", action="drop"),
        Rule(source_labels=("a",), regex="oo", action="keep"),
        Rule(source_labels=("a",), target_label="a", action="dropequal"),
        Rule(source_labels=("a",), target_label="b", action="keepequal"),
    ],
)
def test_a_rule_drops_the_series(rule: Rule) -> None:
    assert after(rule) is None


def test_rules_follow_each_other() -> None:
    first = Rule(source_labels=("a",), target_label="d", replacement="x")
    assert after(first, Rule(source_labels=("d",), regex="x", action="drop")) is None


@pytest.mark.parametrize(
    ("rule", "words"),
    [
        (Rule(), "target_label"),
        (Rule(action="hashmod", target_label="x"), "modulus"),
        (Rule(action="drop", regex="("), "RE2"),
        (Rule(action="labeldrop", source_labels=("a",)), "regex alone"),
        (Rule(action="drop", regex="(?=x)"), "RE2"),
    ],
)
def test_a_rule_that_cannot_be_is_refused(rule: Rule, words: str) -> None:
    (fault,) = rule_faults([rule])
    assert fault.startswith("relabel: ")
    assert words in fault


@pytest.mark.timeout(10)
def test_no_expression_takes_more_than_linear_time() -> None:
    rule = Rule(source_labels=("a",), regex="(x+x+)+y", action="drop")
    assert Relabeller([rule])({"a": "x" * 100_000}) is not None
