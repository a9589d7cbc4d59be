import pytest

from tests.ops.reading import read, refuses


def reshape(options: str, shape=(2, 3, 4, 5)):
    text = f'type: "Reshape" top: "y" reshape_param {{ {options} }}'
    return read(text, shape).tops[0]


GOOD = [
    ("shape { dim: 0 dim: -1 }", (2, 60)),
    ("shape { dim: 6 dim: 20 }", (6, 20)),
    ("shape { dim: -1 dim: 0 dim: 2 }", (20, 3, 2)),
    ("shape { dim: 12 } axis: 1 num_axes: 2", (2, 12, 5)),
    ("shape { dim: 20 } axis: -3", (2, 3, 20)),
    ("shape { dim: 1 } axis: -1 num_axes: 0", (2, 3, 4, 5, 1)),
    ("shape { dim: 1 dim: 1 } axis: 1 num_axes: 0", (2, 1, 1, 3, 4, 5)),
    ("shape { dim: 0 dim: 10 dim: -1 } axis: 1", (2, 3, 10, 2)),
]


@pytest.mark.parametrize(("options", "expected"), GOOD)
def test_reshape(options, expected):
    assert reshape(options) == expected


def test_one_value_may_become_a_scalar():
    assert reshape("shape { }", (1, 1)) == ()


BAD = [
    ("shape { dim: -1 dim: -1 }", "at most one -1"),
    ("shape { dim: -2 }", "at most one -1"),
    ("shape { dim: 7 dim: -1 }", "120 values on the axes to replace, which 7, the"),
    ("shape { dim: 7 }", r"shape \(7,\) holds 7 values, but the input"),
    ("shape { dim: 7 } axis: 5", "axis is 5, .* expected a value from -5 to 4"),
    (
        "shape { dim: 7 } axis: 2 num_axes: 3",
        "num_axes is 3 from axis 2, but the input",
    ),
    ("shape { dim: 7 } num_axes: -2", "num_axes is -2; expected the number of axes"),
    (
        "shape { dim: 4 dim: 5 dim: 0 } axis: 2",
        "the 0 at place 2 of shape .* copies axis 4, but the input has shape",
    ),
]


@pytest.mark.parametrize(("options", "message"), BAD)
def test_bad_reshapes_are_refused(options, message):
    text = f'type: "Reshape" top: "y" reshape_param {{ {options} }}'
    refuses(text, (2, 3, 4, 5), match=message)


def test_reshape_cannot_run_in_place():
    text = """type: "Reshape" bottom: "x" top: "x"
        reshape_param { shape { dim: 6 dim: 20 } }"""
    refuses(text, (2, 3, 4, 5), match="top 'x' is also its bottom, .* another name")


def test_flatten_joins_axes_inclusively():
    flatten = 'type: "Flatten" top: "y" '
    assert read(flatten, (2, 3, 4, 5)).tops == ((2, 60),)
    op = read(flatten + "flatten_param { axis: 1 end_axis: -2 }", (2, 3, 4, 5))
    assert op.tops == ((2, 12, 5),)
    assert (op.axis, op.end_axis) == (1, 2)


def test_flatten_of_no_axes_inserts_one():
    text = 'type: "Flatten" top: "y" flatten_param { axis: 2 end_axis: 1 }'
    assert read(text, (2, 3, 4, 5)).tops == ((2, 3, 1, 4, 5),)


def test_flatten_refuses_axes_in_the_wrong_order():
    text = 'type: "Flatten" top: "y" flatten_param { axis: 3 end_axis: 1 }'
    refuses(text, (2, 3, 4, 5), match="axis is 3 and end_axis 1; expected axis <= end")


def test_split_repeats_its_input():
    op = read('type: "Split" top: "y" top: "z" top: "w"', (2, 3))
    assert op.tops == ((2, 3),) * 3
    assert op.alias


def test_silence_has_no_top():
    op = read('type: "Silence"', (2, 3), (4, 5))
    assert op.tops == ()
    assert op.backward_bottoms == ()


def test_concat_adds_up_one_axis():
    op = read('type: "Concat" top: "y"', (2, 3, 4), (2, 5, 4), (2, 1, 4))
    assert op.tops == ((2, 9, 4),)
    old = 'type: "Concat" top: "y" concat_param { concat_dim: 2 }'
    assert read(old, (2, 3, 4), (2, 3, 7)).tops == ((2, 3, 11),)
    new = 'type: "Concat" top: "y" concat_param { axis: -3 }'
    assert read(new, (2, 3, 4), (5, 3, 4)).tops == ((7, 3, 4),)


def test_concat_refuses_what_differs_elsewhere():
    message = r"agree except on axis 1; bottom 0 \('b0'\) has .*'b1'\) has \(2, 3, 5\)"
    refuses('type: "Concat" top: "y"', (2, 3, 4), (2, 3, 5), match=message)
    refuses(
        'type: "Concat" top: "y"', (2, 3, 4), (2, 3), match="agree except on axis 1"
    )


def test_both_names_of_an_axis_are_refused():
    text = 'type: "Concat" top: "y" concat_param { axis: 1 concat_dim: 1 }'
    refuses(text, (2, 3), match="both axis and concat_dim, its old name")
    text = 'type: "Slice" top: "y" slice_param { axis: 1 slice_dim: 1 }'
    refuses(text, (2, 3), match="both axis and slice_dim, its old name")


def test_slice_cuts_evenly_or_at_points():
    op = read('type: "Slice" top: "a" top: "b" top: "c"', (2, 9, 4))
    assert op.tops == ((2, 3, 4),) * 3
    assert op.slice_point == (3, 6)
    text = """type: "Slice" top: "a" top: "b"
        slice_param { axis: 2 slice_point: 1 }"""
    assert read(text, (2, 9, 4)).tops == ((2, 9, 1), (2, 9, 3))


def test_bad_slices_are_refused():
    two = 'type: "Slice" top: "a" top: "b" slice_param { axis: 1 '
    refuses(two + "}", (2, 9), match="axis 1 has size 9, which 2 tops cannot share")
    refuses(two + "slice_point: 9 }", (2, 9), match=r"slice_point \(9,\) must rise")
    refuses(two + "slice_point: 0 }", (2, 9), match=r"slice_point \(0,\) must rise")
    points = "slice_point: 1 slice_point: 2 }"
    refuses(two + points, (2, 9), match="slice_point has 2 values for 2 tops")
