"""BatchNorm over all ranks against one layer with all of their batches."""

import numpy as np
import pytest

from netspec.schema import TEST
from runtime.backends.cpu import CpuBackend
from tests.backends.cpu.fences import FencedBackend
from tests.layers.harness import LoneLayer
from tests.ranks import together

BATCHES = (3, 1, 4)  # items of each rank
SHAPES = [(5, 2, 7), (19,), (2, 5000)]  # of an item
FORMS = {
    "Caffe": (
        'type: "BatchNorm" batch_norm_param { moving_average_fraction: 0.75 eps: 0.02 }'
    ),
    "NVCaffe": 'type: "BatchNorm" batch_norm_param { scale_bias: true eps: 0.02 }',
    "DeepLab": 'type: "BatchNorm" batch_norm_param { update_global_stats: false }',
    "PSPNet": 'type: "BN" bn_param { momentum: 0.75 slope_filler { value: 2 } }',
    "SegNet": 'type: "BN" bn_param { bn_mode: LEARN }',
    "SegNet's tops": (
        'type: "BN" top: "y" top: "mean" top: "variance" bn_param { bn_mode: LEARN }'
    ),
}


def values_of(text, shape, seed=3):
    """Return batches, gradients and parameters, away from 0, 1 and each other."""
    rng = np.random.default_rng(seed)
    items = sum(BATCHES)
    x = rng.normal(3, 2, (items, *shape)).astype("float32")
    dy = rng.normal(size=x.shape).astype("float32")
    layer = LoneLayer(text, [x.shape], backend=CpuBackend(1))
    params = [rng.normal(2, 0.5, one.shape) for one in layer.op.params]
    return x, dy, [each.astype("float32") for each in params]


def ran(layer, x, dy, params):
    """Return tops, parameters after forward, and gradients, stored and added."""
    tops = layer.forward([x], params)
    after = layer.params()
    small = [np.full(top.shape, np.nan) for top in tops[1:]]
    dtops = [dy, *(np.nan_to_num(one) for one in small)]
    (dx,), dparams = layer.backward(dtops)
    learned = [one for one in dparams if one is not None]
    layer.forward([x], params)
    flags = [True] * len(params)
    before = [np.ones_like(one) for one in params]
    (again,), added = layer.backward(dtops, flags, before)
    np.testing.assert_array_equal(again, dx)
    for one, other in zip(learned, [o for o in added if o is not None], strict=True):
        np.testing.assert_allclose(other, one + 1, rtol=1e-6)
    return tops, after, dx, learned


def parts(array):
    """Cut what all ranks have into what each has."""
    return np.split(array, np.cumsum(BATCHES)[:-1])


def on_ranks(text, x, dy, params, backend, **options):
    """Return what `ran` does, of every rank."""
    cut_x, cut_dy = parts(x), parts(dy)

    def work(rank):
        mine = cut_x[rank.rank]
        layer = LoneLayer(text, [mine.shape], backend=backend, ranks=rank, **options)
        with np.errstate(all="ignore"):
            return (*ran(layer, mine, cut_dy[rank.rank], params), rank.sums)

    return together(len(BATCHES), work)


def close(got, wanted, rtol):
    scale = np.abs(wanted).max(initial=0)
    np.testing.assert_allclose(got, wanted, rtol=0, atol=rtol * max(scale, 1e-30))


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("place", ["", 'bottom: "x" top: "x"'])
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("form", FORMS)
def test_ranks_do_what_one_layer_does_with_all_batches(
    backend, form, shape, place, dtype
):
    text = FORMS[form]
    if place and "top:" in text:
        place, text = "", text.replace('top: "y"', 'bottom: "y" top: "y"')
    text += place
    x, dy, params = values_of(text, shape)
    whole = LoneLayer(text, [x.shape], backend=backend, dtype="float64")
    tops, after, dx, learned = ran(
        whole, *(each.astype("float64") for each in (x, dy)), params
    )
    found = on_ranks(text, x, dy, params, backend, dtype=dtype)
    rtol = 1e-10 if dtype == "float64" else 2e-5
    close(np.concatenate([one[0][0] for one in found]), tops[0], rtol)
    close(np.concatenate([one[2] for one in found]), dx, rtol)
    for mine_tops, mine_after, _, _, _ in found:
        for got, wanted in zip(mine_tops[1:], tops[1:], strict=True):
            close(got, wanted, rtol)
        for got, wanted, first in zip(mine_after, after, found[0][1], strict=True):
            close(got, wanted, rtol)
            np.testing.assert_array_equal(got, first)  # the same bits on all ranks
    for index, wanted in enumerate(learned):
        close(sum(one[3][index] for one in found), wanted, rtol)


def test_a_pass_sends_one_sum_forward_and_one_backward(backend):
    x, dy, params = values_of(FORMS["Caffe"], (5, 2, 7))
    for *_, sums in on_ranks(FORMS["Caffe"], x, dy, params, backend):
        assert sums == [11, 10] * 2


def test_a_layer_that_runs_again_sends_nothing(backend):
    text = FORMS["PSPNet"]
    x, _, params = values_of(text, (5, 2, 7))
    cut = parts(x)

    def work(rank):
        mine = cut[rank.rank]
        layer = LoneLayer(text, [mine.shape], backend=backend, ranks=rank)
        (first,) = layer.forward([mine], params)
        after, sent = layer.params(), len(rank.sums)
        layer.kernel.again = True
        (second,) = layer.forward([mine], after)
        assert len(rank.sums) == sent
        for one, other in zip(layer.params(), after, strict=True):
            np.testing.assert_array_equal(one, other)
        np.testing.assert_array_equal(first, second)
        layer.backward([mine])

    together(len(BATCHES), work)


def test_no_rank_waits_where_no_gradient_is_wanted(backend):
    text = FORMS["NVCaffe"]
    x, dy, params = values_of(text, (5, 2, 7))
    cut, cut_dy = parts(x), parts(dy)

    def work(rank):
        mine = cut[rank.rank]
        given = {"wanted_bottoms": [False], "ranks": rank}
        layer = LoneLayer(text, [mine.shape], backend=backend, **given)
        layer.forward([mine], params)
        layer.backward([cut_dy[rank.rank]])
        assert rank.sums == [11]

    together(len(BATCHES), work)


def test_tests_and_single_ranks_are_as_ever(backend):
    def work(rank):
        layer = LoneLayer(FORMS["Caffe"], [(4, 3, 2, 5)], backend=backend, **rank)
        return type(layer.kernel)

    plain = work({})
    for ranks in together(2, lambda rank: work({"ranks": rank, "phase": TEST})):
        assert ranks is plain
    assert together(1, lambda rank: work({"ranks": rank})) == [plain]


def flat(results):
    tops, after, dx, learned, _ = results
    return [*tops, *after, dx, *learned]


@pytest.mark.parametrize("form", ["Caffe", "NVCaffe", "PSPNet", "SegNet"])
@pytest.mark.parametrize("shape", [*SHAPES, (37, 3, 11), (4, 4099)])
def test_compiled_kernels_agree_with_the_portable_one(form, shape):
    text = FORMS[form]
    x, dy, params = values_of(text, shape, seed=9)
    x.reshape(-1)[::41] *= 1e3
    if form == "SegNet":
        x[:2, 0] = np.inf
        dy[5:, 1] = np.nan
    backend = FencedBackend(3)
    found = on_ranks(text, x, dy, params, backend, dtype="float32")
    wanted = on_ranks(text, x, dy, params, CpuBackend(1), dtype="float64")
    backend.check_fences()
    single = on_ranks(text, x, dy, params, CpuBackend(1), dtype="float32")
    for got, oracle, one in zip(found, wanted, single, strict=True):
        pairs = zip(flat(got), flat(oracle), flat(one), strict=True)
        for mine, exact, alone in pairs:
            np.testing.assert_array_equal(mine, alone)  # for any number of threads
            assert (np.isfinite(mine) == np.isfinite(exact)).all()
            good = np.isfinite(exact)
            close(mine[good], exact[good], 5e-5)
