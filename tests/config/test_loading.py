from __future__ import annotations

import os
import socket
import threading
import traceback
from pathlib import Path
from typing import Any

import pytest

from config import Config, ConfigError, Duration, ExporterCommon, Secret, Section, Size, find_file, load

from .conftest import Faults, HttpOptions, Kinds, Load, Method, Retry, Step


def test_without_a_file_the_host_is_collected_and_nothing_exported(collectors: Kinds, exporters: Kinds) -> None:
    config = load(None, collectors=collectors, exporters=exporters, environ={"STATE_DIRECTORY": "/s"})
    assert [section.name for section in config.collectors] == ["host"]
    assert config.exporters == () == config.files
    assert config.agent.instance == socket.gethostname()
    assert config.agent.state_dir == "/s"
    assert (config.agent.interval, config.spool.max_size) == (Duration("15s"), Size("512MiB"))


def test_a_kind_takes_a_table_or_an_array_of_tables_and_names_default_to_the_kind(load_text: Load) -> None:
    config = load_text(
        """
        [collectors.host]
        [[collectors.http]]
        url = "http://a/"
        [[collectors.http]]
        name = "api"
        url = "http://b/"
        labels = { team = "x" }
        interval = "1m"
        [[collectors.http]]
        url = "http://c/"
        [exporters.file]
        """
    )
    assert [section.name for section in config.collectors] == ["host", "http", "api", "http-3"]
    assert config.collectors[2].common.labels == {"team": "x"}  # type: ignore[union-attr]  # a collector's
    assert [section.kind for section in config.exporters] == ["file"]


def test_every_sort_of_option_arrives_typed(load_text: Load) -> None:
    config = load_text(
        """
        [collectors.http]
        url = "https://x/"
        method = "POST"
        expect_status = [200, 204]
        body_limit = "4KiB"
        retry = { count = 0, pause = "250ms" }
        steps = [{ metric = "a", factor = 2 }, { metric = "b", every = "1h" }]
        headers = { X-A = "b" }
        bearer_token = "t"
        anything = [1, { a = ["x"] }]
        """
    )
    options = config.collectors[0].options
    assert isinstance(options, HttpOptions)
    assert options == HttpOptions(
        url="https://x/",
        method=Method.POST,
        expect_status=[200, 204],
        body_limit=Size("4KiB"),
        retry=Retry(count=0, pause=Duration("250ms")),
        steps=[Step(metric="a", factor=2.0), Step(metric="b", every=Duration("1h"))],
        headers={"X-A": Secret("b")},
        bearer_token=Secret("t"),
        anything=[1, {"a": ["x"]}],
    )
    assert type(options.steps[0].factor) is float


def test_all_faults_come_at_once_in_order_each_with_place_and_cure(faults: Faults) -> None:
    text = """\
[agent]
interval = 15
log_level = "inof"
colour = 1
[spool]
max_size = "1MiB"
[collectors.redis]
adress = "x"
database = 16
[collectors.reddis]
[[collectors.http]]
retry.count = "3"
retry.cuont = 3
expect_status = [200, 99, "x"]
follow = "yes"
steps = [{ factor = 1 }]
[exporters]
file = 3
[rulez]
"""
    assert faults(text) == [
        'agent.toml:2:12: agent.interval: expected a duration such as "15s" or "1m30s", got 15',
        'agent.toml:3:13: agent.log_level: no such choice; did you mean "info"?',
        "agent.toml:4:1: agent.colour: no such option",
        "agent.toml:6:12: spool.max_size: must be at least 4MiB",
        'agent.toml:8:1: collectors.redis.adress: no such option; did you mean "address"?',
        "agent.toml:9:12: collectors.redis.database: must be at most 15",
        'agent.toml:10:13: collectors.reddis: no such collector; did you mean "redis"?'
        "; there are: broken, dns, host, http, redis",
        "agent.toml:11:14: collectors.http.url: is required: set it to a string",
        'agent.toml:12:15: collectors.http.retry.count: expected a whole number, got "3"',
        'agent.toml:13:7: collectors.http.retry.cuont: no such option; did you mean "count"?',
        "agent.toml:14:23: collectors.http.expect_status[1]: must be at least 100",
        "agent.toml:14:27: collectors.http.expect_status[2]: expected a whole number, got a string",
        "agent.toml:15:10: collectors.http.follow: expected true or false, got a string",
        "agent.toml:16:10: collectors.http.steps[0].metric: is required: set it to a string",
        "agent.toml:18:8: exporters.file: expected a table [exporters.file], or several: [[exporters.file]]",
        'agent.toml:19:2: rulez: no such section; did you mean "rules"?; there are [agent], [spool], [collectors], '
        "[exporters], [[rules]], rule_files",
    ]


def test_a_plugins_own_check_is_reported_at_its_field_or_its_section(faults: Faults) -> None:
    text = """\
[[collectors.http]]
url = "ftp://x"
[[collectors.http]]
url = "http://x"
password = "p"
username = "u"
bearer_token = "b"
"""
    assert faults(text) == [
        "agent.toml:2:7: collectors.http.url: must begin with http:// or https://, not ftp://x",
        "agent.toml:7:16: collectors.http.bearer_token: is one way to log in and `username` another: set only one",
    ]


def test_a_plugins_own_check_is_told_beside_the_faults_of_its_options(faults: Faults) -> None:
    text = """\
[[collectors.http]]
url = "ftp://x"
folow = true
body_limit = 1
[[collectors.http]]
retry.count = 11
bearer_token = "b"
username = "u"
"""
    assert faults(text) == [
        "agent.toml:2:7: collectors.http.url: must begin with http:// or https://, not ftp://x",
        'agent.toml:3:1: collectors.http.folow: no such option; did you mean "follow"?',
        'agent.toml:4:14: collectors.http.body_limit: expected a size such as "512MiB", got 1',
        "agent.toml:5:14: collectors.http.url: is required: set it to a string",
        "agent.toml:6:15: collectors.http.retry.count: must be at most 10",
        "agent.toml:7:16: collectors.http.bearer_token: is one way to log in and `username` another: set only one",
    ]


def test_a_plugins_own_check_says_nothing_of_options_that_are_faulty_already(faults: Faults) -> None:
    text = """\
[agent]
listen = ":1"
token = "${env:NOT_SET}"
[exporters.remote_write]
url = "http://x"
username = 1
password = "p"
"""
    assert [line.partition(": ")[2].partition(":")[0] for line in faults(text)] == [
        "agent.token",
        "exporters.remote_write.username",
    ]


def test_an_option_that_was_probably_meant_is_not_asked_for_again(faults: Faults) -> None:
    """Neither at the section nor deeper; and what stands in for it is tried out by nobody."""
    assert faults('[collectors.http]\nurll = "x"') == [
        'agent.toml:2:1: collectors.http.urll: no such option; did you mean "url"?'
    ]
    assert faults('[collectors.http]\nurl = "http://x"\nsteps = [{ metrik = "m" }]') == [
        'agent.toml:3:12: collectors.http.steps[0].metrik: no such option; did you mean "metric"?'
    ]


@pytest.mark.parametrize("table", ["agent", "collectors.host"])
def test_label_names_that_prometheus_keeps_for_itself_are_refused(faults: Faults, table: str) -> None:
    (fault,) = faults(f'[{table}]\nlabels = {{ __name__ = "x" }}')
    assert fault.startswith(f"agent.toml:2:12: {table}.labels.__name__: expected a label name: ")


def test_job_and_instance_are_no_labels_of_the_whole_agent(faults: Faults) -> None:
    assert faults('[agent]\n[agent.labels]\njob = "x"\ninstance = "y"\n[collectors.host.labels]\njob = "z"') == [
        "agent.toml:3:1: agent.labels.job: tells collectors apart: set it in a collector's own `labels`",
        "agent.toml:4:1: agent.labels.instance: is what `agent.instance` says: set that",
    ]


@pytest.mark.parametrize(
    ("line", "fault"),
    [
        ('proxy = "foo"', "2:9: collectors.http.proxy: expected a URL"),
        ('proxy = "http://proxy:99999"', "2:9: collectors.http.proxy: expected a URL"),
        ('headers = { "a b" = "x" }', '2:13: collectors.http.headers."a b": expected a header\'s name'),
        ('headers = { a = "x\\n" }', "2:17: collectors.http.headers.a: expected a string without line breaks"),
        ('headers = { a = "${env:BROKEN}" }', "2:17: collectors.http.headers.a: the value of ${env:BROKEN}: expected"),
        ('bearer_token = "${env:BROKEN}"', "2:16: collectors.http.bearer_token: the value of ${env:BROKEN}: expected"),
    ],
)
def test_what_no_request_could_carry_is_refused(faults: Faults, line: str, fault: str) -> None:
    (found,) = faults(f'[collectors.http]\n{line}\nurl = "http://x"', environ={"BROKEN": "open\nsesame"})
    assert found.startswith(f"agent.toml:{fault}")
    assert "sesame" not in found


def test_every_sound_part_is_tried_out_and_what_it_says_then_stands_at_its_place(
    tmp_path: Path, collectors: Kinds, exporters: Kinds
) -> None:
    path = tmp_path / "agent.toml"
    path.write_text(
        "[agent]\ninterval = 1\n[spool]\n"
        "[collectors.http]\nurl = 'http://x'\npassword = 'open-sesame'\nusername = 'u'\n"
        "[exporters.file]\n"
    )
    tried = []

    def trial(part: object) -> None:
        tried.append(part)
        if isinstance(part, Section) and isinstance(part.options, HttpOptions):
            raise ValueError("url: is unknown to open-sesame", "and more")

    with pytest.raises(ConfigError) as caught:
        load(str(path), collectors=collectors, exporters=exporters, trial=trial)
    assert str(caught.value).replace(f"{path}:", "").splitlines() == [
        '2:12: agent.interval: expected a duration such as "15s" or "1m30s", got 1',
        "4:13: collectors.http: and more",
        "5:7: collectors.http.url: is unknown to ***",
    ]
    assert [getattr(part, "name", "spool") for part in tried] == ["spool", "http", "file"]


def test_a_check_may_name_a_key_of_a_table_and_one_that_is_not_written_falls_back_to_the_section(
    tmp_path: Path, collectors: Kinds, exporters: Kinds
) -> None:
    path = tmp_path / "agent.toml"
    path.write_text("[collectors.http]\nurl = 'http://x'\nretry = { count = 1 }\n")

    def trial(part: object) -> None:
        if isinstance(part, Section):
            raise ValueError("retry.count: is odd", "retry.pause: is odd", "url.x: is odd", "steps.x: is odd")

    with pytest.raises(ConfigError) as caught:
        load(str(path), collectors=collectors, exporters=exporters, trial=trial)
    assert str(caught.value).replace(f"{path}:", "").splitlines() == [
        "1:13: collectors.http: retry.pause: is odd",
        "1:13: collectors.http: steps.x: is odd",
        "1:13: collectors.http: url.x: is odd",
        "3:11: collectors.http.retry.count: is odd",
    ]


def test_what_a_plugin_repeats_is_masked_if_it_is_a_secret_anywhere(faults: Faults) -> None:
    text = '[collectors.http]\nurl = "open-sesame"\n[collectors.redis]\npassword = "open-sesame"\n'
    assert faults(text) == ["agent.toml:2:7: collectors.http.url: must begin with http:// or https://, not ***"]


def test_a_collector_whose_driver_is_missing_is_a_fault(faults: Faults) -> None:
    assert faults("[collectors.broken]") == [
        "agent.toml:1:13: collectors.broken: this collector cannot be loaded: No module named 'somedriver'"
    ]


@pytest.mark.parametrize(
    ("listen", "more", "accepted"),
    [
        ("127.0.0.1:9464", "", True),
        ("localhost:1", "", True),
        ("[::1]:9464", "", True),
        ("127.9.9.9:0", "", True),
        ("", "", True),
        ("0.0.0.0:9464", "", False),
        (":9464", "", False),
        ("[::]:9464", "", False),
        ("example.org:9464", "", False),
        ("0.0.0.0:9464", 'token = "x"', True),
        ("0.0.0.0:9464", 'token = ""', False),
        ("0.0.0.0:9464", "insecure = true", True),
        ("0.0.0.0:9464", 'client_ca_file = "ca"\ncert_file = "c"\nkey_file = "k"', True),
        ("0.0.0.0:9464", 'client_ca_file = "ca"', False),
        ("::1:9464", "", False),
        ("localhost", "", False),
        ("localhost:70000", "", False),
        ("localhost:http", "", False),
    ],
)
def test_listening_beyond_this_machine_needs_a_token_client_certificates_or_the_word_insecure(
    faults: Faults, listen: str, more: str, accepted: bool
) -> None:
    found = faults(f'[agent]\nlisten = "{listen}"\n{more}')
    assert (found == []) is accepted
    assert all(line.startswith(("agent.toml:2:10: agent.listen: ", "agent.toml:3:")) for line in found)


def test_conf_d_is_merged_in_name_order(load_text: Load, tmp_path: Path) -> None:
    config = load_text(
        '[agent]\ninterval = "5s"\nlabels = { a = "1" }\n'
        '[collectors.http]\nurl = "http://1"\n[collectors.redis]\ndatabase = 1',
        '[agent]\ntimeout = "4s"\ninterval = "5s"\nlabels.b = "2"\n'
        '[[collectors.http]]\nurl = "http://2"\n[collectors.redis]\naddress = "x"',
        '[collectors.http]\nurl = "http://3"\n',
    )
    assert config.agent.labels == {"a": "1", "b": "2"}
    assert (config.agent.interval, config.agent.timeout) == (5, 4)
    http = [section for section in config.collectors if section.kind == "http"]
    assert [section.options.url for section in http] == ["http://1", "http://2", "http://3"]  # type: ignore[attr-defined]
    assert [section.name for section in config.collectors] == ["http", "http-2", "http-3", "redis"]
    assert config.files == tuple(f"{tmp_path}/{name}" for name in ("agent.toml", "conf.d/1.toml", "conf.d/2.toml"))
    assert config.places["collectors", "redis", "address"].file.endswith("conf.d/1.toml")


def test_what_two_files_say_differently_is_a_fault_that_names_both(faults: Faults, tmp_path: Path) -> None:
    found = faults('[agent]\ninterval = "5s"\ntoken = "left"', '[agent]\ninterval = "6s"\ntoken = { a = 1 }\n[[spool]]')
    assert [line.replace(f"{tmp_path}/", "") for line in found] == [
        "conf.d/1.toml:2:1: agent.interval: is set already at agent.toml:2:1, to something else: keep one of them",
        "conf.d/1.toml:3:1: agent.token: is set already at agent.toml:3:1, to something else: keep one of them",
        "conf.d/1.toml:4:3: spool: expected a table: [spool]",
    ]


def test_hidden_and_other_files_in_conf_d_are_left_alone(load_text: Load, tmp_path: Path) -> None:
    (tmp_path / "conf.d").mkdir()
    (tmp_path / "conf.d" / ".a.toml").write_text("nonsense")
    (tmp_path / "conf.d" / "a.toml~").write_text("nonsense")
    assert len(load_text("").files) == 1


def test_names_are_unique_on_each_side_and_of_a_plain_form(faults: Faults) -> None:
    text = """\
[[collectors.http]]
name = "host"
url = "http://a"
[collectors.host]
[collectors.redis]
name = "a b"
[exporters.file]
name = "host"
[exporters.remote_write]
url = "x"
name = "${env:N}"
"""
    assert faults(text, environ={"N": "n"}) == [
        "agent.toml:4:13: collectors.host.name: the collector at agent.toml:2:1 has this name already: "
        "names must differ",
        "agent.toml:6:8: collectors.redis.name: expected 1 to 64 letters, digits, `_`, `.` or `-`",
        "agent.toml:11:8: exporters.remote_write.name: a name shows everywhere, so it is written out: "
        "no references here",
    ]


def test_an_option_that_a_plugin_shares_with_all_counts_for_both(load_text: Load) -> None:
    config = load_text('[exporters.remote_write]\nurl = "x"\ntimeout = "5s"\n[collectors.dns]\nname = "*.example.org"')
    assert config.exporters[0].common == ExporterCommon(timeout=Duration("5s"))
    assert config.collectors[0].name == "dns"


def test_sections_compare_by_value_so_that_a_reload_sees_what_changed(load_text: Load) -> None:
    environ = {"P": "one"}
    text = '[collectors.redis]\npassword = "${env:P}"\n[collectors.host]'
    one, again = load_text(text, environ=environ), load_text("\n" + text, environ=environ)
    other = load_text(text, environ={"P": "two"})
    assert one.collectors == again.collectors
    assert one.collectors[0] != other.collectors[0]
    assert one.collectors[1] == other.collectors[1]


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        (b"a = \xff", "agent.toml:1:5: not UTF-8 from here on: save the file as UTF-8"),
        (b"\xef\xbb\xbfa\r\n\xc3\xa9\xff", "agent.toml:2:2: not UTF-8 from here on: save the file as UTF-8"),
        (b"a = '\0'", "agent.toml:1:6: a control character; only tabs may stand in a string or a comment"),
        (b"a = " + b"[" * 1_000_000, "agent.toml:1:69: nested more than 64 levels deep"),
        (b"a." * 500_000, "agent.toml:1:129: nested more than 64 levels deep"),
        (b"#" * (1 << 20) + b"#", "agent.toml: is larger than 1048576 bytes"),
        (b"a = " + b"9" * 5000, "agent.toml:1:5: a number with too many digits"),
        (b"[agent]\ntoken = 'sesame", "agent.toml:2:16: the string does not end"),
        (b"[agent]\ntoken = sesame", "agent.toml:2:9: not a value; strings need quotation marks"),
        (b"[agent]\ntoken =\n\n", "agent.toml:2:8: a value is missing"),
        (b"[agent]\ntoken = # none\n", "agent.toml:2:9: a value is missing"),
        (b"a = [\n", "agent.toml:1:6: the array does not end"),
        (b"a = [1,\n\n\n", "agent.toml:1:8: the array does not end"),
    ],
)
def test_what_is_no_toml_is_refused_at_its_place(faults: Faults, content: bytes, fault: str) -> None:
    assert faults(content) == [fault]


@pytest.mark.parametrize(
    ("text", "second", "first"),
    [
        ('[agent]\ninterval = "1s"\n interval = [\n"2s", ]', "3:2: agent.interval", "2:1"),
        ("[spool]\n[agent]\n[spool]\n", "3:2: spool", "1:2"),
        ("[[collectors.http]]\na = 1\n[[collectors.http]]\na = 1\na = 2", "5:1: collectors.http.a", "4:1"),
        ("agent.labels = { a = {}, b = [{ c = 1 }], a = { d = 1 } }", "1:43: agent.labels.a", "1:18"),
        ("a.b = [[1, { 'c d' = 1, 'c d' = 2 }]]", '1:25: a.b."c d"', "1:14"),
        ("a.b = 1\n[a]", "2:2: a", "1:1"),
        ("[a]\n[[a]]", "2:3: a", "1:2"),
    ],
)
def test_a_key_that_is_written_twice_is_named_with_both_places(
    faults: Faults, text: str, second: str, first: str
) -> None:
    (fault,) = faults(text)
    assert fault == f"agent.toml:{second}: is written already at agent.toml:{first}: it can stand only once"


def test_a_section_that_is_written_twice_is_told_how_several_are_written(faults: Faults) -> None:
    assert faults("[collectors.redis]\n[collectors.redis]")[0].endswith(
        "it can stand only once; for several, write [[collectors.redis]] at the head of each"
    )


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("a = 1\na.b = 2", "2:3: a.b: its name, or part of it, is already taken by a value"),
        ("a = {}\na.b = 1", "2:3: a.b: an inline table or array is complete as written and cannot be added to"),
        ("[a.b]\n[a]\nb.c = 1", "3:3: a.b.c: this table is complete as written and cannot be added to by a dotted key"),
    ],
)
def test_a_key_that_cannot_stand_where_it_stands_is_named(faults: Faults, text: str, fault: str) -> None:
    assert faults(text) == [f"agent.toml:{fault}"]


def test_a_file_that_cannot_be_read_hides_no_fault_of_the_others_and_makes_none(faults: Faults) -> None:
    """The url, and the name that goes with the password, may stand in the file that is broken."""
    assert faults('[collectors.http]\npassword = "x"\nfolow = true\nretry.count = 11\nmethod = "GET"', "= 1") == [
        'agent.toml:3:1: collectors.http.folow: no such option; did you mean "follow"?',
        "agent.toml:4:15: collectors.http.retry.count: must be at most 10",
        "conf.d/1.toml:1:1: invalid statement",
    ]


def test_windows_line_ends_and_a_byte_order_mark_are_taken(load_text: Load) -> None:
    config = load_text(b'\xef\xbb\xbf[agent]\r\ninterval = "5s"\r\n')
    assert (config.places["agent", "interval"].line, config.places["agent", "interval"].column) == (2, 1)


def refused(path: Path | str, collectors: Kinds, exporters: Kinds) -> str:
    with pytest.raises(ConfigError) as caught:
        load(str(path), collectors=collectors, exporters=exporters)
    return str(caught.value)


def test_what_is_no_regular_file_is_refused_without_waiting(
    tmp_path: Path, collectors: Kinds, exporters: Kinds
) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    tables = (collectors, exporters)
    before = threading.active_count()
    assert refused(fifo, *tables) == f"{fifo}: is no regular file"
    assert refused(tmp_path, *tables) == f"{tmp_path}: is a directory"
    assert refused(tmp_path / "none", *tables) == f"{tmp_path}/none: there is no such file"
    assert refused("a\0b", *tables) == "'a\\x00b': is no possible file name"
    assert refused("x" * 5000, *tables).endswith(": cannot be read: File name too long")
    assert threading.active_count() == before


def test_an_unreadable_conf_d_is_a_fault(faults: Faults, tmp_path: Path) -> None:
    (tmp_path / "conf.d").write_text("")
    assert faults("") == ["conf.d: cannot be read: Not a directory"]


def test_the_file_is_found_where_it_is_said_then_in_the_environment_then_here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("NIGHTJAR_CONFIG", raising=False)
    monkeypatch.setattr("config.loading.CANDIDATES", ("agent.toml", str(tmp_path / "etc.toml")))
    assert find_file(None) is None
    (tmp_path / "etc.toml").touch()
    assert find_file(None) == str(tmp_path / "etc.toml")
    (tmp_path / "agent.toml").touch()
    assert find_file(None) == "agent.toml"
    monkeypatch.setenv("NIGHTJAR_CONFIG", "other.toml")
    assert find_file(None) == "other.toml"
    assert find_file("said.toml") == "said.toml"


def test_the_repr_of_a_configuration_names_its_sections_only(load_text: Load) -> None:
    config: Any = load_text("[collectors.host]")
    assert isinstance(config, Config)
    assert repr(config).startswith("Config(collectors=(Section(kind='host', name='host'),), exporters=(), files=(")


def test_a_traceback_with_locals_shows_nothing_that_was_configured(
    tmp_path: Path, collectors: Kinds, exporters: Kinds, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TOKEN", "open-sesame")
    path = tmp_path / "agent.toml"
    path.write_text('[agent]\ntoken = "open-says-me"\n[collectors.redis]\npassword = "${env:TOKEN}"\nadress = 1')
    with pytest.raises(ConfigError) as caught:
        load(str(path), collectors=collectors, exporters=exporters)
    shown = "".join(traceback.TracebackException.from_exception(caught.value, capture_locals=True).format())
    assert "no such option" in shown
    assert "open-sesame" not in shown
    assert "open-says-me" not in shown
