"""What is told of a URL that cannot be used: never a part of it, for it may hold a password."""

from __future__ import annotations

import re

HINT = "; write signs such as @ / # in a login as %40 %2F %23"


def login_hint(url: str) -> str:
    """The cure where it looks as if the signs of a login had been taken for the URL's own; else nothing."""
    rest = url.partition("://")[2]
    place = re.split("[/?#]", rest, maxsplit=1)[0]
    login = place.rpartition("@")[0]
    return HINT if "@" in rest[len(place) :] or set(login) & set("[]@") else ""
