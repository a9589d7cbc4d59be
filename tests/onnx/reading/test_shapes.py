"""Nodes that arrange, cut, join and choose against ONNX Runtime."""

from __future__ import annotations

import numpy as np
import pytest

import runtime
from netspec.errors import UnsupportedError
from netspec.onnx.reading import from_onnx
from tests.onnx.reading.graphs import (
    agrees,
    by_us,
    helper,
    layer,
    model,
    node,
    onnx,
    saved,
    types,
    values,
)

X = (2, 6, 4, 5)
INT64 = onnx.TensorProto.INT64


def whole(*numbers):
    return np.array(numbers, np.int64)


@pytest.mark.parametrize(
    ("shape", "made"),
    [
        ((2, -1), "Flatten"),
        ((0, -1), "Flatten"),
        ((0, 0, 20), "Reshape"),
        ((-1, 6, 20), "Reshape"),
        ((2, 3, 2, 4, 5), "Reshape"),
        ((12, 4, 5), "Reshape"),
        ((-1,), "Reshape"),
        ((4, 3, 20), "Reshape"),
    ],
)
def test_reshape(tmp_path, shape, made):
    net = model([node("Reshape", "x s")], {"x": X}, {"s": whole(*shape)})
    assert types(agrees(tmp_path, net)) == [made]


@pytest.mark.parametrize(
    ("shape", "said"),
    [((2, 7), "which has 240 values; was the net"), ((-1, -1), "at most one -1")],
)
def test_a_shape_that_does_not_fit_is_refused(tmp_path, shape, said):
    net = model([node("Reshape", "x s")], {"x": X}, {"s": whole(*shape)})
    with pytest.raises(UnsupportedError, match=said):
        from_onnx(saved(tmp_path, net))


@pytest.mark.parametrize("axis", [1, 0, 2, -1, 4])
def test_flatten(tmp_path, axis):
    agrees(tmp_path, model([node("Flatten", "x", axis=axis)], {"x": X}))


@pytest.mark.parametrize("opset", [11, 13])
@pytest.mark.parametrize(
    ("kind", "axes", "shape"),
    [
        ("Squeeze", [2, 3], (2, 3, 1, 1)),
        ("Squeeze", [-1], (2, 3, 1, 1)),
        ("Squeeze", None, (2, 3, 1, 1)),
        ("Unsqueeze", [0, 3], (2, 3, 4)),
        ("Unsqueeze", [-1], (2, 3, 4)),
    ],
)
def test_axes_of_one_place(tmp_path, kind, axes, shape, opset):
    if axes is None:
        made = node(kind, "x")
    elif opset < 13:
        made = node(kind, "x", axes=axes)
    else:
        made = node(kind, "x a")
    held = {"a": whole(*axes)} if axes and opset >= 13 else {}
    agrees(tmp_path, model([made], {"x": shape}, held, opset=opset))


@pytest.mark.parametrize(
    ("order", "shape", "made"),
    [
        ([0, 2, 3, 1], X, ["Permute"]),
        (None, X, ["Permute"]),
        ([0, 2, 1, 3, 4], (2, 3, 2, 4, 5), ["Permute"]),
        ([0, 2, 3, 1], (2, 1, 4, 5), ["Reshape"]),
        ([0, 1, 2, 3], X, []),
    ],
)
def test_transpose(tmp_path, order, shape, made):
    options = {} if order is None else {"perm": order}
    nodes = [node("Transpose", "x", "t", **options), node("Exp", "t")]
    assert types(agrees(tmp_path, model(nodes, {"x": shape}))) == [*made, "Exp"]


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("SpaceToDepth", {"blocksize": 2}),
        ("DepthToSpace", {"blocksize": 2}),
        ("DepthToSpace", {"blocksize": 2, "mode": "CRD"}),
    ],
)
def test_squares_of_pixels(tmp_path, kind, options):
    agrees(tmp_path, model([node(kind, "x", **options)], {"x": (2, 12, 4, 6)}))


def test_the_shuffle_of_channels(tmp_path):
    nodes = [
        node("Reshape", "x s", "r"),
        node("Transpose", "r", "t", perm=[0, 2, 1, 3, 4]),
        node("Reshape", "t u"),
    ]
    held = {"s": whole(2, 2, 3, 4, 5), "u": whole(2, -1, 4, 5)}
    read = agrees(tmp_path, model(nodes, {"x": X}, held))
    assert types(read) == ["Reshape", "Permute", "Reshape"]
    net = runtime.Net(read.to_proto(), phase="TEST", backend="portable")
    net.blobs["x"].reshape(3, *X[1:])  # another number of items
    net.reshape()
    assert net.forward(x=values(1, 3, *X[1:]))["y"].shape == (3, *X[1:])


def test_items_that_become_more_stay_open(tmp_path):
    nodes = [node("Reshape", "x s"), node("Exp", "y", "z")]
    net = model(nodes, {"x": X}, {"s": whole(12, 20)}, outputs=("z",))
    read = agrees(tmp_path, net)
    assert list(layer(read, "y").reshape_param.shape.dim) == [-1, 20]


def view_nodes():
    """What torch.onnx writes for x.view(x.size(0), -1) without constant folding."""
    return [
        node("Shape", "x", "shape"),
        helper.make_node(
            "Constant", [], ["zero"], value=helper.make_tensor("v", INT64, (), [0])
        ),
        node("Gather", "shape zero", "batch", axis=0),
        helper.make_node(
            "Constant", [], ["axes"], value=helper.make_tensor("v", INT64, (1,), [0])
        ),
        node("Unsqueeze", "batch axes", "first"),
        helper.make_node(
            "Constant", [], ["rest"], value=helper.make_tensor("v", INT64, (1,), [-1])
        ),
        node("Concat", "first rest", "wanted", axis=0),
        node("Reshape", "x wanted"),
    ]


def test_shapes_that_the_graph_computes(tmp_path):
    assert types(agrees(tmp_path, model(view_nodes(), {"x": X}))) == ["Flatten"]


def test_what_was_flattened_takes_any_number_of_items(tmp_path):
    read = agrees(tmp_path, model(view_nodes(), {"x": (1, 6, 4, 5)}))
    net = runtime.Net(read.to_proto(), phase="TEST", backend="portable")
    net.blobs["x"].reshape(3, 6, 4, 5)
    net.reshape()
    assert net.forward(x=values(1, 3, 6, 4, 5))["y"].shape == (3, 120)


@pytest.mark.parametrize("axis", [0, 1, 3, -2])
def test_concat(tmp_path, axis):
    other = list(X)
    other[axis] = 3
    nodes = [node("Concat", "x z x", axis=axis)]
    agrees(tmp_path, model(nodes, {"x": X, "z": other}))


def test_a_constant_in_a_concat_is_refused(tmp_path):
    nodes = [node("Concat", "x c", axis=1)]
    net = model(nodes, {"x": (1, 2)}, {"c": values(1, 1, 3)})
    with pytest.raises(
        UnsupportedError, match=r"input 1 is a constant of shape \(1, 3"
    ):
        from_onnx(saved(tmp_path, net))


@pytest.mark.parametrize(
    ("opset", "sizes", "count"),
    [
        (11, [1, 2, 3], 3),
        (13, [1, 2, 3], 3),
        (11, None, 3),
        (13, None, 2),
        (18, None, 3),
    ],
)
def test_split(tmp_path, opset, sizes, count):
    outputs = [f"y{place}" for place in range(count)]
    options = {"axis": 1 if opset < 18 else 3}  # 5 into 2, 2 and 1
    if sizes and opset < 13:
        options["split"] = sizes
    if opset >= 18:
        options["num_outputs"] = count
    inputs = "x s" if sizes and opset >= 13 else "x"
    held = {"s": whole(*sizes)} if inputs == "x s" else {}
    nodes = [node("Split", inputs, " ".join(outputs), **options)]
    agrees(tmp_path, model(nodes, {"x": X}, held, outputs=outputs, opset=opset))


def test_pieces_that_nobody_reads_are_no_outputs(tmp_path):
    nodes = [node("Split", "x", "a b c", axis=1), node("Add", "a c")]
    read = agrees(tmp_path, model(nodes, {"x": X}))
    assert types(read) == ["Slice", "Silence", "Eltwise"]


@pytest.mark.parametrize(
    ("starts", "ends", "axes", "steps"),
    [
        ([1], [4], [1], None),
        ([-3], [-1], [1], [1]),
        ([0, 1], [1 << 62, 4], [1, 3], None),
        ([2], [1000], None, None),
        ([0, 1], [4, 5], [2, 3], [2, 2]),
        ([0, 0], [4, 5], [2, 3], [3, 2]),
        ([0, 1, 0], [6, 4, 5], [1, 2, 3], [1, 1, 4]),
    ],
)
def test_slice(tmp_path, starts, ends, axes, steps):
    shape = X if axes else (6, 4)
    held = {"s": whole(*starts), "e": whole(*ends)}
    inputs = ["x", "s", "e"]
    if axes:
        held["a"] = whole(*axes)
        inputs.append("a")
    if steps:
        held["t"] = whole(*steps)
        inputs.append("t")
    agrees(tmp_path, model([node("Slice", " ".join(inputs))], {"x": shape}, held))


def test_slice_by_attributes(tmp_path):
    nodes = [node("Slice", "x", starts=[1, 0], ends=[4, -2], axes=[1, 3])]
    agrees(tmp_path, model(nodes, {"x": X}, opset=9))


@pytest.mark.parametrize(
    ("axes", "steps", "said"),
    [([1], [-1], "steps forward"), ([1], [2], "over the pixels")],
)
def test_steps_that_no_layer_takes_are_refused(tmp_path, axes, steps, said):
    held = {"s": whole(0 if steps[0] > 0 else 5), "e": whole(6 if steps[0] > 0 else 0)}
    held |= {"a": whole(*axes), "t": whole(*steps)}
    with pytest.raises(UnsupportedError, match=said):
        from_onnx(saved(tmp_path, model([node("Slice", "x s e a t")], {"x": X}, held)))


@pytest.mark.parametrize(
    ("axis", "indices"),
    [
        (1, np.array(0)),
        (1, np.array(-1)),
        (2, np.array([1, 2, 3])),
        (1, np.array([4, 0, 1, 5, 5])),
        (3, np.array([[0, 2], [1, 4]])),
    ],
)
def test_gather(tmp_path, axis, indices):
    net = model([node("Gather", "x i", axis=axis)], {"x": X}, {"i": indices})
    agrees(tmp_path, net)


def test_a_table_of_rows_is_an_embed(tmp_path):
    nodes = [node("Gather", "t x", "g"), node("Exp", "g")]
    table = values(1, 7, 3)
    net = model(nodes, {"x": (2, 4)}, {"t": table}, types={"x": INT64})
    data = {"x": np.array([[0, 6, 2, 1], [5, 5, 3, 0]])}
    read = agrees(tmp_path, net, data, warned=True)
    assert types(read) == ["Embed", "Exp"]


@pytest.mark.parametrize(
    ("kind", "numbers"), [("Expand", (2, 6, 4, 5)), ("Tile", (1, 2, 3, 1))]
)
def test_repeats(tmp_path, kind, numbers):
    shape = (2, 1, 4, 1) if kind == "Expand" else (2, 3, 2, 5)
    net = model([node(kind, "x n")], {"x": shape}, {"n": whole(*numbers)})
    assert set(types(agrees(tmp_path, net))) == {"Tile"}


def test_arg_max_takes_the_last_of_equal_values(tmp_path):
    nodes = [node("ArgMax", "x", axis=1, select_last_index=1, keepdims=0)]
    net = model(nodes, {"x": (2, 4)}, types={"y": INT64})
    agrees(tmp_path, net, {"x": np.float32([[1, 3, 3, 0], [2, 2, 2, 2]])})
    first = model([node("ArgMax", "x", axis=1)], {"x": (2, 4)}, types={"y": INT64})
    with pytest.raises(UnsupportedError, match="select_last_index is 0"):
        from_onnx(saved(tmp_path, first))


def test_casts_between_real_numbers_change_nothing(tmp_path):
    double = onnx.TensorProto.DOUBLE
    nodes = [
        node("Cast", "x", "d", to=double),
        node("Cast", "d", "f", to=onnx.TensorProto.FLOAT),
        node("Exp", "f"),
    ]
    assert types(agrees(tmp_path, model(nodes, {"x": X}))) == ["Exp"]


def test_a_cast_of_integers_to_real_numbers(tmp_path):
    nodes = [node("Cast", "x", "f", to=onnx.TensorProto.FLOAT), node("Exp", "f")]
    net = model(nodes, {"x": (2, 3)}, types={"x": INT64})
    agrees(tmp_path, net, {"x": np.array([[0, 1, 2], [3, 1, -4]])})


def test_a_cast_to_integers_is_refused(tmp_path):
    nodes = [node("Cast", "x", "i", to=INT64), node("Cast", "i", "y", to=1)]
    with pytest.raises(
        UnsupportedError, match="from numbers cast to integers to FLOAT"
    ):
        from_onnx(saved(tmp_path, model(nodes, {"x": X})))
    nodes = [node("Cast", "x", to=INT64)]
    with pytest.raises(UnsupportedError, match="output 'y' is cut to integers"):
        from_onnx(saved(tmp_path, model(nodes, {"x": X}, types={"y": INT64})))


def test_a_table_cuts_its_indices_to_integers_itself(tmp_path):
    nodes = [node("Cast", "x", "i", to=INT64), node("Gather", "t i")]
    net = model(nodes, {"x": (2, 3)}, {"t": values(1, 7, 3)})
    data = {"x": np.float32([[0, 6, 2.7], [5.2, 3, 0]])}
    assert types(agrees(tmp_path, net, data, warned=True)) == ["Embed"]


def test_arithmetic_of_integers_is_refused(tmp_path):
    net = model([node("Div", "x x")], {"x": (2, 3)}, types={"x": INT64, "y": INT64})
    with pytest.raises(UnsupportedError, match="it computes with integers"):
        from_onnx(saved(tmp_path, net))


def test_a_tensor_that_is_an_output_and_read_on_is_both(tmp_path):
    nodes = [node("Exp", "x", "a"), node("Neg", "a", "y")]
    read = agrees(tmp_path, model(nodes, {"x": X}, outputs=("a", "y")))
    assert sorted(by_us(read, {"x": values(1, *X)})) == ["a", "y"]


def test_an_input_that_is_an_output_too(tmp_path):
    nodes = [node("Identity", "x", "a"), node("Exp", "x")]
    agrees(tmp_path, model(nodes, {"x": X}, outputs=("a", "y")))


def test_outputs_that_are_one_tensor_are_all_there(tmp_path):
    nodes = [
        node("Exp", "x", "a"),
        node("Identity", "a", "b"),
        node("Pad", "a pads", "c"),
        node("Neg", "a", "d"),
    ]
    pads = {"pads": whole(0, 0, 1, 0, 0, 0, 0, 1)}
    read = agrees(tmp_path, model(nodes, {"x": X}, pads, outputs=("a", "b", "c", "d")))
    assert types(read).count("Split") == 1
