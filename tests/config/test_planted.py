"""No secret of the real collectors and exporters is shown, whatever option holds it and whatever is wrong beside it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import pytest
from msgspec import Struct

from agent.plugins import COLLECTORS, EXPORTERS
from config import Config, ConfigError, Secret, effective, json_schema, loads, to_toml
from config.types import fields, is_struct
from tests.planted import WORD, planted

FAULTS = [
    ("://", ":"), ("://", "s://"), ("://", "://["), ("http://", "ftp://"), ("redis://", "x://"), ("postgres://", "y://"),
    ('= "', '= ["'), ('"', ""), ('"', "'"), (":1", ":99999"), (":1", ":x"), (" = ", "s = "), (" = ", " = 5 "),
    ("?", "?#"), ("me:", "me"), ("me:", ""), ("@", ""), ("@", "@@"), ("@", "/"), ("{ ", "[ "), ("/", "//"),
    ("file:", "files:"), ("expect = ", "expect = '(' # "), ("${", "$${"), ("smtp:", "smpt:"), ("&", " "), ("=", "\n="),
    ("url = ", "urls = "),
]  # fmt: skip


def read(text: str) -> Config:
    return loads(text, collectors=COLLECTORS, exporters=EXPORTERS, environ={})


def shown(config: Config) -> str:
    return to_toml(config) + json.dumps(effective(config), indent=1)


def leaks(text: str) -> list[str]:
    return [line for line in text.splitlines() if WORD in line]


def secret_options(kind: type[Struct]) -> Iterator[str]:
    """The names of the options that are secrets, with those of tables in them."""
    for key, field in fields(kind).items():
        told = repr(field.type)
        if "config.secret.Secret" in told:
            yield key
        for inner in (field.type, *get_args(field.type)):
            if is_struct(inner):
                yield from secret_options(inner)


def test_no_secret_is_shown(tmp_path: Path) -> None:
    text = planted(tmp_path)
    found = shown(read(text))
    assert leaks(found) == []
    assert 'body = "***"' in found
    assert '{ send = "***", expect = "OK" }' in found
    assert "http://***@127.0.0.1:1" in found
    assert re.search(r'"http://127.0.0.1:1/hello\?q=\$\{file:[^"]*planted-\d+\}"', found)


def test_every_secret_option_is_planted(tmp_path: Path) -> None:
    """So that a new one cannot be forgotten above."""
    text = planted(tmp_path)
    for kinds in (COLLECTORS, EXPORTERS):
        for kind in kinds:
            options = kinds[kind]()
            sections = "\n".join(re.findall(rf"^\[+\w+\.{kind}\]+\n(.*?)(?=^\[|\Z)", text, re.MULTILINE | re.DOTALL))
            for name in secret_options(options):
                idle = kind in ("tls", "tcp", "dns") and name in ("headers", "bearer_token", "password")
                assert idle or f"{name} = " in sections, (kind, name)


def test_an_empty_secret_is_shown_as_empty(tmp_path: Path) -> None:
    config = read('[collectors.http]\nurl = "http://h"\n')
    assert 'body = ""  # default' in to_toml(config)
    config = read('[collectors.http]\nurl = "http://h"\nbody = ""\n')
    assert 'body = ""  # agent.toml:3' in to_toml(config)


def test_the_schema_keeps_a_body_for_writing(tmp_path: Path) -> None:
    schema: Any = json_schema({"http": COLLECTORS["http"]}, {})
    body = schema["$defs"]["collector.http"]["properties"]["body"]
    assert body == {"type": "string", "writeOnly": True, "default": ""}


def damaged(text: str) -> Iterator[str]:
    """Every fault in every line of a section with a secret."""
    lines = text.splitlines()
    for at, line in enumerate(lines):
        for old, new in FAULTS if WORD in line or "planted" in line else []:
            if old in line:
                yield "\n".join([*lines[:at], line.replace(old, new, 1), *lines[at + 1 :]])
                yield "\n".join([*lines[:at], line.replace(old, new), *lines[at + 1 :]])


def test_no_secret_is_in_a_fault_beside_it(tmp_path: Path) -> None:
    texts = [one for section in planted(tmp_path).split("\n\n") for one in damaged(section)]
    refused = 0
    for text in texts:
        try:
            config = read(text)
            found = shown(config)
        except ConfigError as error:
            refused += 1
            found = str(error)
        assert leaks(found) == []
    assert refused > len(texts) / 3


@pytest.mark.parametrize("target", ["smpt://me:SECRET@h", "smtp://me:SECRET@h:x", "a://me:SECRET@h", "me:SECRET@h"])
@pytest.mark.parametrize("kind", ["tls", "tcp", "icmp"])
def test_a_target_with_a_login_is_refused_without_it(kind: str, target: str) -> None:
    with pytest.raises(ConfigError) as caught:
        read(f'[collectors.{kind}]\ntargets = ["{target}"]\n')
    assert "SECRET" not in str(caught.value)
    assert "***" in str(caught.value)


def test_a_part_of_a_text_that_came_by_reference_is_in_no_fault(tmp_path: Path) -> None:
    """Also one whose pieces are short, as those of a JWT may be."""
    (tmp_path / "t").write_text("ab.cd.ef")
    with pytest.raises(ConfigError) as caught:
        read(f'[collectors.tcp]\ntargets = ["x://u${{file:{tmp_path}/t}}:h"]\n')
    assert "cd" not in str(caught.value)


def test_a_secret_stays_a_secret_in_the_options() -> None:
    config: Any = read('[collectors.tcp]\ntargets = ["h:1"]\nsteps = [{ send = "AUTH word" }]\n')
    assert config.collectors[0].options.steps[0].send == Secret("AUTH word")
    assert "word" not in repr(config.collectors[0].options.steps)
