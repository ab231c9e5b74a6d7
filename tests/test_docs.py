"""What the documents say is what the code does."""

from __future__ import annotations

import re
import subprocess

import pytest

from agent import cli
from agent.plugins import COLLECTORS, EXPORTERS
from config import json_schema
from config.example import default_faults, example_defaults
from tests.conftest import ROOT
from tests.daemon import NIGHTJAR

README = (ROOT / "README.md").read_text()
EXAMPLE = (ROOT / "agent.toml.example").read_text()


def rows(first_heading: str) -> list[str]:
    """The first cells of a table of the README, without their backquotes."""
    table = README.split(f"| {first_heading} |", 1)[1].split("\n\n", 1)[0]
    return re.findall(r"^\| `([^`]+)`", table, re.MULTILINE)


def test_every_default_in_the_example_is_the_one_in_the_code() -> None:
    assert default_faults(EXAMPLE, collectors=COLLECTORS, exporters=EXPORTERS) == []


def test_the_example_shows_every_option_that_has_a_default_to_show() -> None:
    """An option whose default is "not set" is named in the prose."""
    text, _ = example_defaults(EXAMPLE)
    missing = [
        f"{kind}.{name}"
        for table in (COLLECTORS, EXPORTERS)
        for kind in table.builtin
        for name in table.plugin(kind).Options.__struct_fields__
        if not re.search(rf"\b{name}\b", text)
    ]
    assert missing == []


def test_the_tables_of_the_readme_are_the_registries() -> None:
    assert rows("collector") == list(COLLECTORS.builtin)
    assert sorted(rows("exporter")) == sorted(EXPORTERS.builtin)


def test_the_readme_names_every_command() -> None:
    named = {row.split()[1] for row in rows("command")}
    assert named == set(cli.COMMANDS)


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["run"],
        ["check"],
        ["probe"],
        ["probe", "tcp"],
        ["config"],
        ["config", "check"],
        ["status"],
        ["spool"],
        ["plugins"],
    ],
)
def test_the_help_of_every_command_shows_an_example(arguments: list[str]) -> None:
    done = subprocess.run([NIGHTJAR, *arguments, "--help"], capture_output=True, text=True, timeout=30)
    assert done.returncode == 0, done.stderr
    assert "Example: nightjar" in done.stdout


def test_the_configuration_of_the_readme_is_accepted(tmp_path) -> None:
    (block,) = re.findall(r"```toml\n(.*?)```", README, re.DOTALL)
    path = tmp_path / "agent.toml"
    path.write_text(f'[agent]\nstate_dir = "{tmp_path}"\n{block}')
    done = subprocess.run([NIGHTJAR, "config", "check", "-c", str(path)], capture_output=True, text=True, timeout=30)
    assert done.returncode == 0, done.stderr


def test_the_faults_that_the_readme_shows_are_what_the_program_says(tmp_path) -> None:
    (shown,) = re.findall(r"```\n\$ nightjar config check -c agent.toml\n(.*?)```", README, re.DOTALL)
    (tmp_path / "agent.toml").write_text(
        '[agent]\ninterval = 15\n\n[collectors.host]\n\n[exporters.remote_write]\nurll = "http://127.0.0.1/"\n'
    )
    done = subprocess.run(
        [NIGHTJAR, "config", "check", "-c", "agent.toml"], cwd=tmp_path, capture_output=True, text=True, timeout=30
    )
    assert (done.returncode, done.stderr) == (78, shown)


def test_the_example_obeys_the_published_schema() -> None:
    import jsonschema
    import tomli

    schema = json_schema(COLLECTORS, EXPORTERS)
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.validate(tomli.loads(example_defaults(EXAMPLE)[0]), schema)


def test_every_folder_of_the_readme_exists() -> None:
    block = README.split("## The house in eight lines", 1)[1].split("## ", 1)[0]
    folders = re.findall(r"^    (\S+)/ ", block, re.MULTILINE)
    assert len(folders) == 8
    assert all((ROOT / folder).is_dir() for folder in folders)
