"""Log lines about what happens in the spool's thread."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from agent import told
from agent.spool import Event
from agent.told import LINES, Told
from tests.logged import capture_logs


def test_every_event_of_the_spool_has_a_line():
    sources = Path(told.__file__).parent.joinpath("spool").glob("*.py")
    names = {name for path in sources for name in re.findall(r'Event\(\s*"([a-z_.]+)"', path.read_text())}
    assert names == set(LINES)


def test_a_full_spool_is_told_once_a_minute_with_the_sum(monkeypatch: pytest.MonkeyPatch):
    now = 100.0
    monkeypatch.setattr(told.time, "monotonic", lambda: now)
    tell = Told()
    with capture_logs() as lines:
        for _ in range(5):
            tell(Event("spool.evicted", {"items": {"size": 10}}))
        now += told.PAUSE
        tell(Event("spool.evicted", {"items": {"size": 1, "age": 2}}))
        tell(Event("spool.evicted", {"items": {"age": 3}}))
        tell.flush()
        tell.flush()
    assert [line["items"] for line in lines] == [{"size": 10}, {"size": 41, "age": 2}, {"age": 3}]
