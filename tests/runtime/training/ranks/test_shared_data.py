"""What ranks are told where their scripts give all of them the same, or files."""

import pytest

import netspec
import runtime
from netspec import NetSpec
from netspec import layers as L
from netspec.errors import SpecWarning, UnsupportedError
from runtime import Layer
from tests.ranks import together


class Same(Layer):
    """Gives every rank the same."""

    def reshape(self, bottom, top):
        top[0].reshape(4, 3)

    def forward(self, bottom, top):
        top[0].data[...] = 2

    def backward(self, top, propagate_down, bottom):
        pass


class Own(Same):
    """Gives every object something else, as layers that draw without a seed do."""

    made = 0

    def setup(self, bottom, top):
        Own.made += 1
        self.number = Own.made

    def forward(self, bottom, top):
        top[0].data[...] = self.number


@netspec.layer
class Numbered:
    """Gives the batch of the number of the pass."""

    def shapes(self):
        return (4, 3)

    def forward(self, c):
        c.tops[0][...] = c.iteration + 1
        return c.tops[0]


@netspec.layer
class Counted:
    """Gives the same on all ranks, as if it had counted its own passes."""

    def shapes(self):
        return (4, 3)

    def forward(self, c):
        c.tops[0][...] = 1
        return c.tops[0]


def net_of(data):
    n = NetSpec("net")
    n.x = data
    n.y = L.InnerProduct(n.x, num_output=2, weight_filler="xavier")
    n.loss = L.Reduction(n.y, operation="SUMSQ", loss_weight=1)
    return n


def python(name):
    return net_of(L.Python(module=__name__, layer=name))


def train(make, fill=None):
    """Train two ranks for two iterations."""

    def work(one):
        solver = runtime.Solver(
            make(),
            base_lr=0.01,
            max_iter=2,
            allow_python=[__name__],
            communicator=one,
            snapshot_after_train=False,
        )
        if fill is not None:
            fill(solver.net, one.rank)
        solver.step(2)
        solver.close()

    together(2, work)


def zeros():
    return net_of(L.Input(shape=[4, 3]))


@pytest.mark.parametrize(
    "make, match",
    [
        (lambda: python("Same"), r"'x' \(Python\): ranks 0 and 1 train on the same"),
        (lambda: net_of(Counted()), r"'x' .*c.iteration is the number of the batch"),
        (zeros, r"'x' \(Input\): ranks 0 and 1 .*batches r, r \+ 2 .*runtime.fit"),
    ],
)
def test_the_same_data_on_several_ranks_are_told_once(make, match):
    with pytest.warns(SpecWarning, match=match) as found:
        train(make)
    assert len(found) == 1


def test_data_of_their_own_need_no_warning():
    train(lambda: python("Own"))
    train(lambda: net_of(Numbered()))
    train(zeros, lambda net, rank: net.blobs["x"].data.fill(rank + 1))


def test_a_file_of_batches_is_refused_in_training(tmp_path):
    def writing():
        n = net_of(L.DummyData(shape=[4, 3], data_filler="gaussian"))
        n.out = L.HDF5Output(n.x, n.y, file_name=str(tmp_path / "out.h5"), ntop=0)
        return n

    with pytest.raises(UnsupportedError, match=r"'out' .*so would all 2 ranks"):
        train(writing)


def test_hidden_states_that_go_on_are_told():
    def remembering():
        n = NetSpec("remembering")
        n.x = L.DummyData(shape=[4, 2, 3], data_filler="gaussian")
        n.cont = L.DummyData(shape=[4, 2])
        n.h = L.LSTM(n.x, n.cont, num_output=5, weight_filler="xavier")
        n.loss = L.Reduction(n.h, operation="SUMSQ", loss_weight=1)
        return n

    with pytest.warns(SpecWarning, match=r"'h' \(LSTM\) .*other of the 2 ranks"):
        train(remembering)


def test_numbers_of_ranks_are_told_without_mpi():
    assert runtime.distributed.launched() is None
    found = runtime.distributed.launched({"PMI_RANK": "1", "PMI_SIZE": "3"})
    assert (found.rank, found.size) == (1, 3)
