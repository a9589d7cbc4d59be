"""Sharing by object: what comes out, what it computes, and what is refused."""

import numpy as np
import pytest

import netspec
import runtime
from netspec import NetSpec, module, shared
from netspec import layers as L
from netspec.errors import SpecError


@module
def tower(x, width=4):
    conv = L.Convolution(
        x,
        num_output=width,
        kernel_size=3,
        name="conv",
        weight_filler="xavier",
        param=[dict(lr_mult=1), dict(lr_mult=2, decay_mult=0)],
    )
    return L.InnerProduct(
        L.ReLU(conv, in_place=True, name="relu"),
        num_output=3,
        name="feat",
        weight_filler="xavier",
    )


def two_inputs(shape=(2, 3, 8, 8)):
    n = NetSpec()
    n.a = L.Input(shape=list(shape))
    n.b = L.Input(shape=list(shape))
    return n


def param_names(n):
    return {
        layer.name: [spec.name for spec in layer.param]
        for layer in n.to_proto().layer
        if layer.param
    }


def test_every_call_of_a_shared_module_has_the_parameters_of_the_first():
    n = two_inputs()
    twin = shared(tower)
    n.left = twin(n.a)
    n.right = twin(n.b)
    conv, feat = ["left/conv_w", "left/conv_b"], ["left/feat_w", "left/feat_b"]
    assert param_names(n) == {
        "left/conv": conv,
        "left/feat": feat,
        "right/conv": conv,
        "right/feat": feat,
    }
    layers = {layer.name: layer for layer in n.to_proto().layer}
    assert layers["right/conv"].param == layers["left/conv"].param
    assert layers["right/conv"].param[1].lr_mult == 2
    summary = netspec.summarize(n).as_dict()
    alone = two_inputs()
    alone.left = tower(alone.a)
    assert summary["num_params"] == netspec.summarize(alone).as_dict()["num_params"]


def test_shared_towers_compute_the_same_and_sum_their_gradients():
    n = two_inputs()
    twin = shared(tower)
    n.left, n.right = twin(n.a), twin(n.b)
    n.loss = L.EuclideanLoss(n.left, n.right)
    net = runtime.Net(n, runtime.TRAIN)
    x = np.random.default_rng(0).normal(size=(2, 3, 8, 8))
    net.blobs["a"].data[...] = net.blobs["b"].data[...] = x
    assert float(net.forward()["loss"]) == 0
    owner, other = net.params["left/conv"][0], net.params["right/conv"][0]
    assert np.shares_memory(owner.data, other.data)
    net.blobs["b"].data[...] = -x
    net.forward()
    net.backward()
    both = owner.diff.copy()
    alone = NetSpec()
    alone.a, alone.b = L.Input(shape=[2, 3, 8, 8]), L.Input(shape=[2, 3, 8, 8])
    alone.left, alone.right = tower(alone.a), tower(alone.b)
    alone.loss = L.EuclideanLoss(alone.left, alone.right)
    apart = runtime.Net(alone, runtime.TRAIN)
    apart.blobs["a"].data[...], apart.blobs["b"].data[...] = x, -x
    for side in ("left", "right"):
        for layer in ("conv", "feat"):
            for place in (0, 1):
                value = net.params[f"left/{layer}"][place].data
                apart.params[f"{side}/{layer}"][place].data[...] = value
    apart.forward()
    apart.backward()
    parts = [apart.params[f"{side}/conv"][0].diff for side in ("left", "right")]
    np.testing.assert_allclose(both, sum(parts), rtol=1e-4, atol=1e-5)


def test_a_shared_module_used_once_names_nothing():
    n = two_inputs()
    n.left = shared(tower)(n.a)
    assert "param { name" not in str(n.to_proto()).replace("\n", " ")
    assert param_names(n) == {"left/conv": ["", ""]}


def test_shared_takes_layer_functions_and_plain_functions():
    n = two_inputs()
    conv = shared(L.Convolution)
    n.x = conv(n.a, num_output=2, kernel_size=1)
    n.y = conv(n.b, num_output=2, kernel_size=1)
    plain = shared(lambda top: L.PReLU(top))
    n.p, n.q = plain(n.x), plain(n.y)
    assert param_names(n) == {
        "x": ["x_w", "x_b"],
        "y": ["x_w", "x_b"],
        "p": ["p_w"],
        "q": ["p_w"],
    }


def test_an_unrolled_recurrence_reads_as_it_is_meant():
    @shared
    @module
    def step(x, h):
        both = L.Concat(x, h, axis=1, name="both")
        return L.TanH(L.InnerProduct(both, num_output=4, name="ip"), name="h")

    n = NetSpec()
    n.x = L.Input(shape=[2, 3])
    n.h0 = L.Input(shape=[2, 4])
    h = n.h0
    for t in range(3):
        h = n[f"t{t}"] = step(n.x, h)
    names = param_names(n)
    assert set(map(tuple, names.values())) == {("t0/ip_w", "t0/ip_b")}
    assert len(names) == 3
    assert netspec.summarize(n).as_dict()["num_params"] == 4 * (3 + 4) + 4


def test_shared_statistics_are_not_learned():
    @shared
    @module
    def norm(x):
        return L.Scale(L.BatchNorm(x, name="norm"), bias_term=True, name="scale")

    n = two_inputs()
    n.x, n.y = norm(n.a), norm(n.b)
    names = ["x/norm_mean", "x/norm_variance", "x/norm_count"]
    assert param_names(n)["y/norm"] == names
    assert [spec.lr_mult for spec in n.to_proto().layer[-2].param] == [0, 0, 0]
    assert netspec.summarize(n).as_dict()["num_params"] == 3 + 3 + 1 + 3 + 3


def test_share_takes_the_parameters_of_another_layer():
    n = two_inputs()
    n.x = L.Convolution(
        n.a, num_output=2, kernel_size=3, param=[dict(name="w", lr_mult=3), {}]
    )
    n.y = L.Convolution(n.b, num_output=2, kernel_size=3, share=n.x)
    net = n.to_proto()
    assert [spec.name for spec in net.layer[-1].param] == ["w", "x_b"]
    assert net.layer[-1].param == net.layer[-2].param
    assert net.layer[-1].param[0].lr_mult == 3


def test_share_of_single_parameters():
    n = two_inputs()
    n.x = L.Convolution(n.a, num_output=2, kernel_size=3)
    n.y = L.Convolution(n.b, num_output=2, kernel_size=3, share=[None, n.x])
    assert param_names(n) == {"x": ["", "x_b"], "y": ["", "x_b"]}


def test_tied_weights_through_transpose():
    n = NetSpec()
    n.data = L.Input(shape=[5, 12])
    n.code = L.InnerProduct(n.data, num_output=4, weight_filler="xavier")
    n.back = L.InnerProduct(n.code, num_output=12, transpose=True, share=n.code)
    assert param_names(n) == {"code": ["code_w"], "back": ["code_w"]}
    assert netspec.summarize(n).as_dict()["num_params"] == 12 * 4 + 4 + 12
    net = runtime.Net(n, runtime.TEST)
    x = np.random.default_rng(0).normal(size=(5, 12)).astype(np.float32)
    net.blobs["data"].data[...] = x
    weights = net.params["code"][0].data
    wanted = x @ weights.T @ weights
    np.testing.assert_allclose(net.forward()["back"], wanted, rtol=1e-4, atol=1e-5)


def test_sharing_through_a_chain_ends_at_the_first_owner():
    n = two_inputs()
    n.x = L.Convolution(n.a, num_output=2, kernel_size=3)
    n.y = L.Convolution(n.b, num_output=2, kernel_size=3, share=n.x)
    n.z = L.Convolution(n.b, num_output=2, kernel_size=3, share=n.y)
    assert set(map(tuple, param_names(n).values())) == {("x_w", "x_b")}


def test_an_owner_that_is_not_in_the_net_lends_its_place():
    n = two_inputs()
    first = L.Convolution(n.a, num_output=2, kernel_size=3)
    n.y = L.Convolution(n.b, num_output=2, kernel_size=3, share=first)
    n.z = L.Convolution(n.b, num_output=2, kernel_size=3, share=first)
    assert set(map(tuple, param_names(n).values())) == {("y_w", "y_b")}


def conv(n, **options):
    return L.Convolution(n.b, **{"num_output": 2, "kernel_size": 3, **options})


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (dict(kernel_size=5), r"shape \(2, 3, 5, 5\) here and \(2, 3, 3, 3\)"),
        (dict(param=[dict(lr_mult=4)]), "lr_mult of the shared parameter 0 is 4 here"),
        (dict(param=[dict(decay_mult=0)]), "decay_mult of the shared parameter 0 is 0"),
        (dict(param=[dict(name="other")]), "the name 'other'"),
        (dict(bias_term=False, num_output=3), r"shape \(3, 3, 3, 3\) here"),
    ],
)
def test_sharing_that_cannot_work_is_refused_where_it_is_written(options, words):
    n = two_inputs()
    n.x = L.Convolution(n.a, num_output=2, kernel_size=3, param=[dict(lr_mult=1)])
    with pytest.raises(SpecError, match=words) as caught:
        conv(n, share=n.x, **options)
    assert "test_sharing.py:" in str(caught.value)


def test_permissive_sharing_needs_the_same_number_of_values():
    n = two_inputs()
    n.x = L.InnerProduct(n.a, num_output=2, bias_term=False)
    n.r = L.Reshape(n.a, shape=dict(dim=[4, -1]))
    mode = [dict(share_mode="PERMISSIVE")]
    with pytest.raises(SpecError, match="needs as many values"):
        L.InnerProduct(n.r, num_output=2, bias_term=False, share=n.x, param=mode)
    n.y = L.InnerProduct(n.r, num_output=4, bias_term=False, share=n.x, param=mode)
    specs = [layer.param[0] for layer in n.to_proto().layer if layer.param]
    assert [spec.share_mode for spec in specs] == [0, 1]


def test_layers_without_parameters_or_of_another_type_do_not_share():
    n = two_inputs()
    n.x = L.Convolution(n.a, num_output=2, kernel_size=3)
    with pytest.raises(SpecError, match="is no InnerProduct layer"):
        L.InnerProduct(n.b, num_output=2, share=n.x)
    with pytest.raises(SpecError, match="has no parameters"):
        L.ReLU(n.b, share=L.ReLU(n.a))
    with pytest.raises(SpecError, match="expected a top"):
        L.Convolution(n.b, num_output=2, kernel_size=3, share="x")
    with pytest.raises(SpecError, match="no parameter 2"):
        L.Convolution(n.b, num_output=2, kernel_size=3, share=[None, None, n.x])


def test_unknown_shapes_still_show_different_outputs():
    n = NetSpec()
    n.data = L.Data(source="x", batch_size=2)
    n.x = L.Convolution(n.data, num_output=2, kernel_size=3)
    with pytest.raises(SpecError, match="num_output is 3 here and 2 at"):
        L.Convolution(n.data, num_output=3, kernel_size=3, share=n.x)


def test_a_shared_module_must_record_the_same_layers():
    @shared
    def changing(x, deep):
        y = L.InnerProduct(x, num_output=3)
        return L.InnerProduct(y, num_output=3) if deep else y

    n = two_inputs()
    n.x = changing(n.a, False)
    with pytest.raises(SpecError, match="other layers than its first one"):
        changing(n.b, True)


def test_names_that_are_written_must_agree_too():
    n = two_inputs()
    for key, rate in (("x", 1), ("y", 2)):
        n[key] = L.Convolution(
            n[{"x": "a", "y": "b"}[key]],
            num_output=2,
            kernel_size=3,
            param=dict(name="w", lr_mult=rate),
        )
    with pytest.raises(SpecError, match="parameter 'w' has lr_mult 2 here and 1 at"):
        n.to_proto()


def test_names_that_are_written_need_one_shape():
    n = two_inputs()
    n.x = L.Convolution(n.a, num_output=2, kernel_size=3, param="w")
    n.y = L.Convolution(n.b, num_output=3, kernel_size=3, param="w")
    with pytest.raises(SpecError, match="has shape"):
        n.to_proto()


def test_one_name_in_two_phases_is_not_sharing():
    n = two_inputs()
    for phase, width in ((netspec.TRAIN, 2), (netspec.TEST, 3)):
        n.x = L.Convolution(
            n.a, num_output=width, kernel_size=3, param="w", include=phase
        )
    assert len(n.to_proto().layer) == 4
