"""Write docs/interop.md: models and layers in other readers.

    python -m tools.interop [--check] [--rules] [--layers] [--models NAME ...]

Every layer of the table of layers and every model is exported for each reader that
installs, run there, and compared with `runtime`. The exit status is 1, and nothing is
written, where a reader computes something else than the page would say. `--layers` runs
layers only, `--models` some models only, whose rows it replaces. `--rules` and
`--check` run no reader: the one writes the tables of rules and readers, the other
compares what follows from the rules.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Mapping, Sequence

from tools.interop import layers, models
from tools.interop.attempt import TITLES, TRIED, Outcome
from tools.interop.examples import EXAMPLES
from tools.interop.page import (
    PAGE,
    STATIC,
    TOLD,
    installed,
    mistakes,
    models_part,
    part,
    replaced,
    row_of,
    rows_of,
    wrong,
)
from tools.interop.running import is_installed

Found = dict[str, dict[str, Outcome]]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return its exit status."""
    parser = argparse.ArgumentParser(description="Write docs/interop.md.")
    parser.add_argument("--check", action="store_true", help="only compare")
    parser.add_argument("--rules", action="store_true", help="write rules only")
    parser.add_argument("--layers", action="store_true", help="run layers only")
    parser.add_argument(
        "--models",
        nargs="+",
        choices=models.names(),
        metavar="NAME",
        help="run these models only",
    )
    options = parser.parse_args(arguments)
    if options.check:
        problems = mistakes(PAGE.read_text())
        return _told([f"{PAGE}: {each}" for each in problems])
    if options.rules:
        _write(TOLD)
        return 0
    missing = [TITLES[reader] for reader in TRIED if not is_installed(reader)]
    if missing:
        return _told([f"not installed: {', '.join(missing)}"])
    if options.models and installed() not in PAGE.read_text():
        return _told([f"the other rows ran with other versions than {installed()}"])
    of_layers = {} if options.models else _run_layers()
    of_models = {} if options.layers else _run_models(options.models or models.names())
    if problems := [*wrong(of_layers), *wrong(of_models)]:
        return _told(problems)
    if of_layers:
        _write(STATIC)
    if of_models:
        text = PAGE.read_text()
        rows = rows_of(part(text, "models")) if options.models else {}
        rows.update({name: row_of(name, found) for name, found in of_models.items()})
        text = replaced(text, "models", models_part(dict(sorted(rows.items()))))
        PAGE.write_text(text)
    return 0


def _write(parts: Mapping[str, Callable[[], str]]) -> None:
    text = PAGE.read_text()
    for name, written in parts.items():
        text = replaced(text, name, written())
    PAGE.write_text(text)


def _run_layers() -> Found:
    found = {}
    for example in EXAMPLES:
        outcomes = dict(layers.differences(example))
        found[f"{example.kind} {example.options}"] = outcomes
    off = [one.off or 0 for row in found.values() for one in row.values()]
    largest = max(off, default=0)
    print(f"{len(found)} examples of layers; largest difference {largest:.1e}")
    return found


def _run_models(names: Sequence[str]) -> Found:
    found = {}
    for name in names:
        begun = time.perf_counter()
        found[name] = models.outcomes(name)
        said = [f"{TITLES[key]}: {one}" for key, one in found[name].items()]
        print(f"{name} ({time.perf_counter() - begun:.0f} s): {'; '.join(said)}")
        sys.stdout.flush()
    return found


def _told(problems: Sequence[str]) -> int:
    for problem in problems:
        print(problem, file=sys.stderr)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
