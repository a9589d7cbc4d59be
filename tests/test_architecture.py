"""The rules of the architecture, checked by reading the sources."""

from __future__ import annotations

import ast
import importlib
import inspect
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

from tests.patience import PATIENCE_S
from tools.import_graph import (
    ORDER,
    Import,
    against,
    circles,
    imports_of,
    source_files,
    ties,
    unplaced,
)

ROOT = Path(__file__).resolve().parents[1]
MAX_LINES = 450
MAP = ROOT / "docs" / "architecture.md"
CUPY_NAMES = Path(__file__).with_name("cupy_names.txt")
UFUNC_ARGUMENTS = {"out", "dtype", "casting"}  # no `where`: CuPy lacks it

# Files and folders that may import libraries of their own, where they use them.
OPTIONAL = {
    "netspec/draw/output.py": {"cairosvg", "resvg_py"},
    "netspec/onnx/": {"numpy", "onnx"},
    "netspec/readers/": {"numpy"},
    "netspec/surgery/": {"numpy"},
    "netspec/weights/": {"h5py", "numpy", "torch"},
}


def sources(folder: str) -> list[Path]:
    """The Python files of a folder, or the file itself."""
    path = ROOT / folder
    return [path] if path.suffix == ".py" else sorted(path.rglob("*.py"))


def imports(path: Path) -> Iterator[tuple[str, int]]:
    """Every module a file imports, not only for its types, with the line."""
    tree = ast.parse(path.read_text())
    skipped: set[ast.AST] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            skipped |= {inner for each in node.body for inner in ast.walk(each)}
    for node in ast.walk(tree):
        if node in skipped:
            continue
        if isinstance(node, ast.Import):
            for name in node.names:
                yield name.name, node.lineno
        elif isinstance(node, ast.ImportFrom):
            for name in node.names:
                yield f"{node.module}.{name.name}", node.lineno


def within(module: str, packages: tuple[str, ...]) -> bool:
    return any(module == p or module.startswith(f"{p}.") for p in packages)


def offenders(folder: str, allowed) -> list[str]:
    """Imports under `folder` that `allowed(path, module)` refuses."""
    return [
        f"{path.relative_to(ROOT)}:{line}: {module}"
        for path in sources(folder)
        for module, line in imports(path)
        if not allowed(path.relative_to(ROOT).as_posix(), module)
    ]


def is_standard(module: str) -> bool:
    return module.split(".")[0] in sys.stdlib_module_names


def test_netspec_imports_protobuf_and_the_standard_library_only():
    def allowed(path: str, module: str) -> bool:
        own = within(module, ("netspec", "google.protobuf"))
        allowed = {
            name
            for place, names in OPTIONAL.items()
            if path.startswith(place)
            for name in names
        }
        return own or is_standard(module) or module.split(".")[0] in allowed

    assert sources("netspec")
    assert offenders("netspec", allowed) == []


@pytest.mark.parametrize("late", ["netspec.ops.base", "netspec.graph", "netspec.text"])
def test_a_mere_import_does_not_wait_for_what_it_does_not_need(late):
    code = f"import netspec, sys; sys.exit({late!r} in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_netspec_loads_no_numpy():
    code = "import netspec, sys; sys.exit('numpy' in sys.modules)"
    assert (
        subprocess.run(
            [sys.executable, "-c", code], check=False, timeout=PATIENCE_S
        ).returncode
        == 0
    )


def test_cupy_is_imported_in_its_backend_only():
    def allowed(path: str, module: str) -> bool:
        return not within(module, ("cupy", "cupyx", "cudnn")) or path.startswith(
            "runtime/backends/cuda/"
        )

    assert offenders("runtime", allowed) == []


@pytest.fixture(scope="module")
def graph() -> list[Import]:
    """All imports among the files of both packages."""
    return imports_of(ROOT, source_files(ROOT))


@pytest.mark.parametrize("folder", ORDER)
def test_a_file_imports_only_what_stands_before_it(folder, graph):
    assert ties(graph, folder)
    assert [str(each) for each in against(graph, folder)] == []


@pytest.mark.parametrize("folder", ORDER)
def test_every_file_and_folder_has_a_place_in_the_order(folder):
    assert unplaced(source_files(ROOT), folder) == []


def test_no_files_import_each_other_in_a_circle(graph):
    assert circles(graph) == []


def test_the_order_sees_imports_in_functions_and_for_types_only(tmp_path):
    files = {
        "netspec/__init__.py": "",
        "netspec/errors.py": "def f():\n    from netspec import schema\n",
        "netspec/schema.py": (
            "from typing import TYPE_CHECKING\n\nif TYPE_CHECKING:\n"
            "    from netspec.errors import A, B\n"
        ),
        "runtime/__init__.py": "import netspec.errors\n",
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    found = imports_of(tmp_path, source_files(tmp_path))
    assert [str(each) for each in against(found, "netspec")] == [
        "netspec/errors.py:2 imports schema of netspec/schema.py"
    ]
    assert "netspec/schema.py:4 imports A, B of netspec/errors.py" in map(str, found)
    assert circles(found) == [["netspec/errors.py", "netspec/schema.py"]]
    assert against(found, "") == []
    assert "export" in unplaced(source_files(tmp_path), "netspec")


def packages() -> list[Path]:
    """The folders of both packages, without the two themselves."""
    inits = [path for name in ORDER[""] for path in ROOT.glob(f"{name}/**/__init__.py")]
    return [
        path.parent for path in inits if len(path.parent.relative_to(ROOT).parts) > 1
    ]


def test_the_map_says_of_every_package_what_it_says_itself():
    tables = MAP.read_text().split("## The map")[1].split("### The order")[0]
    said = {}
    package = ""
    for cell, text in re.findall(r"^\| `([\w/]+)` \| (.+) \|$", tables, re.MULTILINE):
        package = cell if cell in ORDER[""] else package
        said[f"{package}/{cell.rstrip('/')}"] = text
    assert len(packages()) > 20
    for folder in packages():
        name = folder.relative_to(ROOT).as_posix()
        doc = ast.get_docstring(ast.parse((folder / "__init__.py").read_text()))
        assert said.get(name) == str(doc).splitlines()[0].rstrip("."), name


def test_the_map_has_the_order_of_imports():
    text = MAP.read_text().split("<!-- order -->")[1].split("<!-- end of order -->")[0]
    shown: dict[str, list[str]] = {}
    name = ""
    for line in text.splitlines():
        if line.strip() and not line.startswith("```"):
            name = line[:10].strip() or name
            shown.setdefault(name, []).append(" ".join(line[10:].split()))
    for name in ORDER[""]:
        assert shown[name] == [" ".join(row.split()) for row in ORDER[name]]


def test_the_map_names_places_that_exist():
    section = MAP.read_text().split("## Where do I change")[1]
    paths = re.findall(r"`((?:netspec|runtime|tools)/[\w/.]+)`", section)
    assert len(paths) > 20
    assert [path for path in paths if not (ROOT / path).exists()] == []


def test_models_import_netspec_and_their_neighbours_only():
    neighbours = [path.stem for path in sources("models")]

    def allowed(path: str, module: str) -> bool:
        # Layers in Python are written for pycaffe, under whose name this runtime runs.
        own = ("caffe", "numpy", "rpn") if "rpn" in Path(path).parts else ("netspec",)
        return is_standard(module) or within(module, (*own, *neighbours))

    assert sources("models")
    assert offenders("models", allowed) == []


@pytest.mark.parametrize("folder", ["netspec", "runtime", "tools"])
def test_nothing_imports_models_or_tests(folder):
    def allowed(path: str, module: str) -> bool:
        return not within(module, ("models", "tests"))

    assert offenders(folder, allowed) == []


def test_nothing_in_the_runtime_imports_pycaffe():
    def allowed(path: str, module: str) -> bool:
        return path.startswith("runtime/pycaffe/") or not within(
            module, ("runtime.pycaffe",)
        )

    assert offenders("runtime", allowed) == []


@pytest.mark.parametrize("folder", ["netspec", "runtime", "models", "tools"])
def test_modules_are_short(folder):
    lengths = {}
    for path in sources(folder):
        text = path.read_text()
        if "GENERATED" not in text[:400].upper():
            lengths[path.relative_to(ROOT).as_posix()] = text.count("\n")
    assert lengths
    assert {name: n for name, n in lengths.items() if n > MAX_LINES} == {}


def test_every_layer_file_has_its_mirror():
    missing = []
    for path in sorted((ROOT / "runtime/layers").glob("*.py")):
        if path.stem.startswith("_") or path.stem == "base":
            continue
        mirrors = (f"netspec/ops/{path.name}", f"tests/layers/test_{path.name}")
        missing += [mirror for mirror in mirrors if not (ROOT / mirror).is_file()]
    assert missing == []


def public_objects() -> Iterator[tuple[str, object]]:
    """What the packages re-export, and the public names of their modules' `__all__`."""
    for package in ("netspec", "runtime"):
        for path in sources(package):
            parts = path.relative_to(ROOT).with_suffix("").parts
            if parts[-1] == "__main__":
                continue
            is_package = parts[-1] == "__init__"
            name = ".".join(parts[:-1] if is_package else parts)
            module = importlib.import_module(name)
            names = getattr(module, "__all__", None)
            if names is None:
                names = re_exported(path) if is_package else []
            for public in names:
                yield f"{name}.{public}", getattr(module, public)


def re_exported(path: Path) -> list[str]:
    """The names of `from x import y as y`."""
    return [
        name.asname
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.ImportFrom)
        for name in node.names
        if name.asname == name.name
    ]


def test_every_public_name_has_a_docstring():
    checked, bare = 0, []
    for name, thing in public_objects():
        ours = str(getattr(thing, "__module__", "")).startswith(("netspec", "runtime"))
        message = hasattr(thing, "DESCRIPTOR")
        if not ours or message or not (inspect.isclass(thing) or callable(thing)):
            continue
        checked += 1
        if not inspect.getdoc(thing):
            bare.append(name)
    assert checked > 20
    assert bare == []


# --- portable kernels: only what both array modules have


def cupy_arguments() -> dict[str, set[str] | None]:
    """The arguments of CuPy's functions by name; None where any may be passed."""
    table: dict[str, set[str] | None] = {}
    for line in CUPY_NAMES.read_text().splitlines():
        if line.startswith("#"):
            continue
        name, _, arguments = line.partition(":")
        words = set(arguments.split())
        table[name] = UFUNC_ARGUMENTS if words == {"ufunc"} else words or None
    return table


def dotted(node: ast.expr) -> list[str]:
    """The words of a.b.c, or none where something else is called."""
    if isinstance(node, ast.Name):
        return [node.id]
    if isinstance(node, ast.Attribute):
        start = dotted(node.value)
        return [*start, node.attr] if start else []
    return []


def array_calls(path: Path) -> Iterator[tuple[str, list[str], int]]:
    """Calls of `xp.name(...)`: the name, the keywords, the line."""
    for node in ast.walk(ast.parse(path.read_text())):
        if not isinstance(node, ast.Call):
            continue
        words = dotted(node.func)
        if "xp" in words[:-1]:
            name = ".".join(words[words.index("xp") + 1 :])
            yield name, [str(keyword.arg) for keyword in node.keywords], node.lineno


def unportable(path: Path) -> list[str]:
    """Calls in a file that CuPy cannot answer."""
    table = cupy_arguments()
    found = []
    for name, keywords, line in array_calls(path):
        where = f"{path.name}:{line}: xp.{name}"
        if name not in table:
            found.append(f"{where} is not in CuPy")
            continue
        known = table[name]
        extra = set(keywords) - known if known is not None else set()
        found += [f"{where}({word}=) is not in CuPy" for word in sorted(extra)]
    return found


def test_portable_kernels_call_only_what_cupy_has():
    files = [*sources("runtime/layers"), ROOT / "runtime/primitives.py"]
    assert sum(1 for path in files for _ in array_calls(path)) > 50
    assert [line for path in files for line in unportable(path)] == []


def test_the_portability_check_sees_what_cupy_lacks(tmp_path):
    path = tmp_path / "kernel.py"
    path.write_text(
        "self.xp.add(a, b, out=c, where=m)\n"
        "xp.copyto(a, b, where=m)\n"
        "xp.where(m, a, b, out=c)\n"
        "self.backend.xp.asarray_of_luck(a)\n"
    )
    assert unportable(path) == [
        "kernel.py:1: xp.add(where=) is not in CuPy",
        "kernel.py:3: xp.where(out=) is not in CuPy",
        "kernel.py:4: xp.asarray_of_luck is not in CuPy",
    ]


def installed_cupy() -> ModuleType:
    return pytest.importorskip("cupy", reason="CuPy is not installed")


def test_the_list_of_cupy_names_is_true_of_the_installed_one():
    cupy = installed_cupy()
    missing = []
    for name in cupy_arguments():
        thing = cupy
        for word in name.split("."):
            thing = getattr(thing, word, None)
        if thing is None:
            missing.append(name)
    assert missing == []
