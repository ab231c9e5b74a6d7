"""The daemon as a process."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import plugins
from tests.receiver import Receiver
from tests.running import Running


@pytest.fixture
def to() -> Iterator[Receiver]:
    with Receiver() as one:
        yield one


@pytest.fixture
def offered(tmp_path: Path) -> Path:
    """A folder for PYTHONPATH that offers the plugins for tests."""
    return plugins.install(tmp_path / "plugins")


@pytest.fixture
def agent(tmp_path: Path, offered: Path) -> Iterator[Running]:
    with Running(tmp_path, plugins=offered) as one:
        yield one
