from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import tomli

from config import Config, default_faults, effective, example_defaults, json_schema, settings, to_toml
from config.show import plain

from .conftest import Kinds, Load

SAMPLE = """\
[agent]
interval = "5s"
instance = "${env:HOST}.example"
token = "${env:TOKEN}"
labels = { env = "prod" }
[[collectors.http]]
name = "api"
url = "http://x/$${y}"
retry.count = 1
headers = { Authorization = "Bearer ${env:TOKEN}" }
steps = [{ metric = "a" }]
[exporters.remote_write]
url = "https://x"
timeout = "5s"
"""
ENVIRON = {"HOST": "inner-host", "TOKEN": "open-sesame"}


@pytest.fixture
def sample(load_text: Load) -> Config:
    return load_text(SAMPLE, environ=ENVIRON)


def test_every_option_in_force_is_shown_with_where_it_came_from(sample: Config) -> None:
    shown: Any = effective(sample)
    file = sample.files[0]
    assert shown["agent"]["interval"] == {"value": "5s", "from": f"{file}:2"}
    assert shown["agent"]["timeout"] == {"value": "10s", "from": "default"}
    assert shown["agent"]["instance"] == {"value": "${env:HOST}.example", "from": f"{file}:3"}
    assert shown["agent"]["token"] == {"value": "***", "from": f"{file}:4"}
    assert shown["agent"]["labels"]["env"] == {"value": "prod", "from": f"{file}:5"}
    api = shown["collectors"]["api"]
    assert api["kind"] == "http"
    assert api["url"] == {"value": "http://x/$${y}", "from": f"{file}:8"}
    assert api["retry"] == {"count": {"value": 1, "from": f"{file}:9"}, "pause": {"value": "1s", "from": "default"}}
    assert api["headers"]["Authorization"]["value"] == "***"
    assert api["interval"] == {"value": None, "from": "default"}
    assert shown["exporters"]["remote_write"]["timeout"] == {"value": "5s", "from": f"{file}:14"}
    assert not {"inner-host", "open-sesame"} & set(json.dumps(shown).split('"'))


def test_what_is_shown_as_toml_loads_again_to_the_same(sample: Config, load_text: Load) -> None:
    text = to_toml(sample)
    assert "open-sesame" not in text
    assert 'interval = "5s"  # ' in text
    assert "# proxy is not set" in text
    again = load_text(text, environ=ENVIRON)
    shown = [{s.path: str(s.value) for s in settings(config)} for config in (sample, again)]
    assert shown[0] == shown[1]


def test_the_schema_is_valid_and_accepts_what_loads(collectors: Kinds, exporters: Kinds) -> None:
    del collectors["broken"]
    schema = json_schema(collectors, exporters)
    jsonschema.Draft202012Validator.check_schema(schema)
    json.dumps(schema)
    jsonschema.Draft202012Validator(schema).validate(tomli.loads(SAMPLE))


@pytest.mark.parametrize(
    "text",
    [
        "[agent]\ninterval = 15",
        '[agent]\ninterval = "15"',
        '[agent]\nlog_level = "loud"',
        "[rules]",
        '[spool]\nmax_sise = "1GiB"',
        '[collectors.reddis]\naddress = "x"',
        "[[collectors.redis]]\ndatabase = 16",
        "[collectors.http]",
        '[collectors.http]\nurl = "http://x"\nretry.count = 11',
        '[collectors.host]\nlabels = { 9 = "x" }',
        '[collectors.host]\nname = "a b"',
    ],
)
def test_the_schema_refuses_what_does_not_load(collectors: Kinds, exporters: Kinds, text: str) -> None:
    del collectors["broken"]
    schema = json_schema(collectors, exporters)
    assert not jsonschema.Draft202012Validator(schema).is_valid(tomli.loads(text))


EXAMPLE = """\
## How often.
[agent]
# interval = "15s"
# instance = "<hostname>"   # the host's name
## proxy = "http://..."
[spool]
# max_size = "512MiB"
# [[collectors.http]]
# url = "http://x"
# expect_status = [
#   200,
# ]
# retry.count = 3
[collectors.host]
# exclude = ["tmpfs"]
"""


def test_the_defaults_of_an_example_are_uncommented_and_nothing_else_is() -> None:
    text, shown = example_defaults("## prose\n# a = 1\n#b = 2\nc = 3 # d\n#\n#!x\n")
    assert text == "## prose\na = 1\nb = 2\nc = 3 # d\n#\n#!x\n"
    assert shown == {2, 3}


def test_an_example_that_tells_the_truth_has_no_faults(collectors: Kinds, exporters: Kinds) -> None:
    assert default_faults(EXAMPLE, collectors=collectors, exporters=exporters) == []


def test_an_example_that_shows_another_default_is_told_so(collectors: Kinds, exporters: Kinds) -> None:
    text = EXAMPLE.replace('"15s"', '"16s"').replace("200", "201").replace("count = 3", "count = 4")
    assert default_faults(text, collectors=collectors, exporters=exporters) == [
        'agent.toml.example:3: agent.interval is shown as "16s", the default is "15s"',
        "agent.toml.example:10: collectors.http.expect_status is shown as [201], the default is [200]",
        "agent.toml.example:13: collectors.http.retry.count is shown as 4, the default is 3",
    ]


def test_importing_the_package_loads_no_parser_and_nothing_heavy() -> None:
    code = "import sys, config; print(*sys.modules)"
    root = str(Path(__file__).parents[2])
    done = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True)
    assert not {"tomli", "difflib", "ipaddress", "config.loading", "asyncio", "aiohttp"} & set(done.stdout.split())


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("https://user:hunter2@host/write?apikey=hunter3", "https://***@host/write?***"),
        ("http://host/write", "http://host/write"),
        ("http://user@host", "http://***@host"),
        ("is this a ?question", "is this a ?question"),
        ("^(a|b)?$", "^(a|b)?$"),
    ],
)
def test_the_secrets_of_a_url_are_masked(text: str, shown: str) -> None:
    assert plain(text) == shown
