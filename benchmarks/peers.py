"""The same nets, with the same parameters, in PyTorch, ONNX Runtime and OpenVINO."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from typing import Any

import numpy as np
from turns import Run

import netspec
import runtime

CONFIGURATIONS = {
    "PyTorch": {"channels_last": False, "compiled": False},
    "PyTorch channels_last": {"channels_last": True, "compiled": False},
    "PyTorch compile": {"channels_last": False, "compiled": True},
}
ENGINES = ("ONNX Runtime", "OpenVINO")


def torch_tensors(net: runtime.Net) -> list[Any]:
    """Return what the inputs of a net hold as tensors of PyTorch."""
    import torch

    return [torch.from_numpy(net.blobs[name].data.copy()) for name in net.inputs]


def torch_step(net: runtime.Net, *, channels_last: bool, compiled: bool) -> Run:
    """Return a training step of the same net in PyTorch; it returns the loss."""
    import torch

    module, inputs = _module(net, train=True, channels_last=channels_last)
    optimizer = torch.optim.SGD(
        module.parameters(), lr=1e-4, momentum=0.9, weight_decay=5e-4, fused=True
    )
    run = torch.compile(module) if compiled else module

    def step() -> float:
        optimizer.zero_grad(set_to_none=True)
        loss = run(*inputs)
        loss.backward()
        optimizer.step()
        return float(loss.detach())

    return step


def torch_use(net: runtime.Net, *, channels_last: bool, compiled: bool) -> Run:
    """Return an inference of the same net in PyTorch; it returns the output."""
    import torch

    module, inputs = _module(net, train=False, channels_last=channels_last)
    run = torch.compile(module) if compiled else module

    def use() -> Any:
        with torch.inference_mode():
            return run(*inputs)

    return use


def _module(
    net: runtime.Net, *, train: bool, channels_last: bool
) -> tuple[Any, list[Any]]:
    import torch
    from torch_net import TorchNet

    module: Any = TorchNet(net.graph, train=train)
    module.load(net)
    inputs = torch_tensors(net)
    if channels_last:
        module = module.to(memory_format=torch.channels_last)
        inputs = [
            x.to(memory_format=torch.channels_last) if x.ndim == 4 else x
            for x in inputs
        ]
    return module, inputs


def onnx_file(net: runtime.Net, param: Any) -> bytes:
    """Return the net for use as an ONNX file."""
    values = {name: [blob.data for blob in blobs] for name, blobs in net.params.items()}
    file: bytes = netspec.to_onnx(param, values).SerializeToString()
    return file


def engine_use(name: str, file: bytes, x: np.ndarray, threads: int) -> Run:
    """Return an inference of a file by one of `ENGINES`; it returns the output."""
    if name == "ONNX Runtime":
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        session = onnxruntime.InferenceSession(
            file, options, providers=["CPUExecutionProvider"]
        )
        feed = {session.get_inputs()[0].name: x}
        return lambda: session.run(None, feed)[0]
    import openvino

    core = openvino.Core()
    settings = {
        "INFERENCE_NUM_THREADS": threads,
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_PRECISION_HINT": "f32",
    }
    model = core.compile_model(core.read_model(file), "CPU", settings)
    request = model.create_infer_request()
    request.set_input_tensor(openvino.Tensor(x))

    def use() -> np.ndarray:
        request.infer()
        output: np.ndarray = request.get_output_tensor(0).data
        return output

    return use


def versions() -> str:
    """Return the names and versions of what is compared with."""
    from importlib.metadata import PackageNotFoundError, version

    found = []
    packages = {"PyTorch": "torch", "ONNX Runtime": "onnxruntime", "OpenVINO": ""}
    for title, package in packages.items():
        try:
            found.append(f"{title} {version(package or title.lower())}")
        except PackageNotFoundError:
            continue
    return ", ".join(found)


def works(run: Run, what: str) -> bool:
    """Whether something runs at all; says why where it does not."""
    try:
        run()
    except Exception as error:  # whatever a compiler says
        first = (str(error).splitlines() or [type(error).__name__])[0]
        print(f"{what} does not work: {first[:100]}", file=sys.stderr)
        return False
    return True


def use_threads(count: int) -> None:
    """Let this process compute with so many threads, here and in PyTorch."""
    import torch

    os.environ["NETSPEC_NUM_THREADS"] = str(count)
    torch.set_num_threads(count)


def fastest(times: Mapping[str, Any]) -> str:
    """Return the name of the peer with the least median."""
    return min((one for one in times if one != "ours"), key=lambda x: times[x].median)
