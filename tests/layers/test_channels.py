"""ShuffleChannel, Reorg and Axpy against loops."""

import numpy as np
import pytest

from tests.layers.harness import check_layer
from tests.ops.reading import read, refuses


def shuffle(op, x):
    y = np.empty_like(x)
    size = x.shape[1] // op.group
    for c in range(x.shape[1]):
        group, place = divmod(c, size)
        y[:, place * op.group + group] = x[:, c]
    return y


@pytest.mark.parametrize("shape", [(2, 12, 3, 5), (3, 6), (2, 6, 4)])
@pytest.mark.parametrize("group", [1, 2, 3, 6])
def test_groups_of_channels_are_mixed(backend, shape, group):
    text = f'type: "ShuffleChannel" shuffle_channel_param {{ group: {group} }}'
    check_layer(text, [shape], shuffle, backend=backend)


def test_shuffle_channel_refuses():
    text = 'type: "ShuffleChannel" shuffle_channel_param { group: 4 }'
    refuses(text, (2, 6, 3, 5), match="group is 4, but the input has 6 channels")
    refuses(text, (8,), match=r"shape \(8,\); expected \(N, C")


def reorg(op, x):
    """Place by place, as Darknet's loops have it."""
    s, (n, c, height, width) = op.stride, x.shape
    few = c // (s * s)
    flat = np.zeros((n, x[0].size))
    for item in range(n):
        for place in np.ndindex(c, height, width):
            k, h, w = place
            offset, plane = divmod(k, few)
            far = (plane * height * s + h * s + offset // s) * width * s
            far += w * s + offset % s
            near = (k * height + h) * width + w
            to, source = (far, near) if op.reverse else (near, far)
            flat[item, to] = x[item].flat[source]
    return flat.reshape(op.tops[0])


@pytest.mark.parametrize(
    ("options", "shape", "top"),
    [
        ("stride: 2", (2, 8, 4, 6), (2, 32, 2, 3)),
        ("stride: 3", (2, 9, 3, 6), (2, 81, 1, 2)),
        ("stride: 2 reverse: true", (2, 12, 3, 5), (2, 3, 6, 10)),
    ],
)
def test_reorg_moves_pixels_as_darknet_does(backend, options, shape, top):
    text = f'type: "Reorg" reorg_param {{ {options} }}'
    assert read(text, shape).tops == (top,)
    check_layer(text, [shape], reorg, backend=backend)


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ("", "reorg_param.stride is 0; give the side of the squares"),
        ("stride: 3", "the input has 8 channels, which stride"),
        ("stride: 2", "the input is 4 by 5, which stride 2 does not divide"),
    ],
)
def test_reorg_refuses(options, match):
    refuses(f'type: "Reorg" reorg_param {{ {options} }}', (2, 8, 4, 5), match=match)


def axpy(op, a, x, b):
    return a.reshape(*x.shape[:2], *(1,) * (x.ndim - 2)) * x + b


@pytest.mark.parametrize(
    ("factors", "shape"),
    [((2, 3, 1, 1), (2, 3, 5, 4)), ((2, 3), (2, 3, 5, 4)), ((2, 3), (2, 3))],
)
def test_axpy_weighs_and_adds(backend, factors, shape):
    rng = np.random.default_rng(3)
    check_layer(
        'type: "Axpy"',
        [rng.normal(size=factors), rng.normal(size=shape), rng.normal(size=shape)],
        axpy,
        backend=backend,
        equal_sizes="two of 1",
    )


def test_axpy_refuses():
    x = (2, 3, 5, 4)
    refuses('type: "Axpy"', (2, 4), x, x, match="the factors, has shape")
    refuses('type: "Axpy"', (2, 3, 5, 1), x, x, match="expected a number for every")
    refuses('type: "Axpy"', (2, 3), x, (2, 3, 5, 5), match="expected one shape")
