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
from config.rules import Recording, Rule
from config.ruletables import DefaultNames, DefaultRules, RuleReader, Verbatim
from config.scalars import Sources
from config.sections import OptionsTable, Part, SectionReader, Trial

CANDIDATES: Final = ("agent.toml", "/etc/nightjar/agent.toml")


def untried(part: Part) -> None:
    """The trial of those who only want to read."""


def no_rules(kind: str) -> tuple[Rule, ...]:
    """The default rules where collectors have none."""
    return ()


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
    defaults: DefaultRules = no_rules,
) -> Config:
    """Read a file and the `conf.d/*.toml` beside it; without a file: the defaults and the host collector.

    `collectors` and `exporters` give the Options of each kind when called; only those of configured kinds are called.
    `trial` may try out each part whose options are sound, and each rule, and refuse it with a ValueError.
    `defaults` gives the default rules of a collector's kind, which `[[rules]]` may name and change in part.
    Raises ConfigError with every fault there is.
    """
    config = _load(path, _Known(collectors, exporters, defaults, trial), environ)
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
    defaults: DefaultRules = no_rules,
) -> Config:
    """As `load`, from a text that would stand in `file`; nothing is merged into it."""
    config = _load_text(text, file, _Known(collectors, exporters, defaults), environ)
    if isinstance(config, Config):
        return config
    raise ConfigError(config)


class _Known(NamedTuple):
    """What the caller knows of plugins."""

    collectors: OptionsTable
    exporters: OptionsTable
    defaults: DefaultRules
    trial: Trial = untried


def _load_text(text: str, file: str, known: _Known, environ: Mapping[str, str] | None) -> Config | list[Fault]:
    environ = environment.process_environ() if environ is None else environ
    try:
        root = parse_document(text.removeprefix("\ufeff").replace("\r\n", "\n"), file)
    except Malformed as malformed:
        return [malformed.fault]
    return _Loading(Read(root, (file,)), known, environ).config()


def _load(path: str | None, known: _Known, environ: Mapping[str, str] | None) -> Config | list[Fault]:
    environ = environment.process_environ() if environ is None else environ
    if path is None:
        host = {"host": Node({}, Place())} if "host" in known.collectors else {}
        read = Read(Node({"collectors": Node(host, Place())}, Place()))
    else:
        read = _read_all(path)
    return _Loading(read, known, environ).config()


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

    def __init__(self, read: Read, known: _Known, environ: Mapping[str, str]) -> None:
        self._root, self._files = read.root, read.files
        self._converter = Converter(Sources(environ), whole=read.whole)
        self._converter.faults += read.faults
        self._verbatim = Converter(Verbatim(environ), whole=read.whole)
        self._environ = environ
        self._known = known
        collectors, exporters, trial = known.collectors, known.exporters, known.trial
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
        rules, rule_files = self._rules()
        if faults := [*self._converter.told(), *self._verbatim.told()]:
            return faults
        return Config(
            agent=agent,
            spool=spool,
            collectors=collectors,
            exporters=exporters,
            rules=rules,
            files=self._files,
            rule_files=rule_files,
            places=self._places,
        )

    def _refuse_unknown_sections(self) -> None:
        sections = ("agent", "spool", *self._plugins)
        known = (*sections, "rules", "rule_files")
        for key, node in self._root.value.items():
            if key not in known:
                kinds = ", ".join([*(f"[{name}]" for name in sections), "[[rules]]", "rule_files"])
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
            self._converter.judged(node, kind, name, lambda: self._known.trial(found))
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

    def _rules(self) -> tuple[tuple[Rule | Recording, ...], tuple[str, ...]]:
        """All rules, those of `[[rules]]` first, and the rule files."""
        found: list[tuple[Rule | Recording, Node]] = []
        from_files, rule_files = self._rule_files()
        if (node := self._root.value.get("rules")) is not None:
            configured = self._root.value.get("collectors")
            kinds = list(configured.value) if configured and isinstance(configured.value, dict) else []
            others = {rule.alert for rule, _ in from_files if isinstance(rule, Rule)}
            defaults = DefaultNames(self._known.collectors, kinds, self._known.defaults, others)
            found += RuleReader(self._verbatim, defaults, self._known.trial).read(node)
        found += from_files
        for number, (_, at) in enumerate(found):
            self._places |= flatten(at, ("rules", str(number)))
        return tuple(rule for rule, _ in found), rule_files

    def _rule_files(self) -> tuple[list[tuple[Rule | Recording, Node]], tuple[str, ...]]:
        node = self._root.value.get("rule_files")
        patterns = () if node is None else self._converter.convert(node, tuple[str, ...], "rule_files")
        if node is None or patterns is INVALID:
            return [], ()
        self._places |= flatten(node, ("rule_files",))
        from config.rulefiles import RuleFiles  # costs YAML's parser

        files = RuleFiles(self._verbatim, self._known.trial)
        found = [
            rule
            for number, (pattern, at) in enumerate(zip(patterns, node.value, strict=True))
            for rule in files.read(str(pattern), at, f"rule_files[{number}]")
        ]
        return found, tuple(files.paths)


def flatten(node: Node, path: tuple[str, ...]) -> dict[tuple[str, ...], Place]:
    """The place of every key below a table, by its path."""
    places = {path: node.place}
    if isinstance(node.value, dict):
        for key, inner in node.value.items():
            places |= flatten(inner, (*path, key))
    return places
