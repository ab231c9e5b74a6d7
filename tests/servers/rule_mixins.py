"""promtool as the judge of rules, and the rule files that others publish for the exporters whose place we take."""

from __future__ import annotations

import ast
import json
import re
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml

from tests.conftest import MISSING, NO_SKIPS, PEERS, need_peer

ALERT = re.compile(r"^ +Labels:\{(.*)\}\n +Annotations:\{(.*)\},?$", re.MULTILINE)
PAIR = re.compile(r'([^\s,="{}]+)=("(?:[^"\\]|\\.)*")')
MIXINS = ("node", "postgres", "redis", "mysql")


class Fired(NamedTuple):
    """An alert that promtool saw firing."""

    labels: dict[str, str]
    annotations: dict[str, str]


def pairs(text: str) -> dict[str, str]:
    return {name: ast.literal_eval(value) for name, value in PAIR.findall(text)}


def fired(text: str) -> list[Fired]:
    return [Fired(pairs(labels), pairs(annotations)) for labels, annotations in ALERT.findall(text)]


def promtool(folder: Path, rule_file: Path, test: Mapping[str, Any], *, step: int = 60) -> str:
    """What `promtool test rules` prints about a test of one rule file, judged every so many seconds."""
    program = need_peer("promtool")
    path = folder / "test.json"  # which is YAML, too
    whole = {
        "rule_files": [str(rule_file)],
        "evaluation_interval": f"{step}s",
        "group_eval_order": [group["name"] for group in groups(rule_file)],  # without it, any order
        "tests": [test],
    }
    path.write_text(json.dumps(whole))
    done = subprocess.run(
        [program, "test", "rules", str(path)], capture_output=True, text=True, timeout=100, check=False
    )
    return done.stdout + done.stderr


def groups(path: Path) -> list[dict[str, Any]]:
    """The groups of a rule file."""
    found: list[dict[str, Any]] = yaml.safe_load(path.read_text())["groups"]
    return found


def rendered(folder: Path, templates: Sequence[str], series: Sequence[tuple[str, str]]) -> list[Fired]:
    """Each series, as (labels, value), with the annotations t0, t1 … that promtool makes of the templates."""
    annotations = {f"t{at}": template for at, template in enumerate(templates)}
    rules = folder / "rules.json"
    rules.write_text(json.dumps({"groups": [{"name": "g", "rules": [
        {"alert": "Made", "expr": "made", "annotations": annotations}]}]}))  # fmt: skip
    said = promtool(folder, rules, {
        "interval": "1m",
        "input_series": [{"series": f"made{{{labels}}}", "values": value} for labels, value in series],
        "alert_rule_test": [{"eval_time": "0m", "alertname": "Made", "exp_alerts": []}],
    })  # fmt: skip
    found = fired(said)
    assert len(found) == len(series), said[-2000:]
    return found


def refused(folder: Path, templates: Sequence[str]) -> set[str]:
    """Those of the templates with which promtool refuses a rule."""
    annotations = {f"t{at}": template for at, template in enumerate(templates)}
    rules = folder / "rules.json"
    rules.write_text(json.dumps({"groups": [{"name": "g", "rules": [
        {"alert": "Made", "expr": "made", "annotations": annotations}]}]}))  # fmt: skip
    program = need_peer("promtool")
    done = subprocess.run([program, "check", "rules", str(rules)], capture_output=True, text=True, check=False)
    return {templates[int(at)] for at in re.findall(r'annotation "t(\d+)": ', done.stdout + done.stderr)}


def mixin(name: str) -> Path:
    """A published rule file that `make peers` fetched."""
    if not (path := PEERS / "mixins" / f"{name}.yml").exists():
        (pytest.fail if NO_SKIPS else pytest.skip)(f"{MISSING}mixins/{name}.yml (try: make peers)")
    return path


def alerts(path: Path) -> list[dict[str, Any]]:
    """The alerting rules of a rule file."""
    return [rule for group in groups(path) for rule in group["rules"] if "alert" in rule]
