"""P6: `nightjar probe tcp` of a port of this machine, from start to exit, beside `python -c "import aiohttp"`.

Three processes in turns, one after another: the probe, which has to find the port open and to judge its default rules;
the import alone, which is what any plugin built on aiohttp begins with; and `nightjar --help`. Wall-clock time from the
start of the process to its end, medians of 20 turns (the short form: 10), after one turn that fills the disk's cache.
"""

from __future__ import annotations

import socket
import subprocess
import sys
import time
from pathlib import Path

from tests.bench.processes import median
from tests.bench.table import Row, at_most, below

NIGHTJAR = str(Path(sys.executable).parent / "nightjar")
TURNS = 20
SHORT = 10


def run(*, short: bool) -> list[Row]:
    """The rows."""
    with socket.create_server(("127.0.0.1", 0), backlog=100) as server:
        commands = {
            "probe": [NIGHTJAR, "probe", "tcp", f"127.0.0.1:{server.getsockname()[1]}"],
            "import": [sys.executable, "-c", "import aiohttp"],
            "help": [NIGHTJAR, "--help"],
        }
        spent: dict[str, list[float]] = {name: [] for name in commands}
        for turn in range(1 + (SHORT if short else TURNS)):
            for name, command in commands.items():
                seconds = _seconds(command)
                if turn:
                    spent[name].append(seconds * 1e3)
            server.accept()[0].close()
    typical = {name: median(values) for name, values in spent.items()}
    return [
        at_most("P6 nightjar probe tcp: ms", typical["probe"], typical["import"], 1.2),
        below("P6 nightjar --help: ms", typical["help"], 100.0, typical["import"]),
    ]


def _seconds(command: list[str]) -> float:
    """From the start of a process to its end; it must end well."""
    began = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stdin=subprocess.DEVNULL)
    return time.perf_counter() - began
