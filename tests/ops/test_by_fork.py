"""Layers that forks compute otherwise: the fork in force decides."""

import pytest

import netspec
from netspec.errors import SpecWarning
from tests.ops.reading import param_shapes, read, refuses

X = (2, 3, 4, 5)
FILLERS = "bn_param { scale_filler { value: 1 } shift_filler { value: 0 } }"


@pytest.mark.parametrize(
    ("word", "form", "arrays", "eps"),
    [
        ("tsn", "pspnet", 4, 1e-5),
        ("enet", "segnet", 2, 1e-9),
        ("jule", "ducha-aiki", 4, 1e-10),
    ],
)
def test_bn_without_fields_is_that_of_the_fork_in_force(word, form, arrays, eps):
    with netspec.forks.use(word):
        op = read('type: "BN"', X)
    assert (op.form, len(op.params), op.eps) == (form, arrays, pytest.approx(eps))


def test_fillers_that_two_forks_have_are_those_of_the_fork_in_force():
    assert read('type: "BN"' + FILLERS, X).form == "segnet"
    with netspec.forks.use("ducha-aiki"):
        assert read('type: "BN"' + FILLERS, X).form == "ducha-aiki"
    with netspec.forks.use("pspnet"):
        refuses('type: "BN"' + FILLERS, X, match="scale_filler, shift_filler, which th")
    with netspec.forks.use("segnet"):
        text = 'type: "BN" bn_param { momentum: 0.9 }'
        refuses(text, X, match="has momentum, which the BN of segnet, the fork in for")


def test_bn_without_fields_says_whose_it_is_taken_for():
    with pytest.warns(SpecWarning, match="has no bn_param, .*that of PSPNet"):
        assert read('type: "BN"', X).form == "pspnet"


def test_batch_norm_is_that_of_the_fork_in_force():
    text = 'type: "BatchNorm" batch_norm_param { eps: 1e-7 }'
    assert read(text, X).eps == pytest.approx(1e-7)
    with netspec.forks.use("nvidia-0.17"):
        assert read(text, X).eps == pytest.approx(1e-5)
        assert len(read(text, X).params) == 3
    with netspec.forks.use("intel"):
        assert param_shapes(read(text, X)) == [(3,), (3,), (1,), (3,), (3,)]
        off = 'type: "BatchNorm" batch_norm_param { use_weight_bias: false }'
        assert len(read(off, X).params) == 3


def test_focal_loss_is_that_of_the_fork_in_force():
    text = 'type: "FocalLoss"'
    with pytest.warns(SpecWarning, match="multiplied by alpha, 0.25, as in soeaver"):
        assert read(text, (2, 3), (2,)).factor == 0.25
    with netspec.forks.use("rfcn-priv"):
        op = read(text, (2, 3), (2,))
    assert (op.factor, op.base, op.sign) == (0.25, 1, -1)
    with netspec.forks.use("caffe-windows"):
        op = read(text + "focal_loss_param { alpha: 1.5 }", (2, 3), (2,))
        assert (op.factor, op.base, op.sign) == (1, 1.5, -1)
        assert read(text, (2, 3), (2,)).base == 1
        small = text + "focal_loss_param { alpha: 0.5 }"
        refuses(small, (2, 3), (2,), match="alpha is 0.5; caffe-windows, the fork in")


def test_roi_align_is_that_of_the_fork_in_force():
    sizes = "{ pooled_h: 2 pooled_w: 2 spatial_scale: 0.5 }"
    text = f'type: "ROIAlign" roi_align_param {sizes}'
    with pytest.warns(SpecWarning, match="no sampling_ratio; taken for py-RFCN-priv"):
        assert read(text, X, (2, 5)).sampling_ratio is None
    with netspec.forks.use("rfcn-priv"):
        assert read(text, X, (2, 5)).sampling_ratio is None
    with netspec.forks.use("ascend"):
        assert read(text, X, (2, 5)).sampling_ratio == 0
    cascade = f'type: "ROIAlign" roi_pooling_param {sizes}'
    refuses(cascade, X, (2, 5), match="has roi_pooling_param, as in Cascade R-CNN")


def test_a_fork_is_in_force_for_a_block():
    with netspec.forks.use("segnet"), netspec.forks.use("pspnet"):
        assert read('type: "BN"', X).form == "pspnet"
    with netspec.forks.use("segnet"), netspec.forks.use(None):
        text = 'type: "BN" bn_param { frozen: true }'
        assert read(text, X).form == "pspnet"
