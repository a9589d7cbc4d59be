"""Detections of several batches, and mean average precision of a test net."""

import numpy as np

import runtime
from netspec import NetSpec
from netspec import layers as L


def detector(batch=3):
    n = NetSpec("boxes")
    n.data = L.Input(shape=[batch, 3, 8, 8])
    n.loc = L.Input(shape=[batch, 16])
    n.conf = L.Input(shape=[batch, 8])
    n.cells = L.Pooling(n.data, pool="AVE", kernel_size=4, stride=4)
    n.prior = L.PriorBox(n.cells, n.data, min_size=[4], variance=[0.1, 0.1, 0.2, 0.2])
    n.found = L.DetectionOutput(
        n.loc,
        n.conf,
        n.prior,
        num_classes=2,
        nms_param=dict(nms_threshold=0.4),
        confidence_threshold=0.5,
        keep_top_k=10,
    )
    return n


def test_detections_are_numbered_over_all_items():
    rng = np.random.default_rng(0)
    net = runtime.Net(detector())
    loc = rng.normal(size=(8, 16)).astype(np.float32)
    conf = rng.uniform(0.6, 0.9, (8, 4, 2)).astype(np.float32)
    conf[..., 0] = 1 - conf[..., 1]
    conf[4, :, 1] = 0  # nothing in one image
    data = (np.zeros((8, 3, 8, 8), np.float32), loc, conf.reshape(8, 8))
    whole = runtime.predict(net, data, batch_size=8)
    assert whole.shape[:2] == (1, 1)
    assert whole.shape[3] == 7
    assert {*whole[0, 0, :, 0]} == {0, 1, 2, 3, 5, 6, 7}
    parts = runtime.predict(net, data, batch_size=3)
    np.testing.assert_allclose(parts, whole, rtol=1e-5)
