"""`python -m tests.bench [p1 p3 p4 p5 p6 p7 p8 | encode] [--short]`: measure against the peers.

Without names all of them run. In full, their lines of docs/benchmarks.md are written anew. `encode` is apart: the
encoders alone, in a table of its own.
"""

from __future__ import annotations

import argparse
import sys
from importlib import import_module

from tests.bench.processes import Missing
from tests.bench.table import Row, write_document, write_text

ALL = ("p1", "p3", "p4", "p5", "p6", "p7", "p8")


def main() -> int:
    """Run what was asked for."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=(__doc__ or "").split("\n")[0])
    parser.add_argument(
        "names", nargs="*", choices=[*ALL, "encode", []], metavar="NAME", help="which; default: all of them"
    )
    parser.add_argument("--short", action="store_true", help="minutes, without P7's hour of idling")
    options = parser.parse_args()
    if "encode" in options.names:
        import_module("tests.bench.bench_encode").main()
    names = [name for name in options.names or ALL if name != "encode"]
    modules = [import_module(f"tests.bench.{name}") for name in names]
    rows: list[Row] = []
    try:
        for name, module in zip(names, modules, strict=True):
            print(f"{name}: {module.__doc__.split(': ', 1)[1].splitlines()[0]}", file=sys.stderr, flush=True)
            rows += module.run(short=options.short)
    except Missing as error:
        print(f"bench: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    print(write_text(rows))
    if rows and not options.short:
        write_document("make bench", rows, [import_module(f"tests.bench.{name}") for name in ALL])
    return 0


if __name__ == "__main__":
    sys.exit(main())
