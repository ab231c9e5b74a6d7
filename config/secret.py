"""Values that must not be seen.

`Secret` is, at run time, a `str` whose text really is `***`: whatever formats, logs, pickles, serialises or dumps it
finds nothing else to show, and `json.dumps` needs no hook. The value sits in a closure, out of reach of inspectors
that walk attributes. To the type checker a Secret is no `str`, so that handing one to a header or a URL without
`reveal()` is a type error. Not chosen: a plain class (json raises on it, which turns a careless log line into a
crash) and a `str` holding the value with a masked repr (one `+` and it is out).

Where a `str | Secret` is at hand use `reveal(value)`, never `isinstance(value, str)`, which holds for both.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final, Self

MASK: Final = "***"

if TYPE_CHECKING:
    _Mask = object
else:
    _Mask = str


class Secret(_Mask):
    """A value that shows as `***` everywhere; `reveal()` gives it.

    Equal to a Secret of the same value and to nothing else. `reread()` asks its source (a file, a credential, a
    variable) again and changes the value in place, hence all Secrets share one hash.
    """

    __slots__ = ("_reveal", "_source")

    def __new__(cls, value: str, source: Callable[[], str] | None = None) -> Self:
        """`source` gives the value anew; it raises OSError or ValueError when it cannot."""
        secret = super().__new__(cls, MASK)  # type: ignore[call-arg]  # see _Mask: a str when it runs
        secret._reveal = lambda: value
        secret._source = source
        return secret

    _reveal: Callable[[], str]
    _source: Callable[[], str] | None

    def reveal(self) -> str:
        """The value itself."""
        return self._reveal()

    def reread(self) -> bool:
        """Resolve the reference again (reads files); True when the value changed. A failing source changes nothing."""
        if self._source is None:
            return False
        try:
            value = self._source()
        except (OSError, ValueError):
            return False
        changed = value != self._reveal()
        self._reveal = lambda: value
        return changed

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and self._reveal() == other._reveal()

    def __ne__(self, other: object) -> bool:
        return not self == other

    def __hash__(self) -> int:
        return hash(Secret)

    def __bool__(self) -> bool:
        return bool(self._reveal())

    def __repr__(self) -> str:
        return MASK

    def __str__(self) -> str:
        return MASK

    def __format__(self, spec: str) -> str:
        return format(MASK, spec)

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, memo: object) -> Self:
        return self

    def __reduce_ex__(self, protocol: object) -> tuple[type[Secret], tuple[str]]:
        return (Secret, (MASK,))


class Referenced(str):
    """Text that came, whole or in part, from a reference, in an option that is no Secret.

    It is the text in every use; only its repr shows the reference as it was written, so that the repr of a struct
    does not spill what a file or the environment held. `spans` says which parts of the text references gave, as pairs
    of start and end; where that is not known it is all of it.
    """

    __slots__ = ("spans", "template")
    template: str
    spans: tuple[tuple[int, int], ...]

    def __new__(cls, value: str, template: str, spans: tuple[tuple[int, int], ...] | None = None) -> Self:  # noqa: D102  the class says it
        text = super().__new__(cls, value)
        text.template = template
        text.spans = ((0, len(value)),) if spans is None else spans
        return text

    def masked(self, start: int = 0) -> str:
        """The text from a position on, with `***` for each part that a reference gave."""
        shown, at = [], start
        for begin, end in self.spans:
            if end > start or begin >= start:
                shown += [self[at:begin], MASK]
                at = max(at, end)
        return "".join([*shown, self[at:]])

    def __repr__(self) -> str:
        return repr(self.template)

    def __reduce__(self) -> tuple[type[Referenced], tuple[object, ...]]:
        return (Referenced, (str(self), self.template, self.spans))


def reveal(value: str | Secret) -> str:
    """The text of a value that may be secret."""
    return value.reveal() if isinstance(value, Secret) else value
