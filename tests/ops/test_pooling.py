import pytest

from tests.ops.reading import read, refuses


def pool(options: str, shape=(2, 3, 8, 11), tops='top: "y"'):
    return read(f'type: "Pooling" {tops} pooling_param {{ {options} }}', shape)


def test_output_is_rounded_up():
    op = pool("kernel_size: 3 stride: 2")
    assert op.tops == ((2, 3, 4, 5),)
    assert (op.pool, op.kernel, op.stride, op.pad) == ("MAX", (3, 3), (2, 2), (0, 0))
    assert op.backward_bottoms == ()
    assert op.backward_tops == ()


def test_round_mode_floor_rounds_down():
    op = pool("kernel_size: 3 stride: 2 round_mode: FLOOR pool: AVE")
    assert op.tops == ((2, 3, 3, 5),)
    assert (op.pool, op.round_mode) == ("AVE", "FLOOR")


def test_ceil_mode_is_another_word_for_round_mode():
    assert pool("kernel_size: 3 stride: 2 ceil_mode: false").tops == ((2, 3, 3, 5),)
    assert pool("kernel_size: 3 stride: 2 ceil_mode: true").tops == ((2, 3, 4, 5),)
    both = pool("kernel_size: 3 stride: 2 ceil_mode: false round_mode: FLOOR")
    assert both.round_mode == "FLOOR"
    # The rule of the last window holds for both: 4 is behind the image and its pad.
    assert pool("kernel_size: 2 stride: 4 pad: 1", (2, 3, 3, 3)).tops[0][2:] == (1, 1)


def test_a_window_that_starts_beyond_the_padding_is_dropped():
    # 1 + ceil((6 + 2 - 3) / 4) = 3 windows, the last starting at 8 >= 6 + 1.
    assert pool("kernel_size: 3 stride: 4 pad: 1", (2, 3, 6, 9)).tops == ((2, 3, 2, 3),)


def test_padding_of_one_axis_drops_windows_of_the_other_too():
    shape = (2, 3, 7, 8)
    options = "kernel_h: 2 kernel_w: 3 stride_h: 7 stride_w: 4 pad_h: 0 pad_w: "
    assert pool(options + "0", shape).tops == ((2, 3, 2, 3),)
    assert pool(options + "1", shape).tops == ((2, 3, 1, 3),)


def test_a_kernel_larger_than_the_image_is_clipped():
    assert pool("kernel_size: 3 stride: 2", (2, 3, 2, 5)).tops == ((2, 3, 1, 2),)


def test_global_pooling_takes_the_whole_image():
    op = pool("pool: AVE global_pooling: true")
    assert op.tops == ((2, 3, 1, 1),)
    assert op.kernel == (8, 11)


def test_the_mask_has_the_shape_of_the_output():
    op = pool("kernel_size: 3 stride: 2", tops='top: "y" top: "mask"')
    assert op.tops == ((2, 3, 4, 5),) * 2


REFUSED = [
    (
        "kernel_size: 3 ceil_mode: false round_mode: CEIL",
        "round_mode is CEIL and ceil_mode is false, which means FLOOR; they are two",
    ),
    (
        "kernel_size: 3 ceil_mode: true round_mode: FLOOR",
        "round_mode is FLOOR and ceil_mode is true, which means CEIL",
    ),
    ("", "kernel_size is missing; give it, or both kernel_h and kernel_w"),
    ("kernel_h: 3", "kernel_size is missing; give it, or both"),
    ("kernel_size: 3 kernel_h: 2", "both kernel_size and kernel_h/kernel_w"),
    ("kernel_size: 3 pad: 1 pad_w: 1", "both pad and pad_w are given"),
    ("kernel_size: 3 stride_w: 1", "stride_w is given without stride_h"),
    ("kernel_size: 3 pad: 3", r"pad \(3, 3\) must be smaller than the kernel \(3, 3\)"),
    ("kernel_size: 3 stride: 0", r"kernel is \(3, 3\) and stride \(0, 0\)"),
    ("global_pooling: true kernel_size: 3", "kernel_size must not be given"),
    ("global_pooling: true stride: 2", "global_pooling takes pad 0 and stride 1"),
    ("kernel_size: 3 pad: 1 pool: STOCHASTIC", "STOCHASTIC pooling has no padding"),
    (
        "kernel_size: 9 stride: 1",
        "kernel of 9 with stride 1 does not fit the input of 8 with pad 0",
    ),
]


@pytest.mark.parametrize(("options", "message"), REFUSED)
def test_bad_options_are_refused(options, message):
    text = f'type: "Pooling" top: "y" pooling_param {{ {options} }}'
    refuses(text, (2, 3, 8, 11), match=message)


def test_only_maxima_have_a_mask():
    text = """type: "Pooling" top: "y" top: "mask"
        pooling_param { kernel_size: 3 pool: AVE }"""
    refuses(text, (2, 3, 8, 11), match="only MAX pooling .* remove top 'mask'")


def test_the_input_has_four_axes():
    text = 'type: "Pooling" top: "y" pooling_param { kernel_size: 3 }'
    refuses(text, (2, 3, 8), match=r"must have 4 axes; got shape \(2, 3, 8\)")


def test_spp_lays_the_levels_one_after_the_other():
    op = read('type: "SPP" top: "y" spp_param { pyramid_height: 3 }', (2, 3, 9, 13))
    assert op.tops == ((2, 3 * (1 + 4 + 16)),)
    assert [level.kernel for level in op.levels] == [(9, 13), (5, 7), (3, 4)]
    assert [level.pad for level in op.levels] == [(0, 0), (1, 1), (2, 2)]
    assert [level.pooled for level in op.levels] == [(1, 1), (2, 2), (4, 4)]


def test_spp_of_height_one_keeps_four_axes():
    text = 'type: "SPP" top: "y" spp_param { pyramid_height: 1 pool: AVE }'
    op = read(text, (2, 3, 9, 13))
    assert op.tops == ((2, 3, 1, 1),)
    assert op.pool == "AVE"


def test_spp_refuses_more_bins_than_pixels_allow():
    text = 'type: "SPP" top: "y" spp_param { pyramid_height: 3 }'
    refuses(text, (2, 3, 5, 13), match=r"image of \(5, 13\) cannot be cut into 4 x 4")


def test_spp_needs_a_height():
    text = 'type: "SPP" top: "y" spp_param { }'
    refuses(text, (2, 3, 5, 13), match="pyramid_height is 0; give the number of levels")
