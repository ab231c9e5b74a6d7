"""Plugins that exist for these tests alone, with every sort of option there is, and ways to load a text with them."""

from __future__ import annotations

import enum
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Protocol

import pytest
from msgspec import Meta, Struct, field

from config import ClientOptions, Config, ConfigError, Duration, Secret, Size, load

Kinds = dict[str, Callable[[], type[Struct]]]


class HostOptions(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    proc: str = "/proc"
    exclude: list[str] = field(default_factory=lambda: ["tmpfs"])
    ignore: tuple[Annotated[int, Meta(ge=0)], ...] = ()


class Method(enum.Enum):
    GET = "GET"
    POST = "POST"


class Step(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    metric: str
    factor: float = 1.0
    every: Duration | Literal["never"] = "never"


class Retry(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    count: Annotated[int, Meta(ge=0, le=10)] = 3
    pause: Duration = Duration("1s")


class HttpOptions(ClientOptions, frozen=True, kw_only=True, forbid_unknown_fields=True):
    url: Annotated[str, Meta(min_length=1)]
    method: Method = Method.GET
    expect_status: list[Annotated[int, Meta(ge=100, le=599)]] = field(default_factory=lambda: [200])
    body_limit: Annotated[Size, Meta(gt=0)] = Size("1MiB")
    retry: Retry = Retry()
    steps: list[Step] = field(default_factory=list)
    follow: bool = True
    anything: Any = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.url.startswith(("http://", "https://")):
            raise ValueError(f"url: must begin with http:// or https://, not {self.url}")


class RedisOptions(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    address: str = "redis://127.0.0.1:6379"
    password: Secret | None = None
    database: Annotated[int, Meta(ge=0, le=15)] = 0


class DnsOptions(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    name: str
    type: Literal["A", "AAAA"] = "A"


class WriteOptions(ClientOptions, frozen=True, kw_only=True, forbid_unknown_fields=True):
    url: str
    protocol: Literal["auto", "2.0", "1.0"] = "auto"
    timeout: Duration = Duration("20s")


class FileOptions(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    path: str = "-"


def missing() -> type[Struct]:
    raise ImportError("No module named 'somedriver'")


COLLECTORS: Kinds = {
    "host": lambda: HostOptions,
    "http": lambda: HttpOptions,
    "redis": lambda: RedisOptions,
    "dns": lambda: DnsOptions,
    "broken": missing,
}
EXPORTERS: Kinds = {"remote_write": lambda: WriteOptions, "file": lambda: FileOptions}


class Load(Protocol):
    def __call__(self, text: str | bytes, *more: str, environ: Mapping[str, str] = {}) -> Config: ...


class Faults(Protocol):
    def __call__(self, text: str | bytes, *more: str, environ: Mapping[str, str] = {}) -> list[str]: ...


@pytest.fixture
def collectors() -> Kinds:
    return dict(COLLECTORS)


@pytest.fixture
def exporters() -> Kinds:
    return dict(EXPORTERS)


@pytest.fixture
def load_text(tmp_path: Path, collectors: Kinds, exporters: Kinds) -> Load:
    """Loads a text as agent.toml, and further ones as conf.d/1.toml, conf.d/2.toml …"""

    def load_it(text: str | bytes, *more: str, environ: Mapping[str, str] = {}) -> Config:
        path = tmp_path / "agent.toml"
        path.write_bytes(text.encode() if isinstance(text, str) else text)
        for number, other in enumerate(more, start=1):
            (tmp_path / "conf.d").mkdir(exist_ok=True)
            (tmp_path / "conf.d" / f"{number}.toml").write_text(other)
        return load(str(path), collectors=collectors, exporters=exporters, environ=environ)

    return load_it


@pytest.fixture
def faults(tmp_path: Path, load_text: Load) -> Faults:
    """The faults of a text, one a line, without the directory."""

    def faults_of(text: str | bytes, *more: str, environ: Mapping[str, str] = {}) -> list[str]:
        try:
            load_text(text, *more, environ=environ)
        except ConfigError as error:
            return str(error).replace(f"{tmp_path}/", "").splitlines()
        return []

    return faults_of
