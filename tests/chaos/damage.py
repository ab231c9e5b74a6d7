"""Ways to damage a spool's files."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

from agent.spool.records import PAGE

Damage = Callable[[random.Random, Path], str]


def flip(draw: random.Random, path: Path) -> str:
    """Some bytes anywhere."""
    return _change(draw, path, draw.choice((1, 1, 1, 2, 8, 64)), 0, path.stat().st_size)


def flip_head(draw: random.Random, path: Path) -> str:
    """Some bytes of the header or of the schema."""
    return _change(draw, path, draw.choice((1, 2, 8)), 0, min(path.stat().st_size, draw.choice((100, 1500))))


def _change(draw: random.Random, path: Path, count: int, low: int, high: int) -> str:
    if high <= low:
        return f"{path.name} is empty"
    places = [draw.randrange(low, high) for _ in range(count)]
    with path.open("r+b") as file:
        for place in places:
            file.seek(place)
            old = file.read(1)[0]
            file.seek(place)
            file.write(bytes([old ^ draw.randrange(1, 256)]))
    return f"{count} bytes of {path.name} at {places[:4]}"


def truncate(draw: random.Random, path: Path) -> str:
    """The end is missing."""
    size = draw.randrange(path.stat().st_size + 1)
    with path.open("r+b") as file:
        file.truncate(size)
    return f"{path.name} cut to {size}"


def blank(draw: random.Random, path: Path) -> str:
    """A stretch of zeros or garbage, as after a lost write."""
    size = path.stat().st_size
    at, length = draw.randrange(size + 1) & ~511, draw.choice((512, 4096, 20_000))
    with path.open("r+b") as file:
        file.seek(at)
        file.write(bytes(length) if draw.random() < 0.5 else draw.randbytes(length))
    return f"{path.name} overwritten at {at} for {length}"


def exchange(draw: random.Random, path: Path) -> str:
    """Two pages in each other's place."""
    pages = path.stat().st_size // PAGE
    if pages < 2:
        return f"{path.name} is too short"
    one, other = draw.sample(range(pages), 2)
    with path.open("r+b") as file:
        contents = []
        for page in (one, other):
            file.seek(page * PAGE)
            contents.append(file.read(PAGE))
        for page, content in zip((other, one), contents, strict=True):
            file.seek(page * PAGE)
            file.write(content)
    return f"pages {one} and {other} of {path.name} exchanged"


def remove(draw: random.Random, path: Path) -> str:
    """The file is gone."""
    path.unlink()
    return f"{path.name} removed"


def garbage(draw: random.Random, path: Path) -> str:
    """Something else stands there."""
    path.write_bytes(draw.randbytes(draw.choice((0, 1, 100, 50_000))))
    return f"{path.name} is garbage"


WAYS: tuple[tuple[Damage, int], ...] = (
    (flip, 10),
    (flip_head, 4),
    (truncate, 3),
    (blank, 3),
    (exchange, 1),
    (remove, 1),
    (garbage, 1),
)


def damage(draw: random.Random, directory: Path) -> str:
    """Damage the database or its log in one way; answers what was done."""
    files = [file for name in ("spool.db", "spool.db-wal") if (file := directory / name).exists()]
    way = draw.choices([way for way, _ in WAYS], [weight for _, weight in WAYS])[0]
    return f"{way.__name__}: {way(draw, draw.choice(files))}"
