"""`nightjar config` and `nightjar plugins`."""

from __future__ import annotations

import json
import re
import stat
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from agent.cli import nightjar


def call(*arguments: str) -> Result:
    return CliRunner().invoke(nightjar, arguments, catch_exceptions=False)


@pytest.fixture
def config(tmp_path: Path) -> Path:
    (tmp_path / "token").write_text("hunter2-token\n")
    path = tmp_path / "agent.toml"
    path.write_text(f"""
        [agent]
        state_dir = "{tmp_path}"
        [collectors.host]
        [exporters.remote_write]
        url = "http://127.0.0.1:1/write"
        bearer_token = "${{file:token}}"
    """)
    return path


def test_check_names_what_is_configured(config: Path) -> None:
    result = call("config", "check", "-c", str(config))
    assert result.exit_code == 0
    assert "remote_write" in result.stdout
    assert "512MiB" in result.stdout


def test_check_shows_every_fault_with_its_place_and_exits_78(tmp_path: Path) -> None:
    path = tmp_path / "agent.toml"
    path.write_text('[agent]\ninterval = 15\n[colectors.host]\n[exporters.remote_write]\nurrl = "http://a/"\n')
    result = call("config", "check", "-c", str(path))
    assert result.exit_code == 78
    assert f"{path}:2:12: agent.interval: " in result.stderr
    assert 'did you mean "collectors"?' in result.stderr
    assert 'did you mean "url"?' in result.stderr


def test_check_refuses_a_plugin_whose_files_cannot_be_read(config: Path) -> None:
    config.write_text(config.read_text().replace("file:token", "file:missing"))
    result = call("config", "check", "-c", str(config))
    assert result.exit_code == 78
    assert "Traceback" not in result.output


def test_check_shows_at_once_what_options_say_and_what_files_hold(tmp_path: Path) -> None:
    """Types, unknown options, checks of several options together, and certificates that only a start would read."""
    path = tmp_path / "agent.toml"
    path.write_text(
        f"""[agent]
cert_file = "{tmp_path}/none.pem"
[collectors.host]
disable = ["processe"]
mounts_include = "("
[exporters.remote_write]
url = "ftp://a/"
urll = "http://a/"
[exporters.file]
keep = "no"
"""
    )
    result = call("config", "check", "-c", str(path))
    assert result.exit_code == 78
    assert [line.removeprefix(f"{path}:").partition(" ")[0] for line in result.stderr.splitlines()] == [
        "2:13:", "4:12:", "5:18:", "7:7:", "8:1:", "9:12:", "10:8:"
    ], result.stderr  # fmt: skip


def test_every_fault_of_a_plugins_own_check_stands_at_its_option(tmp_path: Path) -> None:
    path = tmp_path / "agent.toml"
    path.write_text(
        """[collectors.host]
mounts_exclude = "("
disks_exclude = "("
enable = "interrupts"
[exporters.remote_write]
url = "http://a:99999/"
proxy = "foo"
tenant = "a\\nb"
"""
    )
    assert [line.removeprefix(f"{path}:") for line in call("config", "check", "-c", str(path)).stderr.splitlines()] == [
        "2:18: collectors.host.mounts_exclude: is no regular expression: missing ), unterminated subpattern at "
        "position 0",
        "3:17: collectors.host.disks_exclude: is no regular expression: missing ), unterminated subpattern at "
        "position 0",
        "4:10: collectors.host.enable: expected an array, got a string",
        "6:7: exporters.remote_write.url: the port is beyond 65535",
        '7:9: exporters.remote_write.proxy: expected a URL such as "http://proxy.example.com:3128"',
        "8:10: exporters.remote_write.tenant: expected a string without line breaks and other control characters",
    ]


def test_the_files_of_a_network_client_are_tried(config: Path) -> None:
    config.write_text(f'{config.read_text()}ca_file = "{config.parent}/none.pem"\ncert_file = "{config}"\n')
    assert call("config", "check", "-c", str(config)).stderr.splitlines() == [
        f"{config}:8:15: exporters.remote_write.ca_file: {config.parent}/none.pem: there is no such file",
        f"{config}:9:13: exporters.remote_write.cert_file: {config} holds no certificate in PEM",
    ]


def test_a_broken_plugin_is_refused_at_its_section(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(self: object, options: object, timeout: float) -> None:
        raise ValueError("url: is one I do not like")

    monkeypatch.setattr("exporters.remote_write.RemoteWrite.__init__", broken)
    result = call("config", "check", "-c", str(config))
    assert (result.exit_code, result.stderr) == (
        78,
        f"{config}:6:15: exporters.remote_write.url: is one I do not like\n",
    )


def test_a_choice_that_is_nearly_right_is_corrected_without_a_list_of_all(config: Path) -> None:
    config.write_text(config.read_text().replace("[collectors.host]", '[collectors.host]\nenable = ["cpuu"]'))
    fault = call("config", "check", "-c", str(config)).stderr
    assert fault.endswith('collectors.host.enable[0]: no such choice; did you mean "cpu"?\n')


def test_show_tells_where_each_option_comes_from_and_hides_secrets(config: Path) -> None:
    result = call("config", "show", "-c", str(config))
    assert f'url = "http://127.0.0.1:1/write"  # {config}:6' in result.stdout
    assert 'interval = "15s"  # default' in result.stdout
    assert "hunter2" not in result.output
    shown = json.loads(call("config", "show", "--json", "-c", str(config)).stdout)
    assert shown["exporters"]["remote_write"]["bearer_token"]["value"] == "***"


RULES = """
[[rules]]
alert = "Mine"
expr = "node_load1 > 9"
[[rules]]
alert = "RedisDown"
for = "9m"
[[rules]]
alert = "RedisRejectedConnections"
enabled = false
"""
RULE_FILE = "groups: [{name: g, rules: [{record: 'a:b', expr: sum(up)}, {alert: Theirs, expr: up == 0}]}]\n"


def ruled(config: Path, rules: str = RULES, rule_file: str = RULE_FILE) -> str:
    """A configuration with Redis, rules and a rule file; its path."""
    (config.parent / "rules.yml").write_text(rule_file)
    config.write_text(f'rule_files = ["*.yml"]\n[collectors.redis]\n{config.read_text()}{rules}')
    return str(config)


def test_check_counts_the_rules_in_force(config: Path) -> None:
    result = call("config", "check", "-c", ruled(config))
    found = re.search(r"rules: (\d+) in force, (\d+) switched off; 2 of them from 1 file\n", result.stdout)
    assert found is not None, result.output
    assert int(found[1]) > 3
    assert found[2] == "1"


def test_check_compiles_what_rules_say_and_refuses_it_at_its_place(config: Path) -> None:
    rules = '[[rules]]\nalert = "A"\nexpr = "rate(x)"\nannotations.summary = "{{ $value"\n'
    result = call("config", "check", "-c", ruled(config, rules, RULE_FILE.replace("sum(up)", "sum(")))
    faults = [line.split(": ", 2)[:2] for line in result.stderr.splitlines()]
    assert (result.exit_code, faults) == (
        78,
        [
            [f"{config}:12:8", "rules[0].expr"],
            [f"{config}:13:13", "rules[0].annotations.summary"],
            [f"{config.parent}/rules.yml:1:50", "groups[0].rules[0].expr"],
        ],
    )


def test_show_lists_the_rules_in_force_with_where_they_come_from(config: Path) -> None:
    lines = call("config", "show", "-c", ruled(config)).stdout.splitlines()
    rules = {lines[at + 1]: line for at, line in enumerate(lines) if line.startswith("[[rules]]")}
    assert rules['alert = "Mine"'] == f"[[rules]]  # {config}:11"
    assert rules['alert = "RedisDown"'] == f"[[rules]]  # {config}:14, over the default of redis"
    assert rules['alert = "Theirs"'] == f"[[rules]]  # {config.parent}/rules.yml:1"
    assert "[[rules]]  # default of redis" in rules.values()
    assert f'# "RedisRejectedConnections" is switched off  # {config}:17' in lines
    assert f'# "a:b" records "sum(up)"  # {config.parent}/rules.yml:1' in lines


def test_init_writes_an_example_that_is_accepted_and_never_overwrites(tmp_path: Path) -> None:
    path = tmp_path / "new.toml"
    assert call("config", "init", str(path)).exit_code == 0
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert call("config", "check", "-c", str(path)).exit_code == 0
    again = call("config", "init", str(path))
    assert again.exit_code == 1
    assert "--force" in again.stderr
    assert call("config", "init", "--force", str(path)).exit_code == 0


def test_what_becomes_of_a_rule_in_another_way_than_meant_is_noted(tmp_path: Path) -> None:
    (tmp_path / "a.yml").write_text(
        "groups: [{name: a, rules: [{alert: A, expr: x > 1, labels: {severity: page}, "
        "annotations: {summary: '{{ query \"x\" }}'}}]}]\n"
    )
    file = tmp_path / "agent.toml"
    file.write_text(f'rule_files = ["a.yml"]\n[agent]\nstate_dir = "{tmp_path}"\n')
    notes = call("config", "check", "-c", str(file)).stderr
    assert "a.yml:1: A: the severity 'page' counts as warning" in notes
    assert "a.yml:1: A: summary is shown as it is written" in notes


def test_schema_is_json_schema() -> None:
    schema = json.loads(call("config", "schema").stdout)
    assert schema["$schema"].endswith("2020-12/schema")
    assert "remote_write" in schema["properties"]["exporters"]["properties"]


def test_plugins_lists_and_describes() -> None:
    listed = json.loads(call("plugins", "--json").stdout)
    assert {one["kind"] for one in listed} >= {"host", "remote_write", "file"}
    assert all(one["usable"] for one in listed)
    described = call("plugins", "remote_write").stdout
    assert "url" in described
    assert "required" in described
    assert "[exporters.remote_write]" in described
    assert "node_load1" in call("plugins", "host").stdout


def test_plugins_shows_what_all_of_a_side_take_apart_from_a_plugins_own_options() -> None:
    own, common = call("plugins", "remote_write").stdout.split("every exporter takes")
    assert "max_samples" in own
    assert re.search(r'name +a string +"remote_write"', common)
    assert re.search(r'timeout +a duration such as "15s" or "1m30s" +"30s"', common)
    document = json.loads(call("plugins", "host", "--json").stdout)
    assert [option["name"] for option in document["common"]] == ["name", "interval", "timeout", "labels"]
    assert document["common"][1]["default"] == "that of [agent]"


def test_an_unknown_command_is_corrected() -> None:
    result = call("runn")
    assert result.exit_code == 2
    assert 'did you mean "run"?' in result.stderr


def test_an_unknown_plugin_is_corrected() -> None:
    result = call("plugins", "hots")
    assert result.exit_code == 1
    assert 'did you mean "host"?' in result.stderr
