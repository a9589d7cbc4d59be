"""Our nets as PyTorch's modules compute what ours do; without PyTorch nothing runs."""

from pathlib import Path

import numpy as np
import pytest

import runtime

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def benchmarks(monkeypatch):
    pytest.importorskip("torch")
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("name", ["lstm_sequence", "cifar10_full", "mnist_autoencoder"])
def test_loss_and_gradients_are_ours_traced_or_not(name, benchmarks):
    import gpu_turn
    import nets
    import torch
    from torch_net import TorchNet, traced

    net = runtime.Net(nets.train_net(name, 3), runtime.TRAIN, seed=4)
    inputs = gpu_turn.random_inputs(net.graph)
    for blob, value in inputs.items():
        net.blobs[blob].data[...] = value
    net.forward()
    net.backward()
    module = TorchNet(net.graph, train=True)
    module.load(net)
    tensors = [torch.from_numpy(value) for value in inputs.values()]
    for run in (module, traced(module)):
        module.zero_grad()
        loss = run(*tensors)
        loss.backward()
        np.testing.assert_allclose(float(loss.detach()), net.loss(), rtol=1e-5)
    theirs = sorted(float(p.grad.norm()) for p in module.parameters())
    ours = sorted(
        float(np.linalg.norm(blob.diff))
        for part in net.params.values()
        for blob in part
    )
    if name == "lstm_sequence":  # PyTorch's has its bias twice
        ours = sorted([*ours, float(np.linalg.norm(net.params["h"][1].diff))])
    np.testing.assert_allclose(ours, theirs, rtol=1e-4)
