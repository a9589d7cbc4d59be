"""Which kernels nets take, with the macros that they are compiled with."""

from __future__ import annotations

import warnings
from collections.abc import Callable

import runtime
from netspec import NetSpec
from netspec import layers as L
from netspec.errors import SpecWarning
from runtime.backends.by_name import MAKERS
from runtime.backends.cuda import CudaBackend
from runtime.backends.cuda.converted import Converted
from runtime.backends.cuda.layer import CudaLayer
from runtime.backends.cuda.machine.launch import Launch
from tests.backends.cuda.host_device import HostDevice
from tests.backends.cuda.model_nets import train_net
from tests.backends.cuda.test_iterations import solver_of

Defines = tuple[tuple[str, str], ...]
Taken = dict[str, set[Defines]]

PRECISIONS = ("float32", "bf16", "fp16")
MODELS = {
    "lenet": (2, (1, 28, 28)),
    "cifar10_full": (2, (3, 32, 32)),
    "caffenet": (1, (3, 227, 227)),
    "googlenet": (1, (3, 224, 224)),
    "resnet50": (1, (3, 224, 224)),
}
RULES = ("SGD", "Nesterov", "AdaGrad", "RMSProp", "AdaDelta", "Adam")
FILLER = dict(weight_filler=dict(type="xavier"))


class NotingDevice(HostDevice):
    """A device that does nothing, and notes what it is asked to launch."""

    name = "noting"

    def __init__(self) -> None:
        super().__init__()
        self.taken: Taken = {}

    def prepare_launch(self, launch: Launch) -> Callable[[], None]:
        kernel = launch.kernel
        self.taken.setdefault(kernel.file, set()).add(kernel.defines)
        return lambda: None

    def _do(self, kind: str, work: Callable[[], None]) -> None:
        pass


def images(n: NetSpec) -> None:
    """Add layers of images, each with a gradient."""
    n.data = L.Input(shape=[4, 16, 6, 5])
    n.few, n.label = L.Input(shape=[4, 16, 4, 3]), L.Input(shape=[4])
    conv = dict(num_output=16, kernel_size=3, **FILLER)
    n.conv = L.Convolution(n.data, pad=1, **conv)
    n.norm = L.BatchNorm(n.conv)
    n.scale = L.Scale(n.norm, bias_term=True)
    n.relu = L.ReLU(n.scale)
    n.folded = L.Convolution(n.data, **conv)
    n.there = L.BatchNorm(n.folded, in_place=True)
    n.scaled = L.Scale(n.there, bias_term=True, in_place=True)
    n.done = L.ReLU(n.scaled, in_place=True)
    n.max = L.Pooling(n.relu, kernel_size=3, stride=2)
    n.ave = L.Pooling(n.relu, kernel_size=3, stride=2, pool="AVE")
    n.all = L.Pooling(n.relu, global_pooling=True, pool="AVE")
    n.across = L.LRN(n.relu, local_size=5)
    n.within = L.LRN(n.relu, local_size=3, norm_region="WITHIN_CHANNEL")
    n.slopes = L.PReLU(n.conv)
    n.up = L.Deconvolution(
        n.max, convolution_param=dict(num_output=16, kernel_size=2, stride=2)
    )
    n.cropped = L.Crop(n.relu, n.few, axis=2, offset=[1])
    n.bias = L.Bias(n.relu)
    n.products = L.Scale(n.relu, n.conv, axis=0)
    n.added = L.Eltwise(n.bias, n.products, operation="SUM", coeff=[0.5, -2])
    n.times = L.Eltwise(n.bias, n.products, operation="PROD")
    n.most = L.Eltwise(n.bias, n.products, operation="MAX")
    n.joined = L.Concat(n.added, n.times, n.most)
    n.one, n.two = L.Slice(n.joined, slice_point=[8], ntop=2)
    n.tiled = L.Tile(n.one, tiles=3, axis=1)
    n.chances = L.Softmax(n.relu)


def vectors(n: NetSpec) -> None:
    """Add elementwise layers, losses, and what looks at scores."""
    n.fc = L.InnerProduct(n.max, num_output=10, **FILLER)
    n.positive = L.Power(n.fc, power=2, shift=1)
    x = n.positive
    for make in (L.AbsVal, L.BNLL, L.Exp, L.Log, L.ELU, L.Sigmoid, L.Swish, L.TanH):
        x = n[make.__name__.lower()] = make(x)
    n.clip = L.Clip(x, min=-1, max=1)
    n.cut = L.ReLU6(n.clip)
    n.drop = L.Dropout(n.cut)
    n.over = L.Threshold(n.fc)
    n.target = L.Input(shape=[4, 10])
    n.first = L.SoftmaxWithLoss(n.drop, n.label)
    n.hinge = L.HingeLoss(n.drop, n.label)
    n.distance = L.EuclideanLoss(n.drop, n.target)
    n.entropy = L.SigmoidCrossEntropyLoss(n.drop, n.target)
    n.smooth = L.SmoothL1Loss(n.drop, n.target, loss_weight=1)
    n.share = L.Softmax(n.drop)
    n.logistic = L.MultinomialLogisticLoss(n.share, n.label)
    n.right = L.Accuracy(n.fc, n.label)
    n.best = L.ArgMax(n.fc)


def planes(n: NetSpec) -> None:
    """Add layers of images that lie as Caffe has them, as no convolution reads them."""
    n.data, n.factors = L.Input(shape=[2, 5, 7, 9]), L.Input(shape=[2, 5])
    n.tanh = L.TanH(n.data)
    n.scaled = L.Scale(n.tanh, n.factors, axis=0)
    n.moved = L.Bias(n.scaled)
    n.chances = L.Softmax(n.moved)
    n.best = L.ArgMax(n.chances, axis=1)


def sequences(n: NetSpec) -> None:
    """Add recurrent layers."""
    n.words, n.cont = L.Input(shape=[3, 4, 16]), L.Input(shape=[3, 4])
    n.static, n.codes = L.Input(shape=[4, 6]), L.Input(shape=[3, 4])
    n.embedded = L.Embed(n.codes, input_dim=9, num_output=16, **FILLER)
    recurrent = dict(num_output=16, **FILLER)
    n.lstm = L.LSTM(n.words, n.cont, n.static, recurrent_param=recurrent)
    n.rnn = L.RNN(n.words, n.cont, recurrent_param=recurrent)
    n.gates, n.now = L.Input(shape=[1, 4, 64]), L.Input(shape=[1, 4])
    n.cell = L.InnerProduct(n.words, num_output=16, axis=2, **FILLER)
    n.last, n.others = L.Slice(n.cell, slice_point=[1], axis=0, ntop=2)
    n.after, n.hidden = L.LSTMUnit(n.last, n.gates, n.now, ntop=2)


def layers(n: NetSpec) -> None:
    """Add images, and what follows them."""
    images(n)
    vectors(n)


NETS = (layers, sequences, planes)


def own_types(net: runtime.Net) -> set[str]:
    """The layer types that run on own kernels in a net."""
    found = set()
    for kernel in net.plan.kernels:
        inner = kernel.inner if isinstance(kernel, Converted) else kernel
        if isinstance(inner, CudaLayer):
            found.add(kernel.node.type)
    return found


def taken() -> tuple[Taken, set[str]]:
    """Return the macros with which every source is taken, and the types of layers.

    They are those of steps of the models and of nets with every type of layer, under
    every precision and rule, forward, backward and update.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SpecWarning)  # tops that nobody reads
        return _taken()


def _taken() -> tuple[Taken, set[str]]:
    device = NotingDevice()
    MAKERS["noting"] = lambda: CudaBackend(device)
    types: set[str] = set()
    for precision in PRECISIONS:
        for name, (batch, image) in MODELS.items():
            solver = solver_of(
                train_net(name, batch, image), "noting", keep=(), precision=precision
            )
            solver.step(1)
            types |= own_types(solver.net)
        for build, rule in zip(NETS, ("SGD", "Adam", "SGD"), strict=True):
            for keep in (None, ()):  # all, and what runs as one
                n = NetSpec("layers")
                build(n)
                message = n.to_proto()
                used = runtime.Net(message, backend="noting", precision=precision)
                message.force_backward = True
                solver = solver_of(
                    message, "noting", f"type: '{rule}'", precision=precision, keep=keep
                )
                solver.step(1)
                for net in (solver.net, used):
                    net.forward()
                    types |= own_types(net)
    for rule in RULES:
        text = f"type: '{rule}' weight_decay: 0.1 regularization_type: 'L1'"
        solver_of(train_net("lenet", 1, (1, 28, 28)), "noting", text).step(1)
    return device.taken, types


def covering(combinations: set[Defines]) -> list[Defines]:
    """Return a few of the combinations, with every value of every macro in one."""
    ordered = sorted(combinations, key=lambda one: (-len(one), one))
    left = {pair for one in ordered for pair in one}
    chosen = [ordered[0]]
    left -= set(ordered[0])
    while left:
        best = max(ordered, key=lambda one: len(left.intersection(one)))
        chosen.append(best)
        left.difference_update(best)
    return chosen
