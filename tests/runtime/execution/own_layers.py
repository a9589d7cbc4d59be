"""Layers in Python for tests, one for each thing that such layers do."""

from __future__ import annotations

import numpy as np

import runtime
from runtime import Layer

MODULE = __name__
X = 'input: "x" input_shape { dim: 4 dim: 3 }'


def own(name, kind, bottoms="x", tops=None, rest="", text=""):
    """A Python layer of this module as prototxt."""
    tops = name if tops is None else tops
    wires = "".join(f' bottom: "{blob}"' for blob in bottoms.split())
    wires += "".join(f' top: "{blob}"' for blob in tops.split())
    return (
        f' layer {{ name: "{name}" type: "Python"{wires} {rest} python_param {{ '
        f'module: "{MODULE}" layer: "{kind}" param_str: "{text}" }} }}'
    )


class Log(Layer):
    """y = 3 x; remembers which methods were called, and with what."""

    def setup(self, bottom, top):
        self.calls = ["setup"]
        self.text = (self.param_str, self.param_str_)

    def reshape(self, bottom, top):
        self.calls.append("reshape")
        top[0].reshape(*bottom[0].shape)

    def forward(self, bottom, top):
        self.calls.append("forward")
        top[0].data[...] = 3 * bottom[0].data

    def backward(self, top, propagate_down, bottom):
        self.calls.append("backward")
        self.propagate = list(propagate_down)
        bottom[0].diff[...] = 3 * top[0].diff


class Nothing(Layer):
    """Forward only, and no top."""

    def forward(self, bottom, top):
        self.sum = float(bottom[0].data.sum())


class NoForward(Layer):
    def setup(self, bottom, top):
        top[0].reshape(1)


class NoBackward(Layer):
    def reshape(self, bottom, top):
        top[0].reshape(*bottom[0].shape)

    def forward(self, bottom, top):
        top[0].data[...] = bottom[0].data


class Batches(Layer):
    """A data layer: two tops of the shapes set in setup, counted up by passes."""

    def setup(self, bottom, top):
        self.passes = 0
        top[0].reshape(2, 3)
        top[1].reshape(2)

    def forward(self, bottom, top):
        self.passes += 1
        for item in range(2):
            top[0].data[item, ...] = self.passes
            top[0].data[item, 0] += item
        top[1].data = (4, 5)


class Sizes(Layer):
    """A data layer whose top has another size in every pass, of a list."""

    def setup(self, bottom, top):
        self.sizes = [int(size) for size in self.param_str.split()]
        self.passes = self.reshapes = 0

    def reshape(self, bottom, top):
        size = self.sizes[self.passes % len(self.sizes)]
        self.reshapes += 1
        top[0].reshape(1, 2, size, size + 1)

    def forward(self, bottom, top):
        self.passes += 1
        top[0].data[...] = np.arange(top[0].count).reshape(top[0].shape)


class Positive(Layer):
    """Rows of x that begin with a positive number; their number is known in forward."""

    def setup(self, bottom, top):
        self.runs = 0
        top[0].reshape(1, bottom[0].shape[1])
        top[1].reshape()

    def forward(self, bottom, top):
        self.runs += 1
        self.rows = np.flatnonzero(bottom[0].data[:, 0] > 0)
        top[0].reshape(len(self.rows), bottom[0].channels)
        top[0].data[...] = bottom[0].data[self.rows]
        top[1].data[...] = self.runs

    def backward(self, top, propagate_down, bottom):
        bottom[0].diff[...] = 0
        bottom[0].diff[self.rows] = top[0].diff


class Double(Layer):
    """In place: the bottom and the top are one blob."""

    def reshape(self, bottom, top):
        top[0].reshape(*bottom[0].shape)

    def forward(self, bottom, top):
        assert bottom[0].data is top[0].data
        bottom[0].data[...] *= 2

    def backward(self, top, propagate_down, bottom):
        bottom[0].diff[...] = 2 * top[0].diff


class Affine(Layer):
    """y = w x + b, w a vector over axis 1, b one number; gradients by = and +=."""

    def setup(self, bottom, top):
        self.found = len(self.blobs)
        if not self.found:
            self.blobs.add_blob(bottom[0].channels)
            self.blobs.add_blob()
        self.blobs[0].data[...] = 1.5
        self.blobs[-1].data[...] = -0.25

    def reshape(self, bottom, top):
        top[0].reshape(*bottom[0].shape)

    def forward(self, bottom, top):
        w, b = self.blobs
        top[0].data[...] = w.data * bottom[0].data + b.data

    def backward(self, top, propagate_down, bottom):
        dy = top[0].diff
        self.blobs[0].diff[...] = (dy * bottom[0].data).sum(0)
        self.blobs[1].diff[...] += dy.sum()
        if propagate_down[0]:
            bottom[0].diff[...] = self.blobs[0].data * dy


class HalfSquare(Layer):
    """Half the mean square of a - b; the difference is kept in bottom[0].diff."""

    def reshape(self, bottom, top):
        if bottom[0].count != bottom[1].count:
            raise ValueError(f"{bottom[0].count} values for {bottom[1].count}")
        top[0].reshape(1)

    def forward(self, bottom, top):
        bottom[0].diff[...] = bottom[0].data - bottom[1].data
        top[0].data[...] = (bottom[0].diff ** 2).sum() / bottom[0].num / 2

    def backward(self, top, propagate_down, bottom):
        step = bottom[0].diff * (top[0].diff.flat[0] / bottom[0].num)
        for blob, sign, wanted in zip(bottom, (1, -1), propagate_down, strict=True):
            if wanted:
                blob.diff[...] = sign * step


class Counter(Layer):
    """Counts in its own top, which must be there in the next pass."""

    def reshape(self, bottom, top):
        top[0].reshape(*bottom[0].shape)

    def forward(self, bottom, top):
        top[0].data[0] += 1

    def backward(self, top, propagate_down, bottom):
        pass


class Inner(Layer):
    """Squares by a net of its own, whose head is param_str."""

    def setup(self, bottom, top):
        power = " layer { name: 'p' type: 'Power' bottom: 'x' top: 'p' power_param {"
        self.net = runtime.Net(self.param_str + power + " power: 2 } }")
        top[0].reshape(*bottom[0].shape)

    def forward(self, bottom, top):
        top[0].data[...] = self.net.forward(x=bottom[0].data)["p"]


class Phase(Layer):
    def setup(self, bottom, top):
        top[0].reshape()

    def forward(self, bottom, top):
        top[0].data[()] = self.phase


class Fails(Layer):
    """Raises a KeyError in the method that param_str names."""

    def setup(self, bottom, top):
        self._fail("setup")
        top[0].reshape(*bottom[0].shape)

    def reshape(self, bottom, top):
        self._fail("reshape")
        if self.param_str == "width 3":
            if bottom[0].shape[1] != 3:
                raise KeyError(f"lost at width {bottom[0].shape[1]}")
            top[0].reshape(*bottom[0].shape)

    def forward(self, bottom, top):
        self._fail("forward")
        top[0].data[...] = 1

    def backward(self, top, propagate_down, bottom):
        self._fail("backward")

    def _fail(self, method):
        if self.param_str == method:
            raise KeyError(f"lost in {method}")


class Misuse(Layer):
    """Does in forward what param_str says, which must be refused."""

    def setup(self, bottom, top):
        self.blobs.add_blob(2)
        top[0].reshape(*bottom[0].shape)

    def forward(self, bottom, top):
        if self.param_str == "add":
            self.blobs.add_blob(3)
        if self.param_str == "parameter":
            self.blobs[0].reshape(3)
        if self.param_str == "bottom":
            bottom[0].reshape(1)
        if self.param_str == "size":
            top[0].reshape(2, -1)
        if self.param_str == "part":
            top[0].reshape(2.5)
        if self.param_str == "list":
            top[0].reshape([2, 3])


class Axes(Layer):
    def setup(self, bottom, top):
        one = bottom[0]
        self.seen = (one.num, one.channels, one.count, tuple(one.shape))
        self.four = (one.height, one.width) if len(one.shape) < 5 else None


function_not_class = len
