from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from config.references import Template, Unresolved

from .conftest import Faults, Load


def resolved(text: str, base: Path | str = "", **environ: str) -> str:
    return Template(text, environ, str(base)).resolve()


def test_references_stand_anywhere_in_a_text() -> None:
    assert resolved("a ${env:X}-${env:Y} b", X="1", Y="2") == "a 1-2 b"


def test_a_value_is_not_searched_for_references_again() -> None:
    assert resolved("${env:X}", X="${env:Y}") == "${env:Y}"


def test_a_doubled_dollar_is_the_text_itself() -> None:
    assert resolved("$${env:X} $ $$ {}") == "${env:X} $ $$ {}"
    assert resolved("$$${x}") == "$${x}"


def test_a_file_is_read_beside_the_configuration_without_its_line_end(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("se\nsame\r\n")
    assert resolved("${file:token}", tmp_path) == "se\nsame"
    assert resolved(f"${{file:{tmp_path}/token}}") == "se\nsame"


def test_a_credential_is_read_from_where_systemd_puts_it(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("sesame\n")
    assert resolved("${credential:token}", CREDENTIALS_DIRECTORY=str(tmp_path)) == "sesame"


@pytest.mark.parametrize(
    ("text", "cure"),
    [
        ("${env:NOT_SET}", "the environment variable NOT_SET is not set: set it for the agent"),
        ("${credential:x}", "add LoadCredential=x:/path/of/it to the systemd unit"),
        ("${file:none}", "${file:none}: none does not exist"),
        ("${file:/}", "${file:/}: / is a directory"),
        ("${HOME}", "not a reference: expected"),
        ("${", "not a reference: expected"),
        ("${env:}", "not a reference: expected"),
        ("${env:A B}", "not a reference: expected"),
        ("${vault:x}", "not a reference: expected"),
        ("${credential:../x}", "not a reference: expected"),
        ("${credential:..}", "not a reference: expected"),
        ("${file:a\0b}", "not a reference: expected"),
    ],
)
def test_a_reference_that_leads_nowhere_says_what_to_do(text: str, cure: str) -> None:
    with pytest.raises(Unresolved) as caught:
        resolved(text)
    assert cure in str(caught.value)


def test_a_malformed_reference_is_not_quoted_because_it_may_be_a_password() -> None:
    with pytest.raises(Unresolved) as caught:
        resolved("sesame${open")
    assert "sesame" not in str(caught.value)
    assert "open" not in str(caught.value)


def test_a_fifo_is_refused_without_waiting(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    with pytest.raises(Unresolved, match="no regular file"):
        resolved("${file:fifo}", tmp_path)


def test_a_file_that_is_no_text_or_huge_is_refused(tmp_path: Path) -> None:
    (tmp_path / "binary").write_bytes(b"\xff")
    (tmp_path / "huge").write_bytes(b"x" * (1 << 20))
    with pytest.raises(Unresolved, match="is not UTF-8"):
        resolved("${file:binary}", tmp_path)
    with pytest.raises(Unresolved, match="is larger than"):
        resolved("${file:huge}", tmp_path)


@given(st.text())
def test_any_text_is_a_template_or_refused_and_without_a_reference_is_itself(text: str) -> None:
    try:
        assert resolved(text) == text.replace("$${", "${")
    except Unresolved:
        assert "${" in text


@pytest.mark.parametrize(
    ("line", "fault"),
    [
        ('interval = "${env:X}"', 'interval: the value of ${env:X} is not a duration such as "15s" or "1m30s"'),
        (
            'log_level = "${env:X}"',
            'log_level: the value of ${env:X} is not one of "debug", "info", "warning", "error"',
        ),
        ('insecure = "${env:X}"', "insecure: the value of ${env:X} is not true or false"),
        ('token = "${env:EMPTY}"', "token: the value of ${env:EMPTY} is empty"),
        ('instance = "${env:EMPTY}"', "instance: the value of ${env:EMPTY}: must not be empty"),
        ('interval = "${env:ZERO}"', "interval: the value of ${env:ZERO}: must be more than 0s"),
        ('listen = "${env:LISTEN}"', "listen: others than this machine could read it"),
    ],
)
def test_a_fault_names_the_reference_and_never_its_value(faults: Faults, line: str, fault: str) -> None:
    environ = {"X": "open-sesame", "EMPTY": "", "ZERO": "0s", "LISTEN": "203.0.113.7:9"}
    (found,) = faults(f"[agent]\n{line}", environ=environ)
    column = line.index('"') + 1
    assert found.startswith(f"agent.toml:2:{column}: agent.{fault}")
    assert "sesame" not in found
    assert "203" not in found


def test_numbers_and_switches_may_come_from_references(load_text: Load) -> None:
    text = '[agent]\ninsecure = "${env:B}"\ninterval = "${env:D}s"\n[collectors.redis]\ndatabase = "${env:N}"\n'
    config: Any = load_text(text, environ={"B": "true", "D": "5", "N": "7"})
    assert (config.agent.insecure, config.agent.interval, config.collectors[0].options.database) == (True, 5, 7)


def test_a_plugin_that_repeats_a_value_in_its_complaint_does_not_repeat_a_references_value(faults: Faults) -> None:
    text = '[collectors.http]\nurl = "${env:U}"'
    assert faults(text, environ={"U": "ftp://u:open-sesame@x"}) == [
        "agent.toml:2:7: collectors.http.url: must begin with http:// or https://, not ***"
    ]


def test_a_missing_reference_is_said_once_even_where_several_types_would_do(faults: Faults) -> None:
    text = '[collectors.http]\nurl = "http://x"\nsteps = [{ metric = "m", every = "${env:NOT_SET}" }]'
    (found,) = faults(text)
    assert found.startswith(
        "agent.toml:3:34: collectors.http.steps[0].every: the environment variable NOT_SET is not set"
    )


def test_a_secret_is_read_again_from_its_file(load_text: Load, tmp_path: Path) -> None:
    (tmp_path / "token").write_text("one\n")
    config: Any = load_text('[collectors.http]\nurl = "http://x"\nheaders.Authorization = "Bearer ${file:token}"')
    secret = config.collectors[0].options.headers["Authorization"]
    assert secret.reveal() == "Bearer one"
    assert secret.reread() is False
    (tmp_path / "token").write_text("two\n")
    assert secret.reread() is True
    assert secret.reveal() == "Bearer two"
    (tmp_path / "token").unlink()
    assert secret.reread() is False
    assert secret.reveal() == "Bearer two"


@pytest.mark.parametrize(
    "value", ["123456", "[1]", "{ a = 1 }", "true", "1979-05-27", '"open-sesame', "open-sesame", "'a' open-sesame"]
)
def test_a_secret_of_the_wrong_type_or_with_a_syntax_error_is_not_shown(faults: Faults, value: str) -> None:
    (found,) = faults(f"[collectors.redis]\npassword = {value}\n")
    assert found.startswith("agent.toml:2:")
    for part in ("123456", "1979", "sesame", "true"):
        assert part not in found.replace("true or false", "")
