"""Labels that are no numbers, on every kernel that reads labels."""

from __future__ import annotations

import numpy as np
import pytest

from netspec.errors import SpecError
from runtime.backends import get_backend
from runtime.backends.layer_kernel import LayerKernel
from runtime.primitives import Primitives
from tests.layers.harness import LoneLayer

SCORES = np.array([[0.2, 0.3, 0.5], [0.5, 0.25, 0.25], [0.1, 0.8, 0.1]])
IGNORE = "loss_param { ignore_label: -1 }"
READERS = [
    'type: "SoftmaxWithLoss"',
    f'type: "SoftmaxWithLoss" {IGNORE}',
    'type: "InfogainLoss"',
    f'type: "InfogainLoss" {IGNORE}',
    'type: "HingeLoss"',
    'type: "MultinomialLogisticLoss"',
    'type: "Accuracy"',
    'type: "Accuracy" accuracy_param { ignore_label: 0 }',
]
KINDS = [("portable", "float64"), ("portable", "float32"), ("numpy", "float32")]


def reader(text: str, kind: tuple[str, str]) -> tuple[LoneLayer, list[np.ndarray]]:
    """Return a layer that reads labels, and its bottoms with labels to be changed."""
    matrix = [(3, 3)] if "Infogain" in text else []
    shapes = [(3, 3), (3,), *matrix]
    layer = LoneLayer(
        f'name: "cost" {text}', shapes, backend=get_backend(kind[0]), dtype=kind[1]
    )
    return layer, [SCORES, np.array([1.0, 2.0, 0.0]), *map(np.ones, matrix)]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("text", READERS)
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_label_that_is_no_number_is_an_error(text, kind, bad):
    layer, bottoms = reader(text, kind)
    bottoms[1][1] = bad
    shown = f"holds the label {bad} at place 1; expected 0 to 2, the classes"
    with pytest.raises(SpecError, match=f"'cost' .*{shown}"):
        layer.forward(bottoms)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("text", READERS)
@pytest.mark.parametrize("bad", [1e30, -1e30, 7.0])
def test_a_label_far_from_all_classes_is_an_error(text, kind, bad):
    layer, bottoms = reader(text, kind)
    bottoms[1][2] = bad
    with pytest.raises(SpecError, match=r"holds the label -?\d+ at place 2; expected"):
        layer.forward(bottoms)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("text", READERS)
def test_labels_are_cut_to_integers(text, kind):
    layer, bottoms = reader(text, kind)
    (whole, *_) = layer.forward(bottoms)
    bottoms[1][:] += [0.9, 0.4, -0.3]
    (cut, *_) = layer.forward(bottoms)
    assert float(cut) == float(whole)
    assert np.isfinite(whole)


@pytest.mark.parametrize("text", READERS)
def test_where_nobody_looks_a_label_that_is_no_number_shows_as_nan(text, monkeypatch):
    monkeypatch.setattr(Primitives, "anywhere", lambda self, mask: False)
    layer, bottoms = reader(text, ("portable", "float32"))
    bottoms[1][1] = np.nan
    with np.errstate(invalid="ignore"):
        (y, *_) = layer.forward(bottoms)
    assert np.isnan(y)


@pytest.mark.parametrize("legacy", ["true", "false"])
def test_a_similarity_that_is_no_number_is_an_error(legacy, monkeypatch):
    text = (
        'name: "pair" type: "ContrastiveLoss" bottom: "a" bottom: "b" bottom: "s" '
        f"contrastive_loss_param {{ legacy_version: {legacy} }}"
    )
    layer = LoneLayer(text, [(3, 2), (3, 2), (3,)], backend=get_backend("portable"))
    bottoms = [np.ones((3, 2)), np.zeros((3, 2)), [1.0, 0.0, np.nan]]
    message = r"'pair' .*bottom 2 \('s'\) holds nan at place 2; expected 0 for a pair"
    with pytest.raises(SpecError, match=message):
        layer.forward(bottoms)
    monkeypatch.setattr(Primitives, "anywhere", lambda self, mask: False)
    assert np.isnan(layer.forward(bottoms)[0])


INDICES = {
    'type: "Embed" embed_param { num_output: 2 input_dim: 4 }': ([(3,)], 0),
    'type: "BatchReindex"': ([(4, 2), (3,)], 1),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("text", INDICES)
def test_an_index_that_is_no_number_is_an_error(text, kind, monkeypatch):
    shapes, place = INDICES[text]
    layer = LoneLayer(
        f'name: "pick" {text}', shapes, backend=get_backend(kind[0]), dtype=kind[1]
    )
    bottoms = [np.ones(shape) for shape in shapes]
    bottoms[place][2] = np.nan
    params = [np.ones(one.shape) for one in layer.op.params]
    message = rf"'pick' .*bottom {place} \('.*'\) holds nan at place 2; expected 0 to 3"
    with pytest.raises(SpecError, match=message):
        layer.forward(bottoms, params)
    if isinstance(layer.kernel, LayerKernel):
        return  # compiled, it always looks
    monkeypatch.setattr(Primitives, "anywhere", lambda self, mask: False)
    with np.errstate(invalid="ignore"):
        (y,) = layer.forward(bottoms, params)
    assert np.isnan(y[2]).all()
    assert np.isfinite(y[:2]).all()
