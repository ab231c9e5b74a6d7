"""Ten thousand damaged configurations: each is accepted or refused with a place, and none gives a secret away."""

from __future__ import annotations

import json
import os
import random
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from config import Config, ConfigError, effective, json_schema, load, loads, settings, to_toml

from .conftest import Kinds

COUNT = int(os.environ.get("NIGHTJAR_MUTATIONS", "10000"))

SECRETS = {
    "env": "S3CRET-env-kx81",
    "file": "S3CRET-file-qv27",
    "credential": "S3CRET-credential-zm53",
    "literal": "S3CRET-literal-wj94",
}

SAMPLE = """\
# A rich sample.
[agent]
instance = "web-1"
interval = "15s"
timeout = "1m30s"
listen = "0.0.0.0:9464"
log_level = "info"
token = "S3CRET-literal-wj94"
labels = { env = "prod", zone = "${env:ZONE}" }
cert_file = '/etc/tls/cert.pem'

[spool]
max_size = "512MiB"
max_age = "72h"
min_free = "5%"

[collectors.host]
exclude = [
    "tmpfs",  # in memory
    "overlay",
]
ignore = [1, 2, 0x10]

[[collectors.http]]
url = "https://api.example.com/health"
method = "POST"
expect_status = [200, 204]
headers = { Authorization = "Bearer ${env:TOKEN}", "X-Key" = "${file:key}" }
retry = { count = 2, pause = "500ms" }
steps = [{ metric = "a", factor = 1.5 }, { metric = "b", every = "1h" }]

[[collectors.http]]
name = "second"
url = "https://${env:HOST}/x"
username = "someone"
password = "${credential:password}"
retry.count = 5
body_limit = "4KiB"
follow = false
anything = [1, { deep = ["x", 1979-05-27T07:32:00Z] }]

[collectors.redis]
address = "redis://127.0.0.1:6379"
password = '''
S3CRET-literal-wj94'''
database = 3
interval = "1h"
labels.team = "data"

[collectors.dns]
name = "example.org"
type = "AAAA"

[exporters.remote_write]
url = "https://metrics.example.com/api/v1/write"
bearer_token = "${file:key}"
protocol = "2.0"

[exporters.file]
path = "-"
"""

ENVIRON = {"TOKEN": SECRETS["env"], "HOST": "h-" + SECRETS["env"], "ZONE": SECRETS["env"] + "-zone"}

KEYS = sorted(set(re.findall(r"^(\w+) =", SAMPLE, re.MULTILINE)) | {"proxy", "insecure", "agent", "bearer_tokn"})
VALUES = [
    "1", "-1", "1.5", "inf", "nan", "0x" + "f" * 40, "true", '""', "''", "[]", "{}", "[[[]]]", '"15s"', '"15"', '"5%"',
    '"${env:TOKEN}"', '"${file:key}"', '"${credential:password}"', '"${env:NOT_SET}"', '"${file:none}"', '"${x}"',
    '"a ${env:TOKEN}"', '"$${env:TOKEN}"', '["${env:TOKEN}"]', '{ a = "${file:key}" }', "[{ a = 1 }, { b = [2] }]",
    "1979-05-27", "07:32:00", '"""\n\n"""', '"S3CRET-literal-wj94"', '["S3CRET-literal-wj94"]', "{ a = 1, a.b = 2 }",
    "9" * 5000, "[" * 70 + "]" * 70, "{ a = " * 70 + "1" + " }" * 70, '"\\u0000"', '"\\n"', '"é\\U0001F600"',
]  # fmt: skip
JUNK = [
    *("[rules]", "[[rules]]", "[agent]", "[collectors]", "collectors = 1", "[[agent]]", "[collectors.http.x.y]", "]"),
    *("[collectors.'']", '[collectors."a b"]', "a.b.c = 1", "= 1", "'''", '"""', "\0", "\ufeff", "[exporters.no]"),
]

EDITS = [
    *(("${", "$${"), ("${", "${ "), ("${", "$"), ("${", "${env:${"), ("}", ""), ("env:", "file:"), ("file:", "env:")),
    *((":", ""), ("TOKEN", "TOKEM"), ("key", "../key"), ("file:key", "file:fifo")),
]

Mutation = Callable[[random.Random, bytes], bytes]


def on_lines(change: Callable[[random.Random, list[str]], None]) -> Mutation:
    def mutate(rng: random.Random, data: bytes) -> bytes:
        lines = data.decode("utf-8", "surrogateescape").split("\n")
        change(rng, lines)
        return "\n".join(lines).encode("utf-8", "surrogateescape")

    return mutate


def flip_byte(rng: random.Random, data: bytes) -> bytes:
    at = rng.randrange(len(data))
    return data[:at] + bytes([data[at] ^ (1 << rng.randrange(8))]) + data[at + 1 :]


def drop_bytes(rng: random.Random, data: bytes) -> bytes:
    at = rng.randrange(len(data))
    return data[:at] + data[at + rng.randrange(1, 12) :]


def cut_off(rng: random.Random, data: bytes) -> bytes:
    return data[: rng.randrange(1, len(data) + 1)]


def swap_lines(rng: random.Random, lines: list[str]) -> None:
    one, other = rng.randrange(len(lines)), rng.randrange(len(lines))
    lines[one], lines[other] = lines[other], lines[one]


def delete_line(rng: random.Random, lines: list[str]) -> None:
    if len(lines) > 2:
        del lines[rng.randrange(len(lines))]


def duplicate_line(rng: random.Random, lines: list[str]) -> None:
    lines.insert(rng.randrange(len(lines)), rng.choice(lines))


def rename_key(rng: random.Random, lines: list[str]) -> None:
    at = rng.choice([at for at, line in enumerate(lines) if " =" in line] or [0])
    name, equals, value = lines[at].partition(" =")
    new = rng.choice([rng.choice(KEYS), name + "x", name[:-1], f'"{name}"', f"{name}.a"])
    lines[at] = new + equals + value


def swap_value(rng: random.Random, lines: list[str]) -> None:
    at = rng.choice([at for at, line in enumerate(lines) if " = " in line] or [0])
    lines[at] = lines[at].partition(" = ")[0] + " = " + rng.choice(VALUES)


def exchange_values(rng: random.Random, lines: list[str]) -> None:
    pairs = [at for at, line in enumerate(lines) if " = " in line] or [0]
    one, other = rng.choice(pairs), rng.choice(pairs)
    (key, sign, value), (key2, sign2, value2) = lines[one].partition(" = "), lines[other].partition(" = ")
    lines[one], lines[other] = key + sign + value2, key2 + sign2 + value


def insert_junk(rng: random.Random, lines: list[str]) -> None:
    lines.insert(rng.randrange(len(lines)), rng.choice([*JUNK, f"{rng.choice(KEYS)} = {rng.choice(VALUES)}"]))


def edit_reference(rng: random.Random, lines: list[str]) -> None:
    at = rng.choice([at for at, line in enumerate(lines) if "${" in line] or [0])
    old, new = rng.choice(EDITS)
    lines[at] = lines[at].replace(old, new, 1)


MUTATIONS: list[Mutation] = [
    flip_byte,
    drop_bytes,
    cut_off,
    *map(
        on_lines,
        (
            swap_lines,
            delete_line,
            duplicate_line,
            rename_key,
            rename_key,
            swap_value,
            swap_value,
            swap_value,
            exchange_values,
            insert_junk,
            edit_reference,
        ),
    ),
]


def mutants(seed: int, count: int) -> Iterator[bytes]:
    rng = random.Random(seed)
    sample = SAMPLE.encode()
    for _ in range(count):
        data = sample
        for _ in range(rng.choice((1, 1, 1, 2, 3, 8))):
            data = rng.choice(MUTATIONS)(rng, data) or b"\n"
        yield data


def shown_of(config: Config) -> str:
    sections = config.collectors + config.exporters
    options = [config, config.agent, config.spool, sections, *(section.options for section in sections)]
    return "\n".join([*map(repr, options), json.dumps(effective(config)), to_toml(config)])


def outcome(
    path: Path, data: bytes, collectors: Kinds, exporters: Kinds, environ: dict[str, str]
) -> Config | ConfigError:
    """The text loaded as a file; really by way of the disk only where decoding is at stake."""
    try:
        text = data.decode()
    except UnicodeDecodeError:
        path.write_bytes(data)
        text = None
    try:
        if text is None:
            return load(str(path), collectors=collectors, exporters=exporters, environ=environ)
        return loads(text, file=str(path), collectors=collectors, exporters=exporters, environ=environ)
    except ConfigError as error:
        return error


def exposed(config: Config) -> set[str]:
    """Secrets that the damage moved to an option that is no secret, as text that the file itself spells out."""
    texts = [repr(setting.value) for setting in settings(config)]
    texts += [section.name for section in config.collectors + config.exporters]
    return {SECRETS["literal"]} if any(SECRETS["literal"] in text for text in texts) else set()


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    (tmp_path / "key").write_text(SECRETS["file"] + "\n")
    (tmp_path / "password").write_text(SECRETS["credential"] + "\n")
    os.mkfifo(tmp_path / "fifo")
    return tmp_path


def test_the_sample_itself_loads(directory: Path, collectors: Kinds, exporters: Kinds) -> None:
    path = directory / "agent.toml"
    path.write_text(SAMPLE)
    environ = ENVIRON | {"CREDENTIALS_DIRECTORY": str(directory), "HOST": "h"}
    config = load(str(path), collectors=collectors, exporters=exporters, environ=environ)
    assert len(config.collectors) == 5


def test_damaged_configurations_are_accepted_or_refused_with_a_place_and_give_no_secret_away(
    directory: Path, collectors: Kinds, exporters: Kinds
) -> None:
    path = directory / "agent.toml"
    environ = ENVIRON | {"CREDENTIALS_DIRECTORY": str(directory)}
    place = re.compile(re.escape(str(path)) + r":\d+:\d+: .")
    accepted = 0
    for data in mutants(20240607, COUNT):
        result = outcome(path, data, collectors, exporters, environ)
        hidden = set(SECRETS.values())
        if isinstance(result, Config):
            accepted += 1
            shown = shown_of(result)
            hidden -= exposed(result)
        else:
            shown = str(result)
            assert result.faults
            assert all(place.match(line) for line in shown.splitlines()), shown
        assert not [secret for secret in hidden if secret in shown], shown
    assert COUNT / 50 < accepted < COUNT / 2


def test_the_schema_gives_no_secret_away(collectors: Kinds, exporters: Kinds) -> None:
    del collectors["broken"]
    schema = json.dumps(json_schema(collectors, exporters))
    assert not any(secret in schema for secret in SECRETS.values())
