"""Nets that each do every so many passes see what one net sees that does them all."""

import numpy as np
import pytest

import netspec
from netspec import NetSpec
from netspec import layers as L
from netspec.errors import SpecError, UnsupportedError
from runtime import TRAIN, Net
from tests.runtime.data.common import pixels

SEED, PASSES = 3, 15
COUNT, SHAPE = 10, (3, 6, 5)
X = np.random.default_rng(2).normal(size=(COUNT, *SHAPE)).astype(np.float32)
Y = np.arange(COUNT) % 4


@netspec.layer
class DrawnHere:
    """Adds the number of the pass, and numbers drawn for it."""

    def shapes(self, x):
        return x

    def forward(self, c, x):
        return x + c.iteration + c.uniform(x.shape)


def drawn():
    """A net whose data, noise and dropout are drawn in every pass."""
    n = NetSpec("drawn")
    n.x = L.DummyData(shape=[4, *SHAPE], data_filler="gaussian")
    n.noisy = DrawnHere(n.x)
    n.drop = L.Dropout(n.noisy, dropout_ratio=0.4)
    n.pool = L.Pooling(n.drop, pool="STOCHASTIC", kernel_size=2)
    return n


def fed():
    n = NetSpec("fed")
    n.data = L.Input(shape=[4, *SHAPE])
    n.label = L.Input(shape=[4])
    n.drop = L.Dropout(n.data, dropout_ratio=0.4)
    n.both = L.Flatten(n.drop)
    n.silence = L.Silence(n.label, ntop=0)
    return n


def items():
    yield from zip(X, Y, strict=True)


def jitter(arrays, rng):
    x, y = arrays
    return x + rng.normal(size=x.shape).astype(np.float32), y


FEEDS = {
    "arrays": ((X, Y), {"shuffle": True}),
    "transformed": ((X, Y), {"shuffle": True, "transform": jitter}),
    "mirrored": ((pixels(COUNT), Y), {"transform": {"mirror": True, "scale": 0.5}}),
    "items": (list(zip(X, Y, strict=True)), {"shuffle": True}),
    "batches": ([(X[:4], Y[:4]), (X[4:8], Y[4:8]), (X[8:], Y[8:])], {"shuffle": True}),
    "function": (items, {"transform": jitter}),
    "epochs": (lambda epoch: zip(X + epoch, Y, strict=True), {}),
}


def seen(net, passes):
    """Return all blobs of some passes, as numbers and what lies between them."""
    found = []
    for _ in range(passes):
        net.forward()
        found.append({name: blob.data.copy() for name, blob in net.blobs.items()})
    return found


def assert_same(found, expected):
    assert len(found) == len(expected)
    for ours, theirs in zip(found, expected, strict=True):
        for name, values in theirs.items():
            np.testing.assert_array_equal(ours[name], values)


def check(make):
    """Compare nets that `make` gives with one that does all passes."""
    one = make()
    expected = seen(one, PASSES)
    one.close()
    assert not np.array_equal(*(each.popitem()[1] for each in map(dict, expected[:2])))
    for together in (2, 3, 4):
        for first in range(together):
            net = make()
            net.take_every(together, first)
            mine = expected[first::together]
            assert_same(seen(net, len(mine)), mine)
            assert net.clock.value == first + together * len(mine)
            net.close()


def test_what_is_drawn_goes_by_the_number_of_the_pass(backend):
    check(lambda: Net(drawn(), TRAIN, seed=SEED, backend=backend.name))


@pytest.mark.parametrize("kind", FEEDS)
def test_fed_nets_share_the_batches_of_all_epochs(kind, backend):
    data, how = FEEDS[kind]

    def make():
        net = Net(fed(), TRAIN, seed=SEED, backend=backend.name)
        net.feed(data, **how)
        return net

    check(make)


@pytest.mark.parametrize("kind", FEEDS)
def test_data_that_are_given_later_are_shared_too(kind):
    data, how = FEEDS[kind]
    one = Net(fed(), TRAIN, seed=SEED)
    one.feed(data, **how)
    expected = seen(one, 7)
    one.close()
    net = Net(fed(), TRAIN, seed=SEED)
    net.take_every(3, 2)
    net.feed(data, **how)
    assert_same(seen(net, 2), expected[2::3])
    net.close()


def test_a_generator_that_runs_once_is_read_by_each(backend):
    one = Net(fed(), TRAIN, seed=SEED)
    one.feed(items())
    expected = seen(one, 3)
    one.close()
    for first in range(2):
        net = Net(fed(), TRAIN, seed=SEED)
        net.feed(items())
        net.take_every(2, first)
        assert_same(seen(net, 2 - first), expected[first::2])
        net.close()


def test_a_place_among_others_must_be_one_of_them():
    net = Net(drawn(), TRAIN)
    for step, first in ((2, 2), (0, 0), (3, -1)):
        with pytest.raises(SpecError, match="first must be below step"):
            net.take_every(step, first)


def test_a_source_that_cannot_skip_is_refused():
    net = Net(drawn(), TRAIN)

    class Tape:
        def next(self):
            return []

    net.sources["x"] = Tape()
    with pytest.raises(
        UnsupportedError, match=r"'x': its source of data, Tape, has no"
    ):
        net.take_every(2)
