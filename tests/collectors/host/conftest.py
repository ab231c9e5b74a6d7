"""Machines that are files: a tree below a temporary directory, and a host collector that looks at it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from collectors.host import Host, Options
from collectors.host.machine import Machine
from tests.collectors.host.tree import plant

MakeMachine = Callable[..., Machine]


def options_for(tree: Path, **more: Any) -> Options:
    return Options(**{"proc": f"{tree}/proc", "sys": f"{tree}/sys", "rootfs": str(tree), **more})


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """An empty machine."""
    for name in ("proc", "sys"):
        (tmp_path / name).mkdir()
    return tmp_path


@pytest.fixture
def put(tree: Path) -> Callable[[str, str], None]:
    """`put("proc/stat", text)` writes a file of the machine."""

    def write(name: str, text: str) -> None:
        place = tree / name
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(text)

    return write


@pytest.fixture
def machine(tree: Path) -> Iterator[MakeMachine]:
    """`machine(option=value)`: the machine of the tree, closed afterwards."""
    made: list[Machine] = []

    def make(**more: Any) -> Machine:
        made.append(Machine(options_for(tree, **more)))
        return made[-1]

    yield make
    for each in made:
        each.close()


@pytest.fixture
def planted(tree: Path) -> Path:
    """The machine that has a little of everything."""
    return plant("machine", tree)


@pytest.fixture
def host(planted: Path) -> Iterator[Callable[..., Host]]:
    """`host(option=value)`: a collector of the planted machine, closed afterwards."""
    made: list[Host] = []

    def make(**more: Any) -> Host:
        made.append(Host(options_for(planted, **more)))
        return made[-1]

    yield make
    for each in made:
        each.close()
