"""Convolutions by cuDNN over a front end that notes what is asked of it."""

from __future__ import annotations

import io
import json
import sys
from dataclasses import replace
from types import ModuleType
from typing import ClassVar

import pytest

from netspec.errors import MachineError, SpecError
from runtime.backends.cuda.machine import cudnn_worker
from runtime.backends.cuda.machine.convolutions import Convolution
from runtime.backends.cuda.machine.cudnn import Cudnn
from runtime.backends.cuda.machine.cudnn_graph import first_line
from runtime.backends.cuda.machine.plan_store import Plan, PlanStore
from tests.backends.cuda.fake_cudnn import FakeGraph, Front, Proposal

SPEC = Convolution(
    kind="forward",
    x=(2, 6, 11, 13),
    w=(8, 3, 3, 4),
    y=(2, 8, 6, 5),
    stride=(2, 3),
    pad=(1, 2),
    dilation=(1, 1),
    groups=2,
)
COMPILED = frozenset({"RUNTIME_COMPILATION"})


@pytest.fixture
def start(monkeypatch, tmp_path):
    """Starts cuDNN over a front end that proposes some plans."""
    monkeypatch.setenv("NETSPEC_CACHE_DIR", str(tmp_path))

    def starter(*proposals: Proposal, device: int | str = 0) -> tuple[Front, Cudnn]:
        front = Front(*proposals)
        monkeypatch.setitem(sys.modules, "cudnn", front)
        return front, Cudnn(device)

    return starter


def steps(front: Front, spec: Convolution) -> list[str]:
    graph = front.graphs[-1]
    assert (
        graph.options["io_data_type"]
        == {"float32": "FLOAT", "float16": "HALF"}[spec.storage]
    )
    return [step.made_by for step in graph.steps]


def test_the_bias_comes_after_the_addend_as_precompiled_engines_want(start):
    front, cudnn = start()
    spec = replace(
        SPEC, storage="float16", bias_storage="float16", bias=True, add=True, relu=True
    )
    assert cudnn.supports(spec)
    assert steps(front, spec) == ["conv_fprop", "add", "bias", "relu"]
    graph = front.graphs[-1]
    assert [one.attributes["name"] for one in graph.tensors] == [
        "x",
        "w",
        "bias",
        "add",
    ]
    assert [one.attributes["uid"] for one in graph.tensors] == [1, 2, 3, 4]
    assert {one.attributes["data_type"] for one in graph.tensors} == {"HALF"}
    convolution, add, bias, relu = graph.steps
    assert convolution.attributes["pre_padding"] == [1, 2]
    assert convolution.attributes["post_padding"] == [1, 2]
    assert convolution.attributes["stride"] == [2, 3]
    assert convolution.attributes["dilation"] == [1, 1]
    assert convolution.attributes["dim"] == [2, 8, 6, 5]
    assert convolution.attributes["strides"] == [6 * 5 * 8, 1, 5 * 8, 8]
    assert add.attributes["a"] is convolution
    assert bias.attributes["input"] is add
    assert relu.attributes["input"] is bias
    assert relu.attributes["output"] is True
    assert relu.attributes["uid"] == 5
    assert relu.attributes["strides"] == [6 * 5 * 8, 1, 5 * 8, 8]
    assert graph.options["compute_data_type"] == "FLOAT"


def test_an_input_gradient_is_added_to_and_then_masked(start):
    front, cudnn = start()
    spec = replace(SPEC, kind="input_gradient", add=True, relu=True)
    assert cudnn.supports(spec)
    assert steps(front, spec) == ["conv_dgrad", "add", "relu_backward"]
    gradient, add, masked = front.graphs[-1].steps
    names = {one.attributes["name"]: one for one in front.graphs[-1].tensors}
    assert gradient.attributes["loss"] is names["y"]
    assert gradient.attributes["filter"] is names["w"]
    assert gradient.attributes["dim"] == [2, 6, 11, 13]
    assert add.attributes["b"] is names["add"]
    assert masked.attributes["loss"] is add
    assert masked.attributes["input"] is names["mask"]


def test_a_weight_gradient_has_the_shape_of_the_weights(start):
    front, cudnn = start()
    spec = replace(SPEC, kind="weight_gradient", add=True)
    assert cudnn.supports(spec)
    assert steps(front, spec) == ["conv_wgrad", "add"]
    gradient, add = front.graphs[-1].steps
    assert gradient.attributes["image"].attributes["name"] == "x"
    assert gradient.attributes["loss"].attributes["name"] == "y"
    assert gradient.attributes["dim"] == [8, 3, 3, 4]
    assert add.attributes["dim"] == [8, 3, 3, 4]


@pytest.mark.parametrize(
    "change, refused",
    [
        ({}, {"TENSOR_CORE", "DOWN_CONVERT_INPUTS"}),
        ({"tf32": True}, set()),
        ({"storage": "float16"}, set()),
    ],
)
def test_float32_keeps_off_engines_that_round_its_factors(start, change, refused):
    front, cudnn = start()
    cudnn.supports(replace(SPEC, **change))
    always = {"NONDETERMINISTIC", "REDUCED_PRECISION_REDUCTION"}
    assert front.graphs[-1].deselected == always | refused


def test_what_would_be_compiled_for_its_end_counts_as_no_engine(start):
    front, cudnn = start(Proposal("eng7", COMPILED))
    assert cudnn.supports(SPEC)
    assert front.graphs[-1].modes == ["A", "FALLBACK"]
    assert not cudnn.supports(replace(SPEC, bias=True, relu=True))
    assert front.graphs[-1].modes == ["A"]


def test_the_first_plan_that_is_allowed_and_fits_is_taken(start):
    front, cudnn = start(
        Proposal("eng1", frozenset({"NONDETERMINISTIC"})),
        Proposal("eng2", frozenset({"TENSOR_CORE"})),
        Proposal("eng3", workspace=(512 << 20) + 1),
        Proposal("eng4", fits=False),
        Proposal("eng5", workspace=512 << 20),
        Proposal("eng6"),
    )
    planned = cudnn.plan(SPEC)
    assert planned.name == "eng5"
    assert planned.workspace_bytes == 512 << 20
    assert not planned.measured
    assert front.built == ["eng5"]
    assert cudnn.plan(replace(SPEC, tf32=True)).name == "eng2"


def test_a_plan_is_made_once_and_then_read_from_the_disk(start):
    front, cudnn = start()
    planned = cudnn.plan(SPEC)
    assert cudnn.plan(replace(SPEC)) is planned
    assert (front.checked, front.built) == (0, ["eng1"])
    front, again = start(Proposal("another"))
    assert again.supports(SPEC)
    assert again.plan(SPEC).name == "eng1"
    assert (front.checked, front.built) == (0, [])


@pytest.mark.parametrize("of", ["version", "device", "front end"])
def test_plans_of_another_library_or_device_are_not_read(start, monkeypatch, of):
    start()[1].plan(SPEC)
    front, cudnn = start(Proposal("another"))
    if of == "version":
        front.version = 92000
        cudnn = Cudnn(0)
    elif of == "front end":
        monkeypatch.setattr(Front, "__version__", "2.0.0")
        cudnn = Cudnn(0)
    else:
        other = {"deviceName": "Quick 9", "deviceVer": 900, "multiProcessorCount": 6}
        cudnn = Cudnn(json.dumps(other))
    assert cudnn.plan(SPEC).name == "another"


def test_a_plan_that_cannot_be_read_is_made_anew(start):
    _, cudnn = start()
    cudnn.store.save(SPEC.key, Plan(b"garbage", "eng0", measured=True))
    assert cudnn.plan(SPEC).name == "eng1"
    assert cudnn.store.load(SPEC.key) == Plan(b"eng1 48\n\0", "eng1")


def test_that_there_is_no_engine_is_kept_too(start):
    front, cudnn = start(Proposal("eng1", fits=False))
    message = (
        r"^cuDNN 9\.19\.0 has no engine on Quick 9 for a convolution, float32, x 2 x 6 "
        r"x 11 x 13, .*, 2 groups: No execution plans support the graph\.$"
    )
    assert not cudnn.supports(SPEC)
    with pytest.raises(MachineError, match=message):
        cudnn.plan(SPEC)
    with pytest.raises(MachineError, match=message):
        cudnn.tune(SPEC, lambda planned: 1.0)
    assert front.checked == 1
    front, again = start(Proposal("eng2"))
    assert not again.supports(SPEC)
    assert front.checked == 0


def test_an_engine_that_cannot_be_built_after_all_is_told(start, monkeypatch):
    front, cudnn = start(Proposal("eng1", fits=False))
    monkeypatch.setattr(type(front.pygraph()), "check_support", lambda graph: None)
    assert cudnn.supports(SPEC)
    with pytest.raises(MachineError, match="2 groups: none that it proposes can be bu"):
        cudnn.plan(SPEC)
    assert not cudnn.supports(SPEC)


def test_what_cudnn_refuses_is_told_with_the_convolution(start):
    front, cudnn = start()
    front.invalid = "bad dims\nand a trace"
    with pytest.raises(
        MachineError,
        match=r"cuDNN 9\.19\.0 could not plan a convolution, .*: bad dims$",
    ):
        cudnn.supports(SPEC)


def test_running_gives_addresses_by_number_on_a_stream(start):
    front, cudnn = start()
    spec = replace(SPEC, kind="input_gradient")
    planned = cudnn.plan(spec)
    planned.run({"w": 16, "y": 32, "x": 48, "more": 5}, 64, 7)
    assert front.ran == [("eng1", {1: 16, 2: 32, 3: 48}, 64, "handle", 7)]
    planned.run({"w": 16, "y": 32, "x": 48}, 0, 9)
    assert front.ran[-1] == ("eng1", {1: 16, 2: 32, 3: 48}, None, "handle", 9)


@pytest.mark.parametrize("address", [None, 0, 40])
def test_an_address_that_is_missing_or_not_aligned_is_refused(start, address):
    front, cudnn = start()
    addresses = {"x": 16, "w": address, "y": 48}
    if address is None:
        del addresses["w"]
    with pytest.raises(
        SpecError, match=rf"2 groups: the address of 'w' is {address or 0}; expected a"
    ):
        cudnn.plan(SPEC).run(addresses, 64, 7)
    assert front.ran == []


def test_a_failure_while_running_names_the_convolution(start):
    front, cudnn = start()
    planned = cudnn.plan(SPEC)
    front.breaks = "CUDNN_STATUS_EXECUTION_FAILED"
    with pytest.raises(
        MachineError, match="could not run a convolution, .*: CUDNN_STATUS_EXECUTION_F"
    ):
        planned.run({"x": 16, "w": 32, "y": 48}, 64, 7)


def test_a_device_that_is_only_described_plans_and_does_not_run(start):
    front, cudnn = start(
        device='{"deviceName": "Far", "deviceVer": 1, "multiProcessorCount": 2}'
    )
    planned = cudnn.plan(SPEC)
    assert cudnn.device_name == "Far"
    assert front.handles == 0
    with pytest.raises(MachineError, match="for a device that is described and not"):
        planned.run({"x": 16, "w": 32, "y": 48}, 64, 7)


def test_the_fastest_of_the_first_plans_is_kept(start):
    times = {"eng2": 3.0, "eng4": float("inf"), "eng5": 1.5, "eng6": 2.0, "eng7": 0.1}
    _, cudnn = start(
        Proposal("eng1", frozenset({"NONDETERMINISTIC"})),
        *(Proposal(name) for name in times),
    )
    seen = []

    def clock(planned):
        seen.append(planned.name)
        planned.run({"x": 16, "w": 32, "y": 48}, 64, 7)
        return times[planned.name]

    cudnn.plan(SPEC)
    tuned = cudnn.tune(SPEC, clock, candidates=4)
    assert seen == ["eng2", "eng4", "eng5", "eng6"]
    assert tuned.name == "eng5"
    assert tuned.measured
    assert cudnn.plan(SPEC) is tuned
    assert cudnn.tune(SPEC, clock) is tuned
    _, again = start(Proposal("another"))
    assert again.tune(SPEC, clock).name == again.plan(SPEC).name == "eng5"
    assert len(seen) == 4


def test_all_that_is_quick_is_planned_without_other_processes(start, monkeypatch):
    monkeypatch.setattr("subprocess.Popen", None)
    front, cudnn = start(Proposal("eng1"), Proposal("eng2", COMPILED))
    many = [replace(SPEC, x=(n, 6, 11, 13), y=(n, 8, 6, 5)) for n in range(1, 9)]
    cudnn.prepare([*many, *many], 4)
    assert front.built == ["eng1"] * 8
    assert all(cudnn.knows(one) for one in many)
    cudnn.prepare(many, 4)
    assert front.built == ["eng1"] * 8


class Helper:
    """A helper process that does its work in this one, when it is waited for."""

    started: ClassVar[list[Helper]] = []

    def __init__(self, command, **options):
        assert command[1:] == ["-P", "-m", "runtime.backends.cuda.machine.cudnn_worker"]
        self.stdin, self.order, self.killed = self, b"", False
        self.started.append(self)

    def write(self, data):
        self.order += data

    def close(self):
        pass

    def wait(self):
        order, self.order = self.order, b""
        if order and not self.killed:
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(sys, "stdin", io.StringIO(order.decode()))
                cudnn_worker.main()

    def kill(self):
        self.killed = True


@pytest.mark.parametrize("keeps", [True, False])
def test_what_has_to_be_compiled_is_shared_among_processes(start, monkeypatch, keeps):
    monkeypatch.setattr("subprocess.Popen", Helper)
    monkeypatch.setattr(Helper, "started", [])
    front, cudnn = start(Proposal("eng1", COMPILED))
    if not keeps:
        cudnn.store = PlanStore(None)
    many = [replace(SPEC, x=(n, 6, 11, 13), y=(n, 8, 6, 5)) for n in range(1, 11)]
    cudnn.prepare([*many, replace(SPEC, relu=True)], 3)
    assert len(Helper.started) == 2
    assert len(front.built) == 10
    assert front.handles == 1  # helpers have a description and no device
    assert [cudnn.plan(one).workspace_bytes for one in many] == [0] * 10
    assert len(front.built) == 10


def test_a_share_that_no_helper_did_is_done_here(start, monkeypatch):
    monkeypatch.setattr("subprocess.Popen", Helper)
    monkeypatch.setattr(Helper, "started", [])
    monkeypatch.setattr(cudnn_worker, "main", lambda: None)
    front, cudnn = start(Proposal("eng1", COMPILED))
    many = [replace(SPEC, x=(n, 6, 11, 13), y=(n, 8, 6, 5)) for n in range(1, 11)]
    cudnn.prepare(many, 3)
    assert len(front.built) == 10
    assert all(cudnn.knows(one) for one in many)


def test_helpers_end_with_an_interrupt(start, monkeypatch):
    def interrupted(*given, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr("subprocess.Popen", Helper)
    monkeypatch.setattr(Helper, "started", [])
    front, cudnn = start(Proposal("eng1", COMPILED))
    many = [replace(SPEC, x=(n, 6, 11, 13), y=(n, 8, 6, 5)) for n in range(1, 11)]
    monkeypatch.setattr(FakeGraph, "build_plan_at_index", interrupted)
    with pytest.raises(KeyboardInterrupt):
        cudnn.prepare(many, 3)
    assert [helper.killed for helper in Helper.started] == [True, True]
    assert front.built == []


def test_where_processes_cannot_be_started_all_is_planned_here(start, monkeypatch):
    def refused(*given, **options):
        raise OSError("no more processes")

    monkeypatch.setattr("subprocess.Popen", refused)
    front, cudnn = start(Proposal("eng1", COMPILED))
    cudnn.store = PlanStore(None)
    many = [replace(SPEC, x=(n, 6, 11, 13), y=(n, 8, 6, 5)) for n in range(1, 9)]
    cudnn.prepare([*many, replace(SPEC, relu=True)], 4)
    assert front.built == ["eng1"] * 8
    assert not cudnn.supports(replace(SPEC, relu=True))
    assert cudnn.plan(many[5]).name == "eng1"
    assert front.built == ["eng1"] * 8


def test_closing_lets_go_of_the_handle(start):
    front, cudnn = start()
    cudnn.plan(SPEC)
    assert front.handles == 1
    cudnn.close()
    cudnn.close()
    assert front.handles == 0


def test_without_the_front_end_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "cudnn", None)
    with pytest.raises(
        MachineError,
        match=r"nvidia-cudnn-frontend, which .*; install .*netspec\[cuda\]",
    ):
        Cudnn(0)


@pytest.mark.parametrize("version", ["1.31.9", "0.99.0", ""])
def test_a_front_end_that_is_too_old_is_told(monkeypatch, start, version):
    monkeypatch.setattr(Front, "__version__", version)
    with pytest.raises(
        MachineError,
        match=rf"1\.32 or newer; cudnn is {version}, from an unknown place",
    ):
        start()


def test_another_module_of_that_name_is_told(monkeypatch):
    monkeypatch.setitem(sys.modules, "cudnn", ModuleType("cudnn"))
    with pytest.raises(
        MachineError, match="cudnn is of no version, from an unknown pl"
    ):
        Cudnn(0)


def test_without_cudnn_the_extra_is_named(monkeypatch):
    front = Front()
    front.version = -1
    monkeypatch.setitem(sys.modules, "cudnn", front)
    with pytest.raises(
        MachineError, match=r"\(libcudnn\.so\.9 cannot be found\); .*netspec\[cuda\]"
    ):
        Cudnn(0)


def test_a_device_that_is_not_there_is_named(start):
    with pytest.raises(MachineError, match="could not find device 7: no such device"):
        start(device=7)


def test_an_error_names_the_library_that_is_missing():
    error = RuntimeError("no engine\nfirst try\n Loading libnvrtc.so.13 failed\nmore")
    assert first_line(error) == "no engine; Loading libnvrtc.so.13 failed"
    assert first_line(RuntimeError()) == "RuntimeError"
