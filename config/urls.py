"""What of a URL may be seen.

`masked` is for who reads the configuration: no login and no query. `without_secrets` is for labels, which tell targets
apart: of a query it hides the values alone that are secret by their name. What it takes for one is `_SECRET`; a name
too many costs a little sight, one too few a secret.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final
from urllib.parse import unquote, unquote_plus

from config.references import parse_parts
from config.secret import MASK

_SECRET: Final = re.compile(
    r"token|secret|passw|passphrase|signature|credential|authori[sz]ation|bearer|session|access_?key|jwt"
    r"|(?:key|pass|pwd|sig|auth)(?![a-z])|(?<![a-z])(?:otp|pin|sid|hmac)(?![a-z])|^code$"
)
_INNER: Final = re.compile(r"(?<![^=?&;#/\s])([^=?&;#/\s]+)=")  # names within a value, as in `?next=http://h/?token=…`
_LOGIN: Final = re.compile(r"(?<=://)(?<!\?://)/*[^/?#]*(?=@)")  # `https?://` is a regular expression
_BARE: Final = re.compile(r"\A([A-Za-z][A-Za-z0-9+.-]*:)(?!//)([^/?#\s]*)(?=@)")  # `me:word@host`, `redis:me:word@host`
_URL: Final = re.compile(r"\s*[A-Za-z][A-Za-z0-9+.-]*://")
_REST: Final = re.compile(r"(://[^?#]*[?#])(.+)", re.DOTALL)  # of a text that is a URL
_REST_AMONG: Final = re.compile(r"((?<!\?)://[^\s?#]*[?#])(\S+)")  # of a URL among other words
_MARKS: Final = 0xF0000  # private use: characters that stand for references while the text around them is masked


def masked(text: str) -> str:
    """A text with `***` for the logins and queries of URLs in it."""
    return _masked(text, "").replace("${", "$${")


def masked_template(template: str) -> str:
    """The same of a text with references, which stay where nothing but a name stands beside them."""
    parts = parse_parts(template)
    if any(ord(character) >= _MARKS for kind, name in parts if not kind for character in name):
        return MASK
    references = [f"${{{kind}:{name}}}" for kind, name in parts if kind]
    marks = [chr(_MARKS + number) for number in range(len(references))]
    left = iter(marks)
    text = "".join(next(left) if kind else name for kind, name in parts)
    if text[:1] in marks:  # it may have brought the beginning of a URL
        text = text[0] + _masked(f"x://{text[1:]}", "".join(marks)).removeprefix("x://")
    else:
        text = _masked(text, "".join(marks))
    text = text.replace("${", "$${")
    for mark, reference in zip(marks, references, strict=True):
        text = text.replace(mark, reference)
    return text


def without_secrets(url: str) -> str:
    """A URL, which has no login and no fragment, with `***` for the values of its query that are secret."""
    head, mark, query = url.partition("?")
    return head + mark + "&".join(_shown_pair(pair) for pair in query.split("&"))


def secrets_of(text: str) -> Iterator[str]:
    """The secrets that stand literally in a URL: its password and those of its query."""
    if bare := _BARE.match(text):
        yield bare[2]
    if "://" not in text:
        return
    for login in _LOGIN.findall(text):
        password = login.partition(":")[2]
        yield from (password, unquote(password))
    for pair in text.partition("?")[2].split("&"):
        name, _, value = pair.partition("=")
        if value and _is_secret(name, value):
            yield from (value, unquote_plus(value))


def _masked(text: str, marks: str) -> str:
    text = _BARE.sub(lambda found: found[1] + (found[2] if _is_marks(found[2], marks) else MASK), text)
    if "://" not in text:
        return text
    text = _LOGIN.sub(lambda found: _masked_login(found.group(), marks), text)
    rest = _REST if _URL.match(text) else _REST_AMONG
    return rest.sub(lambda found: found[1] + _masked_query(found[2], marks), text)


def _masked_login(login: str, marks: str) -> str:
    user, colon, password = login.partition(":")
    return login if _is_marks(password if colon else user, marks) else MASK


def _masked_query(query: str, marks: str) -> str:
    if not any(mark in query for mark in marks):
        return MASK
    pairs = query.split("&")
    return "&".join(pair if _is_marks(pair.partition("=")[2], marks) else MASK for pair in pairs)


def _is_marks(text: str, marks: str) -> bool:
    return bool(text) and all(character in marks for character in text)


def _shown_pair(pair: str) -> str:
    name, _, value = pair.partition("=")
    return f"{name}={MASK}" if value and _is_secret(name, value) else pair


def _is_secret(name: str, value: str) -> bool:
    inner = _INNER.findall(unquote_plus(unquote_plus(value)))
    return any(_SECRET.search(one.lower()) for one in (unquote_plus(name), *inner))
