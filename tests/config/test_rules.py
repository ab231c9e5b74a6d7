"""`[[rules]]`: typed rules with places, the defaults they may name, and how all of them are shown."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import tomli
from msgspec import Struct

from config import Config, ConfigError, Duration, effective, json_schema, load, to_toml
from config.rules import Recording, Rule, rule

from .conftest import Faults, Kinds, Load

DEFAULTS = {
    "redis": (rule("RedisDown", "redis_up == 0", severity="critical", summary="down", hold="1m"),),
    "http": (rule("ProbeDown", "probe_success == 0", severity="warning", summary="down"),),
}
RULE = """\
[[rules]]
alert = "Full"
expr = '''label_replace(disk > 0.9, "device", "$1-${2}", "dev", "(.*)")'''
for = "5m"
keep_firing_for = "10m"
labels = { severity = "warning", team = "$${x}" }
annotations.summary = "{{ $value }} of ${HOME} on {{ $labels.instance }}"
"""


def rules_of(kind: str) -> tuple[Rule, ...]:
    if kind == "broken":
        raise ImportError("No module named 'somedriver'")
    return DEFAULTS.get(kind, ())


def faults_with_defaults(path: Path, text: str, collectors: Kinds, exporters: Kinds, **others: Any) -> list[str]:
    file = path / "agent.toml"
    file.write_text(text)
    try:
        load(str(file), collectors=collectors, exporters=exporters, environ={}, defaults=rules_of, **others)
    except ConfigError as error:
        return str(error).replace(f"{path}/", "").splitlines()
    return []


def test_a_rule_arrives_typed_with_its_texts_as_they_are_written(load_text: Load) -> None:
    assert load_text(RULE).rules == (
        Rule(
            alert="Full",
            expr='label_replace(disk > 0.9, "device", "$1-${2}", "dev", "(.*)")',
            hold=Duration("5m"),
            keep_firing_for=Duration("10m"),
            labels={"severity": "warning", "team": "$${x}"},
            annotations={"summary": "{{ $value }} of ${HOME} on {{ $labels.instance }}"},
        ),
    )


def test_every_key_of_a_rule_has_its_place(load_text: Load) -> None:
    places = load_text(RULE).places
    assert places["rules", "0"].line == 1
    assert (places["rules", "0", "expr"].line, places["rules", "0", "expr"].column) == (3, 1)
    assert places["rules", "0", "annotations", "summary"].line == 7


def test_rules_of_conf_d_follow_in_the_order_of_files_and_names_may_repeat(load_text: Load) -> None:
    rules = '[[rules]]\nalert = "A"\nexpr = "a > {}"\n'
    config = load_text(rules.format(1), rules.format(2) + rules.format(3), rules.format(4))
    assert [one.expr for one in config.rules] == ["a > 1", "a > 2", "a > 3", "a > 4"]
    assert config.places["rules", "3"].file.endswith("conf.d/2.toml")


def test_no_rules_are_no_fault_wherever_they_are_written(load_text: Load) -> None:
    assert load_text("rules = []", '[[rules]]\nalert = "A"\nexpr = "a"\n').rules[0].expr == "a"


def test_every_fault_of_a_rule_has_its_place_and_cure(faults: Faults) -> None:
    text = """\
[[rules]]
alert = ""
expr = ""
for = 5
labels = { severity = "warn", 9 = "x" }
annotations = { "a-b" = "x" }
expression = "x"
[[rules]]
alert = "B"
expr = "b"
labels = { severity = "critcal" }
[[rules]]
expr = "c"
enabled = "no"
"""
    assert faults(text) == [
        "agent.toml:2:9: rules[0].alert: must not be empty",
        "agent.toml:3:8: rules[0].expr: must not be empty",
        'agent.toml:4:7: rules[0].for: expected a duration such as "15s" or "1m30s", got 5',
        'agent.toml:5:23: rules[0].labels.severity: no such severity; did you mean "warning"?; there are: info, '
        "warning, critical, emergency",
        "agent.toml:5:31: rules[0].labels.9: expected a label name: letters, digits and _, not a digit first, nor __: "
        "those names are Prometheus's own",
        "agent.toml:6:17: rules[0].annotations.a-b: expected letters, digits and _, not a digit first",
        "agent.toml:7:1: rules[0].expression: no such option",
        'agent.toml:11:23: rules[1].labels.severity: no such severity; did you mean "critical"?; there are: info, '
        "warning, critical, emergency",
        "agent.toml:12:3: rules[2].alert: is required: set it to a string",
        "agent.toml:14:11: rules[2].enabled: expected true or false, got a string",
    ]


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("[rules]\n", "agent.toml:1:2: rules: expected an array of tables: [[rules]]"),
        ("rules = [1]\n", "agent.toml:1:10: rules[0]: expected a table, got 1"),
        (
            "[rules]\n[rules]\n",
            "agent.toml:2:2: rules: is written already at agent.toml:1:2: it can stand only once; for several, write "
            "[[rules]] at the head of each",
        ),
        (
            '[[rules]]\nrecord = "a:b"\nexpr = "a"\n',
            "agent.toml:2:1: rules[0].record: recording rules stand in Prometheus' own files: name one in `rule_files`",
        ),
        (
            '[[rules]]\nalert = "A"\nexpr = "a"\nlabels.team = "${env:TEAM}"\n',
            "agent.toml:4:15: rules[0].labels.team: a rule is taken as it is written: no references here",
        ),
        (
            '[[rules]]\nalert = "A"\nexpr = "a"\nfor = "${env:TIME}"\n',
            "agent.toml:4:7: rules[0].for: a rule is taken as it is written: no references here",
        ),
    ],
)
def test_what_is_no_rule_is_refused_with_what_to_write(faults: Faults, text: str, fault: str) -> None:
    assert fault in faults(text)


def test_a_rule_may_leave_out_what_the_default_of_its_name_says(
    tmp_path: Path, collectors: Kinds, exporters: Kinds
) -> None:
    text = '[collectors.redis]\n[[rules]]\nalert = "RedisDown"\nenabled = false\n[[rules]]\nalert = "ProbeDown"\n'
    assert faults_with_defaults(tmp_path, text, collectors, exporters) == []


def test_a_rule_without_an_expression_that_no_default_has_is_asked_about(
    tmp_path: Path, collectors: Kinds, exporters: Kinds
) -> None:
    text = '[[rules]]\nalert = "RedisDwn"\nenabled = false\n[[rules]]\nalert = "Mine"\n'
    assert faults_with_defaults(tmp_path, text, collectors, exporters) == [
        "agent.toml:1:3: rules[0].expr: is required: no collector's default and no rule file has this name; "
        'did you mean "RedisDown"?',
        "agent.toml:4:3: rules[1].expr: is required: no collector's default and no rule file has this name",
    ]


def test_the_defaults_of_other_collectors_are_looked_at_only_when_the_configured_ones_do_not_do(
    tmp_path: Path, collectors: Kinds, exporters: Kinds
) -> None:
    asked: list[str] = []

    def defaults(kind: str) -> tuple[Rule, ...]:
        asked.append(kind)
        return rules_of(kind)

    file = tmp_path / "agent.toml"
    file.write_text('[collectors.redis]\n[[rules]]\nalert = "RedisDown"\n')
    load(str(file), collectors=collectors, exporters=exporters, environ={}, defaults=defaults)
    assert asked == ["redis"]


def test_each_rule_is_tried_out_and_what_is_said_then_stands_at_its_place(
    tmp_path: Path, collectors: Kinds, exporters: Kinds
) -> None:
    def trial(part: object) -> None:
        if isinstance(part, Rule):
            raise ValueError("expr: expected a vector", "annotations.summary: no such function", "for: too long")

    assert faults_with_defaults(tmp_path, RULE, collectors, exporters, trial=trial) == [
        "agent.toml:3:8: rules[0].expr: expected a vector",
        "agent.toml:4:7: rules[0].for: too long",
        "agent.toml:7:13: rules[0].annotations.summary: no such function",
    ]


def test_the_schema_accepts_rules_that_load_and_refuses_others(collectors: Kinds, exporters: Kinds) -> None:
    del collectors["broken"]
    validator = jsonschema.Draft202012Validator(json_schema(collectors, exporters))
    assert validator.is_valid(tomli.loads('rule_files = ["a.yml"]\n' + RULE))
    for text in (
        RULE.replace("warning", "warn"),
        RULE.replace("alert =", "name ="),
        RULE.replace('"5m"', "5"),
        "rule_files = 1",
        "[rules]",
    ):
        assert not validator.is_valid(tomli.loads(text)), text


class Shown(Struct, frozen=True, kw_only=True):
    """What agent.rules makes of a rule."""

    rule: Rule | Recording
    origin: str = "agent.toml:1"
    kind: str = ""
    enabled: bool = True


def shown_again(rules: Sequence[Shown], load_text: Load) -> Config:
    return load_text(to_toml(load_text(""), rules), environ={})


def test_rules_that_are_shown_as_toml_load_again_to_the_same(load_text: Load) -> None:
    lines = "sum by (a) (\n  b # '' \n)\n"
    other = Rule(alert='a"\n', expr=lines, hold=Duration("0s"), annotations={"a": "\t'''\n"})
    rules = (*load_text(RULE).rules, other)
    assert shown_again([Shown(rule=one) for one in rules], load_text).rules == rules


def test_each_rule_is_shown_with_where_it_came_from(load_text: Load) -> None:
    default = DEFAULTS["redis"][0]
    rules = [
        Shown(rule=default, origin="default of redis", kind="redis"),
        Shown(rule=default, origin="agent.toml:7", kind="redis"),
        Shown(rule=default, origin="agent.toml:9", enabled=False),
        Shown(rule=Recording(record="a:b", expr="a"), origin="a.yml:3"),
    ]
    lines = to_toml(load_text(""), rules).splitlines()
    assert [line for line in lines if "# default of" in line or "agent.toml:" in line or "a.yml" in line] == [
        "[[rules]]  # default of redis",
        "[[rules]]  # agent.toml:7, over the default of redis",
        '# "RedisDown" is switched off  # agent.toml:9',
        '# "a:b" records "a"  # a.yml:3',
    ]
    assert 'for = "1m"' in lines


def test_rules_are_shown_as_json_with_all_they_have(load_text: Load) -> None:
    shown = effective(load_text(""), [Shown(rule=DEFAULTS["redis"][0], origin="default of redis", kind="redis")])
    assert shown["rules"] == [
        {
            "alert": "RedisDown",
            "expr": "redis_up == 0",
            "for": "1m",
            "labels": {"severity": "critical"},
            "annotations": {"summary": "down"},
            "from": "default of redis",
            "collector": "redis",
            "enabled": True,
        }
    ]
    assert shown["rule_files"] == []
