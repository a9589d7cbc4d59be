"""N ranks train as one process with N times the `iter_size` does."""

from __future__ import annotations

import pytest

from tests.distributed.launching import TELL, launch, told

NET = """
name: "small" force_backward: false
layer { name: "data" type: "DummyData" top: "data" top: "label"
  dummy_data_param { shape { dim: 6 dim: 3 dim: 5 dim: 4 } shape { dim: 6 }
    data_filler { type: "gaussian" std: 1 } data_filler { type: "constant" value: 2 }
  } }
layer { name: "conv" type: "Convolution" bottom: "data" top: "conv"
  convolution_param { num_output: 7 kernel_size: 3 weight_filler { type: "xavier" } } }
layer { name: "relu" type: "ReLU" bottom: "conv" top: "conv" }
layer { name: "drop" type: "Dropout" bottom: "conv" top: "conv" }
layer { name: "ip" type: "InnerProduct" bottom: "conv" top: "ip"
  inner_product_param { num_output: 9 weight_filler { type: "xavier" } } }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "ip" bottom: "label" top: "loss" }
"""
SGD = 'type: "SGD" base_lr: 0.05 momentum: 0.9 lr_policy: "fixed" random_seed: 5'

TRAIN = (
    TELL
    + """
net, text, iterations = sys.argv[1], sys.argv[2], int(sys.argv[3])
world = runtime.distributed.world()
solver = runtime.get_solver(
    f"{text} net_param {{ {net} }}", communicator=world, display=0
)
solver.step(iterations)
losses = [record.loss for record in solver.history.train]
tell(world, [losses, solver.net.flat.data.tolist()])
"""
)


def train(ranks: int, solver: str, iterations: int, net: str = NET) -> list:
    return told(launch(ranks, TRAIN, net, solver, iterations))


@pytest.mark.parametrize("ranks", [2, 4])
def test_an_iteration_of_ranks_is_one_with_so_many_batches(ranks):
    several = train(ranks, SGD, 3)
    assert len(several) == ranks
    assert all(one == several[0] for one in several)
    (losses, parameters), ((one_losses, one_parameters),) = (
        several[0],
        train(1, f"{SGD} iter_size: {ranks}", 3),
    )
    assert losses == pytest.approx(one_losses, rel=1e-6)
    assert parameters == pytest.approx(one_parameters, rel=1e-5, abs=1e-6)
