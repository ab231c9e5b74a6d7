"""A configuration of every kind with a secret in every place that may hold one, literally or by reference.

Nothing listens at port 1, so that every target fails.
"""

from __future__ import annotations

import re
from pathlib import Path

SECTIONS = """
[collectors.host]
disable = ["processes", "systemd"]

[[collectors.http]]
url = "http://me:SECRET@127.0.0.1:1/a?page=1&token=SECRET#SECRET"
method = "POST"
body = "user=me&password=SECRET"
headers = { X-Key = "SECRET", Cookie = "a=${file:FILE}" }
bearer_token = "SECRET"
proxy = "http://me:SECRET@127.0.0.1:1"

[[collectors.http]]
urls = [
  "http://127.0.0.1:1/hello?q=${file:FILE}",
  "http://127.0.0.1:1/hooks/${file:FILE}/b?api_key=SECRET",
  "http://me:${file:FILE}@127.0.0.1:1/hello?q=${file:FILE}",
  "http://me:SECRET${file:FILE}@127.0.0.1:1/?sig=SECRET",
  "${file:URL}",
  "${file:URL}?token=SECRET",
]
body = "${file:FILE}"
username = "me"
password = "SECRET"

[[collectors.http]]
urls_file = "URLS"
username = "me"
password = "${file:FILE}"

[collectors.tcp]
targets = ["127.0.0.1:1"]
steps = [{ send = "AUTH SECRET\\r\\n", expect = "OK" }, { send = "${file:FILE}" }]

[collectors.tls]
targets = ["127.0.0.1:1", "smtp://127.0.0.1:1"]
passphrase = "SECRET"

[collectors.dns]
targets = ["127.0.0.1:1"]
query_name = "example.org"

[[collectors.redis]]
url = "redis://me:SECRET@127.0.0.1:1"

[[collectors.redis]]
url = "redis://:${file:FILE}@localhost:1"

[[collectors.redis]]
url = "redis://127.0.0.2:1"
password = "SECRET"

[[collectors.postgres]]
dsn = "postgres://me:SECRET@127.0.0.1:1/db?sslmode=disable"

[[collectors.postgres]]
dsn = "postgres://me:${file:FILE}@localhost:1/db"

[[collectors.postgres]]
dsn = "postgres://me@127.0.0.2:1/db"
password = "SECRET"

[[collectors.pgbouncer]]
url = "postgres://me:SECRET@127.0.0.1:1/pgbouncer"

[[collectors.pgbouncer]]
url = "postgres://me@127.0.0.2:1/pgbouncer"
password = "${file:FILE}"

[[collectors.mysql]]
url = "mysql://me:SECRET@127.0.0.1:1"

[[collectors.mysql]]
url = "mysql://me@127.0.0.2:1"
password = "${file:FILE}"

[[collectors.scrape]]
url = "http://127.0.0.1:1/metrics?token=SECRET&page=${file:FILE}"
bearer_token = "SECRET"
headers = { X-Key = "SECRET" }

[[collectors.scrape]]
url = "http://me:SECRET@localhost:1/metrics"
job = "other"

[[collectors.scrape]]
url = "http://127.0.0.2:1/metrics"
username = "me"
password = "SECRET"
proxy = "http://me:SECRET@127.0.0.1:1"

[[exporters.remote_write]]
url = "http://me:SECRET@127.0.0.1:1/write?token=SECRET&q=${file:FILE}"
headers = { X-Key = "SECRET" }
proxy = "http://me:SECRET@127.0.0.1:1"

[[exporters.remote_write]]
url = "http://127.0.0.1:1/${file:FILE}"
bearer_token = "${file:FILE}"

[[exporters.remote_write]]
url = "http://127.0.0.2:1/"
username = "me"
password = "SECRET"
"""

_PLACE = re.compile("SECRET|FILE|URLS|URL")
WORD = "S3CRET"
TARGETS = 26  # each has a series that says it is down


def planted(folder: Path) -> str:
    """The sections; each secret has a number of its own, and all hold `WORD`."""
    number = 0

    def plant(found: re.Match[str]) -> str:
        nonlocal number
        number += 1
        secret = f"{WORD}-{number}-kx"
        if found.group() == "SECRET":
            return secret
        text = {
            "FILE": f"{secret}\n",
            "URL": f"http://me:{secret}@127.0.0.1:1/{secret}\n",
            "URLS": f"http://127.0.0.1:1/c?token={secret}\nhttp://me:{secret}@127.0.0.1:1/?a=1#{secret}\nx://u:{secret}@h\n",
        }[found.group()]
        (folder / f"planted-{number}").write_text(text)
        return str(folder / f"planted-{number}")

    return _PLACE.sub(plant, SECTIONS)
