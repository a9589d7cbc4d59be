"""Where the machine code of a kernel is kept: by the source that goes into it."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

pytest.importorskip("llvmlite")

from runtime.backends.cpu.machine import compiled, objects

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


def test_a_file_is_read_only_where_it_belongs(tmp_path: Path) -> None:
    path = tmp_path / "kernels-1" / "relu.o"
    objects.write(path, b"code")
    assert objects.kept(path) == b"code"
    for other in (path.with_name("tanh.o"), tmp_path / "kernels-2" / "relu.o"):
        other.parent.mkdir(exist_ok=True)
        other.write_bytes(path.read_bytes())
        assert objects.kept(other) is None
    for wrong in (path.read_bytes()[:-1], b"", b"\n", b"something else"):
        path.write_bytes(wrong)
        assert objects.kept(path) is None


def test_code_is_read_where_nothing_can_be_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NETSPEC_CACHE_DIR", str(tmp_path))
    monkeypatch.setattr(compiled, "cache_folder", compiled.cache_folder.__wrapped__)
    monkeypatch.setattr(compiled, "keeps_code", lambda: False)
    monkeypatch.setattr(compiled, "load", lambda code: {b"code": 7, b"made": 8}[code])
    monkeypatch.setattr(compiled, "make", lambda *_: b"made")
    monkeypatch.setattr(compiled, "write", lambda *_: pytest.fail("written"))
    from runtime.backends.cpu.layers.elementwise import relu

    kernel = compiled.CompiledKernel(relu.function, "x", "")
    assert not kernel.is_ready
    assert compiled.Compiled(relu.function).address == 8
    path = compiled.code_file(relu.function)
    assert path is not None
    objects.write(path, b"code")
    assert kernel.is_ready
    assert compiled.Compiled(relu.function).address == 7


def test_a_file_that_cannot_be_put_in_place_leaves_nothing(tmp_path: Path) -> None:
    path = tmp_path / "folder" / "code.o"
    path.mkdir(parents=True)
    with pytest.raises(OSError):
        objects.write(path, b"code")
    assert [*path.parent.iterdir()] == [path]
