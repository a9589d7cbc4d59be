"""Broken and hostile files, and what is refused: told by name, nothing read outside."""

from __future__ import annotations

import time

import numpy as np
import pytest

import netspec
from netspec.errors import (
    FileError,
    MachineError,
    NetspecError,
    ShapeError,
    UnsupportedError,
)
from netspec.onnx.reading import from_onnx
from tests.onnx.reading.graphs import (
    by_onnx_runtime,
    by_us,
    helper,
    model,
    node,
    onnx,
    saved,
    values,
)

X = (2, 3, 4, 5)
INT64 = onnx.TensorProto.INT64


def conv_model():
    held = {"w": values(1, 2, 3, 3, 3), "b": values(2, 2)}
    return model([node("Conv", "x w b")], {"x": X}, held)


def refuses(tmp_path, made, kind, said):
    with pytest.raises(kind, match=said) as caught:
        from_onnx(saved(tmp_path, made))
    return str(caught.value)


# ---------------------------------------------------------------- what is no model


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "is not an ONNX model"),
        (b"not a protobuf at all", "is not an ONNX model"),
        (b"\x08\x09", "has no graph with outputs"),
        (b'layer { name: "x" }', "is not an ONNX model"),
    ],
)
def test_what_is_no_model_is_refused(tmp_path, data, said):
    path = tmp_path / "net.onnx"
    path.write_bytes(data)
    for read in (from_onnx, netspec.load):
        with pytest.raises(FileError, match=said):
            read(path)


def test_a_missing_file_is_told(tmp_path):
    with pytest.raises(FileError, match=r"none\.onnx: cannot be read"):
        netspec.load(tmp_path / "none.onnx")


def test_a_file_that_was_cut_short_never_gives_another_error(tmp_path):
    data = conv_model().SerializeToString()
    path = tmp_path / "net.onnx"
    refused = 0
    for length in range(0, len(data), 3):
        path.write_bytes(data[:length])
        try:
            from_onnx(path)
        except NetspecError:
            refused += 1
    assert refused > 0.9 * len(range(0, len(data), 3))


def test_changed_bytes_never_give_another_error(tmp_path):
    data = conv_model().SerializeToString()
    chance = np.random.default_rng(7)
    path = tmp_path / "net.onnx"
    for _ in range(300):
        broken = bytearray(data)
        for place in chance.integers(0, len(data), 3):
            broken[place] = chance.integers(0, 256)
        path.write_bytes(broken)
        try:
            from_onnx(path).to_proto()
        except NetspecError:
            continue


def test_a_model_without_operators_versions_is_refused(tmp_path):
    made = conv_model()
    del made.opset_import[:]
    refuses(tmp_path, made, FileError, "opset_import")


def test_a_version_that_the_library_does_not_know_is_refused(tmp_path):
    made = conv_model()
    made.opset_import[0].version = 999
    refuses(tmp_path, made, UnsupportedError, "version 999 of ONNX's operators")


def test_a_tensor_that_nothing_makes_is_told(tmp_path):
    made = model([node("Add", "x z")], {"x": X})
    refuses(tmp_path, made, FileError, r"node 'y' \(Add\) reads 'z', which nothing")


def test_nodes_in_a_circle_are_told(tmp_path):
    made = model([node("Add", "x b", "a"), node("Relu", "a", "b")], {"x": X})
    made.graph.output[0].name = "b"
    refuses(tmp_path, made, FileError, "reads 'b', which nothing before it makes")


def test_two_nodes_that_make_one_tensor_are_told(tmp_path):
    made = model([node("Relu", "x"), node("Exp", "x")], {"x": X})
    refuses(tmp_path, made, FileError, "two nodes make 'y'")


def test_an_output_that_nothing_makes_is_told(tmp_path):
    made = model([node("Relu", "x", "z")], {"x": X})
    refuses(tmp_path, made, UnsupportedError, "nothing makes output 'y'")


def test_an_output_that_needs_no_input_is_told(tmp_path):
    nodes = [node("Relu", "x", "z"), node("Identity", "c")]
    made = model(nodes, {"x": X}, {"c": values(1, 3)}, outputs=("z", "y"))
    refuses(tmp_path, made, UnsupportedError, "output 'y' does not depend on")


# ---------------------------------------------------------------- sizes and places


def test_a_tensor_with_too_few_values_is_refused(tmp_path):
    made = conv_model()
    made.graph.initializer[0].dims[0] = 3
    refuses(tmp_path, made, FileError, "tensor 'w' of shape .3, 3, 3, 3. cannot")


def test_a_tensor_that_claims_to_be_huge_is_refused_at_once(tmp_path):
    made = conv_model()
    made.graph.initializer[0].dims[:] = [1 << 40, 1 << 20]
    refuses(tmp_path, made, MachineError, "tensor 'w' needs")


def test_negative_sizes_are_refused(tmp_path):
    made = conv_model()
    made.graph.initializer[0].dims[0] = -2
    refuses(tmp_path, made, FileError, "tensor 'w' has sizes")


@pytest.mark.parametrize(
    "nodes",
    [
        [node("ConstantOfShape", "s", "c"), node("Mul", "x c")],
        [node("Expand", "one s", "c"), node("Mul", "x c")],
        [node("Range", "zero end step", "c"), node("Mul", "x c")],
    ],
)
def test_constants_that_grow_without_bound_are_refused(tmp_path, nodes):
    held = {
        "s": np.array([1 << 20, 1 << 20]),
        "one": np.float32([1]),
        "zero": np.float32(0),
        "end": np.float32(1e12),
        "step": np.float32(1),
    }
    made = model(nodes, {"x": (1, 3)}, held)
    start = time.monotonic()
    refuses(tmp_path, made, UnsupportedError, "it makes a constant of [0-9,]+ values")
    assert time.monotonic() - start < 20


def test_constants_that_double_again_and_again_are_refused(tmp_path):
    nodes = [
        node("Concat", f"c{place} c{place}", f"c{place + 1}", axis=0)
        for place in range(40)
    ]
    nodes.append(node("Mul", "x c40"))
    made = model(nodes, {"x": (1,)}, {"c0": values(1, 1024)})
    refuses(tmp_path, made, UnsupportedError, "it makes a constant of [0-9,]+ values")


def external(tmp_path, made, location, data, **more):
    """Let the first initializer lie in another file."""
    tensor = made.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = onnx.TensorProto.EXTERNAL
    for key, value in {"location": location, **more}.items():
        tensor.external_data.add(key=key, value=str(value))
    if data is not None:
        (tmp_path / location).write_bytes(data)


def test_values_in_a_file_beside_it(tmp_path, monkeypatch):
    weights = values(1, 2, 3, 3, 3)
    made = conv_model()
    external(tmp_path, made, "net.data", b"1234" + weights.tobytes(), offset=4)
    path = saved(tmp_path, made)
    data = {"x": values(3, *X)}
    found = by_us(from_onnx(path), data)["y"]
    np.testing.assert_allclose(found, by_onnx_runtime(path, data)["y"], atol=1e-5)
    monkeypatch.chdir(tmp_path)
    assert from_onnx("net.onnx").weights is not None  # without a folder in its name


@pytest.mark.parametrize("location", ["../outside.data", "/etc/hostname", "a/../../b"])
def test_values_outside_the_folder_are_refused(tmp_path, location):
    inner = tmp_path / "inner"
    inner.mkdir()
    (tmp_path / "outside.data").write_bytes(values(1, 2, 3, 3, 3).tobytes())
    made = conv_model()
    external(inner, made, location, None, length=216)
    with pytest.raises(FileError, match="tensor 'w' of shape"):
        from_onnx(saved(inner, made))


def test_values_behind_a_link_are_refused(tmp_path):
    inner = tmp_path / "inner"
    inner.mkdir()
    (tmp_path / "outside.data").write_bytes(values(1, 2, 3, 3, 3).tobytes())
    (inner / "net.data").symlink_to(tmp_path / "outside.data")
    made = conv_model()
    external(inner, made, "net.data", None, length=216)
    with pytest.raises(FileError, match="tensor 'w' of shape"):
        from_onnx(saved(inner, made))


@pytest.mark.parametrize(
    ("data", "more", "said"),
    [
        (b"1234", {}, "needs 216 bytes, 'net.data' has 4 from 0 on"),
        (b"1234", {"length": 216}, "cannot be read"),
        (b"1234", {"length": 4}, "is said to have 4"),
        (b"1234", {"offset": -8}, "needs 216 bytes"),
        (b"1234", {"offset": "x"}, "is no number"),
        (None, {}, "cannot be read"),
    ],
)
def test_values_that_are_not_there_are_told(tmp_path, data, more, said):
    made = conv_model()
    external(tmp_path, made, "net.data", data, **more)
    refuses(tmp_path, made, FileError, said)


# ---------------------------------------------------------------- what is not read


def test_all_nodes_that_are_refused_are_named_at_once(tmp_path):
    nodes = [
        node("Erf", "x", "a", name="first"),
        node("Conv", "a w", "b", name="fine"),
        node("LRN", "b", "c", name="even", size=4),
        node("NonMaxima", "c", "d", name="mine", domain="com.example"),
        node("Sin", "d", "e", name="behind"),
        node("Floor", "x", "f", name="other"),
        node("Add", "e f"),
    ]
    made = model(nodes, {"x": X}, {"w": values(1, 2, 3, 1, 1)})
    made.opset_import.append(helper.make_opsetid("com.example", 1))
    said = refuses(tmp_path, made, UnsupportedError, "5 mistakes")
    for told in (
        "node 'first' (Erf): no layer",
        "node 'even' (LRN): size is 4",
        "node 'mine' (NonMaxima): its type com.example:NonMaxima is not one of",
        "node 'behind' (Sin): no layer",
        "node 'other' (Floor)",
    ):
        assert told in said
    assert "fine" not in said


def test_a_type_that_the_version_does_not_have_is_told_with_its_like(tmp_path):
    made = model([node("Convv", "x w")], {"x": X}, {"w": values(1, 2, 3, 1, 1)})
    refuses(tmp_path, made, UnsupportedError, "no Convv; did you mean 'Conv'")


def test_an_option_that_the_type_does_not_have_is_told(tmp_path):
    made = model([node("Relu", "x", slope=0.5)], {"x": X})
    refuses(tmp_path, made, UnsupportedError, "it has no attribute 'slope'")


def test_an_option_of_another_type_is_told(tmp_path):
    made = model([node("LeakyRelu", "x", alpha="0.5")], {"x": X})
    refuses(tmp_path, made, UnsupportedError, "attribute 'alpha' has another type")


@pytest.mark.parametrize("kind", ["If", "Loop"])
def test_graphs_inside_of_nodes_are_refused(tmp_path, kind):
    inner = helper.make_graph(
        [node("Relu", "x", "z")],
        "inner",
        [],
        [helper.make_tensor_value_info("z", 1, None)],
    )
    if kind == "If":
        made = node("If", "c", then_branch=inner, else_branch=inner)
    else:
        made = node("Loop", "n c x", body=inner)
    held = {"c": np.array(True), "n": np.array(3)}
    refuses(
        tmp_path,
        model([made], {"x": X}, held),
        UnsupportedError,
        f"{kind} runs graphs of its own",
    )


def test_text_is_no_value(tmp_path):
    made = model([node("Add", "x s")], {"x": X})
    made.graph.initializer.append(
        helper.make_tensor("s", onnx.TensorProto.STRING, [1], [b"text"])
    )
    refuses(tmp_path, made, UnsupportedError, "tensor 's' holds text")


def test_an_input_without_a_shape_asks_for_one(tmp_path):
    made = model([node("Relu", "x")], {"x": X})
    made.graph.input[0].type.tensor_type.ClearField("shape")
    refuses(tmp_path, made, ShapeError, r"shapes=\{'x'")
    assert from_onnx(saved(tmp_path, made), shapes={"x": X}).net.layer[0].top == ["x"]


def test_an_input_that_is_no_tensor_is_refused(tmp_path):
    made = model([node("Relu", "x")], {"x": X})
    made.graph.input[0].type.CopyFrom(
        helper.make_sequence_type_proto(helper.make_tensor_type_proto(1, X))
    )
    refuses(tmp_path, made, UnsupportedError, "input 'x' is a sequence")


def test_functions_that_call_each_other_are_refused(tmp_path):
    made = model([node("A", "x", domain="own")], {"x": X})
    for name, other in (("A", "B"), ("B", "A")):
        made.functions.append(
            helper.make_function(
                "own",
                name,
                ["p"],
                ["q"],
                [node(other, "p", "q", domain="own")],
                [helper.make_opsetid("", 17), helper.make_opsetid("own", 1)],
            )
        )
    made.opset_import.append(helper.make_opsetid("own", 1))
    refuses(tmp_path, made, FileError, "calls itself")


def test_functions_that_multiply_are_refused(tmp_path):
    made = model([node("F20", "x", domain="own")], {"x": X})
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("own", 1)]
    for place in range(21):
        inner = f"F{place - 1}" if place else "Relu"
        domain = "own" if place else ""
        nodes = [
            node(inner, "p", "m", domain=domain),
            node(inner, "m", "q", domain=domain),
        ]
        made.functions.append(
            helper.make_function("own", f"F{place}", ["p"], ["q"], nodes, opsets)
        )
    made.opset_import.append(helper.make_opsetid("own", 1))
    refuses(tmp_path, made, FileError, "calls itself")


def test_an_input_that_nothing_reads_is_warned_of(tmp_path):
    made = model([node("Relu", "x")], {"x": X, "extra": (2, 3)})
    with pytest.warns(netspec.SpecWarning, match="nothing reads input 'extra'"):
        read = from_onnx(saved(tmp_path, made))
    assert [each.name for each in read.net.layer] == ["x", "y"]


def test_a_flag_that_is_neither_0_nor_1_is_refused(tmp_path):
    # Programs differ: some take 3 for true, some for false.
    made = model([node("MaxPool", "x", kernel_shape=(2, 2), ceil_mode=3)], {"x": X})
    refuses(tmp_path, made, UnsupportedError, "ceil_mode is 3; expected 0 or 1")


def test_a_node_with_too_few_inputs_is_refused(tmp_path):
    made = model([node("Add", "x")], {"x": X})
    refuses(tmp_path, made, UnsupportedError, "it has 1 inputs; expected from 2 to 2")
