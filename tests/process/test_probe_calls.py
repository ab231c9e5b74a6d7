"""`nightjar probe` as cron and Nagios call it: wrong usage, poor surroundings, and that it always ends, in time."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from agent.cli.kinds import KINDS
from tests.collectors.probes.zoo import serving
from tests.conftest import free_port, need_ping
from tests.nagios_parser import parse_output
from tests.probing import KEYS, Done, hanging, probe, silent
from tests.running import NIGHTJAR

__all__ = ["silent"]

# -- how it is called -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((), "missing command"),
        (("nonesuch", "x"), "no such kind 'nonesuch'"),
        (("tpc", "x"), 'did you mean "tcp"?'),
        (("--nonesuch",), "no such option"),
        (("tcp",), "missing TARGET"),
        (("tcp", "localhost"), "TARGET: 'localhost' is no target"),
        (("tcp", "a:1", "b:2"), "unexpected extra argument"),
        (("tcp", "a:1", "--nonesuch"), "no such option"),
        (("tcp", "a:1", "-w", "x"), "--warning: expected a range"),
        (("tcp", "a:1", "-c", "5:1"), "--critical: the start, 5, is above"),
        (("tcp", "a:1", "-t", "0"), "--timeout: expected more"),
        (("tcp", "a:1", "-t", "soon"), "'--timeout': expected seconds"),
        (("tcp", "a:1", "-t", "2d"), "'--timeout': expected at most a day"),
        (("tcp", "a:1", "-H", "b"), "--hostname: TARGET says that already"),
        (("tcp", "a:1", "--targets", "b:2"), "--targets: TARGET says that already"),
        (("tcp", "-p", "80"), "--port: goes with -H"),
        (("tcp", "-H", "a", "-p", "70000"), "is not in the range"),
        (("tcp", "a:1", "--steps", "{"), "--steps: is no JSON"),
        (("tcp", "a:1", "--steps", '{"sned": ""}'), '--steps[0].sned: no such option; did you mean "send"?'),
        (("tcp", "a:1", "--fail-after", "many"), "--fail-after: expected a whole number"),
        (("tcp", "a:1", "--expr", "sum("), "--expr: "),
        (("tcp", "a:1", "--expr", "1"), "--expr: is no comparison"),
        (("tcp", "a:1", "--expr", "'x'", "-w", "1"), "--expr: answers a text"),
        (("tcp", "a:1", "--expr", "predict_linear(x[1h], 60)", "-w", "1"), "--expr: looks further back"),
        (("dns", "127.0.0.1"), "--query-name: is required"),
        (("http", "ftp://a"), "TARGET: expected a URL"),
        (("http", "a", "--headers", "nonsense"), "--headers: expected KEY=VALUE"),
        (("http", "a", "--body-limit", "1"), "--body-limit: expected a size"),
        (("http", "a", "--key-file", "k"), "--key-file: needs `cert_file` too"),
        (("http", "a", "--ca-file", "/nonesuch"), "ca_file: /nonesuch"),
        (("redis", "redis://a/b/c"), "TARGET: expected"),
        (("redis", "a", "--password", "${env:NONESUCH_OF_TESTS}"), "--password: the environment variable"),
        (("host", "x"), "unexpected extra argument"),
        (("host", "-w", "1"), "--expr here, which is missing"),
        (("icmp", "-H", "a", "-p", "1"), "no such option"),
    ],
)
async def test_wrong_usage_is_unknown_and_told_where_monitoring_servers_read(
    arguments: tuple[str, ...], words: str
) -> None:
    said = (await probe(*arguments)).output
    assert (said.status, said.code) == ("UNKNOWN", 3)
    assert words in said.text


async def test_wrong_usage_is_json_for_who_asks_for_json() -> None:
    for arguments in (("tcp", "--json"), ("tcp", "a:1", "--nonesuch", "--json"), ("nonesuch", "--json")):
        done = await probe(*arguments)
        told = json.loads(done.stdout)
        assert list(told) == KEYS
        assert (done.code, told["status"], done.stderr) == (3, "UNKNOWN", "")


async def test_a_missing_extra_is_unknown(tmp_path: Path) -> None:
    lacking = "import sys\nfor name in ('redis', 'dns', 'asyncpg', 'pymysql'): sys.modules[name] = None"
    environ = hanging(tmp_path, lacking)
    for kind, extra in {"redis": "redis", "postgres": "postgres", "mysql": "mysql", "pgbouncer": "postgres"}.items():
        said = (await probe(kind, "127.0.0.1:1", environ=environ)).output
        assert said.status == "UNKNOWN"
        assert f"pip install 'nightjar-agent[{extra}]'" in said.text
    said = (await probe("dns", "127.0.0.1", "--query-name", "x", environ=environ)).output
    assert "pip install 'nightjar-agent[dns]'" in said.text


async def test_no_secret_is_printed(tmp_path: Path) -> None:
    for arguments in (
        ("postgres", f"postgres://u:s3cret-1@127.0.0.1:{free_port()}/db", "-vv"),
        ("postgres", "postgres://u:s3cret-1@127.0.0.1:99999/db"),
        ("redis", f"127.0.0.1:{free_port()}", "--password", "s3cret-2", "-vv"),
        ("redis", "redis://:s3cret-3@127.0.0.1:1/x"),
        ("http", f"http://u:s3cret-4@127.0.0.1:{free_port()}/", "-vv"),
        ("http", "a", "--headers", "X= s3cret-5\n"),
        ("postgres", "postgres://u:s3cret-6@127.0.0.1:1/db", "redis://u:s3cret-7@h"),
        ("postgres://u:s3cret-8@127.0.0.1:1/db", "--json"),
        ("redis", "h", "u:s3cret-9@h"),
        ("redis", "-H", "h", "-predis://u:s3cret-10@h"),
    ):
        done = await probe(*arguments)
        assert done.code in (2, 3)
        assert "s3cret" not in done.stdout + done.stderr


@pytest.mark.parametrize("kind", ["", *KINDS])
async def test_help_fits_a_terminal(kind: str) -> None:
    done = await probe(*([kind] if kind else []), "--help")
    assert done.code == 0
    assert max(map(len, done.stdout.splitlines())) <= 80
    assert "nightjar probe" in done.stdout


async def test_the_version_is_told() -> None:
    for arguments in (("-V",), ("tcp", "-V"), ("tcp", "--version")):
        done = await probe(*arguments)
        assert (done.code, done.stdout.split(",")[0]) == (0, "nightjar")


# -- where it is called ---------------------------------------------------------------------------------------------


async def test_it_needs_no_environment_and_no_file_and_leaves_none(silent: int, tmp_path: Path) -> None:
    (tmp_path / "agent.toml").write_text("this is no TOML")
    said = (await probe("tcp", f"127.0.0.1:{silent}", environ={}, cwd=tmp_path)).output
    assert said.status == "OK"
    assert os.listdir(tmp_path) == ["agent.toml"]


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
async def test_closed_streams_change_no_exit_code(silent: int, closed: str) -> None:
    for port, code in ((silent, 0), (free_port(), 2)):
        script = f'exec "$0" probe tcp 127.0.0.1:{port} {closed}'
        child = await asyncio.create_subprocess_exec(
            "sh", "-c", script, NIGHTJAR, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        out, _ = await asyncio.wait_for(child.communicate(), 30)
        assert child.returncode == code
        assert bool(out) is (">&-" not in closed.replace("2>&-", ""))


async def test_names_that_are_no_unicode_are_no_hindrance() -> None:
    for flags in ((), ("--json",)):
        child = await asyncio.create_subprocess_exec(
            *(NIGHTJAR, "probe", "http", b"http://127.0.0.1:1/\xff", "--method", "\udcff", *flags),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        out, err = await asyncio.wait_for(child.communicate(), 30)
        assert (child.returncode, err) == (3, b"")
        assert b"UNKNOWN" in out


def test_a_plain_probe_imports_nothing_that_it_has_no_use_for(silent: int) -> None:
    command = (sys.executable, "-X", "importtime", "-m", "agent", "probe", "tcp", f"127.0.0.1:{silent}")
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=True)
    imported = {line.rpartition("|")[2].strip().partition(".")[0] for line in done.stderr.splitlines()}
    assert "collectors" in imported
    assert not imported & {"aiohttp", "rich", "uvloop", "psutil", "yarl", "httptools", "yaml", "redis", "asyncpg"}


async def test_a_locale_without_unicode_is_no_hindrance() -> None:
    environ = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    done = await probe("http", "http://127.0.0.1:1/größe".encode().decode(), environ=environ)
    assert done.output.status == "CRITICAL"


async def test_a_reader_that_left_is_no_hindrance(silent: int) -> None:
    script = f'"$0" probe tcp 127.0.0.1:{silent} -vv; echo $? >&2'
    done = subprocess.run(
        ["sh", "-c", f"({script}) | true", NIGHTJAR], capture_output=True, text=True, timeout=30, check=False
    )
    assert done.stderr == "0\n"


# -- that it ends ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "arguments",
    [
        ("http", "127.0.0.1:{port}"),
        ("tcp", "127.0.0.1:{port}", "--steps", '{{"expect": "hello"}}'),
        ("tls", "127.0.0.1:{port}"),
        ("redis", "127.0.0.1:{port}"),
        ("postgres", "127.0.0.1:{port}"),
        ("mysql", "127.0.0.1:{port}"),
        ("pgbouncer", "127.0.0.1:{port}"),
        ("scrape", "127.0.0.1:{port}"),
        ("dns", "127.0.0.1:{port}", "--query-name", "x", "--transport", "tcp"),
    ],
)
async def test_a_server_that_never_answers_is_critical_in_time(silent: int, arguments: tuple[str, ...]) -> None:
    done = await probe(*(one.format(port=silent) for one in arguments), "-t", "1500ms", "-c", "~:")
    assert done.output.status == "CRITICAL"
    assert "timeout" in done.output.text
    assert done.seconds < 6


async def test_a_name_server_that_never_answers_is_critical_in_time() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as deaf:
        deaf.bind(("127.0.0.1", 0))
        port = deaf.getsockname()[1]
        done = await probe("dns", f"127.0.0.1:{port}", "--query-name", "x", "-t", "1.5")
    assert done.output.status == "CRITICAL"
    assert done.seconds < 6


@pytest.mark.parametrize("kind", ["tcp", "http", "redis", "postgres", "mysql", "scrape", "icmp"])
async def test_a_resolver_that_hangs_holds_nothing(kind: str, tmp_path: Path) -> None:
    if kind == "icmp":
        need_ping()
    environ = hanging(tmp_path, "socket.getaddrinfo = lambda *a, **k: hang()")
    host = "host.invalid" if kind == "icmp" else "host.invalid:1"
    done = await probe(kind, host, "-t", "1.5", environ=environ)
    assert done.output.status in ("CRITICAL", "UNKNOWN")
    assert done.seconds < 6


async def test_a_main_thread_that_hangs_is_unknown_in_time(tmp_path: Path) -> None:
    patch = "def opened(path, *a, real=os.open, **k): return hang() if path == '/hang' else real(path, *a, **k)"
    environ = hanging(tmp_path, f"{patch}\nos.open = opened")
    for more in ((), ("--json",)):
        done = await probe("redis", "127.0.0.1:1", "--password", "${file:/hang}", "-t", "1.5", *more, environ=environ)
        assert done.code == 3
        assert "no end within 1.5 s" in done.stdout
        assert done.seconds < 6


HUNG = """
import sys
class Finder:
    def find_spec(self, name, path=None, target=None):
        if name.startswith("collectors.probes"):
            os.write(2, b"here\\n")
            hang()
sys.meta_path.insert(0, Finder())
"""


async def test_an_import_that_hangs_is_unknown_in_time(tmp_path: Path) -> None:
    for more in ((), ("--json", "--nonesuch")):
        done = await probe("tcp", "127.0.0.1:1", "-t", "1.5", *more, environ=hanging(tmp_path, HUNG))
        assert done.code == 3
        assert "no end within 1.5 s" in done.stdout
        assert done.seconds < 6


async def test_a_signal_during_an_import_that_hangs_is_unknown_at_once(tmp_path: Path) -> None:
    child = await asyncio.create_subprocess_exec(
        *(NIGHTJAR, "probe", "tcp", "127.0.0.1:1", "-t", "60"),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=hanging(tmp_path, HUNG),
    )
    assert child.stderr is not None
    assert await asyncio.wait_for(child.stderr.readline(), 20) == b"here\n"
    child.send_signal(signal.SIGTERM)
    out, _ = await asyncio.wait_for(child.communicate(), 20)
    said = Done(child.returncode or 0, out.decode(), "", 0).output
    assert (said.status, said.text) == ("UNKNOWN", "ended by SIGTERM")


async def test_what_the_system_refuses_is_unknown(silent: int, tmp_path: Path) -> None:
    patch = "import asyncio\nasyncio.new_event_loop = lambda: os.open('/nonesuch/of/tests', 0)"
    done = await probe("tcp", f"127.0.0.1:{silent}", environ=hanging(tmp_path, patch))
    assert (done.output.status, done.code) == ("UNKNOWN", 3)


async def test_a_defect_is_unknown_too(silent: int, tmp_path: Path) -> None:
    environ = hanging(tmp_path, "import asyncio\nasyncio.new_event_loop = lambda: 1 / 0")
    done = await probe("tcp", f"127.0.0.1:{silent}", environ=environ)
    assert (done.code, parse_output(done.stdout).text) == (3, "ZeroDivisionError: division by zero")
    assert "Traceback" in done.stderr


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
async def test_a_signal_ends_it_as_unknown_at_once(number: signal.Signals) -> None:
    met = asyncio.Event()

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        met.set()
        await reader.read()
        await asyncio.Event().wait()

    async with serving(talk) as port:
        child = await asyncio.create_subprocess_exec(
            *(NIGHTJAR, "probe", "http", f"127.0.0.1:{port}", "-t", "60"),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        await asyncio.wait_for(met.wait(), 20)
        child.send_signal(number)
        began = time.monotonic()
        out, err = await asyncio.wait_for(child.communicate(), 20)
    assert time.monotonic() - began < 3
    said = Done(child.returncode or 0, out.decode(), err.decode(), 0).output
    assert (said.status, said.text) == ("UNKNOWN", f"ended by {number.name}")
