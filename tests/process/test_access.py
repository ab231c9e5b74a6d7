"""Who may ask the endpoints, and in which format they answer."""

from __future__ import annotations

import json
import ssl
import subprocess
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import free_port
from tests.daemon import NIGHTJAR, Process, get, within


def start(folder: Path, port: int, **options: str) -> Process:
    lines = "\n".join(f"{key} = {json.dumps(value)}" for key, value in options.items())
    (folder / "agent.toml").write_text(
        f'[agent]\nlisten = "127.0.0.1:{port}"\nstate_dir = "{folder / "state"}"\ninterval = "1s"\ntimeout = "1s"\n'
        f'{lines}\n[collectors.host]\ndisable = ["processes"]\n'
    )
    return Process([NIGHTJAR, "run", "-c", str(folder / "agent.toml")], folder / "agent.log")


@pytest.fixture
def open_agent(tmp_path: Path) -> Iterator[str]:
    """An agent on loopback without a token, after its first round."""
    port = free_port()
    base = f"http://127.0.0.1:{port}"
    with start(tmp_path, port) as process:
        within(20, lambda: "node_load1" in get(f"{base}/metrics")[1], f"a first round; {process.output}")
        yield base


def ask(url: str, **headers: str) -> tuple[int, str, str]:
    """(status, content type, body)."""
    request = urllib.request.Request(url, headers={key.replace("_", "-"): value for key, value in headers.items()})
    try:
        with urllib.request.urlopen(request, timeout=5) as answer:
            return answer.status, answer.headers["Content-Type"], answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.headers["Content-Type"], error.read().decode()


def test_metrics_are_negotiated(open_agent: str) -> None:
    _, text, body = ask(f"{open_agent}/metrics")
    assert text.startswith("text/plain; version=0.0.4")
    assert not body.endswith("# EOF\n")
    _, openmetrics, body = ask(
        f"{open_agent}/metrics", Accept="application/openmetrics-text;version=1.0.0,text/plain;q=0.5"
    )
    assert openmetrics.startswith("application/openmetrics-text; version=1.0.0")
    assert body.endswith("# EOF\n")


def test_health_is_answered_by_subject(open_agent: str) -> None:
    def checked() -> dict[str, Any]:
        return {one["check"]: one for one in json.loads(ask(f"{open_agent}/api/health/system")[2])["checks"]}

    within(20, lambda: "HostMemoryLow" in checked(), "the first judgement")
    checks = checked()
    assert checks["host"]["value"] == "ok"
    assert 0 < checks["HostMemoryLow"]["value"] <= 1
    assert checks["HostMemoryLow"]["age_seconds"] >= 0
    assert json.loads(ask(f"{open_agent}/api/health/database")[2]) == {
        "subject": "database",
        "status": "ok",
        "checks": [],
    }
    assert ask(f"{open_agent}/api/health/nonsense")[0] == 404
    links = ask(f"{open_agent}/")[2]
    assert all(f'"/api/health/{subject}"' in links for subject in ("system", "database", "external"))


def test_a_token_is_asked_for_everywhere_but_on_livez(tmp_path: Path) -> None:
    port = free_port()
    base = f"http://127.0.0.1:{port}"
    with start(tmp_path, port, token="open-sesame-7f3a"):
        within(20, lambda: get(f"{base}/livez")[0] == 200, "the agent answers")
        for path in ("/", "/metrics", "/readyz", "/api/status", "/api/health/system"):
            assert ask(base + path)[0] == 401, path
            assert ask(base + path, Authorization="Bearer wrong")[0] == 401, path
            assert ask(base + path, Authorization="Bearer open-sesame-7f3a")[0] in (200, 503), path
        # The socket in the state directory needs none: only the agent's own user can open it.
        status = subprocess.run(
            [NIGHTJAR, "status", "--json", "-c", str(tmp_path / "agent.toml")], capture_output=True, timeout=30
        )
        assert json.loads(status.stdout)["instance"]
        assert b"open-sesame" not in status.stdout


def test_a_broken_file_on_disk_does_not_hide_a_healthy_agent(tmp_path: Path) -> None:
    port = free_port()
    with start(tmp_path, port) as process:
        within(20, lambda: get(f"http://127.0.0.1:{port}/readyz")[0] == 200, f"readiness; {process.output}")
        (tmp_path / "agent.toml").write_text("[agent\n")
        asked = [NIGHTJAR, "status", "-c", str(tmp_path / "agent.toml")]
        refused = subprocess.run(asked, capture_output=True, text=True, timeout=30)
        assert refused.returncode == 78
        assert "--state-dir DIR" in refused.stderr
        answered = subprocess.run([*asked, "--state-dir", str(tmp_path / "state")], capture_output=True, timeout=30)
        assert (answered.returncode, answered.stderr) == (0, b"")


def certificates(folder: Path) -> None:
    """An authority, and one certificate for both ends."""
    run = lambda *words: subprocess.run(["openssl", *words], cwd=folder, check=True, capture_output=True)  # noqa: E731
    key = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")
    run("req", "-x509", *key, "-keyout", "ca.key", "-out", "ca.pem", "-subj", "/CN=Test CA", "-days", "2")
    run("req", *key, "-keyout", "one.key", "-out", "one.csr", "-subj", "/CN=localhost")
    (folder / "san").write_text("subjectAltName=DNS:localhost,IP:127.0.0.1\n")
    run("x509", "-req", "-in", "one.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-out", "one.pem",
        "-days", "2", "-extfile", "san")  # fmt: skip


def test_client_certificates_are_asked_for(tmp_path: Path) -> None:
    certificates(tmp_path)
    port = free_port()
    files = {"cert_file": "one.pem", "key_file": "one.key", "client_ca_file": "ca.pem"}
    with start(tmp_path, port, **{option: str(tmp_path / file) for option, file in files.items()}) as process:
        trusting = ssl.create_default_context(cafile=str(tmp_path / "ca.pem"))
        known = ssl.create_default_context(cafile=str(tmp_path / "ca.pem"))
        known.load_cert_chain(tmp_path / "one.pem", tmp_path / "one.key")

        def answers(context: ssl.SSLContext) -> bool:
            try:
                with urllib.request.urlopen(f"https://127.0.0.1:{port}/livez", context=context, timeout=5) as answer:
                    return bool(answer.status == 200)
            except OSError:
                return False

        within(20, lambda: answers(known), f"the agent answers; {process.output}")
        assert not answers(trusting)


def test_a_key_with_a_passphrase_is_refused_and_nobody_is_asked_for_it(tmp_path: Path) -> None:
    certificates(tmp_path)
    locked = ["openssl", "pkey", "-in", "one.key", "-out", "locked.key", "-aes256", "-passout", "pass:sesame"]
    subprocess.run(locked, cwd=tmp_path, check=True, capture_output=True)
    files = {"cert_file": str(tmp_path / "one.pem"), "key_file": str(tmp_path / "locked.key")}
    with start(tmp_path, free_port(), **files) as process:
        assert process.child.wait(20) == 78
    place = f"{tmp_path}/agent.toml:7:12: agent.key_file: {tmp_path}/locked.key "
    assert process.output.startswith(f"{place}holds an encrypted key"), process.output
    assert "openssl pkey" in process.output
