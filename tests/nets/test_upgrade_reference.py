"""Upgrades and messages compared with what Caffe itself made of the same files."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from netspec import schema, upgrade_text
from netspec.errors import TextError
from netspec.nets.upgrade import upgrade_net, upgrade_solver, upgrades_needed
from netspec.schema import NetParameter, SolverParameter
from netspec.text import parse, read_message, read_net, to_text
from tests.reference import needs_reference, reference_dir
from tests.text.field_trees import tree_of

REFERENCE = reference_dir()


def zoo() -> dict[str, dict[str, Any]]:
    if REFERENCE is None:
        return {}
    found: dict[str, Any] = json.loads(
        (REFERENCE / "zoo" / "expected.json").read_text()
    )
    return found


ZOO = zoo()


def names_with(*statuses: str) -> list[str]:
    return [name for name, entry in ZOO.items() if entry["status"] in statuses]


def zoo_path(name: str) -> Path:
    assert REFERENCE is not None
    return REFERENCE / "zoo" / name


@needs_reference
@pytest.mark.parametrize(
    "name",
    names_with("built", "parsed", "python-layer", "unknown-layer-types", "refused"),
)
def test_real_nets_are_upgraded_as_by_caffe(name):
    entry = ZOO[name]
    old = read_net(zoo_path(name))
    assert sorted(upgrades_needed(old)) == sorted(entry.get("upgrades", []))
    problems: list[str] = []
    new = upgrade_net(old, problems=problems)
    assert bool(problems) == bool(entry.get("upgrade_exit"))
    assert len(new.layer) == entry["layers"]
    assert Counter(layer.type for layer in new.layer) == entry["layer_types"]
    if "upgraded" in entry:
        assert new == read_net(zoo_path(entry["upgraded"]))
    assert parse(to_text(new), NetParameter) == new


@needs_reference
@pytest.mark.parametrize("name", names_with("upgrade-failed"))
@pytest.mark.filterwarnings("ignore::netspec.errors.SpecWarning")
def test_layers_that_caffe_cannot_upgrade_are_kept(name):
    assert ZOO[name]["reason"] == "Unknown layer name: locally_connected"
    problems: list[str] = []
    net = upgrade_net(read_net(zoo_path(name)), problems=problems)
    assert any("unknown V0 layer type 'locally_connected'" in each for each in problems)
    layers = [layer for layer in net.layer if layer.type == "LocallyConnected"]
    assert layers
    for layer in layers:
        assert layer.unknown_fields[0].startswith("locally_connected_param { num_out")
    assert parse(to_text(net), NetParameter) == net


@needs_reference
@pytest.mark.parametrize("name", names_with("syntax-error"))
def test_templates_are_refused_where_they_begin_to_differ(name):
    line = int(ZOO[name]["where"].split()[1].rstrip(":"))
    text = zoo_path(name).read_text().split("\n")
    assert "${" in text[line - 1]
    with pytest.raises(TextError):
        read_net(zoo_path(name))


@needs_reference
def test_real_solvers_are_read_and_upgraded_as_by_caffe():
    names = names_with("solver")
    assert len(names) > 100
    for name in names:
        entry = ZOO[name]
        solver = read_message(zoo_path(name), SolverParameter)
        assert sorted(f.name for f, _ in solver.ListFields()) == entry["fields"], name
        assert upgrade_solver(solver).type == entry["type"], name
        old = "solver_type" in entry.get("upgrades", [])
        assert solver.HasField("solver_type") == old, name


def message_of(name: str) -> type:
    kind = "Solver" if ZOO[name].get("kind") == "solver" else "Net"
    return getattr(schema, f"{kind}Parameter")


@needs_reference
@pytest.mark.parametrize("name", names_with("fork-fields"))
@pytest.mark.filterwarnings("ignore::netspec.errors.SpecWarning")
def test_fields_of_forks_are_read_and_written_as_they_stand(name):
    text = zoo_path(name).read_text()
    message = read_message(zoo_path(name), message_of(name))
    assert tree_of(to_text(message)) == tree_of(text)
    if message_of(name) is NetParameter:
        assert len(message.layer) + len(message.layers) == ZOO[name]["layers"]


COVERED = {  # by which test
    "built": "test_published_nets_are_built_as_caffe_builds_them",
    "refused": "test_published_nets_that_caffe_refuses_are_refused",
    "parsed": "test_real_nets_are_upgraded_as_by_caffe",
    "python-layer": "test_real_nets_are_upgraded_as_by_caffe",
    "unknown-layer-types": "test_real_nets_are_upgraded_as_by_caffe",
    "upgrade-failed": "test_layers_that_caffe_cannot_upgrade_are_kept",
    "syntax-error": "test_templates_are_refused_where_they_begin_to_differ",
    "solver": "test_real_solvers_are_read_and_upgraded_as_by_caffe",
    "fork-fields": "test_fields_of_forks_are_read_and_written_as_they_stand",
}


@needs_reference
def test_every_real_file_is_in_a_test():
    assert {entry["status"] for entry in ZOO.values()} == set(COVERED)
    here = Path(__file__)
    graphs = here.parents[1] / "graph" / "test_reference.py"
    tests = here.read_text() + graphs.read_text()
    assert all(f"def {test}(" in tests for test in COVERED.values())
    for name, entry in ZOO.items():
        assert zoo_path(name).is_file()
        assert ("upgraded" not in entry) or zoo_path(entry["upgraded"]).is_file()
        if entry["status"] == "built":
            told = {"blobs", "params", "inputs", "outputs", "num_params", "net_layers"}
            assert told <= entry.keys(), name


def cases(kind: str) -> list[Path]:
    if REFERENCE is None:
        return []
    return sorted((REFERENCE / "conformance" / "cases" / "io").glob(f"{kind}_*.npz"))


@needs_reference
@pytest.mark.parametrize("path", cases("upgrade"), ids=lambda path: path.stem)
def test_recorded_upgrades(path):
    numpy = pytest.importorskip("numpy")
    with numpy.load(path, allow_pickle=False) as case:
        name = str(case["message"])
        got = upgrade_text(str(case["prototxt"]), name)
        assert parse(got, name) == parse(str(case["upgraded"]), name)


@needs_reference
@pytest.mark.parametrize("path", cases("message"), ids=lambda path: path.stem)
def test_recorded_messages(path):
    numpy = pytest.importorskip("numpy")
    with numpy.load(path, allow_pickle=False) as case:
        kind = getattr(schema, str(case["message"]))
        message = kind.FromString(case["bytes"].tobytes())
        assert message.SerializeToString() == case["bytes"].tobytes()
        assert compared(message, json.loads(str(case["expect"]))) > 3


def compared(message: Any, expected: dict[str, Any]) -> int:
    """Compare all fields that are told; return how many values there were."""
    count = 0
    for field, value in expected.items():
        got = getattr(message, field)
        values = value if isinstance(value, list) else [value]
        ours_all = got if isinstance(value, list) else [got]
        for ours, theirs in zip(ours_all, values, strict=True):
            if isinstance(theirs, dict):
                count += compared(ours, theirs)
                continue
            if isinstance(theirs, str) and isinstance(ours, int):
                enum = message.DESCRIPTOR.fields_by_name[field].enum_type
                ours = enum.values_by_number[ours].name
            assert ours == pytest.approx(theirs) or ours == theirs, field
            count += 1
    return count
