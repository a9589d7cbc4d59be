"""A front end of cuDNN for tests: it notes what is asked of it and computes nothing.

`Front` is what `import cudnn` gives. `proposals` are the plans that it proposes for any
graph; a graph refuses those with a note that was deselected, like cuDNN's.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any


class NotSupported(Exception):
    """What the front end raises; not a RuntimeError, as there."""


@dataclass
class Proposal:
    """A plan: its name, its notes, and whether it fits the graph."""

    name: str
    notes: frozenset[str] = frozenset()
    fits: bool = True
    workspace: int = 0


@dataclass
class FakeTensor:
    """A tensor of a graph, or the result of a step."""

    made_by: str
    attributes: dict[str, Any]

    def _set(self, name: str, value: Any) -> FakeTensor:
        self.attributes[name] = value
        return self

    def set_dim(self, value: Any) -> FakeTensor:
        return self._set("dim", value)

    def set_stride(self, value: Any) -> FakeTensor:
        return self._set("strides", value)

    def set_output(self, value: Any) -> FakeTensor:
        return self._set("output", value)

    def set_data_type(self, value: Any) -> FakeTensor:
        return self._set("data_type", value)

    def set_uid(self, value: Any) -> FakeTensor:
        return self._set("uid", value)


@dataclass
class FakeGraph:
    """Steps, the plans proposed for them, and what was deselected."""

    front: Front
    options: dict[str, Any]
    tensors: list[FakeTensor] = field(default_factory=list)
    steps: list[FakeTensor] = field(default_factory=list)
    deselected: set[str] = field(default_factory=set)
    modes: list[str] = field(default_factory=list)
    built: Proposal | None = None

    def tensor(self, **attributes: Any) -> FakeTensor:
        self.tensors.append(FakeTensor("tensor", attributes))
        return self.tensors[-1]

    def _step(self, name: str, attributes: dict[str, Any]) -> FakeTensor:
        self.steps.append(FakeTensor(name, attributes))
        return self.steps[-1]

    def conv_fprop(self, **attributes: Any) -> FakeTensor:
        return self._step("conv_fprop", attributes)

    def conv_dgrad(self, **attributes: Any) -> FakeTensor:
        return self._step("conv_dgrad", attributes)

    def conv_wgrad(self, **attributes: Any) -> FakeTensor:
        return self._step("conv_wgrad", attributes)

    def bias(self, **attributes: Any) -> FakeTensor:
        return self._step("bias", attributes)

    def add(self, **attributes: Any) -> FakeTensor:
        return self._step("add", attributes)

    def relu(self, **attributes: Any) -> FakeTensor:
        return self._step("relu", attributes)

    def relu_backward(self, **attributes: Any) -> FakeTensor:
        return self._step("relu_backward", attributes)

    def validate(self) -> None:
        if self.front.invalid:
            raise RuntimeError(self.front.invalid)

    def build_operation_graph(self) -> None:
        pass

    def deselect_workspace_greater_than(self, limit: int) -> None:
        self.limit = limit

    def create_execution_plans(self, modes: list[str]) -> None:
        self.modes = modes

    def deselect_numeric_notes(self, notes: list[str]) -> None:
        assert self.modes, "notes are forgotten before there are plans"
        self.deselected |= set(notes)

    deselect_behavior_notes = deselect_numeric_notes

    def _allows(self, one: Proposal) -> bool:
        small = one.workspace <= self.limit
        return one.fits and small and not one.notes & self.deselected

    def check_support(self) -> None:
        self.front.checked += 1
        if not any(self._allows(one) for one in self.front.proposals):
            raise NotSupported("No execution plans support the graph.\nPlan 0: no")

    def get_execution_plan_count(self) -> int:
        return len(self.front.proposals)

    def get_behavior_notes_for_plan_at_index(self, index: int) -> list[str]:
        return sorted(self.front.proposals[index].notes)

    def build_plan_at_index(self, index: int) -> None:
        if not self._allows(self.front.proposals[index]):
            raise NotSupported("Deselecting execution plan")
        self.built = self.front.proposals[index]
        self.front.built.append(self.built.name)

    def get_plan_name_at_index(self, index: int) -> str:
        return self.front.proposals[index].name

    def get_workspace_size(self) -> int:
        assert self.built is not None
        return self.built.workspace

    def serialize(self, *, as_bytes: bool) -> bytes:
        assert as_bytes
        assert self.built is not None
        return f"{self.built.name} {self.built.workspace}\n\0".encode()

    def deserialize(self, *given: Any) -> None:
        *handles, data = given
        assert handles == ([self.options["handle"]] if "handle" in self.options else [])
        name, _, workspace = data.decode().rstrip("\n\0").partition(" ")
        if not self.front.reads or not workspace:
            raise NotSupported("not a plan")
        self.built = Proposal(name, workspace=int(workspace))

    def execute(self, pack: Any, workspace: Any, *, handle: Any) -> None:
        assert self.built is not None
        if self.front.breaks:
            raise RuntimeError(self.front.breaks)
        ran = (self.built.name, pack, workspace, handle, self.front.stream)
        self.front.ran.append(ran)


class Front:
    """The module: versions, enumerations, handles and graphs."""

    __name__ = "cudnn"
    __version__ = "1.99.0"
    cudnnGraphNotSupportedError = NotSupported  # noqa: N815

    def __init__(self, *proposals: Proposal) -> None:
        self.proposals = list(proposals or [Proposal("eng1", workspace=48)])
        self.version = 91900
        self.invalid = self.breaks = ""
        self.reads = True
        self.checked = 0
        self.built: list[str] = []
        self.ran: list[Any] = []
        self.graphs: list[FakeGraph] = []
        self.stream: Any = None
        self.handles = 0

        def names(*known: str) -> SimpleNamespace:
            return SimpleNamespace(**{name: name for name in known})

        self.data_type = names("FLOAT", "BFLOAT16", "HALF")
        self.heur_mode = names("A", "FALLBACK")
        self.behavior_note = names("RUNTIME_COMPILATION")
        self.numerical_note = names(
            "NONDETERMINISTIC",
            "REDUCED_PRECISION_REDUCTION",
            "TENSOR_CORE",
            "DOWN_CONVERT_INPUTS",
        )

    def backend_version(self) -> int:
        if self.version < 0:
            raise RuntimeError("libcudnn.so.9 cannot be found\nmore")
        return self.version

    def create_device_properties(self, device: int | str) -> Any:
        if device == 7:
            raise RuntimeError("no such device")
        known = {"deviceName": "Quick 9", "deviceVer": 900, "multiProcessorCount": 5}
        text = device if isinstance(device, str) else json.dumps(known)
        return SimpleNamespace(serialize=lambda: text)

    def create_handle(self) -> str:
        self.handles += 1
        return "handle"

    def destroy_handle(self, handle: str) -> None:
        assert handle == "handle"
        self.handles -= 1

    def set_stream(self, handle: str, stream: int) -> None:
        assert handle == "handle"
        self.stream = stream

    def pygraph(self, **options: Any) -> FakeGraph:
        self.graphs.append(FakeGraph(self, options))
        return self.graphs[-1]
