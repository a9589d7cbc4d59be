"""Runs nets in other readers, in processes of their own, and compares with `runtime`.

Readers end the process for some nets that they do not take.
"""

import multiprocessing
import tempfile
import warnings
from pathlib import Path

import numpy as np
import pytest

import runtime
from netspec.readers import export_for
from netspec.schema import TEST
from netspec.text import as_net
from netspec.weights import as_model

PATIENCE_S = 60


def net_of(layers, **inputs):
    """Return the text of a net: an Input for each shape, and `layers` as text."""
    sources = "".join(
        f'layer {{ name: "{name}" type: "Input" top: "{name}" input_param {{ shape {{ '
        f"{' '.join(f'dim: {size}' for size in shape)} }} }} }}\n"
        for name, shape in inputs.items()
    )
    return sources + layers


class Case:
    """A net with random values of its parameters and inputs, and what Caffe computes.

    values: of inputs, by name, where not every number means something.
    """

    def __init__(self, text, *, seed=0, values=None):
        random = np.random.default_rng(seed)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            net = runtime.Net(as_net(text), TEST, backend="portable")
        for name, blobs in net.params.items():
            for slot, blob in enumerate(blobs):
                blob.data[...] = random.normal(size=blob.data.shape) * 0.5
                if net.graph.node_of[name].type == "BatchNorm" and slot:
                    blob.data[...] = random.uniform(0.5, 2, blob.data.shape)
        self.inputs = {
            name: np.float32(random.normal(size=net.blobs[name].data.shape))
            for name in net.inputs
        }
        for name, value in (values or {}).items():
            shape = net.blobs[name].data.shape
            self.inputs[name] = np.array(np.broadcast_to(np.float32(value), shape))
        for name, value in self.inputs.items():
            net.blobs[name].data[...] = value
        net.forward()
        self.outputs = {name: np.array(net.blobs[name].data) for name in net.outputs}
        weights = {
            name: [np.array(blob.data) for blob in blobs]
            for name, blobs in net.params.items()
        }
        self.model = as_model(text, weights)

    def exported(self, reader, **options):
        """Return the net for a reader; what it computes in `runtime` is the same."""
        done = export_for(self.model, reader, **options)
        net = runtime.Net(done.model, TEST, backend="portable")
        for name, value in self.inputs.items():
            net.blobs[name].data[...] = value
        net.forward()
        for name, value in self.outputs.items():
            assert difference(net.blobs[name].data, value) < 1e-5, name
        return done

    def differences(self, reader, done):
        """Return the largest difference of each output in a reader, or raise."""
        got = outputs_in(reader, done, self.inputs, list(self.outputs))
        return {
            name: difference(got[name], value, flat=True)
            for name, value in self.outputs.items()
        }


def check(reader, text, *, rule=None, **options):
    """Check that a net is right in a reader; `rule` must have rewritten something.

    Returns the layers that were written.
    """
    case = Case(text, **options)
    done = case.exported(reader)
    if rule is not None:
        assert rule in {finding.rule for finding in done.report.rewritten}
    if reader in RUNS:
        for name, off in case.differences(reader, done).items():
            assert off < 2e-4, (reader, name, off)
    return list(done.model.net.layer)


def difference(got, want, *, flat=False):
    """Return the largest difference as a part of the largest value.

    flat: shapes may differ by axes of 1.
    """
    got, want = np.asarray(got), np.asarray(want)
    if flat and got.size == want.size:
        got = got.reshape(want.shape)
    assert got.shape == want.shape, f"shape {got.shape} for {want.shape}"
    scale = max(1e-3, float(np.max(np.abs(want), initial=0)))
    off = np.max(np.abs(got.astype(np.float64) - want), initial=0) / scale
    return float(off) if np.isfinite(off) else np.inf


def outputs_in(reader, done, inputs, names):
    """Return what a reader computes, by blob; a child process runs it."""
    pytest.importorskip({"opencv": "cv2", "mnn": "MNN"}[reader])
    with tempfile.TemporaryDirectory() as folder:
        done.save(folder, "net")
        makers = {
            top: (layer.name, index)
            for layer in done.model.net.layer
            for index, top in enumerate(layer.top)
        }
        context = multiprocessing.get_context("fork")
        ours, theirs = context.Pipe()
        child = context.Process(
            target=_child, args=(theirs, reader, folder, inputs, names, makers)
        )
        child.start()
        theirs.close()
        try:
            got = ours.recv() if ours.poll(PATIENCE_S) else "did not answer"
        except EOFError:
            got = "ended the process"
        finally:
            child.kill()
            child.join()
    assert not isinstance(got, str), f"{reader}: {got}"
    return got


def _child(pipe, reader, folder, inputs, names, makers):
    with (Path(folder) / "log").open("w") as log:
        import os

        os.dup2(log.fileno(), 1)
        os.dup2(log.fileno(), 2)
        try:
            pipe.send(RUNS[reader](folder, inputs, names, makers))
        except BaseException as error:
            pipe.send(f"{type(error).__name__}: {error}"[:500])
        pipe.close()


def _opencv(folder, inputs, names, makers):
    import cv2

    cv2.setNumThreads(1)
    net = cv2.dnn.readNetFromCaffe(f"{folder}/net.prototxt", f"{folder}/net.caffemodel")
    known = set(net.getLayerNames()) | set(inputs)
    # A Convolution is known by the name of its blob, all others by their own.
    asked = [makers[name] if makers[name][0] in known else (name, 0) for name in names]
    for name, value in inputs.items():
        net.setInput(value, name)
    layers = sorted({layer for layer, _ in asked})
    got = dict(zip(layers, net.forwardAndRetrieve(layers), strict=True))
    return {
        name: np.array(got[layer][index])
        for name, (layer, index) in zip(names, asked, strict=True)
    }


def _mnn(folder, inputs, names, makers):
    import _tools
    import MNN

    arguments = ["mnnconvert", "-f", "CAFFE", "--modelFile", f"{folder}/net.caffemodel"]
    arguments += ["--prototxt", f"{folder}/net.prototxt", "--bizCode", "x"]
    _tools.mnnconvert([*arguments, "--MNNModel", f"{folder}/net.mnn"])
    net = MNN.Interpreter(f"{folder}/net.mnn")
    session = net.createSession({"numThread": 1, "backend": "CPU", "precision": "high"})
    tensors = net.getSessionInputAll(session)
    for name, value in inputs.items():
        net.resizeTensor(tensors[name], value.shape)
    net.resizeSession(session)
    tensors = net.getSessionInputAll(session)
    kind, order = MNN.Halide_Type_Float, MNN.Tensor_DimensionType_Caffe
    for name, value in inputs.items():
        value = np.ascontiguousarray(value)
        tensors[name].copyFrom(MNN.Tensor(value.shape, kind, value, order))
    status = net.runSession(session)
    if status:
        raise RuntimeError(f"runSession returned {status}")
    outputs = net.getSessionOutputAll(session)
    got = {}
    for name in names:
        # The last layer in place gives a blob its name.
        key = name if name in outputs else makers[name][0]
        if key not in outputs and len(outputs) == len(names) == 1:
            key = next(iter(outputs))
        shape = outputs[key].getShape()
        host = MNN.Tensor(shape, kind, np.zeros(shape, np.float32), order)
        outputs[key].copyToHostTensor(host)
        got[name] = np.array(host.getNumpyData()).reshape(shape)
    return got


RUNS = {"opencv": _opencv, "mnn": _mnn}
