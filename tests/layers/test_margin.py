"""MarginInnerProduct and LargeMarginInnerProduct against angles, one by one."""

import math

import numpy as np
import pytest

from netspec.errors import SpecError
from tests.layers.harness import LoneLayer, check_layer
from tests.ops.reading import param_shapes, read, refuses

TYPES = {"SINGLE": 1, "DOUBLE": 2, "TRIPLE": 3, "QUADRUPLE": 4}
KINDS = {
    "MarginInnerProduct": "margin_inner_product_param",
    "LargeMarginInnerProduct": "largemargin_inner_product_param",
}
SCHEDULE = "base: 20 gamma: 0.5 power: 2 iteration: 3 lambda_min: 0.25"


def text_of(kind, margin, more="", tops='top: "y" top: "l"'):
    return (
        f'type: "{kind}" {tops} {KINDS[kind]} {{ num_output: 6 type: {margin} {more} }}'
    )


def psi(angle, m):
    k = min(int(angle * m / math.pi), m - 1)
    return (-1) ** k * math.cos(m * angle) - 2 * k


def lambda_of(op, passes=1):
    falling = op.base * (1 + op.gamma * (op.iteration + passes)) ** -op.power
    return max(falling, op.lambda_min)


def reference(op, x, label, w):
    rows, plain = x.reshape(-1, w.shape[1]), lambda_of(op)
    y = np.empty((len(rows), len(w)))
    for i, j in np.ndindex(y.shape):
        length = np.linalg.norm(w[j])
        scale = np.linalg.norm(rows[i]) * (1 if op.unit_weights else length)
        cosine = rows[i] @ w[j] / (np.linalg.norm(rows[i]) * length)
        if int(label.flat[i]) == j:
            angle = math.acos(cosine)
            cosine = (plain * cosine + psi(angle, op.margin)) / (1 + plain)
        y[i, j] = scale * cosine
    tops = (y.reshape(op.tops[0]), np.array([plain]))
    return tops[: len(op.tops)]


@pytest.mark.parametrize("shape", [(5, 4), (7, 2, 3)])
@pytest.mark.parametrize("margin", TYPES)
@pytest.mark.parametrize("kind", KINDS)
def test_the_angle_of_the_label_counts_more_often(backend, kind, margin, shape):
    rng = np.random.default_rng(11)
    label = rng.integers(0, 6, size=shape[0])
    label[:2] = 4
    check_layer(
        text_of(kind, margin, SCHEDULE),
        [rng.normal(size=shape), label],
        reference,
        backend=backend,
        float32_rtol=1e-4,
        gradient=derivative,
    )


def derivative(op, dtops, x, label, w):
    """The gradient of the reference, by differences of fourth order."""

    def objective(x, w):
        return (reference(op, x, label, w)[0] * dtops[0]).sum()

    found = []
    for index, array in enumerate((x, w)):
        slopes = np.zeros_like(array)
        for place in np.ndindex(array.shape):
            values = []
            for step in (-2e-3, -1e-3, 1e-3, 2e-3):
                moved = [x, w]
                moved[index] = array.copy()
                moved[index][place] += step
                values.append(objective(*moved))
            slopes[place] = np.dot(values, [1, -8, 8, -1]) / 12e-3
        found.append(slopes)
    return [found[0], None], [found[1]]


@pytest.mark.parametrize("kind", KINDS)
def test_the_larger_angle_falls_over_all_angles(backend, kind):
    """One feature turns away from the row of its label; y falls without a jump."""
    for margin, m in TYPES.items():
        text = text_of(kind, margin, "base: 0", tops="")
        layer = LoneLayer(text, [(181, 2), (181,)], backend=backend)
        angles = np.arange(181) * math.pi / 180
        x = 3 * np.stack([np.cos(angles), np.sin(angles)], axis=1)
        w = np.zeros((6, 2))
        w[:, 1] = 1
        w[2] = (5, 0)
        (y,) = layer.forward([x, np.full(181, 2)], [w])
        scale = 3 if kind == "MarginInnerProduct" else 15
        want = [scale * psi(angle, m) for angle in angles]
        np.testing.assert_allclose(y[:, 2], want, atol=1e-6)
        assert (np.diff(y[:, 2]) < 1e-6).all()
        assert abs(np.diff(y[:, 2])).max() < 0.02 * m * scale


@pytest.mark.parametrize("kind", KINDS)
def test_lambda_falls_from_pass_to_pass(backend, kind):
    layer = LoneLayer(
        text_of(kind, "DOUBLE", SCHEDULE), [(5, 4), (5,)], backend=backend
    )
    rng = np.random.default_rng(1)
    x, w, label = rng.normal(size=(5, 4)), rng.normal(size=(6, 4)), np.arange(5)
    seen = []
    for passes in (1, 2, 40):
        layer.clock.value = passes - 1
        y, plain = layer.forward([x, label], [w])
        assert plain == pytest.approx(lambda_of(layer.op, passes))
        seen.append(y[0, 0])
    assert len(set(seen)) == 3
    assert plain == 0.25


@pytest.mark.parametrize("margin", TYPES)
@pytest.mark.parametrize("kind", KINDS)
def test_rows_of_zeros_have_finite_gradients(backend, kind, margin):
    text = text_of(kind, margin, tops="")
    for dtype in ("float64", "float32"):
        layer = LoneLayer(text, [(2, 3), (2,)], backend=backend, dtype=dtype)
        w = np.ones((6, 3))
        w[1] = 0
        (y,) = layer.forward([[[0, 0, 0], [1, 2, 3]], [0, 1]], [w])
        (dx, _), (dw,) = layer.backward([np.ones((2, 6))])
        assert all(np.isfinite(array).all() for array in (y, dx, dw))
        np.testing.assert_allclose(y[0], 0, atol=1e-10)


@pytest.mark.parametrize("kind", KINDS)
def test_margins_refuse(backend, kind):
    field, shapes = KINDS[kind], ((5, 4), (5,))
    refuses(f'type: "{kind}"', *shapes, match=f"{field}.num_output is 0; give the numb")
    refuses(text_of(kind, "DOUBLE"), (5, 4), (4,), match="the labels, has shape .* 5")
    for name, value in (
        ("base", -1),
        ("gamma", -0.5),
        ("power", -2),
        ("iteration", -3),
    ):
        text = text_of(kind, "TRIPLE", f"{name}: {value}")
        refuses(
            text, *shapes, match=f"{name} is {value}; expected a number of at least"
        )
    refuses(
        text_of(kind, "TRIPLE", "lambda_min: nan"), *shapes, match="_min is nan; ex"
    )
    assert param_shapes(read(text_of(kind, "DOUBLE"), (5, 2, 3), (5,))) == [(6, 6)]
    if backend.on_host:
        layer = LoneLayer(text_of(kind, "DOUBLE"), shapes, backend=backend)
        with pytest.raises(SpecError, match="holds the label 7 at place 1"):
            layer.forward([np.ones((5, 4)), [0, 7, 1, 2, 3]], [np.ones((6, 4))])
