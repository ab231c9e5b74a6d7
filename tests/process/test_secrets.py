"""The agent at work, every target failing, with a secret in every place that may hold one: nobody is told any."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

from tests.conftest import free_port
from tests.daemon import NIGHTJAR, Process, get, within
from tests.planted import TARGETS, WORD, planted

PATHS = ("/", "/metrics", "/livez", "/readyz", "/api/status", *map("/api/health/{}".format, ("system", "external")))
COMMANDS = ("status", "status --json", "config show", "config show --json", "config check")
UP = re.compile(r"^(?:probe_success|redis_up|pg_up|mysql_up|pgbouncer_up|up)\{", re.MULTILINE)


def leaks(text: str) -> list[str]:
    return [line for line in text.splitlines() if WORD.lower() in line.lower()]


def said(*words: str) -> str:
    done = subprocess.run([NIGHTJAR, *words], capture_output=True, text=True, timeout=60)
    return done.stdout + done.stderr


def configured(folder: Path, port: int) -> Path:
    """A file with all that is planted, and an exporter that can be read."""
    agent = f'[agent]\nlisten = "127.0.0.1:{port}"\nstate_dir = "{folder / "state"}"\nlog_level = "debug"\n'
    often = 'interval = "1s"\ntimeout = "900ms"\n'
    written = f'\n[exporters.file]\npath = "{folder / "written"}"\n'
    (folder / "agent.toml").write_text(agent + often + planted(folder) + written)
    return folder / "agent.toml"


def test_no_secret_is_told_by_an_agent_all_of_whose_targets_fail(tmp_path: Path) -> None:
    port = free_port()
    told: dict[str, str] = {}
    base, file, written = f"http://127.0.0.1:{port}", configured(tmp_path, port), tmp_path / "written"
    with Process([NIGHTJAR, "run", "-c", str(file)], tmp_path / "agent.log") as process:
        within(30, lambda: len(UP.findall(get(f"{base}/metrics")[1])) == TARGETS, "a round of all targets")
        within(30, lambda: written.exists() and "hello" in written.read_text(), "an export")
        told |= {path: get(base + path)[1] for path in PATHS}
        told |= {words: said(*words.split(), "-c", str(file)) for words in COMMANDS}
        process.stop()
        told |= {"log": process.output, "export": written.read_text()}
    assert all(told.values()), [where for where, text in told.items() if not text]
    assert {where: found for where, text in told.items() if (found := leaks(text))} == {}
    assert "Traceback" not in told["log"]
    assert 'instance="http://127.0.0.1:1/hello?q=***"' in told["/metrics"]
    assert 'instance="http://127.0.0.1:1/hello?q=***#2"' in told["/metrics"]
