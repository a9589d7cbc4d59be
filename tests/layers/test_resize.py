"""Interp and Upsample against loops."""

import numpy as np
import pytest

from netspec.errors import SpecError
from tests.layers.harness import LoneLayer, check_layer
from tests.ops.reading import read, refuses


def interp(op, x, *size):
    """Interpolate place by place; a second bottom gives its size only."""
    begin, (h, w) = op.begin, op.part
    part = x[:, :, begin : begin + h, begin : begin + w]
    y = np.zeros(op.tops[0])
    rows, columns = y.shape[2:]
    for i, j in np.ndindex(rows, columns):
        u = i * (h - 1) / (rows - 1) if rows > 1 else 0
        v = j * (w - 1) / (columns - 1) if columns > 1 else 0
        k, m = min(int(u + 1e-12), h - 1), min(int(v + 1e-12), w - 1)
        a, b = max(0, u - k), max(0, v - m)
        k2, m2 = min(k + 1, h - 1), min(m + 1, w - 1)
        y[:, :, i, j] = (1 - a) * (
            (1 - b) * part[:, :, k, m] + b * part[:, :, k, m2]
        ) + a * ((1 - b) * part[:, :, k2, m] + b * part[:, :, k2, m2])
    return y


INTERP = {
    "larger": "height: 9 width: 13",
    "smaller": "height: 3 width: 4",
    "to one": "height: 1 width: 1",
    "the same": "height: 6 width: 8",
    "zoomed": "zoom_factor: 3",
    "shrunk": "shrink_factor: 2",
    "both": "shrink_factor: 2 zoom_factor: 3",
    "cut": "height: 9 width: 5 pad_beg: -1 pad_end: -2",
}


@pytest.mark.parametrize("case", INTERP)
def test_interp_is_bilinear_between_corners(backend, case):
    text = f'type: "Interp" interp_param {{ {INTERP[case]} }}'
    check_layer(text, [(2, 3, 6, 8)], interp, backend=backend)
    check_layer(text, [(3, 2, 5, 4)], interp, backend=backend)


def test_interp_of_one_pixel(backend):
    text = 'type: "Interp" interp_param { height: 4 width: 5 }'
    check_layer(text, [(3, 2, 1, 4)], interp, backend=backend)


def test_a_second_bottom_gives_its_size(backend):
    text = 'type: "Interp" interp_param { use_blob_size: true }'
    layer = LoneLayer(text, [(2, 3, 4, 5), (1, 6, 7, 8)], backend=backend)
    x = np.random.default_rng(1).normal(size=(2, 3, 4, 5))
    (y,) = layer.forward([x, np.zeros((1, 6, 7, 8))])
    np.testing.assert_allclose(y, interp(layer.op, x), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(
    ("options", "size"),
    [
        ("height: 7 width: 9", (7, 9)),
        ("zoom_factor: 8", (33, 57)),
        ("shrink_factor: 4", (2, 2)),
        ("shrink_factor: 2 zoom_factor: 3", (7, 10)),
        ("zoom_factor: 2 pad_beg: -1 pad_end: -1", (5, 11)),
        # As in forks: one factor alone beats a size, which beats both factors.
        ("zoom_factor: 2 height: 7 width: 9", (9, 15)),
        ("zoom_factor: 2 shrink_factor: 2 height: 7 width: 9", (7, 9)),
    ],
)
def test_sizes_of_interp(options, size):
    op = read(f'type: "Interp" interp_param {{ {options} }}', (2, 3, 5, 8))
    assert op.tops == ((2, 3, *size),)


@pytest.mark.parametrize(
    ("text", "bottoms", "match"),
    [
        ("", 1, "interp_param does not say the size; give height and width, zoom"),
        ("height: 7", 1, "height and width belong together; give width too"),
        ("zoom_factor: 0", 1, "zoom_factor is 0; expected at least 1"),
        ("height: -3 width: 4", 1, "height is -3; expected at least 1"),
        ("zoom_factor: 2 pad_beg: 1", 1, "pad_beg is 1; expected at most 0"),
        ("zoom_factor: 2 pad_end: -5", 1, "leave nothing of an image of 5 by 8"),
        ("use_blob_size: true", 1, "takes the size of a second bottom; add it"),
        ("zoom_factor: 2", 2, r"bottom 1 \('b1'\) gives the size only with use_blob"),
    ],
)
def test_interp_refuses(text, bottoms, match):
    shapes = [(2, 3, 5, 8)] * bottoms
    refuses(f'type: "Interp" interp_param {{ {text} }}', *shapes, match=match)


def test_interp_is_what_opencv_computes():
    cv2 = pytest.importorskip("cv2")
    for options in ("height: 9 width: 13", "zoom_factor: 3", "height: 3 width: 4"):
        text = (
            'layer { name: "x" type: "Input" top: "x" input_param { shape { dim: 2 '
            'dim: 3 dim: 6 dim: 8 } } } layer { name: "y" type: "Interp" bottom: "x" '
            f'top: "y" interp_param {{ {options} }} }}'
        )
        x = np.random.default_rng(2).normal(size=(2, 3, 6, 8)).astype(np.float32)
        net = cv2.dnn.readNetFromCaffe(np.frombuffer(text.encode(), np.uint8))
        net.setInput(x)
        op = read(f'type: "Interp" interp_param {{ {options} }}', x.shape)
        np.testing.assert_allclose(net.forward(), interp(op, x), atol=1e-5)


def upsample(op, x, mask=None):
    y = np.zeros(op.tops[0])
    for place in np.ndindex(x.shape):
        n, c, h, w = place
        if mask is None:
            s, t = op.scale
            y[n, c, h * s : (h + 1) * s, w * t : (w + 1) * t] = x[place]
        else:
            y[n, c].flat[int(mask[place])] = x[place]
    return y


@pytest.mark.parametrize("options", ["scale: 2", "scale_h: 3 scale_w: 2", ""])
def test_upsample_repeats_values(backend, options):
    text = f'type: "Upsample" upsample_param {{ {options} }}'
    check_layer(text, [(2, 3, 5, 4)], upsample, backend=backend)


MASKED = {
    "twice as large": ("", (10, 8)),
    "one row and column less": ("pad_out_h: true pad_out_w: true", (9, 7)),
    "another scale": ("scale_h: 3 scale_w: 1", (15, 4)),
    "of a size": ("upsample_h: 7 upsample_w: 11", (7, 11)),
}


@pytest.mark.parametrize("case", MASKED)
def test_upsample_with_a_mask_puts_values_back(backend, case):
    options, size = MASKED[case]
    rng = np.random.default_rng(4)
    places = size[0] * size[1]
    mask = np.array([rng.permutation(places)[:20] for _ in range(6)])
    text = f'type: "Upsample" upsample_param {{ {options} }}'

    def gradient(op, dtops, x, mask):
        planes = dtops[0].reshape(6, -1)
        return [np.take_along_axis(planes, mask.reshape(6, -1).astype(int), 1)], []

    def shaped(op, dtops, x, mask):
        (dx,), none = gradient(op, dtops, x, mask)
        return [dx.reshape(x.shape), None], none

    check_layer(
        text,
        [rng.normal(size=(2, 3, 5, 4)), mask.reshape(2, 3, 5, 4)],
        upsample,
        backend=backend,
        gradient=shaped,
    )
    assert read(text, (2, 3, 5, 4), (2, 3, 5, 4)).tops == ((2, 3, *size),)


@pytest.mark.parametrize("place", [80, -1, np.nan])
def test_a_mask_beyond_the_plane_is_an_error(backend, place):
    mask = np.zeros((1, 2, 5, 4))
    mask[0, 1, 2, 3] = place
    layer = LoneLayer('type: "Upsample"', [mask.shape] * 2, backend=backend)
    if not backend.on_host:
        layer.forward([np.ones(mask.shape), mask])  # is not waited for
        return
    with pytest.raises(
        SpecError, match=r"the mask, holds .* at place 31; expected 0 to"
    ):
        layer.forward([np.ones(mask.shape), mask])


@pytest.mark.parametrize(
    ("text", "bottoms", "match"),
    [
        ("scale: 0", 1, "the scale is 0 by 0; expected at least 1"),
        ("scale: 2 scale_h: 2", 1, "both scale and scale_h are given"),
        ("scale_h: 2", 1, "scale_h is given without scale_w"),
        (
            "upsample_h: 3 upsample_w: 4",
            1,
            "upsample_h is for SegNet's Upsample, which",
        ),
        ("upsample_h: 3", 2, "upsample_h is given without upsample_w"),
    ],
)
def test_upsample_refuses(text, bottoms, match):
    shapes = [(2, 3, 5, 8)] * bottoms
    refuses(f'type: "Upsample" upsample_param {{ {text} }}', *shapes, match=match)


def test_a_mask_has_the_shape_of_the_values():
    text = 'type: "Upsample"'
    refuses(text, (2, 3, 5, 8), (2, 3, 5, 7), match="the mask, bottom 1 .* has shape")
