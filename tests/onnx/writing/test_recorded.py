"""Nets that Caffe itself computed, as ONNX: its numbers, or a layer for training."""

from pathlib import Path

import numpy as np
import pytest

import netspec
import runtime
from netspec.errors import UnsupportedError
from netspec.graph import build
from netspec.nets.filter import merge_state
from netspec.schema import TEST
from netspec.text import as_net
from tests.onnx.writing.running import check_equal, in_onnx
from tests.reference import needs_reference, reference_dir

FILES = ("Data", "HDF5Data", "HDF5Output", "ImageData", "MemoryData", "WindowData")
ENDS = ("it is a loss", "it measures or writes results")


def recorded() -> list[Path]:
    """The cases of layers; none where there are none."""
    folder = reference_dir()
    return (
        [] if folder is None else sorted(folder.glob("conformance/cases/layer/*.npz"))
    )


@needs_reference
@pytest.mark.filterwarnings("ignore:.*begins every run:netspec.SpecWarning")
def test_recorded_cases_are_equal_or_refused_as_losses():
    equal = refused = 0
    for path in recorded():
        case = np.load(path, allow_pickle=False)
        net = as_net(str(case["prototxt"]))
        files = any(name.startswith(("file:", "tar:")) for name in case.files)
        own = any(x.type in FILES for x in net.layer)
        if str(case["phase"]) != "TEST" or files or own:
            continue
        graph = build(net, merge_state(net, TEST))
        try:
            model = netspec.to_onnx(net, weights_of_case(case, graph))
        except UnsupportedError as error:
            said = str(error)
        else:
            said = ""
        if said:
            assert any(reason in said for reason in ENDS), path.stem
            refused += 1
            continue
        x, wanted = of_case(case, "input:"), of_case(case, "out:")
        for name in graph.inputs:  # what a case leaves out is 0
            x.setdefault(name, np.zeros(shape_of_input(graph, name), np.float32))
        outputs = {n: v for n, v in wanted.items() if n in graph.outputs and n not in x}
        got = in_onnx(model, x)
        check_equal({n: got[n] for n in outputs}, outputs)
        equal += 1
    assert equal > 200
    assert refused > 40


def of_case(case, start):
    """The arrays of a case whose names begin so, without that."""
    names = [name for name in case.files if name.startswith(start)]
    return {name[len(start) :]: case[name] for name in names}


def weights_of_case(case, graph):
    """All parameters, those of the case where it has them."""
    made = runtime.Net(graph.message, runtime.TEST, backend="portable")
    weights = {n: [np.array(b.data) for b in held] for n, held in made.params.items()}
    for name, values in of_case(case, "param:").items():
        layer, _, slot = name.rpartition(":")
        weights[layer][int(slot)] = values
    return weights


def shape_of_input(graph, name):
    """The shape of an input, also of one that a layer changes in place."""
    return next(e.shape for e in graph.edges if e.blob == name)
