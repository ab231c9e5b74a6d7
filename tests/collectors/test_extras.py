"""What is told where an optional library is missing, and what finding that out costs."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import tomli
from click.testing import CliRunner

from agent.cli import nightjar
from collectors.extras import LIBRARIES, lack, need
from tests.conftest import ROOT

SECTIONS = {
    "redis": ("redis", ""),
    "postgres": ("postgres", ""),
    "pgbouncer": ("postgres", ""),
    "mysql": ("mysql", ""),
    "dns": ("dns", 'targets = ["127.0.0.1"]\nquery_name = "."'),
    "tls": ("tls", 'targets = ["127.0.0.1:1"]\nocsp = true'),
    "http": ("http", 'url = "http://127.0.0.1:1/"\nexpect_json = ["up"]'),
}


def test_the_extras_are_those_of_the_package() -> None:
    extras = tomli.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    assert set(LIBRARIES) <= set(extras) - {"all"}


@pytest.mark.parametrize("extra", LIBRARIES)
def test_what_is_installed_lacks_nothing(extra: str) -> None:
    need(extra)
    assert lack(extra) == ""


@pytest.mark.parametrize("kind", SECTIONS)
def test_check_says_which_extra_is_missing_in_the_same_words(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    extra, options = SECTIONS[kind]
    monkeypatch.setitem(sys.modules, LIBRARIES[extra], None)
    path = tmp_path / "agent.toml"
    path.write_text(f'[agent]\nstate_dir = "{tmp_path}"\n[collectors.{kind}]\n{options}\n')
    result = CliRunner().invoke(nightjar, ["config", "check", "-c", str(path)])
    assert result.exit_code == 78, result.output
    assert f"needs the extra `{extra}`: pip install 'nightjar-agent[{extra}]'" in result.stderr


def test_a_check_does_not_pay_for_the_library_of_postgres() -> None:
    code = (
        "import sys; from collectors.pgbouncer import Pgbouncer as B; from collectors.postgres import Postgres as P\n"
    )
    code += "B(B.Options()); P(P.Options()); print('asyncpg' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True, timeout=60)
    assert done.stdout.strip() == "False"
