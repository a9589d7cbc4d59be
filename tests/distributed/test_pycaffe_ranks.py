"""Scripts for Caffe's training on several GPUs, under `mpiexec`."""

from __future__ import annotations

import numpy as np
import pytest

from tests.distributed.cases import CONVOLUTIONS as NET
from tests.distributed.launching import launch, told

SGD = 'type: "SGD" base_lr: 0.05 momentum: 0.9 lr_policy: "fixed" random_seed: 5'

# As Caffe's own script, with what its processes run.
SCRIPT = """
import multiprocessing
import runtime.pycaffe as caffe

def parameters(solver):
    return [b.data.tolist() for blobs in solver.net.params.values() for b in blobs]

def solve(path, rank, count, uid):
    caffe.set_mode_cpu()
    caffe.set_solver_count(count)
    caffe.set_solver_rank(rank)
    caffe.set_multiprocess(True)
    solver = caffe.SGDSolver(path)
    if rank == 1:
        solver.net.params["ip"][0].data[...] = 7
    nccl = caffe.NCCL(solver, uid)
    nccl.bcast()
    started = parameters(solver)
    solver.add_callback(nccl)
    solver.net.after_backward(nccl)
    solver.step(3)
    return [started, parameters(solver)]

def refused(call, *arguments):
    try:
        call(*arguments)
    except Exception as error:
        return f"{type(error).__name__}: {error}"

def child(path, uid, queue):
    queue.put(refused(solve, path, 0, 2, uid))

path, uid = sys.argv[1], caffe.NCCL.new_uid()
count, rank = caffe.solver_count(), caffe.solver_rank()
world = runtime.distributed.world()
said = []
if count > 1:
    alone = caffe.SGDSolver(path)
    said.append(refused(solve, path, rank, 3, uid))
    said.append(refused(solve, path, 1 - rank, 2, uid))
    caffe.set_solver_count(2)
    caffe.set_solver_rank(rank)
    said.append(refused(caffe.NCCL, alone, uid))
    context = multiprocessing.get_context("fork")
    queue = context.Queue()
    process = context.Process(target=child, args=(path, uid, queue))
    process.start()
    said.append(queue.get())
    process.join()
else:
    said.append(refused(solve, path, 0, 2, uid))
started, after = solve(path, rank, count, uid)
tell(world, {"counted": [rank, count, caffe.has_nccl()], "said": said,
             "started": started, "after": after})
"""


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    folder = tmp_path_factory.mktemp("script")
    (folder / "net.prototxt").write_text(NET)
    for name, more in (("two", ""), ("one", "iter_size: 2")):
        text = f'{SGD} {more} display: 0 net: "net.prototxt"'
        (folder / f"{name}.prototxt").write_text(text)
    return folder


def flat(blobs) -> np.ndarray:
    return np.concatenate([np.asarray(one).reshape(-1) for one in blobs])


def test_a_script_of_several_gpus_trains_under_mpiexec(path):
    one, other = told(launch(2, SCRIPT, path / "two.prototxt"))
    (single,) = told(launch(1, SCRIPT, path / "one.prototxt"))
    assert (one["counted"], other["counted"]) == ([0, 2, True], [1, 2, True])
    assert single["counted"] == [0, 1, False]
    assert one["started"] == other["started"] == single["started"]
    assert one["after"] == other["after"]
    wanted = flat(single["after"])
    np.testing.assert_allclose(flat(one["after"]), wanted, rtol=1e-5, atol=1e-6)
    count, rank, before, own = one["said"]
    assert (
        "SpecError: set_solver_count(3), but mpiexec has started 2 processes" in count
    )
    assert "set_solver_rank(1) in the process that mpiexec has given rank 0" in rank
    assert "the solver was made before set_solver_count(2)" in before
    assert "UnsupportedError: set_solver_count(2) in a process that the script" in own
    assert "let mpiexec -n 2 start the script" in single["said"][0]
