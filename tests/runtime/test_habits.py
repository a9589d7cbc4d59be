"""What users of other libraries write is answered with what to write here."""

import copy
import inspect
import pickle

import numpy as np
import pytest

import netspec
import runtime
from netspec import layers as L
from netspec.errors import SpecError
from runtime.habits import EVERYWHERE, HISTORY, NET, SOLVER
from tests.runtime.fitting.common import arrays, spec


@pytest.fixture(scope="module")
def history():
    return runtime.fit(spec(), arrays(), epochs=1, progress=False)


@pytest.mark.parametrize("word", [*NET, *EVERYWHERE])
def test_words_for_nets(history, word):
    with pytest.raises(AttributeError, match=f"a net has no attribute '{word}'; write"):
        getattr(history.net, word)


@pytest.mark.parametrize("word", [*SOLVER, *EVERYWHERE])
def test_words_for_solvers(history, word):
    with pytest.raises(AttributeError, match=f"a solver has no attribute '{word}'; wr"):
        getattr(history.solver, word)


@pytest.mark.parametrize("word", [*HISTORY, *EVERYWHERE])
def test_words_for_histories(history, word):
    with pytest.raises(AttributeError, match=f"history has no attribute '{word}'; wri"):
        getattr(history, word)


def test_what_is_written_instead_is_there(history):
    """Each name that follows `net.`, `solver.` or `history.` in an answer exists."""
    subjects = {"net": history.net, "solver": history.solver, "history": history}
    subjects |= {"runtime": runtime, "netspec": netspec, "n": spec()}
    words = [*NET.values(), *SOLVER.values(), *HISTORY.values(), *EVERYWHERE.values()]
    seen = 0
    for text in words:
        for part in text.replace("(", " ").replace(",", " ").split():
            first, _, rest = part.strip(";:").partition(".")
            name = rest.partition(".")[0].partition("[")[0].rstrip("'")
            if first in subjects and name.isidentifier():
                assert hasattr(subjects[first], name), text
                seen += 1
    assert seen > 40


def test_words_are_neither_listed_nor_in_the_way(history):
    subjects = {"net": (history.net, NET), "solver": (history.solver, SOLVER)}
    subjects["history"] = history, HISTORY
    for one, words in subjects.values():
        assert not {*words, *EVERYWHERE} & {*dir(one)}
        assert "__dict__" in dir(one)
        assert not hasattr(one, "predict")
        # IPython completes keys below objects without it alone: net.blobs["
        assert not hasattr(type(one), "__getattr__")
    assert {"forward", "blobs", "params"} <= {*dir(history.net)}
    with pytest.raises(AttributeError):
        _ = history.net.forwrd
    with pytest.raises(SpecError, match="base_lr is a field"):
        history.solver.base_lr = 0.1
    copied = pickle.loads(pickle.dumps(copy.deepcopy(history)))
    assert copied.as_dict()["loss"] == history.as_dict()["loss"]
    net = runtime.Net(spec())
    net.summary = 3  # of a script
    assert net.summary == 3
    assert "summary" in dir(net)


def test_words_for_specs_give_way_to_tops():
    n = spec()
    with pytest.raises(AttributeError, match=r"no top is named 'fit'; .*runtime\.fit"):
        n.fit(1)
    n.fit = L.TanH(n.score)
    assert n.fit.shape == (16, 2)


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: netspec.fit, "it is runtime.fit: import runtime"),
        (lambda: netspec.Sequential, "n = netspec.NetSpec"),
        (lambda: runtime.EarlyStopping, "it is runtime.callbacks.EarlyStopping"),
        (lambda: runtime.train, "write runtime.fit"),
    ],
)
def test_words_for_the_modules(call, said):
    with pytest.raises(AttributeError, match=said):
        call()


def test_every_ready_callback_is_found_under_its_name():
    from runtime import _CALLBACKS, callbacks

    ready = {n for n in callbacks.__all__ if n not in ("Callback", "Watching")}
    assert set(_CALLBACKS) == ready


X, Y = arrays()


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ({"solver": "adam"}, "solver is 'adam'.* solver=dict.type='Adam', base_lr=..."),
        ({"solver": {"lr": 0.1}}, "lr is no field of SolverParameter; it is base_lr"),
        (
            {"solver": {"base_lr": 1, "betas": 1}},
            "momentum and momentum2 here, of Adam",
        ),
        ({"backend": "cuda"}, "unknown backend 'cuda'; write 'cupy' for it"),
        ({"backend": "cuda:1"}, "write 'cupy:1' for it"),
        ({"backend": "CPU"}, "write 'numpy' for it"),
        ({"class_weight": {0: 1}}, r"loss_param=dict\(class_weighting="),
        ({"patience": 3}, r"EarlyStopping\('val_loss', patience=...\)"),
        ({"callbacks": [print]}, "runtime.callbacks.LambdaCallback"),
    ],
)
def test_arguments_of_fit(how, said):
    with pytest.raises(SpecError, match=said):
        runtime.fit(spec(), (X, Y), epochs=1, progress=False, **how)


def test_functions_and_data_in_the_place_of_nets(history):
    with pytest.raises(
        SpecError, match=r"the function spec; call it: fit\(spec\(...\)"
    ):
        runtime.fit(spec, (X, Y))
    with pytest.raises(SpecError, match=r"model is an array of shape \(100, 1, 6, 6\)"):
        runtime.predict(X, history)
    with pytest.raises(SpecError, match=r"write evaluate\(model, \(x, y\)\)"):
        runtime.evaluate(history, X, Y)
    assert "others" not in inspect.signature(runtime.evaluate).parameters
    assert "options" in inspect.signature(runtime.evaluate).parameters
    with pytest.raises(SpecError, match="which runs; give the spec"):
        netspec.to_onnx(history)


def test_shapes_as_the_argument_of_an_input():
    with pytest.raises(SpecError, match=r"Write L.Input\(shape=\[batch, 3, 8, 8\]\)"):
        L.Input((3, 8, 8))
    with pytest.raises(SpecError, match=r"dim is None.*; write a number: batches of o"):
        L.Input(shape=[None, 3, 8, 8])
    with pytest.raises(SpecError, match="units is no field of an InnerProduct layer"):
        L.InnerProduct(L.Input(shape=[1, 2]), units=np.int64(3))
