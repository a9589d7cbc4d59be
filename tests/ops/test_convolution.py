import pytest

from tests.ops.reading import fillers, param_shapes, read, refuses


def conv(options: str, *bottoms, kind="Convolution", tops=("y",)):
    names = " ".join(f'top: "{top}"' for top in tops)
    return read(f'type: "{kind}" {names} convolution_param {{ {options} }}', *bottoms)


def test_output_is_rounded_down():
    op = conv("num_output: 6 kernel_size: 3 stride: 2", (2, 4, 8, 11))
    assert op.tops == ((2, 6, 3, 5),)
    assert param_shapes(op) == [(6, 4, 3, 3), (6,)]
    assert fillers(op) == [("constant", 0), ("constant", 0)]
    assert (op.kernel, op.stride, op.pad, op.dilation) == (
        (3, 3),
        (2, 2),
        (0, 0),
        (1, 1),
    )
    assert (op.group, op.axis, op.channels, op.bias_term) == (1, 1, 4, True)


def test_height_and_width_may_differ_in_everything():
    op = conv(
        "num_output: 4 kernel_h: 2 kernel_w: 5 stride_h: 3 stride_w: 2"
        " pad_h: 1 pad_w: 4",
        (3, 2, 9, 7),
    )
    assert op.tops == ((3, 4, 4, 6),)
    assert op.kernel == (2, 5)
    assert op.pad == (1, 4)


def test_three_spatial_axes_with_repeated_options():
    op = conv(
        "num_output: 5 kernel_size: 2 kernel_size: 3 kernel_size: 1 stride: 2 stride: 1"
        " stride: 3 pad: 1 pad: 0 pad: 2 dilation: 3 dilation: 2 dilation: 1",
        (2, 4, 7, 9, 5),
    )
    assert op.tops == ((2, 5, 3, 5, 3),)
    assert param_shapes(op)[0] == (5, 4, 2, 3, 1)


def test_groups_divide_the_channels_of_the_weights():
    op = conv("num_output: 6 kernel_size: 3 group: 2 bias_term: false", (2, 4, 5, 7))
    assert param_shapes(op) == [(6, 2, 3, 3)]
    assert op.macs == 2 * 6 * 3 * 5 * 2 * 3 * 3


def test_macs_count_every_weight_at_every_place():
    op = conv("num_output: 6 kernel_size: 3 pad: 1 stride: 2", (2, 4, 8, 11))
    assert op.macs == 2 * 6 * 4 * 6 * 4 * 3 * 3


def test_the_channel_axis_may_be_another():
    op = conv("num_output: 6 kernel_size: 3 axis: 2", (2, 3, 4, 8))
    assert op.tops == ((2, 3, 6, 6),)
    assert param_shapes(op)[0] == (6, 4, 3)
    assert conv("num_output: 6 kernel_size: 3 axis: -2", (2, 3, 4, 8)).axis == 2


def test_no_spatial_axes_at_all():
    op = conv("num_output: 6", (2, 4))
    assert op.tops == ((2, 6),)
    assert param_shapes(op)[0] == (6, 4)


def test_several_bottoms_share_the_weights():
    op = conv("num_output: 6 kernel_size: 3", *[(2, 4, 5, 7)] * 2, tops=("y", "z"))
    assert op.tops == ((2, 6, 3, 5),) * 2
    assert len(op.params) == 2
    assert op.macs == 2 * (2 * 6 * 3 * 5 * 4 * 9)
    assert op.backward_bottoms == (0, 1)
    assert op.backward_tops == ()


def test_deconvolution_is_the_transpose():
    op = conv(
        "num_output: 6 kernel_size: 3 stride: 2 pad: 1 group: 2 dilation: 2",
        (2, 4, 5, 7),
        kind="Deconvolution",
    )
    assert op.tops == ((2, 6, 11, 15),)
    assert param_shapes(op) == [(4, 3, 3, 3), (6,)]
    assert op.macs == 2 * 4 * 5 * 7 * 3 * 3 * 3


def test_im2col_writes_windows_as_channels():
    op = conv("kernel_size: 3 stride: 2 pad: 1", (2, 4, 8, 11), kind="Im2col")
    assert op.tops == ((2, 4 * 9, 4, 6),)
    assert op.backward_bottoms == ()


REFUSED = [
    ("kernel_size: 3", "num_output is 0; give the number of filters"),
    ("num_output: 6", "kernel_size is missing; .* each of the 2 spatial axes"),
    (
        "num_output: 6 kernel_size: 3 kernel_h: 2 kernel_w: 2",
        "both kernel_size and kernel_h/kernel_w are given",
    ),
    (
        "num_output: 6 kernel_size: 3 pad: 1 pad_h: 2",
        "both pad and pad_h/pad_w are given",
    ),
    (
        "num_output: 6 kernel_size: 3 stride: 1 stride_w: 2",
        "both stride and stride_h/stride_w are given",
    ),
    (
        "num_output: 6 kernel_size: 3 stride: 1 stride: 2 stride: 3",
        r"stride has 3 values \(1, 2, 3\); expected 1, or one for each of the 2",
    ),
    ("num_output: 6 kernel_size: 0", r"kernel_size is \(0, 0\); expected at least 1"),
    (
        "num_output: 6 kernel_size: 3 dilation: 0",
        r"dilation is \(0, 0\); expected at least 1",
    ),
    ("num_output: 6 kernel_h: 3", r"kernel_size is \(3, 0\); expected at least 1"),
    (
        "num_output: 6 kernel_size: 3 group: 3",
        "group is 3, but the input has 4 channels; expected a divisor",
    ),
    (
        "num_output: 7 kernel_size: 3 group: 2",
        "group is 2, but num_output is 7 channels; expected a divisor",
    ),
    (
        "num_output: 6 kernel_size: 4 dilation: 3 pad: 1",
        r"kernel covers \(10, 10\) pixels, more than the input \(5, 7\) with pad",
    ),
]


@pytest.mark.parametrize(("options", "message"), REFUSED)
def test_bad_options_are_refused(options, message):
    text = f'type: "Convolution" top: "y" convolution_param {{ {options} }}'
    refuses(text, (2, 4, 5, 7), match=message)


def test_kernel_h_needs_two_spatial_axes():
    text = """type: "Convolution" top: "y"
        convolution_param { num_output: 6 kernel_h: 3 kernel_w: 2 }"""
    refuses(
        text, (2, 4, 5), match="are for 2 spatial axes, but the input has 1; repeat"
    )


def test_bottoms_of_different_shapes_are_refused():
    text = """type: "Convolution" top: "y" top: "z"
        convolution_param { num_output: 6 kernel_size: 3 }"""
    message = (
        r"same shape; bottom 0 \('b0'\) has .*bottom 1 \('b1'\) has \(2, 4, 5, 6\)"
    )
    refuses(text, (2, 4, 5, 7), (2, 4, 5, 6), match=message)


def test_deconvolution_padded_away_is_refused():
    text = """type: "Deconvolution" top: "y"
        convolution_param { num_output: 6 kernel_size: 3 pad: 4 }"""
    refuses(text, (2, 4, 5, 3), match=r"cuts the output down to sizes \(-1, -3\)")


def test_hole_is_deeplabs_word_for_dilation():
    options = "num_output: 6 kernel_size: 3 "
    assert conv(options + "hole: 2", (2, 4, 8, 11)).dilation == (2, 2)
    op = conv(options + "hole_h: 2 hole_w: 3", (2, 4, 8, 11))
    assert (op.dilation, op.tops[0][2:]) == ((2, 3), (4, 5))
    for more, match in (
        ("hole: 2 dilation: 2", "both hole and dilation are given, which mean the"),
        ("hole_h: 2 hole: 2", "both hole_h and hole are given"),
        ("hole_w: 2", "hole_w is given without hole_h; give both, or hole"),
    ):
        text = f'type: "Convolution" convolution_param {{ {options} {more} }}'
        refuses(text, (2, 4, 8, 11), match=match)


def test_depthwise_layers_of_forks_are_convolutions_by_channels():
    shape = (2, 4, 8, 11)
    op = conv("kernel_size: 3", shape, kind="ConvolutionDepthwise")
    assert (op.type, op.group, op.num_output) == ("Convolution", 4, 4)
    assert param_shapes(op) == [(4, 1, 3, 3), (4,)]
    options = "num_output: 8 group: 4 kernel_size: 3 bias_term: false"
    op = conv(options, shape, kind="DepthwiseConvolution")
    assert (op.type, op.group, param_shapes(op)) == ("Convolution", 4, [(8, 1, 3, 3)])
    for kind, more, match in (
        (
            "ConvolutionDepthwise",
            "group: 2",
            "group is 2, but the input has 4 channels",
        ),
        ("ConvolutionDepthwise", "num_output: 8", "num_output is 8, but the input has"),
        ("DepthwiseConvolution", "num_output: 4", "group is missing, without which"),
    ):
        text = f'type: "{kind}" convolution_param {{ kernel_size: 3 {more} }}'
        refuses(text, shape, match=match)
