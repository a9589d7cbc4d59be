# %% [markdown]
# # Fine-tune and evaluate
#
# A net that has learned one task learns a similar one from fewer images. Here it knows
# the ten digits, and learns from 40 images how many holes a digit has: 0, 6 and 9 have
# one, 8 has two.

# %%
from pathlib import Path

import numpy as np
from sklearn.datasets import load_digits

import netspec
import runtime
from netspec import NetSpec, layers as L, module

digits = load_digits()
order = np.random.default_rng(0).permutation(len(digits.images))
x = (digits.images[order, None] / 16).astype("float32")  # (1797, 1, 8, 8), from 0 to 1
y = digits.target[order]
holes = np.array([1, 0, 0, 0, 0, 0, 1, 0, 2, 1])[y]

many = (x[:1000], y[:1000])  # to learn the digits from
few = (x[1000:1040], holes[1000:1040])  # to learn the holes from


# %%
@module
def block(x, num_output):
    """Convolution, BatchNorm with what Scale learns, ReLU."""
    x = L.Convolution(
        x,
        num_output=num_output,
        kernel_size=3,
        pad=1,
        bias_term=False,
        weight_filler="msra",
    )
    x = L.BatchNorm(x, in_place=True, moving_average_fraction=0.9)
    return L.ReLU(L.Scale(x, bias_term=True, in_place=True), in_place=True)


n = NetSpec("digits")
n.data, n.label = L.Input(shape=[32, 1, 8, 8]), L.Input(shape=[32])
n.conv1 = block(n.data, 16)
n.pool1 = L.Pooling(n.conv1, kernel_size=2, stride=2)
n.conv2 = block(n.pool1, 32)
n.fc1 = L.InnerProduct(n.conv2, num_output=32, weight_filler="xavier")
n.relu1 = L.ReLU(n.fc1, in_place=True)
n.fc2 = L.InnerProduct(n.relu1, num_output=10, weight_filler="xavier")
n.loss = L.SoftmaxWithLoss(n.fc2, n.label)

adam = dict(type="Adam", base_lr=0.002)
history = runtime.fit(n, many, epochs=4, solver=adam)
history.net.save("digits.caffemodel")
_ = Path("digits.prototxt").write_text(netspec.text.to_text(n))

# %% [markdown]
# ## Evaluate
#
# What is measured follows from the loss: of classes accuracy, precision, recall,
# confusion.

# %%
result = runtime.evaluate(history, (x[1040:], y[1040:]), top_k=2)
result

# %%
result.confusion.most(3)

# %% [markdown]
# The items with the largest losses, with what they are and what they were taken for.

# %%
worst = [1040 + item for item, loss in result.worst(7)]
taken = runtime.predict(history, x[worst]).argmax(1)
names = [f"{is_} as {seen}" for is_, seen in zip(y[worst], taken, strict=True)]
runtime.show_batch((x[worst], np.arange(7)), names=names)

# %% [markdown]
# ## A new head, frozen layers, slower rates
#
# The net is read from its file. The layer that the loss comes from is replaced by a new
# one, `conv1` is frozen, `conv2` learns slowly, and the head twice as fast as the rest.

# %%
n = netspec.load("digits.prototxt")
netspec.replace_head(n, num_output=3, name="fc_holes")
netspec.freeze(n, "conv1")

# %%
netspec.set_lr_mult(n, {"conv2": 0.1, "fc_holes": 2})

# %%
netspec.summarize(n)

# %%
test = (x[1040:], holes[1040:])
tuned = runtime.fit(
    n, few, epochs=30, validation=test, weights="digits.caffemodel", solver=adam
)

# %%
tuned.solver.copied[0]

# %% [markdown]
# The same from nothing, for comparison.

# %%
fresh = netspec.replace_head(netspec.load("digits.prototxt"), num_output=3)
scratch = runtime.fit(fresh, few, epochs=30, solver=adam, progress=False)
{
    name: round(runtime.evaluate(one, test).accuracy, 3)
    for name, one in {"fine-tuned": tuned, "from nothing": scratch}.items()
}

# %%
runtime.evaluate(tuned, test, class_names=["none", "one", "two"]).confusion

# %% [markdown]
# ## BatchNorm in short runs
#
# In tests BatchNorm uses running means. With Caffe's default, `moving_average_fraction:
# 0.999`, they are those of about 1,000 iterations, in a short run of weights that were
# others. It is told where it bites.

# %%
slow = netspec.load("digits.prototxt")
for name in ("conv1", "conv2"):
    slow[f"{name}/BatchNorm1"].fn.params["moving_average_fraction"] = 0.999
short = runtime.fit(slow, many, epochs=1, validation=0.2, solver=adam)
