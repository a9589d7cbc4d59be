# %% [markdown]
# # Write a net and look at it
#
# A net is written as calls: each makes a layer, and what is assigned to `n` names it.

# %%
from netspec import NetSpec, layers as L, module

n = NetSpec("first")
n.data = L.Input(shape=[16, 3, 32, 32])
n.conv1 = L.Convolution(n.data, num_output=16, kernel_size=5, weight_filler="msra")
n.pool1 = L.Pooling(n.conv1, kernel_size=2, stride=2)
n.pool1.shape

# %% [markdown]
# Shapes are known while you write, and so are mistakes. A message names the line, what
# was given, what was expected, and the name that you may have meant.

# %%
try:
    n.conv2 = L.Convolution(n.pool1, num_outputs=32, kernel_size=3)
except ValueError as error:
    print(error)

# %%
try:
    n.sum = n.conv1 + n.pool1
except ValueError as error:
    print(error)

# %% [markdown]
# ## Functions and modules
#
# A part that comes again is a function of tops. `@module` gives its layers a path, so
# that drawings and summaries show a box that opens.


# %%
@module
def conv(x, num_output, kernel_size, **options):
    """Convolution without bias, normalised, ReLU."""
    options.setdefault("pad", kernel_size // 2)
    x = L.Convolution(
        x,
        num_output=num_output,
        kernel_size=kernel_size,
        bias_term=False,
        weight_filler="msra",
        **options,
    )
    x = L.Scale(L.BatchNorm(x, in_place=True), bias_term=True, in_place=True)
    return L.ReLU(x, in_place=True)


@module
def mixed(x, narrow, reduced, wide):
    """Two ways through: 1 x 1, and 3 x 3 behind a narrower layer."""
    m = NetSpec()
    m.narrow = conv(x, narrow, 1)
    m.reduced = conv(x, reduced, 1)
    m.wide = conv(m.reduced, wide, 3)
    m.output = L.Concat(m.narrow, m.wide)
    return m


# %%
n = NetSpec("mixed")
n.data, n.label = L.Input(shape=[16, 3, 32, 32]), L.Input(shape=[16])
n.stem = conv(n.data, 16, 3)
n.mixed1 = mixed(n.stem, narrow=8, reduced=8, wide=16)
n.pool1 = L.Pooling(n.mixed1, kernel_size=2, stride=2)
n.mixed2 = mixed(n.pool1, narrow=16, reduced=12, wide=32)
n.pool2 = L.Pooling(n.mixed2, pool="AVE", global_pooling=True)
n.score = L.InnerProduct(n.pool2, num_output=10, weight_filler="xavier")
n.loss = L.SoftmaxWithLoss(n.score, n.label)
n

# %% [markdown]
# A net as the last line of a cell is drawn; `print` gives a line a name.

# %%
print(n)

# %%
n["mixed1/wide"].shape, n["score"].fn.params

# %% [markdown]
# ## Drawings and numbers
#
# `draw.page` is a drawing that opens on a click: modules, and layers for what is known
# of them. (It needs its own frame; GitHub does not show those.)

# %%
import netspec

netspec.draw.page(n, height=420)

# %%
netspec.summarize(n)

# %% [markdown]
# Half a net, or one with a mistake, is drawn all the same, with the reason.

# %%
wrong = NetSpec("wrong")
wrong.data = L.Input(shape=[1, 3, 8, 8])
wrong.relu = L.ReLU(wrong.data, in_place=True)
wrong.tanh = L.TanH(wrong.data)  # what it was before the ReLU
wrong

# %% [markdown]
# ## Export
#
# What comes out is Caffe's own format. `deploy` derives the net for use: no labels,
# Softmax in place of the loss.

# %%
from pathlib import Path

from netspec.text import to_text

Path("mixed.prototxt").write_text(to_text(n))
use = netspec.deploy(n, batch_size=1)
Path("deploy.prototxt").write_text(to_text(use))
print(to_text(use)[:330])

# %% [markdown]
# A file becomes a spec again, which can be edited by name.

# %%
again = netspec.load("mixed.prototxt")
again.score = L.InnerProduct(again.pool2, num_output=3, weight_filler="xavier")
again.score.shape, again["mixed1"].keys()
