"""Where the machine code of a kernel is kept: by the source that goes into it."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

pytest.importorskip("numba")

from runtime.backends.cpu.machine import compiled

ROOT = Path(compiled.__file__).parents[4]
PACKAGE = "runtime.backends.cpu"
MODULES = [
    str(path.relative_to(ROOT).with_suffix("")).replace("/", ".")
    for path in sorted((ROOT / "runtime/backends/cpu").rglob("*.py"))
    if re.search(r"@kernel\(|= map_kernel\(", path.read_text(encoding="utf-8"))
]


def imported_by(module: str) -> set[str]:
    """Return the modules of the package that a module imports as it is loaded."""
    path = ROOT.joinpath(*module.split(".")).with_suffix(".py")
    found = set()
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module}
            # Of a package, the names are modules, which the file must then say.
            found |= {f"{node.module}.{one.name}" for one in node.names} & {*MODULES}
        elif isinstance(node, ast.Import):
            found |= {one.name for one in node.names}
    return {one for one in found if one.startswith(f"{PACKAGE}.")}


@pytest.mark.parametrize("module", MODULES)
def test_a_folder_depends_on_all_modules_whose_code_may_be_inside(module: str) -> None:
    everything, left = {module}, [module]
    while left:
        new = imported_by(left.pop()) - everything
        everything |= new
        left += new
    assert compiled.all_imported(module) == everything


def test_a_changed_helper_has_another_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    source = compiled.source

    def changed(name: str) -> bytes:
        return source(name) + b"#" * (name == f"{PACKAGE}.machine.sliding")

    def folder(name: str) -> Path:
        return compiled.cache_folder.__wrapped__(f"{PACKAGE}.{name}")

    before = folder("layers.pooling"), folder("layers.elementwise")
    monkeypatch.setattr(compiled, "source", changed)
    after = folder("layers.pooling"), folder("layers.elementwise")
    assert before[0] != after[0]
    assert before[1] == after[1]
