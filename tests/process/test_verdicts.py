"""What the running agent's rules find: in `nightjar status`, on /api/health, after a reload, and as a check sees it."""

from __future__ import annotations

import json
from typing import Any

from tests.conftest import free_port
from tests.daemon import get
from tests.running import Running, eventually

BASE = '[agent]\ninterval = "200ms"\ntimeout = "200ms"\n[collectors.numbers]\nseries = 3\n'


def number_rule(limit: float, severity: str = "critical") -> str:
    return (
        f'[[rules]]\nalert = "Number"\nexpr = "number >= {limit}"\nlabels = {{ severity = "{severity}" }}\n'
        'annotations = { summary = "number {{ $labels.at }} is {{ $value }}" }\n'
    )


def alerts(agent: Running) -> dict[str, Any]:
    return {f"{one['check']} {one['labels'].get('at', '')}": one for one in agent.status()["rules"]["alerts"]}


def test_status_tells_people_and_machines_what_fires(agent: Running) -> None:
    agent.configure(BASE + number_rule(0.05))
    agent.start()
    eventually(lambda: "Number 1" in alerts(agent), "the first judgement")
    found = alerts(agent)["Number 1"]
    assert (found["status"], found["state"], found["threshold"]) == ("critical", "firing", 0.05)
    told = agent.command("status", "-c", str(agent.file)).stdout
    assert f"critical Number: {found['message']}" in told


def test_health_and_check_have_the_same_verdict(agent: Running) -> None:
    port = free_port()
    agent.configure(BASE.replace("[agent]\n", f'[agent]\nlisten = "127.0.0.1:{port}"\n') + number_rule(0.05, "warning"))
    agent.start()

    def health() -> Any:
        return json.loads(get(f"http://127.0.0.1:{port}/api/health/external")[1])

    eventually(lambda: any(one["check"] == "Number" for one in health()["checks"]), "the first judgement")
    assert health()["status"] == "warning"
    check = agent.command("check", "-c", str(agent.file), "--json")
    document = json.loads(check.stdout)
    assert (check.returncode, document["status"]) == (1, "warning")
    same = ("check", "status", "state", "severity", "subject", "labels", "threshold", "comparison")
    ours = [[one[key] for key in same] for one in document["checks"] if one["check"] == "Number"]
    theirs = [[one[key] for key in same] for one in health()["checks"] if one["check"] == "Number"]
    assert sorted(map(str, ours)) == sorted(map(str, theirs))


def test_a_reload_changes_the_rules_and_keeps_those_that_stay(agent: Running) -> None:
    agent.configure(BASE + number_rule(0.05))
    agent.start()
    eventually(lambda: "Number 1" in alerts(agent), "the first judgement")
    since = alerts(agent)["Number 1"]["since"]
    agent.configure(BASE + number_rule(0.05) + number_rule(1e300).replace("Number", "Huge"))
    assert agent.command("status", "-c", str(agent.file)).returncode in (0, 1)
    agent.reload()
    eventually(lambda: agent.status()["rules"]["in_force"] == 2, "the new rule")
    assert alerts(agent)["Number 1"]["since"] == since
    agent.configure(BASE)
    agent.reload()
    eventually(lambda: agent.status()["rules"]["in_force"] == 0, "no rules")
    assert alerts(agent) == {}


def test_a_rule_that_cannot_be_read_changes_nothing(agent: Running) -> None:
    agent.configure(BASE + number_rule(0.05))
    agent.start()
    eventually(lambda: "Number 1" in alerts(agent), "the first judgement")
    agent.configure(BASE + number_rule(0.05).replace("number >=", "rate(number) >="))
    agent.reload()
    eventually(lambda: "rules[0].expr" in agent.log_text(), "the refusal with its place")
    assert "Number 1" in alerts(agent)
