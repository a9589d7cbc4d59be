"""Layers in Python that functions make, and that derive from each other."""

import netspec
import runtime
from netspec import NetSpec
from netspec import layers as L


def power(exponent):
    @netspec.layer
    def powered(c, x):
        return x**exponent

    @powered.backward
    def _(c, dy):
        return dy * exponent * c.bottoms[0] ** (exponent - 1)

    return powered


def test_layers_that_one_function_makes_are_different_ones():
    n = NetSpec()
    n.x = L.Input(shape=[2])
    n.square, n.cube = power(2)(n.x), power(3)(n.x)
    net = runtime.Net(n)
    assert runtime.check_gradients(n).ok
    found = net.forward(x=[3, 3])
    assert found["square"].tolist() == [9, 9]
    assert found["cube"].tolist() == [27, 27]


def test_a_class_derives_from_a_layer_and_has_lists_for_fields():
    @netspec.layer
    class Weighted:
        factor: float = 2.0
        weights: list[float] = [1.0, 10.0]

        def forward(self, c, x):
            return x * self.factor * c.xp.asarray(self.weights)

        def backward(self, c, dy):
            return dy * self.factor * c.xp.asarray(self.weights)

    @netspec.layer
    class Shifted(Weighted):
        shift: float = 1.0

        def forward(self, c, x):
            return super().forward(c, x) + self.shift

    n = NetSpec()
    n.x = L.Input(shape=[2])
    n.y = Shifted(n.x, factor=3)
    n.z = Weighted(n.x, weights=[2, 5])
    found = runtime.Net(n).forward(x=[1, 2])
    assert found["y"].tolist() == [4, 61]
    assert found["z"].tolist() == [4, 20]
    assert runtime.check_gradients(n).ok


def test_a_check_that_compared_nothing_is_not_right():
    @netspec.layer
    class Doubled:
        def forward(self, c, x):
            return x * 2

    n = NetSpec()
    n.x = L.Input(shape=[4, 3])
    n.y = Doubled(n.x)
    assert not runtime.check_gradients(n).ok
