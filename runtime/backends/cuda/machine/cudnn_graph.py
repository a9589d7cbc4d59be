"""A convolution as a graph of cuDNN, in the words of its front end.

cuDNN has two sorts of engines: precompiled ones, and ones that it compiles for a graph
while it plans. Graphs that do more than a convolution run on precompiled ones only if
they are y = relu(x * w + add + bias), in this order and with a bias of the storage of
the rest. Any other order or end is left to engines of the second sort: on an H200 with
cuDNN 9.19 these took 2 to 4 times as long as the convolution alone, for float32 up to
70 times, where a kernel for the end alone takes a fraction of it. So they count as no
engine here, unless there is nothing but a convolution to compute.

Source: the documentation of cuDNN 9's graph API and of its front end.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module
from typing import Any

from netspec.errors import MachineError, SpecError
from runtime.backends.cuda.machine.convolutions import Convolution, Tensor

DATA_TYPES = {"float32": "FLOAT", "bfloat16": "BFLOAT16", "float16": "HALF"}
HEURISTICS = ("A",)  # of fused graphs; mode B proposes the same there
PLAIN_HEURISTICS = ("A", "FALLBACK")
OLDEST = (1, 32)  # front end: in older ones plans have other numbers and bytes
WORKSPACE_LIMIT = 512 << 20  # bytes that one convolution may ask for


def load_library() -> Any:
    """Return the module of cuDNN's front end.

    Raises `MachineError` where it or cuDNN is missing.
    """
    needed = "install the extra netspec[cuda]"
    try:
        library = import_module("cudnn")
    except ImportError as error:
        raise MachineError(
            "convolutions on an NVIDIA device need nvidia-cudnn-frontend, which cannot "
            f"be imported ({error}); {needed}"
        ) from error
    version = str(getattr(library, "__version__", "of no version"))
    number = tuple(int(part) for part in re.findall(r"\d+", version)[:2])
    if number < OLDEST or not hasattr(library, "create_device_properties"):
        raise MachineError(
            "convolutions on an NVIDIA device need nvidia-cudnn-frontend "
            f"{OLDEST[0]}.{OLDEST[1]} or newer; {library.__name__} is {version}, from "
            f"{getattr(library, '__file__', 'an unknown place')}; {needed}"
        )
    try:
        library.backend_version()
    except Exception as error:
        raise MachineError(
            "convolutions on an NVIDIA device need cuDNN 9, which cannot be loaded "
            f"({first_line(error)}); {needed}"
        ) from error
    return library


def version_of(library: Any) -> str:
    """Return the version of cuDNN in its usual form."""
    number = int(library.backend_version())
    return f"{number // 10000}.{number // 100 % 100}.{number % 100}"


def uids(convolution: Convolution) -> dict[str, int]:
    """Return the numbers of the tensors of a graph, by name."""
    return {name: uid for uid, name in enumerate(convolution.tensors, 1)}


def refused(convolution: Convolution) -> Sequence[str]:
    """Return the notes of engines that a convolution must not run on."""
    notes = ("NONDETERMINISTIC", "REDUCED_PRECISION_REDUCTION")
    if convolution.storage == "float32" and not convolution.tf32:
        return (*notes, "TENSOR_CORE", "DOWN_CONVERT_INPUTS")
    return notes


def proposed(library: Any, convolution: Convolution, properties: Any) -> Any:
    """Return the graph of a convolution with the plans that cuDNN proposes for it.

    properties: of the device. Plans that are not allowed stay in the list, and refuse
    to be built.
    """
    plain = not (convolution.bias or convolution.add or convolution.relu)
    modes = PLAIN_HEURISTICS if plain else HEURISTICS
    graph = graph_of(library, convolution, properties)
    graph.validate()
    graph.build_operation_graph()
    graph.deselect_workspace_greater_than(WORKSPACE_LIMIT)
    graph.create_execution_plans([getattr(library.heur_mode, mode) for mode in modes])
    # Before there are plans, some front ends take note of these and forget them.
    graph.deselect_numeric_notes(
        [getattr(library.numerical_note, note) for note in refused(convolution)]
    )
    if not plain:
        graph.deselect_behavior_notes([library.behavior_note.RUNTIME_COMPILATION])
    return graph


def compiles(library: Any, graph: Any, index: int) -> bool:
    """Say whether cuDNN compiles something to build a plan that it proposes."""
    notes = graph.get_behavior_notes_for_plan_at_index(index)
    return library.behavior_note.RUNTIME_COMPILATION in notes


def graph_of(library: Any, convolution: Convolution, properties: Any) -> Any:
    """Return a convolution as a graph of cuDNN, its tensors numbered as in `uids`.

    What is in between is float32, as are all sums.
    """
    wide = convolution.widened()
    real = library.data_type.FLOAT
    types = {name: getattr(library.data_type, t) for name, t in DATA_TYPES.items()}
    graph = library.pygraph(
        io_data_type=types[convolution.storage],
        intermediate_data_type=real,
        compute_data_type=real,
        device_property=properties,
    )
    tensors, numbers = convolution.tensors, uids(convolution)
    output = tensors.pop(convolution.output)
    inputs = {
        name: graph.tensor(
            name=name,
            dim=list(tensor.shape),
            stride=list(tensor.strides),
            data_type=types[tensor.storage],
            uid=numbers[name],
        )
        for name, tensor in tensors.items()
    }
    options: dict[str, Any] = {
        "pre_padding": list(wide.pad),
        "post_padding": list(wide.pad),
        "stride": list(wide.stride),
        "dilation": list(wide.dilation),
        "compute_data_type": real,
    }
    if convolution.kind == "forward":
        result = graph.conv_fprop(image=inputs["x"], weight=inputs["w"], **options)
    elif convolution.kind == "input_gradient":
        result = graph.conv_dgrad(loss=inputs["y"], filter=inputs["w"], **options)
    else:
        result = graph.conv_wgrad(image=inputs["x"], loss=inputs["y"], **options)
    # Strides and pads do not tell the sizes of gradients, nor groups those of weights.
    _shape(result, output)
    if "add" in inputs:
        result = graph.add(a=result, b=inputs["add"])
    if "bias" in inputs:
        result = graph.bias(input=result, bias=inputs["bias"])
    if "mask" in inputs:
        result = graph.relu_backward(loss=result, input=inputs["mask"])
    elif convolution.relu:
        result = graph.relu(input=result)
    _shape(result, output)
    result.set_output(True).set_data_type(types[output.storage])
    result.set_uid(numbers[output.name])
    return graph


def _shape(result: Any, tensor: Tensor) -> None:
    result.set_dim(list(tensor.shape)).set_stride(list(tensor.strides))


@contextmanager
def told(doing: str, library: Any) -> Iterator[None]:
    """Raise what cuDNN raises as a `MachineError` that says what was being done."""
    try:
        yield
    except (MachineError, SpecError):
        raise
    except (RuntimeError, ValueError, library.cudnnGraphNotSupportedError) as error:
        raise MachineError(
            f"cuDNN {version_of(library)} could not {doing}: {first_line(error)}"
        ) from error


def first_line(error: BaseException) -> str:
    """Return what an error says first, or its type where it says nothing.

    A missing NVRTC looks like a graph without an engine: only a later line names it.
    """
    lines = str(error).strip().splitlines() or [type(error).__name__]
    missing = [line.strip() for line in lines[1:] if "nvrtc" in line.lower()]
    return "; ".join(lines[:1] + missing[:1])
