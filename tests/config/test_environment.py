from __future__ import annotations

import os
from pathlib import Path

import pytest

from config import environment


def test_the_state_directory_is_systemds_then_the_systems_then_the_users(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    writable = tmp_path / "lib" / "nightjar"
    monkeypatch.setattr(environment, "VAR_STATE", str(writable))
    assert environment.state_directory({"STATE_DIRECTORY": "/a:/b", "HOME": "/h"}) == "/a"
    assert environment.state_directory({"HOME": "/h"}) == "/h/.local/state/nightjar"
    assert environment.state_directory({"XDG_STATE_HOME": "/x", "HOME": "/h"}) == "/x/nightjar"
    assert environment.state_directory({"XDG_STATE_HOME": "relative", "HOME": "/h"}) == "/h/.local/state/nightjar"
    writable.parent.mkdir()
    assert environment.state_directory({"HOME": "/h"}) == str(writable)


@pytest.mark.parametrize(
    ("environ", "seconds"),
    [
        ({}, None),
        ({"WATCHDOG_USEC": "30000000"}, 30.0),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": str(os.getpid())}, 30.0),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "1"}, None),
        ({"WATCHDOG_USEC": "0"}, None),
        ({"WATCHDOG_USEC": "-1"}, None),
        ({"WATCHDOG_USEC": "x"}, None),
    ],
)
def test_the_watchdog_is_ours_only_when_systemd_says_so(environ: dict[str, str], seconds: float | None) -> None:
    assert environment.watchdog_seconds(environ) == seconds


def test_small_questions_are_answered_from_the_environment() -> None:
    environ = {"NOTIFY_SOCKET": "@s", "CREDENTIALS_DIRECTORY": "/c", "NO_COLOR": "1", "NIGHTJAR_CONFIG": "f"}
    assert environment.notify_socket(environ) == "@s"
    assert environment.credentials_directory(environ) == "/c"
    assert environment.config_file(environ) == "f"
    assert environment.no_color(environ)
    assert not environment.no_color({"NO_COLOR": ""})
    assert environment.notify_socket({}) is None


@pytest.mark.parametrize(
    ("environ", "url", "proxy"),
    [
        ({}, "https://metrics.test/", None),
        ({"HTTPS_PROXY": "http://proxy.test:3128"}, "https://metrics.test/", "http://proxy.test:3128"),
        ({"HTTPS_PROXY": "http://proxy.test:3128"}, "http://metrics.test/", None),
        (
            {"https_proxy": "http://small.test", "HTTPS_PROXY": "http://big.test"},
            "https://a.test/",
            "http://small.test",
        ),
        ({"HTTPS_PROXY": "http://proxy.test", "NO_PROXY": "localhost,.test"}, "https://metrics.test:8443/", None),
        ({"HTTPS_PROXY": "http://proxy.test", "NO_PROXY": "*"}, "https://metrics.example/", None),
        ({"HTTP_PROXY": "http://proxy.test", "REQUEST_METHOD": "GET"}, "http://metrics.example/", None),
    ],
)
def test_the_standard_proxy_variables_are_followed(environ: dict[str, str], url: str, proxy: str | None) -> None:
    assert environment.proxy_for(url, environ) == proxy
