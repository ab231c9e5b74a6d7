"""Unpacks the machines of tests/data/host: one text file holds a whole tree of small files."""

from __future__ import annotations

from pathlib import Path

DATA = Path(__file__).resolve().parents[2] / "data" / "host"


def plant(name: str, root: Path) -> Path:
    """Write the tree of `tests/data/host/<name>.txt` below `root`, and return it."""
    _comment, *entries = ("\n" + (DATA / f"{name}.txt").read_text()).split("\n@ ")
    for entry in entries:
        head, _, text = entry.partition("\n")
        path, arrow, target = head.partition(" -> ")
        place = root / path
        place.parent.mkdir(parents=True, exist_ok=True)
        if arrow:
            place.symlink_to(target)
        elif path.endswith("/"):
            place.mkdir(exist_ok=True)
        else:
            place.write_text(text if text.endswith("\n") or not text else text + "\n")
    return root
