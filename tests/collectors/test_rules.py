"""The default rules of all collectors: what they look at, when they fire, and that each has its runbook."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from agent.model import Family, MetricBatch, Series, SeriesSet
from agent.promql import Moment, Point, parse_query, window_of
from agent.templates import compile_template
from collectors import BUILTIN, mysql, pgbouncer, postgres, redis, scrape
from collectors.host.parts import declared
from collectors.host.rules import RULES as HOST_RULES
from collectors.mysql.replication import LABELS as OF_REPLICATION
from collectors.pgbouncer.rules import RULES as PGBOUNCER_RULES
from collectors.probes import dns, http, icmp, tcp, tls
from collectors.probes import rules as probes
from config.rules import SEVERITIES, Rule
from tests.collectors import rule_cases, rule_cases_of_databases
from tests.collectors.host.tree import DATA
from tests.collectors.rule_cases import Case

RUNBOOKS = Path(__file__).parents[2] / "docs/runbooks"
NOW = 1_800_000_000
STEP = 60  # seconds between rounds; an hour of them is made up
OF_PROBES = tuple({rule.alert: rule for kind in ("http", "tls", "tcp", "dns", "icmp")
                   for rule in getattr(probes, kind.upper())}.values())  # fmt: skip
RULES: dict[str, tuple[Rule, ...]] = {  # by the name of their runbooks
    "host": HOST_RULES,
    "probes": OF_PROBES,
    "redis": redis.RULES,
    "postgres": postgres.RULES,
    "pgbouncer": PGBOUNCER_RULES,
    "mysql": mysql.RULES,
    "scrape": scrape.RULES,
}
ALL = [(runbook, rule) for runbook, rules in RULES.items() for rule in rules]
CASES: dict[str, Case] = {
    **rule_cases.HOST,
    **rule_cases.PROBES,
    **rule_cases.SCRAPE,
    **rule_cases_of_databases.REDIS,
    **rule_cases_of_databases.POSTGRES,
    **rule_cases_of_databases.PGBOUNCER,
    **rule_cases_of_databases.MYSQL,
}
NAMED_BY_THE_SERVER = {  # families without an entry in a table, and their labels
    r"mysql_global_(status|variables)_\w+": (),
    r"mysql_slave_status_\w+": OF_REPLICATION,
    r"pg_settings_\w+": (),
    r"node_(memory|vmstat)_\w+": (),
    r"node_zfs_arc_\w+": (),
    r"node_hwmon_temp_(crit_)?celsius": ("chip", "sensor"),
}
BY_NAME = {rule.alert: rule for _, rule in ALL}
each_rule = pytest.mark.parametrize("rule", [pytest.param(rule, id=rule.alert) for _, rule in ALL])
FUNCTIONS = {"humanize", "humanize1024", "humanizeDuration", "humanizePercentage", "humanizeTimestamp", "printf"}


def families() -> Iterator[Family]:
    yield from declared()
    for module in (redis, postgres, pgbouncer, mysql, scrape, dns, http, icmp, tcp, tls):
        yield from module.METRICS


def labels_of() -> dict[str, set[str]]:
    """The labels of every family that a table has."""
    found: dict[str, set[str]] = {}
    for family in families():
        found.setdefault(family.name, {"instance", "job"}).update(family.labels)
    return found


LABELS = labels_of()


def labels_known(name: str) -> set[str] | None:
    """The labels that series of a name can have; None for a metric that no collector makes."""
    if name in LABELS:
        return LABELS[name]
    labels = next((labels for pattern, labels in NAMED_BY_THE_SERVER.items() if re.fullmatch(pattern, name)), None)
    return None if labels is None else {"instance", "job", *labels}


# -- made-up series ---------------------------------------------------------------------------------------------------


class Line(NamedTuple):
    name: str
    labels: dict[str, str]
    value: str

    def at(self, share: float) -> float:
        """The value after so much of the hour."""
        if self.value == "flapping":
            return float(round(share * 3600 / STEP) % 4 < 2)
        if self.value.startswith("@"):
            return NOW + float(self.value[1:])
        first, _, last = self.value.partition("..")
        return float(first) + (float(last or first) - float(first)) * share


def read_line(text: str) -> Line:
    name, *labels, value = text.split()
    pairs = dict(label.replace("~", " ").split("=", 1) for label in labels)
    return Line(name, {"instance": "a:1", "job": "j"} | pairs, value)


def samples(text: str) -> list[Line]:
    return [read_line(line) for line in text.strip().splitlines()]


def judge(rule: Rule, text: str) -> list[Point]:
    """What an expression answers after an hour of these series."""
    assert rule.expr is not None
    lines, query = samples(text), parse_query(rule.expr)
    series = SeriesSet([Series(one.name, "gauge", "", "", tuple(sorted(one.labels.items()))) for one in lines])
    window = window_of([query])
    for at in range(NOW - 3600, NOW + 1, STEP):
        batch = MetricBatch("made up", at * 1000, series, [one.at(1 + (at - NOW) / 3600) for one in lines])
        window.take([batch])
    answer = query.evaluate(Moment(float(NOW), [batch], window))
    assert isinstance(answer, list)
    return answer


WELL = [
    pytest.param(alert, text, id=f"{alert}-{number}")
    for alert, case in CASES.items()
    for number, text in enumerate(case.well.split("\n\n"))
]


@pytest.mark.parametrize(("alert", "text"), WELL)
def test_a_sound_system_does_not_make_a_rule_fire(alert: str, text: str) -> None:
    assert judge(BY_NAME[alert], text) == []


@each_rule
def test_a_sick_system_makes_a_rule_fire_once(rule: Rule) -> None:
    (point,) = judge(rule, CASES[rule.alert].sick)
    shown = set(re.findall(r"\$labels\.(\w+)", rule.annotations["summary"]))
    assert shown <= dict(point.labels).keys()
    summary = compile_template(rule.annotations["summary"]).render(dict(point.labels), point.value)
    assert not re.search(r"<no value>|<error|\{\{|%!| {2}", summary), summary


def test_there_is_a_case_for_every_rule_and_for_nothing_else() -> None:
    assert CASES.keys() == BY_NAME.keys()


@pytest.mark.parametrize("alert", CASES)
def test_the_series_of_a_case_are_such_as_collectors_make(alert: str) -> None:
    for line in (line for text in (CASES[alert].sick, *CASES[alert].well.split("\n\n")) for line in samples(text)):
        assert line.labels.keys() <= (labels_known(line.name) or set()), line


# -- the rules themselves ---------------------------------------------------------------------------------------------


def test_names_are_unique() -> None:
    assert len(BY_NAME) == len(ALL)


def test_rules_that_several_probes_have_are_the_same() -> None:
    for kind in ("http", "tls", "tcp", "dns", "icmp"):
        assert all(rule == BY_NAME[rule.alert] for rule in getattr(probes, kind.upper()))


@pytest.mark.parametrize("kind", BUILTIN)
def test_every_collector_has_rules(kind: str) -> None:
    module, _, name = BUILTIN[kind].partition(":")
    collector = getattr(__import__(module, fromlist=[name]), name)
    assert collector.rules
    assert all(BY_NAME[rule.alert] == rule for rule in collector.rules)


@each_rule
def test_a_rule_looks_at_metrics_that_a_collector_makes(rule: Rule) -> None:
    names = parse_query(rule.expr or "").names
    assert names
    assert [name for name in names if labels_known(name) is None] == []


def test_the_metrics_that_the_kernel_names_are_in_the_golden_file() -> None:
    golden = set(re.findall(r"^# \w+ (\w+) ", (DATA / "machine.golden").read_text(), re.MULTILINE))
    named = {name for rule in HOST_RULES for name in parse_query(rule.expr or "").names} - LABELS.keys()
    not_on_that_machine = {"node_memory_Hugetlb_bytes", "node_vmstat_pswpin", "node_vmstat_pswpout"}
    assert named - golden <= not_on_that_machine | {"node_zfs_arc_c_min"}


@each_rule
def test_a_rule_says_how_grave_it_is_and_what_it_is_about(rule: Rule) -> None:
    assert rule.labels["severity"] in SEVERITIES
    assert rule.hold is not None
    summary = rule.annotations["summary"]
    assert "$labels.instance" in summary
    assert summary == summary.strip()
    assert set(re.findall(r"\|\s*(\w+)", summary)) <= FUNCTIONS


@each_rule
def test_a_rule_names_its_subject_first(rule: Rule) -> None:
    subjects = "Host|Container|Probe|Certificate|Redis|Postgres|Pgbouncer|MySQL|Target|Scrape"
    assert re.fullmatch(rf"({subjects})([A-Z][a-z]*|In4Hours)+", rule.alert)


# -- the runbooks -----------------------------------------------------------------------------------------------------


def index() -> str:
    """docs/runbooks/README.md."""
    rows = [
        f"| [{rule.alert}]({runbook}.md#{rule.alert.lower()}) | {rule.labels['severity']} | {rule.hold} |"
        f" `{(rule.expr or '').replace('|', chr(92) + '|')}` | [{runbook}.md]({runbook}.md) |"
        for runbook, rule in ALL
    ]
    head = "| alert | severity | for | condition | runbook |\n|---|---|---|---|---|\n"
    return INTRODUCTION + head + "\n".join(rows) + "\n"


INTRODUCTION = """# Runbooks

The rules that hold unless the configuration says otherwise. Those of a collector count when it is configured. One is
changed by a rule of the same name, field by field, and switched off by its name:

```toml
[[rules]]
alert = "HostDiskSpaceLow"
for = "1h"

[[rules]]
alert = "HostRebooted"
enabled = false
```

`for` is how long a condition has to last; `nightjar check` and `nightjar probe` do not wait for it. Conditions with
`increase`, `changes` and `predict_linear` need the daemon, which remembers.

"""


def test_the_index_of_the_runbooks_is_that_of_the_rules() -> None:
    path = RUNBOOKS / "README.md"
    if os.environ.get("NIGHTJAR_GOLDEN") == "write":
        path.write_text(index())
    assert path.read_text() == index()


@pytest.mark.parametrize("runbook", RULES)
def test_a_runbook_has_a_section_for_each_rule_in_their_order(runbook: str) -> None:
    text = (RUNBOOKS / f"{runbook}.md").read_text()
    assert re.findall(r"^## (.*)$", text, re.MULTILINE) == [rule.alert for rule in RULES[runbook]]
    sections = re.split(r"^## .*$", text, flags=re.MULTILINE)[1:]
    assert all(len(section.split()) >= 25 for section in sections)
