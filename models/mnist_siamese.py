"""A siamese net over pairs of digits, as published with Caffe (`examples/siamese`).

    python -m netspec.export models/mnist_siamese.py -o mnist_siamese.prototxt
    python -m netspec.export models/mnist_siamese.py --deploy -o deploy.prototxt

Hadsell et al., Dimensionality reduction by learning an invariant mapping (2006).
"""

from collections.abc import Callable
from typing import Any

from netspec import TEST, TRAIN, NetSpec, Top
from netspec import layers as L

Learning = Callable[[str], dict[str, Any]]  # of the name of the parameters


def mnist_siamese(
    batch_size: int = 64,
    test_batch_size: int = 100,
    source: str = "examples/siamese/mnist_siamese_train_leveldb",
    test_source: str = "examples/siamese/mnist_siamese_test_leveldb",
    backend: str | None = None,
) -> NetSpec:
    """Return the net for training and testing: two towers with the same weights.

    A record is a pair of images as two channels; its label tells if they are similar.
    """
    n = NetSpec("mnist_siamese_train_test")
    for phase, path, size in (
        (TRAIN, source, batch_size),
        (TEST, test_source, test_batch_size),
    ):
        n.pair_data, n.sim = L.Data(
            source=path,
            batch_size=size,
            backend=backend,
            transform_param=dict(scale=1 / 256),
            include=phase,
            ntop=2,
        )
    n.data, n.data_p = L.Slice(
        n.pair_data, slice_dim=1, slice_point=1, ntop=2, name="slice_pair"
    )
    tower(n, n.data, "", shared)
    tower(n, n.data_p, "_p", shared)
    n.loss = L.ContrastiveLoss(n.feat, n.feat_p, n.sim, margin=1)
    return n


def deploy(batch_size: int = 10000) -> NetSpec:
    """Return one tower for use: images in, two features out."""
    n = NetSpec("mnist_siamese")
    n.data = L.Input(shape=[batch_size, 1, 28, 28])
    tower(n, n.data, "", lambda name: dict(param=[dict(lr_mult=1), dict(lr_mult=2)]))
    return n


def shared(name: str) -> dict[str, Any]:
    """Return how parameters learn and start, under names that the towers share."""
    return dict(
        param=[dict(name=f"{name}_w", lr_mult=1), dict(name=f"{name}_b", lr_mult=2)],
        weight_filler="xavier",
        bias_filler="constant",
    )


def tower(n: NetSpec, x: Top, suffix: str, learning: Learning) -> None:
    """Add LeNet with two outputs, `feat`; `suffix` ends the names of its layers."""
    for name, width in (("1", 20), ("2", 50)):
        n[f"conv{name}{suffix}"] = x = L.Convolution(
            x, num_output=width, kernel_size=5, stride=1, **learning(f"conv{name}")
        )
        x = L.Pooling(x, pool="MAX", kernel_size=2, stride=2)
        n[f"pool{name}{suffix}"] = x
    n[f"ip1{suffix}"] = x = L.InnerProduct(x, num_output=500, **learning("ip1"))
    n[f"relu1{suffix}"] = x = L.ReLU(x, in_place=True)
    n[f"ip2{suffix}"] = x = L.InnerProduct(x, num_output=10, **learning("ip2"))
    n[f"feat{suffix}"] = L.InnerProduct(x, num_output=2, **learning("feat"))
