"""`runtime.Solver` and `get_solver` of specs, nets, dicts, files, with keywords."""

import inspect
import subprocess
import sys

import numpy as np
import pytest
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message_factory import GetMessageClass

import runtime
from netspec import NetSpec
from netspec import layers as L
from netspec.errors import FileError, SpecError, SpecWarning
from netspec.schema import NetParameter, SolverParameter
from netspec.schema.kept import known_fields
from runtime.training.lr_policy import POLICY_FIELDS
from runtime.training.momentum import POLICIES as MOMENTA
from runtime.training.solver_fields import SolverFields
from runtime.training.solver_source import OPTIONS
from runtime.training.solver_uses import USES
from runtime.update_rules import UPDATES


def spec(name="line"):
    n = NetSpec(name)
    n.x = L.DummyData(shape=[4, 3], data_filler=dict(type="gaussian", std=1.5))
    n.y = L.InnerProduct(n.x, num_output=2, weight_filler="xavier")
    n.loss = L.EuclideanLoss(n.y, L.DummyData(shape=[4, 2], data_filler=0.5))
    return n


@pytest.fixture
def n():
    return spec()


def refused(match, *arguments, kind=SpecError, **keywords):
    for make in (runtime.Solver, runtime.get_solver):
        with pytest.raises(kind, match=match) as caught:
            make(*arguments, backend="portable", **keywords)
    return str(caught.value)


def made(*arguments, **keywords):
    first = runtime.Solver(*arguments, backend="portable", **keywords)
    second = runtime.get_solver(*arguments, backend="portable", **keywords)
    assert first.param == second.param
    return first


# ------------------------------------------------------------ what it is made of


def test_a_spec_with_keywords_trains_as_the_file_does(n, tmp_path):
    path = tmp_path / "solver.prototxt"
    (tmp_path / "net.prototxt").write_text(str(n.to_proto()))
    path.write_text(
        'net: "net.prototxt" type: "Nesterov" base_lr: 0.03 momentum: 0.7\n'
        'lr_policy: "step" stepsize: 2 gamma: 0.5 weight_decay: 0.1'
    )
    keywords = dict(type="Nesterov", base_lr=0.03, momentum=0.7, weight_decay=0.1)
    steps = dict(lr_policy="step", stepsize=2, gamma=0.5)
    ours, theirs = made(n, **keywords, **steps), made(path)
    for solver in (ours, theirs):
        solver.step(5)
    rates = [record.lr for record in ours.history.train]
    np.testing.assert_allclose(rates, [0.03, 0.03, 0.015, 0.015, 0.0075])
    np.testing.assert_array_equal(
        ours.net.params["y"][0].data, theirs.net.params["y"][0].data
    )
    assert np.abs(ours.net.params["y"][0].data).max() > 0


@pytest.mark.parametrize(
    "form",
    ["spec", "message", "text", "dict", "net=", "net_param=", "net file", "no suffix"],
)
def test_nets_in_every_form(n, form, tmp_path):
    path = tmp_path / ("net.prototxt" if form != "no suffix" else "net")
    path.write_text(str(n.to_proto()))
    first, keywords = {
        "spec": (n, {}),
        "message": (n.to_proto(), {}),
        "text": (str(n.to_proto()), {}),
        "dict": (dict(net=n, display=3), {}),
        "net=": (None, {"net": n}),
        "net_param=": (None, {"net_param": n}),
        "net file": (str(path), {}),
        "no suffix": (path, {}),
    }[form]
    solver = made(first, base_lr=0.25, **keywords)
    assert solver.net.name == "line"
    assert (solver.param.base_lr, solver.param.lr_policy) == (0.25, "fixed")
    assert solver.param.display == (3 if form == "dict" else 0)
    assert solver.param.snapshot_prefix == "solver"


def test_a_model_file_and_a_caffemodel(n, tmp_path):
    model = tmp_path / "line.py"
    model.write_text(
        "from netspec import NetSpec, layers as L\n"
        "def line(width=2):\n"
        "    n = NetSpec('from python')\n"
        "    n.y = L.InnerProduct(L.DummyData(shape=[4, 3]), num_output=width,\n"
        "                         weight_filler='xavier')\n"
        "    n.loss = L.EuclideanLoss(n.y, L.DummyData(shape=[4, width]))\n"
        "    return n\n"
    )
    assert made(model, base_lr=0.1).net.name == "from python"
    assert made(net=str(model), base_lr=0.1).net.name == "from python"
    trained = runtime.Solver(n, base_lr=0.1)
    trained.step(3)
    trained.net.save(tmp_path / "line.caffemodel")
    again = made(tmp_path / "line.caffemodel", base_lr=0.1)
    np.testing.assert_array_equal(
        again.net.params["y"][0].data, trained.net.params["y"][0].data
    )


@pytest.mark.parametrize("form", ["message", "text", "file", "one line"])
def test_keywords_take_the_place_of_what_a_solver_says(n, form, tmp_path):
    text = 'base_lr: 0.5 lr_policy: "multistep" gamma: 0.5 stepvalue: 3 stepvalue: 5'
    message = SolverParameter(net_param=n.to_proto(), base_lr=0.5, gamma=0.5)
    message.lr_policy, message.stepvalue[:] = "multistep", [3, 5]
    message.train_state.stage.append("old")
    path = tmp_path / "s.prototxt"
    path.write_text(f'{text} net: "gone.prototxt" train_state {{ stage: "old" }}')
    source = {
        "message": message,
        "text": f"{text}\ntrain_net_param {{ name: 'old' }} train_state {{ level: 7 }}",
        "file": path,
        "one line": f"{text} train_state {{ stage: 'old' }}",
    }[form]
    before = str(message)
    solver = made(
        source,
        net_param=spec("new"),
        base_lr=0.125,
        stepvalue=[7],
        train_state=dict(level=2),
    )
    assert (solver.net.name, solver.param.base_lr) == ("new", 0.125)
    assert (list(solver.param.stepvalue), solver.param.gamma) == ([7], 0.5)
    assert solver.net.state.level == 2
    assert solver.net.state.stages == ()
    assert str(message) == before
    if form == "file":
        assert solver.param.snapshot_prefix == str(tmp_path / "s")


def test_a_keyword_takes_the_place_of_the_old_solver_type(n):
    old = SolverParameter(net_param=n.to_proto(), base_lr=0.5, lr_policy="fixed")
    old.solver_type = SolverParameter.ADAM
    assert made(old).param.type == "Adam"
    assert made(old, type="SGD").param.type == "SGD"
    assert made(n, base_lr=0.5, solver_type="NESTEROV").param.type == "Nesterov"


def test_test_nets_may_be_specs(n):
    tested = dict(test_iter=[1, 2], test_interval=1, base_lr=0.1)
    solver = made(n, test_net=[spec("a"), spec("b")], **tested)
    assert [net.name for net in solver.test_nets] == ["a", "b"]
    state = dict(train_state=dict(stage="x"), test_state=[dict(stage="u"), {}])
    solver = made(n, **tested, **state)
    assert solver.net.state.stages == ("x",)
    assert [net.state.stages for net in solver.test_nets] == [("u",), ()]


def test_none_is_a_keyword_that_is_not_given(n):
    assert not made(n, base_lr=0.1, momentum=None).param.HasField("momentum")


# ------------------------------------------------------------ what it takes by itself


@pytest.mark.parametrize(
    ("kind", "momentum"),
    [("SGD", 0), ("Nesterov", 0.9), ("AdaDelta", 0.95), ("Adam", 0.9), ("RMSProp", 0)],
)
def test_momentum_of_a_solver_made_in_python(n, kind, momentum):
    assert made(n, type=kind, base_lr=0.1).param.momentum == pytest.approx(momentum)
    if kind != "RMSProp":
        given = made(n, type=kind, base_lr=0.1, momentum=0.25)
        assert given.param.momentum == 0.25


def test_messages_and_files_keep_the_defaults_of_caffe(n):
    message = SolverParameter(net_param=n.to_proto(), base_lr=0.1, type="Adam")
    refused("lr_policy is missing; expected one of fixed, ", message)
    solver = made(message, lr_policy="fixed")
    assert solver.param.momentum == 0


def test_steps_without_max_iter_and_solve_with_it(n, tmp_path):
    solver = made(n, base_lr=0.1, snapshot_prefix=tmp_path / "snap")
    solver.step(2)
    with pytest.raises(SpecError, match="max_iter is missing; say how long to train"):
        solver.solve()
    solver.param.max_iter = 3
    solver.solve()
    assert solver.iter == 3
    assert (tmp_path / "snap_iter_3.caffemodel").exists()


def test_what_cannot_be_guessed_is_asked_for(n):
    refused("base_lr, the learning rate, is missing; often base_lr=0.01", n)
    refused("gamma is given, but no lr_policy.*'step' or 'exp' or", n, gamma=0.5)
    refused(
        r"gamma and stepvalue are given, .*; say lr_policy='multistep'$",
        n,
        base_lr=0.1,
        gamma=0.5,
        stepvalue=[3],
    )


# ------------------------------------------------------------ mistakes


def test_all_mistakes_are_told_at_once(n):
    said = refused(
        "solver: base_lr is 'fast'; expected a number",
        n,
        base_lr="fast",
        momentun=0.9,
        max_iter=2.5,
        snapshot_format="hdf5",
        solver_mode="gpu",
        test_initialization="no",
        bakend="numpy",
        train_state=dict(stages="x"),
    )
    for line in (
        "momentun is no field of SolverParameter; did you mean 'momentum'?",
        "max_iter is 2.5; expected an integer",
        "snapshot_format is 'hdf5'; expected one of 'HDF5', 'BINARYPROTO'; did you",
        "solver_mode is 'gpu'; expected one of 'CPU', 'GPU'; did you mean 'GPU'?",
        "test_initialization is 'no'; expected True or False",
        "bakend is no field of SolverParameter, nor an option; did you mean 'backend'?",
        "train_state.stages is no field of NetState; did you mean 'stage'?",
    ):
        assert f"\n  and: {line}" in said
    assert len(said.splitlines()) == 8


@pytest.mark.parametrize(
    ("keywords", "match"),
    [
        (dict(type="Adamm"), "unknown type 'Adamm'; did you mean 'Adam'"),
        (dict(type="adam"), "did you mean 'Adam'"),
        (dict(lr_policy="mulstistep"), "did you mean 'multistep'"),
        (dict(regularization_type="l2"), "regularization_type is 'l2'"),
        (dict(lr_policy="step"), "'step' needs gamma and stepsize"),
        (dict(type=3), "type is 3; expected text"),
        (dict(test_iter="many"), "test_iter is 'many'"),
        (dict(momentum=1.5, type="Adam"), "momentum must be at least 0 and below 1"),
        (dict(net="net.prototxt"), "given twice, as the first argument and as net;"),
        (dict(test_net=3), "test_net is 3; expected a net"),
    ],
)
def test_values_that_cannot_be(n, keywords, match):
    rest = dict(base_lr=0.1, weight_decay=0.1) | keywords
    refused(match, n, **rest)


@pytest.mark.parametrize("wrong", [None, 3, "", np.zeros((2, 3)), [1, 2], print])
def test_what_is_no_solver(wrong):
    match = (
        "must be given by exactly one of" if wrong is None else "^expected a NetSpec"
    )
    said = refused(match, wrong, **(dict(base_lr=1.0) if wrong is None else {}))
    assert "\n" not in said


def test_files_that_are_something_else(n, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    refused("no.prototxt: cannot be read: No such file", "no.prototxt", kind=FileError)
    refused("s.solverstate: is the state of a run", "s.solverstate")
    built = runtime.Net(n)
    refused("got a Net, which is built; give what it was made of", built, base_lr=0.1)
    solver = made(n, base_lr=0.1)
    refused("got a Solver, which is built", solver, base_lr=0.1)
    (tmp_path / "s.prototxt").write_text('net: "lost.prototxt"\nbase_lr: 1')
    said = 's.prototxt: is a solver, not a net; its net is "lost.prototxt"; give that'
    for read in (runtime.Net, __import__("netspec").load):
        with pytest.raises(SpecError, match=said):
            read("s.prototxt")
    (tmp_path / "n.prototxt").write_text(str(n.to_proto()))
    from runtime.training.solver_param import read_solver

    with pytest.raises(
        SpecError, match=r"n.prototxt: is a net, not a solver; a solver"
    ):
        read_solver("n.prototxt")
    with pytest.raises(SpecError, match=r"<text>: is a net, not a solver"):
        read_solver(str(n.to_proto()))


def test_a_folder_is_told_once(n, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "s.prototxt").write_text('net: "lost.prototxt" lr_policy: "fixed"')
    said = refused(
        "lost.prototxt: the solver's net is not in",
        "s.prototxt",
        base_lr=1,
        kind=FileError,
    )
    assert said.count(str(tmp_path)) == 1


# ------------------------------------------------------------ signature, types


@pytest.mark.parametrize("call", [runtime.Solver, runtime.get_solver])
def test_signature_and_docstring_have_every_field(call):
    parameters = inspect.signature(call).parameters
    fields = list(known_fields(SolverParameter.DESCRIPTOR))
    own = [name for name in parameters if name not in fields]
    assert [name for name in parameters if name in fields] == fields
    assert sorted(own[1:]) == sorted(OPTIONS)
    assert fields == list(SolverFields.__annotations__)
    doc = inspect.getdoc(call)
    for name in fields:
        assert f"\n    {name}: " in doc
    said = str(inspect.signature(call))
    assert ", base_lr: float | None = None, " in said
    assert "'None'" not in said
    assert "'Solver'" not in said


def test_ipython_completes_fields():
    shell = pytest.importorskip("IPython.core.interactiveshell").InteractiveShell()
    from IPython.core.completer import provisionalcompleter

    shell.user_ns |= {"runtime": runtime, "Solver": runtime.Solver}
    for use_jedi in (False, True):
        shell.Completer.use_jedi = use_jedi
        for line, wanted in {
            "Solver(base_": "base_lr=",
            "runtime.get_solver(n, stepv": "stepvalue=",
        }.items():
            with provisionalcompleter():
                found = shell.Completer.completions(line, len(line))
                assert wanted in [one.text for one in found]


def test_keywords_have_types(tmp_path):
    pytest.importorskip("mypy")
    script = tmp_path / "typed.py"
    script.write_text(
        "import runtime\nfrom netspec import NetSpec\nn = NetSpec()\n"
        "runtime.Solver(n, type='Adam', base_lr=0.1, stepvalue=[1, 2], test_iter=3)\n"
        "runtime.get_solver(n, weights='w', train_state=dict(stage='x'), net=None)\n"
        "runtime.Solver(n, base_lr='fast')\n"
        "runtime.Solver(n, type='Adamm')\n"
        "runtime.get_solver(n, momentun=0.9)\n"
    )
    command = [sys.executable, "-m", "mypy", "--no-error-summary", "--no-pretty"]
    told = subprocess.run([*command, script], capture_output=True, text=True)
    lines = [
        int(line.split(":")[1])
        for line in told.stdout.splitlines()
        if ": error:" in line and "typed.py" in line
    ]
    assert lines == [6, 7, 8], told.stdout + told.stderr


def test_messages_of_another_pool_are_taken(n):
    pool = DescriptorPool()
    for file in (NetParameter.DESCRIPTOR.file,):
        pool.AddSerializedFile(file.serialized_pb)

    def other(message):
        name = message.DESCRIPTOR.full_name
        kind = GetMessageClass(pool.FindMessageTypeByName(name))
        return kind.FromString(message.SerializeToString())

    assert made(other(n.to_proto()), base_lr=0.1).net.name == "line"
    solver = SolverParameter(base_lr=0.25, lr_policy="fixed", net_param=n.to_proto())
    assert made(other(solver)).param == made(solver).param


# ------------------------------------------------------------ doubts


@pytest.mark.parametrize(
    ("keywords", "match"),
    [
        (
            dict(gamma=0.5, lr_policy="fixed"),
            "gamma is not read by lr_policy 'fixed', ",
        ),
        (dict(momentum2=0.9), "momentum2 is not read by type 'SGD', only by Adam"),
        (dict(rms_decay=0.5, delta=1), "rms_decay is not read .*; delta is not read"),
        (dict(max_momentum=0.5), "max_momentum is not read by momentum_policy 'fixed'"),
        (
            dict(warmup_start_lr=0.1),
            "warmup_start_lr means nothing without warmup_iter",
        ),
        (dict(regularization_type="L1"), "means nothing without weight_decay"),
        (
            dict(test_compute_loss=True),
            "test_compute_loss means nothing without test_i",
        ),
        (dict(solver_mode="GPU"), "solver_mode has no effect here: backend='cupy'"),
        (dict(device_id=1), "device_id has no effect here: backend='cupy:1'"),
        (dict(debug_info=True), "debug_info has no effect here: net.blobs"),
        (dict(test_interval=5), "test_interval is 5, but there is no test_iter, so"),
    ],
)
def test_fields_that_nothing_reads_are_told(n, keywords, match):
    with pytest.warns(SpecWarning, match=match) as warned:
        runtime.Solver(n, base_lr=0.1, backend="portable", **keywords)
    assert len(warned) == 1
    assert warned[0].filename == __file__
    with pytest.warns(SpecWarning, match=match):
        runtime.Solver(dict(net=n, base_lr=0.1, **keywords), backend="portable")


def test_what_is_read_or_has_its_default_is_not_told(n):
    made(n, base_lr=0.1, gamma=0.5, lr_policy="exp", momentum=0.0, momentum2=0.999)
    made(n, base_lr=0.1, type="RMSProp", rms_decay=0.5, delta=1, solver_mode="CPU")
    made(n, base_lr=0.1, weight_decay=0.1, regularization_type="L1", display=2)
    made(n, base_lr=0.1, test_iter=1, test_interval=2, test_compute_loss=True)
    # Files have fields that nothing reads, and always had.
    text = f"base_lr: 1 lr_policy: 'fixed' gamma: 0.5 net_param {{ {n.to_proto()} }}"
    made(text + " solver_mode: GPU momentum2: 0.5")


def test_the_table_of_uses_agrees_with_what_policies_and_rules_need():
    fields = known_fields(SolverParameter.DESCRIPTOR)
    for name, use in USES.items():
        assert name in fields
        assert set(use.policies) <= set(POLICY_FIELDS)
        assert set(use.types) <= set(UPDATES)
        assert set(use.momenta) <= set(MOMENTA)
        assert use.needs in ("", *fields)
    for policy, needed in POLICY_FIELDS.items():
        for name in needed:
            use = USES.get(name)
            assert use is None or not use.policies or policy in use.policies
    for kind, rule in UPDATES.items():
        assert (kind in USES["momentum"].types) == rule.takes_momentum
        for name in rule.decays:
            assert kind in USES[name].types
