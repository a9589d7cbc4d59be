"""Data and tests under `mpiexec`, against one process with a larger `iter_size`."""

import json

import numpy as np
import pytest

from netspec.weights import read_weights
from tests.distributed.launching import launch, told
from tests.runtime.data.test_lmdb_reader import database, datum

pytest.importorskip("lmdb")

PROGRAM = """
import netspec, zlib
from netspec import NetSpec, layers as L
from runtime.data.lmdb_file import LmdbFile

path, ranks = sys.argv[1], int(sys.argv[2])
world = runtime.distributed.world()

read, item = [], LmdbFile.item
def noting(self, number):
    read.append(number)
    return item(self, number)
LmdbFile.item = noting

def net(tests):
    n = NetSpec("n")
    how = dict(source=path, backend="LMDB", batch_size=3)
    crop = dict(crop_size=4, mirror=True)
    n.x, n.t = L.Data(**how, transform_param=crop, ntop=2)
    n.conv = L.Convolution(n.x, num_output=4, kernel_size=3, weight_filler="xavier")
    n.drop = L.Dropout(n.conv)
    n.y = L.InnerProduct(n.drop, num_output=3, weight_filler="xavier")
    n.loss = L.SoftmaxWithLoss(n.y, n.t)
    n.accuracy = L.Accuracy(n.y, n.t, include="TEST")
    return n

solver = runtime.Solver(
    net(True), base_lr=0.05, momentum=0.9, max_iter=7, iter_size=ranks // world.size,
    test_iter=5, test_interval=3, random_seed=3, communicator=world,
    snapshot_after_train=False, test_compute_loss=True,
)
own = len(read)  # the first items, of which the nets learn their shapes
seen = []
solver.on_step(lambda record: seen.append(
    [int(zlib.crc32(solver.net.blobs[name].data.tobytes())) for name in ("x", "t")]
))
solver.step(7)
tests = [
    [t.iteration, t.loss.hex(), [float(v).hex() for v in t.scalars().values()]]
    for t in solver.history.tests
]
losses = [record.loss for record in solver.history.train]
solver.close()

rng = np.random.default_rng(1)
x, y = rng.normal(size=(50, 5)).astype("f"), rng.integers(0, 2, 50)
n = NetSpec("fit")
n.data, n.label = L.Input(shape=[8, 5]), L.Input(shape=[8])
n.y = L.InnerProduct(n.data, num_output=2, weight_filler="xavier")
n.loss = L.SoftmaxWithLoss(n.y, n.label)
rule = dict(base_lr=0.1, iter_size=ranks // world.size)
def moved(item, rng):
    return item[0] + rng.random(), item[1]

history = runtime.fit(
    n, (x, y), epochs=3, validation=0.3, solver=rule, progress=False, seed=1,
    communicator=world, transform=moved,
)
fitted = [r.loss for r in history.train], [
    list(t.scalars().values()) for t in history.tests
]
tell(world, dict(seen=seen, tests=tests, losses=losses, fit=fitted, read=read[own:]))
"""


@pytest.mark.parametrize("ranks", [3])
def test_ranks_see_test_and_fit_as_one_process(tmp_path, ranks):
    rng = np.random.default_rng(0)
    pictures = rng.integers(0, 256, (11, 3, 6, 5)).astype(np.uint8)
    database(tmp_path / "db", [datum(p, i % 3) for i, p in enumerate(pictures)])
    (one,) = told(launch(1, PROGRAM, tmp_path / "db", ranks))
    found = told(launch(ranks, PROGRAM, tmp_path / "db", ranks))
    assert len(found) == ranks
    for rank, its in enumerate(found):
        assert its["tests"][0] == one["tests"][0]  # of equal parameters: equal bits
        assert its["tests"] == found[0]["tests"]
        assert its["losses"] == found[0]["losses"]
        assert its["fit"] == found[0]["fit"]
        np.testing.assert_allclose(its["losses"], one["losses"], rtol=1e-5)
        for mine, theirs in zip(its["fit"], one["fit"], strict=True):
            np.testing.assert_allclose(mine, theirs, rtol=1e-5)
        if rank == ranks - 1:  # the last batch of each iteration
            assert its["seen"] == one["seen"]
    assert len({json.dumps(its["seen"]) for its in found}) == ranks
    # Three tests of 5 batches of 3 items, 7 iterations, and what is read ahead.
    most = 3 * (7 + 1 + -(-15 // ranks) + 1)
    assert all(len(its["read"]) <= most for its in found)


NET = """
name: "n" input: "data" input_shape { dim: 8 dim: 5 } input: "label"
input_shape { dim: 8 }
layer { name: "y" type: "InnerProduct" bottom: "data" top: "y" inner_product_param {
  num_output: 2 weight_filler { type: "xavier" } } }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "y" bottom: "label" top: "loss" }
"""


def test_the_command_fit_trains_on_all_ranks_and_writes_once(tmp_path):
    rng = np.random.default_rng(1)
    np.savez(
        tmp_path / "data.npz",
        data=rng.normal(size=(50, 5)).astype("f"),
        label=rng.integers(0, 2, 50),
    )
    (tmp_path / "net.prototxt").write_text(NET)
    words = "-m runtime fit net.prototxt --data data.npz --validation 0.3 --epochs 3"

    def run(ranks, out, *more):
        ended = launch(ranks, [*words.split(), "--out", out, *more], folder=tmp_path)
        assert ended.status == 0, ended.all
        (model,) = (tmp_path / out).glob("*.caffemodel")
        return ended, read_weights(model), model.name

    ended, ours, name = run(2, "two", "--sync-batch-norm")
    assert ended.errors == ""
    assert ended.output.count("trained 9 iterations") == 1
    assert "2 ranks x 8 = 16 images an iteration" in ended.output
    _, theirs, other = run(1, "one", "--set", "iter_size=2")
    assert name == other
    for mine, its in zip(ours["y"], theirs["y"], strict=True):
        np.testing.assert_allclose(mine, its, rtol=1e-4, atol=1e-6)
