"""From files to a checked configuration, or to all of its faults.

`load` is the only function that raises ConfigError, and it keeps no value of a file or of the environment in a
variable: a traceback with locals, as crash reporters take it, shows nothing that was configured.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from config import environment
from config.convert import INVALID, Converter
from config.documents import Malformed, Node, parse_document, read_document
from config.faults import ConfigError, Fault, Place, key_path
from config.files import Unreadable, toml_files
from config.merge import merge
from config.options import AgentOptions, CollectorCommon, Config, ExporterCommon, Section, SpoolOptions
from config.scalars import Sources
from config.sections import OptionsTable, SectionReader, Trial

CANDIDATES: Final = ("agent.toml", "/etc/nightjar/agent.toml")


def untried(part: AgentOptions | SpoolOptions | Section) -> None:
    """The trial of those who only want to read."""


def find_file(explicit: str | None) -> str | None:
    """The file to load: `-c`, $NIGHTJAR_CONFIG, ./agent.toml, /etc/nightjar/agent.toml; None when there is none."""
    if (chosen := explicit or environment.config_file()) is not None:
        return chosen
    return next((path for path in CANDIDATES if os.path.lexists(path)), None)


def load(
    path: str | None,
    *,
    collectors: OptionsTable,
    exporters: OptionsTable,
    environ: Mapping[str, str] | None = None,
    trial: Trial = untried,
) -> Config:
    """Read a file and the `conf.d/*.toml` beside it; without a file: the defaults and the host collector.

    `collectors` and `exporters` give the Options of each kind when called; only those of configured kinds are called.
    `trial` may try out each part whose options are sound, and refuse it with a ValueError.
    Raises ConfigError with every fault there is.
    """
    config = _load(path, collectors, exporters, environ, trial)
    if isinstance(config, Config):
        return config
    raise ConfigError(config)


def loads(
    text: str,
    *,
    collectors: OptionsTable,
    exporters: OptionsTable,
    environ: Mapping[str, str] | None = None,
    file: str = "agent.toml",
) -> Config:
    """As `load`, from a text that would stand in `file`; nothing is merged into it."""
    config = _load_text(text, file, collectors, exporters, environ)
    if isinstance(config, Config):
        return config
    raise ConfigError(config)


def _load_text(
    text: str, file: str, collectors: OptionsTable, exporters: OptionsTable, environ: Mapping[str, str] | None
) -> Config | list[Fault]:
    environ = environment.process_environ() if environ is None else environ
    try:
        root = parse_document(text.removeprefix("\ufeff").replace("\r\n", "\n"), file)
    except Malformed as malformed:
        return [malformed.fault]
    return _Loading(Read(root, (file,)), collectors, exporters, environ, untried).config()


def _load(
    path: str | None,
    collectors: OptionsTable,
    exporters: OptionsTable,
    environ: Mapping[str, str] | None,
    trial: Trial,
) -> Config | list[Fault]:
    environ = environment.process_environ() if environ is None else environ
    if path is None:
        host = {"host": Node({}, Place())} if "host" in collectors else {}
        read = Read(Node({"collectors": Node(host, Place())}, Place()))
    else:
        read = _read_all(path)
    return _Loading(read, collectors, exporters, environ, trial).config()


class Read(NamedTuple):
    """The tree of all files, their names, what was wrong with them as files, and whether all of them could be read."""

    root: Node
    files: tuple[str, ...] = ()
    faults: tuple[Fault, ...] = ()
    whole: bool = True


def _read_all(path: str) -> Read:
    """A file and those in `conf.d`."""
    root = Node({}, Place(path, 1, 1))
    files, conflicts, unreadable = [path], [], []
    directory = os.path.join(os.path.dirname(path), "conf.d")
    try:
        files += toml_files(directory)
    except Unreadable as reason:
        unreadable.append(Fault(directory, 0, 0, "", str(reason)))
    for file in files:
        try:
            conflicts += merge(root, read_document(file))
        except Malformed as malformed:
            unreadable.append(malformed.fault)
    return Read(root, tuple(files), (*conflicts, *unreadable), whole=not unreadable)


class _Loading:
    """One conversion of what was read."""

    def __init__(
        self,
        read: Read,
        collectors: OptionsTable,
        exporters: OptionsTable,
        environ: Mapping[str, str],
        trial: Trial,
    ) -> None:
        self._root, self._files = read.root, read.files
        self._converter = Converter(Sources(environ), whole=read.whole)
        self._converter.faults += read.faults
        self._environ = environ
        self._trial = trial
        self._plugins = {
            "collectors": SectionReader("collector", CollectorCommon, collectors, self._converter, trial),
            "exporters": SectionReader("exporter", ExporterCommon, exporters, self._converter, trial),
        }
        self._places: dict[tuple[str, ...], Place] = {}

    def config(self) -> Config | list[Fault]:
        self._refuse_unknown_sections()
        here = {
            "instance": environment.host_name(),
            "state_dir": environment.state_directory(self._environ),
        }
        agent = self._settings("agent", AgentOptions, here)
        spool = self._settings("spool", SpoolOptions, {})
        collectors, exporters = self._sections("collectors"), self._sections("exporters")
        if self._converter.faults:
            return self._converter.told()
        return Config(
            agent=agent,
            spool=spool,
            collectors=collectors,
            exporters=exporters,
            files=self._files,
            places=self._places,
        )

    def _refuse_unknown_sections(self) -> None:
        known = ("agent", "spool", *self._plugins)
        for key, node in self._root.value.items():
            if key not in known:
                kinds = ", ".join(f"[{name}]" for name in known)
                self._converter.key_fault(
                    node, key_path("", key), f"no such section{self._converter.hint(key, known)}; there are {kinds}"
                )

    def _settings(self, name: str, kind: Any, here: Mapping[str, str]) -> Any:
        node = self._root.value.get(name) or Node({}, self._root.place)
        if not isinstance(node.value, dict):
            self._converter.fault(node, name, f"expected a table: [{name}]")
            return INVALID
        self._places |= flatten(node, (name,))
        found = self._converter.convert_struct(node, kind, name, here)
        if found is not INVALID:
            self._converter.judged(node, kind, name, lambda: self._trial(found))
        return found

    def _sections(self, name: str) -> tuple[Section, ...]:
        node = self._root.value.get(name)
        if node is None:
            return ()
        if not isinstance(node.value, dict):
            self._converter.fault(node, name, f"expected tables such as [{name}.KIND]")
            return ()
        found = self._plugins[name].read(node)
        for section, at in found:
            self._places |= flatten(at, (name, section.name))
        return tuple(section for section, _ in found)


def flatten(node: Node, path: tuple[str, ...]) -> dict[tuple[str, ...], Place]:
    """The place of every key below a table, by its path."""
    places = {path: node.place}
    if isinstance(node.value, dict):
        for key, inner in node.value.items():
            places |= flatten(inner, (*path, key))
    return places
