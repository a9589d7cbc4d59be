"""Real nets with layers in Python, trained: they learn what the layers say."""

from __future__ import annotations

import json

import numpy as np
import pytest

import runtime
from netspec import NetSpec
from netspec import layers as L
from netspec import params as P
from runtime import TRAIN
from tests.runtime.training import own_layers

MODULE = own_layers.__name__
GAUSSIAN = {"type": "gaussian", "std": 0.3}


def own(kind, *bottoms, **fields):
    return L.Python(*bottoms, module=MODULE, layer=kind, **fields)


def solver_of(net, backend, rest):
    text = f"net_param {{ {net.to_proto()} }} lr_policy: 'fixed' {rest} "
    return runtime.get_solver(
        text + "snapshot_after_train: false",
        allow_python=[MODULE],
        backend=backend.name,
    )


def test_linear_regression_with_a_loss_in_python(backend):
    finals = []
    for python in (True, False):
        n = NetSpec()
        n.x, n.t = own("Points", ntop=2)
        n.y = L.InnerProduct(n.x, num_output=2, weight_filler=GAUSSIAN)
        if python:
            n.loss = own("EuclideanLoss", n.y, n.t, loss_weight=1)
        else:
            n.loss = L.EuclideanLoss(n.y, n.t)
        solver = solver_of(n, backend, "base_lr: 0.3 max_iter: 60")
        solver.solve()
        finals.append([blob.data.copy() for blob in solver.net.params["y"]])
    for mine, other in zip(*finals, strict=True):
        np.testing.assert_allclose(mine, other, rtol=1e-5)
    np.testing.assert_allclose(finals[0][0], own_layers.W, atol=1e-3)
    np.testing.assert_allclose(finals[0][1], own_layers.B, atol=1e-3)


def test_several_labels_of_images_from_a_data_layer(backend, tmp_path):
    images, labels = own_layers.multilabel_images(40)
    source = tmp_path / "images.npz"
    np.savez(source, images=images, labels=labels)
    n = NetSpec()
    n.data, n.label = own(
        "MultilabelImages",
        ntop=2,
        param_str=json.dumps({"source": str(source), "batch_size": 10}),
    )
    n.conv = L.Convolution(n.data, num_output=8, kernel_size=3, weight_filler=GAUSSIAN)
    n.relu = L.ReLU(n.conv, in_place=True)
    n.pool = L.Pooling(n.relu, pool=P.Pooling.MAX, global_pooling=True)
    n.score = L.InnerProduct(n.pool, num_output=3, weight_filler=GAUSSIAN)
    n.loss = L.SigmoidCrossEntropyLoss(n.score, n.label)
    solver = solver_of(n, backend, "base_lr: 0.02 max_iter: 150 type: 'Adam'")
    solver.solve()
    right = []
    for _ in range(4):
        out = solver.net.forward(blobs=["score", "label"])
        right.append((out["score"] > 0) == (out["label"] > 0.5))
    assert np.mean(right) > 0.97
    assert 0.3 < labels.mean() < 0.7


def fcn():
    """Segmentation of pictures of any size: down by two, up again, cropped."""
    n = NetSpec()
    n.data, n.label = own("Segments", ntop=2)
    n.conv = L.Convolution(
        n.data, num_output=6, kernel_size=3, pad=5, weight_filler=GAUSSIAN
    )
    n.relu = L.ReLU(n.conv, in_place=True)
    n.pool = L.Convolution(
        n.relu, num_output=8, kernel_size=2, stride=2, weight_filler=GAUSSIAN
    )
    n.up = L.Deconvolution(
        n.pool,
        convolution_param=dict(
            num_output=2, kernel_size=4, stride=2, weight_filler=GAUSSIAN
        ),
    )
    n.score = L.Crop(n.up, n.data, axis=2, offset=5)
    n.loss = L.SoftmaxWithLoss(n.score, n.label)
    return n


def test_a_convolutional_net_learns_from_pictures_of_many_sizes(backend):
    solver = solver_of(fcn(), backend, "base_lr: 0.02 max_iter: 120 type: 'Adam'")
    solver.solve()
    sizes, right = set(), []
    for _ in range(8):
        out = solver.net.forward(blobs=["score", "label"])
        sizes.add(out["score"].shape)
        right.append((out["score"].argmax(1) == out["label"][:, 0]).mean())
    assert len(sizes) > 4
    assert np.mean(right) > 0.9
    assert solver.history.train[0].loss > 2 * solver.history.train[-1].loss


def swish(dtype, backend):
    n = NetSpec()
    n.x, n.t = L.Input(shape=[dict(dim=[5, 3]), dict(dim=[5, 2])], ntop=2)
    n.ip = L.InnerProduct(n.x, num_output=4, weight_filler=GAUSSIAN)
    n.act = own("Swish", n.ip, param=dict(lr_mult=2))
    n.y = L.InnerProduct(n.act, num_output=2, weight_filler=GAUSSIAN)
    n.loss = L.EuclideanLoss(n.y, n.t)
    net = runtime.Net(
        n, TRAIN, dtype=dtype, backend=backend.name, allow_python=[MODULE], seed=2
    )
    rng = np.random.default_rng(1)
    net.blobs["x"].data[...] = rng.normal(size=(5, 3)) * 2
    net.blobs["t"].data[...] = rng.normal(size=(5, 2))
    return net


@pytest.mark.parametrize("name, slot", [("act", 0), ("ip", 0), ("ip", 1)])
def test_gradients_through_a_learned_layer_are_right(backend, name, slot):
    net = swish("float64", backend)
    net.forward_backward()
    analytic = net.params[name][slot].diff.copy()
    numerical = np.empty_like(analytic)
    for place in np.ndindex(*analytic.shape):
        losses = []
        for step in (1e-5, -1e-5):
            net.params[name][slot].data[place] += step
            net.forward_steps()
            losses.append(net.loss())
            net.params[name][slot].data[place] -= step
        numerical[place] = (losses[0] - losses[1]) / 2e-5
    np.testing.assert_allclose(analytic, numerical, rtol=1e-7, atol=1e-9)
    assert np.abs(analytic).max() > 1e-3


def test_a_learned_layer_learns(backend):
    n = NetSpec()
    n.x, n.t = L.DummyData(
        shape=dict(dim=[6, 4]),
        data_filler=[dict(type="gaussian"), dict(value=0)],
        ntop=2,
    )
    n.y = own("Swish", n.x)
    n.gate = L.Sigmoid(n.x)
    n.true = L.Eltwise(n.x, n.gate, operation=P.Eltwise.PROD)
    n.loss = L.EuclideanLoss(n.y, n.true, propagate_down=[True, False])
    n.silence = L.Silence(n.t)
    solver = solver_of(n, backend, "base_lr: 0.3 max_iter: 200 momentum: 0.5")
    solver.solve()
    np.testing.assert_allclose(solver.net.params["y"][0].data, np.ones(4), atol=0.02)


def test_a_contrastive_loss_in_python_equals_the_layer(backend):
    weights = []
    for python in (True, False):
        n = NetSpec()
        n.a, n.b, n.near = L.DummyData(
            shape=[dict(dim=[12, 5]), dict(dim=[12, 5]), dict(dim=[12])],
            data_filler=[dict(type="gaussian")] * 2 + [dict(value=1)],
            ntop=3,
        )
        names = [dict(name="w"), dict(name="c")]
        fields = dict(num_output=2, weight_filler=GAUSSIAN, param=names)
        n.fa = L.InnerProduct(n.a, **fields)
        n.fb = L.InnerProduct(n.b, **fields)
        if python:
            bottoms = (n.fa, n.fb, n.near)
            n.loss = own("ContrastiveLoss", *bottoms, param_str="1.5", loss_weight=2)
        else:
            n.loss = L.ContrastiveLoss(n.fa, n.fb, n.near, margin=1.5, loss_weight=2)
        solver = solver_of(n, backend, "base_lr: 0.05 momentum: 0.9")
        for _ in range(10):
            solver.net.blobs["near"].data[...] = np.arange(12) % 2
            solver.step(1)
        weights.append([blob.data.copy() for blob in solver.net.params["fa"]])
        weights[-1].append(np.float64(solver.history.train[-1].loss))
    for mine, other in zip(*weights, strict=True):
        np.testing.assert_allclose(mine, other, rtol=1e-6, atol=1e-6)
