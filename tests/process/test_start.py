"""Starting: with nothing, with everything, and where it must not."""

from __future__ import annotations

import json
import re
import resource
import socket
import subprocess
import urllib.request
from pathlib import Path

import pytest

from tests.conftest import free_port
from tests.running import NIGHTJAR, Running, eventually

NUMBERS = '[agent]\ninterval = "200ms"\n[collectors.numbers]\n'


def get(url: str) -> tuple[int, str]:
    with urllib.request.urlopen(url, timeout=10) as answer:  # our own address
        return answer.status, answer.read().decode()


def test_without_a_configuration_file_it_runs_and_shows_itself(tmp_path: Path) -> None:
    """An empty folder, an empty home: the host collector, and a state directory in the user's own place."""
    with Running(tmp_path / "own", STATE_DIRECTORY="") as agent:
        agent.environ.pop("STATE_DIRECTORY")
        agent.environ["XDG_STATE_HOME"] = str(tmp_path / "xdg")
        try:
            with socket.create_server(("127.0.0.1", 9464)):
                pass
        except OSError:
            pytest.skip("port 9464 is in use on this machine")
        agent.start("--no-summary")
        eventually(lambda: "node_load1" in get("http://127.0.0.1:9464/metrics")[1], "host metrics")
        status, text = get("http://127.0.0.1:9464/readyz")
        assert (status, text) == (200, "ok\n")
        shown = agent.command("status")
        assert shown.returncode == 0, shown
        assert "host" in shown.stdout
        assert agent.stop() == 0
        assert "Traceback" not in agent.log_text()


def test_it_may_open_as_many_files_as_its_hard_limit_lets_it(agent: Running) -> None:
    port = free_port()
    agent.configure(NUMBERS.replace("[agent]\n", f'[agent]\nlisten = "127.0.0.1:{port}"\n'))
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(1024, hard), hard))
    try:
        agent.start()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    limit = re.compile(rf"^process_max_fds\{{.*\}} {min(hard, 16384)}$", re.MULTILINE)
    eventually(lambda: limit.search(get(f"http://127.0.0.1:{port}/metrics")[1]), "the higher limit")


def test_the_endpoints_answer(agent: Running) -> None:
    port = free_port()
    agent.configure(NUMBERS.replace("[agent]\n", f'[agent]\nlisten = "127.0.0.1:{port}"\n'))
    agent.start()
    base = f"http://127.0.0.1:{port}"
    eventually(lambda: 'number{at="0"' in get(f"{base}/metrics")[1], "the first round")
    eventually(lambda: "nightjar_collector_rounds_total" in get(f"{base}/metrics")[1], "self-metrics")
    assert get(f"{base}/livez") == (200, "ok\n")
    assert get(f"{base}/readyz") == (200, "ok\n")
    for subject in ("system", "database", "external"):
        report = json.loads(get(f"{base}/api/health/{subject}")[1])
        assert (report["subject"], report["status"]) == (subject, "ok")
    status = json.loads(get(f"{base}/api/status")[1])
    assert status["ready"]
    assert {one["name"] for one in status["collectors"]} == {"numbers", "nightjar"}
    with pytest.raises(urllib.error.HTTPError, match="404"):
        get(f"{base}/api/health/weather")


def test_status_tells_people_and_machines(agent: Running) -> None:
    agent.configure(NUMBERS)
    agent.start()
    eventually(lambda: agent.status()["ready"], "readiness")
    machine = agent.command("status", "-c", str(agent.file), "--json")
    assert machine.returncode == 0
    assert json.loads(machine.stdout)["spool"]["path"] == str(agent.state)
    people = agent.command("status", "-c", str(agent.file))
    assert people.returncode == 0
    assert "numbers" in people.stdout
    assert "ready" in people.stdout


def test_status_without_an_agent_says_so(agent: Running) -> None:
    agent.configure(NUMBERS)
    done = agent.command("status", "-c", str(agent.file))
    assert done.returncode == 1
    assert "nightjar run" in done.stderr
    assert "Errno" not in done.stderr
    assert "Traceback" not in done.stderr


def test_a_second_agent_on_the_same_state_directory_is_refused(agent: Running, to: object) -> None:
    agent.configure(NUMBERS)
    agent.start()
    second = agent.command("run", "-c", str(agent.file))
    assert second.returncode == 78
    assert str(agent.state) in second.stderr
    assert "in use by" in second.stderr
    assert "Traceback" not in second.stderr
    eventually(lambda: agent.status()["ready"], "the first one, undisturbed")
    assert agent.stop() == 0


def test_a_port_in_use_is_told_clearly(agent: Running) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        agent.configure(NUMBERS.replace("[agent]\n", f'[agent]\nlisten = "127.0.0.1:{port}"\n'))
        done = agent.command("run", "-c", str(agent.file))
    assert done.returncode == 1
    assert f"nightjar: cannot listen on 127.0.0.1:{port}: address already in use" in done.stderr
    assert "`agent.listen`" in done.stderr
    assert "stopped" not in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("[agent]\nintervall = 1\n", "did you mean"),
        ("[agent\n", "agent.toml:1"),
        ("[agent]\n[collectors.nonesuch]\n", "no such collector"),
        ('[agent]\n[collectors.numbers]\ninterval = "-1s"\n', "collectors.numbers.interval"),
    ],
)
def test_a_bad_configuration_is_told_with_its_place(agent: Running, text: str, fault: str) -> None:
    agent.file.write_text(text)
    done = agent.command("run", "-c", str(agent.file))
    assert done.returncode == 78
    assert fault in done.stderr
    assert "Traceback" not in done.stderr


def test_a_missing_configuration_is_told(agent: Running) -> None:
    done = agent.command("run", "-c", str(agent.folder / "nowhere.toml"))
    assert done.returncode == 78
    assert "nowhere.toml" in done.stderr


def test_what_was_left_by_a_killed_agent_is_no_hindrance(agent: Running) -> None:
    agent.configure(NUMBERS)
    agent.start()
    agent.kill()
    assert (agent.state / "nightjar.sock").exists()
    agent.start()
    eventually(lambda: agent.status()["ready"], "readiness")
    assert agent.stop() == 0
    assert not (agent.state / "nightjar.sock").exists()


def test_its_log_is_json_lines_when_nobody_watches(agent: Running) -> None:
    agent.configure(NUMBERS)
    agent.start()
    assert agent.stop() == 0
    lines = agent.log_text().splitlines()
    assert [json.loads(line)["event"] for line in lines][-1].startswith("stopped")


def test_the_version_is_printed() -> None:
    done = subprocess.run([NIGHTJAR, "--version"], capture_output=True, text=True, timeout=20)
    assert done.returncode == 0
    assert done.stdout.startswith("nightjar, version ")
