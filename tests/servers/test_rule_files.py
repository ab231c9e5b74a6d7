"""The alerts that others publish for the exporters whose place we take, as promtool judges them and as we do.

Each file is loaded unchanged. Each alert has made-up series, mostly minute by minute; promtool is told at every
look which alerts we saw firing, with which labels and annotations, and has to agree.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from agent.cli.options import load_tried
from agent.model import MetricBatch, Series, SeriesSet
from agent.promql import Unsupported, parse_query
from agent.rules.inforce import InForce, rules_in_force
from agent.rules.judge import Judge
from agent.templates import compile_template
from config.rules import Recording, Rule
from tests.servers.rule_cases import CASES, Case, Per, Phases
from tests.servers.rule_mixins import MIXINS, Fired, alerts, mixin, promtool

pytestmark = pytest.mark.servers

START = 1_700_000_040  # a full minute; promtool's first is 1970
HOSTS = ("h1:9100", "h2:9100")  # the first falls ill and recovers, the second stays well

OWN_RULES = r"""
groups:
- name: own
  labels: {team: "{{ $labels.instance }} crew"}
  rules:
  - {record: "job:queue:sum", expr: "sum by (job) (queue)", labels: {kind: recorded}}
  - alert: Kept
    expr: queue > 10
    for: 2m
    keep_firing_for: 5m
    labels: {severity: '{{ if gt $value 20.0 }}critical{{ else }}warning{{ end }}', instance: ""}
    annotations:
      summary: '{{ $labels.instance | stripPort | toUpper }} waits: {{ $value | humanize }} {{ $labels.__name__ }}'
      broken: '{{ with $labels.job }}{{ . | title }}{{ end }}{{ $labels.nosuch }}'
  - alert: Recorded
    expr: job:queue:sum{kind="recorded"} > 30
    annotations: {summary: '{{ $labels }} {{ printf "%.1f" $value }}'}
  - alert: Absent
    expr: absent(queue{instance="h1:9100"} < 50)
    for: 1m
    annotations: {summary: '{{ $labels.instance }} {{ $value }}'}
  - alert: Flaps
    expr: queue > 10
    for: 3m
"""
OWN = [
    Case("own", "Kept", {"queue": (5, 15, 25, 9)}, 6),
    Case("own", "Kept", {"queue": (15, 3, 15, 3, 3)}, 4),
    Case("own", "Recorded", {"queue": (28, 45, 5)}, 4),
    Case("own", "Absent", {"queue": (60, 5)}, 4),
    Case("own", "Flaps", {"queue": (15, 3, 15, 3)}, 3, fires=False),
    Case("own", "Flaps", {"queue": (15, 3, 15, 3)}, 4),
]

Made = dict[tuple[str, tuple[tuple[str, str], ...]], list[float]]


def read(path: Path) -> tuple[InForce, ...]:
    """The rules of a file, by way of a configuration that names it."""
    with TemporaryDirectory() as folder:
        config = Path(folder) / "agent.toml"
        config.write_text(f'rule_files = ["{path}"]\n')
        return tuple(rules_in_force(load_tried(str(config)), {}))


@cache
def loaded(name: str) -> tuple[InForce, ...]:
    return read(mixin(name))


def refusals(name: str) -> dict[str, str]:
    """The alerts of a file whose expression is refused, with the reason."""
    found = {}
    for alert in alerts(mixin(name)):
        try:
            parse_query(alert["expr"])
        except Unsupported as reason:
            found[alert["alert"]] = str(reason)
    return found


def held(spec: float | Phases | Per, phases: int, looks: int, *, well: bool) -> list[float]:
    """A series' values; one that stays well holds its last phase all the time."""
    pieces = spec if isinstance(spec, tuple) and not isinstance(spec, Per) else (spec,) * phases
    values: list[float] = []
    before: float | Per | None = None
    for piece in pieces[-1:] * phases if well else pieces:
        if isinstance(piece, Per):
            first = values[-1] if values and (piece is before or not piece.start) else piece.start
            values += [first + piece.step * look for look in range(1, looks + 1)]
        else:
            values += [float(piece)] * looks
        before = piece
    return values


def made(case: Case) -> Made:
    """The series of a case on both hosts."""
    phases = max(len(spec) for spec in (*case.series.values(), (0, 0)) if type(spec) is tuple)
    found: Made = {}
    for written, spec in case.series.items():
        name, _, rest = written.partition("{")
        own = [
            (key, text.strip('"')) for key, _, text in (pair.partition("=") for pair in rest[:-1].split(",") if pair)
        ]
        for host in HOSTS:
            labels = tuple(sorted([*own, ("instance", host), ("job", case.file)]))
            found[name, labels] = held(spec, phases, case.looks, well=host != HOSTS[0])
    return found


def judged(rules: Iterable[InForce], case: Case, series: Made) -> Iterator[list[Fired]]:
    """What we see firing, look by look."""
    judge = Judge(one for one in rules if isinstance(one.rule, Recording) or one.rule.alert == case.alert)
    shape = SeriesSet([Series(name, "unknown", "", "", labels) for name, labels in series])
    for look, values in enumerate(zip(*series.values(), strict=True)):
        now = START + case.step * look
        batch = MetricBatch("made", now * 1000, shape, values)
        judge.take([batch])
        judge.look(now, [batch])
        assert not [(one.name, one.error) for one in judge.alerting if one.error]
        yield [Fired(alert.labels, alert.annotations) for one in judge.alerting for alert in one.alerts if alert.firing]


def notation(name: str, labels: tuple[tuple[str, str], ...]) -> str:
    """A series as promtool reads it."""
    return name + "{" + ", ".join(f'{key}="{text}"' for key, text in labels) + "}"


def expected(seconds: int, alert: str, firing: list[Fired]) -> dict[str, object]:
    alerts = [
        {
            "exp_labels": {key: text for key, text in fired.labels.items() if key != "alertname"},
            "exp_annotations": fired.annotations,
        }
        for fired in firing
    ]
    return {"eval_time": f"{seconds}s", "alertname": alert, "exp_alerts": alerts}


def disagreement(case: Case, series: Made, seen: list[list[Fired]], path: Path, folder: Path) -> str:
    """What promtool says to what we saw, if it saw anything else."""
    test = {
        "interval": f"{case.step}s",
        "input_series": [
            {"series": notation(*key), "values": " ".join(map(repr, values))} for key, values in series.items()
        ],
        "alert_rule_test": [expected(case.step * look, case.alert, firing) for look, firing in enumerate(seen)],
    }
    said = promtool(folder, path, test, step=case.step)
    return "" if "SUCCESS" in said else said[:3000]


@pytest.mark.parametrize("name", MIXINS)
def test_a_published_file_loads_unchanged(name: str) -> None:
    ours = [one.rule for one in loaded(name) if isinstance(one.rule, Rule)]
    theirs = alerts(mixin(name))
    assert [rule.alert for rule in ours] == [alert["alert"] for alert in theirs]
    assert [rule.annotations for rule in ours] == [alert.get("annotations", {}) for alert in theirs]
    assert not [text for rule in ours for text in rule.annotations.values() if compile_template(text).unsupported]


@pytest.mark.parametrize("name", MIXINS)
def test_every_alert_of_a_published_file_is_compared_or_refused(name: str) -> None:
    whole = [alert["alert"] for alert in alerts(mixin(name))]
    refused, compared = refusals(name), {case.alert for case in CASES if case.file == name} & set(whole)
    left = set(whole) - compared - refused.keys()
    counts = f"{len(whole)} alerts loaded, {sum(alert in compared for alert in whole)} compared, {len(refused)} refused"
    print(f"{name}: {counts} {refused or ''} {left or ''}")
    assert len(left) <= 2  # a version newer than ours may bring some


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.alert)
def test_an_alert_fires_and_clears_as_promtool_says(case: Case, tmp_path: Path) -> None:
    if case.alert not in {alert["alert"] for alert in alerts(mixin(case.file))}:
        pytest.skip("not among the alerts of the version that was fetched")
    if (reason := refusals(case.file).get(case.alert)) is not None:
        pytest.skip(f"refused: {reason}")
    series = made(case)
    seen = list(judged(loaded(case.file), case, series))
    assert {fired.labels.get("instance", HOSTS[0]) for firing in seen for fired in firing} == (
        {HOSTS[0]} if case.fires else set()
    )
    assert not seen[-1]
    assert not disagreement(case, series, seen, mixin(case.file), tmp_path)


@pytest.mark.parametrize("case", OWN, ids=lambda case: case.alert)
def test_what_the_published_files_leave_out_is_judged_as_promtool_judges_it(case: Case, tmp_path: Path) -> None:
    path = tmp_path / "own.yml"
    path.write_text(OWN_RULES)
    series = made(case)
    seen = list(judged(read(path), case, series))
    assert any(seen) is case.fires
    assert not seen[-1]
    assert not disagreement(case, series, seen, path, tmp_path)
