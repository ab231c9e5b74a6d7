"""The PostgreSQL and pgbouncer collectors: pure parts, and servers that hang, lie and never stop."""

from __future__ import annotations

import contextlib
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collectors.pgbouncer import POOLS, PgbouncerOptions, read_table
from collectors.postgres import METRICS, Options, short_version
from collectors.postgres.custom import Custom, parse_number
from collectors.postgres.options import Query, parse_dsn
from collectors.postgres.parts import PARTS
from collectors.postgres.settings import Settings, parse_setting
from collectors.postgres.statements import gauges, read_row
from config import Secret

VERSIONS = (120000, 130000, 140000, 150000, 160000, 170000, 180000)


# -- the address ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("dsn", "instance", "user", "database"),
    [
        ("postgres://db", "db:5432", "nightjar", "nightjar"),
        ("postgresql://me:pw@db:6000/shop?sslmode=require", "db:6000", "me", "shop"),
        ("postgres://a%40b@[::1]:5433/x%20y", "[::1]:5433", "a@b", "x y"),
        ("postgres:///shop?host=/run/postgresql", "/run/postgresql/.s.PGSQL.5432", "nightjar", "shop"),
    ],
)
def test_a_dsn_is_one_server(dsn: str, instance: str, user: str, database: str) -> None:
    target = parse_dsn(dsn)
    assert (target.instance, target.user, target.database) == (instance, user, database)
    assert "pw" not in repr(target)


@pytest.mark.parametrize(
    "dsn",
    [
        *("mysql://s3cret@db", "postgres://s3cret@a,b/x", "postgres://s3cret@db:99999/x", "s3cret"),
        *("postgres://db/x?s3cret=1", "postgres://db/x?sslmode=s3cret", "postgres://db/x?host=/s3cret", "postgres://["),
    ],
)
def test_what_is_wrong_with_a_dsn_is_told_without_it(dsn: str) -> None:
    with pytest.raises(ValueError, match=r".") as told:
        Options(dsn=dsn)
    assert "s3cret" not in str(told.value)


@given(st.text())
def test_any_text_is_a_target_or_a_value_error(text: str) -> None:
    with contextlib.suppress(ValueError):
        assert parse_dsn(text).instance


@pytest.mark.parametrize(
    ("more", "mode"),
    [
        ({}, "prefer"),
        ({"cert_file": "x"}, "require"),
        ({"ca_file": "x"}, "verify-full"),
        ({"server_name": "x"}, "verify-full"),
        ({"insecure_skip_verify": True}, "require"),
        ({"dsn": "postgres://a?sslmode=require"}, "require"),
        ({"dsn": "postgres://a?sslmode=require", "ca_file": "x"}, "verify-ca"),
        ({"dsn": "postgres://a?sslmode=require", "server_name": "x"}, "verify-full"),
        ({"dsn": "postgres://a?sslmode=verify-ca", "ca_file": "x", "server_name": "x"}, "verify-ca"),
    ],
)
def test_tls_is_what_the_options_amount_to(more: dict[str, object], mode: str) -> None:
    assert Options(**more).sslmode == mode  # type: ignore[arg-type]
    if "dsn" not in more:
        assert PgbouncerOptions(**more).sslmode == mode  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "more",
    [
        {"dsn": "postgres://a:b@c", "password": Secret("x")},
        {"key_file": "x"},
        {"dsn": "postgres://c?sslmode=disable", "ca_file": "x"},
        {"dsn": "postgres://c?sslmode=verify-full", "insecure_skip_verify": True},
        {"disable": ("nothing",)},
        {"queries": (Query(prefix="a", sql="SELECT 1", columns={"b": "label"}),)},
        {"queries": (Query(prefix="a", sql="SELECT 1", columns={"b-c": "gauge"}),)},
        {"queries": (Query(prefix="a", sql="SELECT 1", columns={"n": "gauge", "instance": "label"}),)},
        {"queries": (Query(prefix="a", sql="SELECT 1", columns={"n": "gauge", "__name__": "label"}),)},
        {"queries": (Query(prefix="a\n", sql="SELECT 1", columns={"n": "gauge"}),)},
        {"queries": (Query(prefix="wal", sql="SELECT 1", columns={"n": "gauge"}),)},
        {"queries": (Query(prefix="pg_database", sql="SELECT 1", columns={"size_bytes": "gauge", "x": "label"}),)},
        {"queries": (Query(prefix="pg_scrape_collector", sql="SELECT 1", columns={"success": "gauge"}),)},
        {"queries": (Query(prefix="pg_settings", sql="SELECT 1", columns={"n": "gauge"}),)},
        {
            "queries": tuple(
                Query(prefix="a", sql="SELECT 1", columns={"n": kind})  # type: ignore[dict-item]
                for kind in ("gauge", "counter")
            )
        },
        {"dsn": "postgres://c?sslmode=disable", "server_name": "x"},
        {"dsn": "postgres://c?sslmode=prefer", "server_name": "x"},
    ],
)
def test_options_that_contradict_each_other_are_faults(more: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"."):
        Options(**more)  # type: ignore[arg-type]


# -- tables -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", VERSIONS)
def test_every_version_is_asked_for_every_family_once(version: int) -> None:
    asked = [one for part in PARTS for one in part.statements if one.suits(version)]
    for statement in asked:
        assert len({family.labels for family in statement.families}) == 1
        assert statement.families[0].labels[0] == "instance"
    names = Counter(family.name for statement in asked for family in statement.families)
    assert [name for name, count in names.items() if count > 1] == []
    assert ("pg_stat_checkpointer_num_timed_total" in names) == (version >= 170000)
    assert ("pg_stat_bgwriter_checkpoints_timed_total" in names) == (version < 170000)


def test_no_family_is_declared_twice() -> None:
    names = Counter((family.name, family.labels) for family in METRICS)
    assert max(names.values()) == 1


def test_a_row_becomes_samples_and_null_becomes_none() -> None:
    families = gauges("x", ("a",), {"b": "", "c": ""})
    samples = [*read_row("i", families, ["l" * 2000, "1", None]), *read_row("i", families, [None, None, "2e3"])]
    assert [(one.family.name, one.labels, one.value) for one in samples] == [
        ("x_b", ("i", "l" * 1024), 1.0),
        ("x_c", ("i", ""), 2000.0),
    ]
    odds: list[list[str | None]] = [["l", "word", None], ["l", "1_0", None], ["l", "9" * 100, None], ["l", "1"]]
    for odd in odds:
        with pytest.raises(ValueError, match=r"."):
            list(read_row("i", families, odd))


@pytest.mark.parametrize(
    ("setting", "unit", "kind", "expected"),
    [
        ("on", "", "bool", (1.0, "")),
        ("off", "", "bool", (0.0, "")),
        ("100", "", "integer", (100.0, "")),
        ("-1", "kB", "integer", (-1.0, "bytes")),
        ("2", "8kB", "integer", (16384.0, "bytes")),
        ("2", "16MB", "integer", (33554432.0, "bytes")),
        ("1500", "ms", "integer", (1.5, "seconds")),
        ("5", "min", "integer", (300.0, "seconds")),
        ("0.5", "", "real", (0.5, "")),
        ("5MB", "MB", "integer", (5242880.0, "bytes")),
        ("5", "parsec", "integer", None),
        ("none", "", "integer", None),
    ],
)
def test_settings_are_in_seconds_and_bytes(
    setting: str, unit: str, kind: str, expected: tuple[float, str] | None
) -> None:
    assert parse_setting(setting, unit, kind) == expected


@given(st.text(), st.text(), st.sampled_from(["bool", "integer", "real"]))
def test_no_setting_is_too_odd(setting: str, unit: str, kind: str) -> None:
    parse_setting(setting, unit, kind)


def test_a_setting_keeps_its_family() -> None:
    settings = Settings()
    row: list[str | None] = ["my.own-limit", "1", "s", "integer"]
    (first,), (second,) = settings.read("i", row), settings.read("i", row)
    assert first.family is second.family
    assert first.family.name == "pg_settings_my_own_limit_seconds"


@pytest.mark.parametrize(
    ("text", "short"), [("15.18 (Debian 15.18-0)", "15.18.0"), ("17beta1", "171.0.0"), ("", "0.0"), ("16.3", "16.3.0")]
)
def test_versions_are_short(text: str, short: str) -> None:
    assert short_version(text) == short


def test_columns_of_a_query_become_numbers_and_labels() -> None:
    query = Query(prefix="q", sql="SELECT 1 -- x\n;", columns={"n": "gauge", "a": "label", "t": "counter"})
    custom = Custom(query)
    assert custom.sql.startswith("BEGIN READ ONLY; ")
    assert "(\nSELECT 1 -- x\n) AS q LIMIT" in custom.sql
    samples = [*custom.read("i", [None, "1.5", "3"]), *custom.read("i", ["x", None, "true"])]
    assert [(one.labels, one.value) for one in samples] == [(("i", ""), 1.5), (("i", ""), 3.0), (("i", "x"), 1.0)]


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("1", 1.0),
        (" -1.5e3 ", -1500.0),
        ("Infinity", float("inf")),
        ("-infinity", -float("inf")),
        ("true", 1.0),
        ("1970-01-02", 86400.0),
        ("1970-01-02 00:00:00.5", 86400.5),
        ("1970-01-02 01:00:00+01", 86400.0),
        ("00:01:00", 60.0),
        ("-00:01:00.5", -60.5),
        ("1 year 2 mons -3 days +04:05:06.5", 365.25 * 86400 + 57 * 86400 + 14706.5),
        ("1 day", 86400.0),
    ],
)
def test_times_are_unix_seconds_and_durations_seconds(text: str, number: float) -> None:
    assert parse_number(text) == number


@pytest.mark.parametrize("text", ["", "x", "1_000", "{1}", "$1.50", "9" * 500, "1" + "0" * 350, "4000-01-01 BC", "٣"])
def test_what_is_no_number_is_none(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        parse_number(text)


@given(st.text())
def test_no_text_breaks_a_number(text: str) -> None:
    with contextlib.suppress(ValueError):
        parse_number(text)


def test_a_table_of_the_console_becomes_samples() -> None:
    rows = [{"database": "d", "user": "u", "cl_active": "3", "maxwait": "odd", "unheard_of": "1"}]
    ((family, labels, value, _),) = read_table(POOLS, "i", rows)
    assert (family.name, labels, value) == ("pgbouncer_pools_client_active_connections", ("i", "d", "u"), 3.0)
