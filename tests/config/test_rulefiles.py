"""Prometheus' rule files: read as Prometheus reads them, refused with a place, and never more than they look like."""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from config import Config, ConfigError, Duration, load
from config.documents import Malformed
from config.faults import Fault
from config.rulefiles import Span
from config.rules import Recording, Rule
from config.yamltree import parse_yaml

FILE = """\
# Of a host.
groups:
  - name: node
    interval: 30s
    limit: 10
    query_offset: 1m
    labels: {team: ops, site: one}
    rules:
      - record: job:up:sum
        expr: sum by (job) (up)
        labels:
          site: two
      - alert: Down
        expr: |
          up == 0
        for: 1h30m
        keep_firing_for: 0
        labels: {severity: page, tier: 1}
        annotations:
          summary: '{{ $labels.instance }} is ${env:HOME} down'
          text: >-
            one
            line
  - name: empty
    rules:
"""

Read = Callable[..., Config]
Refused = Callable[..., list[str]]


@pytest.fixture
def read(tmp_path: Path) -> Read:
    """The configuration that names one rule file, or the patterns given."""

    def read_it(text: str | bytes, *patterns: str, **others: object) -> Config:
        (tmp_path / "rules.yml").write_bytes(text.encode() if isinstance(text, str) else text)
        (tmp_path / "agent.toml").write_text(f"rule_files = {json.dumps(patterns or ['rules.yml'])}\n")
        return load(str(tmp_path / "agent.toml"), collectors={}, exporters={}, environ={}, **others)  # type: ignore[arg-type]  # trial

    return read_it


@pytest.fixture
def refused(read: Read, tmp_path: Path) -> Refused:
    """The faults, one a line, without the directory."""

    def faults_of(text: str | bytes, *patterns: str, **others: object) -> list[str]:
        try:
            read(text, *patterns, **others)
        except ConfigError as error:
            return str(error).replace(f"{tmp_path}/", "").splitlines()
        return []

    return faults_of


def in_group(rule: str) -> str:
    return f"groups:\n- name: g\n  rules:\n  - {rule}\n"


def test_a_rule_file_gives_its_rules_in_their_order_with_the_labels_of_their_group(read: Read) -> None:
    assert read(FILE).rules == (
        Recording(record="job:up:sum", expr="sum by (job) (up)", labels={"team": "ops", "site": "two"}),
        Rule(
            alert="Down",
            expr="up == 0\n",
            hold=Duration("1h30m"),
            keep_firing_for=Duration("0s"),
            labels={"team": "ops", "site": "one", "severity": "page", "tier": "1"},
            annotations={"summary": "{{ $labels.instance }} is ${env:HOME} down", "text": "one line"},
        ),
    )


def test_a_rule_of_a_file_waits_for_nothing_unless_it_says_so(read: Read) -> None:
    assert read(in_group("{alert: A, expr: a}")).rules == (Rule(alert="A", expr="a", hold=Duration("0s")),)


def test_every_key_of_a_file_has_its_place(read: Read) -> None:
    config = read(FILE)
    place = config.places["rules", "1", "annotations", "summary"]
    assert (os.path.basename(place.file), place.line, place.column) == ("rules.yml", 20, 11)
    assert (config.places["rules", "0"].line, config.places["rules", "1"].line) == (9, 13)
    assert [os.path.basename(file) for file in config.rule_files] == ["rules.yml"]


@pytest.mark.parametrize("text", ["", "# nothing\n", "groups:\n", "groups: []\n", "---\n", "\ufeffgroups: ~\r\n"])
def test_a_file_without_rules_is_no_fault(read: Read, text: str) -> None:
    assert read(text).rules == ()


def test_every_fault_of_a_file_is_told_at_once_with_its_place(refused: Refused) -> None:
    text = """\
groups:
- name: a
  intervall: 5m
  limit: many
  rules:
  - alert: A
    for: 5 minutes
  - alert: B
    record: b
    expr: b
  - expr: c
  - record: d-d
    expr: d
  - record: e
    expr: e
    for: 5m
    annotations: {summary: x}
  - alert: F
    exprs: f
    labels: {a-b: x}
- name: a
  rules: {}
- [1]
group: 1
"""
    assert refused(text) == [
        'rules.yml:3:3: groups[0].intervall: no such option; did you mean "interval"?',
        "rules.yml:4:10: groups[0].limit: expected a whole number, got a string",
        "rules.yml:6:5: groups[0].rules[0].expr: is required: set it to a string",
        'rules.yml:7:10: groups[0].rules[0].for: expected a duration such as "5m" or "1h30m", got "5 minutes"',
        "rules.yml:9:13: groups[0].rules[1].record: cannot stand beside `alert`",
        "rules.yml:11:5: groups[0].rules[2]: expected one of `alert` and `record`",
        "rules.yml:12:13: groups[0].rules[3].record: expected a metric name",
        "rules.yml:16:10: groups[0].rules[4].for: a recording rule takes none",
        "rules.yml:17:18: groups[0].rules[4].annotations: a recording rule takes none",
        'rules.yml:19:5: groups[0].rules[5].exprs: no such option; did you mean "expr"?',
        "rules.yml:20:14: groups[0].rules[5].labels.a-b: expected a label name: letters, digits and _, not a digit "
        "first, nor __: those names are Prometheus's own",
        "rules.yml:21:9: groups[1].name: the group at rules.yml:2:3 has this name already: names of a file's groups "
        "must differ",
        "rules.yml:22:10: groups[1].rules: expected an array, got a table",
        "rules.yml:23:3: groups[2]: expected a table, got an array",
        'rules.yml:24:1: group: no such option; did you mean "groups"?',
    ]


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("- a\n", "rules.yml:1:1: expected `groups:`"),
        ("groups: 1\n", "rules.yml:1:9: groups: expected an array of groups"),
        ("groups: [\n", "rules.yml:2:1: not YAML: did not find expected node content"),
        ("groups:\n\t- a\n", "rules.yml:2:1: not YAML: found character that cannot start any token"),
        (
            "groups: []\ngroups: []\n",
            "rules.yml:2:1: this key is written already at rules.yml:1:1: it can stand only once",
        ),
        ("a: &a 1\n<<: {b: 1}\n", "rules.yml:2:1: merge keys (`<<`) are not read: write out what they stand for"),
        ("a: *b\n", "rules.yml:1:4: no such anchor before this alias"),
        ("a: !!python/name:os.system x\n", "rules.yml:1:4: tags (`!…`) are not read"),
        ("? [a]\n: 1\n", "rules.yml:1:3: a key is a text"),
        ("groups: []\n---\ngroups: []\n", "rules.yml:2:1: a second document begins here: a file holds one"),
        ("# \0\n", "rules.yml:1:3: a control character"),
        (b"# caf\xe9\n", "rules.yml:1:6: not UTF-8 from here on: save the file as UTF-8"),
        (b"#" * (1 << 20) + b"#", "agent.toml:1:15: rule_files[0]: rules.yml: is larger than 1048576 bytes"),
    ],
)
def test_what_is_no_rule_file_is_refused_at_its_place(refused: Refused, text: str | bytes, fault: str) -> None:
    assert refused(text) == [fault]


def test_what_is_null_is_as_good_as_not_written(read: Read) -> None:
    text = in_group("{alert: A, expr: a, for: null, labels: ~, annotations: , record: Null}")
    assert read(text).rules == (Rule(alert="A", expr="a", hold=Duration("0s")),)


def test_aliases_stand_for_their_anchors(read: Read) -> None:
    text = in_group("{alert: A, expr: &e a > 1, labels: &l {x: y}}\n  - {alert: B, expr: *e, labels: *l}")
    assert [(one.expr, one.labels) for one in read(text).rules] == [("a > 1", {"x": "y"})] * 2


def test_a_trial_is_told_of_every_sound_rule_and_its_words_stand_in_the_file(refused: Refused) -> None:
    def trial(part: object) -> None:
        if isinstance(part, Rule | Recording) and "bad" in part.expr:  # type: ignore[operator]  # has one
            raise ValueError("expr: no such function", "labels.site: unclosed")

    text = FILE.replace("sum by (job) (up)", "bad").replace("up == 0", "bad")
    assert refused(text, trial=trial) == [
        "rules.yml:10:15: groups[0].rules[0].expr: no such function",
        "rules.yml:12:11: groups[0].rules[0].labels.site: unclosed",
        "rules.yml:13:9: groups[0].rules[1]: labels.site: unclosed",
        "rules.yml:14:15: groups[0].rules[1].expr: no such function",
    ]


def test_patterns_start_from_the_directory_of_their_file_and_each_file_is_read_once(read: Read, tmp_path: Path) -> None:
    (tmp_path / "more").mkdir()
    for name in ("b", "a"):
        (tmp_path / "more" / f"{name}.yml").write_text(in_group(f"{{alert: {name}, expr: x}}"))
    config = read(FILE, str(tmp_path / "more" / "b.yml"), "more/*.yml", "rules.yml", "none/*.yml")
    assert [os.path.relpath(file, tmp_path) for file in config.rule_files] == ["more/b.yml", "more/a.yml", "rules.yml"]
    assert [one.alert for one in config.rules if isinstance(one, Rule)] == ["b", "a", "Down"]


def test_rule_files_of_conf_d_are_added_and_start_from_there(tmp_path: Path) -> None:
    (tmp_path / "conf.d").mkdir()
    for directory, name in ((tmp_path, "A"), (tmp_path / "conf.d", "B")):
        (directory / "rules.yml").write_text(in_group(f"{{alert: {name}, expr: x}}"))
    (tmp_path / "agent.toml").write_text('rule_files = ["rules.yml"]\n[[rules]]\nalert = "C"\nexpr = "x"\n')
    (tmp_path / "conf.d" / "1.toml").write_text('rule_files = ["rules.yml"]\n')
    config = load(str(tmp_path / "agent.toml"), collectors={}, exporters={}, environ={})
    assert [one.alert for one in config.rules if isinstance(one, Rule)] == ["C", "A", "B"]


def test_a_file_that_is_named_has_to_be_there_and_to_be_a_file(refused: Refused, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "directory.yml").mkdir()
    assert refused("", "none.yml", "fifo", "*.yml", "a\0*", "") == [
        "agent.toml:1:15: rule_files[0]: none.yml: there is no such file",
        "agent.toml:1:27: rule_files[1]: fifo: is no regular file",
        "agent.toml:1:35: rule_files[2]: directory.yml: is a directory",
        "agent.toml:1:44: rule_files[3]: 'a\\x00*': is no possible file name",
        "agent.toml:1:56: rule_files[4]: : is a directory",
    ]


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("5m", 300), ("1h30m", 5400), ("0s", 0), ("0", 0), ("1y", 31_536_000), ("1w2d", 777_600), ("1s500ms", 1.5)],
)
def test_durations_are_those_of_prometheus(text: str, seconds: float) -> None:
    assert Span(text) == seconds
    assert Duration(str(Span(text))) == seconds


@pytest.mark.parametrize("text", ["", "5", "5 m", "1.5h", "-1s", "5us", "1m1h", "101y", "9" * 40 + "s", "s", "00"])
def test_what_prometheus_takes_for_no_duration_is_none(text: str) -> None:
    with pytest.raises(ValueError, match=r"duration|years"):
        Span(text)


HOSTILE = {
    "brackets": "[" * 500_000,
    "braces": "{a: " * 200_000,
    "dashes": "- " * 500_000,
    "indents": "".join(" " * depth + "a:\n" for depth in range(1400)),
    "laughs": "a: &a [x, x]\n" + "".join(f"b{n}: &{chr(98 + n)} [*{chr(97 + n)}, *{chr(97 + n)}]\n" for n in range(24)),
    "itself": "&a [*a]",
    "commas": "[" + ",".join("a" * 400_000) + "]",
    "directives": "".join(f"%TAG !a{number}! x\n" for number in range(50_000)) + "---\n",
    "surrogate": '"\\ud800"',
    "beyond": '"\\U00110000"',
    "binary": "a: !!binary aGk=",
}


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
def test_hostile_yaml_is_refused_soon(text: str) -> None:
    began = time.process_time()
    with pytest.raises(Malformed):
        parse_yaml(text, "rules.yml")
    assert time.process_time() - began < 5


PIECES = st.sampled_from(
    [
        *"-:?[]{}|>&*!%,#'\"\n ~",
        "\t",
        "  ",
        "\n  ",
        "<<",
        "&a ",
        "*a",
        "!!str ",
        "null",
        "groups",
        "rules: ",
        "- ",
        "---\n",
    ]
)


@given(st.lists(st.tuples(st.integers(0, len(FILE)), st.integers(0, 30), PIECES), max_size=6))
@example([(0, 0, "\udfff")])
def test_a_damaged_file_is_read_or_refused_with_a_place(edits: list[tuple[int, int, str]]) -> None:
    text = FILE
    for at, length, piece in edits:
        text = text[:at] + piece + text[at + length :]
    fault = fault_of(text)
    assert fault is None or (fault.line > 0 and fault.message.isprintable())


def fault_of(text: str) -> Fault | None:
    try:
        parse_yaml(text, "rules.yml")
    except Malformed as malformed:
        return malformed.fault
    return None


REFUSED = [
    "groups: 1",
    "group: []",
    "groups: [{rules: []}]",
    "groups: [{name: ''}]",
    "groups: [{name: a}, {name: a}]",
    "groups: [{name: a, interval: 5 minutes}]",
    "groups: [{name: a, limit: x}]",
    "groups: [{name: a, labels: {__name__: x}}]",
    "groups: [{name: a}]\ngroups: []",
    "- a",
    "groups: [",
    "groups: [{name: *a}]",
    *map(
        in_group,
        [
            "{alert: A}",
            "{expr: a}",
            "{alert: A, record: b, expr: a}",
            "{alert: A, expr: ''}",
            "{alert: A, expr: a, for: ''}",
            "{alert: A, expr: a, for: 5}",
            "{alert: A, expr: a, for: 1.5h}",
            "{alert: A, expr: a, hold: 5m}",
            "{alert: A, expr: [a]}",
            "{alert: A, expr: a, labels: [a]}",
            "{alert: A, expr: a, labels: {__name__: b}}",
            "{record: a, expr: a, for: 5m}",
            "{record: a, expr: a, keep_firing_for: 5m}",
            "{record: a, expr: a, annotations: {a: b}}",
            "{alert: A, alert: B, expr: a}",
        ],
    ),
]
TAKEN = [
    FILE,
    "",
    "groups:",
    "groups: [{name: a}]",
    "groups: [{name: 1, limit: -1, interval: 0s, query_offset: 1y}]",
    "groups: [{name: a, labels: {x: yes}}]",
    "groups: [{name: a, rules: [~, {alert: A, expr: a}]}]",
    "groups: [~]",
    *map(
        in_group,
        [
            "{alert: A, expr: 1, labels: {a: 1, b: true, c: 1.50}}",
            "{alert: A, expr: a, for: 0, keep_firing_for: 1w2d}",
            "{alert: A, expr: a, for: null, annotations: }",
            "{alert: a b - c, expr: a}",
            "{alert: A, expr: &e a, labels: &l {a: b}, annotations: *l}",
            "{record: 'a:b', expr: a, for: 0s}",
        ],
    ),
]


@pytest.mark.servers
@pytest.mark.parametrize("text", [*REFUSED, *TAKEN])
def test_prometheus_itself_says_the_same(
    refused: Refused, tmp_path: Path, peer: Callable[[str], str], text: str
) -> None:
    faults = refused(text)
    command = [peer("promtool"), "check", "rules", "--lint=none", str(tmp_path / "rules.yml")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode != 0) == bool(faults) == (text in REFUSED), done.stdout + done.stderr + "\n".join(faults)
