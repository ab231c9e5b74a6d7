"""The MySQL collector: what URLs, texts and packets mean."""

from __future__ import annotations

import contextlib
import struct
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.model import Histogram, Sample, gauge
from collectors.mysql import METRICS, Mysql, Options, parse_url
from collectors.mysql.errors import FAILURES, TROUBLES, Failed, Refused, trouble_of
from collectors.mysql.innodb import CMP, parse_times, read_rows
from collectors.mysql.login import Account, encode_login, parse_greeting, parse_switch
from collectors.mysql.parts import PARTS
from collectors.mysql.replication import Replication, queries
from collectors.mysql.session import Server, limits, parse_row, parse_version
from collectors.mysql.status import Status
from collectors.mysql.values import MOST, Named, parse_value
from collectors.mysql.variables import Variables, parse_cache_size
from config import Duration, Secret

NONCE = b"0123456789abcdefghij"

# -- the address ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "instance", "user"),
    [
        ("mysql://db", "db:3306", "nightjar"),
        ("mariadb://me:pw@db:6000/?sslmode=require", "db:6000", "me"),
        ("mysql://a%40b@[::1]:3307", "[::1]:3307", "a@b"),
        ("mysql://me:pw@/?socket=/run/mysqld/mysqld.sock", "/run/mysqld/mysqld.sock", "me"),
    ],
)
def test_a_url_is_one_server(url: str, instance: str, user: str) -> None:
    target = parse_url(url)
    assert (target.instance, target.user) == (instance, user)
    assert "pw" not in repr(target)


@pytest.mark.parametrize(
    "url",
    [
        *("postgres://s3cret@db", "mysql://s3cret@a,b", "mysql://s3cret@db:99999", "s3cret", "mysql://s3cret@db/x"),
        *("mysql://db?s3cret=1", "mysql://db?sslmode=s3cret", "mysql://db/?socket=/s3cret", "mysql:///?socket=s3cret"),
        "mysql://[",
    ],
)
def test_what_is_wrong_with_a_url_is_told_without_it(url: str) -> None:
    with pytest.raises(ValueError, match=r".") as told:
        Options(url=url)
    assert "s3cret" not in str(told.value)


@given(st.text())
def test_any_text_is_a_target_or_a_value_error(text: str) -> None:
    with contextlib.suppress(ValueError):
        assert parse_url(text).instance


@pytest.mark.parametrize(
    ("more", "mode"),
    [
        ({}, "prefer"),
        ({"ca_file": "x"}, "verify-full"),
        ({"server_name": "x"}, "verify-full"),
        ({"insecure_skip_verify": True}, "require"),
        ({"url": "mysql://db?sslmode=disable"}, "disable"),
    ],
)
def test_tls_is_what_the_options_amount_to(more: dict[str, object], mode: str) -> None:
    assert Options(**more).sslmode == mode  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "more",
    [
        {"url": "mysql://a:b@c", "password": Secret("x")},
        {"key_file": "x"},
        {"url": "mysql://c?sslmode=disable", "ca_file": "x"},
        {"url": "mysql://c?sslmode=verify-full", "insecure_skip_verify": True},
        {"url": "mysql:///?socket=/s", "ca_file": "x"},
        {"disable": ("nothing",)},
    ],
)
def test_options_that_contradict_each_other_are_faults(more: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"."):
        Options(**more)  # type: ignore[arg-type]


def test_parts_can_be_left_out() -> None:
    names = [part.name for part in PARTS]
    assert [part.name for part in Mysql(Options(disable=tuple(names[1:])))._parts] == names[:1]


# -- values -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        *(("0", 0.0), ("18446744073709551615", 18446744073709551615.0), ("-1", -1.0), ("1.5e3", 1500.0), (".5", 0.5)),
        *(("ON", 1.0), ("Yes", 1.0), ("OFF", 0.0), ("no", 0.0), ("DISABLED", 0.0), ("Connecting", 0.0)),
        *(("Primary", 1.0), ("non-Primary", 0.0), ("Disconnected", 0.0)),
        ("Jan  2 15:04:05 2026 GMT", 1767366245.0),
        ("2026-01-02 15:04:05", 1767366245.0),
        *((None, None), ("", None), ("0000-00-00 00:00:00", None), ("Foo  2 15:04:05 2026 GMT", None)),
        *(("nan", None), ("inf", None), ("1e999", None), ("1_000", None), ("0x1f", None), ("1 ", None)),
        *(("mysql-bin.000012", None), ("10.11.19", None), ("utf8mb4", None), ("\u0661", None)),
    ],
)
def test_texts_are_numbers_words_or_moments(text: str | None, expected: float | None) -> None:
    assert parse_value(text) == expected


@given(st.text())
def test_no_text_is_too_odd(text: str) -> None:
    value = parse_value(text)
    assert value is None or value - value == 0


def test_families_by_name_stay_the_same_and_are_bounded() -> None:
    named = Named("x", gauge, "")
    assert named["a"] is named["a"]
    for at in range(MOST + 10):
        assert named[str(at)].name == f"x_{at}"
    assert len(named._families) <= MOST


# -- what the server tells --------------------------------------------------------------------------------------------


def told(samples: list[Sample]) -> dict[tuple[str, ...], object]:
    return {(one.family.name, *one.labels[1:]): one.value for one in samples}


def test_status_is_a_family_each_and_some_groups_have_labels() -> None:
    status = "mysql_global_status"
    rows = [
        *(("Threads_connected", "3"), ("Com_select", "7"), ("Handler_read_key", "1"), ("Innodb_rows_read", "2")),
        *(("Connection_errors_accept", "0"), ("Performance_schema_users_lost", "4"), ("Tc.log-size", "9")),
        *(("Innodb_buffer_pool_pages_data", "5"), ("Innodb_buffer_pool_pages_dirty", "6")),
        *(("Innodb_buffer_pool_pages_total", "100"), ("Innodb_buffer_pool_pages_flushed", "8"), ("Rpl_status", "AUTH")),
    ]
    assert told([*Status().read("i", rows)]) == {
        (f"{status}_threads_connected",): 3.0,
        (f"{status}_tc_log_size",): 9.0,
        (f"{status}_commands_total", "select"): 7.0,
        (f"{status}_handlers_total", "read_key"): 1.0,
        (f"{status}_innodb_row_ops_total", "read"): 2.0,
        (f"{status}_connection_errors_total", "accept"): 0.0,
        (f"{status}_performance_schema_lost_total", "users_lost"): 4.0,
        (f"{status}_buffer_pool_pages", "data"): 5.0,
        (f"{status}_buffer_pool_dirty_pages",): 6.0,
        (f"{status}_buffer_pool_page_changes_total", "flushed"): 8.0,
    }


def test_a_galera_cluster_is_told() -> None:
    rows = [
        *(("wsrep_local_state_uuid", "a-b"), ("wsrep_cluster_state_uuid", "c"), ("wsrep_provider_version", "4")),
        *(("wsrep_cluster_status", "Primary"), ("wsrep_evs_repl_latency", "0.1/0.2/0.3/0.4/5")),
    ]
    found = told([*Status().read("i", rows)])
    assert found["mysql_galera_status_info", "a-b", "c", ""] == 1  # the version is a number, and told as one
    assert found["mysql_global_status_wsrep_cluster_status",] == 1
    assert found["mysql_galera_evs_repl_latency_sample_size",] == 5
    odd = [("wsrep_evs_repl_latency", "0.1/x/0.3/0.4/5"), ("wsrep_local_state_uuid", "")]
    assert [*Status().read("i", odd)] == []
    texts = [("wsrep_cluster_name", "c"), ("wsrep_provider_options", "a = 1; gcache.size = 128M; b = 2;")]
    found = told([*Variables().read("i", texts)])
    assert found["mysql_galera_variables_info", "c"] == 1
    assert found["mysql_galera_gcache_size_bytes",] == 128 << 20
    assert parse_cache_size("nothing") == 0


def test_variables_are_gauges_and_the_version_is_in_labels() -> None:
    rows = [
        *(("max_connections", "151"), ("read_only", "OFF"), ("version", "8.0.36"), ("version_comment", "x" * 999)),
        *(("innodb_version", "8.0.36"), ("transaction_isolation", "READ-COMMITTED"), ("datadir", "/var/lib/mysql/")),
    ]
    assert told([*Variables().read("i", rows)]) == {
        ("mysql_global_variables_max_connections",): 151.0,
        ("mysql_global_variables_read_only",): 0.0,
        ("mysql_version_info", "8.0.36", "8.0.36", "x" * 256): 1.0,
        ("mysql_transaction_isolation", "READ-COMMITTED"): 1.0,
    }
    old = told([*Variables().read("i", [("tx_isolation", "SERIALIZABLE")])])
    assert ("mysql_transaction_isolation", "SERIALIZABLE") in old


@pytest.mark.parametrize(
    ("columns", "row", "labels"),
    [
        (("Master_Host", "Master_UUID", "Channel_Name"), ("h", "u", "c"), ("h", "u", "c", "")),
        (("Source_Host", "Source_UUID", "Channel_Name"), ("h", "u", None), ("h", "u", "", "")),
        (("Connection_name", "Master_Host"), ("n", "h"), ("h", "", "", "n")),
    ],
)
def test_every_source_of_a_replica_has_its_labels(
    columns: tuple[str, ...], row: tuple[str | None, ...], labels: tuple[str, ...]
) -> None:
    more = ("Slave_IO_Running", "Seconds_Behind_Master", "Gtid_IO_Pos", "Gtid_Slave_Pos")
    rows = [(*row, "Connecting", None, "0-1-42,3-4-5", "odd,1-2,1-2-x")]
    assert told([*Replication().read("i", (*columns, *more), rows)]) == {
        ("mysql_slave_status_slave_io_running", *labels): 0.0,
        ("mysql_slave_status_gtid_io_pos", *labels, "0", "1"): 42.0,
        ("mysql_slave_status_gtid_io_pos", *labels, "3", "4"): 5.0,
    }


def test_a_replica_is_asked_in_its_own_words() -> None:
    assert queries(mariadb=True, version=(10, 11, 0))[0] == "SHOW ALL SLAVES STATUS"
    assert queries(mariadb=False, version=(8, 3, 9))[0] == "SHOW SLAVE STATUS"
    assert queries(mariadb=False, version=(8, 4, 0))[0] == "SHOW REPLICA STATUS"


def test_rows_become_samples_and_null_becomes_none() -> None:
    found = told([*read_rows("i", CMP, [("1024", "1", "2", None, "4", "5")])])
    assert found["mysql_info_schema_innodb_cmp_compress_ops_total", "1024"] == 1
    assert len(found) == len(CMP) - 1


def test_response_times_are_a_histogram() -> None:
    rows = [
        ("      0.000001", "2", "      0.000000"),
        ("      1.000000", "3", "      1.500000"),
        ("TOO LONG", "1", "TOO LONG"),
    ]
    assert parse_times(rows) == Histogram((0.000001, 1.0), (2.0, 5.0, 6.0), 1.5)
    assert parse_times([]) == Histogram((), (0.0,), 0.0)


@pytest.mark.parametrize("rows", [[("5", "1", "1"), ("1", "1", "1")], [("1", "1", "1")] * 2, [("-1", "1", "1")],
                                  [("1", "-3", "1")], [(str(at + 1), "1", "1") for at in range(300)]])  # fmt: skip
def test_bounds_without_order_are_no_histogram(rows: list[tuple[str, str, str]]) -> None:
    with pytest.raises(ValueError, match=r"."):
        parse_times(rows)


@pytest.mark.parametrize(
    ("more", "mode"),
    [
        ({}, "prefer"),
        ({"cert_file": "x"}, "require"),
        ({"ca_file": "x"}, "verify-full"),
        ({"server_name": "x"}, "verify-full"),
        ({"url": "mysql://a?sslmode=require"}, "require"),
        ({"url": "mysql://a?sslmode=require", "ca_file": "x"}, "verify-ca"),
        ({"url": "mysql://a?sslmode=require", "server_name": "x"}, "verify-full"),
        ({"url": "mysql://a?sslmode=verify-ca", "ca_file": "x", "server_name": "x"}, "verify-ca"),
        ({"url": "mysql://a?sslmode=require", "insecure_skip_verify": True, "ca_file": "x"}, "require"),
    ],
)
def test_what_there_is_to_verify_with_is_verified(more: dict[str, object], mode: str) -> None:
    assert Options(**more).sslmode == mode  # type: ignore[arg-type]


@pytest.mark.parametrize("mode", ["disable", "prefer"])
def test_a_name_to_verify_contradicts_no_tls(mode: str) -> None:
    with pytest.raises(ValueError, match="server_name contradict"):
        Options(url=f"mysql://a?sslmode={mode}", server_name="x")


def test_no_family_is_declared_twice_and_each_has_its_instance() -> None:
    assert max(Counter(family.name for family in METRICS).values()) == 1
    assert {family.labels[0] for family in METRICS} == {"instance"}


# -- packets ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "server"),
    [
        ("8.0.36-28.1", Server((8, 0, 36), mariadb=False)),
        ("10.11.19-MariaDB-0+deb12u1-log", Server((10, 11, 19), mariadb=True)),
        ("9.7", Server((9, 7, 0), mariadb=False)),
        ("", Server()),
        ("x.y.z", Server()),
    ],
)
def test_versions_are_numbers(text: str, server: Server) -> None:
    assert parse_version(text) == server


@given(st.text())
def test_no_version_is_too_odd(text: str) -> None:
    assert len(parse_version(text).version) == 3


def test_sessions_have_limits_in_each_servers_units() -> None:
    options = Options(statement_timeout=Duration("1500ms"), lock_timeout=Duration("100ms"))
    assert limits(options, Server(mariadb=True)) == ("max_statement_time = 1.500", "lock_wait_timeout = 1")
    assert limits(options, Server()) == ("max_execution_time = 1500", "lock_wait_timeout = 1")


def greeting(capabilities: int = 0x81FFF7FF, plugin: bytes = b"mysql_native_password\0") -> bytes:
    low, high = capabilities & 0xFFFF, capabilities >> 16
    head = b"\x0a8.0.36\0" + struct.pack("<I", 7) + NONCE[:8] + b"\0"
    return head + struct.pack("<HBHHB", low, 45, 2, high, 21) + b"\0" * 10 + NONCE[8:] + b"\0" + plugin


def test_a_greeting_has_a_nonce_and_the_name_of_a_plugin() -> None:
    found = parse_greeting(greeting())
    assert (found.nonce, found.plugin) == (NONCE, "mysql_native_password")
    assert parse_greeting(greeting(plugin=b"caching_sha2_password")).plugin == "caching_sha2_password"
    for odd in (b"\x09" + greeting()[1:], greeting(0), greeting()[:40]):
        with pytest.raises((Failed, *FAILURES)):
            parse_greeting(odd)


@given(st.binary())
def test_no_bytes_break_the_parsers(data: bytes) -> None:
    with contextlib.suppress(Failed, *FAILURES):
        parse_greeting(b"\x0a" + data)
    with contextlib.suppress(*FAILURES):
        parse_row(data, 2)
    parse_switch(b"\xfe" + data)


@given(st.lists(st.none() | st.text(max_size=300), min_size=1, max_size=5))
def test_rows_are_read_as_they_were_written(values: list[str | None]) -> None:
    data = b"".join(b"\xfb" if value is None else counted(value.encode()) for value in values)
    assert parse_row(data, len(values)) == tuple(values)


def counted(text: bytes) -> bytes:
    head = bytes((len(text),)) if len(text) < 251 else b"\xfc" + struct.pack("<H", len(text))
    return head + text


def test_a_login_says_who_we_are() -> None:
    packet = encode_login("me", b"answer", "plugin", 1 << 19 | 1 << 20)
    assert packet[32:].startswith(b"me\0\x06answerplugin\0")
    assert packet.endswith(b"\x0cprogram_name\x08nightjar")
    assert encode_login("me", b"", "plugin", 0)[32:] == b"me\0\0"


def account(*, private: bool = False, trusted: bool = False) -> Account:
    return Account("u", b"s3cret", private=private, trusted=trusted)


@pytest.mark.parametrize("plugin", ["mysql_clear_password", "dialog"])
def test_who_asks_for_the_password_itself_gets_it_over_a_trusted_link_alone(plugin: str) -> None:
    assert account(private=True, trusted=True).answer(plugin, NONCE) == b"s3cret\0"
    for link in (account(private=True), account()):
        with pytest.raises(Failed) as failed:
            link.answer(plugin, NONCE)
        assert failed.value.trouble == "plugin"


def test_plugins_that_hide_it_in_tls_get_it_over_any_tls_and_no_open_link() -> None:
    assert account(private=True).answer("sha256_password", NONCE) == b"s3cret\0"
    assert account(private=True).prove("caching_sha2_password", b"\x04") == b"s3cret\0"
    assert account().prove("caching_sha2_password", b"\x03") is None
    with pytest.raises(Failed, match="way to log in"):
        account().answer("sha256_password", NONCE)
    for plugin, told in (("caching_sha2_password", b"\x04"), ("sha256_password", b"-----BEGIN PUBLIC KEY-----")):
        with pytest.raises(Failed, match="way to log in"):
            account().prove(plugin, told)


@given(st.binary(min_size=1), st.binary(min_size=20, max_size=20))
def test_a_proof_holds_no_password(password: bytes, nonce: bytes) -> None:
    for plugin, length in (("mysql_native_password", 20), ("caching_sha2_password", 32)):
        assert len(Account("u", password, private=False, trusted=False).answer(plugin, nonce)) == length
        assert Account("u", b"", private=False, trusted=False).answer(plugin, nonce) == b""


def test_an_unknown_plugin_gets_no_answer() -> None:
    for plugin in ("mysql_old_password", "authentication_kerberos_client", ""):
        with pytest.raises(Failed):
            account(private=True, trusted=True).answer(plugin, NONCE)


@pytest.mark.parametrize(
    ("code", "trouble"),
    [(1040, "too_many_connections"), (1045, "auth"), (1053, "starting"), (1227, "permission"), (3159, "tls"),
     (1205, "locked"), (1969, "timeout"), (3024, "timeout"), (1251, "plugin"), (1064, "query"), (65535, "query")],
)  # fmt: skip
def test_the_servers_numbers_have_classes(code: int, trouble: str) -> None:
    assert trouble_of(Refused(code)) == trouble
    assert trouble in TROUBLES
