"""A net gets another head, in place, whatever kind of net it is."""

import warnings

import numpy as np
import pytest

import netspec
import runtime
from netspec import NetSpec
from netspec import layers as L
from netspec.errors import SpecError, SpecWarning
from netspec.schema import TEST, TRAIN, NetParameter
from netspec.weights import Model, as_model
from tests.tuning.test_freezing import WEIGHTS, block


def make(head=None):
    n = NetSpec("old")
    n.data = L.Input(shape=[2, 2, 6, 6])
    n.label = L.Input(shape=[2])
    n.stem = block(n.data, 3)
    n.fc7 = L.InnerProduct(n.stem, num_output=6, **WEIGHTS)
    if head is None:
        n.fc8 = L.InnerProduct(n.fc7, num_output=9, **WEIGHTS)
        score = n.fc8
    else:
        n.head = score = head(n.fc7)
    n.loss = L.SoftmaxWithLoss(score, n.label)
    n.top5 = L.Accuracy(score, n.label, top_k=5, include="TEST")
    return n


def layers(net):
    message = net if isinstance(net, NetParameter) else net.to_proto()
    return {layer.name: layer for layer in message.layer}


def both_phases(n):
    for phase in (TRAIN, TEST):
        assert np.isfinite(runtime.Net(n, phase).forward()["loss"])


def test_the_layer_that_the_loss_reads_is_replaced_under_another_name():
    n = make()
    assert netspec.replace_head(n, num_output=7) is n
    found = layers(n)
    assert "fc8" not in found
    assert found["fc8_7"].inner_product_param.num_output == 7
    assert [*found["loss"].bottom] == ["fc8_7", "label"]
    assert n.fc8_7.shape == (2, 7)
    assert n.keys().index("fc8_7") == n.keys().index("fc7") + 1
    both_phases(n)


def test_the_name_can_be_given_and_layers_can_be_put_on_it():
    n = make()
    netspec.replace_head(n, 7, name="flowers", weight_filler="msra")
    n.prob = L.Softmax(n.flowers)
    found = layers(n)
    assert [*found["prob"].bottom] == ["flowers"]
    assert found["flowers"].inner_product_param.weight_filler.type == "msra"


def test_old_weights_fill_the_rest(tmp_path):
    old = runtime.Net(make(), seed=3)
    old.save(tmp_path / "old.caffemodel")
    n = netspec.replace_head(make(), 7)
    net = runtime.Net(n, seed=5)
    with pytest.warns(SpecWarning, match="'fc8_7' did not"):
        report = net.copy_from(tmp_path / "old.caffemodel")
    assert report.missing == ("fc8_7",)
    assert report.unused == ("fc8",)
    mine, theirs = net.params["fc7"][0].data, old.params["fc7"][0].data
    np.testing.assert_array_equal(mine, theirs)


@pytest.mark.parametrize("kind", ["loaded", "message", "text", "path", "model"])
def test_other_kinds_of_nets_get_the_same_head(kind, tmp_path):
    message = make().to_proto()
    path = tmp_path / "net.prototxt"
    path.write_text(str(message))
    wanted = netspec.replace_head(make(), 7, name="new").to_proto()
    values = {"fc8": [np.ones((9, 6)), np.ones(9)], "fc7": [np.ones((6, 108))]}
    given = {
        "loaded": netspec.load(message),
        "message": message,
        "text": str(message),
        "path": path,
        "model": as_model(make(), values),
    }[kind]
    result = netspec.replace_head(given, 7, name="new")
    if kind not in ("text", "path"):
        assert result is given
    if isinstance(result, Model):
        assert list(result.weights) == ["fc7"]
        result = result.net
    message = result if isinstance(result, NetParameter) else result.to_proto()
    assert message == wanted


def in_module(x):
    @netspec.module
    def classifier(x):
        x = L.Dropout(x, in_place=True, name="drop")
        return L.InnerProduct(x, num_output=9, name="fc", **WEIGHTS)

    return classifier(x)


def unnamed(x):
    @netspec.module
    def classifier(x):
        return L.InnerProduct(L.ReLU(x), num_output=9, **WEIGHTS)

    return classifier(x)


def in_folder(x):
    y = NetSpec()
    y.hidden = L.InnerProduct(x, num_output=5, **WEIGHTS)
    y.output = L.InnerProduct(y.hidden, num_output=9, **WEIGHTS)
    return y


@pytest.mark.parametrize("loaded", [False, True])
@pytest.mark.parametrize(
    ("head", "old"),
    [
        (in_module, "head/fc"),
        (unnamed, "head/InnerProduct1"),
        (in_folder, "head/output"),
        (lambda x: L.InnerProduct(x, num_output=9, name="own", **WEIGHTS), "own"),
    ],
)
def test_heads_in_modules_and_folders(head, old, loaded):
    n = make(head)
    before = list(layers(n))
    n = netspec.load(n.to_proto()) if loaded else n
    netspec.replace_head(n, 7)
    renamed = [f"{old}_7" if name == old else name for name in before]
    assert old in before
    assert list(layers(n)) == renamed
    assert layers(n)[f"{old}_7"].inner_product_param.num_output == 7
    both_phases(n)


def test_what_follows_and_has_values_starts_anew_too():
    n = make()
    n.fc8_scale = L.Scale(n.fc8, bias_term=True, in_place=True)
    n.loss = L.SoftmaxWithLoss(n.fc8_scale, n.label)
    n.top5 = L.Accuracy(n.fc8_scale, n.label, top_k=5, include="TEST")
    with pytest.warns(SpecWarning, match="it starts anew as 'fc8_scale_7'"):
        netspec.replace_head(n, 7)
    assert {"fc8_7", "fc8_scale_7"} <= layers(n).keys()
    both_phases(n)


def test_accuracy_with_more_than_there_are_classes_follows():
    n = make()
    with pytest.warns(SpecWarning, match="top_k is 5, but there are 3 classes"):
        netspec.replace_head(n, 3)
    assert n.to_proto().layer[-1].accuracy_param.top_k == 3


def test_targets_of_a_regression_follow():
    n = NetSpec()
    n.data, n.target = L.Input(shape=[4, 3]), L.Input(shape=[4, 2])
    n.fc = L.InnerProduct(n.data, num_output=2, **WEIGHTS)
    n.loss = L.EuclideanLoss(n.fc, n.target)
    netspec.replace_head(n, 5)
    assert n.target.shape == (4, 5)
    runtime.Net(n).forward()


def two_heads():
    n = NetSpec()
    n.data, n.label = L.Input(shape=[4, 3]), L.Input(shape=[4])
    n.hidden = L.InnerProduct(n.data, num_output=6, **WEIGHTS)
    n.aux = L.InnerProduct(n.hidden, num_output=9, **WEIGHTS)
    n.aux_loss = L.SoftmaxWithLoss(n.aux, n.label, loss_weight=0.25)
    n.deep = L.InnerProduct(n.hidden, num_output=5, **WEIGHTS)
    n.main = L.InnerProduct(n.deep, num_output=9, **WEIGHTS)
    n.loss = L.SoftmaxWithLoss(n.main, n.label)
    return n


def test_the_main_head_alone_says_what_stays():
    n = two_heads()
    with pytest.warns(SpecWarning, match="still has the 9 outputs of 'aux'"):
        netspec.replace_head(n, 7)
    assert {"aux", "main_7"} <= layers(n).keys()


def test_all_heads():
    n = two_heads()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        netspec.replace_head(n, 7, layer="all", name={"aux": "early"})
    assert {"early", "main_7"} <= layers(n).keys()
    assert layers(n)["early"].inner_product_param.num_output == 7


def test_a_named_head():
    n = netspec.replace_head(two_heads(), 7, layer=["aux", "main"])
    assert {"aux_7", "main_7"} <= layers(n).keys()


def ambiguous():
    n = two_heads()
    n.aux_loss = L.SoftmaxWithLoss(n.aux, n.label)
    return n


@pytest.mark.parametrize(
    ("net", "options", "text"),
    [
        (ambiguous, {}, "which layer is the classifier.*'(aux|main)'.*'(aux|main)'"),
        (make, {"layer": "fc9"}, "no layer 'fc9'; did you mean 'fc8'"),
        (make, {"layer": "loss"}, "only a Convolution, Deconvolution or InnerProduct"),
        (make, {"name": "fc8"}, "the new name is the old one, 'fc8'"),
        (make, {"num_output": 0}, "num_output is 0; expected a number above 0"),
        (make, {"name": "fc7"}, "fc7"),
    ],
)
def test_what_is_not_clear_is_refused_and_nothing_is_changed(net, options, text):
    n = net()
    before = n.to_proto()
    with pytest.raises(SpecError, match=text):
        netspec.replace_head(n, **{"num_output": 7, **options})
    assert n.to_proto() == before


def test_what_is_no_net_is_refused():
    with pytest.raises(SpecError, match="the net is None; expected a NetSpec"):
        netspec.replace_head(None, 4)
