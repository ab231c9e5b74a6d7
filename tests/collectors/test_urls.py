"""What is said of addresses that cannot be used: the cure, and no part of them."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from collectors.mysql.options import Options as MysqlOptions
from collectors.pgbouncer import PgbouncerOptions
from collectors.postgres.options import Options as PostgresOptions
from collectors.redis.options import Options as RedisOptions
from collectors.urls import HINT

MAKERS: dict[str, Callable[[str], object]] = {
    "redis": lambda login: RedisOptions(url=f"redis://{login}@db.example.com:6379"),
    "postgres": lambda login: PostgresOptions(dsn=f"postgres://{login}@db.example.com:5432/postgres"),
    "pgbouncer": lambda login: PgbouncerOptions(url=f"postgres://{login}@db.example.com:6432/pgbouncer"),
    "mysql": lambda login: MysqlOptions(url=f"mysql://{login}@db.example.com:3306"),
}


@pytest.mark.parametrize("kind", MAKERS)
@pytest.mark.parametrize("password", ["hun/ter", "hun#ter", "hun?ter", "12/ter", "12#ter", "a[ter", "a]ter"])
def test_a_login_with_signs_of_a_url_is_told_how_to_write_them(kind: str, password: str) -> None:
    with pytest.raises(ValueError, match=r"write signs such as @ / # in a login as %40 %2F %23$") as caught:
        MAKERS[kind](f"user:{password}")
    said = str(caught.value)
    assert "ter" not in said.replace("after", "").replace("otherwise", "")
    assert HINT in said


@pytest.mark.parametrize("kind", MAKERS)
@pytest.mark.parametrize("password", ["hunter", "p%40%2F%23", "p@q"])
def test_a_login_that_can_be_read_is_fine(kind: str, password: str) -> None:
    MAKERS[kind](f"user:{password}")


def test_another_fault_is_told_without_that() -> None:
    with pytest.raises(ValueError, match=r"expected one server as \"postgres://user@host:5432/database\"$"):
        PostgresOptions(dsn="mysql://user@db.example.com/x")
    with pytest.raises(ValueError, match=r"^url: is no URL$"):
        RedisOptions(url="redis://db.example.com:port")


def test_what_only_begins_like_a_url_is_none() -> None:
    """Its login would be taken for the name of a database, or for a path, and shown."""
    with pytest.raises(ValueError, match=r"^dsn: expected one server"):
        PostgresOptions(dsn="postgres:me:hunter@db/x")
    with pytest.raises(ValueError, match=r"^dsn: expected one server"):
        PostgresOptions(dsn="postgres:///me:hunter@db/x")
    with pytest.raises(ValueError, match=r"^url: expected \"redis://"):
        RedisOptions(url="unix:me:hunter@/run/redis.sock")


def test_a_pooler_is_not_told_the_port_of_a_server() -> None:
    with pytest.raises(ValueError, match=r"^url: expected one server as \"postgres://user@host:6432/pgbouncer\"$"):
        PgbouncerOptions(url="127.0.0.1:6432")
    assert PgbouncerOptions(url="postgres://nightjar@db/pgbouncer").target.instance == "db:6432"
    assert PostgresOptions(dsn="postgres://nightjar@db/x").target.instance == "db:5432"
    assert PostgresOptions(dsn="postgres:///db@x?host=/run/postgresql").target.database == "db@x"


def test_the_part_that_was_probably_meant_is_named() -> None:
    with pytest.raises(
        ValueError, match=r"disable: no part is called 'stat_usr_tables'; did you mean \"stat_user_tables\"\?"
    ):
        PostgresOptions(disable=("stat_usr_tables",))
    with pytest.raises(ValueError, match=r"enable: no part is called 'lock'; did you mean \"locks\"\?"):
        PostgresOptions(enable=("lock",))
    with pytest.raises(ValueError, match=r"disable: no part is called 'slave_state'; did you mean \"slave_status\"\?"):
        MysqlOptions(disable=("slave_state",))
    with pytest.raises(ValueError, match=r"disable: no part is called 'x'$"):
        MysqlOptions(disable=("x",))
