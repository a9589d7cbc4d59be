"""Layers with few options: activations, products, normalisation, scales."""

import pytest

from netspec.schema import TEST, TRAIN
from tests.ops.reading import fillers, param_shapes, read, refuses

ELEMENTWISE = (
    "AbsVal BNLL ELU Exp Log Power ReLU Sigmoid Swish TanH Threshold "
    "Dropout LRN Softmax"
)


@pytest.mark.parametrize("kind", ELEMENTWISE.split())
def test_elementwise_layers_keep_the_shape(kind):
    op = read(f'type: "{kind}" top: "y"', (2, 3, 4, 5))
    assert op.tops == ((2, 3, 4, 5),)
    assert op.params == ()
    assert op.macs == 0


@pytest.mark.parametrize("kind", ["ReLU", "ELU", "Sigmoid", "TanH", "Exp", "Softmax"])
def test_some_gradients_read_only_the_output(kind):
    op = read(f'type: "{kind}" top: "y"', (2, 3))
    assert op.backward_bottoms == ()
    assert op.backward_tops == (0,)
    assert op.in_place


@pytest.mark.parametrize("kind", ["AbsVal", "BNLL", "Log", "Swish"])
def test_some_gradients_read_the_input(kind):
    op = read(f'type: "{kind}" top: "y"', (2, 3))
    assert op.backward_bottoms == (0,)
    assert op.backward_tops == ()


def test_power_reads_what_its_gradient_needs():
    def reads(options):
        op = read(f'type: "Power" top: "y" power_param {{ {options} }}', (2, 3))
        return op.backward_bottoms, op.backward_tops

    assert reads("power: 3 scale: 2 shift: 1") == ((0,), (0,))
    assert reads("power: 2 scale: 2 shift: 1") == ((0,), ())
    assert reads("power: 1 scale: 2 shift: 1") == ((), ())
    assert reads("power: 3 scale: 0 shift: 1") == ((), ())


def test_options_are_parsed():
    op = read('type: "Exp" top: "y" exp_param { base: 2 scale: 3 shift: 4 }', (2, 3))
    assert (op.base, op.scale, op.shift) == (2, 3, 4)
    op = read('type: "Clip" top: "y" clip_param { min: -2 max: 3 }', (2, 3))
    assert (op.min, op.max) == (-2, 3)
    op = read('type: "Swish" top: "y" swish_param { beta: 3 }', (2, 3))
    assert op.beta == 3
    op = read('type: "ELU" top: "y" elu_param { alpha: 3 }', (2, 3))
    assert op.alpha == 3
    op = read('type: "Threshold" top: "y" threshold_param { threshold: 3 }', (2, 3))
    assert op.threshold == 3
    assert op.refused_bottoms == (0,)


def test_bad_bases_and_bounds_are_refused():
    exp = 'type: "Exp" top: "y" exp_param { base: -2 }'
    refuses(exp, (2, 3), match="base is -2; expected a positive value, or -1 for e")
    log = 'type: "Log" top: "y" log_param { base: 1 }'
    refuses(log, (2, 3), match="base is 1, which has no logarithm")
    clip = 'type: "Clip" top: "y" clip_param { min: 3 max: 2 }'
    refuses(clip, (2, 3), match="min is 3 and max 2; expected min <= max")


def test_prelu_has_a_slope_a_channel_or_one_for_all():
    op = read('type: "PReLU" top: "y"', (2, 3, 4))
    assert param_shapes(op) == [(3,)]
    assert fillers(op) == [("constant", 0.25)]
    assert op.backward_bottoms == (0,)
    op = read('type: "PReLU" top: "y" prelu_param { channel_shared: true }', (2, 3))
    assert param_shapes(op) == [()]
    in_place = read('type: "PReLU" bottom: "x" top: "x"', (2, 3))
    assert in_place.backward_bottoms == ()
    refuses('type: "PReLU" top: "y"', (3,), match="at least 2 axes, channels on axis 1")


def test_dropout_ratio_has_a_range():
    op = read('type: "Dropout" top: "y" dropout_param { dropout_ratio: 0.25 }', (2, 3))
    assert op.dropout_ratio == 0.25
    assert op.backward_bottoms == op.backward_tops == ()
    text = 'type: "Dropout" top: "y" dropout_param { dropout_ratio: 1 }'
    refuses(text, (2, 3), match="dropout_ratio is 1; expected the share of values")


def test_lrn_options():
    text = """type: "LRN" top: "y" lrn_param { local_size: 3 alpha: 1.5 beta: 0.5
        k: 2 norm_region: WITHIN_CHANNEL }"""
    op = read(text, (2, 3, 4, 5))
    assert (op.local_size, op.alpha, op.beta, op.k) == (3, 1.5, 0.5, 2)
    assert op.norm_region == "WITHIN_CHANNEL"
    assert (op.backward_bottoms, op.backward_tops) == ((0,), ())
    even = 'type: "LRN" top: "y" lrn_param { local_size: 4 }'
    refuses(even, (2, 3, 4, 5), match="local_size is 4; expected an odd number")
    refuses('type: "LRN" top: "y"', (2, 3, 4), match="must have 4 axes")


def test_inner_product_flattens_from_an_axis_on():
    text = 'type: "InnerProduct" top: "y" inner_product_param { num_output: 7 '
    op = read(text + "}", (2, 3, 4, 5))
    assert op.tops == ((2, 7),)
    assert param_shapes(op) == [(7, 60), (7,)]
    assert op.macs == 2 * 60 * 7
    op = read(text + "axis: -2 transpose: true bias_term: false }", (2, 3, 4, 5))
    assert op.tops == ((2, 3, 7),)
    assert param_shapes(op) == [(20, 7)]
    assert op.macs == 2 * 3 * 20 * 7
    assert op.axis == 2
    assert op.backward_bottoms == (0,)
    refuses('type: "InnerProduct" top: "y"', (2, 3), match="num_output is 0; give at")


def test_embed_looks_rows_up():
    text = 'type: "Embed" top: "y" embed_param { num_output: 7 input_dim: 11 '
    op = read(text + "}", (2, 3))
    assert op.tops == ((2, 3, 7),)
    assert param_shapes(op) == [(11, 7), (7,)]
    assert op.gradient_bottoms == ()
    assert op.refused_bottoms == (0,)
    assert param_shapes(read(text + "bias_term: false }", (2, 3))) == [(11, 7)]
    short = 'type: "Embed" top: "y" embed_param { num_output: 7 }'
    refuses(short, (2, 3), match="input_dim is 0; give at least 1")


def test_batch_norm_statistics_are_not_learned():
    text = """type: "BatchNorm" top: "y"
        batch_norm_param { eps: 0.5 moving_average_fraction: 0.75 }"""
    op = read(text, (2, 3, 4, 5))
    assert param_shapes(op) == [(3,), (3,), (1,)]
    assert fillers(op) == [("constant", 0)] * 3
    assert (op.eps, op.moving_average_fraction, op.channels) == (0.5, 0.75, 3)
    assert op.learned_params == ()
    assert read('type: "BatchNorm" top: "y"', (9,)).channels == 1
    refuses('type: "BatchNorm" top: "y"', (), match="the input is a scalar")


def test_batch_norm_takes_its_statistics_from_the_phase():
    def stored(phase, option=""):
        text = f'type: "BatchNorm" top: "y" batch_norm_param {{ {option} }}'
        return read(f"{text} phase: {phase}", (2, 3)).use_global_stats

    assert stored(TEST)
    assert not stored(TRAIN)
    assert stored(TRAIN, "use_global_stats: true")
    assert not stored(TEST, "use_global_stats: false")


def test_mvn_pads_its_output_to_four_axes():
    text = """type: "MVN" top: "y" mvn_param { normalize_variance: false
        across_channels: true eps: 0.5 }"""
    op = read(text, (2, 3))
    assert op.tops == ((2, 3, 1, 1),)
    assert (op.normalize_variance, op.across_channels, op.eps) == (False, True, 0.5)
    refuses('type: "MVN" top: "y"', (2, 3, 4, 5, 6), match="at most 4 axes")


def scale(options: str, *bottoms, kind="Scale"):
    field = "scale_param" if kind == "Scale" else "bias_param"
    return read(f'type: "{kind}" top: "y" {field} {{ {options} }}', *bottoms)


def test_scale_lies_along_some_axes():
    op = scale("", (2, 3, 4, 5))
    assert param_shapes(op) == [(3,)]
    assert fillers(op) == [("constant", 1)]
    op = scale("axis: 1 num_axes: 2 bias_term: true", (2, 3, 4, 5))
    assert param_shapes(op) == [(3, 4), (3, 4)]
    assert fillers(op) == [("constant", 1), ("constant", 0)]
    op = scale("axis: -2 num_axes: -1", (2, 3, 4, 5))
    assert param_shapes(op) == [(4, 5)]
    op = scale("num_axes: 0", (2, 3, 4, 5))
    assert param_shapes(op) == [()]
    assert op.axis == 0


def test_an_empty_filler_of_scale_means_zero():
    assert fillers(scale("filler { }", (2, 3))) == [("constant", 0)]


def test_scale_by_a_blob_ignores_num_axes():
    op = scale("axis: 2 num_axes: 1 bias_term: true", (2, 3, 4, 5), (4, 5))
    assert param_shapes(op) == [(4, 5)]
    assert (op.axis, op.scale_shape) == (2, (4, 5))
    assert op.backward_bottoms == (0, 1)
    assert scale("axis: 7", (2, 3), ()).axis == 0


def test_scale_in_place_keeps_its_own_copy():
    op = read('type: "Scale" bottom: "x" top: "x"', (2, 3))
    assert op.backward_bottoms == ()


def test_bias_is_like_scale():
    op = scale("axis: 0 num_axes: 2", (2, 3, 4), kind="Bias")
    assert param_shapes(op) == [(2, 3)]
    assert fillers(op) == [("constant", 0)]
    assert op.bias_shape == (2, 3)
    assert op.backward_bottoms == ()
    assert scale("", (2, 3, 4), (3,), kind="Bias").params == ()


def test_bad_scales_are_refused():
    def text(options):
        return f'type: "Scale" top: "y" scale_param {{ {options} }}'

    message = r"'b1'\) has shape \(4,\), which must equal the axes of .* from axis 1 on"
    refuses(text(""), (2, 3, 4), (4,), match=message)
    refuses(text("num_axes: 3"), (2, 3, 4), match="num_axes is 3 from axis 1, but the")
    refuses(
        text("num_axes: -2"), (2, 3, 4), match="num_axes is -2; expected the number"
    )


def test_eltwise_operations():
    op = read('type: "Eltwise" top: "y"', (2, 3), (2, 3))
    assert (op.operation, op.coeff) == ("SUM", (1.0, 1.0))
    assert op.backward_bottoms == op.backward_tops == ()
    text = """type: "Eltwise" top: "y"
        eltwise_param { coeff: 2 coeff: -3 stable_prod_grad: false }"""
    op = read(text, (2, 3), (2, 3))
    assert (op.coeff, op.stable_prod_grad) == ((2, -3), False)
    product = 'type: "Eltwise" top: "y" eltwise_param { operation: PROD '
    op = read(product + "}", (2, 3), (2, 3))
    assert (op.backward_bottoms, op.backward_tops) == ((0, 1), ())
    op = read(product + "stable_prod_grad: false }", (2, 3), (2, 3))
    assert (op.backward_bottoms, op.backward_tops) == ((0, 1), (0,))


def test_bad_eltwise_is_refused():
    def text(options):
        return f'type: "Eltwise" top: "y" eltwise_param {{ {options} }}'

    refuses(text(""), (2, 3), (3, 2), match="bottoms must have the same shape")
    two = (2, 3), (2, 3)
    refuses(text("coeff: 2"), *two, match="coeff has 1 values for 2 bottoms")
    options = "operation: PROD coeff: 1 coeff: 2"
    refuses(text(options), *two, match="coeff is for operation SUM; got PROD")
