"""The net for use that is derived from the net for training."""

from pathlib import Path

import pytest

import netspec
from netspec import NetSpec
from netspec import layers as L
from netspec.commands.model_files import load_model
from netspec.errors import ShapeError, SpecError
from netspec.export import main

MODELS = Path(__file__).resolve().parents[2] / "models"
IMAGES = dict(source="lmdb", batch_size=8)


def net(**transform):
    n = NetSpec("small")
    for phase in (netspec.TRAIN, netspec.TEST):
        n.data, n.label = L.Data(
            **IMAGES, transform_param=transform, include=phase, ntop=2
        )
    n.conv = L.Convolution(n.data, num_output=4, kernel_size=3)
    n.side = L.InnerProduct(n.conv, num_output=3)
    n.side_loss = L.SoftmaxWithLoss(n.side, n.label, loss_weight=0.3)
    n.score = L.InnerProduct(n.conv, num_output=3)
    n.accuracy = L.Accuracy(n.score, n.label, include=netspec.TEST)
    n.loss = L.SoftmaxWithLoss(n.score, n.label)
    return n


@pytest.mark.parametrize("model", ["lenet", "caffenet", "googlenet", "cifar10_full"])
def test_derived_nets_have_the_layers_of_the_published_ones(model):
    published = load_model(MODELS / f"{model}.py", deploy=True)
    shape = tuple(published.layer[0].input_param.shape[0].dim)
    derived = netspec.deploy(load_model(MODELS / f"{model}.py"), shapes={"data": shape})

    assert wires(derived) == wires(published)
    assert derived.layer[0] == published.layer[0]
    summaries = [netspec.summarize(x).as_dict() for x in (derived, published)]
    assert summaries[0]["num_params"] == summaries[1]["num_params"]


def test_labels_losses_and_auxiliary_branches_go():
    derived = netspec.deploy(net(crop_size=12, mean_value=[1, 2, 3]), batch_size=1)
    assert [(x.name, x.type) for x in derived.layer] == [
        ("data", "Input"),
        ("conv", "Convolution"),
        ("score", "InnerProduct"),
        ("prob", "Softmax"),
    ]
    assert list(derived.layer[0].input_param.shape[0].dim) == [1, 3, 12, 12]
    assert derived.name == "small"


def test_a_spec_gives_the_net_for_use_itself():
    n = net(crop_size=12, mean_value=[1, 2, 3])
    assert n.to_proto("DEPLOY") == netspec.deploy(n)


def test_unknown_shapes_are_asked_for():
    with pytest.raises(ShapeError, match="--shape data=1,3,224,224"):
        netspec.deploy(net())
    derived = netspec.deploy(net(), shapes={"data": (2, 1, 9, 9)})
    assert list(derived.layer[0].input_param.shape[0].dim) == [2, 1, 9, 9]


def test_the_prediction_of_other_losses():
    n = NetSpec()
    n.data = L.Input(shape=[4, 5])
    n.target = L.Input(shape=[4, 3])
    n.score = L.InnerProduct(n.data, num_output=3)
    n.loss = L.EuclideanLoss(n.score, n.target)
    names = [x.name for x in netspec.deploy(n).layer]
    assert names == ["data", "score"]
    n.loss = L.SigmoidCrossEntropyLoss(n.score, n.target)
    last = netspec.deploy(n).layer[-1]
    assert (last.name, last.type, list(last.bottom)) == ("prob", "Sigmoid", ["score"])


def test_the_axis_of_a_softmax_stays_and_prob_may_be_taken():
    n = NetSpec()
    n.data = L.Input(shape=[4, 5, 2, 2])
    n.label = L.Input(shape=[4, 1, 2, 2])
    n.prob = L.ReLU(n.data)
    n.loss = L.SoftmaxWithLoss(n.prob, n.label, softmax_param=dict(axis=1))
    last = netspec.deploy(n).layer[-1]
    assert last.name == "loss_prob"
    assert last.softmax_param.axis == 1


def test_a_net_without_losses_keeps_its_outputs():
    n = NetSpec()
    n.data = L.Input(shape=[4, 5])
    n.a, n.b = L.ReLU(n.data), L.TanH(n.data)
    assert netspec.deploy(n) == n.to_proto()


def small_net():
    n = NetSpec()
    n.data, n.label = L.MemoryData(batch_size=4, channels=3, height=2, width=2, ntop=2)
    n.score = L.InnerProduct(n.data, num_output=5)
    return n


def wires(net):
    return [(x.name, x.type, list(x.bottom), list(x.top)) for x in net.layer]


START = [
    ("data", "Input", [], ["data"]),
    ("score", "InnerProduct", ["data"], ["score"]),
]


def test_a_prediction_that_the_net_makes_already_is_taken():
    n = small_net()
    n.classes = L.Softmax(n.score)
    n.loss = L.SoftmaxWithLoss(n.score, n.label)
    made = ("classes", "Softmax", ["score"], ["classes"])
    assert wires(netspec.deploy(n)) == [*START, made]


def test_the_second_top_of_a_loss_names_the_prediction():
    n = small_net()
    n.loss, n.classes = L.SoftmaxWithLoss(n.score, n.label, ntop=2)
    made = ("classes", "Softmax", ["score"], ["classes"])
    assert wires(netspec.deploy(n)) == [*START, made]


def test_a_focal_loss_has_a_softmax_inside():
    n = NetSpec()
    n.data, n.label = L.DummyData(shape=[[2, 3], [2]], ntop=2)
    n.loss = L.FocalLoss(n.data, n.label, gamma=1.5, alpha=0.5)
    assert netspec.deploy(n).layer[-1].type == "Softmax"


def test_an_infogain_loss_has_a_softmax_inside():
    n = small_net()
    n.loss = L.InfogainLoss(n.score, n.label, source="h.binaryproto")
    made = ("prob", "Softmax", ["score"], ["prob"])
    assert wires(netspec.deploy(n)) == [*START, made]


def test_an_output_in_place_stays_where_the_loss_is_of_the_other_phase():
    n = small_net()
    n.drop = L.Dropout(n.score, in_place=True)
    n.loss = L.SoftmaxWithLoss(n.drop, n.label, include="TRAIN")
    made = ("drop", "Dropout", ["score"], ["score"])
    assert wires(netspec.deploy(n)) == [*START, made]


def test_a_label_goes_with_the_layers_between_it_and_the_loss():
    n = small_net()
    n.target = L.Python(n.label, module="labels", layer="OneHot")
    n.loss = L.EuclideanLoss(n.score, n.target)
    assert wires(netspec.deploy(n)) == START


def test_a_layer_with_a_penalty_on_its_output_is_no_loss():
    n = small_net()
    n.code = L.Sigmoid(n.score, loss_weight=0.1)
    n.out = L.InnerProduct(n.code, num_output=3)
    n.loss = L.SoftmaxWithLoss(n.out, n.label)
    types = [x.type for x in netspec.deploy(n).layer]
    assert types == ["Input", "InnerProduct", "Sigmoid", "InnerProduct", "Softmax"]


@pytest.mark.parametrize("kind", ["Python", "TheirData"])
def test_data_of_layers_written_elsewhere_are_inputs(kind):
    n = NetSpec()
    own = dict(module="voc", layer="Voc") if kind == "Python" else {}
    n.data, n.label = netspec.layer(kind, ntop=2, **own)
    n.score = L.InnerProduct(n.data, num_output=5)
    n.loss = L.SoftmaxWithLoss(n.score, n.label)
    with pytest.raises(ShapeError, match="--shape data=1,3,224,224"):
        netspec.deploy(n)
    derived = netspec.deploy(n, shapes={"data": (1, 3, 6, 7)})
    assert wires(derived)[:2] == START
    assert list(derived.layer[0].input_param.shape[0].dim) == [1, 3, 6, 7]


@pytest.mark.parametrize("rule", ["TRAIN", dict(phase="TEST", stage="on-train")])
def test_data_of_another_phase_or_stage_are_inputs(rule):
    n = NetSpec()
    for batch in (4, 2):
        n.data = L.DummyData(
            shape=[batch, 5], include=rule if batch == 4 else dict(stage="other")
        )
    n.score = L.InnerProduct(n.data, num_output=5)
    derived = netspec.deploy(n)
    assert wires(derived) == START
    assert list(derived.layer[0].input_param.shape[0].dim) == [4, 5]


def test_a_layer_that_only_training_has_cannot_be_needed():
    n = NetSpec()
    n.data = L.Input(shape=[4, 5])
    n.noisy = L.Dropout(n.data, include="TRAIN")
    n.score = L.InnerProduct(n.noisy, num_output=3)
    message = (
        r"layer 'score' \(InnerProduct\): reads 'noisy', which no layer of the TEST"
    )
    with pytest.raises(SpecError, match=message):
        netspec.deploy(n)


@pytest.mark.parametrize(
    ("shapes", "message"),
    [
        ({"dta": (1, 3)}, "given for 'dta', .* did you mean 'data'"),
        ({"score": (1, 3)}, "given for 'score', .* these are data, label"),
        ({"data": (-1, 3)}, r"for 'data' is \(-1, 3\); expected sizes"),
        ({"data": "1,3"}, "for 'data' is '1,3'; expected sizes"),
    ],
)
def test_shapes_that_cannot_be_meant(shapes, message):
    with pytest.raises(SpecError, match=message):
        netspec.deploy(small_net(), shapes=shapes)


def test_nothing_for_use():
    n = NetSpec()
    with netspec.phase("TRAIN"):
        n.data = L.Input(shape=[4, 5])
    with pytest.raises(SpecError, match="no layers for the TEST phase"):
        netspec.deploy(n)


def test_the_command_derives_where_the_file_has_no_net_for_use(tmp_path, capsys):
    path = tmp_path / "small.py"
    path.write_text(
        "from netspec import NetSpec, layers as L\n"
        "def small():\n"
        "    n = NetSpec()\n"
        "    n.data, n.label = L.Data(source='x', batch_size=2, ntop=2)\n"
        "    n.score = L.InnerProduct(n.data, num_output=3)\n"
        "    n.loss = L.SoftmaxWithLoss(n.score, n.label)\n"
        "    return n\n"
    )
    assert main([str(path), "--deploy"]) == 1
    assert "--shape data=" in capsys.readouterr().err
    options = ["--shape", "data=1,3,8,8", "--batch-size", "5"]
    assert main([str(path), "--deploy", *options]) == 0
    text = capsys.readouterr().out
    assert "dim: 5" in text
    assert 'type: "Softmax"' in text


def test_shapes_that_nothing_would_read_are_refused(tmp_path, capsys):
    path = tmp_path / "small.py"
    path.write_text(
        "from netspec import NetSpec, layers as L\n"
        "def small():\n"
        "    n = NetSpec()\n"
        "    n.data = L.Input(shape=[2, 3])\n"
        "    return n\n"
        "deploy = small\n"
    )
    assert main([str(path), "--shape", "data=1,3"]) == 1
    assert "add --deploy" in capsys.readouterr().err
    assert main([str(path), "--deploy", "--shape", "data=1,3"]) == 1
    assert "its own deploy makes it" in capsys.readouterr().err


def test_a_loss_that_is_silenced_is_one():
    n = small_net()
    n.loss = L.Reduction(n.score, loss_weight=1)
    n.quiet = L.Silence(n.loss, n.label, ntop=0)
    assert wires(netspec.deploy(n)) == START


def test_what_only_writes_is_no_prediction():
    n = small_net()
    n.written = L.HDF5Output(
        n.score, n.label, hdf5_output_param=dict(file_name="x.h5"), ntop=0
    )
    n.quiet = L.Silence(n.label, ntop=0)
    assert wires(netspec.deploy(n)) == START


def test_a_loss_may_be_to_be_maximized():
    n = small_net()
    n.target = L.Python(n.label, module="labels", layer="OneHot")
    n.loss = L.EuclideanLoss(n.score, n.target, loss_weight=-1)
    assert wires(netspec.deploy(n)) == START


def test_a_softmax_in_place_is_not_taken_for_the_prediction():
    n = small_net()
    n.classes = L.Softmax(n.score, in_place=True)
    n.loss = L.SoftmaxWithLoss(n.classes, n.label)
    assert wires(netspec.deploy(n))[-1] == ("prob", "Softmax", ["score"], ["prob"])


def test_a_parameter_is_no_input():
    n = small_net()
    n.weight = L.Parameter(shape=dict(dim=[4, 5]))
    n.out = L.Eltwise(n.score, n.weight)
    assert "Parameter" in [layer.type for layer in netspec.deploy(n).layer]


def test_a_function_with_a_parameter_deploy_makes_its_net_for_use_itself(tmp_path):
    path = tmp_path / "net.py"
    path.write_text(
        "from netspec import NetSpec, layers as L\n"
        "def net(deploy=False):\n"
        "    n = NetSpec()\n"
        "    n.x = L.Input(shape=[2, 3])\n"
        "    n.quiet = L.Silence(n.x, ntop=0)\n"
        "    n.y = L.ReLU(n.x) if deploy else L.TanH(n.x)\n"
        "    return n\n"
    )
    types = [layer.type for layer in load_model(path, deploy=True).layer]
    assert types == ["Input", "Silence", "ReLU"]


def test_a_layer_that_lost_its_bottoms_is_refused_as_everywhere():
    text = """
    layer { name: "fc" type: "InnerProduct" top: "y"
            inner_product_param { num_output: 2 } }
    layer { name: "relu" type: "ReLU" bottom: "y" top: "y" }
    """
    with pytest.raises(SpecError, match=r"'fc' .*: takes 1 bottom .*got 0"):
        netspec.deploy(text)
