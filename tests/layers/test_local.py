"""Local against nested loops."""

from itertools import product

import numpy as np
import pytest

from tests.layers.harness import check_layer
from tests.ops.reading import param_shapes, read, refuses


def local(op, x, weights, bias=None):
    y = np.zeros(op.tops[0])
    places = op.tops[0][2:]
    for o, i, j in product(range(op.num_output), *map(range, places)):
        p = i * places[1] + j
        total = np.zeros(len(x)) if bias is None else np.full(len(x), bias[0, 0, o, p])
        for c, k, m in product(range(x.shape[1]), *map(range, op.kernel)):
            row = i * op.stride[0] + k - op.pad[0]
            column = j * op.stride[1] + m - op.pad[1]
            if 0 <= row < x.shape[2] and 0 <= column < x.shape[3]:
                tap = (c * op.kernel[0] + k) * op.kernel[1] + m
                total += weights[o, 0, tap, p] * x[:, c, row, column]
        y[:, o, i, j] = total
    return y


@pytest.mark.parametrize(
    "options",
    [
        "num_output: 4 kernel_size: 2",
        "num_output: 2 kernel_size: 3 pad: 1 stride: 2",
        "num_output: 3 kernel_size: 3 stride: 2 bias_term: false",
    ],
)
def test_every_place_has_weights_of_its_own(backend, options):
    text = f'type: "Local" local_param {{ {options} }}'
    check_layer(text, [(2, 3, 5, 6)], local, backend=backend)


def test_parameters_have_the_shapes_of_the_forks():
    options = "num_output: 4 kernel_size: 3 stride: 2"
    op = read(f'type: "Local" local_param {{ {options} }}', (2, 3, 7, 9))
    assert op.tops == ((2, 4, 3, 4),)
    assert param_shapes(op) == [(4, 1, 27, 12), (1, 1, 4, 12)]
    assert op.macs == 2 * 4 * 27 * 12


def test_local_refuses():
    text = 'type: "Local" local_param { %s }'
    shape = (2, 3, 5, 6)
    refuses(
        text % "kernel_size: 3", shape, match="num_output is 0; expected at least 1"
    )
    refuses(text % "num_output: 3", shape, match="kernel_size is 0; expected at least")
    refuses(
        text % "num_output: 3 kernel_size: 7", shape, match="covers .* more than the"
    )
