"""Layers are frozen and freed by patterns, in nets of every kind."""

import copy
import pickle

import numpy as np
import pytest

import netspec
import runtime
from netspec import NetSpec
from netspec import layers as L
from netspec.errors import SpecError, SpecWarning
from netspec.schema import TRAIN, NetParameter, SolverParameter
from netspec.weights import Model
from tests.example_nets import net as parsed

WEIGHTS = {"weight_filler": "xavier"}


@netspec.module
def block(x, num_output):
    y = NetSpec()
    y.conv = L.Convolution(
        x, num_output=num_output, kernel_size=3, pad=1, bias_term=False, **WEIGHTS
    )
    y.bn = L.BatchNorm(y.conv, in_place=True, moving_average_fraction=0.75)
    y.scale = L.Scale(y.bn, bias_term=True, in_place=True)
    return L.ReLU(y.scale, in_place=True, name="relu")


def make():
    """A stem, two modules in a folder, and a classifier."""
    n = NetSpec("small")
    n.data = L.Input(shape=[5, 2, 6, 7])
    n.label = L.Input(shape=[5])
    n.conv1 = L.Convolution(
        n.data,
        num_output=3,
        kernel_size=3,
        param=[dict(lr_mult=1, decay_mult=1), dict(lr_mult=2, decay_mult=0)],
        **WEIGHTS,
    )
    n.stage1 = NetSpec()
    n.stage1.a = block(n.conv1, 4)
    n.stage1.b = block(n.stage1.a, 3)
    n.fc = L.InnerProduct(n.stage1.b, num_output=4, **WEIGHTS)
    n.loss = L.SoftmaxWithLoss(n.fc, n.label)
    return n


def multipliers(net):
    """What every layer says of its parameters."""
    return {layer.name: [spec.lr_mult for spec in layer.param] for layer in net.layer}


def test_a_pattern_freezes_parameters_and_statistics():
    n = make()
    report = netspec.freeze(n, "conv*", "stage1/a")
    said = multipliers(n.to_proto())
    assert said["conv1"] == [0, 0]
    assert said["stage1/a/conv"] == [0]
    assert said["stage1/a/bn"] == [0, 0, 0]
    assert said["stage1/a/scale"] == [0, 0]
    assert said["stage1/b/conv"] == said["fc"] == []
    by_name = {layer.name: layer for layer in n.to_proto().layer}
    assert by_name["stage1/a/bn"].batch_norm_param.use_global_stats
    assert not by_name["stage1/b/bn"].batch_norm_param.use_global_stats
    assert [spec.decay_mult for spec in by_name["conv1"].param] == [0, 0]
    frozen = ("conv1", "stage1/a/conv", "stage1/a/bn", "stage1/a/scale")
    assert report.layers == frozen
    assert report.statistics == ("stage1/a/bn",)
    assert report.trained == ("stage1/b/conv", "stage1/b/scale", "fc")
    assert "froze 4 layers: conv1, stage1/a/conv" in repr(report)
    assert "trained: 3 layers: stage1/b/conv, stage1/b/scale, fc" in repr(report)
    assert report.net is n


def test_a_slash_star_a_module_and_its_spec_mean_the_same():
    texts = set()
    for pattern in ("stage1/*", "stage1", "stage?", "stage1/", "st*"):
        n = make()
        netspec.freeze(n, pattern)
        texts.add(str(n.to_proto()))
    n = make()
    netspec.freeze(n, n.stage1)
    assert {str(n.to_proto())} == texts


def test_a_top_means_its_layer():
    n = make()
    assert netspec.freeze(n, n.conv1, n["fc"]).layers == ("conv1", "fc")


def test_exclude_spares_layers():
    n = make()
    report = netspec.freeze(n, "*", exclude=["fc", "stage1/b"])
    assert report.trained == ("stage1/b/conv", "stage1/b/scale", "fc")


def test_unfreeze_gives_back_what_was_written():
    n = make()
    before = n.to_proto()
    netspec.freeze(n, "*")
    netspec.freeze(n, "conv1")  # once more is nothing more
    report = netspec.unfreeze(n, "conv1", "stage1/b")
    assert report.layers == (
        "conv1",
        "stage1/b/conv",
        "stage1/b/bn",
        "stage1/b/scale",
    )
    by_name = {layer.name: layer for layer in n.to_proto().layer}
    assert [spec.lr_mult for spec in by_name["conv1"].param] == [1, 2]
    assert [spec.decay_mult for spec in by_name["conv1"].param] == [1, 0]
    assert report.statistics == ("stage1/b/bn",)
    netspec.unfreeze(n)
    assert n.to_proto() == before
    assert netspec.unfreeze(n).layers == ()


def test_a_copy_and_a_pickle_know_what_was_written():
    n = make()
    before = n.to_proto()
    netspec.freeze(n, "*")
    for other in (pickle.loads(pickle.dumps(n)), copy.deepcopy(n)):
        netspec.unfreeze(other)
        assert other.to_proto() == before


@pytest.mark.parametrize("kind", ["loaded", "message", "text", "path", "model"])
def test_other_kinds_of_nets_are_frozen_the_same(kind, tmp_path):
    n = make()
    message = n.to_proto()
    netspec.freeze(n, "*", exclude="fc")
    wanted = n.to_proto()
    given = {
        "loaded": netspec.load(message),
        "message": NetParameter.FromString(message.SerializeToString()),
        "text": str(message),
        "path": tmp_path / "net.prototxt",
        "model": Model(message),
    }[kind]
    (tmp_path / "net.prototxt").write_text(str(make().to_proto()))
    report = netspec.freeze(given, "*", exclude="fc")
    if kind not in ("text", "path"):
        assert report.net is given
    net = report.net
    net = net.net if kind == "model" else net
    assert (net if isinstance(net, NetParameter) else net.to_proto()) == wanted


def test_a_file_is_freed_to_one():
    n = make()
    netspec.freeze(n, "*")
    loaded = netspec.load(n.to_proto())
    report = netspec.unfreeze(loaded)
    assert report.lr_mult["conv1"] == (1, 1)
    by_name = {layer.name: layer for layer in loaded.to_proto().layer}
    assert not by_name["stage1/a/bn"].batch_norm_param.HasField("use_global_stats")
    assert [spec.lr_mult for spec in by_name["stage1/a/bn"].param] == [0, 0, 0]
    assert [spec.HasField("lr_mult") for spec in by_name["fc"].param] == []


def tied():
    n = NetSpec()
    n.a, n.b = L.Input(shape=[3, 4]), L.Input(shape=[3, 4])
    n.left = L.InnerProduct(n.a, num_output=4, **WEIGHTS)
    n.right = L.InnerProduct(n.b, num_output=4, share=n.left, **WEIGHTS)
    n.top = L.InnerProduct(n.right, num_output=4, bias_term=False, **WEIGHTS)
    n.loss = L.EuclideanLoss(n.left, n.top)
    return n


@pytest.mark.parametrize("loaded", [False, True])
@pytest.mark.parametrize("name", ["left", "right"])
def test_who_shares_a_parameter_shares_that_it_is_frozen(name, loaded):
    n = tied()
    n = netspec.load(n.to_proto()) if loaded else n
    report = netspec.freeze(n, name)
    assert report.layers == (name,)
    assert report.sharing == ("right" if name == "left" else "left",)
    assert "as they share parameters" in repr(report)
    said = multipliers(n.to_proto())
    assert said["left"] == said["right"] == [0, 0]
    assert report.trained == ("top",)
    netspec.unfreeze(n, name)
    assert netspec.freeze(n, "top").trained == ("left", "right")


def test_a_sharer_cannot_be_excluded():
    with pytest.raises(
        SpecError, match="'right'.*shares 'w' with 'left'.*both or none"
    ):
        netspec.freeze(tied(), "*", exclude="right")


@pytest.mark.parametrize(
    ("patterns", "text"),
    [
        (["conf1"], "fits 'conf1'; did you mean 'conv1'"),
        (["stage2/*"], "fits 'stage2/\\*'; did you mean 'stage1'"),
        (["zzz"], "its layers are data, label, conv1"),
        (["stage1/a/relu"], r"fits layer 'stage1/a/relu' \(ReLU\); no parameters"),
        ([], "nothing is named to be frozen"),
        ([[]], "nothing is named to be frozen"),
        ([["conv1", "conf1"]], "fits 'conf1'; did you mean 'conv1'"),
        ([3], "a pattern is 3; expected the name of a layer or module"),
        ([""], "a pattern is ''"),
    ],
)
def test_patterns_that_fit_nothing_are_refused(patterns, text):
    n = make()
    before = n.to_proto()
    with pytest.raises(SpecError, match=text):
        netspec.freeze(n, *patterns)
    assert n.to_proto() == before


def test_all_excluded_is_refused():
    with pytest.raises(SpecError, match="exclude names all that 'fc' fits"):
        netspec.freeze(make(), "fc", exclude="*")


def test_what_is_no_net_is_refused():
    with pytest.raises(SpecError, match="the net is 3; expected a NetSpec"):
        netspec.freeze(3, "*")


def test_a_python_layer_says_that_its_code_alone_knows():
    n = NetSpec()
    n.data = L.Input(shape=[3, 4])
    n.own = L.Python(n.data, module="nowhere", layer="Own")
    n.fc = L.InnerProduct(n.own, num_output=2)
    with pytest.warns(SpecWarning, match=r"'own' \(Python\): only its code knows"):
        report = netspec.freeze(n, "*")
    assert report.unknown == ("own",)
    assert report.layers == ("fc",)


def test_pspnets_bn_is_frozen_by_its_own_word_and_others_warn():
    text = (
        'layer { name: "data" type: "Input" top: "data" '
        "input_param { shape { dim: 2 dim: 3 dim: 4 dim: 5 } } }"
    )
    bn = 'layer {{ name: "bn" type: "BN" bottom: "data" top: "bn" bn_param {{ {} }} }}'
    n = netspec.load(text + bn.format("momentum: 0.5"))
    netspec.freeze(n, "bn")
    last = n.to_proto().layer[-1]
    assert last.bn_param.frozen
    assert [spec.lr_mult for spec in last.param] == [0, 0, 0, 0]
    netspec.unfreeze(n)
    assert n.to_proto() == parsed(text + bn.format("momentum: 0.5"))
    with pytest.warns(SpecWarning, match="no option that keeps its stored statistics"):
        netspec.freeze(netspec.load(text + bn.format("decay: 0.9")), "bn")


def train(n, **fields):
    fields = {"base_lr": 0.1, "lr_policy": "fixed", **fields}
    param = SolverParameter(net_param=n.to_proto(), **fields)
    solver = runtime.get_solver(param)
    rng = np.random.default_rng(4)
    solver.net.blobs["data"].data[...] = rng.normal(size=(5, 2, 6, 7))
    solver.net.blobs["label"].data[...] = rng.integers(0, 4, 5)
    return solver


def bits(net):
    return {
        name: [blob.data.tobytes() for blob in blobs]
        for name, blobs in net.params.items()
    }


def test_frozen_layers_keep_their_bits_and_others_learn():
    n = make()
    netspec.freeze(n, "conv1", "stage1/a")
    solver = train(n, momentum=0.5, weight_decay=0.25)
    for array in solver.net.params["stage1/a/bn"]:
        array.data[...] = 1.5
    before = bits(solver.net)
    solver.step(3)
    after = bits(solver.net)
    same = [name for name in before if before[name] == after[name]]
    assert same == ["conv1", "stage1/a/conv", "stage1/a/bn", "stage1/a/scale"]
    for name in set(before) - set(same):
        pairs = zip(before[name], after[name], strict=True)
        assert all(old != new for old, new in pairs), name


def test_below_what_learns_no_gradient_is_computed():
    n = make()
    netspec.freeze(n, "conv1", "stage1/a")
    net = runtime.Net(n, TRAIN)
    runs = {node.name for node in net.graph.nodes if node.backward}
    assert runs == {
        *("stage1/b/conv", "stage1/b/bn", "stage1/b/scale", "stage1/b/relu"),
        *("fc", "loss"),
    }
    node = net.graph.node_of["stage1/b/conv"]
    assert node.propagate == (False,)
    assert node.learn == (True,)


def test_gradients_of_what_learns_are_those_of_the_whole_net():
    whole, part = make(), make()
    netspec.freeze(part, "conv1")
    nets = [train(each).net for each in (whole, part)]
    for net in nets:
        net.forward_backward()
    for name in ("stage1/a/conv", "stage1/b/scale", "fc"):
        for mine, theirs in zip(
            nets[0].params[name], nets[1].params[name], strict=True
        ):
            np.testing.assert_array_equal(mine.diff, theirs.diff)
    assert not nets[1].params["conv1"][0].diff.any()


def test_patterns_may_be_a_list():
    one, other = make(), make()
    before = str(one.to_proto())
    assert netspec.freeze(one, ["conv1", "stage1"]).layers == (
        netspec.freeze(other, "conv1", "stage1").layers
    )
    assert str(one.to_proto()) == str(other.to_proto()) != before
    with pytest.raises(SpecError, match="names nothing to be unfrozen"):
        netspec.unfreeze(one, [])
    netspec.unfreeze(one, ["conv1", "stage1"])
    assert str(one.to_proto()) == before
