"""Graphs compared with what Caffe itself made of the same nets."""

import json
from pathlib import Path

import numpy as np
import pytest
from google.protobuf import text_format

from netspec.errors import SpecError
from netspec.graph import build
from netspec.nets.filter import merge_state
from netspec.nets.upgrade import upgrade_net
from netspec.schema import TEST, TRAIN, NetParameter
from netspec.summary import summary_of
from tests.reference import needs_reference, reference_dir

# Filter learns its batch when it runs, and MemoryData reshapes its labels then.
KNOWN_AT_RUN = {"Filter", "MemoryData"}


def cases(kind: str) -> list[Path]:
    folder = reference_dir()
    if folder is None:
        return []
    found = []
    for group in ("layer", "net", "io"):
        for path in sorted((folder / "conformance" / "cases" / group).glob("*.npz")):
            with np.load(path, allow_pickle=False) as case:
                this = str(case["kind"]) if "kind" in case else "net"
                if this == kind and "prototxt" in case:
                    found.append(path)
    return found


def read(path: Path) -> dict[str, np.ndarray]:
    with np.load(path, allow_pickle=False) as case:
        return {name: case[name] for name in case.files}


def source_shapes(net, case):
    """Shapes of the tops of layers that read a file, as Caffe recorded them."""
    tops = [
        top
        for layer in upgrade_net(net).layer
        if layer.type in ("Data", "HDF5Data")
        for top in layer.top
    ]
    shapes = {top: case[f"out:{top}"].shape for top in tops if f"out:{top}" in case}
    for top in tops:
        if f"cands:{top}" in case:  # (N, candidates, ...)
            n, _, *rest = case[f"cands:{top}"].shape
            shapes[top] = (n, *rest)
    return shapes


def graph_of(case):
    net = text_format.Parse(str(case["prototxt"]), NetParameter())
    phase = {"TRAIN": TRAIN, "TEST": TEST}[str(case["phase"])]
    level = int(case["level"]) if "level" in case else 0
    stages = json.loads(str(case["stages"])) if "stages" in case else []
    state = merge_state(net, phase, level, stages)
    return build(net, state, shapes=source_shapes(net, case))


@needs_reference
@pytest.mark.parametrize("path", cases("net"), ids=lambda path: path.stem)
def test_structure_and_shapes_are_those_of_caffe(path):
    case = read(path)
    built = graph_of(case)
    structure = {
        "layers": [node.name for node in built.nodes],
        "types": [node.type for node in built.nodes],
        "inputs": list(built.inputs),
        "outputs": list(built.outputs),
        "blobs": list(built.blobs),
    }
    for name, ours in structure.items():
        if name in case:
            assert ours == json.loads(str(case[name])), name
    for member, array in case.items():
        kind, _, rest = member.partition(":")
        if kind in ("out", "indiff", "input") and rest in built.blobs:
            edge = built.edges[built.blobs[rest]]
            if built.nodes[edge.producer].type not in KNOWN_AT_RUN:
                assert edge.shape == array.shape, member
        if kind in ("param", "paramdiff"):
            name, _, slot = rest.rpartition(":")
            definition = built.node_of[name].op.params[int(slot)]
            assert definition.shape == array.shape, member


@needs_reference
@pytest.mark.parametrize("path", cases("reject"), ids=lambda path: path.stem)
def test_what_caffe_refuses_is_refused(path):
    case = read(path)
    text = str(case["prototxt"])
    try:
        net = text_format.Parse(text, NetParameter())
    except text_format.ParseError:
        return  # not a net at all
    with pytest.raises(SpecError):
        build(net, merge_state(net, TEST))


def zoo(status: str) -> list[tuple[str, dict]]:
    folder = reference_dir()
    if folder is None:
        return []
    with (folder / "zoo" / "expected.json").open() as file:
        expected = json.load(file)
    return [(name, e) for name, e in expected.items() if e["status"] == status]


def zoo_graph(name: str, phase: int):
    folder = reference_dir()
    assert folder is not None
    net = text_format.Parse((folder / "zoo" / name).read_text(), NetParameter())
    return build(net, merge_state(net, phase))


@needs_reference
@pytest.mark.parametrize("phase", [TEST, TRAIN], ids=["TEST", "TRAIN"])
@pytest.mark.parametrize("name", [name for name, _ in zoo("built")])
def test_published_nets_are_built_as_caffe_builds_them(name, phase):
    expected = dict(zoo("built"))[name]
    if phase == TRAIN and "train_fails" in expected:
        with pytest.raises(SpecError):
            zoo_graph(name, phase)
        return
    if phase == TRAIN:
        expected = {**expected, **expected.get("train", {})}
    built = zoo_graph(name, phase)
    summary = summary_of(built).as_dict()
    unique = expected.get("num_params_unique", expected["num_params"])
    every = sum(layer["num_params"] for layer in summary["layers"])
    assert summary["blobs"] == expected["blobs"]
    assert summary["params"] == expected["params"]
    assert summary["inputs"] == expected["inputs"]
    assert summary["outputs"] == expected["outputs"]
    assert summary["num_params"] == unique
    assert every == expected["num_params"]
    assert len(summary["layers"]) == expected["net_layers"]
    assert len(built.nodes) - len(summary["layers"]) == expected["splits"]


@needs_reference
@pytest.mark.parametrize("name", [name for name, _ in zoo("refused")])
def test_published_nets_that_caffe_refuses_are_refused(name):
    with pytest.raises(SpecError):
        zoo_graph(name, TEST)
