"""`netspec.layer`: classes and functions as typed layer functions."""

from __future__ import annotations

import inspect
import json
from typing import Literal

import pytest

import netspec
from netspec import NetSpec
from netspec import layers as L
from netspec.errors import ShapeError, SpecError


@netspec.layer
class Window:
    """Keep a part of every row."""

    start: int
    size: int = 2
    scale: float = 1.0
    mode: Literal["mean", "sum"] = "sum"
    pads: tuple[int, ...] = ()
    note: str | None = None
    w = netspec.learned(lambda self, x: (self.size,), filler="xavier", lr_mult=2)
    b = netspec.learned(lambda self, x: (), filler=lambda self: self.scale)

    def shapes(self, x):
        return (x[0], self.size)

    def forward(self, c, x):
        raise NotImplementedError

    def backward(self, c, dy):
        raise NotImplementedError


@netspec.layer(ntop=2)
class Halves:
    def shapes(self, x):
        return [(x[0], x[1] // 2), (x[0], x[1] - x[1] // 2)]

    def forward(self, c, x):
        raise NotImplementedError


@netspec.layer(loss=True)
def distance(c, x, y, *, power: int = 2):
    """How far x is from y."""


@distance.shapes
def distance_shapes(x, y, *, power):
    return ()


@distance.backward
def distance_gradient(c, dy, *, power):
    return None


@pytest.fixture
def n():
    spec = NetSpec()
    spec.x = L.Input(shape=[3, 5])
    return spec


def test_a_call_is_a_python_layer_with_its_fields_as_json(n):
    n.y = Window(n.x, start=1, scale=3, pads=[1, 2], name="part", propagate_down=False)
    layer = n.to_proto().layer[1]
    assert (layer.type, layer.name) == ("Python", "part")
    assert layer.python_param.module == __name__
    assert layer.python_param.layer == "Window"
    assert json.loads(layer.python_param.param_str) == {
        "start": 1, "size": 2, "scale": 3.0, "mode": "sum", "pads": [1, 2],
        "note": None,
    }  # fmt: skip
    assert [spec.lr_mult for spec in layer.param] == [2, 1]
    assert list(layer.propagate_down) == [False]


def test_shapes_and_parameters_are_known_while_writing(n):
    n.y = Window(n.x, start=1, size=4)
    assert n.y.shape == (3, 4)
    n.a, n.b = Halves(n.x)
    assert (n.a.shape, n.b.shape) == ((3, 2), (3, 3))
    n.loss = distance(n.a, n.a)
    assert n.loss.shape == ()
    rows = netspec.summarize(n).rows
    assert {row.name: row.num_params for row in rows}["y"] == 5
    assert list(n.to_proto().layer[-1].loss_weight) == [1]


def test_a_function_has_its_keywords_as_fields(n):
    n.loss = distance(n.x, n.x, power=4, loss_weight=3)
    layer = n.to_proto().layer[-1]
    assert layer.python_param.param_str == '{"power": 4}'
    assert list(layer.loss_weight) == [3]
    assert distance.__doc__ == "How far x is from y."


def test_the_signature_is_that_of_the_fields():
    signature = inspect.signature(Window)
    assert list(signature.parameters)[1:-1] == [
        "start", "size", "scale", "mode", "pads", "note",
    ]  # fmt: skip
    assert signature.parameters["size"].default == 2
    assert signature.parameters["start"].annotation is int
    assert Window.__doc__ == "Keep a part of every row."
    assert repr(Window).startswith(f"<layer {__name__}.Window(*bottoms, start: int")


def test_a_file_that_names_the_class_has_shapes_too(n):
    n.y = Window(n.x, start=1, size=4)
    again = netspec.load(str(n.to_proto()))
    assert again.y.shape == (3, 4)
    assert again.to_proto() == n.to_proto()


def test_types_are_still_called_by_name(n):
    n.y = netspec.layer("ReLU", n.x, negative_slope=0.5)
    assert n.to_proto().layer[1].relu_param.negative_slope == 0.5


@pytest.mark.parametrize(
    "fields, message",
    [
        ({}, r"Window layer, .*py:\d+: start is missing; it has no default"),
        ({"start": 1, "sise": 3}, r"sise is no field of Window; did you mean 'size'\?"),
        ({"start": 1, "zzz": 3}, r"zzz is no field of Window; its fields are start, s"),
        ({"start": 1.5}, r"start of Window is 1.5; expected int"),
        ({"start": True}, r"start of Window is True; expected int"),
        ({"start": 1, "scale": "2"}, r"scale of Window is '2'; expected float"),
        ({"start": 1, "mode": "max"}, r"mode of Window is 'max'; expected .*Literal"),
        ({"start": 1, "pads": [1, "2"]}, r"pads of Window is \[1, '2'\]; expected tup"),
        ({"start": 1, "note": 2}, r"note of Window is 2; expected str \| None"),
    ],
)
def test_fields_are_checked_where_they_are_written(n, fields, message):
    with pytest.raises(SpecError, match=message):
        Window(n.x, **fields)


@pytest.mark.parametrize(
    "text, message",
    [
        ("start: 3", r"'y' \(Python\): param_str must hold the fields of .*Window as"),
        ("[1]", r"param_str must hold the fields .* got '\[1\]': it is a list"),
        ('{"start": 1, "end": 3}', r"'y' \(Python\): end is no field of Window"),
    ],
)
def test_fields_in_a_file_are_checked_when_it_is_read(n, text, message):
    n.y = Window(n.x, start=1)
    net = n.to_proto()
    net.layer[1].python_param.param_str = text
    with pytest.raises(SpecError, match=message):
        netspec.summarize(net)


def test_shapes_are_checked(n):
    with pytest.raises(ShapeError, match="returned 2 shapes for 1 tops; write ntop=2"):
        Halves(n.x, ntop=1)
    with pytest.raises(SpecError, match=r"shapes of Window takes \(x\); got 2 bottoms"):
        Window(n.x, n.x, start=1)

    @netspec.layer
    class Wrong:
        def shapes(self):
            return 3.5

        def forward(self, c):
            return None

    with pytest.raises(ShapeError, match="shapes of Wrong returned 3.5; expected a tu"):
        Wrong()

    @netspec.layer
    def source(c):
        return None

    with pytest.raises(SpecError, match="class source has no method shapes, which te"):
        source()

    @netspec.layer
    class Lost:
        def shapes(self):
            raise KeyError("where")

        def forward(self, c):
            return None

    with pytest.raises(KeyError, match="where") as caught:
        Lost()
    assert "raised in shapes of" in caught.value.__notes__[0]


def test_classes_are_checked_when_they_are_defined():
    class NoForward:
        pass

    with pytest.raises(SpecError, match="NoForward has no method forward; write forw"):
        netspec.layer(NoForward)

    class Named:
        name: str = "x"

        def forward(self, c, x):
            return x

    with pytest.raises(SpecError, match="Named has a field name, an option that all"):
        netspec.layer(Named)

    class Learns:
        w = netspec.learned(lambda self, x: x)

        def forward(self, c, x):
            return x

    with pytest.raises(SpecError, match="Learns learns w, but has no method backward"):
        netspec.layer(Learns)
    with pytest.raises(SpecError, match="netspec.layer got 3; expected a class, a fun"):
        netspec.layer(3)
    with pytest.raises(SpecError, match="takes loss and ntop; got top"):
        netspec.layer(top=2)
    with pytest.raises(
        SpecError, match=r"learned got \(3,\); expected a function that"
    ):
        netspec.learned((3,))
    with pytest.raises(
        SpecError, match=r"filler is \[1\]; expected a type such as 'xav"
    ):
        netspec.learned(lambda self, x: x, filler=[1])


def test_the_parts_of_a_function_have_its_options():
    with pytest.raises(SpecError, match=r"has the options \[\]; expected \['power'\]"):
        distance.backward(lambda c, dy: dy)
    with pytest.raises(
        SpecError, match="Window is made of a class; write its method b"
    ):
        Window.backward(lambda c, dy: dy)


def test_a_learned_array_has_sizes(n):
    @netspec.layer
    class Odd:
        w = netspec.learned(lambda self, x: 3, lr_mult=0)

        def forward(self, c, x):
            return x

    with pytest.raises(ShapeError, match="learned array w of Odd has shape 3; expec"):
        Odd(n.x)


def test_subclasses_keep_fields_and_learned_arrays(n):
    base = Window.definition.kind

    @netspec.layer
    class Wider(base):
        more: int = 1

    n.y = Wider(n.x, start=0, more=3)
    assert '"more": 3' in n.to_proto().layer[1].python_param.param_str
    assert netspec.summarize(n).rows[1].num_params == 3
