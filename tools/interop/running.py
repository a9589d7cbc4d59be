"""Nets in other readers, each in a process of its own.

Readers end the process for some nets that they do not take.
"""

from __future__ import annotations

import importlib.util
import multiprocessing
import os
from collections.abc import Callable, Mapping, Sequence
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np

Arrays = Mapping[str, np.ndarray]
Makers = Mapping[str, tuple[str, int]]  # of blobs: the last layer, and which top

PATIENCE_S = 60.0
MODULES = {"opencv": "cv2", "mnn": "MNN", "onnx": "onnxruntime"}
# Imported once, by the process that the others are copies of.
PRELOAD = ["numpy", "_tools", *MODULES.values()]

MNN_WINOGRAD_MEMORY_LEVEL = 3  # its number among the hints; the module has no names


class ReaderError(RuntimeError):
    """A reader refused a net, ended its process or did not answer."""


def is_installed(reader: str) -> bool:
    """Tell whether a reader is here."""
    return importlib.util.find_spec(MODULES[reader]) is not None


def makers_of(layers: Sequence[Any]) -> dict[str, tuple[str, int]]:
    """Return for every blob the layer that writes it last, and which top it is."""
    return {
        top: (layer.name, index)
        for layer in layers
        for index, top in enumerate(layer.top)
    }


def run(
    reader: str,
    folder: str | Path,
    inputs: Arrays,
    names: Sequence[str],
    makers: Makers,
    *,
    patience_s: float = PATIENCE_S,
) -> dict[str, np.ndarray]:
    """Return the blobs `names` that a reader computes from the files in a folder.

    The files are `net.prototxt` and `net.caffemodel`, or `net.onnx`; what a reader says
    goes to the file `log` beside them. Where the main program is a file or a module, it
    is imported for each run; the `__main__` of a package, such as pytest, is not.
    Raises `ReaderError`.
    """
    # Not "fork": a process with threads, as those of tests are, is not to be copied.
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(PRELOAD)
    ours, theirs = context.Pipe(duplex=False)
    arguments = (
        theirs,
        reader,
        str(Path(folder).resolve()),
        dict(inputs),
        list(names),
        dict(makers),
    )
    child = context.Process(target=_child, args=arguments)
    child.start()
    theirs.close()
    try:
        got = ours.recv() if ours.poll(patience_s) else "did not answer"
    except EOFError:
        got = "ended its process"
    finally:
        child.kill()
        child.join()
        ours.close()
    if isinstance(got, str):
        raise ReaderError(f"{reader}: {got}")
    return dict(zip(names, got, strict=True))


def _child(
    pipe: Connection,
    reader: str,
    folder: str,
    inputs: Arrays,
    names: Sequence[str],
    makers: Makers,
) -> None:
    os.chdir(folder)  # MNN's converter leaves a file where it is called
    with (Path(folder) / "log").open("w") as log:
        os.dup2(log.fileno(), 1)
        os.dup2(log.fileno(), 2)
        try:
            pipe.send(RUNS[reader](folder, inputs, names, makers))
        except BaseException as error:
            pipe.send(f"{type(error).__name__}: {error}"[:500])
        pipe.close()


def _opencv(
    folder: str, inputs: Arrays, names: Sequence[str], makers: Makers
) -> list[np.ndarray]:
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
    return [np.array(got[layer][index]) for layer, index in asked]


def _mnn(
    folder: str, inputs: Arrays, names: Sequence[str], makers: Makers
) -> list[np.ndarray]:
    import _tools
    import MNN

    arguments = ["mnnconvert", "-f", "CAFFE", "--modelFile", f"{folder}/net.caffemodel"]
    arguments += ["--prototxt", f"{folder}/net.prototxt", "--bizCode", "x"]
    _tools.mnnconvert([*arguments, "--MNNModel", f"{folder}/net.mnn"])
    net = MNN.Interpreter(f"{folder}/net.mnn")
    # Without Winograd's convolutions, whose sums are a hundred times less exact.
    net.setSessionHint(MNN_WINOGRAD_MEMORY_LEVEL, 0)
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
        raise ReaderError(f"runSession returned {status}")
    outputs = net.getSessionOutputAll(session)
    got = []
    for name in names:
        # The last layer in place gives a blob its name.
        key = name if name in outputs else makers[name][0]
        if key not in outputs and len(outputs) == len(names) == 1:
            key = next(iter(outputs))
        shape = outputs[key].getShape()
        host = MNN.Tensor(shape, kind, np.zeros(shape, np.float32), order)
        outputs[key].copyToHostTensor(host)
        got.append(np.array(host.getNumpyData()).reshape(shape))
    return got


def _onnx(
    folder: str, inputs: Arrays, names: Sequence[str], makers: Makers
) -> list[np.ndarray]:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    path, providers = f"{folder}/net.onnx", ["CPUExecutionProvider"]
    session = onnxruntime.InferenceSession(path, options, providers=providers)
    known = {one.name for one in session.get_inputs()}
    feed = {name: value for name, value in inputs.items() if name in known}
    return [np.asarray(value) for value in session.run(list(names), feed)]


RUNS: Mapping[str, Callable[..., list[np.ndarray]]] = {
    "opencv": _opencv,
    "mnn": _mnn,
    "onnx": _onnx,
}
