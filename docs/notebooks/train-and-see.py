# %% [markdown]
# # Train and see
#
# Small images of handwritten digits, which scikit-learn brings along, and a small net.

# %%
import numpy as np
from sklearn.datasets import load_digits

import runtime
from netspec import NetSpec, layers as L

digits = load_digits()
order = np.random.default_rng(0).permutation(len(digits.images))
x = (digits.images[order, None] / 16).astype("float32")  # (1797, 1, 8, 8), from 0 to 1
y = digits.target[order]
train, test = (x[:1437], y[:1437]), (x[1437:], y[1437:])

# %%
runtime.show_batch(train, n=14)

# %% [markdown]
# `L.Input` says what the net takes; the first dimension is the batch.

# %%
n = NetSpec("digits")
n.data, n.label = L.Input(shape=[64, 1, 8, 8]), L.Input(shape=[64])
n.conv1 = L.Convolution(
    n.data, num_output=16, kernel_size=3, pad=1, weight_filler="msra"
)
n.relu1 = L.ReLU(n.conv1, in_place=True)
n.pool1 = L.Pooling(n.relu1, kernel_size=2, stride=2)
n.conv2 = L.Convolution(
    n.pool1, num_output=32, kernel_size=3, pad=1, weight_filler="msra"
)
n.relu2 = L.ReLU(n.conv2, in_place=True)
n.score = L.InnerProduct(n.relu2, num_output=10, weight_filler="xavier")
n.accuracy = L.Accuracy(n.score, n.label, include="TEST")
n.loss = L.SoftmaxWithLoss(n.score, n.label)

# %% [markdown]
# ## A rate
#
# `lr_find` trains for a moment with a rate that grows, and changes nothing.

# %%
found = runtime.lr_find(n, train, solver=dict(type="Adam"))
found

# %% [markdown]
# ## Training
#
# The table and the curves below are one output, which is brought up to date while it
# runs.

# %%
from runtime.callbacks import BestCheckpoint, EarlyStopping

history = runtime.fit(
    n,
    train,
    epochs=8,
    validation=test,
    solver=dict(type="Adam", base_lr=0.005),
    callbacks=[
        BestCheckpoint("digits.caffemodel", "val_accuracy"),
        EarlyStopping("val_loss", patience=3),
    ],
)

# %%
history.best("val_accuracy"), history.as_dict()["val_loss"][-3:]

# %%
history.to_pandas()[["loss", "val_loss", "val_accuracy"]].tail(3)

# %% [markdown]
# ## What it learned

# %%
runtime.filters(history, "conv1")

# %%
runtime.activations(history, "conv2", x[1437])

# %%
history.net.params

# %% [markdown]
# ## Stop and go on
#
# The Stop button ends a run after a whole iteration, and the same cell, run again, goes
# on. Here the button is pressed by a callback, in the first run alone.

# %%
import signal

from runtime.callbacks import LambdaCallback


def press_stop(record):
    if record.iteration == 40:
        signal.raise_signal(signal.SIGINT)  # what the button sends


def cell(*callbacks):
    return runtime.fit(
        n,
        train,
        epochs=3,
        validation=test,
        solver=dict(type="Adam", base_lr=0.005),
        callbacks=callbacks,
    )


try:
    cell(LambdaCallback(on_step=press_stop))
except KeyboardInterrupt:
    print(runtime.interrupted())

# %%
history = cell()

# %% [markdown]
# A run that came to its end goes on with `fit(history, ...)`, with the same data.

# %%
history = runtime.fit(history, epochs=1)

# %%
history.net.save("last.caffemodel")
runtime.evaluate(history, test).accuracy
