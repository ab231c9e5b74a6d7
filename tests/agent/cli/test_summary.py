"""The live summary's last lines: where to look, while there is something to look at."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from agent.cli.summary import _foot
from config import AgentOptions


@pytest.mark.parametrize(
    ("listen", "port", "expected"),
    [
        ("127.0.0.1:0", 4711, "look at http://127.0.0.1:4711/metrics  http://127.0.0.1:4711/readyz  stop with Ctrl-C"),
        ("127.0.0.1:0", None, "stopped; what is pending waits in the spool"),
        ("", None, "endpoints are off; `nightjar status` still answers"),
    ],
)
def test_the_foot_names_only_addresses_that_answer(listen: str, port: int | None, expected: str) -> None:
    daemon: Any = SimpleNamespace(
        core=SimpleNamespace(config=SimpleNamespace(agent=AgentOptions(listen=listen))),
        endpoints=SimpleNamespace(port=port),
    )
    assert _foot(daemon).plain == expected
