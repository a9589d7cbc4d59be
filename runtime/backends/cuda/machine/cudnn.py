"""Convolutions by cuDNN: its graphs, planned without a device and run on one.

A graph is a convolution with what is done to its result. cuDNN proposes engines for it,
in the order of its heuristic; the first that it can build, of those that are allowed
here, is the plan. Not allowed are engines noted as nondeterministic, as two runs of one
net must agree to the last bit; those that sum in less than float32; and for float32
that is not tf32, those on tensor cores, which round the factors.

Graphs are planned from a description of the device, which needs none, and the plan is
then read by the device's handle: so plans from the disk, from other processes and from
this one are the same.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from typing import Any

from netspec.errors import MachineError, SpecError
from runtime.backends.cuda.machine import convolutions, cudnn_graph, plan_store
from runtime.backends.cuda.machine.convolutions import Convolution
from runtime.backends.cuda.machine.cudnn_ahead import prepare
from runtime.backends.cuda.machine.cudnn_graph import (
    compiles,
    first_line,
    load_library,
    proposed,
    told,
    uids,
    version_of,
)
from runtime.backends.cuda.machine.plan_store import Plan, PlanStore, store_of

ALIGNMENT = 16  # bytes: what cuDNN's engines expect of an address
CANDIDATES = 6  # plans that are measured where plans are

Clock = Callable[["PlannedConvolution"], float]


class PlannedConvolution:
    """A convolution with its plan, ready to run on the device it was planned for.

    workspace_bytes: memory that it needs while it runs, aligned to 16 bytes. name: what
    cuDNN calls the plan: engine and settings.
    """

    def __init__(
        self,
        convolution: Convolution,
        plan: Plan,
        library: Any,
        handle: Any,
        graph: Any,
    ) -> None:
        self.convolution = convolution
        self.name = plan.name
        self.measured = plan.measured
        self.workspace_bytes = int(graph.get_workspace_size())
        self._library = library
        self._handle = handle
        self._graph = graph
        self._uids = uids(convolution)

    def run(self, addresses: Mapping[str, int], workspace: int, stream: int) -> None:
        """Ask the device for it: nothing is allocated, nothing waited for.

        addresses: of all tensors of the convolution, by their names, on the device.
        workspace: the address of `workspace_bytes`, which nobody else uses meanwhile;
        0 where none are needed. stream: the handle of a CUDA stream, which may be
        capturing.

        Raises `SpecError` where an address is missing or not a multiple of 16, and
        `MachineError` where cuDNN refuses.
        """
        pack = {}
        for name, uid in self._uids.items():
            address = addresses.get(name, 0)
            if not address or address % ALIGNMENT:
                raise SpecError(
                    f"{self.convolution}: the address of {name!r} is {address}; "
                    f"expected a multiple of {ALIGNMENT} above 0"
                )
            pack[uid] = address
        if self._handle is None:
            raise MachineError(
                f"{self.convolution}: was planned for a device that is described and "
                "not here; it cannot run"
            )
        with told(f"run {self.convolution}", self._library):
            self._library.set_stream(self._handle, stream)
            self._graph.execute(pack, workspace or None, handle=self._handle)


class Cudnn:
    """cuDNN on one device, with all plans that were asked for.

    device: the number of a device of this machine, which must be the current one of the
    calling thread; or the description of one that need not be here, as JSON, for which
    plans can be made but not run. store: where plans are kept; by default a folder
    below `NETSPEC_CACHE_DIR`, or below the system's folder for caches, that belongs to
    this device, this cuDNN and this front end.

    Raises `MachineError` where the front end, cuDNN or the device is missing.
    """

    def __init__(
        self, device: int | str = 0, *, store: PlanStore | None = None
    ) -> None:
        self._library = load_library()
        self._handle: Any = None
        with told(f"find device {device}", self._library):
            self._properties = self._library.create_device_properties(device)
            self.description: str = self._properties.serialize()
        if isinstance(device, int):
            with told(f"start on device {device}", self._library):
                self._handle = self._library.create_handle()
        self.store = store if store is not None else self._own_store()
        self._refusals: dict[Convolution, str] = {}
        self._planned: dict[Convolution, PlannedConvolution] = {}

    @cached_property
    def device_name(self) -> str:
        """The name of the device, such as NVIDIA H100 80GB HBM3."""
        return str(json.loads(self.description)["deviceName"])

    @property
    def version(self) -> str:
        """The version of cuDNN, such as 9.19.0."""
        return version_of(self._library)

    def supports(self, convolution: Convolution) -> bool:
        """Say whether cuDNN has an engine for this convolution, as a whole.

        That it has none is kept on disk, as plans are.
        """
        return not self._refusal(convolution)

    def plan(self, convolution: Convolution) -> PlannedConvolution:
        """Return the convolution with its plan: kept, from the disk, or made now.

        Raises `MachineError`, naming the convolution, where cuDNN has no engine.
        """
        planned = self._planned.get(convolution) or self._from_store(convolution)
        if planned is None:
            planned = self._ready(convolution, self.make(convolution))
        self._planned[convolution] = planned
        return planned

    def tune(
        self, convolution: Convolution, time: Clock, candidates: int = CANDIDATES
    ) -> PlannedConvolution:
        """Return the fastest of the first plans that are proposed, by the clock.

        time: takes a planned convolution and returns the seconds that it takes; it may
        return infinity. The choice is kept on disk and not measured again. Different
        plans add in different orders, so a run is repeated bit by bit only as long as
        the choice is kept.

        Raises `MachineError`, naming the convolution, where cuDNN has no engine.
        """
        found = self._planned.get(convolution) or self._from_store(convolution)
        if found is not None and found.measured:
            self._planned[convolution] = found
            return found
        best: tuple[float, Plan] | None = None
        for plan in self._proposals(convolution, candidates):
            seconds = time(self._ready(convolution, plan))
            if best is None or seconds < best[0]:
                best = seconds, plan
        if best is None:
            raise self._unbuilt(convolution)
        chosen = Plan(best[1].data, best[1].name, measured=True)
        self.store.save(convolution.key, chosen)
        self._planned[convolution] = self._ready(convolution, chosen)
        return self._planned[convolution]

    def make(self, convolution: Convolution) -> Plan:
        """Plan a convolution anew, and keep the plan on disk.

        Raises `MachineError`, naming the convolution, where cuDNN has no engine.
        """
        for plan in self._proposals(convolution, 1):
            self.store.save(convolution.key, plan)
            return plan
        raise self._unbuilt(convolution)

    def knows(self, convolution: Convolution) -> bool:
        """Say whether a plan is here or on disk, or that there is none."""
        return (
            convolution in self._planned
            or bool(self._refusals.get(convolution))
            or self.store.load(convolution.key) is not None
        )

    def settle(self, convolution: Convolution, *, compiling: bool = True) -> bool:
        """Plan a convolution or find that it has no engine, and keep that on disk.

        compiling: whether cuDNN may compile, which takes seconds. Returns False where
        it had to and may not; then nothing is settled. Errors wait for `plan`.
        """
        with suppress(MachineError):
            for plan in self._proposals(convolution, 1, compiling=compiling):
                self.store.save(convolution.key, plan)
                if self.store.folder is None:
                    self.adopt(convolution, plan)
                return True
            if self._refusal(convolution):
                return True
            if compiling:
                self._unbuilt(convolution)
        return compiling

    def adopt(self, convolution: Convolution, plan: Plan) -> None:
        """Take a plan, or that there is none, from another process."""
        if plan.data:
            self._planned[convolution] = self._ready(convolution, plan)
        else:
            self._refusals[convolution] = plan.name

    def prepare(self, convolutions: Sequence[Convolution], threads: int) -> None:
        """Plan many convolutions, those with an engine, in as many processes at once.

        Most take a hundredth of a second. Only where cuDNN has to compile, a second or
        two each, do other processes help; other threads would wait for this one.
        """
        prepare(self, convolutions, threads)

    def close(self) -> None:
        """Forget all plans and let go of the device."""
        self._planned.clear()
        if self._handle is not None:
            self._library.destroy_handle(self._handle)
            self._handle = None

    def _refusal(self, convolution: Convolution) -> str:
        """Return why cuDNN has no engine for a convolution; "" where it has one."""
        if convolution in self._planned:
            return ""
        known = self._refusals.get(convolution)
        if known is None:
            stored = self.store.load(convolution.key)
            if stored is not None:
                known = "" if stored.data else stored.name
            else:
                known = self._asked(convolution)
            self._refusals[convolution] = known
        return known

    def _asked(self, convolution: Convolution) -> str:
        """Ask cuDNN whether it has an engine; keep on disk that it has none."""
        with told(f"plan {convolution}", self._library):
            try:
                self._proposed(convolution).check_support()
            except self._library.cudnnGraphNotSupportedError as error:
                reason = first_line(error)
                self.store.save(convolution.key, Plan(b"", reason))
                return reason
        return ""

    def _unbuilt(self, convolution: Convolution) -> MachineError:
        """Keep that no plan of a convolution can be built; return the error."""
        reason = self._refusal(convolution) or "none that it proposes can be built"
        self._refusals[convolution] = reason
        self.store.save(convolution.key, Plan(b"", reason))
        return MachineError(self._no_engine(convolution, reason))

    def _proposals(
        self, convolution: Convolution, count: int, *, compiling: bool = True
    ) -> Iterator[Plan]:
        """Yield the first plans that can be built, best guess first.

        compiling: whether to go on where cuDNN has to compile, which takes seconds.
        """
        refusal = self._refusals.get(convolution)
        if refusal:
            raise MachineError(self._no_engine(convolution, refusal))
        with told(f"plan {convolution}", self._library):
            try:
                graph = self._proposed(convolution)
            except self._library.cudnnGraphNotSupportedError:
                return
            for index in range(graph.get_execution_plan_count()):
                slow = compiles(self._library, graph, index)
                if count == 0 or (slow and not compiling):
                    return
                try:
                    graph.build_plan_at_index(index)
                except self._library.cudnnGraphNotSupportedError:
                    continue  # not allowed, or it does not fit this shape
                count -= 1
                data = bytes(graph.serialize(as_bytes=True))
                yield Plan(data, str(graph.get_plan_name_at_index(index)))

    def _proposed(self, convolution: Convolution) -> Any:
        return proposed(self._library, convolution, self._properties)

    def _from_store(self, convolution: Convolution) -> PlannedConvolution | None:
        plan = self.store.load(convolution.key)
        if plan is None or not plan.data:
            return None
        try:
            return self._ready(convolution, plan)
        except MachineError:
            return None  # what is made instead takes its place

    def _ready(self, convolution: Convolution, plan: Plan) -> PlannedConvolution:
        """Have the device read a plan."""
        library, handle = self._library, self._handle
        with told(f"read the plan of {convolution}", library):
            if handle is None:
                graph = library.pygraph(device_property=self._properties)
                graph.deserialize(plan.data)
            else:
                graph = library.pygraph(handle=handle)
                graph.deserialize(handle, plan.data)
            return PlannedConvolution(convolution, plan, library, handle, graph)

    def _own_store(self) -> PlanStore:
        description = json.loads(self.description)
        identity = {
            "device": self.device_name,
            "capability": description["deviceVer"],
            "multiprocessors": description["multiProcessorCount"],
            "cudnn": self.version,
            "front end": str(self._library.__version__),
        }
        sources = [Path(__file__)]
        for module in (convolutions, cudnn_graph, plan_store):
            sources.append(Path(str(module.__file__)))
        return store_of(identity, sources)

    def _no_engine(self, convolution: Convolution, reason: str) -> str:
        return (
            f"cuDNN {self.version} has no engine on {self.device_name} for "
            f"{convolution}: {reason}"
        )
