"""Templates of labels and annotations: the part of Go's text/template that Prometheus' rules use.

A text is compiled once and rendered for each alert. Nothing in a label's value is ever read as a template. There are
no loops, every text has a limit, and patterns are RE2's, so that time and size are bounded whatever a series says.

What asks a Prometheus server (`query`, links to its pages) cannot be had here. An annotation with such a part is
rendered as its own raw text, and `unsupported` says why: refusing it would keep whole rule files from loading, and
an alert with a clumsy description is better than none.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from agent.templates.functions import FUNCTIONS, Arguments, Function
from agent.templates.gotext import joined, kind, text_of
from agent.templates.syntax import Branch, Node, Parser, Pipe, Term

SERVER: Final = "asks a Prometheus server"
UNSUPPORTED: Final[Mapping[str, str]] = {
    **{name: f"{name} {SERVER}" for name in ("query", "first", "label", "value", "strvalue", "sortByLabel")},
    **{
        name: f"{name} links to a Prometheus server" for name in ("tableLink", "graphLink", "externalURL", "pathPrefix")
    },
    **{name: f"{name} is not rendered here" for name in ("toTime", "toDuration", "now", "urlQueryEscape")},
    **{name: f"{name} is not rendered here" for name in ("js", "slice", "call", "tmpl")},
}
LAZY: Final = {"and": True, "or": False}  # go on while values are so
VARIABLES: Final = ("$", "$labels", "$externalLabels", "$externalURL", "$value")
NOTHING: Final[Mapping[str, str]] = {}


class Data:
    """The dot that a template begins with, a Go struct: `.Labels`, `.ExternalLabels`, `.ExternalURL`, `.Value`."""

    def __init__(self, labels: Mapping[str, str], value: float, external: Mapping[str, str]) -> None:
        self.fields = {"Labels": labels, "ExternalLabels": external, "ExternalURL": "", "Value": float(value)}

    def __str__(self) -> str:
        return f"{{{' '.join(map(text_of, self.fields.values()))}}}"


class Template:
    """A compiled template. `unsupported`: why it is rendered as its raw text, empty where it is not."""

    def __init__(self, text: str, nodes: tuple[Node, ...], unsupported: str) -> None:
        self.text, self.unsupported = text, unsupported
        self._nodes = (text,) if unsupported else nodes

    def render(self, labels: Mapping[str, str], value: float, external: Mapping[str, str] = NOTHING) -> str:
        """The text for an alert with these labels and this value; a fault is told in the text, as Prometheus does."""
        if len(self._nodes) == 1 and isinstance(self._nodes[0], str):
            return self._nodes[0]
        try:
            return _Rendering(Data(labels, value, external)).text(self._nodes)
        except ValueError as error:
            return f"<error expanding template: {error}>"


def compile_template(text: str) -> Template:
    """The template of a label or an annotation. Raises ValueError with the fault, where Prometheus refuses it, too."""
    if "{{" not in text:
        return Template(text, (text,), "")
    parser = Parser(text, VARIABLES, FUNCTIONS.keys() | LAZY.keys(), UNSUPPORTED)
    return Template(text, parser.parse(), parser.unsupported)


class _Rendering:
    """One walk over a template's tree. Raises ValueError with what failed."""

    def __init__(self, data: Data) -> None:
        values = (data, *data.fields.values())
        self._variables: list[tuple[str, Any]] = list(zip(VARIABLES, values, strict=True))
        self._data = data

    def text(self, nodes: tuple[Node, ...]) -> str:
        return joined(self._walk(nodes, self._data))

    def _walk(self, nodes: tuple[Node, ...], dot: Any) -> Iterator[str]:
        for node in nodes:
            if isinstance(node, str):
                yield node
            elif isinstance(node, Branch):
                yield from self._branch(node, dot)
            else:
                value = self._pipe(node, dot)
                if not node.targets:
                    yield "<no value>" if value is None else text_of(value)

    def _branch(self, node: Branch, dot: Any) -> Iterator[str]:
        known = len(self._variables)
        value = self._pipe(node.pipe, dot)
        if value:
            yield from self._walk(node.body, value if node.moves_dot else dot)
        else:
            yield from self._walk(node.otherwise, dot)
        del self._variables[known:]

    def _pipe(self, pipe: Pipe, dot: Any) -> Any:
        value = self._command(pipe.commands[0], dot, ())
        for command in pipe.commands[1:]:
            value = self._command(command, dot, (value,))
        for name in pipe.targets:
            self._assign(name, value, pipe.declares)
        return value

    def _assign(self, name: str, value: Any, declares: bool) -> None:
        at = len(self._variables) if declares else self._find(name)
        self._variables[at : at + 1] = [(name, value)]

    def _find(self, name: str) -> int:
        for at in range(len(self._variables) - 1, -1, -1):
            if self._variables[at][0] == name:
                return at
        raise ValueError(f"undefined variable {name}")

    def _command(self, terms: tuple[Term, ...], dot: Any, piped: tuple[Any, ...]) -> Any:
        """A command's value; `piped` is what the command before it hands on, as the last argument."""
        first = terms[0]
        if first.kind == "nil":
            raise ValueError("nil is not a command")
        if first.kind == "call" and not first.fields:
            return self._call(first.value, terms[1:], dot, piped)
        if len(terms) > 1 or piped:
            raise ValueError("only a function takes arguments")
        return self._term(first, dot)

    def _call(self, name: str, terms: tuple[Term, ...], dot: Any, piped: tuple[Any, ...]) -> Any:
        if name in LAZY:
            return self._lazy(name, terms, dot, piped)
        function = FUNCTIONS[name]
        arguments = (*(self._term(term, dot) for term in terms), *piped)
        check_arguments(name, function, arguments)
        return function.call(*arguments)

    def _lazy(self, name: str, terms: tuple[Term, ...], dot: Any, piped: tuple[Any, ...]) -> Any:
        if not terms and not piped:
            raise ValueError(f"{name} needs a value")
        value = None
        for term in terms:
            value = self._term(term, dot)
            if bool(value) is not LAZY[name]:
                return value
        return piped[0] if piped else value

    def _term(self, term: Term, dot: Any) -> Any:
        value = self._base(term, dot)
        for field in term.fields:
            value = read_field(value, field)
        return value

    def _base(self, term: Term, dot: Any) -> Any:
        match term.kind:
            case "dot":
                return dot
            case "variable":
                return self._variables[self._find(term.value)][1]
            case "call":
                return self._call(term.value, (), dot, ())
            case "pipe":
                return self._pipe(term.value, dot)
        return term.value


def check_arguments(name: str, function: Function, arguments: tuple[Any, ...]) -> None:
    """Raise ValueError where a function does not take these arguments."""
    if len(arguments) < function.least or (function.most is not None and len(arguments) > function.most):
        raise ValueError(f"wrong number of arguments for {name}: {len(arguments)}")
    for value in arguments[: function.texts]:
        if not isinstance(value, str):
            raise ValueError(f"{name} takes a text, not {kind(value)}")


def read_field(value: Any, field: str) -> Any:
    """`value.field`; a label that is not there is empty. Raises ValueError where the value has no fields."""
    if isinstance(value, Data) and field in value.fields:
        return value.fields[field]
    if isinstance(value, Mapping):
        return value.get(field, None if isinstance(value, Arguments) else "")
    raise ValueError(f"no field {field} in {'the data' if isinstance(value, Data) else kind(value)}")
