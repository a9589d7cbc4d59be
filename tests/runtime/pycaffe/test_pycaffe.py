"""pycaffe's names over this runtime, and scripts that import caffe."""

from pathlib import Path

import numpy as np
import pytest
from google.protobuf import text_format

import runtime
import runtime.pycaffe as caffe
from netspec.errors import MachineError, ShapeError, SpecError
from netspec.errors import UnsupportedError as Unsupported
from runtime.pycaffe import layers as L
from runtime.pycaffe import mode
from runtime.pycaffe import params as P
from runtime.update_rules import UPDATES

NET = """
name: "small" force_backward: true
layer { name: "data" type: "Input" top: "data"
  input_param { shape { dim: 4 dim: 3 dim: 5 dim: 6 } } }
layer { name: "conv" type: "Convolution" bottom: "data" top: "conv"
  convolution_param { num_output: 2 kernel_size: 3
    weight_filler { type: "xavier" } bias_filler { type: "constant" value: 0.5 } } }
layer { name: "relu" type: "ReLU" bottom: "conv" top: "conv" }
layer { name: "ip" type: "InnerProduct" bottom: "conv" top: "ip"
  inner_product_param { num_output: 7 weight_filler { type: "xavier" } } }
layer { name: "prob" type: "Softmax" bottom: "ip" top: "prob" }
"""
TRAINED = """
layer { name: "data" type: "DummyData" top: "data" top: "label"
  dummy_data_param { shape { dim: 6 dim: 3 } shape { dim: 6 dim: 2 }
    data_filler { type: "gaussian" } data_filler { type: "constant" value: 1 } } }
layer { name: "ip" type: "InnerProduct" bottom: "data" top: "ip"
  inner_product_param { num_output: 2 weight_filler { type: "xavier" } } }
layer { name: "loss" type: "EuclideanLoss" bottom: "ip" bottom: "label" top: "loss" }
"""


@pytest.fixture(autouse=True)
def default_mode():
    yield
    caffe.set_mode_cpu()
    caffe.set_device(0)
    caffe.set_random_seed(0)
    caffe.set_solver_count(1)


@pytest.fixture
def model(tmp_path):
    path = tmp_path / "net.prototxt"
    path.write_text(NET)
    return str(path)


@pytest.fixture
def weights(tmp_path, model):
    caffe.set_random_seed(5)
    path = str(tmp_path / "net.caffemodel")
    caffe.Net(model, caffe.TEST).save(path)
    caffe.set_random_seed(0)
    return path


def items(count, seed=0):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(count, 3, 5, 6)).astype(np.float32)


# --- nets


def test_every_form_of_the_constructor_gives_the_same_net(model, weights):
    nets = [
        caffe.Net(model, weights, caffe.TEST),
        caffe.Net(model, weights),
        caffe.Net(model, caffe.TEST, 0, None, weights),
        caffe.Net(network_file=model, phase=caffe.TEST, weights=weights),
        caffe.Net(model, caffe.TEST, level=0, stages=["deploy"], weights=weights),
    ]
    x = items(4)
    first = nets[0].forward(data=x)["prob"].copy()
    for net in nets[1:]:
        np.testing.assert_array_equal(net.forward(data=x)["prob"], first)
    assert caffe.Net(model, caffe.TRAIN).phase == caffe.TRAIN
    with pytest.raises(TypeError, match="two values for phase"):
        caffe.Net(model, caffe.TEST, phase=caffe.TEST)
    with pytest.raises(TypeError, match="Net takes a model and weights, phase"):
        caffe.Net(model, weights, caffe.TEST, 0)


def test_names_and_numbers_of_blobs_and_layers(model):
    net = caffe.Net(model, caffe.TEST)
    assert (net.inputs, net.outputs) == (["data"], ["prob"])
    assert net._blob_names == ["data", "conv", "ip", "prob"]
    assert (net._inputs, net._outputs) == ([0], [3])
    assert list(net._layer_names) == ["data", "conv", "relu", "ip", "prob"]
    assert (net._bottom_ids(3), net._top_ids(3)) == ([1], [2])
    assert net._blobs[2] is net.blobs["ip"]
    assert net.top_names["relu"] == net.bottom_names["relu"] == ["conv"]
    assert (net.layers[3].type, len(net.layers[3].blobs)) == ("InnerProduct", 2)
    assert net.layer_dict["conv"].type == "Convolution"
    assert net.blob_loss_weights["prob"] == 0
    assert (net.blobs["data"].num, net.blobs["data"].width) == (4, 6)


def test_forward_all_fills_batches_and_drops_what_fills_them(model):
    net = caffe.Net(model, caffe.TEST)
    x = items(10)
    outs = net.forward_all(blobs=["ip"], data=x)
    assert {name: array.shape for name, array in outs.items()} == {
        "prob": (10, 7),
        "ip": (10, 7),
    }
    one = net.forward(data=np.concatenate([x[8:], x[:2]]))["prob"]
    np.testing.assert_allclose(outs["prob"][8:], one[:2], rtol=1e-5)


def test_forward_backward_all_returns_gradients_of_the_inputs(model):
    net = caffe.Net(model, caffe.TEST)
    x, dy = items(6), np.zeros((6, 7), np.float32)
    dy[:, 2] = 1
    outs, gradients = net.forward_backward_all(
        blobs=["conv"], diffs=["ip"], data=x, prob=dy
    )
    assert outs["conv"].shape == (6, 2, 3, 4)
    assert gradients["data"].shape == x.shape
    prob = outs["prob"]
    np.testing.assert_allclose(
        gradients["ip"], prob * (dy - prob[:, 2:3]), rtol=1e-4, atol=1e-6
    )


def test_inputs_that_do_not_fit_are_refused(model):
    net = caffe.Net(model, caffe.TEST)
    with pytest.raises(SpecError, match=r"inputs are \['data'\]"):
        net.forward(image=items(4))
    with pytest.raises(ShapeError, match="use forward_all"):
        net.forward(data=items(5))
    with pytest.raises(SpecError, match=r"give all of the inputs, \['data'\]"):
        net.forward_all()
    with pytest.raises(ShapeError, match=r"equal lengths; got \[3, 4\]"):
        net.forward_backward_all(data=items(3), prob=np.zeros((4, 7)))
    assert net.forward(data=np.ones((4, 1, 1, 1)))["prob"].shape == (4, 7)


def test_parts_of_a_net_run_from_layer_to_layer(model):
    net = caffe.Net(model, caffe.TEST)
    net.blobs["data"].data[...] = items(4)
    assert list(net.forward(end="ip")) == ["ip"]
    net.blobs["ip"].data[...] = 0
    np.testing.assert_allclose(net.forward(start="prob")["prob"], 1 / 7, rtol=1e-6)
    net.blobs["prob"].diff[...] = 1
    assert list(net.backward(diffs=["ip"], end="conv")) == ["data", "ip"]


def test_nets_share_parameters(model, weights):
    one, other = caffe.Net(model, weights, caffe.TEST), caffe.Net(model, caffe.TEST)
    other.share_with(one)
    x = items(4)
    np.testing.assert_array_equal(
        one.forward(data=x)["prob"], other.forward(data=x)["prob"]
    )
    one.params["ip"][0].data[...] = 0
    np.testing.assert_allclose(other.forward(data=x)["prob"], 1 / 7, rtol=1e-6)


def test_what_is_not_shared_is_kept(model, tmp_path):
    renamed = tmp_path / "renamed.prototxt"
    renamed.write_text(NET.replace('"ip"', '"fc"'))
    one, other = caffe.Net(model, caffe.TEST), caffe.Net(str(renamed), caffe.TEST)
    other.params["fc"][0].data[...] = 3
    other.share_with(one)
    assert (other.params["fc"][0].data == 3).all()
    one.params["conv"][1].data[...] = 9
    assert (other.params["conv"][1].data == 9).all()


def test_weights_as_hdf5(model, weights, tmp_path):
    pytest.importorskip("h5py")
    net, other = caffe.Net(model, weights, caffe.TEST), caffe.Net(model, caffe.TEST)
    path = str(tmp_path / "net.h5")
    net.save_hdf5(path)
    other.load_hdf5(path)
    np.testing.assert_array_equal(net.params["ip"][0].data, other.params["ip"][0].data)


def test_the_seed_is_that_of_the_process(model):
    def first_weight(seed):
        caffe.set_random_seed(seed)
        return caffe.Net(model, caffe.TEST).params["ip"][0].data[0, 0]

    assert first_weight(3) == first_weight(3) != first_weight(4)
    assert caffe.Net(model, caffe.TEST, seed=3).params["ip"][0].data[0, 0] == (
        first_weight(3)
    )


def test_a_gpu_that_is_not_there_is_a_warning(model, monkeypatch):
    def missing(name):
        raise MachineError("no GPU here")

    monkeypatch.setattr("runtime.pycaffe.mode.get_backend", missing)
    with pytest.warns(RuntimeWarning, match="running on the CPU: no GPU here"):
        caffe.set_mode_gpu()
    assert caffe.Net(model, caffe.TEST).backend.name == "numpy"


@pytest.fixture
def two_gpus(monkeypatch):
    """The names of backends that were asked for, on a machine with two GPUs."""
    asked = []

    def get(name):
        asked.append(name)
        if name not in ("cupy:0", "cupy:1"):
            raise MachineError(f"no {name}; this process sees 2")

    monkeypatch.setattr(mode, "get_backend", get)
    monkeypatch.setattr(mode, "_MODE", mode._Mode())
    return asked


def test_the_device_is_chosen_before_the_mode_or_after_it(two_gpus):
    caffe.set_device(1)
    assert (mode.backend(), two_gpus) == ("numpy", [])
    caffe.set_mode_gpu()
    assert (mode.backend(), two_gpus) == ("cupy:1", ["cupy:1"])
    caffe.set_device(0)
    assert (mode.backend(), two_gpus) == ("cupy:0", ["cupy:1", "cupy:0"])
    caffe.set_mode_cpu()
    assert mode.backend() == "numpy"


def test_a_device_that_is_not_there_is_an_error_where_others_are(two_gpus):
    caffe.set_device(2)
    with pytest.raises(MachineError, match="no cupy:2; this process sees 2"):
        caffe.set_mode_gpu()
    assert mode.backend() == "numpy"
    caffe.set_device(1)
    caffe.set_mode_gpu()
    with pytest.raises(MachineError, match="no cupy:5"):
        caffe.set_device(5)
    assert mode.backend() == "cupy:1"


def test_a_device_that_is_no_number_is_refused():
    with pytest.raises(SpecError, match=r"set_device\(-1\): GPUs have numbers from 0"):
        caffe.set_device(-1)
    with pytest.raises(TypeError):
        caffe.set_device("1")


def test_settings_of_several_solvers_and_of_logs_do_nothing():
    caffe.set_solver_count(2)
    caffe.set_solver_rank(1)
    caffe.set_multiprocess(True)
    caffe.init_log()
    caffe.log("message")
    assert (caffe.solver_count(), caffe.solver_rank(), caffe.has_nccl()) == (
        1,
        0,
        False,
    )


def test_layer_types_that_can_run_are_listed():
    types = caffe.layer_type_list()
    assert {"Convolution", "ReLU", "SoftmaxWithLoss", "LSTM"} <= set(types)
    assert types == sorted(types)


def test_scripts_may_import_any_layer(tmp_path, monkeypatch):
    source = """
import caffe
class Ramp(caffe.Layer):
    def setup(self, bottom, top):
        top[0].reshape(*eval(self.param_str))
    def forward(self, bottom, top):
        top[0].data.flat = range(top[0].count)
"""
    (tmp_path / "ramp_layers.py").write_text(source)
    monkeypatch.syspath_prepend(tmp_path)
    n = caffe.NetSpec()
    n.data = L.Python(module="ramp_layers", layer="Ramp", param_str="(2, 3)")
    n.double = L.Power(n.data, scale=2)
    net = caffe.Net(n, caffe.TEST)
    assert net.forward()["double"].tolist() == [[0, 2, 4], [6, 8, 10]]
    assert isinstance(net.layers[0], caffe.Layer)
    assert "Python" in caffe.layer_type_list()
    with pytest.raises(Unsupported, match="wants class 'Ramp' of module"):
        caffe.Net(n, caffe.TEST, allow_python=())


# --- solvers


def solver_text(tmp_path, **more):
    (tmp_path / "train.prototxt").write_text(TRAINED)
    fields = {
        "net": f"'{tmp_path / 'train.prototxt'}'",
        "base_lr": 0.1,
        "lr_policy": "'fixed'",
        "max_iter": 8,
        "test_iter": 2,
        "test_interval": 4,
        "snapshot_prefix": f"'{tmp_path / 'snap'}'",
        "snapshot_after_train": "false",
        **more,
    }
    path = tmp_path / "solver.prototxt"
    path.write_text("\n".join(f"{name}: {value}" for name, value in fields.items()))
    return str(path)


@pytest.mark.parametrize(
    "kind", ["SGD", "Nesterov", "AdaGrad", "RMSProp", "AdaDelta", "Adam"]
)
def test_solvers_of_every_type(kind, tmp_path):
    more = {"rms_decay": 0.9} if kind == "RMSProp" else {}
    more |= {"delta": 1e-6} if kind == "AdaDelta" else {}
    path = solver_text(tmp_path, **more)
    solver = getattr(caffe, f"{kind}Solver")(path)
    assert solver.param.type == kind
    assert type(solver.net) is type(solver.test_nets[0]) is caffe.Net
    before = solver.net.params["ip"][0].data.copy()
    solver.step(1)
    assert (solver.net.params["ip"][0].data != before).all()
    assert solver.iter == 1
    solver.solve()
    assert solver.iter == 8


def test_get_solver_reads_the_type(tmp_path):
    solver = caffe.get_solver(solver_text(tmp_path, type="'Adam'"))
    assert isinstance(solver, caffe.AdamSolver)
    assert isinstance(solver, runtime.Solver)
    assert isinstance(
        caffe.get_solver_from_file(solver_text(tmp_path)), caffe.SGDSolver
    )
    with pytest.raises(SpecError, match="no solver has the type 'Adma'; did you mean"):
        caffe.get_solver(solver_text(tmp_path, type="'Adma'"))


def test_get_solver_takes_a_type_that_caffe_lacks(tmp_path, monkeypatch):
    late = type("Late", (UPDATES["Adam"],), {"type": "Late"})
    monkeypatch.setitem(UPDATES, "Late", late)
    solver = caffe.get_solver(solver_text(tmp_path, type="'Late'"))
    assert solver.update.type == "Late"
    assert type(solver.net) is caffe.Net
    before = solver.net.params["ip"][0].data.copy()
    solver.step(1)
    assert (solver.net.params["ip"][0].data != before).all()


def test_the_seed_of_a_solver_is_its_own_or_that_of_the_process(tmp_path):
    def first_weight(seed, **fields):
        caffe.set_random_seed(seed)
        solver = caffe.SGDSolver(solver_text(tmp_path, **fields))
        return solver.net.params["ip"][0].data[0, 0]

    assert first_weight(3) != first_weight(4)
    assert first_weight(3, random_seed=7) == first_weight(4, random_seed=7)


def test_a_training_loop_of_ones_own(tmp_path):
    solver = caffe.SGDSolver(solver_text(tmp_path))
    net = solver.net
    net.clear_param_diffs()
    net.forward()
    net.backward()
    net.layers[1].blobs[0].data[...] = 0
    net.layers[1].blobs[0].diff[...] = 1
    solver.apply_update()
    np.testing.assert_allclose(net.params["ip"][0].data, -0.1, rtol=1e-6)
    other = caffe.Net(str(tmp_path / "train.prototxt"), caffe.TEST)
    solver.share_weights(other)
    np.testing.assert_allclose(other.params["ip"][0].data, -0.1, rtol=1e-6)
    solver.test_nets[0].share_with(solver.net)
    calls = []
    solver.add_callback(lambda: calls.append("before"), lambda: calls.append("after"))
    solver.step(1)
    assert calls == ["before", "after"]
    assert solver.iter == 2  # apply_update ended an iteration too
    solver.snapshot()
    assert (tmp_path / "snap_iter_2.caffemodel").is_file()


# --- drawings, places


def test_drawings(model, tmp_path):
    net = caffe.proto.caffe_pb2.NetParameter()
    text_format.Merge(Path(model).read_text(), net)
    path = tmp_path / "net.svg"
    caffe.draw.draw_net_to_file(net, str(path), "TB", phase=caffe.TEST)
    assert "<svg" in path.read_text()
    assert b"digraph" in caffe.draw.draw_net(net, "LR", ext="dot")


def test_coord_map_returns_axis_scale_and_offset():
    from runtime.pycaffe.coord_map import coord_map_from_to

    n = caffe.NetSpec()
    n.data = L.Input(shape=dict(dim=[2, 1, 100, 100]))
    n.conv = L.Convolution(n.data, num_output=3, kernel_size=[3, 5], pad=[0, 10])
    n.pool = L.Pooling(n.conv, pool=P.Pooling.MAX, kernel_size=4, stride=4)
    n.up = L.Deconvolution(
        n.pool, convolution_param=dict(num_output=3, kernel_size=8, stride=4)
    )
    axis, scale, offset = coord_map_from_to(n.up, n.data)
    assert axis == 1
    np.testing.assert_array_equal(scale, [1, 1])
    np.testing.assert_array_equal(offset, [1 - 2, 2 - 10 - 2])
    with pytest.raises(RuntimeError, match="give Crop its offset yourself"):
        coord_map_from_to(L.InnerProduct(n.data, num_output=2), n.data)


def test_unknown_names_are_attribute_errors():
    with pytest.raises(AttributeError, match="module 'caffe'.*has no 'NotThere'"):
        caffe.NotThere  # noqa: B018
    assert {"Net", "io", "NetSpec", "get_solver"} <= set(dir(caffe))
    assert caffe.pycaffe.Net is caffe.Net
    assert {"Net", "get_solver"} <= set(dir(runtime))
    with pytest.raises(AttributeError, match="module 'runtime' has no"):
        runtime.NotThere  # noqa: B018
