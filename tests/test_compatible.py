"""netspec.compatible gives what Caffe's own NetSpec gives, name for name.

The oracle is `tests.net_spec_reference`, a slow writing-down of the algorithm.
"""

import contextlib
import copy
import pickle
import warnings
from collections import OrderedDict

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import netspec
from netspec import compatible
from netspec.errors import SpecError
from netspec.schema import NetParameter
from netspec.text import parse
from tests import net_spec_reference as reference

pytestmark = pytest.mark.filterwarnings("ignore::netspec.SpecWarning")

L, P = compatible.layers, compatible.params


@contextlib.contextmanager
def no_spec_warnings():
    with warnings.catch_warnings():
        warnings.simplefilter("error", netspec.SpecWarning)
        yield


def same(build):
    """Run a script on both; return the net that both give."""
    ours, theirs = (build(x, x.layers, x.params) for x in (compatible, reference))
    assert ours == theirs
    assert parse(str(ours), NetParameter) == theirs
    return ours


def names(net):
    return [layer.name for layer in net.layer]


# --- random scripts

KERNEL = st.sampled_from([3, [3, 2], np.int64(5), [np.int32(1)]])
FILLER = st.sampled_from(
    [dict(type="xavier"), dict(type="gaussian", std=np.float32(0.25)), dict(value=2)]
)
PARAM = st.sampled_from(
    [
        dict(lr_mult=1),
        [dict(lr_mult=1, decay_mult=1), dict(lr_mult=2, decay_mult=0)],
        [dict(name="w", lr_mult=np.float64(0.5))],
        [dict(lr_mult=0)] * 3,
    ]
)
RULE = st.sampled_from(
    [dict(phase=0), dict(phase=1), [dict(phase=1, stage=["a", "b"]), dict(min_level=2)]]
)
COMMON = {
    "param": PARAM,
    "include": RULE,
    "exclude": RULE,
    "loss_weight": st.sampled_from([0.5, [1, 2]]),
    "propagate_down": st.sampled_from([True, [False]]),
}
FIELDS = {
    "Convolution": {
        "num_output": st.integers(1, 9),
        "kernel_size": KERNEL,
        "weight_filler": FILLER,
        "bias_term": st.sampled_from([True, False, 1, 0]),
        "engine": st.integers(0, 2),
        "convolution_param": st.just(dict(num_output=4, pad=[1, 2])),
    },
    "Deconvolution": {
        "convolution_param": st.just(
            dict(num_output=3, kernel_size=4, weight_filler=dict(type="bilinear"))
        )
    },
    "Pooling": {
        "pool": st.sampled_from([0, 1]),
        "kernel_size": st.integers(1, 3),
        "pooling_param": st.just(dict(stride=2)),
    },
    "LRN": {"alpha": st.just(1e-4), "norm_region": st.integers(0, 1)},
    "Eltwise": {"operation": st.integers(0, 2), "coeff": st.just([1, -1.5])},
    "BatchNorm": {"use_global_stats": st.booleans(), "eps": st.just(0.001)},
    "Scale": {"bias_term": st.booleans(), "filler": FILLER},
    "ReLU": {"negative_slope": st.floats(0, 1, width=32)},
    "Dropout": {"dropout_ratio": st.just(0.5), "dropout_param": st.just({})},
    "Slice": {"slice_point": st.sampled_from([2, [1, 2]])},
    "Data": {
        "source": st.just("db"),
        "backend": st.integers(0, 1),
        "batch_size": st.integers(1, 9),
        "transform_param": st.just(dict(scale=1.0 / 255, mean_value=[104, 117, 123])),
    },
    "DummyData": {
        "shape": st.sampled_from([dict(dim=[2, 3]), [dict(dim=[2]), dict(dim=[1, 1])]]),
        "data_filler": FILLER,
    },
    "Python": {
        "module": st.just("m"),
        "layer": st.just("l"),
        "param_str": st.just("{'a': 1}"),
    },
    "SoftmaxWithLoss": {
        "loss_param": st.just(dict(normalization=1, ignore_label=255)),
        "softmax_param": st.just(dict(axis=2)),
    },
    "Reshape": {"shape": st.just(dict(dim=[0, -1]))},
    "OfMyOwn": {"python_param": st.just(dict(module="m")), "phase": st.just(1)},
    "Silence": {},
}
NAMES = ["a", "b", "c/d", "with-dash", "ReLU1", "Convolution1"]


@st.composite
def calls(draw):
    """A list of layer calls: type, inputs by number, options, names, how to assign."""
    script = []
    for _ in range(draw(st.integers(1, 9))):
        kind = draw(st.sampled_from(sorted(FIELDS)))
        fields = {**FIELDS[kind], **COMMON}
        some = st.lists(st.sampled_from(sorted(fields)), unique=True, max_size=3)
        options = {name: draw(fields[name]) for name in draw(some)}
        inputs = draw(st.lists(st.integers(0, 30), max_size=3))
        if kind == "Silence":
            options["ntop"] = 0
        elif len(inputs) == 1 and draw(st.booleans()):
            options["in_place"] = True
        elif draw(st.booleans()):
            options["ntop"] = draw(st.integers(2, 3))
        if draw(st.integers(0, 9)) == 0:
            options["name"] = "named"
        labels = draw(st.lists(st.sampled_from([None, *NAMES]), min_size=3, max_size=3))
        how = draw(st.sampled_from(["attribute", "item", "tops", "setattr"]))
        script.append((kind, inputs, options, labels, how))
    return script


def play(script, api):
    """Write the script with the NetSpec of `api`; return the spec and all results."""
    n, tops, results = api.NetSpec(), [], []
    for kind, inputs, options, labels, how in script:
        bottoms = [tops[i % len(tops)] for i in inputs] if tops else []
        options = copy.deepcopy(options)
        if not bottoms:
            options.pop("in_place", None)
        made = getattr(api.layers, kind)(*bottoms, **options)
        made = made if isinstance(made, tuple) else (made,)
        for top, label in zip(made, labels, strict=False):
            if label is None:
                continue
            if how == "attribute":
                n.__setattr__(label, top)
            elif how == "setattr":
                setattr(n, label, top)
            elif how == "item":
                n[label] = top
            else:
                n.tops[label] = top
        results += made
        tops += [top for top in made if top is not top.fn]
    return n, results


@given(calls())
@settings(max_examples=300, deadline=None)
def test_random_scripts_give_what_caffe_gives(script):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", netspec.SpecWarning)
        ours, made = play(script, compatible)
        theirs, also = play(script, reference)
        assert ours.to_proto() == theirs.to_proto()
        assert list(ours.tops) == theirs.keys()
        assert compatible.to_proto(*made) == reference.to_proto(*also)
        for top, other in zip(made, also, strict=True):
            if top is not top.fn:
                assert top.to_proto() == other.to_proto()


# --- what scripts do


def test_a_classifier_in_the_style_of_the_notebooks():
    def build(api, L, P):
        n = api.NetSpec()
        n.data, n.label = L.Data(
            batch_size=64,
            backend=P.Data.LMDB,
            source="train",
            transform_param=dict(scale=1.0 / 255, mean_value=[104, 117]),
            ntop=2,
        )
        n.conv1 = L.Convolution(
            n.data, kernel_size=5, num_output=20, weight_filler=dict(type="xavier")
        )
        n.pool1 = L.Pooling(n.conv1, kernel_size=2, stride=2, pool=P.Pooling.MAX)
        n.score = L.InnerProduct(n.pool1, num_output=10)
        n.loss = L.SoftmaxWithLoss(
            n.score, n.label, loss_param=dict(normalization=P.Loss.VALID)
        )
        return n.to_proto()

    with no_spec_warnings():
        assert names(same(build)) == ["data", "conv1", "pool1", "score", "loss"]


def test_layers_without_names_are_numbered_by_type():
    def build(api, L, P):
        data, label = L.DummyData(shape=[dict(dim=[2, 3]), dict(dim=2)], ntop=2)
        ip = L.InnerProduct(data, num_output=4)
        relu = L.ReLU(ip, in_place=True)
        more = L.InnerProduct(relu, num_output=4)
        return api.to_proto(L.SoftmaxWithLoss(more, label), L.Accuracy(more, label))

    net = same(build)
    assert names(net)[:3] == ["DummyData1", "InnerProduct1", "ReLU1"]
    assert [list(layer.top) for layer in net.layer[:3]] == [
        ["DummyData1", "DummyData2"],
        ["InnerProduct1"],
        ["InnerProduct1"],
    ]


def test_layers_in_place_may_all_read_the_first_top():
    def build(api, L, P):
        n = api.NetSpec()
        n.data = L.Input(shape=dict(dim=[2, 3, 5, 4]))
        n.conv = L.Convolution(n.data, num_output=4, kernel_size=3, bias_term=False)
        n.bn = L.BatchNorm(n.conv, in_place=True, use_global_stats=False)
        n.scale = L.Scale(n.conv, in_place=True, scale_param=dict(bias_term=True))
        n.relu = L.ReLU(n.conv, in_place=True)
        n.pool = L.Pooling(n.conv, pool=P.Pooling.AVE, global_pooling=True)
        return n.to_proto()

    with no_spec_warnings():
        net = same(build)
    assert [list(layer.bottom) for layer in net.layer[2:]] == [["conv"]] * 4


def test_a_name_that_is_given_again_leaves_a_number_to_the_first():
    def build(api, L, P):
        n = api.NetSpec()
        n.x = L.Input(shape=dict(dim=[2, 3]))
        for width in (4, 5, 6):
            n.fc = L.InnerProduct(n.x, num_output=width, name=f"fc_{width}")
            n.x = L.TanH(n.fc)
        n.out = L.Concat(n.x, n.fc)
        return n.to_proto()

    net = same(build)
    assert names(net)[:3] == ["Input1", "fc_4", "TanH1"]
    assert [list(layer.top) for layer in net.layer][-1] == ["out"]


def test_the_last_name_of_a_top_counts():
    def build(api, L, P):
        n = api.NetSpec()
        n.data = L.Input(shape=dict(dim=[2, 3]))
        n.first = n.second = L.ReLU(n.data)
        return n.to_proto()

    assert names(same(build)) == ["data", "second"]


def test_data_of_one_phase_replaces_that_of_the_other():
    def build(api, L, P):
        n = api.NetSpec()
        for phase in (0, 1):
            n.data, n.label = L.HDF5Data(
                source="list", batch_size=2, ntop=2, include=dict(phase=phase)
            )
        n.fc = L.InnerProduct(n.data, num_output=2)
        return n.to_proto()

    assert names(same(build)) == ["data", "fc"]


def test_options_are_changed_afterwards():
    def build(api, L, P):
        n = api.NetSpec()
        n.data = L.Input(shape=dict(dim=[2, 3, 9, 9]))
        n["a/conv"] = L.Convolution(n.data, num_output=4, kernel_size=3)
        n.update("a/conv", {"dilation": 2, "param": [dict(lr_mult=0)]})
        n.tops["a/conv"].fn.params.update(pad=1, group=1)
        last = n.keys()[-1]
        n.tops["a/relu"] = L.ReLU(n[last], in_place=True)
        assert n.vals()[0] is n.data is n.__getattr__("data")
        assert isinstance(n.tops, OrderedDict)
        n.extra = L.Softmax(n["a/relu"])
        del n["extra"]
        return n.to_proto()

    net = same(build)
    assert names(net) == ["data", "a/conv", "a/relu"]
    assert list(net.layer[1].convolution_param.dilation) == [2]


def test_update_with_entries_assigns_them():
    n = compatible.NetSpec()
    n.update({"x": L.Input(shape=dict(dim=[2, 3]))})
    assert names(n.to_proto()) == ["x"]


def test_a_layer_of_any_name_and_number_of_bottoms_is_written():
    def build(api, L, P):
        n = api.NetSpec()
        n.data = L.Layer()
        n.loss = L.MyLoss(n.data, python_param=dict(module="m"), loss_weight=1)
        n.conv = L.Convolution(n.data, kernel_size=3)
        n.found = getattr(L, "DetectionOutput")(  # noqa: B009
            detection_output_param=dict(nms_param=dict(nms_threshold=0.45)),
            include=dict(phase=1),
        )
        return n.to_proto()

    assert [layer.type for layer in same(build).layer] == [
        "Layer",
        "MyLoss",
        "Convolution",
        "DetectionOutput",
    ]
    with pytest.warns(netspec.SpecWarning, match="num_output is missing"):
        L.Convolution(L.Input(shape=dict(dim=[2, 3, 9, 9])), kernel_size=3)
    with pytest.warns(netspec.SpecWarning, match="bottoms must agree"):
        L.Concat(*(L.Input(shape=[2, 3, size, 4]) for size in (5, 6)))


def test_a_silence_that_is_not_assigned_is_not_written():
    def build(api, L, P):
        n = api.NetSpec()
        n.data, n.label = L.DummyData(shape=dict(dim=3), ntop=2)
        L.Silence(n.label, ntop=0)
        n.quiet = L.Silence(n.data, ntop=0)
        return n.to_proto()

    assert names(same(build)) == ["data", "quiet"]


def test_two_layers_may_have_one_name():
    def build(api, L, P):
        n = api.NetSpec()
        n.a = L.Input(shape=dict(dim=[2, 3]))
        n.ReLU1 = L.ReLU(n.a, in_place=True)
        n.c = L.TanH(L.ReLU(n.ReLU1, in_place=True))
        return n.to_proto()

    assert names(same(build)) == ["a", "ReLU1", "ReLU1", "c"]


def test_unequal_multipliers_of_one_parameter_are_a_warning():
    n = compatible.NetSpec()
    n.x = L.Input(shape=dict(dim=[2, 3]))
    n.a, n.b = (
        L.InnerProduct(n.x, num_output=3, param=[dict(name="w", lr_mult=lr)])
        for lr in (1, 2)
    )
    with pytest.warns(netspec.SpecWarning, match="lr_mult"):
        assert names(n.to_proto()) == ["x", "a", "b"]


def test_enum_values_of_every_message_are_there():
    assert P.Loss.VALID == 1
    assert P.Solver.GPU == 1
    assert P.Resize.WARP == netspec.schema.ResizeParameter.WARP
    with pytest.raises(AttributeError, match="no layer type with named values"):
        P.Poling  # noqa: B018


def test_what_is_wrong_in_caffe_is_an_error():
    x = L.Input(shape=dict(dim=[2, 3]))
    with pytest.raises(SpecError, match="num_outptu is no field"):
        L.InnerProduct(x, num_outptu=3)
    with pytest.raises(TypeError, match="is a tuple of 2 tops; expected one top"):
        L.Silence((x, x), ntop=0)
    with pytest.raises(AttributeError, match="no top is named 'missing'"):
        compatible.NetSpec().missing  # noqa: B018
    message = netspec.schema.ConvolutionParameter()
    with pytest.raises(SpecError, match="num_output is 2.5; expected an integer"):
        compatible.assign_proto(message, "num_output", 2.5)
    with pytest.raises(AttributeError, match="no field 'pad_x'"):
        compatible.assign_proto(message, "pad_x", 2)


def test_functions_of_net_spec():
    message = netspec.schema.LayerParameter()
    compatible.assign_proto(message, "param", [dict(lr_mult=2), dict(lr_mult=1)])
    compatible.assign_proto(message, "name", "x")
    assert [spec.lr_mult for spec in message.param] == [2, 1]
    known = compatible.param_name_dict()
    assert (known["InnerProduct"], known["LRN"], known["MVN"]) == (
        "inner_product",
        "lrn",
        "mvn",
    )
    assert L.Convolution.__doc__ == netspec.layers.Convolution.__doc__
    assert "Convolution" in dir(L)
    assert isinstance(L.Input(), compatible.Top)


def test_copies_and_pickles_stay_what_they_are():
    n = compatible.NetSpec()
    n.a = L.Input(shape=dict(dim=[2, 3]))
    n.b = n.c = L.ReLU(n.a)
    for other in (copy.copy(n), copy.deepcopy(n), pickle.loads(pickle.dumps(n))):
        assert type(other) is compatible.NetSpec
        assert other.to_proto() == n.to_proto()
        other.d = other.c
        assert names(other.to_proto()) == ["a", "d"]


def test_both_spell_the_same_language():
    """A spec of the compatible kind can use what netspec adds."""
    n = compatible.NetSpec()
    n.x = L.Input(shape=[2, 6])
    n.y = n.x * 2 + n.x
    n.z = netspec.layers.InnerProduct(n.y, num_output=3)
    assert [layer.type for layer in n.to_proto().layer] == [
        "Input",
        "Power",
        "Eltwise",
        "InnerProduct",
    ]
    assert n.z.shape == (2, 3)
