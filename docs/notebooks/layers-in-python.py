# %% [markdown]
# # Layers in Python
#
# What no layer type does is a class or a function. Here is one that learns, and a loss;
# both get their gradients checked, are trained, and exported.

# %%
import numpy as np
from sklearn.datasets import load_digits

import netspec
import runtime
from netspec import NetSpec, layers as L

# %% [markdown]
# ## A layer that learns
#
# The annotated fields are its options, `netspec.learned` what it learns, with shape and
# filler. `c` has the arrays of the pass, and `c.xp` is NumPy, or CuPy on a GPU.


# %%
@netspec.layer
class Bounded:
    """y = a tanh(x / a), where a, the bound, is learned for each channel."""

    start: float = 1.0
    a = netspec.learned(lambda self, x: (1, x[1], 1, 1), filler=lambda self: self.start)

    def forward(self, c, x):
        c.saved.tanh = c.xp.tanh(x / c.learned.a)
        return c.learned.a * c.saved.tanh

    def backward(self, c, dy):
        x, tanh = c.bottoms[0], c.saved.tanh
        slope = 1 - tanh**2
        da = dy * (tanh - x / c.learned.a * slope)
        c.gradients.a += da.sum((0, 2, 3), keepdims=True)
        return dy * slope


n = NetSpec()
n.x = L.Input(shape=[4, 3, 5, 5])
n.y = Bounded(n.x, start=2)
n.y.shape, netspec.summarize(n).num_params

# %% [markdown]
# Its gradients are compared with differences.

# %%
runtime.check_gradients(n)

# %% [markdown]
# A mistake in `backward` is found, and told where.


# %%
@netspec.layer
class Wrong(Bounded):
    """The same with another gradient."""

    def backward(self, c, dy):
        return dy * (1 - c.saved.tanh)


wrong = NetSpec()
wrong.x = L.Input(shape=[4, 3, 5, 5])
wrong.y = Wrong(wrong.x)
runtime.check_gradients(wrong)

# %% [markdown]
# Options are checked where the call is written.

# %%
try:
    n.z = Bounded(n.y, begin=2)
except ValueError as error:
    print(error)

# %% [markdown]
# ## A loss
#
# Cross entropy with smoothed labels: q = 1 - e for the class, and e / K more for each
# of the K classes. A function is a layer with `forward` alone; its keywords are the
# options.


# %%
@netspec.layer(loss=True)
def smooth_loss(c, scores, label, *, e: float = 0.1):
    """The mean over items of -sum q log(softmax(scores))."""
    n, k = scores.shape
    shifted = scores - scores.max(1, keepdims=True)
    logs = shifted - c.xp.log(c.xp.exp(shifted).sum(1, keepdims=True))
    c.saved.q = c.xp.full_like(scores, e / k)
    c.saved.q[c.xp.arange(n), label.astype(int)] += 1 - e
    c.saved.p = c.xp.exp(logs)
    return -(c.saved.q * logs).sum() / n


@smooth_loss.shapes
def _(scores, label, *, e):
    return ()


@smooth_loss.backward
def _(c, dloss, *, e):
    return dloss * (c.saved.p - c.saved.q) / len(c.saved.q), None


# %% [markdown]
# ## Both in a net

# %%
n = NetSpec("digits")
n.data, n.label = L.Input(shape=[64, 1, 8, 8]), L.Input(shape=[64])
n.conv1 = L.Convolution(
    n.data, num_output=16, kernel_size=3, pad=1, weight_filler="msra"
)
n.bounded1 = Bounded(n.conv1)
n.pool1 = L.Pooling(n.bounded1, kernel_size=2, stride=2)
n.score = L.InnerProduct(n.pool1, num_output=10, weight_filler="xavier")
n.accuracy = L.Accuracy(n.score, n.label, include="TEST")
n.loss = smooth_loss(n.score, n.label, e=0.05)
n

# %%
digits = load_digits()
order = np.random.default_rng(0).permutation(len(digits.images))
x = (digits.images[order, None] / 16).astype("float32")  # (1797, 1, 8, 8), from 0 to 1
y = digits.target[order]
train, test = (x[:1437], y[:1437]), (x[1437:], y[1437:])

adam = dict(type="Adam", base_lr=0.005)
history = runtime.fit(n, train, epochs=8, validation=test, solver=adam)

# %%
runtime.evaluate(history, test)

# %% [markdown]
# The bounds that it learned, one for each channel:

# %%
history.net.params["bounded1"][0].data.ravel().round(2)

# %% [markdown]
# ## Export
#
# The net is a file as any other; the options are JSON in it, the bounds are in the
# caffemodel.

# %%
print(netspec.text.to_text(n.to_proto().layer[3]))
history.net.save("digits.caffemodel")

# %% [markdown]
# A file names a module of Python; that runs only where it is allowed. A class of a
# notebook is known in it already. For other programs, write it in a module, such as
# `mylayers.py`.

# %%
use = netspec.deploy(n, batch_size=1)
net = runtime.Net(use, runtime.TEST, weights="digits.caffemodel")
net.blobs["data"].data[...] = test[0][:1]
net.forward()["score"].argmax(), test[1][0]
