"""`nightjar check` as cron, Nagios and a shell run it."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import ROOT
from tests.nagios_parser import parse_output
from tests.plugins import install
from tests.receiver import Receiver, poisoned
from tests.running import NIGHTJAR, Running, eventually

RULES = """
[[rules]]
alert = "Load"
expr = "probe_ip_protocol {op} 0"
labels = {{ severity = "{severity}" }}
annotations = {{ summary = "load is {{{{ $value }}}}" }}
"""


class Place:
    """A configuration and a state directory, and how `check` runs there: an environment of nothing but PATH."""

    def __init__(self, folder: Path, port: int = 0) -> None:
        self.port = port
        self.open = f'[collectors.tcp]\ntargets = ["127.0.0.1:{port}"]\n'
        self.folder, self.state = folder, folder / "state"
        self.file = folder / "agent.toml"
        self.environ = {"PATH": os.environ["PATH"]}

    def configure(self, text: str) -> None:
        self.file.write_text(f'[agent]\nstate_dir = "{self.state}"\nlisten = ""\n{text}')

    def check(self, *words: str, stdin: Any = subprocess.DEVNULL, **more: Any) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            self.command(*words), **self.how(), stdin=stdin, capture_output=True, text=True, timeout=60, **more
        )

    def command(self, *words: str) -> list[str]:
        return [NIGHTJAR, "check", "-c", str(self.file), *words]

    def how(self) -> dict[str, Any]:
        return {"cwd": self.folder, "env": self.environ}


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        made = Place(tmp_path, server.getsockname()[1])
        made.configure(made.open)
        yield made


HOST = "[collectors.host]\n"


def load(place: Place, severity: str, op: str = ">=") -> str:
    return place.open + RULES.format(severity=severity, op=op)


def lines(output: str, status: str) -> list[str]:
    return [line for line in output.splitlines() if line.startswith(status)]


# -- verdicts ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("severity", "code"), [("info", 0), ("warning", 1), ("critical", 2), ("emergency", 2)])
def test_the_exit_code_is_that_of_the_worst(place: Place, severity: str, code: int) -> None:
    place.configure(load(place, severity))
    done = place.check()
    assert done.returncode == code, done.stdout + done.stderr
    first = done.stdout.splitlines()[0]
    assert first.split()[:2] == [severity.upper(), "Load"] if code else "Load" in done.stdout
    assert "load is" in done.stdout


@pytest.mark.parametrize("kind", ["wedge", "stubborn"])
def test_a_collector_without_an_end_is_unknown_in_time(place: Place, kind: str) -> None:
    place.environ["PYTHONPATH"] = os.pathsep.join([str(install(place.folder / "plugins")), str(ROOT)])
    place.configure(f'{HOST}[collectors.{kind}]\nwhile_exists = "/"\n')
    began = time.monotonic()
    done = place.check("-t", "2s")
    assert done.returncode == 3, done.stdout + done.stderr
    assert "UNKNOWN" in done.stdout
    assert time.monotonic() - began < 8


def test_a_target_that_is_down_is_critical(place: Place) -> None:
    place.configure('[collectors.tcp]\ntargets = ["127.0.0.1:1"]\n')
    done = place.check()
    assert done.returncode == 2, done.stdout
    (line,) = lines(done.stdout, "CRITICAL")
    assert line.split()[1] == "ProbeDown"
    assert line.endswith("127.0.0.1:1 is down (refused)")


def test_only_the_collectors_that_are_named_run(place: Place) -> None:
    place.configure(HOST + '[collectors.tcp]\ntargets = ["127.0.0.1:1"]\n')
    done = place.check("host")
    assert done.returncode == 0, done.stdout
    assert "tcp" not in done.stdout


def test_a_rule_about_absence_says_nothing_of_a_part(place: Place) -> None:
    text = (
        HOST
        + '[collectors.tcp]\ntargets = ["127.0.0.1:1"]\n[[rules]]\nalert = "Gone"\nexpr = "absent(probe_success)"\n'
    )
    place.configure(text)
    assert "Gone" not in place.check("host").stdout
    assert "Gone" in place.check("host", "-v").stdout


def test_how_fast_something_goes_is_seen_in_two_rounds(place: Place) -> None:
    place.configure(
        HOST + '[[rules]]\nalert = "Busy"\nexpr = "sum(rate(node_cpu_seconds_total[5m])) > 0.5"\n'
        'annotations = { summary = "{{ $value }}" }\n'
    )
    done = place.check("--json")
    (busy,) = [one for one in json.loads(done.stdout)["checks"] if one["check"] == "Busy"]
    assert busy["state"] == "firing"
    assert 0.5 * (os.cpu_count() or 1) < busy["value"] < 1.5 * (os.cpu_count() or 1)


# -- formats ----------------------------------------------------------------------------------------------------------


def test_as_nagios_reads_it(place: Place) -> None:
    place.configure(load(place, "warning") + HOST)
    done = place.check("--format", "nagios")
    parsed = parse_output(done.stdout)
    assert (parsed.word, parsed.code, done.returncode) == ("NIGHTJAR", 1, 1)
    memory = parsed.value("HostMemoryLow")
    assert (0 < memory.value <= 1, memory.warn, memory.crit) == (True, "0.1:", "0.03:")
    assert parsed.value(f"127.0.0.1:{place.port} Load").warn == "@0:"


def test_as_json(place: Place) -> None:
    place.configure(load(place, "warning"))
    done = place.check("--json")
    document = json.loads(done.stdout)
    assert (document["status"], document["exit_code"], done.returncode) == ("warning", 1, 1)
    assert document["checks"][0]["check"] == "Load"
    assert {"check", "status", "state", "severity", "value", "threshold", "labels", "annotations"} <= set(
        document["checks"][0]
    )


# -- usage ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["tpc"], 'did you mean "tcp"'),
        (["--nonsense"], "--nonsense"),
        (["--timeout", "soon"], "duration"),
        (["--format", "xml"], "xml"),
        (["--push"], "needs an exporter"),
    ],
)
def test_a_usage_error_is_unknown(place: Place, words: Sequence[str], told: str) -> None:
    done = place.check(*words)
    assert done.returncode == 3
    assert told in done.stdout


def test_a_bad_configuration_is_78_with_its_place(place: Place) -> None:
    place.configure(HOST + '[[rules]]\nalert = "X"\nexpr = "rate(x)"\n')
    done = place.check()
    assert done.returncode == 78
    assert f"{place.file}:7:8: rules[0].expr" in done.stderr


# -- cron -------------------------------------------------------------------------------------------------------------


def test_cron_hears_nothing_when_all_is_well(place: Place) -> None:
    done = place.check("--quiet")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_cron_hears_one_message_when_something_is_wrong(place: Place) -> None:
    place.configure(load(place, "critical"))
    done = place.check("--quiet")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("CRITICAL")
    assert "load is" in done.stderr


def test_with_closed_standard_streams(place: Place) -> None:
    done = subprocess.run(["/bin/sh", "-c", '"$0" "$@" <&- >&- 2>&-', *place.command()], **place.how(), timeout=60)
    assert done.returncode == 0


def test_with_a_closed_standard_input(place: Place) -> None:
    done = subprocess.run(
        ["/bin/sh", "-c", '"$0" "$@" <&-', *place.command()], **place.how(), capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    assert "OK" in done.stdout


def test_where_no_state_can_be_kept(place: Place) -> None:
    """A home and a state directory that cannot be made, even by root: below a file."""
    (place.folder / "file").write_text("")
    place.state = place.folder / "file" / "state"
    place.configure(load(place, "warning"))
    place.environ["HOME"] = str(place.folder / "file")
    done = place.check()
    assert (done.returncode, done.stderr) == (1, "")
    done = place.check("--on-change")
    assert done.returncode == 1
    assert "Load" in done.stdout
    assert "is not known" in done.stderr


def test_only_what_changed_is_told(place: Place) -> None:
    assert place.check("--on-change").stdout == ""
    place.configure(load(place, "critical"))
    first, second = place.check("--on-change"), place.check("--on-change")
    assert lines(first.stdout, "CRITICAL")
    assert (first.returncode, second.returncode, second.stdout) == (2, 2, "")
    place.configure(load(place, "critical", "<"))
    after = place.check("--on-change")
    assert after.returncode == 0
    assert "was critical" in after.stdout


def test_a_damaged_last_run_is_none(place: Place) -> None:
    place.configure(load(place, "critical"))
    place.check("--on-change")
    (found,) = place.state.glob("check-*.json")
    for damage in (b"", b"{", b"[]", b'{"wrong": 3}', b'{"wrong": {"a": "b"}}', b"\xff" * 100):
        found.write_bytes(damage)
        assert lines(place.check("--on-change").stdout, "CRITICAL")


@pytest.fixture
def silent() -> Iterator[tuple[str, Callable[[], int]]]:
    """A server that accepts and never says a word; and how many came."""
    server = socket.create_server(("127.0.0.1", 0))
    taken: list[socket.socket] = []

    def accept() -> None:
        while True:
            try:
                taken.append(server.accept()[0])
            except OSError:
                return

    thread = threading.Thread(target=accept, daemon=True)
    thread.start()
    yield f"127.0.0.1:{server.getsockname()[1]}", lambda: len(taken)
    server.shutdown(socket.SHUT_RDWR)
    server.close()
    for one in taken:
        one.close()


def test_two_at_once_are_one_and_a_word(place: Place, silent: tuple[str, Callable[[], int]]) -> None:
    address, came = silent
    place.configure(f'[collectors.http]\nurl = "http://{address}/"\ntimeout = "50s"\ninterval = "60s"\n')
    with subprocess.Popen(place.command("-t", "60s"), **place.how(), stdout=subprocess.PIPE) as first:
        eventually(lambda: came() > 0, "the first one's question")
        second, quiet, other = (
            place.check("-t", "60s"),
            place.check("-t", "60s", "--quiet"),
            place.check("-t", "1s", "http"),
        )
        first.send_signal(signal.SIGTERM)
        told = first.communicate(timeout=20)[0]
    assert (second.returncode, "still running" in second.stdout) == (3, True)
    assert (quiet.returncode, quiet.stdout, quiet.stderr) == (75, "", "")
    assert other.returncode == 2, "another part of the configuration is another check"
    assert (first.returncode, b"SIGTERM" in told) == (3, True)


def test_a_server_that_never_answers_ends_in_time(place: Place, silent: tuple[str, Callable[[], int]]) -> None:
    address, _ = silent
    place.configure(f'[collectors.http]\nurl = "http://{address}/"\n[collectors.redis]\nurl = "redis://{address}"\n')
    began = time.monotonic()
    done = place.check("-t", "2s")
    assert done.returncode == 2, done.stdout
    assert time.monotonic() - began < 8


def test_the_splay_is_the_same_for_a_host_every_time(place: Place) -> None:
    from agent.scheduler import offset

    place.file.write_text(f'[agent]\nstate_dir = "{place.state}"\ninstance = "web-7"\nlisten = ""\n{HOST}')
    began = time.monotonic()
    assert place.check("--splay", "3s").returncode == 0
    assert time.monotonic() - began >= offset("web-7", 3.0)


# -- delivery ---------------------------------------------------------------------------------------------------------


EXPORTER = '\n[exporters.remote_write]\nurl = "{url}"\n'


def stat(place: Place) -> dict[str, Any]:
    done = subprocess.run(
        [NIGHTJAR, "spool", "stat", "--json", "--state-dir", str(place.state)],
        **place.how(),
        capture_output=True,
        timeout=60,
    )
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_what_was_seen_is_delivered(place: Place) -> None:
    with Receiver() as receiver:
        place.configure(HOST + EXPORTER.format(url=receiver.url))
        done = place.check("--push")
        assert done.returncode == 0, done.stdout
        assert "delivered" in done.stdout
        (entry,) = stat(place)["ledger"]
        assert entry["delivered"] == entry["accepted"] > 100
        assert receiver.items == entry["delivered"]


def test_what_is_not_delivered_in_time_waits_for_the_next_run(place: Place) -> None:
    place.configure(HOST + EXPORTER.format(url="http://127.0.0.1:1/"))
    done = place.check("--push", "--push-timeout", "1s")
    assert done.returncode == 0
    assert "wait in the spool" in done.stdout
    waiting = stat(place)["ledger"][0]["pending"]
    assert waiting > 100
    with Receiver() as receiver:
        place.configure(HOST + EXPORTER.format(url=receiver.url))
        assert place.check("--push").returncode == 0
        (entry,) = stat(place)["ledger"]
        assert (entry["pending"], entry["delivered"]) == (0, entry["accepted"])
        assert entry["delivered"] > waiting


def test_where_the_daemon_runs_it_takes_what_was_seen(tmp_path: Path) -> None:
    with (
        Receiver() as receiver,
        Running(tmp_path, f'{HOST}interval = "1h"\n{EXPORTER.format(url=receiver.url)}') as agent,
    ):
        agent.start()
        place = Place(tmp_path)
        plain, pushed = place.check(), place.check("--push")
        assert plain.returncode == 0, plain.stdout
        assert "the agent that runs here delivers what it collects itself" in pushed.stdout
        more = place.file.read_text().replace(HOST, f'{HOST}[collectors.tcp]\ntargets = ["127.0.0.1:1"]\n')
        place.file.write_text(more)
        pushed = place.check("--push")
        assert "items handed over to the agent that runs here" in pushed.stdout
        assert agent.stop() == 0
        assert receiver.series("probe_success", instance="127.0.0.1:1")
        assert not receiver.disorder


def test_pushes_side_by_side_lose_nothing(place: Place) -> None:
    with Receiver() as receiver:
        place.configure(HOST + '[collectors.tcp]\ntargets = ["127.0.0.1:1"]\n' + EXPORTER.format(url=receiver.url))
        running = [
            subprocess.Popen(place.command("--push", name), **place.how(), stdout=subprocess.PIPE, text=True)
            for name in ("host", "tcp")
        ]
        told = [one.communicate(timeout=60)[0] for one in running]
        assert all("delivered" in one and "NOT" not in one for one in told), told
        (entry,) = stat(place)["ledger"]
        assert entry["delivered"] == entry["accepted"]


def test_the_example_of_the_help_works(place: Place) -> None:
    done = subprocess.run(
        [NIGHTJAR, "check", "tcp", "--format", "nagios"], **place.how(), capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr


def test_root_writes_nothing_into_the_spool_of_another(place: Place) -> None:
    place.state.mkdir()
    os.chown(place.state, 65534, 65534)
    if os.geteuid() != 0:
        pytest.skip("needs root")
    place.configure(place.open + EXPORTER.format(url="http://127.0.0.1:1/"))
    done = place.check("--push", "--push-timeout", "1s")
    assert "NOT delivered" in done.stdout
    assert "run as that user" in done.stdout
    assert not list(place.state.glob("spool*"))


def test_what_no_disk_takes_is_told_as_lost_also_to_cron(place: Place) -> None:
    (place.folder / "file").write_text("")
    place.state = place.folder / "file" / "state"
    place.configure(place.open + EXPORTER.format(url="http://127.0.0.1:1/"))
    done = place.check("--push", "--push-timeout", "1s", "--quiet")
    assert (done.returncode, done.stdout) == (0, "")
    assert "are lost" in done.stderr


def test_a_push_waits_for_another_that_holds_the_spool(place: Place) -> None:
    with Receiver() as receiver:
        place.configure(place.open + EXPORTER.format(url="http://127.0.0.1:1/"))
        with subprocess.Popen(
            place.command("--push", "--push-timeout", "3s"), **place.how(), stdout=subprocess.PIPE
        ) as first:
            eventually((place.state / "spool.lock").exists, "the first one's spool")
            second = place.check("--push", "--push-timeout", "30s", "tcp")
            told = first.communicate(timeout=30)[0].decode()
        assert "wait in the spool" in told
        assert "NOT" not in second.stdout
        place.configure(place.open + EXPORTER.format(url=receiver.url))
        assert place.check("--push").returncode == 0
        (entry,) = stat(place)["ledger"]
        assert (entry["pending"], entry["delivered"]) == (0, entry["accepted"])


def test_a_resolver_that_hangs_takes_no_other_verdict_with_it(place: Place) -> None:
    """redis-py asks the event loop's own threads, whose end asyncio.run would wait for."""
    place.environ["PYTHONPATH"] = str(place.folder / "slow")
    (place.folder / "slow").mkdir()
    (place.folder / "slow/sitecustomize.py").write_text(
        "import socket, time\nreal = socket.getaddrinfo\n"
        "def slow(host, *args, **more):\n    time.sleep(60 if host == 'slow.test' else 0)\n"
        "    return real(host, *args, **more)\nsocket.getaddrinfo = slow\n"
    )
    place.configure(load(place, "critical") + '[collectors.redis]\nurl = "redis://slow.test"\n')
    began = time.monotonic()
    done = place.check("-t", "2s")
    assert done.returncode == 2, done.stdout + done.stderr
    assert lines(done.stdout, "CRITICAL")
    assert time.monotonic() - began < 10


def test_a_plain_run_takes_no_change_from_the_next(place: Place) -> None:
    place.check("--on-change")
    place.configure(load(place, "critical"))
    place.check()
    assert lines(place.check("--on-change", "--quiet").stderr, "CRITICAL")


def test_a_target_that_is_down_makes_nothing_else_well(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        place = Place(tmp_path, server.getsockname()[1])
        place.configure(load(place, "critical"))
        assert lines(place.check("--on-change").stdout, "CRITICAL")
    down = place.check("--on-change").stdout
    assert "ProbeDown" in down
    assert "is no more" not in down


def test_a_list_of_targets_that_is_not_there_is_not_well(place: Place) -> None:
    place.configure('[collectors.tcp]\ntargets_file = "/nonexistent/list"\n')
    done = place.check()
    assert (done.returncode, "there are no targets" in done.stdout) == (3, True)


def test_without_time_for_two_rounds_nothing_is_said_of_how_fast_it_goes(place: Place) -> None:
    place.configure(HOST + '[[rules]]\nalert = "Busy"\nexpr = "sum(rate(node_cpu_seconds_total[5m])) > 0"\n')
    done = place.check("-t", "1s", "-v")
    assert "Busy" not in "".join(lines(done.stdout, "OK"))
    assert "no time for a second look" in done.stdout


@pytest.mark.parametrize("style", ["nagios", "json"])
def test_what_a_program_reads_is_never_empty(place: Place, style: str) -> None:
    place.check("--on-change", "--format", style)
    done = place.check("--on-change", "--format", style)
    assert done.returncode == 0
    assert done.stdout.strip()


def test_a_plugin_tells_of_a_bad_configuration_what_it_knows(place: Place) -> None:
    place.configure(HOST + "nonsense = 1\n")
    done = place.check("--format", "nagios")
    assert (done.returncode, done.stderr) == (3, "")
    assert "collectors.host.nonsense" in parse_output(done.stdout).text


def test_what_root_keeps_is_the_users_whose_directory_it_is(place: Place) -> None:
    if os.geteuid() != 0:
        pytest.skip("needs root")
    place.state.mkdir()
    os.chown(place.state, 65534, 65534)
    place.check("--on-change")
    assert {file.stat().st_uid for file in place.state.glob("check-*")} == {65534}


def test_what_a_destination_refuses_is_told_to_cron(place: Place) -> None:
    with Receiver() as receiver:
        receiver.default = poisoned(lambda labels: dict(labels)["__name__"] == "probe_success")
        place.configure(place.open + EXPORTER.format(url=receiver.url))
        done = place.check("--push", "--quiet", "--push-timeout", "20s")
    assert "refused or given up" in done.stderr


def test_an_agent_that_does_not_deliver_there_is_handed_nothing(tmp_path: Path) -> None:
    with Running(tmp_path, f'{HOST}interval = "1h"\n') as agent:
        agent.start()
        place = Place(tmp_path)
        place.file.write_text(place.file.read_text() + EXPORTER.format(url="http://127.0.0.1:1/"))
        done = place.check("--push", "--push-timeout", "1s")
    assert "does not deliver to remote_write" in done.stdout
    assert "NOT delivered" in done.stdout
